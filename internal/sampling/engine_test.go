// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	p, err := Compile([]Policy{{Name: "rate", Kind: KindRate, PerSecond: 1}})
	require.NoError(t, err)
	good := Settings{Tick: time.Second, MaxTraces: 1, MemoryLimit: 1}
	_, err = New(good, p, origin)
	require.NoError(t, err)
	for _, spoil := range []func(*Settings){
		func(s *Settings) { s.Tick = 0 }, func(s *Settings) { s.MaxTraces = 0 },
		func(s *Settings) { s.MemoryLimit = 0 }, func(s *Settings) { s.SpanIngest = true },
	} {
		bad := good
		spoil(&bad)
		_, err = New(bad, p, origin)
		require.ErrorIs(t, err, errSettings)
	}
}

// adversaries are inputs made to break a bound in bytes.
var adversaries = map[string]func(i uint64, r *rand.Rand) testSpan{
	"one endless trace": func(uint64, *rand.Rand) testSpan { return testSpan{id: idOf(1), payload: 4000} },
	"one-span traces":   func(i uint64, _ *rand.Rand) testSpan { return testSpan{id: idOf(i)} },
	"huge attributes":   func(i uint64, _ *rand.Rand) testSpan { return testSpan{id: idOf(i), payload: 300_000} },
	"a resource a span": func(i uint64, _ *rand.Rand) testSpan {
		return testSpan{id: idOf(i), service: fmt.Sprint("service-", i)}
	},
	"an operation a span": func(i uint64, _ *rand.Rand) testSpan { return testSpan{id: idOf(i / 100), name: fmt.Sprint("op-", i)} },
	"errors only":         func(i uint64, _ *rand.Rand) testSpan { return testSpan{id: idOf(i), failed: true, payload: 500} },
	"traces that come again": func(i uint64, r *rand.Rand) testSpan {
		return testSpan{id: idOf(r.Uint64N(20_000)), payload: 200, name: strconv.FormatUint(i%70, 10)}
	},
}

func TestMemoryStaysWithinItsLimit(t *testing.T) {
	const limit = 8 << 20
	// The coders are made when first used, and are not part of the limit.
	for _, tight := range []bool{true, false} {
		s := Sealed{raw: make([]byte, segmentSize), tight: tight}
		s.Compress(nil)
	}
	for name, span := range adversaries {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, Settings{MemoryLimit: limit, DecisionWait: time.Hour, Remembered: 100_000}, errs, percent(1))
			r := rand.New(rand.NewPCG(1, 1))
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var most int64
			for i := range uint64(30_000) {
				s := span(i, r)
				if s.payload > 100_000 && i > 2000 {
					break
				}
				h.add(s)
				h.deliver()
				most = max(most, h.engine.Bytes())
				if i%5000 == 4999 {
					runtime.GC()
					runtime.ReadMemStats(&after)
					require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(limit+limit/10+2<<20), "the heap, coders aside")
				}
			}
			assert.LessOrEqual(t, most, int64(limit+limit/10))
			h.flush()
			h.deliver()
			h.engine.store.seal(&h.engine.store.open)
			h.engine.store.seal(&h.engine.store.aside)
			assert.Zero(t, h.engine.Len())
			assert.Empty(t, h.engine.store.contexts, "nothing stays behind")
			assert.Empty(t, h.engine.store.blobs)
			spare := int64(len(h.engine.store.spare)) * segmentSize
			assert.Equal(t, spare, h.engine.store.bytes, "the account balances")
		})
	}
}

func TestValuableTracesAreDecidedLast(t *testing.T) {
	const plain = 40_000
	h := newHarness(t, Settings{MemoryLimit: 4 << 20, DecisionWait: time.Hour, Remembered: 1000}, errs)
	for i := range uint64(plain) {
		h.add(testSpan{id: idOf(i), failed: i%200 == 0, payload: 100})
	}
	require.Less(t, h.engine.Len(), plain/2, "memory ran short")
	waiting := 0
	for i := uint64(0); i < plain; i += 200 {
		if _, ok := h.engine.traces[idOf(i)]; ok {
			waiting++
		}
	}
	assert.Equal(t, plain/200, waiting, "traces with errors wait on")
	h.flush()
	assert.Len(t, h.kept(), plain/200)
}

