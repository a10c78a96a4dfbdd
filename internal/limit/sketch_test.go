// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDemandIsEstimatedWithinAFewPercent(t *testing.T) {
	for _, n := range []int{0, 1, 100, 512, 513, 2000, 20_000, 1_000_000} {
		var h hyperLogLog
		for i := range n {
			h.insert(HashInt(int64(i)))
			h.insert(HashInt(int64(i)))
		}
		if n <= hllExact {
			assert.InDelta(t, float64(n), h.estimate(), 0)
		} else {
			assert.InEpsilon(t, float64(n), h.estimate(), 0.05)
		}
		assert.LessOrEqual(t, h.bytes(), int64(hllExact*18))
		h.reset()
		assert.InDelta(t, 0, h.estimate(), 0.001)
	}
}

func TestHeavyHittersBoundEveryWeight(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		zipf := rand.NewZipf(r, 1.1, 1, 50_000)
		s := newHeavyHitters(256)
		truth := map[uint64]float64{}
		for range 100_000 {
			h := HashInt(int64(zipf.Uint64()))
			truth[h]++
			s.offer(h, 1)
		}
		for i, x := range s.hitters {
			require.LessOrEqual(t, x.weight-x.excess, truth[x.hash])
			require.GreaterOrEqual(t, x.weight, truth[x.hash])
			require.Equal(t, int32(i), s.find(x.hash))
		}
		for range 30 { // the heaviest thirty are all found
			best := uint64(0)
			for h, w := range truth {
				if w > truth[best] {
					best = h
				}
			}
			require.GreaterOrEqual(t, s.find(best), int32(0))
			delete(truth, best)
		}
	}
}

// From the second window on, the admitted values carry at least 98 % of what the best possible choice would.
func TestAdmittedHoldTheMassOfTheHeaviest(t *testing.T) {
	for _, skew := range []float64{1.01, 1.1, 1.3} {
		for _, limit := range []int{10, 100, 500} {
			a := admission{limit: limit}
			r := rand.New(rand.NewPCG(uint64(limit), uint64(skew*100)))
			zipf := rand.NewZipf(r, skew, 2, 1_000_000)
			for window := range 4 {
				truth := map[uint64]float64{}
				kept := 0.0
				for range 200_000 {
					h := HashInt(int64(zipf.Uint64()))
					truth[h]++
					s := a.find(h)
					if s == nil {
						s = a.ask(h, true)
					}
					if s == nil {
						a.refuse(h, 1, 1<<30)
						continue
					}
					s.used = true
					s.weight++
					kept++
				}
				weights := make([]float64, 0, len(truth))
				for _, w := range truth {
					weights = append(weights, w)
				}
				slices.Sort(weights)
				best := 0.0
				for _, w := range weights[len(weights)-limit:] {
					best += w
				}
				if window > 0 {
					assert.GreaterOrEqual(t, kept/best, 0.98, "skew %v, limit %d, window %d", skew, limit, window)
				}
				a.edge(2)
				require.LessOrEqual(t, len(a.seats), limit)
			}
		}
	}
}

func TestValuesSeenOnceDisplaceNobody(t *testing.T) {
	a := admission{limit: 10}
	distinct := map[uint64]bool{}
	for i := range 600 {
		h := HashInt(int64(i))
		if a.ask(h, true) == nil {
			a.refuse(h, 1, 1<<30)
		}
		for s := range a.seats {
			distinct[s] = true
		}
		if i%120 == 119 {
			a.edge(2)
		}
	}
	assert.Len(t, distinct, 10)
}

func TestIdleSeatsBecomeFree(t *testing.T) {
	a := admission{limit: 2}
	a.ask(1, true)
	a.edge(2)
	require.Len(t, a.seats, 1)
	a.edge(2)
	a.edge(2)
	assert.Empty(t, a.seats)
	assert.Nil(t, a.ask(1, false), "no seat without room")
}

func TestForgottenStreamsAreRecognised(t *testing.T) {
	b := newBloom()
	for i := range 500_000 {
		b.add(HashInt(int64(i)))
	}
	wrong := 0
	for i := range 500_000 {
		require.True(t, b.has(HashInt(int64(i))))
		if b.has(HashInt(int64(i + 1_000_000))) {
			wrong++
		}
	}
	assert.Less(t, wrong, 15_000)
	assert.LessOrEqual(t, b.bytes(), int64(2<<20))
}

