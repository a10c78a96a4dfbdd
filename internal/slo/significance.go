// SPDX-License-Identifier: Apache-2.0

package slo

import "math"

// poissonTailBelow reports whether P(X ≥ k) < alpha for X ~ Poisson(lambda). The Poisson tail bounds the binomial one from above
// for counts over the mean, so the test errs on the quiet side (Hoeffding, Annals of Mathematical Statistics 27, 1956).
func poissonTailBelow(k uint32, lambda, alpha float64) bool {
	if k == 0 || lambda < 0 || float64(k) <= lambda {
		return false
	}
	if lambda == 0 {
		return true
	}
	lg, _ := math.Lgamma(float64(k) + 1)
	term := math.Exp(float64(k)*math.Log(lambda) - lambda - lg)
	tail := 0.0
	for i := float64(k); tail < alpha; i++ {
		tail += term
		term *= lambda / (i + 1)
		if term <= tail*1e-9 || term == 0 {
			return tail < alpha
		}
	}
	return false
}

// significant reports whether the bad events of c are more than chance allows a service that burns its budget at rate 1.
//
// Weights inflate counts but not evidence: an error that stands for a hundred is still one observation. So the bad events are
// taken as they were seen, and the expectation is scaled down by their mean weight.
func significant(c Counts, target, alpha float64, minBad uint32) bool {
	if c.BadN < minBad || c.BadN == 0 || c.Bad == 0 {
		return false
	}
	meanWeight := float64(c.Bad) / float64(c.BadN)
	expected := (1 - target) * float64(c.Total()) / meanWeight
	return poissonTailBelow(c.BadN, expected, alpha)
}
