// SPDX-License-Identifier: Apache-2.0

package limit

// place finds the outgoing series of a point: itself (a nil group), a series with folded attributes, or an overflow series.
func (m *Metric) place(p *Point, id uint64, kind Kind, closed bool) (group *Group, mark Mark) {
	if closed {
		p.weights = p.weights[:0]
		return m.sharedGroup(p, kind), MarkNone
	}
	e := m.evaluate(p, true, false)
	m.measure(p, id, &e)
	out := Mix(p.Series, e.sum)
	if !e.untracked {
		s := m.series.find(out)
		if s == nil {
			if s = m.series.ask(out, m.l.series < m.l.settings.Limits.Total && !m.l.full()); s != nil {
				m.charge(seatBytes)
				m.countSeats()
				m.l.note(change{of: changeSeries, m: m, key: out})
			}
		}
		if s != nil {
			s.used = true
			if m.series.crowded() {
				p.weights = append(p.weights, weighing{&m.series, out, s})
			}
			if !e.merged {
				return nil, MarkNone
			}
			g := m.seatedGroup(out, p.Series, kind)
			g.placed.generation, g.placed.window, g.placed.measured, g.placed.seat = m.generation, m.l.window, m.measuring, s
			g.folds = append(g.folds[:0], p.folds...)
			return g, MarkNone
		}
		p.weights = append(p.weights, weighing{&m.series, out, nil})
	}
	if g := m.groups[out]; g != nil && !e.untracked && !g.whole && (!g.ended || g.owed) {
		g.ended = true
		if g.owed = g.out != 0; g.owed {
			m.l.owing = append(m.l.owing, departure{m, g})
			mark = MarkFolded
		}
		m.l.note(change{of: changeGroup, m: m, group: g})
	}
	return m.wholeGroup(p, kind), mark
}

func (m *Metric) seatedGroup(out, series uint64, kind Kind) *Group {
	g := m.groups[out]
	if g == nil {
		return m.newGroup(out, series, kind)
	}
	if g.ended {
		g.restart()
	}
	return g
}

func (m *Metric) newGroup(key, series uint64, kind Kind) *Group {
	g := &Group{kind: kind, merge: m.gauge, key: key, series: series}
	m.groups[key] = g
	m.l.used += groupBytes
	m.l.groups++
	m.l.note(change{of: changeGroup, m: m, group: g})
	return g
}

// wholeGroup is the overflow series of the point's own resource and protected attributes, while there is room for it.
func (m *Metric) wholeGroup(p *Point, kind Kind) *Group {
	sum := overflowPair
	for i := range p.Attrs {
		a := &p.Attrs[i]
		if st := m.attributes[a.KeyHash]; st != nil && st.protected {
			sum += a.pair
		}
	}
	key := Mix(p.Series, sum)
	if g := m.groups[key]; g != nil {
		return g
	}
	limits := &m.l.settings.Limits
	if m.overflow >= limits.OverflowSeries || m.l.full() || m.l.series+m.l.overflow >= limits.Total && m.overflow > 0 {
		return m.sharedGroup(p, kind)
	}
	m.overflow++
	m.l.overflow++
	g := m.newGroup(key, p.Series, kind)
	g.whole = true
	return g
}

// sharedGroup is the overflow series on the resource that carries only the scope. There is one per metric and kind, so it is made
// even when memory is used up.
func (m *Metric) sharedGroup(p *Point, kind Kind) *Group {
	key := Mix(p.Shared, overflowPair)
	g := m.groups[key]
	if g == nil {
		g = m.newGroup(key, p.Series, kind)
		g.whole, g.shared = true, true
		m.overflow++
		m.l.overflow++
	}
	return g
}

// freeSeat gives up the seat of a series that is folded for another reason. Nobody gets it before the window's edge: who was
// refused in this window stays refused in it.
func (m *Metric) freeSeat(out uint64) {
	if s := m.series.find(out); s != nil {
		s.vacated = true
	}
}

func (m *Metric) countSeats() {
	m.l.series += len(m.series.seats) - m.counted
	m.counted = len(m.series.seats)
}

// Rewrite works out, into p.Changes, the attributes of g's output point from those of its member p.
func (m *Metric) Rewrite(p *Point, g *Group) {
	m.evaluate(p, false, true)
	p.Whole = g.whole
	if !g.whole {
		return
	}
	for i := range p.Attrs {
		st := m.attributes[p.Attrs[i].KeyHash]
		if g.shared || st == nil || !st.protected {
			p.Changes[i] = Change{Action: ActionDrop}
		} else {
			p.Changes[i] = Change{}
		}
	}
}

// FoldedChanges works out the attributes with which p's series was sent before it was folded whole, for MarkFolded.
func (m *Metric) FoldedChanges(p *Point) {
	m.evaluate(p, false, true)
	p.Whole = false
}
