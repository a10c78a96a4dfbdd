// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replica is one of several engines that share a budget: each owns a slice of the trace IDs and of the budget.
func replica(t *testing.T, budget Budget, policies ...Policy) *harness {
	return newHarness(t, Settings{Budget: budget, DecisionWait: time.Second, Remembered: 1000, KeptDetails: 1}, policies...)
}

func TestTheBudgetIsKeptWhateverTheKeysAndBursts(t *testing.T) {
	const (
		budget  = 500.0
		seconds = 90
		warmUp  = 3
	)
	for _, keys := range []uint64{20, 10_000} {
		for _, replicas := range []uint64{1, 8} {
			t.Run(fmt.Sprintf("%d keys, %d replicas", keys, replicas), func(t *testing.T) {
				r := rand.New(rand.NewPCG(keys, replicas))
				zipf := rand.NewZipf(r, 1.1, 1, keys-1)
				var fleet []*harness
				for range replicas {
					fleet = append(fleet, replica(t, Budget{SpansPerSecond: budget / float64(replicas)}, always))
				}
				var perSecond []float64
				n := uint64(0)
				for second := range seconds {
					traces := 1000
					if second%20 == 10 {
						traces *= 10
					}
					for range traces {
						n++
						key := fmt.Sprint("op-", zipf.Uint64())
						fleet[n%replicas].add(testSpan{id: idOf(n), name: key, failed: r.IntN(50) == 0}, testSpan{id: idOf(n), name: key})
					}
					spans := 0
					for _, h := range fleet {
						h.advance(time.Second)
						for _, k := range h.kept() {
							spans += k.Spans
						}
					}
					perSecond = append(perSecond, float64(spans))
				}
				perSecond = perSecond[warmUp:]
				for from := range perSecond[:len(perSecond)-60] {
					var sum float64
					for _, spans := range perSecond[from : from+60] {
						sum += spans
					}
					require.InEpsilon(t, budget*60, sum, 0.02, "over 60 seconds from second %d", from)
				}
				for second, spans := range perSecond {
					require.LessOrEqual(t, spans, budget*1.1, "in second %d", second)
				}
			})
		}
	}
}

func TestSilenceDoesNotSaveUpBudget(t *testing.T) {
	h := replica(t, Budget{SpansPerSecond: 100}, always)
	for burst := range uint64(5) {
		h.advance(time.Minute)
		for i := range uint64(5000) {
			h.add(testSpan{id: idOf(burst<<20 | i), name: "op"})
		}
		h.advance(2 * time.Second)
		assert.LessOrEqual(t, len(h.kept()), 110)
	}
}

func TestTheBudgetCountsWhatItIsSetFor(t *testing.T) {
	for name, b := range map[string]Budget{"traces": {TracesPerSecond: 50}, "bytes": {BytesPerSecond: 50 * 130}} {
		t.Run(name, func(t *testing.T) {
			h := replica(t, b, always)
			var traces int
			var bytes int64
			for second := range uint64(30) {
				for i := range uint64(300) {
					h.add(testSpan{id: idOf(second<<20 | i), name: "op"})
				}
				h.advance(time.Second)
				for _, k := range h.kept() {
					traces++
					bytes += k.Bytes
				}
			}
			if b.TracesPerSecond > 0 {
				assert.InEpsilon(t, 29*50, traces, 0.05)
			} else {
				assert.InEpsilon(t, 29*50*130, bytes, 0.05)
			}
			assert.Positive(t, h.engine.stats.OverBudget)
		})
	}
}

func TestWithinTheBudgetTroubleGoesFirst(t *testing.T) {
	h := replica(t, Budget{TracesPerSecond: 100}, always)
	kept := make(map[string]int)
	for second := range uint64(40) {
		for i := range uint64(2000) {
			h.add(testSpan{id: idOf(second<<20 | i), name: "op", failed: i%100 == 0, bad: i%200 == 1})
		}
		h.advance(time.Second)
		for id := range h.kept() {
			for i := range uint64(2000) {
				if id == idOf(second<<20|i) || (second > 0 && id == idOf((second-1)<<20|i)) {
					switch {
					case i%100 == 0:
						kept["failed"]++
					case i%200 == 1:
						kept["bad"]++
					default:
						kept["plain"]++
					}
				}
			}
		}
	}
	assert.Greater(t, kept["failed"], 39*20*95/100, "of 20 a second")
	assert.Greater(t, kept["bad"], 39*10*95/100, "of 10 a second")
	assert.Greater(t, kept["plain"], 39*50, "and the rest is for the others")
}

