// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"slices"
)

// Delivered tells that events of TakeEvents arrived: a restart will not hand them out again.
func (e *Engine) Delivered(events []SliceEvents) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var w encoder
	w.uint(uint64(len(events)))
	for _, s := range events {
		o := e.objectives[s.index]
		if g := o.find(s.key); g != nil {
			g.inflight = nil
			g.dirty = true
		}
		w.bytes(o.id[:])
		w.text(s.key)
		w.slice(s.counts)
	}
	e.recordLocked(recordEvents, w)
}

func (o *objective) find(key string) *group {
	if g, ok := o.groups[key]; ok {
		return g
	}
	if o.overflow != nil && o.overflow.key == key {
		return o.overflow
	}
	return nil
}

// deliver takes the counts of a slice out of the pending ones.
func (g *group) deliver(s sliceCounts) {
	for i := range g.pending {
		p := &g.pending[i]
		if p.start != s.start {
			continue
		}
		p.Good -= min(p.Good, s.Good)
		p.Bad -= min(p.Bad, s.Bad)
		p.GoodN -= min(p.GoodN, s.GoodN)
		p.BadN -= min(p.BadN, s.BadN)
		if p.Counts == (Counts{}) {
			g.pending = slices.Delete(g.pending, i, i+1)
		}
		return
	}
}

// undelivered are the slices of which nobody said that they arrived.
func (g *group) undelivered() []sliceCounts {
	if len(g.inflight) == 0 {
		return g.pending
	}
	all := slices.Clone(g.inflight)
	for _, p := range g.pending {
		i, found := slices.BinarySearchFunc(all, p.start, compareStart)
		if found {
			all[i].count(p.latest, p.Counts)
		} else {
			all = slices.Insert(all, i, p)
		}
	}
	return all
}

func compareStart(s sliceCounts, start int64) int {
	switch {
	case s.start < start:
		return -1
	case s.start > start:
		return 1
	}
	return 0
}

// transitionID tells transitions apart.
type transitionID struct {
	digest, group, rule string
	firing              bool
	at                  int64
}

func (t *Transition) id() transitionID {
	return transitionID{t.digest, t.key, t.Rule.Name, t.Firing, t.At.UnixNano()}
}

// DeliveredTransitions tells that transitions of TakeTransitions arrived.
func (e *Engine) DeliveredTransitions(ts []Transition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handedOut = nil
	e.journal.alertsMoved, e.moved = true, true
	var w encoder
	w.uint(uint64(len(ts)))
	for i := range ts {
		id := ts[i].id()
		w.text(id.digest)
		w.text(id.group)
		w.text(id.rule)
		w.flag(id.firing)
		w.int(id.at)
	}
	e.recordLocked(recordTransitions, w)
}

func (e *Engine) forgetTransition(id transitionID) {
	e.transitions = slices.DeleteFunc(e.transitions, func(t Transition) bool { return t.id() == id })
	e.journal.alertsMoved = true
}
