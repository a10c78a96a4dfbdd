// SPDX-License-Identifier: Apache-2.0

package verdict

import "math"

// tilts are the exponential tilts that a rate's bounds are mixed over, in equal parts.
var tilts = [...]float64{0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4}

// rateUpper is a one-sided confidence sequence for the mean probability of a bad event over the n requests seen so far.
// The probability may differ from request to request: for bad events S, exp(λS − n·log(1 − p̄ + p̄·e^λ)) lies below the martingale with
// each request's own probability in it, by concavity, whatever the mean p̄ is; mixed over fixed tilts λ it stays a supermartingale.
func rateUpper(bad, n uint64, alpha float64) float64 {
	if n == 0 {
		return 1
	}
	return bisect(func(p float64) bool { return logTilted(bad, n, p, -1) < -math.Log(alpha) }, float64(bad)/float64(n), 1)
}

// logWithin is the log of an e-value against "the canary's mean probability of a bad event is at least margin above the baseline's": the
// product of both arms' supermartingales, at the pair of means a margin apart that the data speak against least. It is convex in the
// baseline's mean, so thirds find that.
func logWithin(canaryBad, canary, baselineBad, baseline uint64, margin float64) float64 {
	at := func(p float64) float64 {
		return logTilted(canaryBad, canary, p+margin, -1) + logTilted(baselineBad, baseline, p, 1)
	}
	low, high := 0.0, 1-margin
	for range 60 {
		a, b := low+(high-low)/3, high-(high-low)/3
		if at(a) < at(b) {
			high = b
		} else {
			low = a
		}
	}
	return min(at(low), at(high))
}

func logTilted(bad, n uint64, p, sign float64) float64 {
	var terms [len(tilts)]float64
	for k, tilt := range tilts {
		lambda := sign * tilt
		terms[k] = lambda*float64(bad) - float64(n)*math.Log1p(p*math.Expm1(lambda)) - math.Log(float64(len(tilts)))
	}
	return logSumExp(terms[:])
}

// bisect finds, between inside where holds is true and outside where it may not be, the last value that holds.
func bisect(holds func(float64) bool, inside, outside float64) float64 {
	if holds(outside) {
		return outside
	}
	for range 60 {
		if mid := (inside + outside) / 2; holds(mid) {
			inside = mid
		} else {
			outside = mid
		}
	}
	return outside
}
