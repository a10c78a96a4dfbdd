// SPDX-License-Identifier: Apache-2.0

package verdict

import "math"

// Excess judges a resource: is the canary's use persistently above what is tolerated? Slice by slice it bets on "above" against "as
// likely below", with fixed stakes, and with a start at any slice, since a leak begins small: the mixture over stakes and starts is an
// e-process against "above in at most half of the slices, whatever went before" (mixture over starts: Shin, Ramdas and Rinaldo 2022).
type Excess struct {
	// LogWealth is the log of the wealth of all bets that have started, for each stake.
	LogWealth [len(stakes)]float64 `json:"log_wealth"`
	// N is how many slices were judged, Above how many were above.
	N     int `json:"n"`
	Above int `json:"above"`
	// Canary and Baseline are the sums of the slices' means, for the size of the effect.
	Canary   float64 `json:"canary"`
	Baseline float64 `json:"baseline"`
}

// stakes are the probabilities of "above" that are bet on.
var stakes = [...]float64{0.6, 0.75, 0.9, 0.98}

func (x *Excess) add(canary, baseline float64, above bool) {
	x.N++
	x.Canary += canary
	x.Baseline += baseline
	if above {
		x.Above++
	}
	// The n-th start has weight 1/(n(n+1)); they sum to one.
	start := -math.Log(float64(x.N) * float64(x.N+1))
	for k, p := range stakes {
		gain := 2 * p
		if !above {
			gain = 2 * (1 - p)
		}
		wealth := start
		if x.N > 1 {
			wealth = logSumExp([]float64{start, x.LogWealth[k]})
		}
		x.LogWealth[k] = wealth + math.Log(gain)
	}
}

// logE is the log of the e-value; what has not started yet is kept in hand.
func (x *Excess) logE() float64 {
	if x.N == 0 {
		return 0
	}
	terms := make([]float64, 0, len(stakes)+1)
	for _, wealth := range x.LogWealth {
		terms = append(terms, wealth-math.Log(float64(len(stakes))))
	}
	return logSumExp(append(terms, -math.Log(float64(x.N+1))))
}

// ratio is the canary's mean use as a multiple of the baseline's.
func (x *Excess) ratio() float64 {
	if x.Baseline <= 0 {
		return 1
	}
	return x.Canary / x.Baseline
}
