// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var linked = Policy{Name: "linked", Kind: KindLinked}

func TestLinkedTracesAreKeptTogether(t *testing.T) {
	for name, c := range map[string]struct {
		add  func(h *harness)
		want []uint64
	}{
		"decided at once, either way and on": {func(h *harness) {
			h.add(testSpan{id: idOf(1), failed: true, link: 2}, testSpan{id: idOf(2)}, testSpan{id: idOf(3), link: 2}, testSpan{id: idOf(4)})
		}, []uint64{1, 2, 3}},
		"the one that is linked to waits": {func(h *harness) {
			h.add(testSpan{id: idOf(1), failed: true, link: 2})
			h.advance(5 * time.Second)
			h.add(testSpan{id: idOf(2)}, testSpan{id: idOf(4)})
		}, []uint64{1, 2}},
		"the one that is linked to is yet to come": {func(h *harness) {
			h.add(testSpan{id: idOf(1), failed: true, link: 2})
			h.advance(11 * time.Second)
			h.add(testSpan{id: idOf(2)}, testSpan{id: idOf(4)})
		}, []uint64{1, 2}},
		"and does not come in time": {func(h *harness) {
			h.add(testSpan{id: idOf(1), failed: true, link: 2})
			h.advance(12 * time.Second)
			h.advance(12 * time.Second)
			h.add(testSpan{id: idOf(2)})
		}, []uint64{1}},
		"the one that links comes later": {func(h *harness) {
			h.add(testSpan{id: idOf(1), failed: true})
			h.advance(11 * time.Second)
			h.add(testSpan{id: idOf(2), link: 1}, testSpan{id: idOf(3), link: 4})
		}, []uint64{1, 2}},
		"the one that it links to was dropped": {func(h *harness) {
			h.add(testSpan{id: idOf(1)})
			h.advance(11 * time.Second)
			h.add(testSpan{id: idOf(2), link: 1})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, Settings{DecisionWait: 10 * time.Second}, errs, linked)
			c.add(h)
			h.advance(12 * time.Second)
			h.flush()
			kept := h.kept()
			require.Len(t, kept, len(c.want))
			for _, n := range c.want {
				assert.Contains(t, kept, idOf(n))
			}
		})
	}
}

func TestATraceKeptForItsLinkStatesNoThreshold(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Second}, errs, linked, Policy{Name: "half", Kind: KindProbabilistic, Percent: 50})
	for n := uint64(10); n < 1000; n += 2 {
		h.add(testSpan{id: idOf(n), failed: true, link: n + 1}, testSpan{id: idOf(n + 1)})
	}
	h.advance(3 * time.Second)
	kept := h.kept()
	require.Len(t, kept, 990)
	for n := uint64(10); n < 1000; n += 2 {
		assert.Equal(t, Chance{Threshold: 0, Known: true}, kept[idOf(n)].Chance)
		assert.False(t, kept[idOf(n+1)].Chance.Known, "how likely it was depends on the other")
	}
}

func TestPinnedTracesAreKept(t *testing.T) {
	dropped := Policy{Name: "drop", Kind: KindDrop, Sub: []Policy{{Name: "ok", Kind: KindStatus, Values: []string{"OK", "ERROR"}}}}
	h := newHarness(t, Settings{DecisionWait: 10 * time.Second, Budget: Budget{SpansPerSecond: 1}}, dropped)
	h.add(testSpan{id: idOf(1)}, testSpan{id: idOf(2)}, testSpan{id: idOf(3), failed: true})
	h.engine.Pin([]TraceID{idOf(1), idOf(3), idOf(4), idOf(5)}, h.now)
	h.add(testSpan{id: idOf(4)})
	h.advance(11 * time.Second)
	h.add(testSpan{id: idOf(5)})
	h.flush()
	kept := h.kept()
	assert.Len(t, kept, 2, "not the one a drop policy takes, and not the one that came too late")
	for _, n := range []uint64{1, 4} {
		require.Contains(t, kept, idOf(n))
		assert.Equal(t, Chance{Threshold: 0, Known: true}, kept[idOf(n)].Chance)
	}
	h.engine.Pin([]TraceID{idOf(1)}, h.now)
	assert.NotContains(t, h.engine.pins, idOf(1), "what is decided is not awaited")
}

func TestAwaitedTracesAreBounded(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: 10 * time.Second}, errs)
	for n := range uint64(2 * maxPins) {
		h.engine.Pin([]TraceID{idOf(n)}, h.now)
	}
	assert.Len(t, h.engine.pins, maxPins)
	h.engine.Pin([]TraceID{idOf(1 << 40)}, h.now.Add(time.Minute))
	assert.Len(t, h.engine.pins, 1, "those that did not come in time make room")
}

