// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"math"
)

// Outcome is the answer to "may it go on?".
type Outcome string

// The outcomes.
const (
	Pass         Outcome = "pass"
	Fail         Outcome = "fail"
	Inconclusive Outcome = "inconclusive"
)

// Reason says why an outcome is what it is.
type Reason string

// The reasons. All but the first two come with an inconclusive outcome.
const (
	ReasonNonInferior    Reason = "non_inferior"
	ReasonWorse          Reason = "worse"
	ReasonNeedsMoreData  Reason = "needs_more_data"
	ReasonNoTraffic      Reason = "no_traffic"
	ReasonBaselineGone   Reason = "baseline_without_traffic"
	ReasonMetricsStopped Reason = "metrics_stopped"
	ReasonShareMismatch  Reason = "sample_ratio_mismatch"
	ReasonMixedInstance  Reason = "mixed_instance"
	ReasonClockSkew      Reason = "clock_skew"
	ReasonUnitChanged    Reason = "unit_changed"
	ReasonNotFinite      Reason = "not_finite"
)

// The metrics of a verdict.
const (
	MetricErrors  = "errors"
	MetricLogged  = "logged_errors"
	MetricLatency = "latency"
	MetricMemory  = "memory"
	MetricCPU     = "cpu"
)

// Settings say how sure a verdict must be. The zero value stands for the defaults.
type Settings struct {
	// Alpha is the probability of a false fail over the whole life of a comparison, all metrics and all looks together. It is also
	// that of a false pass for a canary exactly at a margin. Default 0.05.
	Alpha float64
	// Tolerance is the odds ratio up to which a canary is not called worse, however sure the difference is. Default 1.2.
	Tolerance float64
	// ErrorTolerance is the difference of the error rates up to which a canary is not called worse. Default 0.001.
	ErrorTolerance float64
	// ErrorMargin and OddsMargin bound what passes: the canary's error rate is shown to be at most ErrorMargin above the baseline's
	// (default 0.01), or its odds at most OddsMargin times the baseline's (default 1.5).
	ErrorMargin float64
	OddsMargin  float64
	// ResourceTolerance is the multiple of the baseline's memory or CPU that is tolerated. Default 1.25.
	ResourceTolerance float64
	// MinRequests of each arm and MinSlices with traffic in both come before any pass. Defaults 100 and 6.
	MinRequests uint64
	MinSlices   int
	// SilentSlices without traffic or without a metric that came before keep a comparison from passing. Default 12.
	SilentSlices int64

	// margin is OddsMargin's grid point.
	margin int
}

func (s Settings) withDefaults() Settings {
	set := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&s.Alpha, 0.05)
	set(&s.Tolerance, 1.2)
	set(&s.ErrorTolerance, 0.001)
	set(&s.ErrorMargin, 0.01)
	set(&s.OddsMargin, 1.5)
	set(&s.ResourceTolerance, 1.25)
	if s.MinRequests == 0 {
		s.MinRequests = 100
	}
	if s.MinSlices == 0 {
		s.MinSlices = 6
	}
	if s.SilentSlices == 0 {
		s.SilentSlices = 12
	}
	s.margin = atLeast(s.OddsMargin)
	return s
}

// The shares of alpha that the metrics may spend on a false fail. They sum to 0.37: the rest is held back for what no count shows,
// requests that fail or slow down together within a slice.
var alphaShares = map[string]float64{MetricErrors: 0.25, MetricLogged: 0.02, MetricLatency: 0.08, MetricMemory: 0.01, MetricCPU: 0.01}

// The margins of latency, in buckets: 19 %, 41 %, twice and four times. The fewer requests speak of a quantile, the wider its margin must be for
// them ever to show anything.
const (
	nearSteps = 1
	farSteps  = 2
	tailSteps = 4
	endSteps  = 8
)

// quantiles are those at which a canary must be shown not to be slower, and by how much it may be.
var quantiles = []struct {
	q     float64
	steps int
}{{0.5, nearSteps}, {0.9, farSteps}, {0.95, tailSteps}, {0.99, endSteps}}

