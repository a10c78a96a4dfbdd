// SPDX-License-Identifier: Apache-2.0

package limit

import "time"

// Initial says what the first point of a cumulative stream counts for once it is merged.
type Initial uint8

const (
	// InitialAuto counts the value when the stream's start is known and it was not running before the limiter was; see Settings.WarmUp.
	InitialAuto Initial = iota
	// InitialCount counts the value whenever the start is known.
	InitialCount
	// InitialBaseline never counts it.
	InitialBaseline
)

// Merge says how the members of a merged gauge become one value.
type Merge uint8

// The ways to merge gauges.
const (
	MergeMean Merge = iota
	MergeSum
	MergeMin
	MergeMax
	MergeLast
)

// Limits bound what is kept. The overflow series and the overflow value of an attribute come on top of them.
type Limits struct {
	// Attribute is the number of values of one attribute of one metric in one scope.
	Attribute int
	// Series is the number of series of one metric in one scope.
	Series int
	// Total is the number of series of the whole limiter.
	Total int
	// OverflowSeries is how many whole-series overflow series one metric in one scope may have, one per resource and
	// combination of protected attributes; the next ones share one that carries only the scope.
	OverflowSeries int
	// Metrics is the number of metrics, counted per scope.
	Metrics int
	// Keys is the number of attribute keys of one metric in one scope.
	Keys int
	// Memory is the number of bytes the whole state may take.
	Memory int64
}

// Override changes limits for some metrics, and for some of their attributes. The first match that sets a limit wins.
type Override struct {
	// Metrics and Attributes are patterns; no pattern matches everything.
	Metrics    []string
	Attributes []string
	// Attribute and Series replace the limits of the same name; nil leaves them.
	Attribute *int
	Series    *int
}

// GaugeRule chooses how gauges merge.
type GaugeRule struct {
	Metrics []string
	Merge   Merge
}

// Settings configure a Limiter.
type Settings struct {
	Limits    Limits
	Overrides []Override
	// Protect are patterns of attributes that are never folded on their own, and stay on a series that is folded whole.
	Protect []string
	Rules   []Rule
	Gauges  []GaugeRule
	// Window is how long an admission holds.
	Window time.Duration
	// Displacement is how many times heavier than a seat's owner one must be to take the seat.
	Displacement float64
	// MaxStale is how long a member of a merged gauge or up-down sum counts after its last point.
	MaxStale time.Duration
	// Retention is how long the last value of a cumulative stream is remembered after its last point.
	Retention time.Duration
	// MaxFuture is how far ahead of the clock a point may lie; one further ahead is taken to be from now.
	MaxFuture time.Duration
	// WarmUp is the time after a start without restored state in which the first value of a stream that is older than the limiter
	// is taken for a baseline, not for an increase: an earlier run has reported it already.
	WarmUp  time.Duration
	Initial Initial
	// MaxBuckets bounds each side of a merged exponential histogram.
	MaxBuckets int
}