// request brings one trace of a front end that calls two services; the second answers late when slow.
func twoCalls(h *harness, n uint64, whole bool) {
	h.add(testSpan{id: idOf(n), service: "b", name: "query", span: 3, parent: 2}, testSpan{id: idOf(n), service: "a", name: "call", span: 2, parent: 1})
	h.add(testSpan{id: idOf(n), service: "a", name: "GET /", span: 1})
	if !whole {
		h.advance(4 * time.Second)
		h.add(testSpan{id: idOf(n), service: "c", name: "notify", span: 4, parent: 1, failed: true})
	}
}

func TestCompleteTracesNeedNotWait(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: 30 * time.Second, WaitAfterComplete: 2 * time.Second}, always)
	for n := range uint64(200) {
		twoCalls(h, n, true)
	}
	h.advance(4 * time.Second)
	assert.Empty(t, h.kept(), "nothing is known yet")
	h.advance(30 * time.Second)
	assert.Len(t, h.kept(), 200)

	for n := uint64(1000); n < 1160; n++ {
		twoCalls(h, n, true)
	}
	h.add(testSpan{id: idOf(5000), service: "a", name: "call", span: 2, parent: 1}, testSpan{id: idOf(5000), service: "b", name: "query", span: 3, parent: 2})
	h.add(testSpan{id: idOf(5001), service: "a", name: "other", span: 1})
	h.advance(4 * time.Second)
	early := h.kept()
	assert.InDelta(t, 150, len(early), 12, "all but those that find out whether it still holds")
	assert.NotContains(t, early, idOf(5000), "its root is missing")
	assert.NotContains(t, early, idOf(5001), "its structure is new")
	assert.Equal(t, int64(len(early)), h.engine.TakeStats().EarlyComplete)
	h.advance(30 * time.Second)
	assert.Len(t, h.kept(), 162-len(early))
}

func TestStructuresThatGrowAreNotTakenForComplete(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: 30 * time.Second, WaitAfterComplete: 2 * time.Second}, always)
	for n := range uint64(300) {
		twoCalls(h, n, n%10 != 0)
	}
	h.advance(40 * time.Second)
	require.Len(t, h.kept(), 300)
	for n := uint64(1000); n < 1100; n++ {
		twoCalls(h, n, true)
	}
	h.advance(4 * time.Second)
	assert.Empty(t, h.kept(), "one in ten got a further call")
}

func TestATraceThatGrowsWaitsOn(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: 30 * time.Second, WaitAfterComplete: 6 * time.Second}, always)
	for n := range uint64(200) {
		twoCalls(h, n, true)
	}
	h.advance(40 * time.Second)
	require.Len(t, h.kept(), 200)
	twoCalls(h, 1001, false)
	h.advance(10 * time.Second)
	assert.Empty(t, h.kept())
	h.advance(20 * time.Second)
	kept := h.kept()
	require.Contains(t, kept, idOf(1001))
	assert.Equal(t, 4, kept[idOf(1001)].Spans)
}

func TestOddParentsAreNoHarm(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: 30 * time.Second, WaitAfterComplete: time.Second}, always)
	for n := range uint64(100) {
		// A span that is its own parent, two that are each other's, and two with one ID.
		h.add(testSpan{id: idOf(n), name: "r", span: 1}, testSpan{id: idOf(n), name: "s", span: 2, parent: 2},
			testSpan{id: idOf(n), name: "c", span: 3, parent: 4}, testSpan{id: idOf(n), name: "c", span: 4, parent: 3}, testSpan{id: idOf(n), name: "c", span: 4, parent: 3})
		h.add(testSpan{id: TraceID{}, name: "r"})
	}
	for range 3 * maxFollowed {
		h.add(testSpan{id: idOf(9999), name: "x", span: 1, parent: 1})
	}
	assert.LessOrEqual(t, h.engine.traces[idOf(9999)].more.bytes(), int64(detailsOverhead))
	h.advance(40 * time.Second)
	assert.Len(t, h.kept(), 102)
	assert.Zero(t, h.engine.Pending())
}

func TestANewVariantOfAFlagIsAChange(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Second}, Policy{Name: "change", Kind: KindChange, Percent: 100, Interval: 10 * time.Minute})
	for n := range uint64(100) {
		h.add(testSpan{id: idOf(n), service: "a", version: "1", variant: "off"})
		h.advance(2 * time.Second)
	}
	h.deliver()
	h.add(testSpan{id: idOf(1000), service: "a", version: "1", variant: "off"}, testSpan{id: idOf(1001), service: "a", version: "1", variant: "on"})
	h.advance(2 * time.Second)
	kept := h.kept()
	assert.Len(t, kept, 1)
	assert.Contains(t, kept, idOf(1001))
}

