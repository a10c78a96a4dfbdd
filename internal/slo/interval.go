// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"time"
)

// squareUnit is the fixed-point unit of squared weights: a sixteenth.
const squareUnit = 16

// excess is w·(w−1), what one sampled event of weight w adds to the variance of a total (Horvitz and Thompson, 1952: (1−p) ÷ p² with
// p = 1 ÷ w), in squareUnit.
func excess(w Weight) Weight {
	events := w.Float()
	return min(Weight(math.Round(events*(events-1)*squareUnit)), maxCell)
}

// sampled is the excess of the events of one slice.
type sampled struct {
	start     int64
	good, bad Weight
}

// AddSampled notes that an event in a slice stands for w sampled ones. Events that stand for themselves need no note.
func (e *Entry) AddSampled(span SliceSpan, bad bool, w Weight) {
	if w <= One {
		return
	}
	n := len(e.sampled)
	if n == 0 || e.sampled[n-1].start != span.Start {
		if n == maxEntrySlices {
			return
		}
		e.sampled = append(e.sampled, sampled{start: span.Start})
		n++
	}
	at := &e.sampled[n-1]
	if bad {
		at.bad = at.bad.plus(excess(w))
	} else {
		at.good = at.good.plus(excess(w))
	}
}

// addSampled keeps the excess of a group's sampled events over the objective's window, at the width of its slices.
func (o *objective) addSampled(g *group, s sampled) {
	if g.sampled == nil {
		g.sampled = o.newSampled()
	}
	g.sampled.add(s.start, Counts{Good: s.good, Bad: s.bad})
}

func (o *objective) newSampled() *series {
	window := time.Duration(o.Window)
	s := newSeries(newLayout(ringWidth(o.layout.fine, window), []time.Duration{window}, o.layout.lateness))
	return &s
}

// interval is a 95 % interval of the share of the budget that is left, where events of the window were sampled; false where none were, since
// the figure is exact then, and for budgets of time slices and composites.
//
// The share of bad events is a ratio of two sampled totals. With weights w, R the share and T the total, its variance is
// ((1−R)²·Σ w(w−1) over bad + R²·Σ w(w−1) over good) ÷ T² (Särndal, Swensson and Wretman, 1992, section 5.6). The first sum is taken half from
// the bad events that were seen, and half as R times that of all events: where few were seen, the heavy ones are likely to be missing.
// Bad events are few, so the ratio is not normal: the bad total is taken for a scaled Poisson count with that variance, whose interval is Jeffreys' (gamma with half a count
// more). Spans of one trace are sampled together; where they fail together the interval is too narrow.
func (o *objective) interval(g *group, t int64, c Counts) (low, high float64, known bool) {
	if g.sampled == nil || o.slicing != nil || o.composite() || c.Total() == 0 {
		return 0, 0, false
	}
	from := t - int64(o.Window)
	if o.calendar != nil {
		from, _ = o.calendar.period(t)
		from--
	}
	r := &g.sampled.rings[0]
	s := r.sum(floorDiv(from, r.width)+1, floorDiv(t, r.width))
	if s.Good+s.Bad == 0 {
		return 0, 0, false
	}
	total, bad := c.Total().Float(), c.Bad.Float()
	share := bad / total
	squares := func(w Weight) float64 { return float64(w) / squareUnit }
	ofBad := (squares(s.Bad) + share*squares(s.Good+s.Bad)) / 2
	variance := (1-share)*(1-share)*ofBad + share*share*squares(s.Good)
	one := variance / bad // what one observation stands for, beyond itself
	if bad == 0 {
		one = squares(s.Good) / total
	}
	if one == 0 {
		return 0, 0, false
	}
	shape := bad/one + 0.5
	least, most := one*gammaQuantile(shape, -normal975), one*gammaQuantile(shape, normal975)
	if bad == 0 {
		least = 0
	}
	worst, best := min(1, most/total), min(share, least/total)
	return 1 - worst/(1-o.Target), 1 - best/(1-o.Target), true
}

// normal975 is the quantile of the normal distribution that leaves 2.5 % above.
const normal975 = 1.959963984540054

// gammaQuantile is the quantile of a gamma distribution where the normal one has z, after Wilson and Hilferty (PNAS 17, 1931).
func gammaQuantile(shape, z float64) float64 {
	x := 1 - 1/(9*shape) + z/(3*math.Sqrt(shape))
	return shape * math.Pow(max(0, x), 3)
}
