// SPDX-License-Identifier: Apache-2.0

package slo

import "slices"

// TakeEvents hands out all events counted since the last call. The reader says what became of them, by Delivered or ReturnEvents, before it
// takes more. Until then a restart hands them out again, and counts them in EventsInDoubt where the journal was written meanwhile.
func (e *Engine) TakeEvents() []SliceEvents {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pressing = false
	var out []SliceEvents
	for index, o := range e.objectives {
		for _, g := range o.sorted() {
			if len(g.pending) == 0 {
				continue
			}
			for _, p := range g.pending {
				var traces []TraceID
				if p.Bad > 0 {
					traces = g.exemplars.within(p.start, p.start+int64(e.fine), AlertExemplars)
				}
				stampGood, stampBad := e.stampsLocked(g, p)
				out = append(out, SliceEvents{
					Objective: o.Objective, Service: o.service(g), Group: o.group(g),
					Start: unix(p.start), End: unix(p.start + int64(e.fine)), Good: p.Good.Float(), Bad: p.Bad.Float(),
					Exemplars: traces, StampGood: stampGood, StampBad: stampBad,
					counts: p, index: index, key: g.key,
				})
			}
			g.depart()
		}
	}
	if len(out) > 0 {
		e.recordLocked(recordTaken, nil)
	}
	return out
}

// ReturnEvents takes back events that could not be delivered.
func (e *Engine) ReturnEvents(events []SliceEvents) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range events {
		o := e.objectives[s.index]
		g, ok := o.groups[s.key]
		if !ok {
			g = o.overflow
		}
		if g != nil {
			g.inflight = nil
			e.pendLocked(g, s.counts)
			g.dirty = true
		}
	}
	e.recordLocked(recordReturned, nil)
}

// depart puts what waits on its way. What still is was in doubt after a crash, and waits again.
func (g *group) depart() {
	if len(g.inflight) > 0 {
		g.comeBack()
	}
	g.inflight, g.pending = g.pending, nil
	g.dirty = true
}

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

// comeBack puts what was on its way with what waits.
func (g *group) comeBack() {
	all := g.inflight
	for _, p := range g.pending {
		i, found := slices.BinarySearchFunc(all, p.start, compareStart)
		if found {
			all[i].count(p.latest, p.Counts)
		} else {
			all = slices.Insert(all, i, p)
		}
	}
	g.inflight, g.pending = nil, all
	g.dirty = true
}

// departed are the groups that have events on their way.
func (o *objective) departed() (out []*group) {
	for _, g := range o.sorted() {
		if len(g.inflight) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// doubtDeliveryLocked takes back what was on its way when the process was killed: it may have arrived, or not. It is sent again, since an
// event too few is worse, and counted.
func (e *Engine) doubtDeliveryLocked(o *objective) {
	for _, g := range o.departed() {
		for _, s := range g.inflight {
			e.stats.EventsInDoubt += uint64(s.GoodN) + uint64(s.BadN)
		}
		g.comeBack()
	}
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