// mixes are policy sets whose adjusted counts must be true, each with a stratum of slow and one of failed traces.
var mixes = map[string]struct {
	policies []Policy
	budget   Budget
}{
	"probabilistic":                {policies: []Policy{percent(20)}},
	"errors or some":               {policies: []Policy{errs, percent(10)}},
	"all within a budget":          {policies: []Policy{always}, budget: Budget{SpansPerSecond: 60}},
	"some within a budget":         {policies: []Policy{errs, percent(50)}, budget: Budget{TracesPerSecond: 50}},
	"rate limit":                   {policies: []Policy{{Name: "rate", Kind: KindRate, PerSecond: 60, Burst: 60}}},
	"errors, and a rate for all":   {policies: []Policy{errs, {Name: "rate", Kind: KindRate, PerSecond: 60, Burst: 60}}},
	"composite":                    {policies: []Policy{{Name: "c", Kind: KindComposite, PerSecond: 80, Shares: []int64{20, 60}, Sub: []Policy{errs, always}}}},
	"a share of a share":           {policies: []Policy{{Name: "and", Kind: KindAnd, Sub: []Policy{percent(60), {Name: "s", Kind: KindProbabilistic, Percent: 50, Salt: "x"}}}}},
	"two salts":                    {policies: []Policy{percent(20), {Name: "s", Kind: KindProbabilistic, Percent: 30, Salt: "x"}}},
	"the opposite of a share":      {policies: []Policy{{Name: "not", Kind: KindNot, Sub: []Policy{percent(70)}}}},
	"the opposite within a budget": {policies: []Policy{{Name: "not", Kind: KindNot, Sub: []Policy{percent(40)}}}, budget: Budget{SpansPerSecond: 60}},
}

// runsPerMix is how often each mix is run: 20,000 times over all mixes at PITWALL_SCALE=1, and at least 30 times each.
func runsPerMix() int {
	scale, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64)
	if err != nil {
		scale = 0.01
	}
	return max(30, int(20_000*scale)/len(mixes))
}

// estimate is a count made from adjusted counts, with its variance.
type estimate struct{ sum, variance float64 }

func (e *estimate) add(probability float64) {
	e.sum += 1 / probability
	e.variance += (1 - probability) / (probability * probability)
}

func TestAdjustedCountsAreUnbiased(t *testing.T) {
	const (
		seconds = 6
		traces  = 500
	)
	for name, mix := range mixes {
		t.Run(name, func(t *testing.T) {
			truth := map[bool]float64{true: traces / 10 * seconds, false: traces * 9 / 10 * seconds}
			sums, covered, certain := map[bool]float64{}, map[bool]float64{}, map[bool]bool{true: true, false: true}
			squares := map[bool]float64{}
			runs := runsPerMix()
			for run := range uint64(runs) {
				h := replica(t, mix.budget, mix.policies...)
				estimates := map[bool]*estimate{true: {}, false: {}}
				failed := make(map[TraceID]bool)
				for second := range uint64(seconds) {
					for i := range uint64(traces) {
						id := idOf(run<<40 | second<<20 | i)
						failed[id] = i%10 == 0
						h.add(testSpan{id: id, name: "op", failed: failed[id]})
					}
					h.advance(time.Second)
				}
				h.advance(2 * time.Second)
				for id, k := range h.kept() {
					require.True(t, k.Chance.Known)
					require.GreaterOrEqual(t, k.Random, k.Chance.Threshold, "a kept trace must be at or above its threshold")
					estimates[failed[id]].add(ProbabilityOf(k.Chance.Threshold))
				}
				for stratum, e := range estimates {
					sums[stratum] += e.sum
					squares[stratum] += e.sum * e.sum
					certain[stratum] = certain[stratum] && e.variance == 0
					if math.Abs(e.sum-truth[stratum]) <= 1.96*math.Sqrt(e.variance) {
						covered[stratum]++
					}
				}
			}
			for stratum, want := range truth {
				n := float64(runs)
				mean := sums[stratum] / n
				deviation := math.Sqrt(max(squares[stratum]/n-mean*mean, 0) / n)
				if certain[stratum] {
					// A new trace may be taken for one decided before, once in 260,000.
					assert.InEpsilon(t, want, mean, 1e-4, "what is always kept is counted one by one")
					continue
				}
				assert.InDelta(t, want, mean, 4*deviation, "failed: %v", stratum)
				// Four standard deviations of the share itself, and a percent for samples that are not quite normal.
				share := covered[stratum] / n
				t.Logf("failed %v: %.1f %% of %d intervals cover the truth", stratum, 100*share, runs)
				assert.InDelta(t, 0.95, share, 0.01+4*math.Sqrt(0.95*0.05/n), "failed: %v", stratum)
			}
		})
	}
}

func TestALimiterKeepsToItsRate(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Second}, Policy{Name: "rate", Kind: KindRate, PerSecond: 100})
	spans := 0
	for second := range uint64(30) {
		for i := range uint64(500) {
			h.add(testSpan{id: idOf(second<<20 | i)})
		}
		h.advance(time.Second)
		for range h.kept() {
			spans++
		}
	}
	assert.InDelta(t, 29*100, spans, 210, "and once the burst, of two seconds")
}

func TestATraceLargerThanTheBurstIsNeverKept(t *testing.T) {
	h := newHarness(t, Settings{DecisionWait: time.Second}, Policy{Name: "bytes", Kind: KindBytes, PerSecond: 10_000, Burst: 500})
	h.add(testSpan{id: idOf(1), payload: 1000}, testSpan{id: idOf(2), payload: 100})
	h.advance(3 * time.Second)
	kept := h.kept()
	assert.Len(t, kept, 1)
	assert.Contains(t, kept, idOf(2))
}
