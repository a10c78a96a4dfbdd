// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shelf is a storage.
type shelf map[string][]byte

func (s shelf) get(key string) ([]byte, error) { return s[key], nil }

func (s shelf) put(parts []Part) {
	for _, p := range parts {
		if p.Delete {
			delete(s, p.Key)
			continue
		}
		s[p.Key] = p.Value
	}
}

func burning(t testing.TB, objectives ...Objective) *Engine {
	t.Helper()
	e := testEngine(t, Demo(), objectives...)
	require.NoError(t, e.Claim("test", true))
	var values []string
	if len(objectives) > 0 && len(objectives[0].GroupBy) > 0 {
		values = []string{"/cart"}
	}
	events := append(steady(epoch, time.Minute, time.Second, 0, 1), steady(epoch.Add(time.Minute), time.Minute, time.Second, 1, 2)...)
	for i := range events {
		events[i].values = values
	}
	feed(e, 10, events...)
	return e
}

func TestARestartContinuesTheBookToTheEvent(t *testing.T) {
	objective := testObjective("o", "route")
	e := burning(t, objective)
	store := shelf{}
	store.put(e.Snapshot())
	assert.Empty(t, e.Snapshot(), "what did not change is not written again")

	restored := testEngine(t, Demo(), objective)
	damaged, err := restored.Restore(store.get)
	require.NoError(t, err)
	require.Empty(t, damaged)
	assert.Equal(t, e.Statuses(), restored.Statuses())
	assert.Equal(t, e.TakeEvents(), restored.TakeEvents())
	assert.Contains(t, restored.Describe(), "1 groups up to 2026-03-01")

	more := steady(epoch.Add(2*time.Minute), 4*time.Minute, time.Second, 0, 1)
	for i := range more {
		more[i].values = []string{"/cart"}
	}
	assert.Equal(t, e.TakeTransitions(), restored.TakeTransitions(), "a transition that nobody has got yet is kept")
	feed(e, 10, more...)
	feed(restored, 10, more...)
	assert.Equal(t, e.Statuses(), restored.Statuses())
	assert.Equal(t, e.TakeTransitions(), restored.TakeTransitions(), "an open alert resolves in the life after")
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	e := testEngine(t, Demo(), testObjective("o", "route"))
	feed(e, 1, event{at: epoch, values: []string{"a"}}, event{at: epoch, values: []string{"b"}})
	require.Len(t, e.Snapshot(), 4, "two groups, their index, the book")
	feed(e, 1, event{at: epoch, values: []string{"b"}})
	parts := e.Snapshot()
	require.Len(t, parts, 2)
	assert.Contains(t, parts[0].Key, "/\x01b")
	e.SnapshotFailed()
	assert.Len(t, e.Snapshot(), 4, "after a failure the next snapshot is whole")
}

func TestEverySingleFlippedByteIsDetectedAndSurvived(t *testing.T) {
	objective := testObjective("o", "route")
	store := shelf{}
	store.put(burning(t, objective).Snapshot())
	r := rand.New(rand.NewPCG(7, 8))
	for key, part := range store {
		for at := range part {
			broken := shelf{}
			maps.Copy(broken, store)
			broken[key] = append([]byte(nil), part...)
			broken[key][at] ^= byte(1 + r.IntN(255))
			e := testEngine(t, Demo(), objective)
			damaged, err := e.Restore(broken.get)
			require.NoError(t, err, "part %s byte %d", key, at)
			require.Len(t, damaged, 1, "part %s byte %d", key, at)
			require.ErrorIs(t, damaged[0], ErrDamaged)
			feed(e, 1, event{at: epoch.Add(time.Hour), values: []string{"/cart"}})
		}
	}
}

func TestABodyThatChecksButMakesNoSenseIsDamage(t *testing.T) {
	objective := testObjective("o", "route")
	store := shelf{}
	store.put(burning(t, objective).Snapshot())
	r := rand.New(rand.NewPCG(9, 10))
	for key, part := range store {
		for range 300 {
			body := append([]byte(nil), part[len(partMagic)+1:len(part)-4]...)
			for range 1 + r.IntN(4) {
				body[r.IntN(len(body))] = byte(r.Uint32())
			}
			broken := shelf{}
			maps.Copy(broken, store)
			broken[key] = seal(body[:r.IntN(len(body)+1)])
			e := testEngine(t, Demo(), objective)
			_, err := e.Restore(broken.get)
			require.NoError(t, err)
			e.Statuses()
		}
	}
}

func TestAPartThatIsMissingIsDamage(t *testing.T) {
	store := shelf{}
	store.put(burning(t).Snapshot())
	delete(store, groupPart(testObjective("o").Digest(), ""))
	damaged, err := testEngine(t, Demo()).Restore(store.get)
	require.NoError(t, err)
	require.Len(t, damaged, 1)
	assert.ErrorContains(t, damaged[0], "objective o")
}

func TestStateOfANewerVersionIsRefused(t *testing.T) {
	store := shelf{}
	store.put(burning(t).Snapshot())
	for key, part := range store {
		newer := append([]byte(nil), part[:len(part)-4]...)
		newer[len(partMagic)] = snapshotVersion + 1
		broken := shelf{}
		maps.Copy(broken, store)
		broken[key] = appendSum(newer)
		_, err := testEngine(t, Demo()).Restore(broken.get)
		require.ErrorIs(t, err, ErrVersion)
		assert.ErrorContains(t, err, fmt.Sprintf("has version %d, this one reads up to %d", snapshotVersion+1, snapshotVersion))
	}
}

func TestAStorageErrorIsPassedOn(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := testEngine(t, Demo()).Restore(func(string) ([]byte, error) { return nil, broken })
	assert.ErrorIs(t, err, broken)
}

func TestChangedObjectivesStartEmptyAndOthersStay(t *testing.T) {
	a, b := testObjective("a"), testObjective("b")
	e := testEngine(t, Demo(), a, b)
	tally := e.NewTally()
	for i := range 2 {
		tally.Entry(i, nil).Add(tally.Slice(epoch.UnixNano()), epoch.UnixNano(), false, One)
	}
	tally.Observe(1, epoch.UnixNano())
	e.Commit(tally, epoch)
	store := shelf{}
	store.put(e.Snapshot())

	a.Target, a.Owner = 0.5, "someone else"
	b.Indicator.IncludeSynthetic = true
	restored := testEngine(t, Demo(), a, b)
	_, err := restored.Restore(store.get)
	require.NoError(t, err)
	statuses := restored.Statuses()
	assert.InDelta(t, 1, statuses[0].Good, 0, "another target is the same indicator")
	assert.InDelta(t, 0, statuses[1].Good, 0, "another indicator counts other events")
}

func TestAnotherProfileKeepsTheCountsAndDropsItsAlerts(t *testing.T) {
	store := shelf{}
	store.put(burning(t).Snapshot())
	restored := testEngine(t, Workbook())
	damaged, err := restored.Restore(store.get)
	require.NoError(t, err)
	require.Empty(t, damaged)
	s := restored.Statuses()[0]
	assert.Empty(t, s.Alerts)
	assert.InDelta(t, 90, s.Good, 0)
	assert.InDelta(t, 30, s.Bad, 0)
}
