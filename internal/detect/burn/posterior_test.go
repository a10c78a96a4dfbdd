// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// integrate is the oracle: the share of the density x^(a−1)(1−x)^(b−1) that lies below p, by brute force. The substitution x = sin²u
// takes away the poles at both ends.
func integrate(p, a, b float64) float64 {
	const steps = 200_000
	density := func(u float64) float64 {
		s, c := math.Sincos(u)
		return math.Exp((2*a-1)*math.Log(s) + (2*b-1)*math.Log(c))
	}
	width := math.Pi / 2 / steps
	below, total := 0.0, 0.0
	for i := range steps {
		u := (float64(i) + 0.5) * width
		v := density(u)
		total += v
		if s := math.Sin(u); s*s < p {
			below += v
		}
	}
	return below / total
}

func TestPosteriorAgreesWithBruteForce(t *testing.T) {
	for _, c := range []struct{ bad, good, p float64 }{
		{0, 10, 0.01}, {1, 9, 0.1}, {5, 5, 0.5}, {3, 200, 0.02}, {50, 950, 0.06}, {0.5, 7.25, 0.2}, {100, 0, 0.9}, {20, 80, 0.072},
	} {
		assert.InDelta(t, 1-integrate(c.p, c.bad+0.5, c.good+0.5), exceeds(c.bad, c.good, c.p), 1e-4, "%+v", c)
	}
}

func TestPosteriorKnowsItsLimits(t *testing.T) {
	assert.InDelta(t, 1, exceeds(1, 1, 0), 0)
	assert.InDelta(t, 0, exceeds(1, 1, 1), 0)
	assert.InDelta(t, 0.5, exceeds(500, 500, 0.5), 1e-9)
	assert.Greater(t, exceeds(1000, 9000, 0.072), 0.999999)
	assert.Less(t, exceeds(10, 9990, 0.072), 1e-9)
	// The two methods meet.
	for _, p := range []float64{0.0995, 0.1, 0.1003} {
		exact, normal := exceeds(0.1*exactUpTo*0.99, 0.9*exactUpTo*0.99, p), exceeds(0.1*exactUpTo*1.01, 0.9*exactUpTo*1.01, p)
		assert.InDelta(t, exact, normal, 0.01, p)
	}
	last := 1.0
	for p := 0.001; p < 1; p += 0.001 {
		v := exceeds(37, 412, p)
		assert.LessOrEqual(t, v, last+1e-12)
		assert.False(t, math.IsNaN(v))
		last = v
	}
}

func FuzzPosterior(f *testing.F) {
	f.Add(1.0, 2.0, 0.5)
	f.Fuzz(func(t *testing.T, bad, good, p float64) {
		if !(bad >= 0 && good >= 0 && bad < 1e12 && good < 1e12) || math.IsNaN(p) {
			return
		}
		if v := exceeds(bad, good, p); !(v >= 0 && v <= 1) {
			t.Fatalf("exceeds(%g, %g, %g) = %g", bad, good, p, v)
		}
	})
}
