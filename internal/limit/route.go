// SPDX-License-Identifier: Apache-2.0

package limit

// route is where a point goes.
type route struct {
	id     uint64 // of the incoming series
	stream *stream
	group  *Group // nil: the series is kept
	mark   Mark
	markAt int64
	reason Reason
	flip   bool
	from   *Group // the group it was in before, when flip is set
}

func (p *Point) identify() {
	p.raw = 0
	for i := range p.Attrs {
		a := &p.Attrs[i]
		a.pair = Mix(a.KeyHash, a.ValueHash)
		p.raw += a.pair
	}
	p.id = Mix(p.Series, p.raw)
}

// Ahead prepares for points that are observed next. It is not needed, but among millions of series each look-up waits for memory,
// and here those of several points wait together.
func (m *Metric) Ahead(points []Point) {
	for i := range points {
		points[i].identify()
		points[i].identified = true
	}
	if len(m.streams.slots) < manySlots {
		return
	}
	var found [64]uint32
	points = points[:min(len(points), len(found))]
	for i := range points {
		found[i] = m.streams.first(points[i].id)
	}
	for i := range points {
		if found[i] != 0 {
			m.l.sink ^= m.l.arena.at(found[i] - 1).id
		}
	}
}

// manySlots is where a table outgrows the processor's nearest caches.
const manySlots = 1 << 13

// route decides about a point. A series that was seen in this window keeps its place without another look, unless values
// compete and have to be weighed.
func (m *Metric) route(p *Point, kind Kind, closed bool) route {
	r := m.routeOf(p, kind, closed)
	if r.group != nil && r.group.kind != kind { // a sender has found two series with the same hash
		return route{reason: ReasonInvalid}
	}
	return r
}

func (m *Metric) routeOf(p *Point, kind Kind, closed bool) route {
	if !p.identified {
		p.identify()
	}
	p.identified = false
	id := p.id
	s := m.streams.find(&m.l.arena, id)
	if s != nil && s.generation == m.generation && s.window == m.l.window {
		if m.crowded && !m.weighSettled(p, s) {
			m.weighAgain(p, id)
			m.seen(s)
		}
		return m.settled(p, id, s)
	}
	var group *Group
	mark, markAt := MarkNone, p.Time
	if !closed {
		group = m.again(p, id)
	}
	if group == nil {
		if group, mark = m.place(p, id, kind, closed); mark != MarkNone {
			markAt = m.owing(p)
		}
	}
	if s == nil && (group == nil || kind.remembers()) {
		if s = m.l.newStream(m, id); s == nil {
			return m.unremembered(p, id, kind, group, mark, markAt)
		}
		s.group = group
		m.seen(s)
		m.l.note(change{of: changeStream, m: m, key: id, which: s})
		return route{id: id, stream: s, group: group, mark: mark, markAt: markAt}
	}
	if s == nil {
		return route{group: group, mark: mark, markAt: markAt}
	}
	m.seen(s)
	r := route{id: id, stream: s, group: group, mark: mark, markAt: markAt}
	if s.group != group {
		m.move(s, &r)
	}
	if r.mark == MarkNone && m.owed(s) {
		r.mark, r.markAt = MarkSeries, m.endOf(p, s, step)
	}
	return r
}

// endOf is the time of a kept series' end mark: after its last point. After a crash that may be a later one than is known, and the
// point at hand may be an old one.
func (m *Metric) endOf(p *Point, s *stream, after int64) int64 {
	at := max(p.Time, s.time+after)
	if s.has(flagUnsure) {
		at = max(at, m.l.now)
	}
	return at
}

// seen notes that a series has its place for this window.
func (m *Metric) seen(s *stream) {
	s.generation, s.window = m.generation, m.l.window
	if s.drop(flagMeasured); m.measuring {
		s.set(flagMeasured)
	}
}

// move takes a series from one group to another, where nil means that it is kept.
func (m *Metric) move(s *stream, r *route) {
	r.flip, r.from = true, s.group
	m.l.note(change{of: changeStream, m: m, key: r.id, which: s})
	s.group = r.group
	if r.from == nil { // a kept series ends
		m.freeSeat(r.id)
		s.set(flagOwed)
	} else if r.group == nil {
		s.drop(flagOwed) // it is back before its end was marked
	}
}

// unremembered is the route of a new series when memory is used up: what needs no memory of its own is folded, the rest dropped.
func (m *Metric) unremembered(p *Point, id uint64, kind Kind, group *Group, mark Mark, markAt int64) route {
	if kind.remembers() {
		return route{reason: ReasonStateFull}
	}
	if group == nil {
		m.freeSeat(id)
		group = m.sharedGroup(p, kind)
	}
	return route{group: group, mark: mark, markAt: markAt}
}

// settled is the route of a series whose place in this window is known.
func (m *Metric) settled(p *Point, id uint64, s *stream) route {
	r := route{id: id, stream: s, group: s.group}
	if m.owed(s) {
		r.mark, r.markAt = MarkSeries, m.endOf(p, s, 0)
	}
	return r
}

// weighAgain notes the weights of a series that is settled, but competes.
func (m *Metric) weighAgain(p *Point, id uint64) {
	e := m.evaluate(p, true, false)
	m.measure(p, id, &e)
	if !m.series.crowded() || e.untracked {
		return
	}
	out := Mix(p.Series, e.sum)
	p.weights = append(p.weights, weighing{&m.series, out, m.series.find(out)})
}

// owing returns the time for the end mark of the group that place found to have lost its seat.
func (m *Metric) owing(p *Point) int64 {
	g := m.l.owing[len(m.l.owing)-1].group
	g.out = max(p.Time, g.out+step)
	return g.out
}

// owed tells whether the end of a series that was kept before is still to be marked.
func (m *Metric) owed(s *stream) bool {
	if !s.has(flagOwed) || s.group == nil {
		return false
	}
	m.l.owed = append(m.l.owed, s)
	return true
}
