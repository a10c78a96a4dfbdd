// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"
	"slices"
)

// Direction says which way a metric gets worse.
type Direction string

// The directions.
const (
	Increase Direction = "increase"
	Decrease Direction = "decrease"
	Either   Direction = "either"
)

// SampleVerdict is what two samples of a metric say.
type SampleVerdict struct {
	Outcome Outcome
	Reason  Reason
	// Side is the direction in which the canary differs, when it fails.
	Side Direction
	// EHigher and ELower are the e-values against "not higher" and "not lower", ESpread that against "as far from the middle", EPass
	// the smaller of those against "beyond the margin".
	EHigher, ELower, ESpread, EPass float64
}

// sampleCuts is at how many quantiles of the pooled values two samples are compared.
const sampleCuts = 7

// logLarge is the prior for samples: uniform in log ψ over effects that few values can show.
var logLarge = func() (prior [gridSize]float64) {
	for i := range gridSize {
		prior[i] = math.Log(math.Cosh(0.2 * float64(i-centre)))
		if math.Abs(logOdds[i]) < 0.4 {
			prior[i] = math.Inf(-1)
		}
	}
	return prior
}()

// JudgeSamples compares values of a metric, taken once an interval, of a baseline and of a canary that ran at the same time. Under
// "no difference" the labels are exchangeable, so at any quantile of the pooled values the canary's part of those above it is
// hypergeometric; the average of the likelihood ratios over seven quantiles is an e-value, exact for any number of samples and any
// distribution, and with the distances from the pooled median it
// sees a change of the spread as well as one of the location. A pass is a proof that the canary is not more than
// margin (0.25 is 25 % of the baseline's median) beyond the baseline.
func JudgeSamples(baseline, canary []float64, worse Direction, margin, alpha float64) SampleVerdict {
	v := SampleVerdict{Outcome: Inconclusive, Reason: ReasonNeedsMoreData}
	for _, values := range [][]float64{baseline, canary} {
		if slices.ContainsFunc(values, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) {
			v.Reason = ReasonNotFinite
			return v
		}
	}
	switch {
	case len(canary) == 0:
		v.Reason = ReasonNoTraffic
		return v
	case len(baseline) == 0:
		v.Reason = ReasonBaselineGone
		return v
	}
	v.EHigher, v.ELower = sampleE(baseline, canary, true), sampleE(baseline, canary, false)
	middle := median(slices.Concat(baseline, canary)) // the same however the labels fall
	near, far := deviations(baseline, middle), deviations(canary, middle)
	v.ESpread = (sampleE(near, far, true) + sampleE(near, far, false)) / 2
	evidence := (v.EHigher + v.ELower + v.ESpread) / 3 // an e-value again: the mean of three
	switch worse {
	case Increase:
		evidence = v.EHigher
	case Decrease:
		evidence = v.ELower
	}
	slack := margin * math.Abs(median(baseline))
	v.EPass = math.Inf(1)
	if worse != Decrease {
		v.EPass = sampleE(shifted(baseline, slack), canary, false)
	}
	if worse != Increase {
		v.EPass = min(v.EPass, sampleE(shifted(baseline, -slack), canary, true))
	}
	switch {
	case evidence >= 1/alpha:
		v.Outcome, v.Reason, v.Side = Fail, ReasonWorse, worse
		if worse == Either && v.EHigher >= v.ELower {
			v.Side = Increase
		} else if worse == Either {
			v.Side = Decrease
		}
	case v.EPass >= 1/alpha:
		v.Outcome, v.Reason = Pass, ReasonNonInferior
	}
	return v
}

// sampleE is the e-value against "the canary's values are not higher" (or not lower).
func sampleE(baseline, canary []float64, higher bool) float64 {
	pooled := slices.Sorted(slices.Values(slices.Concat(baseline, canary)))
	var cuts []float64
	for k := 1; k <= sampleCuts; k++ {
		below := (2*k*len(pooled) + sampleCuts + 1) / (2 * (sampleCuts + 1)) // rounded
		// Nothing lies above the greatest.
		if below > 0 && pooled[below-1] < pooled[len(pooled)-1] {
			cuts = append(cuts, pooled[below-1])
		}
	}
	cuts = slices.Compact(cuts)
	if len(cuts) == 0 {
		return 1
	}
	above := func(values []float64, cut float64) (n uint64) {
		for _, x := range values {
			if x > cut {
				n++
			}
		}
		return n
	}
	sum := 0.0
	for _, cut := range cuts {
		var o Odds
		o.add(table{uint64(len(canary)), uint64(len(baseline)), above(canary, cut), above(baseline, cut)})
		if higher {
			sum += math.Exp(o.logE(&logLarge, centre, centre+1, gridSize))
		} else {
			sum += math.Exp(o.logE(&logLarge, centre, 0, centre))
		}
	}
	return sum / float64(len(cuts))
}

func deviations(values []float64, from float64) []float64 {
	out := slices.Clone(values)
	for i := range out {
		out[i] = math.Abs(out[i] - from)
	}
	return out
}

func shifted(values []float64, by float64) []float64 {
	moved := slices.Clone(values)
	for i := range moved {
		moved[i] += by
	}
	return moved
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
