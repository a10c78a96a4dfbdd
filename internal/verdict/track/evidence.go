// SPDX-License-Identifier: Apache-2.0

package track

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/verdict"
)

// Envelope fills in what signals made from a comparison have in common. Target, Action, Summary and Severity are the detector's.
func (s *State) Envelope(kind string, target signal.Target, key map[string]string, now time.Time, ttl time.Duration) signal.Envelope {
	from := s.Begin
	if from.After(now) {
		now = from
	}
	e := signal.Envelope{
		ID: signal.NewID(kind, target, key, from), Kind: kind, Version: signal.Version, Target: target,
		ValidFrom: from, UpdatedAt: now.UTC(), ExpiresAt: now.Add(ttl).UTC(),
		Result:     &signal.Result{Value: signal.ResultValue(s.Verdict.Outcome), Reason: string(s.Verdict.Reason)},
		Confidence: signal.Confidence{Value: s.confidence(), Method: "e_process"},
		Evidence:   signal.Evidence{Inputs: []string{"spans"}, Statistics: s.statistics()},
		Expected:   s.expected(),
	}
	switch {
	case s.Ended:
		e.State, e.ExpiresAt = signal.StateResolved, e.UpdatedAt
		e.Expected = nil
	case s.Verdict.Outcome == verdict.Inconclusive && s.Verdict.Reason == verdict.ReasonNeedsMoreData:
		e.State = signal.StatePending
	default:
		e.State = signal.StateFiring
	}
	for _, m := range s.Verdict.Metrics {
		if m.Metric == verdict.MetricMemory || m.Metric == verdict.MetricCPU {
			e.Evidence.Inputs = append(e.Evidence.Inputs, m.Metric)
		}
	}
	for _, id := range s.Exemplars {
		e.Evidence.Exemplars = append(e.Evidence.Exemplars, signal.Exemplar{TraceID: hex.EncodeToString(id[:])})
	}
	return e
}

// Word tells whether there is something new to say.
func (s *State) Word() string {
	return fmt.Sprint(s.Verdict.Outcome, s.Verdict.Reason, s.Verdict.Metric, s.Ended)
}

// Metric returns what the deciding metric says, or the errors if none did.
func (s *State) Metric() verdict.MetricVerdict {
	for _, m := range s.Verdict.Metrics {
		if m.Metric == cmp.Or(s.Verdict.Metric, verdict.MetricErrors) {
			return m
		}
	}
	return verdict.MetricVerdict{}
}

// confidence is 1 − 1/e of the deciding e-value: an e-value of e rejects at level 1/e. Half stands for not knowing.
func (s *State) confidence() float64 {
	m := s.Metric()
	logE := 0.0
	switch s.Verdict.Outcome {
	case verdict.Fail:
		logE = m.LogE
	case verdict.Pass:
		logE = math.Inf(1)
		for _, m := range s.Verdict.Metrics {
			if m.LogEPass > 0 {
				logE = min(logE, m.LogEPass)
			}
		}
		logE = min(max(logE, math.Log(20)), 50)
	}
	return round(max(0.5, 1-math.Exp(-logE)))
}

func (s *State) statistics() map[string]float64 {
	v := &s.Verdict
	stats := map[string]float64{
		"requests.canary": float64(v.Canary), "requests.baseline": float64(v.Baseline), "slices": float64(v.Slices),
		"errors.canary": float64(v.CanaryErrors), "errors.baseline": float64(v.BaselineErrors),
	}
	if v.Needed > 0 {
		stats["requests.needed"] = float64(v.Needed)
	}
	for _, m := range v.Metrics {
		stats[m.Metric+".log10_e"] = round(m.LogE / math.Ln10)
		if m.High > 0 || m.Metric == verdict.MetricMemory || m.Metric == verdict.MetricCPU {
			stats[m.Metric+".effect"] = round(m.Effect) // without an upper bound the estimate says nothing
		}
		if m.Metric == verdict.MetricMemory || m.Metric == verdict.MetricCPU {
			continue
		}
		stats[m.Metric+".effect.low"] = round(m.Low)
		if m.High > 0 {
			stats[m.Metric+".effect.high"] = round(m.High)
		}
		if m.At > 0 {
			stats[m.Metric+".threshold_seconds"] = round(m.At)
		}
	}
	for name, x := range stats {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			delete(stats, name)
		}
	}
	return stats
}

