// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMillionsOfDecisionsFitIntoAFewMegabytes(t *testing.T) {
	const decisions = 5_000_000
	m := NewDecisions(decisions, 0)
	for i := range uint64(decisions) {
		m.add(idOf(i), decidedTrace{kept: i%10 == 0})
	}
	require.LessOrEqual(t, m.bytes(), int64(16<<20))
	forgotten, wrong := 0, 0
	for i := uint64(0); i < decisions; i += 7 {
		d, ok := m.lookup(idOf(i))
		if !ok {
			forgotten++
		} else if d.kept != (i%10 == 0) {
			wrong++
		}
	}
	assert.Less(t, forgotten, decisions/7/1000)
	assert.Less(t, wrong, decisions/7/10_000)
	taken := 0
	for i := range uint64(1_000_000) {
		if _, ok := m.lookup(idOf(1<<40 + i)); ok {
			taken++
		}
	}
	assert.Less(t, taken, 100, "fewer than 1 in 10,000 new traces are taken for old ones")
}

func TestTheOldestDecisionsAreForgotten(t *testing.T) {
	const capacity = 4000
	m := NewDecisions(capacity, 10)
	for i := range uint64(20 * capacity) {
		m.add(idOf(i), decidedTrace{kept: i%2 == 0, policy: int(i)})
	}
	recent, old := 0, 0
	for i := range uint64(capacity / 2) {
		if _, ok := m.lookup(idOf(20*capacity - 1 - i)); ok {
			recent++
		}
		if _, ok := m.lookup(idOf(i)); ok {
			old++
		}
	}
	assert.Equal(t, capacity/2, recent, "at least three quarters of the capacity are remembered")
	assert.Less(t, old, 10)
	assert.Len(t, m.details, 10)
	d, ok := m.lookup(idOf(20*capacity - 2))
	require.True(t, ok)
	assert.Equal(t, 20*capacity-2, d.policy)
	d, ok = m.lookup(idOf(20*capacity - 100))
	require.True(t, ok)
	assert.Equal(t, -1, d.policy, "details go earlier")
}

func TestMemoryCanBeOff(t *testing.T) {
	m := NewDecisions(0, 0)
	m.add(idOf(1), decidedTrace{kept: true})
	_, ok := m.lookup(idOf(1))
	assert.False(t, ok)
}
