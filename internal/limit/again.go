// SPDX-License-Identifier: Apache-2.0

package limit

// An explosion must not cost much more than the calm. What explodes is an attribute or two; all others take values that were
// looked at before. So a point is not taken attribute by attribute once its combination is known: only the hot attributes are
// looked up, the values refused are replaced in the sum that identifies the series, and what comes out is, for all points but the
// first of a combination in a window, the key of a group that was placed in this window already.

// heat finds the attributes that have to be looked at for every point.
func (m *Metric) heat() {
	m.hot, m.ruled = m.hot[:0], false
	for _, a := range m.list {
		if a.protected || !a.squeezed && !a.values.crowded() {
			continue
		}
		m.hot = append(m.hot, a)
		m.ruled = m.ruled || a.rule != nil
	}
	if len(m.hot) == 0 {
		m.recent = nil
	} else if m.recent == nil {
		m.recent = new([recentGroups]*Group)
	}
}

// in returns the attribute's place in a point, or -1. Senders keep the order.
func (a *attribute) in(p *Point) int {
	if a.place < len(p.Attrs) && p.Attrs[a.place].KeyHash == a.hash {
		return a.place
	}
	for i := range p.Attrs {
		if p.Attrs[i].KeyHash == a.hash {
			a.place = i
			return i
		}
	}
	return -1
}

// quick tells whether the hot attributes are all that has to be looked at.
func (m *Metric) quick() bool {
	return !m.ruled && !m.mergeAll && !m.l.thorough && (m.measuring || !m.crowded)
}

// replace looks the hot attributes up: it notes their weights and returns the sum of the outgoing attributes, and the same before
// any is folded as a whole. It fails when a value may ask for a seat.
func (m *Metric) replace(p *Point) (sum, full uint64, ok bool) {
	sum, full = p.raw, p.raw
	p.weights = p.weights[:0]
	for _, h := range m.hot {
		i := h.in(p)
		if i < 0 || p.Attrs[i].ValueHash == overflowValueHash {
			continue
		}
		a := &p.Attrs[i]
		if h.squeezed {
			sum += h.overflow - a.pair
			continue
		}
		s := h.values.find(a.ValueHash)
		if s == nil {
			if len(h.values.seats) < h.values.limit && !m.l.full() {
				return 0, 0, false
			}
			sum += h.overflow - a.pair
			full += h.overflow - a.pair
		}
		p.weights = append(p.weights, weighing{&h.values, a.ValueHash, s})
	}
	return sum, full, true
}

// again finds the group of a point whose combination was placed in this window, or nil.
func (m *Metric) again(p *Point, id uint64) *Group {
	if len(m.hot) == 0 || !m.quick() {
		return nil
	}
	sum, full, ok := m.replace(p)
	if !ok || sum == p.raw {
		return nil
	}
	g := m.group(Mix(p.Series, sum))
	if g == nil || g.whole || g.ended || g.placed.window != m.l.window || g.placed.generation != m.generation || g.placed.measured != m.measuring {
		return nil
	}
	if m.series.crowded() {
		p.weights = append(p.weights, weighing{&m.series, g.key, g.placed.seat})
	}
	if m.measuring && !m.l.full() {
		grown := m.wanted.insert(id)
		if full != sum {
			grown += m.full.insert(Mix(p.Series, full))
		}
		if grown != 0 {
			m.charge(grown)
		}
	}
	return g
}

// recentGroups is how many groups are at hand without a look into the table of all.
const recentGroups = 256

// group finds a group by its key.
func (m *Metric) group(key uint64) *Group {
	at := &m.recent[key%recentGroups]
	if g := *at; g != nil && g.key == key {
		return g
	}
	g := m.groups[key]
	*at = g
	return g
}

// weighSettled notes the weights of a series whose place is known. It returns false when a full look is needed.
func (m *Metric) weighSettled(p *Point, s *stream) bool {
	if !m.quick() || m.measuring && !s.has(flagMeasured) || s.group != nil && s.group.whole {
		return false
	}
	if _, _, ok := m.replace(p); !ok {
		return false
	}
	if m.series.crowded() {
		out := s.id
		if s.group != nil {
			out = s.group.key
		}
		p.weights = append(p.weights, weighing{&m.series, out, m.series.find(out)})
	}
	return true
}
