// SPDX-License-Identifier: Apache-2.0

package limit

import "slices"

// evaluation is what became of a point's attributes.
type evaluation struct {
	sum       uint64 // of the outgoing attributes
	full      uint64 // of the attributes before any is folded as a whole
	merged    bool   // other incoming series may have the same outgoing attributes
	untracked bool   // only the whole series can be folded: too many keys, or folded by an earlier tier
}

// evaluate applies rules and attribute limits. With admit set it gives seats and notes weights to come; without it, it only
// repeats the decision for the attributes of an output point. It works attribute by attribute, in the point's own order.
func (m *Metric) evaluate(p *Point, admit, rewrite bool) evaluation {
	var e evaluation
	e.merged = m.mergeAll
	if admit {
		m.measuring = m.measuring || m.crowded || m.series.crowded() || 2*len(m.series.seats) >= m.series.limit
		p.weights, p.parts, p.folds = p.weights[:0], p.parts[:0], p.folds[:0]
	}
	if rewrite {
		p.Changes = slices.Grow(p.Changes[:0], len(p.Attrs))[:len(p.Attrs)]
		clear(p.Changes)
	}
	for i := range p.Attrs {
		a := &p.Attrs[i]
		if a.KeyHash == overflowKeyHash {
			e.merged, e.untracked = true, true // an earlier tier folded the whole series
			continue
		}
		if a.ValueHash == overflowValueHash {
			// An earlier tier folded this already. It is not a value of its own, and our own overflow series has the same identity.
			e.merged = true
			e.sum += a.pair
			e.full += a.pair
			if st := m.attribute(i, a); admit && st != nil {
				p.folds = append(p.folds, st)
				if m.measuring {
					p.parts = append(p.parts, part{st, a.pair})
				}
			}
			continue
		}
		st := m.attribute(i, a)
		if st == nil {
			e.untracked = true
			continue
		}
		key, value, change, limited := m.apply(st, p, a, admit)
		if change.Action == ActionDrop {
			if rewrite {
				p.Changes[i] = change
			}
			continue
		}
		pair := a.pair
		if key != a.KeyHash || value != a.ValueHash {
			pair = Mix(key, value)
		}
		folds := change.Action == ActionFold || st.squeezed && !st.protected
		if !folds && limited && !st.protected && !m.seated(st, p, value, admit) {
			folds = true
			pair = Mix(key, overflowValueHash)
		}
		e.full += pair
		if folds {
			e.merged = true
			pair = Mix(key, overflowValueHash)
			change = Change{Action: ActionFold, Text: OverflowValue}
			if admit {
				p.folds = append(p.folds, st)
			}
		}
		e.sum += pair
		if admit && m.measuring {
			p.parts = append(p.parts, part{st, pair})
		}
		if rewrite {
			p.Changes[i] = change
		}
	}
	return e
}

// seated tells whether a value is admitted, and asks for a seat when it may.
func (m *Metric) seated(st *attribute, p *Point, value uint64, admit bool) bool {
	s := st.values.find(value)
	if !admit {
		return s != nil
	}
	if s == nil {
		if s = st.values.ask(value, !m.l.full()); s != nil {
			m.charge(seatBytes)
			m.l.note(change{of: changeValue, m: m, a: st, key: value})
		}
	}
	if s != nil {
		s.used = true
		if st.values.crowded() {
			p.weights = append(p.weights, weighing{&st.values, value, s})
		}
		return true
	}
	p.weights = append(p.weights, weighing{&st.values, value, nil})
	return false
}

func (m *Metric) charge(bytes int64) {
	m.accounted += bytes
	m.l.used += bytes
}

// maxWeight is the most a point can weigh. Senders choose what points weigh: sums must stay finite, and narrow numbers hold them.
const maxWeight = 1e27

// weigh notes how much the point just evaluated adds to its series.
func (m *Metric) weigh(p *Point, weight float64) {
	if !(weight <= maxWeight) {
		weight = maxWeight
	}
	heats := false
	for i := range p.weights {
		w := &p.weights[i]
		if w.seat != nil {
			w.seat.weight += weight
			if w.of.contested && !m.l.full() {
				if grown := w.of.demand.insert(w.hash); grown != 0 {
					m.charge(grown)
				}
			}
			continue
		}
		heats = heats || !w.of.crowded()
		m.charge(w.of.refuse(w.hash, weight, m.l.room()))
		m.crowded = true
	}
	if heats {
		m.heat()
	}
	p.weights = p.weights[:0]
}

// measure feeds the sketches that say what folding an attribute would save.
func (m *Metric) measure(p *Point, id uint64, e *evaluation) {
	if !m.measuring || m.l.full() {
		return
	}
	grown := m.wanted.insert(id)
	grown += m.full.insert(Mix(p.Series, e.full))
	for _, part := range p.parts {
		part.of.pair = part.pair
	}
	for _, a := range m.list {
		grown += a.without.insert(Mix(p.Series, e.sum-a.pair))
		a.pair = 0
	}
	m.charge(grown)
}
