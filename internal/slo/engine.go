// SPDX-License-Identifier: Apache-2.0

// Package slo computes service level indicators, error budgets and burn-rate alerts from weighted events in event time.
//
// The engine holds the book: for each objective and group the events of every window, in rings of slices of fixed size. Events
// come in tallies, one a batch, and count when the tally is committed. It has no clock, no I/O and, but while it is restored,
// no goroutine: time comes in as an argument, and state leaves and enters as bytes.
package slo

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Overflow is the value of every group_by attribute in the group that takes what exceeds max_groups.
const Overflow = "otel.cardinality_overflow"

const (
	maxSources     = 10_000
	maxTransitions = 4096
	maxPending     = 4096
	manyPending    = 256 // a reader is woken before the bound is reached: a replay can outrun its timer
	noTime         = math.MinInt64
)

// Engine is the book. It is safe for use by many goroutines.
type Engine struct {
	settings Settings
	fine     time.Duration
	wake     chan struct{} // has a value when transitions or very many events wait

	generations atomic.Uint64 // changes of objectives

	mu          sync.Mutex // guards all below
	objectives  []*objective
	byName      map[string]int
	freezes     []*freeze         // maintenance, each with the period it was last asked for
	orphans     map[string]orphan // stored state of objectives that are not defined, by digest
	condemned   []string          // keys of stored parts to delete with the next snapshot
	sources     map[uint64]int64  // watermark of each source: its latest event time
	coverage    coverage
	edge        int64    // latest event time of all sources
	first       int64    // start of the earliest slice with telemetry
	now         int64    // event time, moved on by the clock in silence
	arrived     int64    // clock reading of the last commit
	astraySince int64    // clock reading since which the book has been ahead of the clock; 0 while it is not
	firing      []firing // groups that have an open alert, or had one since the last look
	transitions []Transition
	handedOut   []Transition // taken, and not yet delivered or returned
	citations   []citation
	journal     journal
	audit       audit
	owner       string // who takes events and transitions
	emitting    bool
	pressing    bool // very many events wait
	moved       bool // time or coverage changed since the last snapshot
	stats       Stats
}

// Stats are totals since the engine was made.
type Stats struct {
	TransitionsDropped uint64
	SlicesDropped      uint64
	GroupsEvicted      uint64
	SourcesEvicted     uint64
	CommittedTooOld    uint64
	EventsInDoubt      uint64 // were being delivered when the process was killed, and are delivered again; as seen
	EventsExcluded     uint64 // left out for maintenance, as seen
}

// firing is a group with an open alert.
type firing struct {
	objective *objective
	group     *group
}

func (g *group) firing() bool {
	return slices.ContainsFunc(g.alerts, func(a alertState) bool { return a.firing })
}

// Objectives lists the objectives; the index is the one tallies use.
// One that was taken out keeps its place and has no name.
func (e *Engine) Objectives() []Objective {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Objective, len(e.objectives))
	for i, o := range e.objectives {
		if !o.retired {
			out[i] = o.Objective
		}
	}
	return out
}

// Objective finds an objective's index by name.
func (e *Engine) Objective(name string) (int, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, ok := e.byName[name]
	return i, ok
}

// Settings are those in force.
func (e *Engine) Settings() Settings { return e.settings }

// SliceWidth is the width of the finest slice.
func (e *Engine) SliceWidth() time.Duration { return e.fine }

// Wake has a value whenever transitions, or very many events, wait to be taken.
func (e *Engine) Wake() <-chan struct{} { return e.wake }

// Bounds are the event times the book accepts from a source at clock time now, both included.
func (e *Engine) Bounds(source uint64, now time.Time) (oldest, newest int64) {
	newest = math.MaxInt64
	if e.settings.MaxFuture > 0 {
		newest = now.Add(e.settings.MaxFuture).UnixNano()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if watermark, ok := e.sources[source]; ok {
		// A watermark beyond what is acceptable now was set by a clock that has been put back since.
		return max(0, min(watermark, newest)-int64(e.settings.MaxLateness)), newest
	}
	return 0, newest
}

func (e *Engine) wakeLocked() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Advance lets time pass in silence: when no batch has come for longer than two slices, event time moves on with the clock, so that alerts
// of sources that fell silent do not stay open for ever.
func (e *Engine) Advance(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgetOrphansLocked(now)
	if e.edge == noTime {
		return
	}
	defer e.auditCoverageLocked(now.UnixNano())
	if now.UnixNano() < e.arrived {
		e.arrived = now.UnixNano() // the clock was put back: silence is counted from there
		e.moved = true
	}
	if silent := now.UnixNano() - e.arrived; e.arrived != 0 && silent > 2*int64(e.fine) {
		e.now = e.edge + silent
		firing := len(e.transitions)
		e.expireLocked()
		e.orderTransitionsLocked(firing)
		if len(e.transitions) != firing {
			var w encoder
			w.int(e.now)
			e.recordLocked(recordSilence, w)
		}
	}
}

func unix(ns int64) time.Time { return time.Unix(0, ns).UTC() }

func burnOf(c Counts, target float64) *float64 {
	if b, ok := burn(c, target); ok {
		return &b
	}
	return nil
}

func budgetRemaining(c Counts, target float64) *float64 {
	if b, ok := burn(c, target); ok {
		left := 1 - b
		return &left
	}
	return nil
}

func (o *objective) service(g *group) string {
	for i, attribute := range o.GroupBy {
		if attribute == serviceName && i < len(g.values) {
			return g.values[i]
		}
	}
	return o.Service
}

func (o *objective) group(g *group) []GroupValue {
	out := make([]GroupValue, 0, len(g.values))
	for i, v := range g.values {
		out = append(out, GroupValue{o.GroupBy[i], v})
	}
	return out
}
