// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"slices"
	"time"
)

// healthyBurn is the burn at which chance alone must not alert.
const healthyBurn = 0.5

// convincingLocked reports whether the bad events that end in the slice of `end` are more than chance brings to a service that spends half
// of its budget.
//
// A test of one window at one time says little: a service with an error now and then looks at its windows with every error, month after
// month, and what is improbable once comes about. So the test is on the errors themselves. Let a healthy service have M errors in 30 days.
// For an error, and each b, the b−1 errors before it lie within some n events, itself included; by chance that happens with
//
//	q = P(at least b−1 of the n−1 events before it are bad) ≤ Poisson tail at b−1 of mean (n−1)·p,   p = healthyBurn · (1 − target)
//
// because the events before an error know nothing of it. The alert needs q ≤ A ÷ (b·(b−1)) for some b ≥ 2, with A = FalseAlerts ÷ M. The
// shares 1/2, 1/6, 1/12 … add up to 1, so that an error alerts by chance with probability A at most, and M of them do FalseAlerts
// times: a bound, by addition alone, for any traffic and any target, over all lengths of time at once. Two failures in a row are enough for a
// quiet service, three within an hour where there is more traffic, and a busy one is judged by its burn alone.
//
// Where p itself exceeds the share of b = 2, two in a row are not enough, and that share is passed on to three, and so on.
func (e *Engine) convincingLocked(o *objective, g *group, end int64, long time.Duration) bool {
	recent := o.counted(g, end, long)
	if recent.BadN < max(2, e.settings.MinBadEvents) || recent.Bad == 0 {
		return false
	}
	// Weights inflate counts, but not evidence: an error that stands for a hundred is one observation. So bad events are taken as they
	// were seen, and all events are scaled down by their mean weight.
	weight := float64(recent.Bad) / float64(recent.BadN)
	p := max(healthyBurn*(1-o.Target), o.standingShare(e, g, end, long))
	window := min(time.Duration(o.Window), 30*Day)
	if o.calendar != nil {
		window = time.Duration(slices.Max(o.profile.Windows)) // of longer ones only the sum of the period is kept
	}
	observed := max(e.coverage.time(o.service(g), end, window), e.fine)
	monthly := float64(o.counted(g, end, window).Total()) / weight * float64(30*Day) / float64(observed)
	t := newChance(p, e.settings.FalseAlerts/max(p*monthly, 1e-9))
	convinced := func(c Counts) bool {
		return c.BadN >= e.settings.MinBadEvents && t.excludes(c.BadN, float64(c.Total())/weight)
	}
	if o.slicing != nil || o.composite() {
		return convinced(recent) // its events are time slices, or those of others: only their sum is at hand
	}
	return g.series.backwards(end, long, convinced)
}

// chance is the test above, with its shares dealt out.
type chance struct {
	p     float64
	level float64 // A
	first uint32  // the fewest errors that can be convincing
	share float64 // theirs
}

func newChance(p, level float64) chance {
	t := chance{p: p, level: level, first: 2}
	const enough = 64 // p^63 is below any share
	for carried := 0.0; t.first < enough; t.first++ {
		t.share = level*shareOf(t.first) + carried
		if poissonTailAtMost(t.first-1, float64(t.first-1)*p, t.share) {
			break
		}
		carried = t.share
	}
	return t
}

func shareOf(b uint32) float64 { return 1 / (float64(b) * float64(b-1)) }

// excludes reports whether b errors, the last one included, among n events are not to be expected by chance.
func (t chance) excludes(b uint32, n float64) bool {
	switch {
	case b < t.first:
		return false
	case b == t.first:
		return poissonTailAtMost(b-1, max(0, n-1)*t.p, t.share)
	}
	return poissonTailAtMost(b-1, max(0, n-1)*t.p, t.level*shareOf(b))
}

// poissonTailAtMost reports whether P(X ≥ k) ≤ alpha for X ~ Poisson(lambda). The Poisson tail bounds the binomial one from above
// for counts over the mean, so the test errs on the quiet side (Hoeffding, Annals of Mathematical Statistics 27, 1956).
func poissonTailAtMost(k uint32, lambda, alpha float64) bool {
	if alpha >= 1 || k > 0 && lambda == 0 {
		return true
	}
	if k == 0 || lambda < 0 || float64(k) <= lambda {
		return false
	}
	lg, _ := math.Lgamma(float64(k) + 1)
	term := math.Exp(float64(k)*math.Log(lambda) - lambda - lg)
	tail := 0.0
	for i := float64(k); tail <= alpha; i++ {
		tail += term
		term *= lambda / (i + 1)
		if term <= tail*1e-9 || term == 0 {
			return tail <= alpha
		}
	}
	return false
}

// backwards sums the slices of the window that ends with the slice of t, from the newest on, and shows the sum after each that holds bad
// events until use returns true, which it passes on.
func (s *series) backwards(t int64, window time.Duration, use func(Counts) bool) bool {
	r := s.ringFor(window)
	last := floorDiv(t, r.width)
	var sum Counts
	for slice := last; slice > last-max(1, int64(window)/r.width); slice-- {
		number := blockOf(slice)
		b := r.find(number)
		if b == nil {
			slice = number * blockSlices // the rest of the block is empty too
			continue
		}
		c := b[slice-number*blockSlices]
		sum.Good, sum.Bad = sum.Good+c.Good, sum.Bad+c.Bad
		sum.GoodN, sum.BadN = addSaturating(sum.GoodN, c.GoodN), addSaturating(sum.BadN, c.BadN)
		if c.BadN > 0 && use(sum) {
			return true
		}
	}
	return false
}
