// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"
	"time"
)

// Arm names one side of a comparison.
type Arm int

// The arms: the newer version, and the one that runs beside it.
const (
	Canary Arm = iota
	Baseline
)

// Slice is what one arm did in one slice of event time. Slices of several collectors add up to the slice one collector would have made.
type Slice struct {
	// Requests served; Errors are those that failed, Logged those during which an error was logged.
	Requests uint64 `json:"requests"`
	Errors   uint64 `json:"errors,omitempty"`
	Logged   uint64 `json:"logged,omitempty"`
	// Latency counts the durations of the requests that did not fail, by Bucket.
	Latency [Buckets]uint32 `json:"latency"`
	// Memory in bytes and CPU in cores, as means over instances and samples.
	Memory Gauge `json:"memory"`
	CPU    Gauge `json:"cpu"`
	// Faults are what was wrong with the data.
	Faults Faults `json:"faults,omitempty"`
}

// Observe counts one request.
func (s *Slice) Observe(d time.Duration, failed bool) {
	s.Requests++
	if failed {
		s.Errors++
		return
	}
	s.Latency[Bucket(d)]++
}

// Add adds what another collector saw of the same arm in the same slice.
func (s *Slice) Add(other *Slice) {
	s.Requests += other.Requests
	s.Errors += other.Errors
	s.Logged += other.Logged
	for i, n := range other.Latency {
		s.Latency[i] += n
	}
	s.Memory.add(other.Memory)
	s.CPU.add(other.CPU)
	s.Faults |= other.Faults
}

// Gauge is a weighted mean in two sums.
type Gauge struct {
	Sum    float64 `json:"sum,omitempty"`
	Weight float64 `json:"weight,omitempty"`
}

// Observe adds a value and reports whether it could be used: it must be finite and not negative.
func (g *Gauge) Observe(value, weight float64) bool {
	if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
		return false
	}
	g.add(Gauge{Sum: value * weight, Weight: weight})
	return true
}

func (g *Gauge) add(other Gauge) {
	g.Sum += other.Sum
	g.Weight += other.Weight
}

func (g Gauge) mean() float64 { return g.Sum / g.Weight }

// Faults is a set of what can be wrong with an arm's data. Any of them keeps a comparison from passing.
type Faults uint8

// The faults.
const (
	// MixedInstance: one instance reports two versions at once.
	MixedInstance Faults = 1 << iota
	// ClockSkew: the instance's clock is not that of the others, so its requests fall into other slices.
	ClockSkew
	// NotFinite: a metric was NaN, infinite or negative.
	NotFinite
	// UnitChanged: a metric came in another unit than before.
	UnitChanged
	// AllFaults is all of them.
	AllFaults = MixedInstance | ClockSkew | NotFinite | UnitChanged
)

// faultReasons is in the order in which they are named.
var faultReasons = []struct {
	fault  Faults
	reason Reason
}{
	{MixedInstance, ReasonMixedInstance},
	{ClockSkew, ReasonClockSkew},
	{UnitChanged, ReasonUnitChanged},
	{NotFinite, ReasonNotFinite},
}
