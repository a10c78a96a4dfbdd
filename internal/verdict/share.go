// SPDX-License-Identifier: Apache-2.0

package verdict

import "math"

// Share watches whether the canary gets the share of the traffic it was promised. Where it does not, the two arms do not serve the same
// kind of requests, and nothing that is measured about them can be compared.
type Share struct {
	// Expected is the promised share; zero where nobody promised one.
	Expected float64 `json:"expected,omitempty"`
	// Canary and Baseline are the requests since the promise was made.
	Canary   uint64 `json:"canary,omitempty"`
	Baseline uint64 `json:"baseline,omitempty"`
}

// promise sets the expected share; another one begins anew.
func (s *Share) promise(share float64) {
	if share != s.Expected {
		*s = Share{Expected: share}
	}
}

func (s *Share) add(canary, baseline uint64) {
	if s.Expected > 0 && s.Expected < 1 {
		s.Canary += canary
		s.Baseline += baseline
	}
}

const (
	// shareAlpha is small: users that stick to their version make shares vary more than chance would.
	shareAlpha = 0.0001
	// shareTolerance is the relative difference of shares that is of no consequence.
	shareTolerance = 0.1
)

// mismatched tests the binomial with the promised share against the mixture of all, uniformly (Lindon and Malek 2022, section 3, with
// a Dirichlet prior of ones).
func (s *Share) mismatched() bool {
	n := s.Canary + s.Baseline
	if s.Expected <= 0 || s.Expected >= 1 || n == 0 {
		return false
	}
	c, b := float64(s.Canary), float64(s.Baseline)
	logE := logFactorial(s.Canary) + logFactorial(s.Baseline) - logFactorial(n+1) - c*math.Log(s.Expected) - b*math.Log1p(-s.Expected)
	return logE >= -math.Log(shareAlpha) && math.Abs(c/float64(n)/s.Expected-1) > shareTolerance
}
