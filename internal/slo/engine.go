// SPDX-License-Identifier: Apache-2.0

// Package slo computes service level indicators, error budgets and burn-rate alerts from weighted events in event time.
//
// The engine holds the book: for each objective and group the events of every window, in rings of slices of fixed size. Events
// come in tallies, one a batch, and count when the tally is committed. It has no clock, no goroutine and no I/O: time comes in as
// an argument, and state leaves and enters as bytes.
package slo

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
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

// Settings are those of the whole book.
type Settings struct {
	Profile Profile
	// MaxLateness is how far behind its source's watermark an event may be and still count.
	MaxLateness time.Duration
	// MaxFuture is how far ahead of the clock an event may be; 0 turns the check off, for recordings moved into the future.
	MaxFuture time.Duration
	// AbsentAfter is how long after the last telemetry time counts as observed; the shortest alerting window when 0.
	AbsentAfter time.Duration
	// Significance is the chance, for a service that burns its budget at rate 1, to show as many bad events as an alert needs.
	Significance float64
	// MinBadEvents is the least number of bad events, as seen, in the long window of a firing rule.
	MinBadEvents uint32
	// Contributors are the attributes whose worst values an alert names.
	Contributors []string
}

// DefaultSettings are the book's settings where the user gives none.
func DefaultSettings() Settings {
	return Settings{
		Profile: Workbook(), MaxLateness: 5 * time.Minute, MaxFuture: time.Minute, Significance: 1e-4, MinBadEvents: 3,
		Contributors: []string{"http.route", "service.version", "service.instance.id", "k8s.pod.name"},
	}
}

var errSettings = errors.New("slo settings")

// Validate names the first setting that makes no sense.
func (s Settings) Validate() error {
	if err := s.Profile.Validate(); err != nil {
		return err
	}
	switch {
	case s.MaxLateness < 0 || s.MaxLateness > time.Hour:
		return fmt.Errorf("%w: max_lateness must be between 0 and 1h (got %s)", errSettings, s.MaxLateness)
	case s.MaxFuture < 0:
		return fmt.Errorf("%w: max_future must not be negative (got %s)", errSettings, s.MaxFuture)
	case s.AbsentAfter < 0 || s.AbsentAfter > time.Hour:
		return fmt.Errorf("%w: absent_after must be between 0 and 1h (got %s)", errSettings, s.AbsentAfter)
	case !(s.Significance > 0 && s.Significance <= 1):
		return fmt.Errorf("%w: significance must be in (0, 1] (got %v)", errSettings, s.Significance)
	case len(s.Contributors) > 16:
		return fmt.Errorf("%w: contributors takes at most 16 attributes (got %d)", errSettings, len(s.Contributors))
	}
	return nil
}

// Engine is the book. It is safe for use by many goroutines.
type Engine struct {
	settings Settings
	fine     time.Duration
	wake     chan struct{} // has a value when transitions or very many events wait

	mu          sync.Mutex // guards all below
	objectives  []*objective
	byName      map[string]int
	sources     map[uint64]int64 // watermark of each source: its latest event time
	coverage    coverage
	edge        int64    // latest event time of all sources
	first       int64    // start of the earliest slice with telemetry
	now         int64    // event time, moved on by the clock in silence
	arrived     int64    // clock reading of the last commit
	firing      []firing // groups that have an open alert, or had one since the last look
	transitions []Transition
	handedOut   []Transition // taken, and not yet delivered or returned
	journal     journal
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
}

type objective struct {
	Objective
	digest     string
	id         [digestSize]byte // the digest's bytes
	layout     layout
	profile    *Profile  // its alert rules
	thresholds []float64 // one a rule
	groups     map[string]*group
	overflow   *group
	swept      int64    // slice in which a full table was last searched for empty groups
	deleted    []string // keys of groups evicted since the last snapshot
	doubts     *doubts  // of histograms; nil until one is read
}

type group struct {
	key          string
	values       []string
	series       series
	edge         int64 // start of the newest slice with an event
	latest       int64 // latest event time
	alerts       []alertState
	exemplars    exemplars
	contributors contributors
	pending      []sliceCounts // not yet emitted
	inflight     []sliceCounts // emitted, and not yet delivered or returned; in order
	dirty        bool          // changed since the last snapshot
	stored       bool          // listed in the stored index
}