// meets answers conditions by the number of the resource in the request.
type meets map[int][]int

func (m meets) Match(condition, resource, _, _ int) (bool, error) {
	return slices.Contains(m[resource], condition), nil
}

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	p, err := Compile([]Policy{{Name: "rules", Kind: KindRules, Rules: []Rule{
		{Name: "both", Conditions: []int{0, 1}, Percent: 100},
		{Name: "one", Conditions: []int{0}, Percent: 0},
		{Name: "rest", Percent: 10},
	}}})
	require.NoError(t, err)
	e, err := New(Settings{DecisionWait: time.Second, Tick: time.Second, MaxTraces: 10_000, MemoryLimit: 1 << 30, Remembered: 1000, Seen: 1000}, p, origin)
	require.NoError(t, err)
	h := &harness{t: t, engine: e, program: p, now: origin}
	for n := range uint64(1000) {
		spans := []testSpan{{id: idOf(4 * n)}, {id: idOf(4 * n)}, {id: idOf(4*n + 1)}, {id: idOf(4*n + 2)}}
		require.NoError(t, h.batch.Parse(encodeRequest(spans...), p, meets{0: {0}, 1: {1}, 2: {0}, 3: {1}}))
		e.Append(&h.batch, h.now, &h.out)
	}
	h.advance(3 * time.Second)
	lanes := map[int]int{}
	for id, k := range h.kept() {
		lanes[k.Lane]++
		if k.Lane == 2 {
			assert.InDelta(t, 0.1, ProbabilityOf(k.Chance.Threshold), 1e-9)
			assert.GreaterOrEqual(t, id.Randomness(), k.Chance.Threshold)
		}
	}
	assert.Equal(t, 1000, lanes[0], "different spans may meet the conditions")
	assert.Zero(t, lanes[1])
	assert.InDelta(t, 100, lanes[2], 35)
	_, err = Compile([]Policy{{Name: "rules", Kind: KindRules}})
	require.ErrorIs(t, err, errNoRules)
}

func TestATrialIsScoredAndDecidesNothing(t *testing.T) {
	build := func(on bool) *harness {
		p, err := Compile([]Policy{errs, percent(10)})
		require.NoError(t, err)
		settings := Settings{DecisionWait: time.Second, Tick: time.Second, MaxTraces: 100_000, MemoryLimit: 1 << 30, Remembered: 1000, Seen: 1000, Budget: Budget{SpansPerSecond: 200}}
		if on {
			require.NoError(t, p.AddTrial([]Policy{
				{Name: "slow", Kind: KindLatency, LatencyAbove: 100},
				{Name: "errors", Kind: KindStatus, Values: []string{"ERROR"}},
				{Name: "shapes", Kind: KindDiversity},
			}))
			settings.Trial = Trial{Budget: Budget{TracesPerSecond: 20}}
		}
		e, err := New(settings, p, origin)
		require.NoError(t, err)
		return &harness{t: t, engine: e, program: p, now: origin}
	}
	kept := make([]map[TraceID]Kept, 2)
	var stats Stats
	for i, on := range []bool{false, true} {
		h := build(on)
		for second := range uint64(60) {
			for n := range uint64(100) {
				s := testSpan{id: idOf(second*1000 + n), service: "a", name: "op", start: 1, end: 1 + uint64(time.Millisecond)}
				s.failed = n < 2
				if n >= 90 {
					s.end = s.start + uint64(200*time.Millisecond)
				}
				h.add(s)
			}
			h.advance(time.Second)
		}
		h.flush()
		kept[i] = h.kept()
		stats = h.engine.TakeStats()
	}
	assert.Equal(t, kept[0], kept[1], "a trial changes nothing")
	total, tried := Tally{}, int64(0)
	for w := range stats.Scores {
		for live := range 2 {
			for on := range 2 {
				s := stats.Scores[w][live][on]
				total.Traces += s.Traces
				total.Spans += s.Spans
				if on == 1 {
					tried += s.Traces
				}
			}
		}
	}
	assert.Equal(t, int64(6000), total.Traces)
	assert.Equal(t, int64(6000), total.Spans)
	assert.Equal(t, int64(60*12), tried, "the slow ones and those with errors")
	assert.Equal(t, int64(120), stats.Scores[WorthError][1][1].Traces+stats.Scores[WorthNewShape][1][1].Traces)
	assert.Positive(t, stats.Scores[WorthPlain][1][0].Traces, "the share of all that only the live set keeps")
	assert.Positive(t, stats.Scores[WorthPlain][0][1].Traces, "slow ones that only the trial keeps")
	require.Len(t, stats.Trial, 3)
	assert.Equal(t, int64(600), stats.Trial[0].Decisions[Sampled].Traces)
}