// MetricVerdict is what one metric says.
type MetricVerdict struct {
	Metric  string  `json:"metric"`
	Outcome Outcome `json:"outcome"`
	// LogE is the natural logarithm of the e-value against "not worse"; LogEPass of that against "worse than the margin".
	LogE     float64 `json:"log_e"`
	LogEPass float64 `json:"log_e_pass"`
	// Effect is the canary's odds, or use, as a multiple of the baseline's; Low and High bound it at all times together. High is zero
	// where it is not bounded.
	Effect float64 `json:"effect"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	// At is where the effect was measured: a latency threshold in seconds.
	At float64 `json:"at,omitempty"`
}

// Verdict is the state of a comparison.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Reason  Reason  `json:"reason"`
	// Metric is the one that decided.
	Metric  string          `json:"metric,omitempty"`
	Metrics []MetricVerdict `json:"metrics"`
	// Canary and Baseline are the requests seen.
	Canary   uint64 `json:"canary"`
	Baseline uint64 `json:"baseline"`
	// CanaryErrors and BaselineErrors are those of them that failed.
	CanaryErrors   uint64 `json:"canary_errors"`
	BaselineErrors uint64 `json:"baseline_errors"`
	// Needed is how many more requests the canary needs until a verdict, as far as the data so far tell; zero where they do not.
	Needed uint64 `json:"needed,omitempty"`
	Slices int    `json:"slices"`
}

// metrics judges each metric by itself.
func (c *Comparison) metrics() []MetricVerdict {
	s := &c.state
	all := make([]MetricVerdict, 0, len(alphaShares))
	all = append(all,
		c.judgeOdds(MetricErrors, &s.Errors, func(a *armState) uint64 { return a.Errors }),
		c.judgeOdds(MetricLogged, &s.Logged, func(a *armState) uint64 { return a.Logged }),
		c.judgeLatency())
	if s.Memory.N > 0 {
		all = append(all, c.judgeExcess(MetricMemory, &s.Memory))
	}
	if s.CPU.N > 0 {
		all = append(all, c.judgeExcess(MetricCPU, &s.CPU))
	}
	return all
}

// alphaOf is what a metric may spend on a false fail.
func (c *Comparison) alphaOf(metric string) float64 { return c.settings.Alpha * alphaShares[metric] }

func (c *Comparison) rejects(metric string, logE float64) bool {
	return logE >= -math.Log(c.alphaOf(metric))
}

func (c *Comparison) judgeOdds(metric string, o *Odds, bad func(*armState) uint64) MetricVerdict {
	m := MetricVerdict{Metric: metric, Outcome: Inconclusive, Effect: o.estimate()}
	m.Low, m.High = bounded(o.interval(c.settings.Alpha))
	a, b := &c.state.Arms[Canary], &c.state.Arms[Baseline]
	m.LogE = o.logEHigher(&logErrors)
	m.LogEPass = o.logELower(c.settings.margin)
	if a.Requests == 0 || b.Requests == 0 {
		return m
	}
	difference := float64(bad(a))/float64(a.Requests) - float64(bad(b))/float64(b.Requests)
	// Each of two ways to pass has half of alpha.
	m.LogEPass = max(m.LogEPass, logWithin(bad(a), a.Requests, bad(b), b.Requests, c.settings.ErrorMargin))
	switch {
	case c.rejects(metric, m.LogE) && o.persists() && m.Effect > c.settings.Tolerance && difference > c.settings.ErrorTolerance:
		m.Outcome = Fail
	case m.LogEPass >= -math.Log(c.settings.Alpha/2):
		m.Outcome = Pass
	}
	return m
}

func (c *Comparison) judgeLatency() MetricVerdict {
	m := MetricVerdict{Metric: MetricLatency, Outcome: Inconclusive, Effect: 1}
	worst, logE := c.slowest()
	m.LogE = logE
	if worst >= 0 {
		o := c.state.Slower[worst]
		m.Effect = o.estimate()
		m.Low, m.High = bounded(o.interval(c.settings.Alpha / thresholds))
		m.At = BucketBound(1 + worst*thresholdStep).Seconds()
		if c.rejects(MetricLatency, logE) && o.persists() && m.Effect > c.settings.Tolerance {
			m.Outcome = Fail
			return m
		}
	}
	m.LogEPass = 700 // as much as a float64 can tell
	for _, q := range quantiles {
		m.LogEPass = min(m.LogEPass, c.notSlower(q.q, q.steps))
	}
	if m.LogEPass >= -math.Log(c.settings.Alpha/2) { // two ways
		m.Outcome = Pass
	}
	return m
}

// notSlower is the log of the greater of two e-values: against "the canary's quantile is more than the margin above the baseline's", at
// the lower bound of the bucket that holds the baseline's, and against "the odds of a request beyond it are more than OddsMargin times
// the baseline's", which shows more where the tail is flat. In the first bucket there is no lower bound: there the canary's quantile must
// be shown to be within it.
func (c *Comparison) notSlower(q float64, steps int) float64 {
	bucket := quantileBucket(&c.state.Arms[Baseline].Latency, q)
	k := min(max(bucket-1, 0)/thresholdStep, thresholds-1)
	o := c.state.End[k]
	switch steps {
	case tailSteps:
		o = c.state.Tail[k]
	case nearSteps:
		o = c.state.Near[min(max(bucket-1, 0), bounds-1)]
	case farSteps:
		o = c.state.Far[k]
	}
	if bucket == 0 {
		slow, all := uint64(0), uint64(0)
		for i, n := range c.state.Arms[Canary].Latency {
			all += n
			if i >= 1+steps {
				slow += n
			}
		}
		if rateUpper(slow, all, c.settings.Alpha/2) <= 1-q {
			return math.Inf(1)
		}
	}
	return max(o.logELower(centre), c.state.Slower[k].logELower(c.settings.margin))
}

func (c *Comparison) judgeExcess(metric string, x *Excess) MetricVerdict {
	m := MetricVerdict{Metric: metric, Outcome: Inconclusive, Effect: x.ratio(), LogE: x.logE()}
	switch {
	case c.rejects(metric, m.LogE):
		m.Outcome = Fail
	case x.N >= c.settings.MinSlices && m.LogE < math.Ln2 && x.ratio() <= c.settings.ResourceTolerance:
		m.Outcome = Pass
	}
	return m
}

func bounded(low, high float64) (float64, float64) {
	if math.IsInf(high, 1) {
		high = 0
	}
	return low, high
}

// Judge says what is known when slice now is the last that is complete. It changes nothing and may be asked at any time.
func (c *Comparison) Judge(now int64) Verdict {
	s := &c.state
	v := Verdict{
		Outcome: Inconclusive, Metrics: c.metrics(), Slices: s.Slices,
		Canary: s.Arms[Canary].Requests, Baseline: s.Arms[Baseline].Requests,
		CanaryErrors: s.Arms[Canary].Errors, BaselineErrors: s.Arms[Baseline].Errors,
	}
	if s.Failed != nil && !s.Share.mismatched() {
		v.Outcome, v.Reason, v.Metric = Fail, ReasonWorse, s.Failed.Metric
		return v
	}
	if reason, ok := c.obstacle(now); ok {
		v.Reason = reason
		return v
	}
	v.Reason = ReasonNeedsMoreData
	if v.Canary < c.settings.MinRequests || v.Baseline < c.settings.MinRequests || s.Slices < c.settings.MinSlices {
		v.Needed = c.needed(v)
		return v
	}
	for _, m := range v.Metrics {
		if m.Outcome != Pass {
			v.Metric = m.Metric
			v.Needed = c.needed(v)
			return v
		}
	}
	v.Outcome, v.Reason = Pass, ReasonNonInferior
	return v
}

// Failed reports whether a metric has failed; it is cheap enough to be asked after every slice.
func (c *Comparison) Failed() bool { return c.state.Failed != nil }

// obstacle names what keeps the data from being judged.
func (c *Comparison) obstacle(now int64) (Reason, bool) {
	s := &c.state
	a, b := &s.Arms[Canary], &s.Arms[Baseline]
	for _, f := range faultReasons {
		for _, arm := range []*armState{a, b} {
			if at := arm.FaultAt[bitOf(f.fault)]; at > 0 && now-(s.First+at-1) < c.settings.SilentSlices {
				return f.reason, true
			}
		}
	}
	silent := func(last int64) bool { return now-last >= c.settings.SilentSlices }
	stopped := func(metric *Excess, x, y int64) bool { return metric.N > 0 && (silent(x) || silent(y)) }
	switch {
	case silent(a.LastTraffic):
		return ReasonNoTraffic, true
	case silent(b.LastTraffic):
		return ReasonBaselineGone, true
	case stopped(&s.Memory, a.LastMemory, b.LastMemory), stopped(&s.CPU, a.LastCPU, b.LastCPU):
		return ReasonMetricsStopped, true
	case s.Share.mismatched():
		return ReasonShareMismatch, true
	}
	return "", false
}

func bitOf(f Faults) int {
	for bit := range 8 {
		if f == 1<<bit {
			return bit
		}
	}
	return 0
}

// maxNeeded bounds the estimate of what is still needed; beyond, there is none.
const maxNeeded = 1e9

// errorsNeed, over the margin, is about how many requests of each arm it takes to show that errors are within it, if there are none.
const errorsNeed = 5.6

// needed estimates how many more requests of the canary it takes until a verdict. The log of an e-value grows with the number of
// requests where its null is false: the slowest of the metrics that must pass decides, or the one that is about to fail.
func (c *Comparison) needed(v Verdict) uint64 {
	if v.Canary == 0 {
		return c.settings.MinRequests
	}
	n := float64(v.Canary)
	total := float64(c.settings.MinRequests)
	if c.state.Slices > 0 {
		total = max(total, n*float64(c.settings.MinSlices)/float64(c.state.Slices))
	}
	fails := math.Inf(1)
	for _, m := range v.Metrics {
		if m.LogE > 0 {
			fails = min(fails, n*-math.Log(c.alphaOf(m.Metric))/m.LogE)
		}
		if m.Outcome == Pass || m.Metric == MetricMemory || m.Metric == MetricCPU {
			continue
		}
		wanted := -math.Log(c.settings.Alpha / 2)
		metric := math.Inf(1)
		if m.LogEPass > 0 {
			metric = n * wanted / m.LogEPass
		}
		if least := errorsNeed / c.settings.ErrorMargin; m.Metric != MetricLatency && n < least {
			metric = min(metric, least)
		}
		total = max(total, metric)
	}
	total = min(total, fails)
	if total > maxNeeded {
		return 0
	}
	return uint64(max(math.Ceil(total-n), 1))
}

// String is a short form for logs and tests.
func (v Verdict) String() string {
	return fmt.Sprintf("%s (%s %s) after %d and %d requests", v.Outcome, v.Reason, v.Metric, v.Canary, v.Baseline)
}