// firing is a group with an open alert.
type firing struct {
	objective *objective
	group     *group
}

func (g *group) firing() bool {
	return slices.ContainsFunc(g.alerts, func(a alertState) bool { return a.firing })
}

// New makes an empty book.
func New(settings Settings, objectives []Objective) (*Engine, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	shortest := settings.Profile.shortest()
	if settings.AbsentAfter == 0 {
		settings.AbsentAfter = shortest
	}
	e := &Engine{
		settings: settings, fine: fineWidth(shortest), wake: make(chan struct{}, 1),
		byName: map[string]int{}, sources: map[uint64]int64{}, edge: noTime, now: noTime, first: math.MaxInt64,
	}
	windows := make([]time.Duration, 0, len(settings.Profile.Windows)+1)
	for _, w := range settings.Profile.Windows {
		windows = append(windows, time.Duration(w))
	}
	all := slices.Clone(windows)
	for _, o := range objectives {
		if err := o.Validate(); err != nil {
			return nil, err
		}
		if _, ok := e.byName[o.Name]; ok {
			return nil, fmt.Errorf("%w %s: the name is used twice", errObjective, o.Name)
		}
		state := &objective{
			Objective: o, digest: o.Digest(), groups: map[string]*group{}, swept: noTime,
			profile: &e.settings.Profile,
			layout:  newLayout(e.fine, append(slices.Clone(windows), time.Duration(o.Window)), settings.MaxLateness),
		}
		if _, err := hex.Decode(state.id[:], []byte(state.digest)); err != nil {
			return nil, fmt.Errorf("%w %s: digest: %w", errObjective, o.Name, err)
		}
		for _, r := range settings.Profile.Rules {
			state.thresholds = append(state.thresholds, r.Threshold(time.Duration(o.Window), o.Target))
		}
		e.byName[o.Name] = len(e.objectives)
		e.objectives = append(e.objectives, state)
		all = append(all, time.Duration(o.Window))
	}
	e.coverage = newCoverage(newLayout(e.fine, all, settings.MaxLateness+settings.AbsentAfter), settings.AbsentAfter)
	return e, nil
}

// Objectives lists the objectives; the index is the one tallies use.
func (e *Engine) Objectives() []Objective {
	out := make([]Objective, len(e.objectives))
	for i, o := range e.objectives {
		out[i] = o.Objective
	}
	return out
}