func TestMovedTracesComeOutWhole(t *testing.T) {
	h := newHarness(t, Settings{MemoryLimit: 2 << 20, DecisionWait: time.Hour, Remembered: 1000}, errs)
	for i := range uint64(30_000) {
		h.add(testSpan{id: idOf(i), service: fmt.Sprint("s", i%3), name: fmt.Sprint("op", i%50), failed: i%100 == 0, payload: 50})
	}
	moved := 0
	for _, tr := range h.engine.traces {
		if tr.has(factMoved) {
			moved++
		}
	}
	require.Positive(t, moved)
	h.flush()
	var w Writer
	h.engine.Views(h.out.Kept)
	for i := range h.out.Kept {
		require.NoError(t, w.Add(&h.out.Kept[i]))
	}
	found := make(map[TraceID]string)
	var b Batch
	data := w.AppendTo(nil)
	p, err := Compile([]Policy{always})
	require.NoError(t, err)
	require.NoError(t, b.Parse(data, p, nil))
	for i := range b.count {
		f := &b.fragments[i]
		s := b.spans[b.groups[f.firstGroup].first]
		found[f.id] = string(data[s.low:s.high])
	}
	require.Len(t, found, 300)
	for i := uint64(0); i < 30_000; i += 100 {
		want := testSpan{id: idOf(i), name: fmt.Sprint("op", i%50), failed: true, payload: 50}
		assert.Equal(t, string(want.encode()), found[idOf(i)])
	}
}

func TestBurningObjectivesPromoteWaitingTraces(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: 10 * time.Second}, Policy{Name: "slo", Kind: KindSLO})
	h.add(testSpan{id: idOf(1), service: "checkout"}, testSpan{id: idOf(2), service: "cart"}, testSpan{id: idOf(3), service: "cart", bad: true})
	h.engine.SetBurning([]uint32{ServiceHash("checkout")})
	h.advance(12 * time.Second)
	kept := h.kept()
	assert.Len(t, kept, 2)
	assert.Contains(t, kept, idOf(1), "its service burns")
	assert.Contains(t, kept, idOf(3), "it holds a bad span")
}

func TestParsingNeverPanics(t *testing.T) {
	p, err := Compile([]Policy{errs, {Name: "a", Kind: KindString, Key: "payload", Values: []string{"x"}}, {Name: "l", Kind: KindLatency, LatencyAbove: 5}})
	require.NoError(t, err)
	good := encodeRequest(testSpan{id: idOf(1), service: "a", name: "b", payload: 10, bad: true}, testSpan{id: idOf(2), failed: true})
	r := rand.New(rand.NewPCG(7, 7))
	var b Batch
	refused := 0
	for range 20_000 {
		data := append([]byte(nil), good...)
		for range 1 + r.IntN(4) {
			data[r.IntN(len(data))] = byte(r.Uint32())
		}
		if b.Parse(data[:r.IntN(len(data)+1)], p, nil) != nil {
			refused++
		}
	}
	assert.Positive(t, refused)
	require.NoError(t, b.Parse(good, p, nil))
	assert.Equal(t, 2, b.Traces())
	assert.Equal(t, 2, b.Spans())
}

func FuzzParse(f *testing.F) {
	p, err := Compile([]Policy{errs, {Name: "a", Kind: KindString, Key: "payload", Values: []string{"x"}}})
	require.NoError(f, err)
	f.Add(encodeRequest(testSpan{id: idOf(1), service: "a", name: "b", payload: 10}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b Batch
		if b.Parse(data, p, nil) != nil {
			return
		}
		spans := 0
		for i := range b.count {
			spans += int(b.fragments[i].facts.spans)
		}
		require.Equal(t, b.Spans(), spans)
	})
}

func TestTheMapOfTracesGivesMemoryBack(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Second}, errs)
	for i := range uint64(20_000) {
		h.add(testSpan{id: idOf(i)})
	}
	full := h.engine.peak
	h.advance(3 * time.Second)
	assert.Equal(t, 20_000, full)
	assert.Less(t, h.engine.peak, 5000)
	h.add(testSpan{id: idOf(1 << 30), failed: true})
	h.advance(3 * time.Second)
	assert.Len(t, h.kept(), 1)
}

func TestLateSpansRarelyMakeFragments(t *testing.T) {
	const traces = 50_000
	h := newHarness(t, Settings{DecisionWait: time.Second, Remembered: 200_000, KeptDetails: 1000}, percent(20))
	late := make(map[int][]uint64)
	spans := make(map[TraceID]int)
	note := func() {
		for _, list := range [][]Kept{h.out.Kept, h.out.Late} {
			for _, k := range list {
				spans[k.ID] += k.Spans
			}
		}
		h.deliver()
	}
	const perSecond = 1000
	for second := range traces/perSecond + 20 {
		for _, n := range late[second] {
			h.add(testSpan{id: idOf(n)})
		}
		for i := range uint64(perSecond) {
			n := uint64(second*perSecond) + i
			if n >= traces {
				break
			}
			h.add(testSpan{id: idOf(n)}, testSpan{id: idOf(n)})
			// One span in twenty comes up to fifteen seconds late.
			if n%7 == 0 {
				late[second+3+int(n%13)] = append(late[second+3+int(n%13)], n)
			}
		}
		h.advance(time.Second)
		note()
	}
	h.flush()
	note()
	require.Greater(t, len(spans), traces/6)
	fragments := 0
	for n := range uint64(traces) {
		want := 2
		if n%7 == 0 {
			want = 3
		}
		if got := spans[idOf(n)]; got != 0 && got != want {
			fragments++
		}
	}
	assert.LessOrEqual(t, fragments, traces/10_000)
}
