// SPDX-License-Identifier: Apache-2.0

package verdict

import "math"

// Latency is compared at thresholds half an octave apart; that it is not worse by a bucket is tested at the bound of each.
const (
	thresholdStep = 2
	thresholds    = (Buckets - 2) / thresholdStep
	bounds        = Buckets - 2
)

// Comparison is the state of one comparison of two versions: sums and log likelihoods, of a size that does not grow with the traffic.
// It is not safe for concurrent use.
type Comparison struct {
	settings Settings
	state    state
}

// state is what a comparison remembers, in the form in which it is kept.
type state struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Slices is how many slices had traffic in both arms.
	Slices int         `json:"slices"`
	Arms   [2]armState `json:"arms"`

	Errors Odds `json:"errors"`
	Logged Odds `json:"logged"`
	// Slower compares how many requests last longer than a threshold; Near, Far, Tail and End how many of the canary's last longer than
	// one bucket (19 %), two (41 %), four (twice) or eight (four times) above the threshold of the baseline's. Nil where nothing was told.
	Slower [thresholds]*Odds `json:"slower"`
	Near   [bounds]*Odds     `json:"near"`
	Far    [thresholds]*Odds `json:"far"`
	Tail   [thresholds]*Odds `json:"tail"`
	End    [thresholds]*Odds `json:"end"`

	Memory Excess `json:"memory"`
	CPU    Excess `json:"cpu"`
	Share  Share  `json:"share"`

	// Failed holds once a metric has failed: what an e-process has rejected stays rejected.
	Failed *MetricVerdict `json:"failed,omitempty"`
}

// armState is what a comparison remembers of one arm.
type armState struct {
	Requests uint64          `json:"requests"`
	Errors   uint64          `json:"errors"`
	Logged   uint64          `json:"logged"`
	Latency  [Buckets]uint64 `json:"latency"`
	// LastTraffic, LastMemory and LastCPU are the last slices that had any.
	LastTraffic int64 `json:"last_traffic"`
	LastMemory  int64 `json:"last_memory"`
	LastCPU     int64 `json:"last_cpu"`
	// SinceCPU are the requests since CPU was last compared, UsedCPU and WeightCPU what was used meanwhile.
	SinceCPU uint64 `json:"since_cpu"`
	CPU      Gauge  `json:"cpu"`
	// FaultAt is the last slice with each fault, plus one; zero for none.
	FaultAt [8]int64 `json:"fault_at"`
}

// New returns a comparison that begins with slice first.
func New(s Settings, first int64) *Comparison {
	c := &Comparison{settings: s.withDefaults()}
	c.state.First, c.state.Last = first, first-1
	for i := range c.state.Arms {
		c.state.Arms[i].LastTraffic, c.state.Arms[i].LastMemory, c.state.Arms[i].LastCPU = first-1, first-1, first-1
	}
	return c
}

// Promise says which share of the traffic the canary is meant to get from now on, in (0, 1).
func (c *Comparison) Promise(share float64) { c.state.Share.promise(share) }

// Last returns the last slice that was added.
func (c *Comparison) Last() int64 { return c.state.Last }

// Add takes what both arms did in one slice of time. Slices come once each and in order; one that is not after the last is refused.
func (c *Comparison) Add(index int64, canary, baseline *Slice) bool {
	if index <= c.state.Last {
		return false
	}
	c.state.Last = index
	c.addArm(Canary, index, canary)
	c.addArm(Baseline, index, baseline)
	c.addResources(canary, baseline)
	if canary.Requests == 0 || baseline.Requests == 0 || canary.Faults|baseline.Faults != 0 {
		// What one arm did alone, or with data that are wrong, says nothing about the other.
		c.latch()
		return true
	}
	c.state.Slices++
	c.state.Share.add(canary.Requests, baseline.Requests)
	c.state.Errors.add(table{canary.Requests, baseline.Requests, canary.Errors, baseline.Errors})
	c.state.Logged.add(table{
		canary.Requests, baseline.Requests,
		min(canary.Logged, canary.Requests), min(baseline.Logged, baseline.Requests),
	})
	c.addLatency(&canary.Latency, &baseline.Latency)
	c.latch()
	return true
}

func (c *Comparison) addArm(arm Arm, index int64, s *Slice) {
	a := &c.state.Arms[arm]
	a.Requests += s.Requests
	a.Errors += s.Errors
	a.Logged += min(s.Logged, s.Requests)
	for i, n := range s.Latency {
		a.Latency[i] += uint64(n)
	}
	if s.Requests > 0 {
		a.LastTraffic = index
	}
	if s.Memory.Weight > 0 {
		a.LastMemory = index
	}
	if s.CPU.Weight > 0 {
		a.LastCPU = index
	}
	a.SinceCPU += s.Requests
	a.CPU.add(s.CPU)
	for bit := range a.FaultAt {
		if s.Faults&(1<<bit) != 0 {
			a.FaultAt[bit] = index - c.state.First + 1
		}
	}
}

