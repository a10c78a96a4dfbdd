// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// survivors is how many of n events a sampler of probability p keeps.
func survivors(r *rand.Rand, n int, p float64) int {
	if p >= 1 {
		return n
	}
	kept := 0
	for at := 0; ; kept++ {
		at += 1 + int(math.Log(1-r.Float64())/math.Log1p(-p))
		if at > n {
			return kept
		}
	}
}

// TestTheIntervalOfTheBudgetCoversTheTruth samples populations whose share of bad events is known. Four senders have thresholds of their own,
// from 1 to 100 %, and change them half-way.
func TestTheIntervalOfTheBudgetCoversTheTruth(t *testing.T) {
	runs := int(max(200, 20_000*scale()))
	covered, low, high := 0, 0, 0
	r := rand.New(rand.NewPCG(3, 14))
	objective := testObjective("o")
	objective.Window = Duration(Day)
	for range runs {
		e := testEngine(t, Demo(), objective)
		tally := e.NewTally()
		ratio := math.Exp(math.Log(0.005) + r.Float64()*math.Log(20)) // 0.5 to 10 %
		var all, bad float64
		for phase := range 2 {
			for range 4 {
				th := uint64((1 - math.Exp(math.Log(0.01)*r.Float64())) * (1 << 24))
				p := 1 - float64(th)/(1<<24)
				w := AdjustedCount(fmt.Sprintf("ot=th:%06x", th))
				n := 1000 + r.IntN(9000)
				wrong := survivors(r, n, ratio) // the truth of this sender
				all, bad = all+float64(n), bad+float64(wrong)
				at := epoch.Add(time.Duration(phase) * time.Hour).UnixNano()
				for verdict, kept := range []int{survivors(r, n-wrong, p), survivors(r, wrong, p)} {
					entry, span := tally.Entry(0, nil), tally.Slice(at)
					for range kept {
						entry.Add(span, at, verdict == 1, w)
						entry.AddSampled(span, verdict == 1, w)
					}
				}
				tally.Observe(1, at)
			}
		}
		e.Commit(tally, epoch.Add(time.Hour))
		s := e.Statuses()[0]
		require.NotNil(t, s.BudgetInterval)
		truth := 1 - bad/all/(1-objective.Target)
		switch {
		case truth < s.BudgetInterval[0]-1e-9:
			low++
		case truth > s.BudgetInterval[1]+1e-9:
			high++
		default:
			covered++
		}
	}
	share := float64(covered) / float64(runs)
	figures.Record(t, figures.Figure{
		Table: "head sampling: the 95 % interval of the error budget", Row: "thresholds of 1 to 100 %, mixed and changing: the interval covers the truth",
		Reached: fmt.Sprintf("%.2f %% of %d runs (%d below, %d above)", 100*share, runs, low, high), Wanted: "94 to 96 %",
		Command: "PITWALL_SCALE=1 go test -v -run IntervalOfTheBudget ./internal/slo",
	})
	noise := 4 * math.Sqrt(0.05*0.95/float64(runs))
	assert.InDelta(t, 0.95, share, 0.01+noise)
}

func TestAnExactBudgetHasNoInterval(t *testing.T) {
	e := testEngine(t, Demo())
	feed(e, 10, steady(epoch, time.Hour, time.Second, 1, 100)...)
	assert.Nil(t, e.Statuses()[0].BudgetInterval)
}

func TestWithoutABadEventTheBudgetMayStillBeLess(t *testing.T) {
	e := testEngine(t, Demo())
	tally := e.NewTally()
	for i := range 600 {
		at := epoch.Add(time.Duration(i) * time.Second).UnixNano()
		entry, span := tally.Entry(0, nil), tally.Slice(at)
		entry.Add(span, at, false, 100*One)
		entry.AddSampled(span, false, 100*One)
	}
	tally.Observe(1, epoch.Add(599*time.Second).UnixNano())
	e.Commit(tally, epoch.Add(10*time.Minute))
	s := e.Statuses()[0]
	require.NotNil(t, s.BudgetInterval)
	assert.InDelta(t, 1, s.BudgetInterval[1], 0)
	assert.Less(t, s.BudgetInterval[0], 0.8)
	assert.Greater(t, s.BudgetInterval[0], 0.3, "two and a half observations that were not made")

	parts := e.Snapshot()
	again := testEngine(t, Demo())
	_, err := again.Restore(func(key string) ([]byte, error) {
		for _, p := range parts {
			if p.Key == key {
				return p.Value, nil
			}
		}
		return nil, nil
	})
	require.NoError(t, err)
	assert.Equal(t, s.BudgetInterval, again.Statuses()[0].BudgetInterval)
}
