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
	weightNewShape = 16.0
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
}

type priced struct{ priority, cost float64 }

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
	}
	return weightPlain
}

// priorityOf uses the randomness that the trace goes out with, so that the policies' threshold and the budget's compare.
func priorityOf(v *verdict) float64 {
	return (1 - float64(v.random)/float64(MaxThreshold)) / weightOf(v.t)
}

func (b *budget) settle(group []verdict, now time.Time) {
	rate := b.perSecond()
	if !b.started {
		b.started, b.tokens = true, rate
	} else if d := now.Sub(b.last).Seconds(); d > 0 {
		b.tokens = min(b.tokens+d*rate, rate*(max(1, d)+carry))
	}
	b.last = now
	b.order = b.order[:0]
	for i := range group {
		b.order = append(b.order, priced{priorityOf(&group[i]), b.cost(group[i].t)})
	}
	slices.SortFunc(b.order, func(a, c priced) int {
		switch {
		case a.priority < c.priority:
			return -1
		case a.priority > c.priority:
			return 1
		}
		return 0
	})
	b.level = math.Inf(1)
	for _, p := range b.order {
		// Going into debt for the last trace, rather than leaving room, keeps the long-run rate exact whatever the sizes.
		if b.tokens <= 0 {
			b.level = p.priority
			return
		}
		b.tokens -= p.cost
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
