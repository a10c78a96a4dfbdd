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
	// Horizon is the time over which the rate holds; what is not used is saved up for as long. 0: a second, or, where a trace costs more
	// than a fraction of a second's budget, the time that pays for some.
	Horizon time.Duration
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

// Weights of what is kept first: a trace that weighs n times another is kept n times as likely. That of a first shape goes while such
// traces are few, and shrinks as they become many, or whoever makes up names would have all of the budget.
const (
	weightPlain    = 1.0
	weightLearned  = 16.0
	weightError    = 64.0
	weightSLO      = 256.0
	weightNewShape = 65536.0

	fewNewShapes = 0.05
	// sizeRange bounds by how much the cost of a trace counts, as a multiple of the usual cost and as a part of it.
	sizeRange = 4.0
	// durationRange bounds by how many powers of two longer than usual a trace counts.
	durationRange = 4.0
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
	// usual is the cost of a trace, usualLog the binary logarithm of how long it takes, and newShapes the share of new shapes, over the
	// last thousand or so.
	usual, usualLog, newShapes float64
	// debt is what first shapes were lent. Half of what comes in pays for it.
	debt float64

	// Where a trace costs more than a fraction of a second's budget, groups are too small to choose within. Then pace, the level at which
	// the traces of the last while would have met the budget, holds back what is not worth it; history is what it is made from.
	pace    float64
	paced   time.Time
	fresh   int
	history []priced
	sorted  []priced

	// learned is what learning policies mark traces with.
	learned fact
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
	// lentTraces is how many traces' worth first shapes may use before it has come in.
	lentTraces = 25
)

// carry is how much of a second's budget may be saved up for later.
const carry = 0.05

func newBudget(b Budget) *budget { return &budget{Budget: b, level: math.Inf(1), learned: factLearned} }

// weigh says what a trace is worth: its class, times the square of how slow its slowest span is for its operation, times how long it took,
// over the square of its cost. With squares, most of a budget goes to what has the most worth for its cost, and yet everything has a chance.
func (b *budget) weigh(t *trace) float64 {
	w := weightPlain
	switch {
	case t.has(factSLOBad):
		w = weightSLO
	case t.has(factError):
		w = weightError
	case t.has(b.learned):
		w = weightLearned
	}
	if t.has(factNewShape) {
		crowd := max(b.newShapes/fewNewShapes, 1)
		w *= max(1, weightNewShape/(crowd*crowd*crowd))
	}
	w *= math.Exp2(2 * float64(t.slowness))
	if took := tookLog(t); took > 0 {
		w *= math.Exp2(min(max(took-b.usualLog, -durationRange/2), durationRange))
	}
	if b.usual > 0 {
		size := min(max(b.cost(t)/b.usual, 1/sizeRange), sizeRange)
		w /= size * size
	}
	return w
}

// tookLog is the binary logarithm of how long a trace took, in nanoseconds; 0 when that is not known.
func tookLog(t *trace) float64 {
	if t.end <= t.start {
		return 0
	}
	return float64(logTwo(t.end - t.start))
}

// recent is how many traces usual and newShapes look back over.
const recent = 1000

func (b *budget) note(t *trace) {
	fresh := 0.0
	if t.has(factNewShape) {
		fresh = 1
	}
	if b.usual == 0 {
		b.usual = b.cost(t)
	}
	if took := tookLog(t); took > 0 {
		if b.usualLog == 0 {
			b.usualLog = took
		}
		b.usualLog += (took - b.usualLog) / recent
	}
	b.usual += (b.cost(t) - b.usual) / recent
	b.newShapes += (fresh - b.newShapes) / recent
}

// priorityOf uses the randomness that the trace goes out with, so that the policies' threshold and the budget's compare.
func priorityOf(v *verdict) float64 {
	return (1 - float64(v.random)/float64(MaxThreshold)) / v.weight
}

func (b *budget) settle(group []verdict, now time.Time) {
	rate := b.perSecond()
	most := rate * (1 + carry)
	horizon := b.horizon(rate)
	if horizon > 0 {
		most = max(most, rate*horizon.Seconds()*saved)
	}
	if b.Horizon > 0 {
		most = rate * b.Horizon.Seconds()
	}
	if !b.started {
		b.started, b.tokens = true, rate
	} else if d := now.Sub(b.last).Seconds(); d > 0 {
		income := d * rate
		paid := min(income/2, b.debt)
		b.debt -= paid
		b.tokens = min(b.tokens+income-paid, most)
	}
	b.last = now
	b.setPace(rate, horizon, now)
	b.order = b.order[:0]
	credit := 0.0
	if horizon > 0 {
		credit = lentTraces * b.usual
	}
	for i := range group {
		v := &group[i]
		v.weight = b.weigh(v.t)
		p := priced{priorityOf(v), b.cost(v.t), now}
		if v.certain {
			b.tokens -= p.cost
			continue
		}
		// Whether a trace gets credit does not depend on its randomness, so it goes out as certain to be kept.
		if v.t.has(factNewShape) && b.newShapes < fewNewShapes && b.debt < credit {
			v.certain = true
			b.debt += p.cost
			continue
		}
		b.remember(p)
		if p.priority < b.pace {
			b.order = append(b.order, p)
		}
	}
	for i := range group {
		b.note(group[i].t)
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
	switch {
	case b.Horizon > 0:
		return b.Horizon
	case len(b.history) == 0:
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
	b.fresh++
}

// setPace finds the level at which the traces of the horizon would have met the budget. It does not look at the group at hand, so that
// level and randomness stay independent.
func (b *budget) setPace(rate float64, horizon time.Duration, now time.Time) {
	if horizon == 0 {
		b.pace = math.Inf(1)
		return
	}
	// A few more traces do not move the level by much, and finding it means sorting.
	if b.fresh < len(b.history)/32 && now.Sub(b.paced) < horizon/50 {
		return
	}
	b.fresh, b.paced, b.pace = 0, now, math.Inf(1)
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
	if b.debt > 0 {
		rate /= 2
	}
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
	if v.certain {
		return true
	}
	if priorityOf(v) >= b.level {
		return false
	}
	if th := ThresholdOf(b.level * v.weight); v.known {
		v.chance.threshold = max(v.chance.threshold, th)
	}
	return true
}
