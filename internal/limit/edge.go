// SPDX-License-Identifier: Apache-2.0

package limit

import "slices"

// edge closes the metric's window.
func (m *Metric) edge() {
	factor := m.l.settings.Displacement
	changed := false
	m.crowded = false
	before := uint64(0)
	for _, a := range m.list {
		before += a.values.displacements
		changed = a.values.edge(factor) || changed
		m.crowded = m.crowded || a.values.crowded()
		before -= a.values.displacements
	}
	before += m.series.displacements
	pressed := m.series.contested
	changed = m.series.edge(factor) || changed
	before -= m.series.displacements
	m.l.stats.Displaced -= before
	m.crowded = m.crowded || m.series.crowded()
	changed = m.squeeze(pressed) || changed
	changed = m.sweep() || changed
	m.heat()
	m.countSeats()
	m.account()
	if changed {
		m.generation++
		m.l.note(change{of: changeSeats, m: m})
	}
	m.window = m.l.window
}

// sweep forgets what was not seen for long.
func (m *Metric) sweep() bool {
	now, stale, retention := m.l.now, int64(m.l.settings.MaxStale), int64(m.l.settings.Retention)
	windows := uint32(retention/int64(m.l.settings.Window)) + 2
	staleWindows := uint32(stale/int64(m.l.settings.Window)) + 1
	m.l.used += m.streams.prune(&m.l.arena, func(s *stream) bool {
		idle := m.l.window - s.window
		if s.has(flagContributes) && (idle >= windows || idle >= staleWindows && now-s.time > stale) {
			m.leaveLevel(s)
		}
		if idle < windows {
			return false
		}
		m.l.expired.add(s.id)
		if s.group != nil {
			m.l.expired.add(wasFolded(s.id))
		}
		m.l.leaveStream(s)
		return true
	})
	gone := false
	for key, g := range m.groups {
		if m.l.window-g.window >= windows && g.members == 0 && m.series.find(key) == nil {
			delete(m.groups, key)
			g.ended = true
			m.l.groups--
			m.l.used -= groupBytes
			if g.dist != nil {
				m.l.used -= g.dist.bytes()
			}
			if g.whole {
				m.overflow--
				m.l.overflow--
			}
			gone = true
		}
	}
	if gone && m.recent != nil {
		clear(m.recent[:])
	}
	return gone
}

func (m *Metric) leaveLevel(s *stream) {
	s.drop(flagContributes)
	if s.group != nil {
		s.group.leave(s.last())
		m.stir(s.group)
	}
}

// stir notes that a level changed without a point of its own to say so.
func (m *Metric) stir(g *Group) {
	if !g.stirred && !g.ended && g.out != 0 {
		g.stirred = true
		m.stirred = append(m.stirred, g)
	}
}

// Stirred returns the levels of a series identity that changed because a member left them, and that no member's point has carried
// in this flush. The caller sends each with its Attributes. The result is valid until the next call.
func (m *Metric) Stirred(p *Point) []*Group {
	if len(m.stirred) == 0 {
		return nil
	}
	m.leaving = m.leaving[:0]
	m.stirred = slices.DeleteFunc(m.stirred, func(g *Group) bool {
		if g.series != p.Series && !g.shared || g.Attributes == nil && g.flush != m.l.flush+1 {
			return false
		}
		g.stirred = false
		if g.flush == m.l.flush+1 || g.ended {
			return true
		}
		g.flush = m.l.flush + 1
		g.pending.time = p.Time
		m.leaving = append(m.leaving, g)
		m.l.leaving = append(m.l.leaving, departure{m, g})
		m.l.note(change{of: changeGroup, m: m, group: g})
		return true
	})
	return m.leaving
}

// recount builds the levels that cannot be kept up to date by addition alone again from their members.
func (m *Metric) recount() {
	for _, g := range m.groups {
		if g.dirty {
			g.total, g.members, g.peak = accumulator{}, 0, 0
		}
	}
	m.streams.each(&m.l.arena, func(s *stream) {
		if s.has(flagContributes) && s.group != nil && s.group.dirty {
			s.group.enter(s.last(), s.time)
		}
	})
	for _, g := range m.groups {
		g.dirty = false
	}
}

func (m *Metric) account() {
	bytes := m.series.bytes() + m.full.bytes() + m.wanted.bytes()
	for _, a := range m.list {
		bytes += a.values.bytes() + a.without.bytes()
	}
	if m.recent != nil {
		bytes += 8 * recentGroups
	}
	m.charge(bytes - m.accounted)
}

// empty tells whether nothing is left that a later point could need.
func (m *Metric) empty() bool {
	if m.streams.len() > 0 || len(m.groups) > 0 || len(m.series.seats) > 0 {
		return false
	}
	for _, a := range m.list {
		if len(a.values.seats) > 0 {
			return false
		}
	}
	return true
}
