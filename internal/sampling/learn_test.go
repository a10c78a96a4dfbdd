// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEachShapeIsKeptOnceAnInterval(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Second}, Policy{Name: "d", Kind: KindDiversity, Interval: time.Minute})
	n := uint64(0)
	minute := func() int {
		kept := 0
		for range 30 {
			for shape := range 50 {
				n++
				h.add(testSpan{id: idOf(n), service: "a", name: fmt.Sprint("op-", shape%10)}, testSpan{id: idOf(n), service: "a", name: fmt.Sprint("call-", shape/10), child: true})
			}
			h.advance(2 * time.Second)
			kept += len(h.kept())
		}
		return kept
	}
	assert.Equal(t, 50, minute())
	h.advance(2 * time.Second)
	assert.Equal(t, 50, minute(), "and again in the next")
}

func TestShapesAreSetsOfOperations(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Hour}, always)
	a, b := testSpan{service: "s", name: "a"}, testSpan{service: "s", name: "b"}
	with := func(n uint64, spans ...testSpan) {
		for i := range spans {
			spans[i].id = idOf(n)
			h.add(spans[i])
		}
	}
	with(1, a, b)
	with(2, b, a, b, b)
	with(3, a)
	with(4, a, testSpan{service: "other", name: "b"})
	with(5, a, testSpan{service: "s", name: "b", failed: true})
	shape := func(n uint64) uint64 { return h.engine.traces[idOf(n)].shape() }
	assert.Equal(t, shape(1), shape(2), "neither order nor number matters")
	for _, n := range []uint64{3, 4, 5} {
		assert.NotEqual(t, shape(1), shape(n))
	}
}

func TestCountersForgetAndStayBounded(t *testing.T) {
	c := newCounter(&Policy{Count: 2, Interval: time.Minute, Limit: 100}, func(t *trace) uint64 { return t.route })
	kept := 0
	for i := range uint64(1000) {
		if c.learn(&trace{facts: facts{route: i}}, origin) {
			kept++
		}
	}
	assert.Equal(t, 100, kept, "routes beyond the limit are not kept for being rare")
	assert.Len(t, c.seen, 100)
	assert.True(t, c.learn(&trace{facts: facts{route: 1}}, origin), "the second of two")
	assert.False(t, c.learn(&trace{facts: facts{route: 1}}, origin))
	assert.True(t, c.learn(&trace{facts: facts{route: 5000}}, origin.Add(2*time.Minute)), "old routes make room")
}

func TestSlowIsMeasuredAgainstTheRoute(t *testing.T) {
	s := newSlowRoutes(&Policy{Quantile: 0.99})
	r := rand.New(rand.NewPCG(3, 3))
	kept := map[uint64]int{}
	ms := uint64(time.Millisecond)
	for range 20_000 {
		for route, typical := range map[uint64]uint64{1: 10 * ms, 2: 1000 * ms} {
			tr := &trace{facts: facts{route: route, start: 1, end: 1 + uint64(float64(typical)*(1+r.ExpFloat64()/4))}}
			if s.learn(tr, origin) {
				kept[route]++
			}
		}
	}
	for route, n := range kept {
		assert.InDelta(t, 200, n, 200, "about one in a hundred of route %d", route)
	}
	assert.True(t, s.learn(&trace{facts: facts{route: 1, start: 1, end: 100 * ms}}, origin), "slow for its route, though fast for the other")
	assert.False(t, s.learn(&trace{facts: facts{route: 2, start: 1, end: 100 * ms}}, origin))
	assert.False(t, s.learn(&trace{facts: facts{route: 1, start: 5, end: 1}}, origin))
}

func TestANewVersionIsKeptWhileItIsNew(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Second}, Policy{Name: "change", Kind: KindChange, Percent: 100, Interval: 10 * time.Minute})
	n := uint64(0)
	send := func(version string) int {
		n++
		h.add(testSpan{id: idOf(n), service: "checkout", version: version})
		h.advance(2 * time.Second)
		return len(h.kept())
	}
	assert.Zero(t, send("1"), "what is there at the start is not new")
	h.advance(2 * time.Minute)
	assert.Zero(t, send("1"))
	assert.Equal(t, 1, send("2"))
	assert.Zero(t, send("1"))
	h.advance(5 * time.Minute)
	assert.Equal(t, 1, send("2"))
	h.advance(10 * time.Minute)
	assert.Zero(t, send("2"), "it is not new any more")
}

func TestDynamicRatesHoldTheGoalWithAnyNumberOfRoutes(t *testing.T) {
	const goal = 200
	for _, routes := range []uint64{20, 10_000} {
		t.Run(fmt.Sprint(routes, " routes"), func(t *testing.T) {
			h := newHarness(t, Settings{DecisionWait: time.Second, Remembered: 1000}, Policy{Name: "d", Kind: KindDynamic, Goal: goal, Interval: 5 * time.Second})
			r := rand.New(rand.NewPCG(routes, 1))
			zipf := rand.NewZipf(r, 1.2, 1, routes-1)
			n, kept, rare, rareSeen := uint64(0), 0, 0, 0
			for second := range 120 {
				for range 2000 {
					n++
					route := zipf.Uint64()
					h.add(testSpan{id: idOf(n), name: fmt.Sprint("op-", route)})
					if second >= 40 && route > 10 && route < 20 {
						rareSeen++
					}
				}
				h.advance(time.Second)
				if second >= 40 {
					for _, k := range h.kept() {
						kept++
						if k.Chance.Known && ProbabilityOf(k.Chance.Threshold) > 0.2 {
							rare++
						}
					}
				}
				h.kept()
			}
			require.Positive(t, rareSeen)
			assert.InEpsilon(t, goal*80, kept, 0.1)
		})
	}
}
