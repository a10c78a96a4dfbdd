// SPDX-License-Identifier: Apache-2.0

package sampling

import "slices"

// maxCells bounds the work of finding the probability of a trace when several hash salts are in play.
const maxCells = 4096

// sampling is the probability a kept trace was kept with, as thresholds go.
type chance struct {
	threshold uint64
	// known is false when no threshold can be stated.
	known bool
	// natural is true when exactly the traces at or above threshold are kept, so that the trace's own randomness stands.
	natural bool
}

// chanceOf finds the threshold of a trace that the policies keep. It asks for which randomness the same trace would have been kept;
// everything else about the trace, and what the limiters let through, stays fixed.
func (p *Program) chanceOf(t *trace, d *draw, firstMatch bool) chance {
	cuts := p.cutsFor(t)
	if len(cuts) == 1 {
		return chance{threshold: 0, known: true, natural: true}
	}
	if p.monotone && (d.bound || len(d.others) == 0) {
		for _, cut := range cuts {
			if cut >= MaxThreshold {
				break
			}
			probe := draw{shared: cut, bound: d.bound}
			if p.decide(t, &probe, firstMatch, nil).decision == Sampled {
				return chance{threshold: cut, known: true, natural: true}
			}
		}
		return chance{}
	}
	if d.bound {
		return chance{}
	}
	return p.chanceByCells(t, cuts, len(d.others), firstMatch)
}

// chanceByCells adds up the cells of the unit cube, one dimension a salt, in which the trace is kept.
func (p *Program) chanceByCells(t *trace, cuts []uint64, others int, firstMatch bool) chance {
	cells := 1
	for range others + 1 {
		if cells *= len(cuts); cells > maxCells {
			return chance{}
		}
	}
	var total float64
	probe := draw{others: make([]uint64, others)}
	for cell := range cells {
		volume, rest := 1.0, cell
		for dim := range others + 1 {
			i := rest % len(cuts)
			rest /= len(cuts)
			end := MaxThreshold
			if i+1 < len(cuts) {
				end = cuts[i+1]
			}
			volume *= float64(end-min(cuts[i], end)) / float64(MaxThreshold)
			if dim == 0 {
				probe.shared = cuts[i]
			} else {
				probe.others[dim-1] = cuts[i]
			}
		}
		if volume > 0 && p.decide(t, &probe, firstMatch, nil).decision == Sampled {
			total += volume
		}
	}
	return chance{threshold: ThresholdOf(total), known: total > 0}
}

// cutsFor lists, in ascending order and starting with 0, the thresholds at which the decision on a trace may change.
func (p *Program) cutsFor(t *trace) []uint64 {
	cuts := append(make([]uint64, 0, 1+len(p.thresholds)+len(p.limiters)+len(p.dynamics)), 0)
	cuts = append(cuts, p.thresholds...)
	for _, l := range p.limiters {
		cuts = append(cuts, l.threshold)
	}
	for _, dyn := range p.dynamics {
		cuts = append(cuts, dyn.thresholdOf(t))
	}
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// spread maps a trace evenly onto the randomness at or above a threshold: what a trace gets as rv when the policies kept it by other
// randomness than its own.
func spread(id TraceID, threshold uint64) uint64 {
	h := saltedRandomness("spread", id)
	room := float64(MaxThreshold - threshold)
	return threshold + min(uint64(float64(h)/float64(MaxThreshold)*room), MaxThreshold-threshold-1)
}
