// SPDX-License-Identifier: Apache-2.0

package verdict

import "math"

// Odds compares the odds of a bad event in two arms over any number of strata. Its state is the conditional log likelihood at every
// point of the grid, so states of disjoint strata merge by addition, in any order.
type Odds struct {
	// LogLikelihood is that of all strata, at each grid point, relative to "no difference".
	LogLikelihood [gridSize]float64 `json:"ll"`
	// Peaks are the greatest parts that single strata have in the evidence for an odds ratio of about two, greatest first.
	Peaks [peaks]float64 `json:"peaks"`
	// Strata is how many strata said something.
	Strata int `json:"strata"`
}

// peaks is how many strata a case must stand without.
const peaks = 3

func (o *Odds) peak(d float64) {
	for i := range o.Peaks {
		if d > o.Peaks[i] {
			d, o.Peaks[i] = o.Peaks[i], d
		}
	}
}

// doubled is the grid point next to an odds ratio of two.
var doubled = atLeast(1.9)

// add takes one stratum.
func (o *Odds) add(t table) {
	if !t.informative() {
		return
	}
	none := t.logLikelihood(0)
	for i := range gridSize {
		d := t.logLikelihood(logOdds[i]) - none
		o.LogLikelihood[i] += d
		if i == doubled {
			o.peak(d)
		}
	}
	o.Strata++
}

// Merge adds the strata of another.
func (o *Odds) Merge(other *Odds) {
	for i := range gridSize {
		o.LogLikelihood[i] += other.LogLikelihood[i]
	}
	for _, d := range other.Peaks {
		o.peak(d)
	}
	o.Strata += other.Strata
}

// logEHigher is the log of the e-value against "the canary's odds are at most the baseline's": a mixture, by a prior of harm, of
// likelihood ratios over all greater odds ratios. The family has monotone likelihood ratios, so it is an e-process for every smaller
// one too.
func (o *Odds) logEHigher(harm *[gridSize]float64) float64 {
	return o.logE(harm, centre, centre+1, gridSize)
}

// mostHigher bounds logEHigher from above, at a fraction of the cost.
func (o *Odds) mostHigher() float64 {
	most := 0.0
	if o != nil {
		for _, l := range o.LogLikelihood[centre+1:] {
			most = max(most, l)
		}
	}
	return most
}

// logELower is the log of the e-value against "the canary's odds are at least those of grid point margin".
func (o *Odds) logELower(margin int) float64 { return o.logE(&logPrior, margin, 0, margin) }

func (o *Odds) logE(prior *[gridSize]float64, null, from, to int) float64 {
	if o == nil || o.Strata == 0 {
		return 0
	}
	var terms [gridSize]float64
	for i := from; i < to; i++ {
		terms[i] = prior[i] + o.LogLikelihood[i] - o.LogLikelihood[null]
	}
	return logSumExp(terms[from:to]) - logSumExp(prior[from:to])
}

// persists reports whether the case against the canary stands without the strata that speak loudest against it: some bad slices of time
// are incidents, in which requests fail together, and not a property of the version.
func (o *Odds) persists() bool {
	rest := o.LogLikelihood[doubled]
	for _, d := range o.Peaks {
		rest -= d
	}
	return o.Strata > peaks && rest > math.Ln2
}

// interval returns a confidence sequence for the odds ratio, outwards to the next grid point: with probability 1 − alpha it holds the
// truth at all times together. It is what the mixture over the whole grid does not reject.
func (o *Odds) interval(alpha float64) (low, high float64) {
	if o == nil || o.Strata == 0 {
		return 0, math.Inf(1)
	}
	var terms [gridSize]float64
	for i := range gridSize {
		terms[i] = logPrior[i] + o.LogLikelihood[i]
	}
	mixture := logSumExp(terms[:]) - logSumExp(logPrior[:])
	first, last := gridSize, -1
	for i := range gridSize {
		if mixture-o.LogLikelihood[i] < -math.Log(alpha) {
			first, last = min(first, i), i
		}
	}
	low, high = 0, math.Inf(1)
	if first > 0 {
		low = math.Exp(logOdds[first-1])
	}
	if last < gridSize-1 {
		high = math.Exp(logOdds[last+1])
	}
	return low, high
}

// estimate is the grid point of the greatest likelihood.
func (o *Odds) estimate() float64 {
	if o == nil || o.Strata == 0 {
		return 1
	}
	best := centre
	for i := range gridSize {
		if o.LogLikelihood[i] > o.LogLikelihood[best] {
			best = i
		}
	}
	return math.Exp(logOdds[best])
}
