// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Spans come in between any two steps of a decision, room runs short in the middle of one, traces grow too large while they are weighed:
// each trace still is decided once, its spans come out all or not at all, and no memory stays behind.
func TestEveryTraceIsDecidedOnceWhateverComesBetween(t *testing.T) {
	rate := Policy{Name: "rate", Kind: KindRate, PerSecond: 100, Burst: 100}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		settings := Settings{
			DecisionWait: 3 * time.Second, WaitAfterRoot: time.Duration(r.IntN(2)) * time.Second,
			MaxTraces: []int{30, 1_000_000}[r.IntN(2)], MemoryLimit: []int64{2 << 20, 1 << 30}[r.IntN(2)],
			MaxTraceBytes: []uint64{0, 500}[r.IntN(2)],
		}
		if r.IntN(2) == 0 {
			settings.Budget = Budget{SpansPerSecond: 200}
		}
		policies := [][]Policy{{always}, {errs, rate}, {errs, percent(20), linked}, {percent(50), rate}}[r.IntN(4)]
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { decideOnce(t, r, newHarness(t, settings, policies...)) })
	}
}

func decideOnce(t *testing.T, r *rand.Rand, h *harness) {
	brought, came := make(map[TraceID]int), make(map[TraceID]int)
	deliver := func() {
		for _, list := range [][]Kept{h.out.Kept, h.out.Late} {
			h.engine.Views(list)
			for i := range list {
				var w Writer
				require.NoError(t, w.Add(&list[i]))
				spans := 0
				w.AppendShell(nil)
				w.Spans(func(_, _, n int) bool { spans += n; return true }, func(Span) bool { return true })
				require.Equal(t, list[i].Spans, spans)
				came[list[i].ID] += spans
			}
		}
		h.deliver()
	}
	for n := range uint64(3000) {
		// Most spans are of new traces, and some of earlier ones, decided or not.
		id := idOf(n)
		if r.IntN(3) == 0 {
			id = idOf(n - uint64(r.IntN(min(int(n)+1, 200))))
		}
		h.add(testSpan{id: id, service: "a", name: fmt.Sprint("op", r.IntN(20)), failed: r.IntN(10) == 0, child: r.IntN(2) == 0, payload: r.IntN(300), link: uint64(r.IntN(3000))})
		brought[id]++
		for range r.IntN(3) {
			h.engine.Due(h.now, 1+r.IntN(40), 1+r.IntN(5), &h.out)
		}
		h.now = h.now.Add(time.Duration(r.IntN(60)) * time.Millisecond)
		if r.IntN(50) == 0 {
			deliver()
		}
	}
	h.advance(0)
	for _, waiting := range h.engine.traces {
		require.Greater(t, waiting.due, int64(h.now.Sub(origin)/h.engine.settings.Tick), "nothing that is due waits on")
	}
	h.flush()
	deliver()
	for id, n := range brought {
		if got := came[id]; got != 0 && got != n {
			// What came when the trace was too large already, or was given up for it, is dropped.
			require.Positive(t, h.engine.settings.MaxTraceBytes)
		}
	}
	s := h.engine.TakeStats()
	assert.Equal(t, s.New, s.Decisions[Sampled]+s.Decisions[NotSampled]+s.Decisions[Dropped]+s.TooLarge)
	assert.Zero(t, h.engine.Len())
	assert.Empty(t, h.engine.due)
	assert.Zero(t, h.engine.Pending())
	// What is left is the open segments, and the buffers that are used again.
	assert.Less(t, h.engine.store.bytes, int64(5*segmentSize))
	assert.Empty(t, h.engine.store.sealed)
}
