// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/pitwall-io/pitwall/internal/figures"
)

const figureCommand = "PITWALL_SCALE=1 go test -run 'TestFigure' ./internal/verdict"

// outcome runs a comparison, looks after every slice and returns the last verdict before the requests are used up, or the first fail.
func outcome(r *rand.Rand, canary, baseline server, looks, perSlice int) Verdict {
	c := New(Settings{}, 0)
	for i := range looks {
		c.Add(int64(i), canary.requests(r, perSlice), baseline.requests(r, perSlice))
		if c.Failed() {
			return c.Judge(int64(i))
		}
	}
	return c.Judge(int64(looks - 1))
}

func TestFigureFalseFailsOfTheSameVersionUnderContinuousWatching(t *testing.T) {
	const looks, perSlice = 1000, 10
	runs := scale(1000)
	failed := 0
	s := server{median: 0.05, sigma: 0.6, errors: 0.02}
	for i := range runs {
		if v := outcome(rng(uint64(i)), s, s, looks, perSlice); v.Outcome == Fail {
			failed++
		}
	}
	rate := float64(failed) / float64(runs)
	figures.Record(t, figures.Figure{
		Table: "Canary verdicts", Row: "A/A, looked at 1,000 times: false fails at alpha 0.05",
		Reached: fmt.Sprintf("%.2f %% of %d runs", 100*rate, runs), Wanted: "at most 1 %", Command: figureCommand,
	})
	assert.LessOrEqual(t, rate, 0.01+0.05/float64(min(runs, 100)))
}

func TestFigureLatencyIsFound(t *testing.T) {
	for _, sigma := range []float64{0.3, 0.6, 1} {
		runs := scale(1000)
		found := 0
		for i := range runs {
			v := outcome(rng(uint64(i)), server{median: 0.065, sigma: sigma, errors: 0.01}, server{median: 0.05, sigma: sigma, errors: 0.01}, 60, 20)
			if v.Outcome == Fail && v.Metric == MetricLatency {
				found++
			}
		}
		rate := float64(found) / float64(runs)
		figures.Record(t, figures.Figure{
			Table: "Canary verdicts", Row: fmt.Sprintf("1.3 times the latency, found within 1,200 requests an arm (lognormal, sigma %g)", sigma),
			Reached: fmt.Sprintf("%.1f %% of %d runs", 100*rate, runs), Wanted: "at least 95 %", Command: figureCommand,
		})
		if sigma < 1 {
			assert.GreaterOrEqual(t, rate, 0.95, "sigma %g", sigma)
		}
	}
}

func TestFigureErrorsAreFound(t *testing.T) {
	runs := max(scale(2000), 300)
	found := 0
	for i := range runs {
		v := outcome(rng(uint64(i)), server{median: 0.05, sigma: 0.6, errors: 0.08}, server{median: 0.05, sigma: 0.6, errors: 0.02}, 50, 10)
		if v.Outcome == Fail && v.Metric == MetricErrors {
			found++
		}
	}
	rate := float64(found) / float64(runs)
	figures.Record(t, figures.Figure{
		Table: "Canary verdicts", Row: "errors 2 → 8 %, found within 500 requests an arm",
		Reached: fmt.Sprintf("%.1f %% of %d runs", 100*rate, runs), Wanted: "at least 95 %", Command: figureCommand,
	})
	// Below full size, within two standard errors.
	assert.GreaterOrEqual(t, rate, 0.95-2*math.Sqrt(0.05*0.95/float64(runs))*float64(min(2000-runs, 1)))
}

func TestFigureExposureUntilAHealthyCanaryPasses(t *testing.T) {
	runs := scale(500)
	passed, requests := 0, 0
	s := server{median: 0.05, sigma: 0.6, errors: 0.002}
	for i := range runs {
		r := rng(uint64(i))
		c := New(Settings{}, 0)
		for slice := range int64(400) {
			c.Add(slice, s.requests(r, 20), s.requests(r, 80))
			if v := c.Judge(slice); v.Outcome == Pass {
				passed++
				requests += int(v.Canary)
				break
			}
		}
	}
	figures.Record(t, figures.Figure{
		Table: "Canary verdicts", Row: "a healthy canary with a fifth of the traffic passes within 8,000 of its requests; mean until then",
		Reached: fmt.Sprintf("%d of %d runs; %d requests", passed, runs, requests/max(passed, 1)), Command: figureCommand,
	})
	assert.GreaterOrEqual(t, float64(passed)/float64(runs), 0.95)
}

// Requests that fail together break what the maths assumes; the rule of the loudest slices must keep that within bounds.
func TestFigureFailuresInGroups(t *testing.T) {
	s := server{median: 0.05, sigma: 0.6, errors: 0.005}
	for every, most := range map[int]float64{200: 0.12, 50: 0.25} { // slices of ten seconds
		runs := max(scale(200), 40)
		failed := 0
		for i := range runs {
			r := rng(uint64(i) + 1000)
			c := New(Settings{}, 0)
			for slice := range int64(360) {
				arms := [2]*Slice{s.requests(r, 20), s.requests(r, 20)}
				for _, a := range arms {
					if r.IntN(every) == 0 {
						a.Requests += 10
						a.Errors += 10
					}
				}
				c.Add(slice, arms[Canary], arms[Baseline])
				if c.Failed() {
					failed++
					break
				}
			}
		}
		rate := float64(failed) / float64(runs)
		figures.Record(t, figures.Figure{
			Table: "Canary verdicts", Row: fmt.Sprintf("the same version twice for an hour, ten failures at once in each arm every %d s on average: false fails", 10*every),
			Reached: fmt.Sprintf("%.1f %% of %d runs", 100*rate, runs), Command: figureCommand,
		})
		assert.LessOrEqual(t, rate, most)
	}
}
