// SPDX-License-Identifier: Apache-2.0

package verdict

import "math"

// The alternatives of a comparison are odds ratios on a fixed grid: log ψ = 0.25·sinh(0.2·i) for i = −20 … 20. Steps are 5 % near
// one and grow outwards; the ends are a factor of about 900.
const (
	gridHalf = 20
	gridSize = 2*gridHalf + 1
)

// centre is the grid point of "no difference".
const centre = gridHalf

// logOdds are the grid's points. The priors are densities of log ψ times the width of the step, in logs. logPrior, a Cauchy density, has
// much weight on small effects and some on any; intervals and proofs of "not worse" use it. The priors of harm say what the regressions
// are like that a rollout should be stopped for: errors multiply (normal about an odds ratio of 3.7), latencies shift (Gamma, mode at
// two); a part of either is the Cauchy density again, so that no effect is ruled out.
var logOdds, logPrior, logErrors, logSlower = makeGrid()

func makeGrid() (odds, prior, failing, slower [gridSize]float64) {
	for i := range gridSize {
		u := 0.2 * float64(i-centre)
		l := 0.25 * math.Sinh(u)
		cauchy := math.Cosh(u) / (1 + l*l)
		odds[i], prior[i] = l, math.Log(cauchy)
		const middle, width, scale = 1.3, 0.4, 0.7
		normal := math.Cosh(u) * math.Exp(-(l-middle)*(l-middle)/(2*width*width)) / (width * math.Sqrt(2*math.Pi))
		gamma := math.Cosh(u) * max(l, 0) * math.Exp(-l/scale) / (scale * scale)
		failing[i] = math.Log(0.9*normal + 0.1*cauchy*2/math.Pi)
		slower[i] = math.Log(0.9*gamma + 0.1*cauchy*2/math.Pi)
	}
	return odds, prior, failing, slower
}

// logFactorials spares the gamma function for all but large strata.
var logFactorials = makeLogFactorials()

func makeLogFactorials() (table [8192]float64) {
	for n := 2; n < len(table); n++ {
		table[n] = table[n-1] + math.Log(float64(n))
	}
	return table
}

// atLeast returns the first grid point whose odds ratio is at least ratio.
func atLeast(ratio float64) int {
	l := math.Log(ratio)
	for i := range gridSize {
		if logOdds[i] >= l-1e-12 {
			return i
		}
	}
	return gridSize - 1
}

func logFactorial(n uint64) float64 {
	if n < uint64(len(logFactorials)) {
		return logFactorials[n]
	}
	v, _ := math.Lgamma(float64(n) + 1)
	return v
}

func logChoose(n, k uint64) float64 { return logFactorial(n) - logFactorial(k) - logFactorial(n-k) }

// table is a stratum: of so many requests of each arm, so many were bad.
type table struct{ canary, baseline, canaryBad, baselineBad uint64 }

// informative reports whether the stratum can tell two odds apart: it cannot where nothing or everything was bad, or an arm is empty.
func (t table) informative() bool {
	bad := t.canaryBad + t.baselineBad
	return t.canary > 0 && t.baseline > 0 && bad > 0 && bad < t.canary+t.baseline
}

// logLikelihood returns the conditional log likelihood of the stratum at odds ratio ψ, up to a constant: given both arms' requests
// and the bad ones of both together, those of the canary follow Fisher's noncentral hypergeometric distribution. Conditioning removes
// the stratum's own rate, so it may be another in every slice of time.
func (t table) logLikelihood(logPsi float64) float64 {
	return float64(t.canaryBad)*logPsi - t.logNormalizer(logPsi)
}

// logNormalizer sums the distribution's terms outwards from its mode; terms below 1e-13 of the greatest are left out.
func (t table) logNormalizer(logPsi float64) float64 {
	nc, nb, m := t.canary, t.baseline, t.canaryBad+t.baselineBad
	low, high := uint64(0), min(m, nc)
	if m > nb {
		low = m - nb
	}
	psi := math.Exp(logPsi)
	// The mode is the last u at which a term is no smaller than the one before: a·u² + b·u + c ≥ 0.
	a := psi - 1
	b := float64(m) - float64(nb) - (float64(nc)+float64(m)+2)*psi
	c := (float64(nc) + 1) * (float64(m) + 1) * psi
	root := math.Sqrt(max(b*b-4*a*c, 0))
	at := 2 * c / (root - b)
	if b > 0 {
		at = (b + root) / (-2 * a)
	}
	mode := low
	if at > float64(low) {
		mode = min(uint64(min(at, float64(high))), high)
	}
	// Where the distribution is wide it is as good as normal about its mode, up to a relative error of 1/variance.
	if u := float64(mode); mode > low && mode < high {
		variance := 1 / (1/u + 1/(float64(nc)-u) + 1/(float64(m)-u) + 1/(float64(nb)-float64(m)+u))
		if variance > 1e4 {
			return logChoose(nc, mode) + logChoose(nb, m-mode) + u*logPsi + math.Log(2*math.Pi*variance)/2
		}
	}
	const negligible = 1e-13
	sum, term := 1.0, 1.0
	for u := mode; u < high; u++ {
		// nb+u+1 ≥ m holds for u ≥ low, so the last factor is positive.
		term *= psi * float64(nc-u) * float64(m-u) / (float64(u+1) * float64(nb+u+1-m))
		sum += term
		if term < negligible {
			break
		}
	}
	term = 1
	for u := mode; u > low; u-- {
		term *= float64(u) * float64(nb+u-m) / (psi * float64(nc-u+1) * float64(m-u+1))
		sum += term
		if term < negligible {
			break
		}
	}
	return logChoose(nc, mode) + logChoose(nb, m-mode) + float64(mode)*logPsi + math.Log(sum)
}

// logSumExp returns log Σ exp(v).
func logSumExp(values []float64) float64 {
	greatest := math.Inf(-1)
	for _, v := range values {
		greatest = max(greatest, v)
	}
	if math.IsInf(greatest, -1) {
		return greatest
	}
	sum := 0.0
	for _, v := range values {
		sum += math.Exp(v - greatest)
	}
	return greatest + math.Log(sum)
}