// Objective finds an objective's index by name.
func (e *Engine) Objective(name string) (int, bool) {
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

// Commit counts a tally. now is the clock's reading.
func (e *Engine) Commit(t *Tally, now time.Time) {
	e.recordTally(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recordCommitLocked(t, now)
	e.commitTallyLocked(t, now.UnixNano())
}

func (e *Engine) commitTallyLocked(t *Tally, now int64) {
	for _, s := range t.sources {
		e.observeLocked(s)
	}
	for _, start := range t.seen {
		e.coverage.mark(start)
		// A slice far behind the others comes from a wrong clock, and does not make the book any older.
		if e.edge == noTime || start >= e.edge-int64(e.settings.MaxLateness)-int64(e.fine) {
			e.first = min(e.first, start)
		}
	}
	if e.edge != noTime {
		e.now = e.edge
	}
	e.arrived = now
	e.moved = true
	for _, d := range t.doubts {
		e.doubtLocked(d)
	}
	for _, entry := range t.touched {
		o := e.objectives[entry.objective]
		if g := e.groupLocked(o, entry.group); g != nil {
			e.commitLocked(o, g, entry, t.values)
		}
	}
	e.expireLocked()
}

func (e *Engine) observeLocked(s sourceMark) {
	e.edge = max(e.edge, s.latest)
	watermark, known := e.sources[s.source]
	if !known && len(e.sources) >= maxSources {
		e.evictSourcesLocked()
	}
	if !known || s.latest > watermark {
		e.sources[s.source] = s.latest
	}
}

// evictSourcesLocked forgets the tenth of the sources that have been silent longest, so that a flood of new ones stays cheap. Should
// one return, its lateness is judged afresh.
func (e *Engine) evictSourcesLocked() {
	ids := slices.Collect(maps.Keys(e.sources))
	slices.SortFunc(ids, func(a, b uint64) int { return cmp.Or(cmp.Compare(e.sources[a], e.sources[b]), cmp.Compare(a, b)) })
	for _, id := range ids[:max(1, len(ids)/10)] {
		delete(e.sources, id)
		e.stats.SourcesEvicted++
	}
}

func (e *Engine) groupLocked(o *objective, key string) *group {
	if g, ok := o.groups[key]; ok {
		return g
	}
	values, ok := parseGroupKey(key, len(o.GroupBy))
	if !ok {
		return nil
	}
	if len(o.GroupBy) > 0 && len(o.groups) >= o.MaxGroups && !e.evictGroupLocked(o) {
		if o.overflow == nil {
			for i := range values {
				values[i] = Overflow
			}
			o.overflow = e.newGroup(o, string(appendGroupKey(nil, values)), values)
		}
		return o.overflow
	}
	// Strings of a tally may pin a whole request.
	values, _ = parseGroupKey(strings.Clone(key), len(o.GroupBy))
	g := e.newGroup(o, string(appendGroupKey(nil, values)), values)
	o.groups[g.key] = g
	return g
}

func (e *Engine) newGroup(o *objective, key string, values []string) *group {
	return &group{
		key: key, values: values, series: newSeries(o.layout), edge: noTime, latest: noTime,
		alerts: make([]alertState, len(o.profile.Rules)),
	}
}

// evictGroupLocked makes room by forgetting one group without an event in the objective's window. A full table is searched once
// a slice of event time, so that a flood of new groups stays cheap.
func (e *Engine) evictGroupLocked(o *objective) bool {
	slice := floorDiv(e.now, int64(e.fine))
	if slice == o.swept {
		return false
	}
	var empty *group
	for _, g := range o.groups {
		if g.latest >= e.now-int64(o.Window) || len(g.pending) > 0 || len(g.inflight) > 0 || g.firing() {
			continue
		}
		if empty == nil || g.latest < empty.latest || g.latest == empty.latest && g.key < empty.key {
			empty = g
		}
	}
	if empty != nil {
		delete(o.groups, empty.key)
		o.deleted = append(o.deleted, empty.key)
		e.stats.GroupsEvicted++
		return true
	}
	o.swept = slice
	return false
}

func (e *Engine) commitLocked(o *objective, g *group, entry *Entry, values []contribution) {
	g.dirty = true
	for _, x := range entry.exemplars {
		g.exemplars.add(x)
	}
	if len(entry.slices) > 0 {
		generation := floorDiv(entry.slices[len(entry.slices)-1].start, e.generation())
		for _, p := range entry.parts {
			if p.good != 0 || p.bad != 0 {
				g.contributors.add(generation, tallied{contribution: values[p.id], good: p.good, bad: p.bad})
			}
		}
	}
	for _, s := range entry.slices {
		if !g.series.add(s.start, s.Counts) {
			e.stats.CommittedTooOld++
			continue
		}
		if e.emitting {
			e.pendLocked(g, s)
			if len(g.pending) >= manyPending {
				e.pressing = true
				e.wakeLocked()
			}
		}
		if s.start > g.edge && g.edge != noTime {
			e.expireGroupLocked(o, g, s.latest)
		}
		g.edge = max(g.edge, s.start)
		g.latest = max(g.latest, s.latest)
		e.judgeLocked(o, g)
	}
}

func (e *Engine) pendLocked(g *group, s sliceCounts) {
	i, found := slices.BinarySearchFunc(g.pending, s.start, func(p sliceCounts, start int64) int {
		return int(p.start/int64(e.fine) - start/int64(e.fine))
	})
	if found {
		g.pending[i].count(s.latest, s.Counts)
		return
	}
	g.pending = slices.Insert(g.pending, i, s)
	if len(g.pending) > maxPending {
		g.pending = slices.Delete(g.pending, 0, 1)
		e.stats.SlicesDropped++
	}
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
	if e.edge == noTime {
		return
	}
	if silent := now.UnixNano() - e.arrived; e.arrived != 0 && silent > 2*int64(e.fine) {
		e.now = e.edge + silent
		firing := len(e.transitions)
		e.expireLocked()
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

// counted is what the window that ends at t holds.
func (o *objective) counted(g *group, t int64, window time.Duration) Counts {
	return g.series.window(t, window)
}

// remaining is the share of the error budget that is left at t; nil where nothing is known.
func (o *objective) remaining(g *group, t int64) *float64 {
	return budgetRemaining(g.series.window(t, time.Duration(o.Window)), o.Target)
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
