// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"slices"
	"time"
)

// limiter is a token bucket that admits the traces with the highest randomness of each group it is shown, and knows the threshold that
// separates them from the rest: bottom-k sampling, so that what it keeps carries a true adjusted count. The threshold is the priority of
// the first trace left out (D. Ting, "Adaptive Threshold Sampling", 2017, section 3.1).
type limiter struct {
	perSecond, burst float64
	inBytes          bool

	tokens  float64
	last    time.Time
	started bool

	// threshold holds for the group last admitted.
	threshold uint64
	items     []limitItem
}

type limitItem struct {
	random uint64
	cost   int64
}

// newLimiter starts with a full bucket. A burst of zero or less is two seconds' worth.
func newLimiter(perSecond, burst int64, inBytes bool) *limiter {
	if burst <= 0 {
		burst = 2 * perSecond
	}
	return &limiter{perSecond: float64(perSecond), burst: float64(burst), inBytes: inBytes, tokens: float64(burst)}
}

func (l *limiter) cost(t *trace) int64 {
	if l.inBytes {
		return int64(t.wireBytes)
	}
	return int64(t.spans)
}

// fits tells whether a full bucket could pay for the trace.
func (l *limiter) fits(t *trace) bool {
	return float64(l.cost(t)) <= l.burst
}

// admits tells whether a trace of the group is in.
func (l *limiter) admits(t *trace, random uint64) bool {
	return random >= l.threshold && l.fits(t)
}

func (l *limiter) refill(now time.Time) {
	if l.started {
		if d := now.Sub(l.last).Seconds(); d > 0 {
			l.tokens = min(l.burst, l.tokens+d*l.perSecond)
		}
	}
	l.started, l.last = true, now
}

// begin starts a new group.
func (l *limiter) begin() { l.items = l.items[:0] }

// offer adds a trace to the group.
func (l *limiter) offer(t *trace, random uint64) {
	if l.fits(t) {
		l.items = append(l.items, limitItem{random, l.cost(t)})
	}
}

// settle pays for as much of the group as there are tokens and sets the threshold.
func (l *limiter) settle(now time.Time) {
	l.refill(now)
	slices.SortFunc(l.items, func(a, b limitItem) int {
		switch {
		case a.random > b.random:
			return -1
		case a.random < b.random:
			return 1
		}
		return 0
	})
	var spent int64
	kept := len(l.items)
	for i, it := range l.items {
		if float64(spent+it.cost) > l.tokens {
			kept = i
			break
		}
		spent += it.cost
	}
	l.threshold = 0
	if kept < len(l.items) {
		cut := l.items[kept].random
		for kept > 0 && l.items[kept-1].random == cut {
			kept--
			spent -= l.items[kept].cost
		}
		l.threshold = min(cut+1, MaxThreshold)
		if kept == 0 {
			l.threshold = MaxThreshold
		}
	}
	l.tokens -= float64(spent)
}
