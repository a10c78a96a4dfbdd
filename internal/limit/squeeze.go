// SPDX-License-Identifier: Apache-2.0

package limit

// worthwhile is the share of the wanted series that folding an attribute as a whole must save.
const worthwhile = 0.1

// squeeze folds one more attribute as a whole when series did not fit in the window that ends, so that in the next one the
// breakdowns by all others are exact again, instead of many series losing all their attributes. It takes the attribute that saves
// most. When the series wanted without any such folding would fill half the limit at most, the last one is released.
func (m *Metric) squeeze(pressed bool) bool {
	m.lastFull, m.lastWanted = m.full.estimate(), m.wanted.estimate()
	var best *attribute
	for _, a := range m.list {
		if a.squeezed {
			continue // what it saves was known when it was chosen
		}
		a.lastSaves = 0
		if m.measuring && m.lastFull > 0 {
			a.lastSaves = m.series.lastDemand - a.without.estimate()
		}
		if !a.protected && (a.rule == nil || a.rule.DryRun || a.rule.Action != ActionKeep) && (best == nil || a.lastSaves > best.lastSaves) {
			best = a
		}
	}
	measured := m.measuring
	m.full.reset()
	m.wanted.reset()
	for _, a := range m.list {
		a.without.reset()
	}
	m.measuring = pressed || m.crowded || len(m.squeezed) > 0 || 2*len(m.series.seats) >= m.series.limit
	switch {
	case pressed && measured && best != nil && best.lastSaves >= worthwhile*m.series.lastDemand:
		best.squeezed = true
		m.squeezed = append(m.squeezed, best)
		m.series.clear() // every series with the attribute becomes another one
		return true
	case !pressed && measured && len(m.squeezed) > 0 && m.lastFull <= float64(m.series.limit)/2:
		last := m.squeezed[len(m.squeezed)-1]
		last.squeezed = false
		m.squeezed = m.squeezed[:len(m.squeezed)-1]
		m.series.clear()
		return true
	}
	return false
}