// expected predicts that the effect measured so far stays if nothing is done.
func (s *State) expected() *signal.Expected {
	if s.Verdict.Outcome != verdict.Fail {
		return nil
	}
	m := s.Metric()
	delta := round(m.Effect - 1)
	if m.High == 0 && m.Low > 0 {
		delta = round(m.Low - 1) // at least
	}
	x := &signal.Expected{Metric: "canary." + m.Metric + ".effect", Delta: &delta}
	if m.High > 0 && m.Low > 0 {
		x.Interval = []float64{round(m.Low - 1), round(m.High - 1)}
	}
	return x
}

func round(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	scale := math.Pow(10, 4-math.Ceil(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

// metricNames are how a summary names the metrics.
var metricNames = map[string]string{
	verdict.MetricErrors: "the odds of an error", verdict.MetricLogged: "the odds of a logged error",
	verdict.MetricLatency: "the odds of a request slower than %s", verdict.MetricMemory: "its bytes of memory", verdict.MetricCPU: "its CPU seconds",
}

// Because says in words why the verdict is what it is.
func (s *State) Because() string {
	v, m := &s.Verdict, s.Metric()
	switch v.Outcome {
	case verdict.Fail:
		name := metricNames[m.Metric]
		if m.Metric == verdict.MetricLatency {
			name = fmt.Sprintf(name, time.Duration(m.At*float64(time.Second)).Round(100*time.Microsecond))
		}
		size := fmt.Sprintf("%.3g", m.Effect)
		if m.High == 0 && m.Low > 0 {
			size = fmt.Sprintf("at least %.3g", m.Low)
		}
		return fmt.Sprintf("%s are %s times those beside it (e-value %.2g) after %d requests", name, size, math.Exp(min(m.LogE, 200)), v.Canary)
	case verdict.Pass:
		return fmt.Sprintf("it is shown to be not worse than what runs beside it, after %d requests", v.Canary)
	}
	if v.Reason == verdict.ReasonNeedsMoreData {
		what := "after %d requests nothing is shown yet"
		if v.Metric != "" {
			what = "after %d requests it is not shown to be as good in " + v.Metric
		}
		if v.Needed > 0 {
			return fmt.Sprintf(what+"; about %d more are needed", v.Canary, v.Needed)
		}
		return fmt.Sprintf(what, v.Canary)
	}
	return fmt.Sprintf("%s, after %d requests", v.Reason, v.Canary)
}

// Candidate wraps an envelope for the frame. requests are those the evidence rests on.
func (s *State) Candidate(e signal.Envelope, cause string) detect.Candidate {
	c := detect.Candidate{
		Envelope: e, Cause: cause, Reliability: true, Effort: detect.EffortLow,
		Exposure: float64(s.Verdict.Canary + s.Verdict.Baseline),
	}
	if s.Verdict.Outcome == verdict.Fail && s.Verdict.Metric == verdict.MetricErrors {
		c.Benefit.Budget = min(max(1-1/max(s.Metric().Effect, 1), 0), 1)
	}
	return c
}

// Voice remembers what was said last about each comparison, so that it is said again only when it changed or half its time is over.
type Voice struct {
	TTL  time.Duration
	said map[string]said
}

type said struct {
	word string
	at   time.Time
}

// Says reports whether s is to be said now.
func (v *Voice) Says(s *State, now time.Time) bool {
	if v.said == nil {
		v.said = map[string]said{}
	}
	id := fmt.Sprintf("%q %q %q", []string{s.Key.Service, s.Key.Namespace, s.Key.Environment, s.Key.Subject}, s.Canary, s.Baseline)
	last, known := v.said[id]
	if known && last.word == s.Word() && now.Sub(last.at) <= v.TTL/2 {
		return false
	}
	if s.Ended {
		delete(v.said, id)
		return known
	}
	v.said[id] = said{word: s.Word(), at: now}
	return true
}