func TestTemplatesReplaceWhatTellsRequestsApart(t *testing.T) {
	for in, want := range map[string]string{
		"/users/42/orders": "/users/{num}/orders",
		"/api/v1/things":   "/api/v1/things",
		"/o/123e4567-e89b-12d3-a456-426614174000/x": "/o/{uuid}/x",
		"deadbeef01":                           "{hex}",
		"0xff":                                 "{hex}",
		"decade":                               "decade",
		"/search?q=1&p=2":                      "/search?{query}",
		"https://a.example/b/7?x=y":            "https://a.example/b/{num}?{query}",
		"what?":                                "what?",
		"session-AbC9dEfGhIjKlMnOp":            "session-{id}",
		"":                                     "",
		"10.1.2.3:80":                          "{num}.{num}.{num}.{num}:{num}",
		"123e4567-e89b-12d3-a456-426614174000": "{uuid}",
		"café/9":                               "café/{num}",
		"SELECT * FROM users WHERE id = 7":     "SELECT * FROM users WHERE id = {num}",
		"/a/123e4567-e89b-12d3-a456-426614174000z/not-a-uuid-1": "/a/{hex}-e89b-12d3-a456-426614174000z/not-a-uuid-{num}",
	} {
		assert.Equal(t, want, Template(in))
		assert.Equal(t, want, Template(want), "a template stays what it is")
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = Template("/api/v1/things") }))
}

func FuzzTemplate(f *testing.F) {
	f.Add("/users/42/orders?x=1")
	f.Fuzz(func(t *testing.T, s string) {
		once := Template(s)
		if twice := Template(once); twice != once {
			t.Fatalf("%q became %q and then %q", s, once, twice)
		}
	})
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true},
		{"http.*", "http.server", true},
		{"http.*", "https", false},
		{"*.count", "a.b.count", true},
		{"a*b*c", "axxbyyc", true},
		{"a*b*c", "axxbyy", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"", "", true},
		{"", "a", false},
		{"slo.*", "slo.events", true},
		{"**", "anything", true},
	} {
		assert.Equal(t, c.want, Match(c.pattern, c.text), fmt.Sprint(c))
	}
}

// What is held to say quickly that a value has no seat must never say so of one that has.
func TestEverySeatIsFoundAmongStrangers(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, limit := range []int{1, 10, 300} {
		a := admission{limit: limit}
		room := false
		for window := range 6 {
			for range 5000 {
				h := HashInt(r.Int64N(2000))
				_, seated := a.seats[h]
				s := a.find(h)
				require.Equal(t, seated, s != nil)
				if s == nil {
					s = a.ask(h, room || r.IntN(3) > 0) // seats are given before and after somebody was refused
				}
				if s == nil {
					a.refuse(h, 1, 1<<20)
					continue
				}
				s.used = true
				s.weight++
			}
			room = true
			a.edge(2)
			for h, s := range a.seats {
				require.Same(t, s, a.find(h), "window %d", window)
			}
		}
		a.clear()
		require.Nil(t, a.find(HashInt(1)))
		require.NotNil(t, a.ask(HashInt(1), true))
		require.NotNil(t, a.find(HashInt(1)))
	}
}

// What weighs twice as much takes the place of the lightest, also when it is alone, or one of many that are alike.
func TestTheHeavyTakeTheirSeats(t *testing.T) {
	for _, waiting := range []int{1, 5, 10, 25, 400} {
		for _, weight := range []float64{1.5, 2, 1000} {
			a := admission{limit: 10}
			for window := range 3 {
				for i := range 10 + waiting {
					h, w := HashInt(int64(i)), 1.0
					if i >= 10 {
						w = weight
					}
					if s := a.find(h); s != nil {
						s.used = true
						s.weight += w
					} else if s = a.ask(h, true); s != nil {
						s.weight += w
					} else {
						a.refuse(h, w, 1<<30)
					}
				}
				a.edge(2)
				heavy := 0
				for h := range a.seats {
					if !isOneOf(h, 10) {
						heavy++
					}
				}
				want := 0
				if weight >= 2 && (window > 0 || waiting <= 10) {
					want = min(waiting, 10)
				}
				require.Equal(t, want, heavy, "%d of weight %v wait, window %d", waiting, weight, window)
				require.Len(t, a.seats, 10)
			}
		}
	}
}

func isOneOf(hash uint64, first int) bool {
	for i := range first {
		if hash == HashInt(int64(i)) {
			return true
		}
	}
	return false
}
