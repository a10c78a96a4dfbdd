// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"time"
)

// ResolveReason says why an alert ended.
type ResolveReason string

const (
	// ReasonRecovered says that the short window stayed below the threshold for its own length.
	ReasonRecovered ResolveReason = "recovered"
	// ReasonInsufficientData says that no event came for the length of the long window, so nothing is left that supports the alert.
	ReasonInsufficientData ResolveReason = "insufficient_data"
)

// alertState is what one rule remembers of one group. The machine:
//
//	state    | condition                                                       | next
//	quiet    | both windows burn at the threshold, and their bad events are    | firing
//	         | more than chance brings, and the book is at least as old as the |
//	         | short window; all that for as long as the rule waits, without a |
//	         | gap                                                             |
//	firing   | short window below the threshold                                | clearing
//	clearing | short window at or above the threshold                          | firing
//	clearing | below it for the length of the short window                     | quiet (recovered)
//	clearing | no event for longer than the short window                       | clearing, from the start
//	firing   | no event for the length of the long window                      | quiet (insufficient_data)
//	any      | the short window holds no event                                 | the same: a gap is unknown time
type alertState struct {
	firing     bool
	startedAt  int64 // event time, ns
	clearSince int64 // slice start, 0 while not clearing
	seen       int64 // slice last judged
	hotSince   int64 // slice since which a rule that waits has had its condition; 0 while it has not
}

// reading is what a rule looks at.
type reading struct {
	short, long Counts
	threshold   float64
	slice       int64 // start of the slice judged, ns
	at          int64 // event time, ns
	significant bool
	young       bool // the book has not seen a whole short window yet
}

// hot reports whether both windows burn at the threshold.
func (r reading) hot(target float64) bool {
	short, _ := burn(r.short, target)
	long, _ := burn(r.long, target)
	return short >= r.threshold && long >= r.threshold
}

// burn is the bad ratio over the ratio the target allows.
func burn(c Counts, target float64) (float64, bool) {
	ratio, ok := c.BadRatio()
	return ratio / (1 - target), ok
}

// step moves the machine and reports whether the alert changed between firing and not.
func (a *alertState) step(r reading, target float64, short, wait time.Duration) bool {
	shortBurn, known := burn(r.short, target)
	if !known {
		return false
	}
	gap := r.slice-a.seen > int64(short)
	a.seen = r.slice
	hot := shortBurn >= r.threshold
	if !a.firing {
		if !r.hot(target) || !r.significant || r.young {
			a.hotSince = 0
			return false
		}
		if a.hotSince == 0 || gap {
			a.hotSince = r.slice
		}
		if r.slice-a.hotSince < int64(wait) {
			return false
		}
		*a = alertState{firing: true, startedAt: r.at, seen: r.slice}
		return true
	}
	switch {
	case hot:
		a.clearSince = 0
	case a.clearSince == 0 || gap:
		a.clearSince = r.slice
	case r.slice-a.clearSince >= int64(short):
		a.firing = false
		a.clearSince = 0
		return true
	}
	return false
}

// Transition is one change of one alert, with its evidence. Numbers that are not known are nil.
type Transition struct {
	Objective Objective
	Service   string
	Group     []GroupValue
	Profile   string
	Rule      Rule
	Firing    bool
	// Reason is set when the alert resolved.
	Reason ResolveReason
	// At is the event time of the transition, StartedAt that of the transition to firing: the identity of the episode.
	At, StartedAt       time.Time
	BurnLong, BurnShort *float64
	Threshold           float64
	BudgetRemaining     *float64
	// Coverage is the share of the rule's long window that was observed.
	Coverage     float64
	Good, Bad    float64
	Exemplars    []TraceID
	Contributors []Contributor

	digest, key string // whose it is
}

// GroupValue is one group_by attribute and its value.
type GroupValue struct{ Attribute, Value string }
