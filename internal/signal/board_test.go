// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func numberedSignal(n int, state State) Envelope {
	e := full()
	e.Audit = nil
	e.ID = fmt.Sprintf("%032x", n)
	e.State = state
	e.Update = 0
	e.UpdatedAt = t0.Add(time.Duration(n) * time.Second)
	return e
}

func all(*Envelope) bool { return true }

func TestStoreHoldsTheNewestEnvelopeOfEachSignal(t *testing.T) {
	s := NewStore(1 << 20)
	e := numberedSignal(1, StateFiring)
	require.NoError(t, s.Put(e))
	require.ErrorIs(t, s.Put(e), ErrNoTransition, "the same again")
	e.Update = 1
	e.State = StateResolved
	require.NoError(t, s.CanPut(e))
	require.NoError(t, s.Put(e))
	got, ok := s.Get(e.ID)
	require.True(t, ok)
	assert.Equal(t, StateResolved, got.State)
	e.Update = 2
	e.State = StateFiring
	require.ErrorIs(t, s.CanPut(e), ErrNoTransition)
	require.ErrorIs(t, s.Put(e), ErrNoTransition, "what has ended does not begin again")
	e.Kind = "nonsense"
	require.ErrorIs(t, s.Put(e), errInvalid)
	_, ok = s.Get("unknown")
	assert.False(t, ok)
}

func TestStoreFindsNewestFirst(t *testing.T) {
	s := NewStore(1 << 20)
	for n := range 5 {
		require.NoError(t, s.Put(numberedSignal(n, StateFiring)))
	}
	found, total := s.Find(2, all)
	assert.Equal(t, 5, total)
	require.Len(t, found, 2)
	assert.Equal(t, fmt.Sprintf("%032x", 4), found[0].ID)
	_, total = s.Find(10, func(e *Envelope) bool { return e.ID == found[1].ID })
	assert.Equal(t, 1, total)
}

func TestFullStoreForgetsEndedSignalsFirstAndThenRefuses(t *testing.T) {
	one := NewStore(1 << 20)
	require.NoError(t, one.Put(numberedSignal(1, StateFiring)))
	size := one.Usage().Bytes

	s := NewStore(4*size + size/2)
	require.NoError(t, s.Put(numberedSignal(1, StateFiring)))
	require.NoError(t, s.Put(numberedSignal(2, StateResolved)))
	require.NoError(t, s.Put(numberedSignal(3, StateExpired)))
	require.NoError(t, s.Put(numberedSignal(4, StateFiring)))
	require.NoError(t, s.Put(numberedSignal(5, StateFiring)))
	_, ok := s.Get(fmt.Sprintf("%032x", 2))
	assert.False(t, ok, "the signal that ended first goes first")
	require.NoError(t, s.Put(numberedSignal(6, StateFiring)))
	require.ErrorIs(t, s.Put(numberedSignal(7, StateFiring)), ErrBoardFull)
	require.ErrorIs(t, s.PutSnapshot("topic", "a", json.RawMessage(`"`+strings.Repeat("x", size)+`"`)), ErrBoardFull)
	assert.Equal(t, Usage{Bytes: s.Usage().Bytes, MaxBytes: 4*size + size/2, Signals: 4, Forgotten: 2}, s.Usage())
}

func TestStoreNeverExceedsItsBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := NewStore(60_000)
	updates := map[string]int{}
	refused := 0
	for range 3_000 {
		if rng.IntN(4) == 0 {
			body, err := json.Marshal(strings.Repeat("x", rng.IntN(8_000)))
			require.NoError(t, err)
			if s.PutSnapshot(fmt.Sprint("t", rng.IntN(3)), fmt.Sprint("s", rng.IntN(3)), body) != nil {
				refused++
			}
		} else {
			e := numberedSignal(rng.IntN(30), []State{StatePending, StateFiring, StateResolved, StateExpired}[rng.IntN(4)])
			e.Summary = strings.Repeat("y", 1+rng.IntN(MaxSummary))
			updates[e.ID]++
			e.Update = updates[e.ID]
			if s.Put(e) != nil {
				refused++
			}
		}
		require.LessOrEqual(t, s.Usage().Bytes, 60_000)
		require.GreaterOrEqual(t, s.Usage().Bytes, 0)
	}
	assert.Positive(t, refused)
	assert.Positive(t, s.Usage().Forgotten)
	want := 0
	for _, h := range s.signals {
		want += h.size
	}
	for key, body := range s.snapshots {
		want += len(key) + len(body) + entryOverhead
	}
	assert.Equal(t, want, s.Usage().Bytes, "the running sum is the sum")
}

func TestSnapshotsAreKeptByTopicAndSource(t *testing.T) {
	s := NewStore(1 << 20)
	require.NoError(t, s.PutSnapshot("offenders", "cardinality/1", json.RawMessage(`{"a":1}`)))
	require.NoError(t, s.PutSnapshot("offenders", "cardinality/2", json.RawMessage(`[]`)))
	require.NoError(t, s.PutSnapshot("costs", "cost", json.RawMessage(`{}`)))
	require.NoError(t, s.PutSnapshot("offenders", "cardinality/1", json.RawMessage(`{"a":2}`)))
	require.ErrorIs(t, s.PutSnapshot("offenders", "x", json.RawMessage(`{`)), errNotJSON)
	assert.Equal(t, map[string]json.RawMessage{"cardinality/1": json.RawMessage(`{"a":2}`), "cardinality/2": json.RawMessage(`[]`)}, s.Snapshots("offenders"))
	assert.Empty(t, s.Snapshots("offender"))
}
