// SPDX-License-Identifier: Apache-2.0

package burn

import "math"

// exceeds returns the posterior probability that the true bad ratio is above p, after bad and good events and with Jeffreys' prior
// Beta(½, ½) (Jeffreys 1946; Brown, Cai and DasGupta 2001, section 3.1.3, on its use for proportions).
func exceeds(bad, good, p float64) float64 {
	switch {
	case p <= 0:
		return 1
	case p >= 1:
		return 0
	}
	a, b := bad+0.5, good+0.5
	if a+b > exactUpTo {
		mean := a / (a + b)
		deviation := math.Sqrt(mean * (1 - mean) / (a + b + 1))
		return 0.5 * math.Erfc((p-mean)/(deviation*math.Sqrt2))
	}
	return 1 - regularizedBeta(p, a, b)
}

// exactUpTo is the number of events beyond which the posterior is taken as normal: the continued fraction takes a number of steps that
// grows with the square root of the events, and by then the two agree to far more digits than are shown.
const exactUpTo = 1e7

// regularizedBeta returns I_x(a, b) for 0 < x < 1 by the continued fraction of DLMF 8.17.22, evaluated with the modified method of
// Lentz (Thompson and Barnett 1986), on the side of the mean where it converges fast.
func regularizedBeta(x, a, b float64) float64 {
	if x > (a+1)/(a+b+2) {
		return 1 - regularizedBeta(1-x, b, a)
	}
	lgA, _ := math.Lgamma(a)
	lgB, _ := math.Lgamma(b)
	lgAB, _ := math.Lgamma(a + b)
	front := math.Exp(lgAB - lgA - lgB + a*math.Log(x) + b*math.Log1p(-x))

	const tiny, epsilon, steps = 1e-300, 1e-14, 20_000
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	f := d
	for m := 1.0; m <= steps; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / away(1+even*d)
		c = away(1 + even/c)
		f *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / away(1+odd*d)
		c = away(1 + odd/c)
		f *= d * c
		if math.Abs(d*c-1) < epsilon {
			break
		}
	}
	return min(max(front*f/a, 0), 1)
}
