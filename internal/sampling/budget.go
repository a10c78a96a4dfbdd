// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"math"
	"slices"
	"time"
)

// Budget is a cap on what is kept a second, over all policies. At most one of the rates is set.
type Budget struct {
	SpansPerSecond, TracesPerSecond, BytesPerSecond float64
}

func (b Budget) enabled() bool {
	return b.SpansPerSecond > 0 || b.TracesPerSecond > 0 || b.BytesPerSecond > 0
}

func (b Budget) perSecond() float64 { return b.SpansPerSecond + b.TracesPerSecond + b.BytesPerSecond }

func (b Budget) cost(t *trace) float64 {
	switch {
	case b.SpansPerSecond > 0:
		return float64(t.spans)
	case b.TracesPerSecond > 0:
		return 1
	}
	return float64(t.wireBytes)
}

// Weights of what is kept first: a trace that weighs n times another is kept n times as likely.
const (
	weightPlain    = 1.0
	weightLearned  = 16.0
	weightNewShape = 64.0
	weightError    = 64.0
	weightSLO      = 256.0
)

// budget chooses, among the traces that the policies keep, by priority sampling (Duffield, Lund, Thorup, "Priority sampling for
// estimation of arbitrary subset sums", 2007): each trace's share of the unit interval below its randomness, divided by its weight, is
// its priority; the lowest are kept until the budget is spent, and the first left out gives everybody's threshold.
type budget struct {
	Budget
	tokens  float64
	last    time.Time
	started bool
	// level is the priority of the first trace left out of the group last settled; infinite when all were kept.
	level float64
	order []priced

	// Where a trace costs more than a fraction of a second's budget, groups are too small to choose within. Then pace, the level at which
	// the traces of the last while would have met the budget, holds back what is not worth it; history is what it is made from.
	pace    float64
	history []priced
	sorted  []priced
}

type priced struct {
	priority, cost float64
	at             time.Time
}

const (
	// coarse is the number of traces that a second's budget must pay for to do without pace.
	coarse = 20
	// paceTraces is how many traces' worth of budget pace looks back over, and paceHistory how many it remembers at most.
	paceTraces  = 50
	paceHistory = 4096
	// saved is the share of that budget that may be saved up for what is worth it.
	saved = 0.25
)

// carry is how much of a second's budget may be saved up for later.
const carry = 0.05

func newBudget(b Budget) *budget { return &budget{Budget: b, level: math.Inf(1)} }

func weightOf(t *trace) float64 {
	switch {
	case t.has(factSLOBad):
		return weightSLO
	case t.has(factError):
		return weightError
	case t.has(factNewShape):
		return weightNewShape
	case t.has(factLearned):
		return weightLearned
	}
	return weightPlain
}

// priorityOf uses the randomness that the trace goes out with, so that the policies' threshold and the budget's compare.
func priorityOf(v *verdict) float64 {
	return (1 - float64(v.random)/float64(MaxThreshold)) / weightOf(v.t)
}

func (b *budget) settle(group []verdict, now time.Time) {
	rate := b.perSecond()
	most := rate * (1 + carry)
	horizon := b.horizon(rate)
	if horizon > 0 {
		most = max(most, rate*horizon.Seconds()*saved)
	}
	if !b.started {
		b.started, b.tokens = true, rate
	} else if d := now.Sub(b.last).Seconds(); d > 0 {
		b.tokens = min(b.tokens+d*rate, most)
	}
	b.last = now
	b.setPace(rate, horizon, now)
	b.order = b.order[:0]
	for i := range group {
		p := priced{priorityOf(&group[i]), b.cost(group[i].t), now}
		b.remember(p)
		if p.priority < b.pace {
			b.order = append(b.order, p)
		}
	}
	slices.SortFunc(b.order, byPriority)
	b.level = b.pace
	for _, p := range b.order {
		// Going into debt for the last trace, rather than leaving room, keeps the long-run rate exact whatever the sizes.
		if b.tokens <= 0 {
			b.level = p.priority
			return
		}
		b.tokens -= p.cost
	}
}

func byPriority(a, b priced) int {
	switch {
	case a.priority < b.priority:
		return -1
	case a.priority > b.priority:
		return 1
	}
	return 0
}

// horizon is the time that pace looks back over, or zero where a second's budget pays for many traces.
func (b *budget) horizon(rate float64) time.Duration {
	if len(b.history) == 0 {
		return 0
	}
	var cost float64
	for _, p := range b.history {
		cost += p.cost
	}
	cost /= float64(len(b.history))
	if cost*coarse <= rate {
		return 0
	}
	return min(time.Duration(paceTraces*cost/rate*float64(time.Second)), time.Hour)
}

// remember notes a trace. When there is no room, every other one goes, and counts are made up for in setPace by the time they span.
func (b *budget) remember(p priced) {
	if len(b.history) >= paceHistory {
		b.history = b.history[:copy(b.history, b.history[paceHistory/2:])]
	}
	b.history = append(b.history, p)
}

// setPace finds the level at which the traces of the horizon would have met the budget. It does not look at the group at hand, so that
// level and randomness stay independent.
func (b *budget) setPace(rate float64, horizon time.Duration, now time.Time) {
	b.pace = math.Inf(1)
	if horizon == 0 {
		return
	}
	for len(b.history) > 0 && now.Sub(b.history[0].at) > horizon {
		b.history = b.history[1:]
	}
	if len(b.history) < coarse {
		return
	}
	span := now.Sub(b.history[0].at).Seconds()
	b.sorted = append(b.sorted[:0], b.history...)
	slices.SortFunc(b.sorted, byPriority)
	// What was saved up is spent over the horizon as well.
	left := rate*max(span, 1) + max(b.tokens, 0)*span/horizon.Seconds()
	for _, p := range b.sorted {
		if left -= p.cost; left < 0 {
			b.pace = p.priority
			return
		}
	}
}

// admits tells whether a trace of the group is within the budget, and raises its threshold to what the budget made of it.
func (b *budget) admits(v *verdict) bool {
	if math.IsInf(b.level, 1) {
		return true
	}
	if priorityOf(v) >= b.level {
		return false
	}
	if th := ThresholdOf(b.level * weightOf(v.t)); v.known {
		v.chance.threshold = max(v.chance.threshold, th)
	}
	return true
}
