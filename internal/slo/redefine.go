// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// orphanKept is how long the stored state of an objective that is no longer defined is kept: a definition that went missing by mistake
// comes back with its budget.
const orphanKept = 7 * Day

var errFine = errors.New("the shortest alerting window cannot change while the book is open, since it decides how fine events are kept")

// orphan is stored state nobody defines any more.
type orphan struct {
	since  int64    // clock, ns; 0 until the clock is known
	groups []string // keys
}

// Generation counts the changes of the objectives. Whoever compiled them compiles anew when it has changed.
func (e *Engine) Generation() uint64 { return e.generations.Load() }

// Redefine puts other objectives and maintenance in the place of those there are, or leaves everything as it was and says why. An objective keeps its state
// and its index when its Digest stays; one that comes back is restored from get, which may be nil where nothing is stored. What get
// should find must have been written before: the caller saves the book first.
func (e *Engine) Redefine(objectives []Objective, maintenance []Maintenance, get func(key string) ([]byte, error)) (damaged []error, err error) {
	fresh, err := e.define(objectives)
	if err != nil {
		return nil, err
	}
	freezes, err := compileMaintenance(maintenance)
	if err != nil {
		return nil, err
	}
	if err := fresh.checkMaintenance(freezes); err != nil {
		return nil, err
	}
	if fine := e.fineOf(objectives); fine != e.fine {
		return nil, fmt.Errorf("%w (from slices of %s to %s)", errFine, e.fine, fine)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	list, byName, err := e.placeLocked(fresh)
	if err != nil {
		return nil, err
	}
	old := e.objectives
	e.objectives, e.byName, e.freezes = list, byName, freezes
	e.firing = nil
	for i, o := range list {
		switch {
		case o.retired && i < len(old) && !old[i].retired:
			e.orphans[o.digest] = orphan{groups: storedKeys(old[i])}
		case o.retired:
		case i < len(old) && !old[i].retired:
			e.inheritLocked(o, old[i])
		case get != nil:
			delete(e.orphans, o.digest)
			lost, err := e.restoreObjective(o, get)
			if err != nil {
				lost = []error{fmt.Errorf("objective %s: %w", o.Name, err)}
			}
			damaged = append(damaged, lost...)
			e.doubtDeliveryLocked(o)
			e.noteFiringLocked(o)
		}
	}
	e.moved = true
	e.generations.Add(1)
	return damaged, nil
}

// placeLocked gives every objective its place: that of the same digest, or a new one. Places of what is gone stay, retired.
func (e *Engine) placeLocked(fresh definition) ([]*objective, map[string]int, error) {
	list, byName := make([]*objective, len(e.objectives)), map[string]int{}
	at := make(map[string]int, len(list))
	for i, o := range e.objectives {
		at[o.digest] = i
		list[i] = &objective{Objective: Objective{Name: o.Name, GroupBy: o.GroupBy}, digest: o.digest, id: o.id, profile: &e.settings.Profile, retired: true}
	}
	for _, o := range fresh.objectives {
		i, known := at[o.digest]
		if !known {
			i = len(list)
			list = append(list, nil)
		}
		list[i] = o
		byName[o.Name] = i
	}
	if len(list) > maxObjectives {
		return nil, nil, fmt.Errorf("%w: with those that were defined since the start they are %d of at most %d; a restart makes room", errTooMany, len(list), maxObjectives)
	}
	return list, byName, nil
}

// storedKeys are the keys of an objective's groups.
func storedKeys(o *objective) []string {
	var keys []string
	for _, g := range o.sorted() {
		keys = append(keys, g.key)
	}
	return append(keys, o.deleted...)
}

// inheritLocked moves the state of an objective to its new definition.
func (e *Engine) inheritLocked(o, old *objective) {
	o.swept, o.deleted, o.doubts = old.swept, old.deleted, old.doubts
	same := slices.Equal(o.profile.Rules, old.profile.Rules) && slices.Equal(o.layout.rings, old.layout.rings)
	move := func(g *group) *group {
		if !same {
			// Another profile has other rules and windows: the state goes over as it does through a restart.
			moved := e.newGroup(o, g.key, g.values)
			e.decodeGroup(o, moved, e.encodeGroup(old, g))
			moved.pending, moved.inflight = g.pending, g.inflight
			moved.dirty, moved.stored = true, g.stored
			g = moved
		} else if g.slices != nil {
			g.slices.slicing = o.slicing
		}
		if g.firing() {
			e.firing = append(e.firing, firing{o, g})
		}
		return g
	}
	for _, key := range slices.Sorted(maps.Keys(old.groups)) {
		o.groups[key] = move(old.groups[key])
	}
	if old.overflow != nil {
		o.overflow = move(old.overflow)
	}
}

// adoptOrphansLocked notes stored state that no objective claims, by the digests the book was written with.
func (e *Engine) adoptOrphansLocked(get func(string) ([]byte, error)) {
	for digest, o := range e.orphans {
		if slices.ContainsFunc(e.objectives, func(live *objective) bool { return live.digest == digest && !live.retired }) {
			delete(e.orphans, digest)
			continue
		}
		index, err := open(get, objectivePart(digest))
		if err != nil || index == nil {
			continue
		}
		d := decoder{rest: index}
		for range d.length() {
			o.groups = append(o.groups, d.text())
			d.flag()
		}
		e.orphans[digest] = o
	}
}

// forgetOrphansLocked lets go of state that has not been defined for a long time.
func (e *Engine) forgetOrphansLocked(now time.Time) {
	for digest, o := range e.orphans {
		switch {
		case o.since == 0:
			o.since = now.UnixNano()
			e.orphans[digest] = o
			e.moved = true
		case now.UnixNano()-o.since > int64(orphanKept):
			delete(e.orphans, digest)
			e.condemned = append(e.condemned, objectivePart(digest))
			for _, key := range o.groups {
				e.condemned = append(e.condemned, groupPart(digest, key))
			}
			e.moved = true
		}
	}
}

// snapshotOrphansLocked are the parts that are to go.
func (e *Engine) snapshotOrphansLocked() []Part {
	var parts []Part
	for _, key := range e.condemned {
		parts = append(parts, Part{Key: key, Delete: true})
	}
	e.condemned = nil
	return parts
}

// encodeDirectory writes whose state is stored.
func (e *Engine) encodeDirectory(w *encoder) {
	since := map[string]int64{}
	for digest, o := range e.orphans {
		since[digest] = o.since
	}
	for _, o := range e.objectives {
		if !o.retired {
			since[o.digest] = 0
		}
	}
	w.uint(uint64(len(since)))
	for _, digest := range slices.Sorted(maps.Keys(since)) {
		w.text(digest)
		w.int(since[digest])
	}
}

func decodeDirectory(d *decoder) map[string]orphan {
	out := map[string]orphan{}
	for range d.length() {
		digest := d.text()
		out[digest] = orphan{since: d.int()}
	}
	return out
}