func (c *Comparison) addLatency(canary, baseline *[Buckets]uint32) {
	nc, nb := tail(canary, 0), tail(baseline, 0)
	if nc == 0 || nb == 0 {
		return
	}
	for k := range thresholds {
		from := 1 + k*thresholdStep
		b := tail(baseline, from)
		addTo(&c.state.Slower[k], table{nc, nb, tail(canary, from), b})
		addTo(&c.state.Far[k], table{nc, nb, tail(canary, from+farSteps), b})
		addTo(&c.state.Tail[k], table{nc, nb, tail(canary, from+tailSteps), b})
		addTo(&c.state.End[k], table{nc, nb, tail(canary, from+endSteps), b})
	}
	for k := range bounds {
		addTo(&c.state.Near[k], table{nc, nb, tail(canary, 1+k+nearSteps), tail(baseline, 1+k)})
	}
}

func addTo(o **Odds, t table) {
	if !t.informative() {
		return
	}
	if *o == nil {
		*o = &Odds{}
	}
	(*o).add(t)
}

func (c *Comparison) addResources(canary, baseline *Slice) {
	margin := c.settings.ResourceTolerance
	if canary.Memory.Weight > 0 && baseline.Memory.Weight > 0 {
		used, usual := canary.Memory.mean(), baseline.Memory.mean()
		c.state.Memory.add(used, usual, used > margin*usual)
	}
	a, b := &c.state.Arms[Canary], &c.state.Arms[Baseline]
	if a.CPU.Weight > 0 && b.CPU.Weight > 0 {
		// An instance with little traffic spends more on a request, one with much traffic more in all: only one that does both wastes.
		used, usual := a.CPU.mean(), b.CPU.mean()
		above := used > margin*usual
		if a.SinceCPU > 0 && b.SinceCPU > 0 {
			above = above && a.CPU.Sum/float64(a.SinceCPU) > margin*b.CPU.Sum/float64(b.SinceCPU)
		}
		c.state.CPU.add(used, usual, above)
		a.CPU, b.CPU, a.SinceCPU, b.SinceCPU = Gauge{}, Gauge{}, 0, 0
	}
}

// Merge adds the comparison of the same two versions made by another collector from other requests. What either saw fail, failed.
func (c *Comparison) Merge(other *Comparison) {
	s, o := &c.state, &other.state
	s.First, s.Last = min(s.First, o.First), max(s.Last, o.Last)
	s.Slices = max(s.Slices, o.Slices)
	for i := range s.Arms {
		s.Arms[i].merge(&o.Arms[i])
	}
	s.Errors.Merge(&o.Errors)
	s.Logged.Merge(&o.Logged)
	for k := range thresholds {
		mergeOdds(&s.Slower[k], o.Slower[k])
		mergeOdds(&s.Far[k], o.Far[k])
		mergeOdds(&s.Tail[k], o.Tail[k])
		mergeOdds(&s.End[k], o.End[k])
	}
	for k := range bounds {
		mergeOdds(&s.Near[k], o.Near[k])
	}
	if o.Memory.N > s.Memory.N {
		s.Memory = o.Memory
	}
	if o.CPU.N > s.CPU.N {
		s.CPU = o.CPU
	}
	if s.Share.Expected == o.Share.Expected {
		s.Share.Canary += o.Share.Canary
		s.Share.Baseline += o.Share.Baseline
	}
	if s.Failed == nil {
		s.Failed = o.Failed
	}
	c.latch()
}

func (a *armState) merge(o *armState) {
	a.Requests += o.Requests
	a.Errors += o.Errors
	a.Logged += o.Logged
	for i, n := range o.Latency {
		a.Latency[i] += n
	}
	a.LastTraffic = max(a.LastTraffic, o.LastTraffic)
	a.LastMemory = max(a.LastMemory, o.LastMemory)
	a.LastCPU = max(a.LastCPU, o.LastCPU)
	for i, at := range o.FaultAt {
		a.FaultAt[i] = max(a.FaultAt[i], at)
	}
}

func mergeOdds(o **Odds, other *Odds) {
	switch {
	case other == nil:
	case *o == nil:
		clone := *other
		*o = &clone
	default:
		(*o).Merge(other)
	}
}

// latch remembers the first metric that failed.
func (c *Comparison) latch() {
	if c.state.Failed != nil || !c.mayFail() {
		return
	}
	for _, m := range c.metrics() {
		if m.Outcome == Fail {
			c.state.Failed = &m
			return
		}
	}
}

// mayFail spares the judgement where no metric can have failed.
func (c *Comparison) mayFail() bool {
	s := &c.state
	if c.rejects(MetricErrors, s.Errors.mostHigher()) || c.rejects(MetricLogged, s.Logged.mostHigher()) ||
		c.rejects(MetricMemory, s.Memory.logE()) || c.rejects(MetricCPU, s.CPU.logE()) {
		return true
	}
	for _, o := range s.Slower {
		if c.rejects(MetricLatency, o.mostHigher()) {
			return true
		}
	}
	return false
}

// Exposure returns the requests of an arm.
func (c *Comparison) Exposure(arm Arm) uint64 { return c.state.Arms[arm].Requests }

// slowest returns the threshold at which the canary looks worst, and the log of the e-value averaged over all of them.
func (c *Comparison) slowest() (threshold int, logE float64) {
	var terms [thresholds]float64
	threshold, worst := -1, math.Inf(-1)
	for k, o := range c.state.Slower {
		if o == nil {
			continue // an e-value of one
		}
		terms[k] = o.logEHigher(&logSlower)
		if terms[k] > worst {
			threshold, worst = k, terms[k]
		}
	}
	return threshold, logSumExp(terms[:]) - math.Log(thresholds)
}
