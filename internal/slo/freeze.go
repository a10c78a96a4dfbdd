// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What maintenance does.
const (
	// EffectExclude leaves the events of the time out of every budget and alert.
	EffectExclude = "exclude"
	// EffectMute counts them, and lets no alert begin or end.
	EffectMute = "mute"
)

const maxMaintenance = 256

var errMaintenance = errors.New("maintenance")

// Maintenance is time, announced ahead, in which objectives are frozen.
type Maintenance struct {
	Name string
	// Objectives and Services say which objectives, and groups, it is about, by either; all when both are empty.
	Objectives, Services []string
	// Start is when it begins, or begins first, as the clocks of Zone show it.
	Start, Zone string
	// Length is how long it lasts.
	Length Duration
	// Every and Unit repeat it, as a Calendar does; Every is 0 for once.
	Every int
	Unit  Unit
	// Until ends the repetition: none begins at it or later. No end when empty.
	Until string
	// Effect is EffectExclude or EffectMute; EffectExclude when empty.
	Effect string
}

// freeze is a Maintenance ready for use.
type freeze struct {
	Maintenance
	repeats *calendar // nil for once
	first   int64     // when it begins first, ns
	until   int64
}

// Validate names the first value that makes no sense.
func (m Maintenance) Validate() error {
	_, err := m.compile()
	return err
}

func (m Maintenance) compile() (*freeze, error) {
	fail := func(format string, args ...any) (*freeze, error) {
		return nil, fmt.Errorf("%w %s: %s", errMaintenance, m.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case m.Name == "":
		return fail("name must not be empty")
	case m.Effect != "" && m.Effect != EffectExclude && m.Effect != EffectMute:
		return fail("effect must be exclude or mute (got %q)", m.Effect)
	case m.Length < Duration(time.Minute) || m.Length > Duration(31*Day):
		return fail("length must be between 1m and 31d (got %s)", m.Length)
	}
	once := Calendar{Start: m.Start, Zone: m.Zone, Every: 1, Unit: UnitDay}
	c, err := once.compile()
	if err != nil {
		return fail("%v", err)
	}
	f := &freeze{Maintenance: m, first: c.boundary(0), until: noTime}
	if m.Until != "" {
		end := once
		end.Start = m.Until
		last, err := end.compile()
		if err != nil {
			return fail("until: %v", err)
		}
		if f.until = last.boundary(0); f.until <= f.first || m.Every == 0 {
			return fail("until must be later than start, and needs every (got %q)", m.Until)
		}
	}
	if m.Every == 0 {
		return f, nil
	}
	repeat := Calendar{Start: m.Start, Zone: m.Zone, Every: m.Every, Unit: m.Unit}
	if f.repeats, err = repeat.compile(); err != nil {
		return fail("%v", err)
	}
	if time.Duration(m.Length) > repeat.Nominal()-time.Hour {
		return fail("length must be at least 1h shorter than every (got %s and %s)", m.Length, repeat)
	}
	return f, nil
}

// about reports whether a group of an objective is meant.
func (f *freeze) about(o *objective, g *group) bool {
	return len(f.Objectives) == 0 && len(f.Services) == 0 || slices.Contains(f.Objectives, o.Name) || slices.Contains(f.Services, o.service(g))
}

// overlaps reports whether any of [from, to] is maintenance.
func (f *freeze) overlaps(from, to int64) bool {
	if f.repeats == nil {
		return f.first <= to && from < f.first+int64(f.Length)
	}
	for t := to; t >= f.first; {
		begin, _ := f.repeats.period(t)
		if begin+int64(f.Length) <= from {
			return false
		}
		if begin >= f.first && begin <= to && (f.until == noTime || begin < f.until) {
			return true
		}
		t = begin - 1
	}
	return false
}

// checkMaintenance makes sure that what maintenance names is there: a misspelt name would freeze nothing, and nobody would know.
func (d *definition) checkMaintenance(freezes []*freeze) error {
	for _, f := range freezes {
		for _, name := range f.Objectives {
			at, ok := d.byName[name]
			if !ok {
				return fmt.Errorf("%w %s: there is no objective %q", errMaintenance, f.Name, name)
			}
			if d.objectives[at].composite() && f.Effect != EffectMute {
				return fmt.Errorf("%w %s: %s is a composite, whose events are those of its parts: name these, or set effect: mute", errMaintenance, f.Name, name)
			}
		}
	}
	return nil
}

func compileMaintenance(all []Maintenance) ([]*freeze, error) {
	if len(all) > maxMaintenance {
		return nil, fmt.Errorf("%w: at most %d are taken (got %d)", errMaintenance, maxMaintenance, len(all))
	}
	names := map[string]bool{}
	var out []*freeze
	for _, m := range all {
		f, err := m.compile()
		if err != nil {
			return nil, err
		}
		if names[m.Name] {
			return nil, fmt.Errorf("%w %s: the name is used twice", errMaintenance, m.Name)
		}
		names[m.Name] = true
		out = append(out, f)
	}
	return out, nil
}

// frozenLocked names the maintenance a group is in at t, of either effect; empty when none.
func (e *Engine) frozenLocked(o *objective, g *group, t int64) string {
	for _, f := range e.freezes {
		if f.overlaps(t, t) && f.about(o, g) {
			return f.Name
		}
	}
	return ""
}

// excludeLocked notes what of a batch is left out of the book, and returns the rest.
func (e *Engine) excludeLocked(o *objective, g *group, all []sliceCounts) []sliceCounts {
	isOut := func(s sliceCounts) bool { return e.excludedLocked(o, g, s.start) }
	if !slices.ContainsFunc(all, isOut) {
		return all
	}
	var counted []sliceCounts
	for _, s := range all {
		if isOut(s) {
			e.stats.EventsExcluded += uint64(s.GoodN) + uint64(s.BadN)
			g.edge, g.latest = max(g.edge, s.start), max(g.latest, s.latest)
			continue
		}
		counted = append(counted, s)
	}
	return counted
}

// excludedLocked reports whether events of t are left out.
func (e *Engine) excludedLocked(o *objective, g *group, t int64) bool {
	for _, f := range e.freezes {
		if f.Effect != EffectMute && f.overlaps(t, t) && f.about(o, g) {
			return true
		}
	}
	return false
}

// heldLocked reports whether the alerts of a group stay as they are at t: in maintenance and, where its events counted, for another `after`,
// so that what was bad then starts no alert when it is over.
func (e *Engine) heldLocked(o *objective, g *group, t int64, after Duration) bool {
	for _, f := range e.freezes {
		from := t
		if f.Effect == EffectMute {
			from = t - int64(after)
		}
		if f.overlaps(from, t) && f.about(o, g) {
			return true
		}
	}
	return false
}
