// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// maxObjectives bounds the objectives of a book, those that reloads have retired included.
const maxObjectives = 65_536

var errTooMany = errors.New("too many objectives")

// objective is the live state of one. Its place in the book's list never changes, so whoever holds an index may go on using it.
type objective struct {
	Objective
	digest     string
	id         [digestSize]byte // the digest's bytes
	layout     layout           // of the series; without rings where time slices or components are counted
	slicing    *slicing         // nil unless time slices are counted
	calendar   *calendar        // nil for a rolling window
	profile    *Profile         // its alert rules
	thresholds []float64        // one a rule
	components []component      // of a composite
	wholes     []*objective     // composites it is part of
	groups     map[string]*group
	overflow   *group
	retired    bool     // no longer defined
	swept      int64    // slice in which a full table was last searched for empty groups
	deleted    []string // keys of groups evicted since the last snapshot
	doubts     *doubts  // of histograms; nil until one is read
}

type group struct {
	key          string
	values       []string
	series       series
	slices       *timeslices // where time slices are counted
	periods      periods     // where events of calendar periods are counted
	sampled      *series     // what sampling adds to the variance; nil while nothing was sampled
	edge         int64       // start of the newest slice with an event
	latest       int64       // latest event time
	alerts       []alertState
	exemplars    exemplars
	exemplified  int64 // clock reading when the last of them came
	contributors contributors
	pending      []sliceCounts // not yet emitted
	standing     standing      // what is usual
	durations    *durations    // how long events took; nil until it is known
	inflight     []sliceCounts // emitted, and not yet delivered or returned; in order
	dirty        bool          // changed since the last snapshot
	stored       bool          // listed in the stored index
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
		settings: settings, wake: make(chan struct{}, 1), audit: newAudit(), sources: map[uint64]int64{}, orphans: map[string]orphan{}, edge: noTime, now: noTime, first: math.MaxInt64,
	}
	e.fine = e.fineOf(objectives)
	var err error
	if e.freezes, err = compileMaintenance(settings.Maintenance); err != nil {
		return nil, err
	}
	defined, err := e.define(objectives)
	if err != nil {
		return nil, err
	}
	if err := defined.checkMaintenance(e.freezes); err != nil {
		return nil, err
	}
	e.objectives, e.byName = defined.objectives, defined.byName
	e.coverage = newCoverage(e.fine, settings.AbsentAfter)
	return e, nil
}

// fineOf is the width of the finest slice that all alert rules need.
func (e *Engine) fineOf(objectives []Objective) time.Duration {
	shortest := e.settings.Profile.shortest()
	for _, o := range objectives {
		if o.Profile != nil && len(o.Profile.Windows) > 0 {
			shortest = min(shortest, o.Profile.shortest())
		}
	}
	return fineWidth(shortest)
}

// definition is a list of objectives ready for use, before it takes the place of another.
type definition struct {
	objectives []*objective
	byName     map[string]int
}

// define prepares objectives and finds the components of composites.
func (e *Engine) define(objectives []Objective) (definition, error) {
	d := definition{byName: make(map[string]int, len(objectives))}
	if len(objectives) > maxObjectives {
		return d, fmt.Errorf("%w: a book holds at most %d (got %d)", errTooMany, maxObjectives, len(objectives))
	}
	for _, o := range objectives {
		if _, ok := d.byName[o.Name]; ok {
			return d, fmt.Errorf("%w %s: the name is used twice", errObjective, o.Name)
		}
		state, err := e.prepare(o)
		if err != nil {
			return d, err
		}
		d.byName[o.Name] = len(d.objectives)
		d.objectives = append(d.objectives, state)
	}
	for _, o := range d.objectives {
		if o.composite() {
			if err := d.compose(o); err != nil {
				return d, err
			}
		}
		for _, r := range o.profile.Rules {
			o.thresholds = append(o.thresholds, r.Threshold(time.Duration(o.Window), o.Target))
		}
	}
	return d, nil
}

// prepare makes the empty state of an objective.
func (e *Engine) prepare(o Objective) (*objective, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	state := &objective{groups: map[string]*group{}, swept: noTime, profile: &e.settings.Profile, layout: layout{fine: e.fine}}
	if o.Profile != nil {
		if err := o.Profile.Validate(); err != nil {
			return nil, fmt.Errorf("%w %s: %w", errObjective, o.Name, err)
		}
		state.profile = o.Profile
	}
	if o.Calendar != nil {
		var err error
		if state.calendar, err = o.Calendar.compile(); err != nil {
			return nil, fmt.Errorf("%w %s: %w", errObjective, o.Name, err)
		}
		o.Window = Duration(o.Calendar.Nominal())
	}
	state.Objective, state.digest = o, o.Digest()
	if _, err := hex.Decode(state.id[:], []byte(state.digest)); err != nil {
		return nil, fmt.Errorf("%w %s: digest: %w", errObjective, o.Name, err)
	}
	windows := make([]time.Duration, 0, len(state.profile.Windows)+1)
	for _, w := range state.profile.Windows {
		windows = append(windows, time.Duration(w))
	}
	switch {
	case o.method() != MethodOccurrences:
		state.slicing = newSlicing(o, max(state.reach(), slices.Max(windows)), e.settings.MaxLateness)
	case len(o.Composite) > 0:
	default:
		if o.Calendar == nil {
			windows = append(windows, time.Duration(o.Window))
		}
		state.layout = newLayout(e.fine, windows, e.settings.MaxLateness)
	}
	return state, nil
}

// reach is how far back the budget may look.
func (o *objective) reach() time.Duration {
	if o.Calendar != nil {
		return o.Calendar.longest()
	}
	return time.Duration(o.Window)
}

func (e *Engine) newGroup(o *objective, key string, values []string) *group {
	g := &group{
		key: key, values: values, series: newSeries(o.layout), edge: noTime, latest: noTime,
		alerts: make([]alertState, len(o.profile.Rules)),
	}
	if o.slicing != nil && !o.composite() {
		g.slices = newTimeslices(o.slicing)
	}
	return g
}
