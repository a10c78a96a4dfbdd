// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bruteLikelihood is Fisher's noncentral hypergeometric probability in exact binomials.
func bruteLikelihood(t table, psi float64) float64 {
	term := func(u uint64) float64 {
		c := new(big.Int).Mul(
			new(big.Int).Binomial(int64(t.canary), int64(u)),
			new(big.Int).Binomial(int64(t.baseline), int64(t.canaryBad+t.baselineBad-u)))
		f, _ := new(big.Float).SetInt(c).Float64()
		return f * math.Pow(psi, float64(u))
	}
	sum := 0.0
	m := t.canaryBad + t.baselineBad
	for u := uint64(0); u <= min(m, t.canary); u++ {
		if m-u <= t.baseline {
			sum += term(u)
		}
	}
	return term(t.canaryBad) / sum
}

func TestConditionalLikelihoodIsFishersNoncentralHypergeometric(t *testing.T) {
	for _, x := range []table{
		{1, 1, 1, 0},
		{5, 5, 0, 5},
		{10, 10, 7, 0},
		{20, 3, 19, 3},
		{3, 20, 3, 1},
		{50, 400, 9, 31},
		{90, 110, 45, 60},
	} {
		for _, i := range []int{0, 7, centre, 25, gridSize - 1} {
			psi := math.Exp(logOdds[i])
			want := math.Log(bruteLikelihood(x, psi) / bruteLikelihood(x, 1))
			got := x.logLikelihood(logOdds[i]) - x.logLikelihood(0)
			assert.InDelta(t, want, got, 1e-8*math.Max(1, math.Abs(want)), "%+v at odds %g", x, psi)
		}
	}
}

func TestLargeStrataStayFinite(t *testing.T) {
	for _, x := range []table{
		{1 << 40, 1 << 40, 1 << 39, 1 << 38},
		{3_000_000, 50_000_000, 4, 1_000},
		{1, 1 << 50, 1, 1},
	} {
		var o Odds
		o.add(x)
		for _, l := range o.LogLikelihood {
			require.False(t, math.IsNaN(l) || math.IsInf(l, 0), "%+v", x)
		}
	}
}

// The expectation of the e-value under every odds ratio of the null is computed in full: no chance is involved.
func TestEValueHasExpectationAtMostOneUnderItsNull(t *testing.T) {
	for _, arms := range [][3]uint64{{5, 5, 4}, {30, 10, 12}, {8, 200, 20}, {100, 100, 50}} {
		for _, psi := range []float64{0.3, 0.9, 1} {
			expected, expectedLow := 0.0, 0.0
			for x := uint64(0); x <= min(arms[2], arms[0]); x++ {
				if arms[2]-x > arms[1] {
					continue
				}
				s := table{arms[0], arms[1], x, arms[2] - x}
				var o Odds
				o.add(s)
				expected += bruteLikelihood(s, psi) * (math.Exp(o.logEHigher(&logErrors)) + math.Exp(o.logEHigher(&logSlower))) / 2
				// By symmetry, the other side with the null turned round.
				expectedLow += bruteLikelihood(s, 1/psi) * math.Exp(o.logELower(centre))
			}
			assert.LessOrEqual(t, expected, 1+1e-9, "arms %v odds %g", arms, psi)
			assert.LessOrEqual(t, expectedLow, 1+1e-9, "arms %v odds %g", arms, 1/psi)
		}
	}
}

func TestIntervalHoldsTheTruthAtAllLooks(t *testing.T) {
	const truth, alpha = 1.6, 0.05
	r := rng(1)
	missed := 0
	runs := scale(2000)
	for range runs {
		var o Odds
		for range 60 {
			s := table{canary: 20, baseline: 60}
			for range s.canary {
				if r.Float64() < 0.2*truth/(0.8+0.2*truth) {
					s.canaryBad++
				}
			}
			for range s.baseline {
				if r.Float64() < 0.2 {
					s.baselineBad++
				}
			}
			o.add(s)
			if low, high := o.interval(alpha); truth < low || truth > high {
				missed++
				break
			}
		}
	}
	// With coverage 0.95 more than 0.05 + 4 standard errors is out of the question.
	assert.LessOrEqual(t, float64(missed)/float64(runs), alpha+4*math.Sqrt(alpha/float64(runs)))
}

func TestRateBoundsHoldTheTruthAtAllLooksAlsoWhenItMoves(t *testing.T) {
	const alpha = 0.05
	r := rng(2)
	above := 0
	runs := scale(2000)
	for range runs {
		bad, sum := uint64(0), 0.0
		missed := false
		for n := uint64(1); n <= 600; n++ {
			p := 0.02
			if n%200 < 30 {
				p = 0.3 // a storm now and then
			}
			sum += p
			if r.Float64() < p {
				bad++
			}
			if n%10 == 0 {
				missed = missed || rateUpper(bad, n, alpha) < sum/float64(n)
			}
		}
		if missed {
			above++
		}
	}
	assert.LessOrEqual(t, float64(above)/float64(runs), alpha+4*math.Sqrt(alpha/float64(runs)))
}

// A canary exactly at the margin passes at any of many looks with probability alpha at most, also when both arms have storms; one that is
// as good as the baseline does so soon.
func TestWithinTheMarginIsShownAndNotByChance(t *testing.T) {
	const alpha, margin = 0.05, 0.01
	r := rng(3)
	runs := scale(2000)
	shown := func(worse float64, looks uint64) (passed int) {
		for range runs {
			var bad [2]uint64
			for n := uint64(1); n <= looks; n++ {
				p := 0.007
				if n%500 < 20 {
					p = 0.1
				}
				for arm, q := range [2]float64{p + worse, p} {
					if r.Float64() < q {
						bad[arm]++
					}
				}
				if n%50 == 0 && logWithin(bad[0], n, bad[1], n, margin) >= -math.Log(alpha) {
					passed++
					break
				}
			}
		}
		return passed
	}
	assert.LessOrEqual(t, float64(shown(margin, 3000))/float64(runs), alpha+4*math.Sqrt(alpha/float64(runs)))
	assert.GreaterOrEqual(t, float64(shown(0, 6000))/float64(runs), 0.8)
	// The oracle looks at every pair of means.
	for _, c := range [][4]uint64{{3, 1000, 5, 2000}, {0, 300, 40, 300}, {50, 60, 0, 500}, {0, 10, 0, 10}} {
		least := math.Inf(1)
		for p := 0.0; p <= 1-margin; p += 1e-4 {
			least = min(least, logTilted(c[0], c[1], p+margin, -1)+logTilted(c[2], c[3], p, 1))
		}
		assert.InDelta(t, least, logWithin(c[0], c[1], c[2], c[3], margin), 0.01, "%v", c)
	}
}

func TestRateBoundsEncloseTheRatioAndTighten(t *testing.T) {
	assert.InDelta(t, 0.0065, rateUpper(0, 1000, 0.0125), 0.002)
	for _, n := range []uint64{10, 100, 10_000} {
		assert.Greater(t, rateUpper(n/10, n, 0.05), 0.1)
	}
	assert.Less(t, rateUpper(1000, 10_000, 0.05), rateUpper(100, 1000, 0.05))
	assert.InDelta(t, 1, rateUpper(0, 0, 0.05), 0)
}
