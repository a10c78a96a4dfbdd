// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"math"
	"time"
)

// stage is how far a round has come.
type stage uint8

const (
	stageLearn stage = iota
	stageJudge
	stageSort
	stageKeep
)

// round is a group of traces on its way to a decision. They are decided together, so that limiters and the budget can choose among them,
// but looked at a few at a time, so that nobody waits long for the engine. Meanwhile a trace may still grow, or be given up for its size;
// everything else that decides traces finishes the round first.
type round struct {
	group    []candidate
	outcomes []outcome
	kept     []verdict
	trial    *trialGroup
	stage    stage
	at       int
	now      time.Time
}

// start readies the round for another group.
func (r *round) start(group []candidate, now time.Time) {
	outcomes := r.outcomes[:0]
	if cap(outcomes) < len(group) {
		outcomes = make([]outcome, 0, len(group))
	}
	*r = round{group: group, outcomes: outcomes[:len(group)], kept: r.kept[:0], now: now}
}

// end lets go of the traces of the round. The room for the largest groups is not kept.
func (r *round) end() {
	clear(r.group)
	clear(r.kept)
	*r = round{group: r.group[:0], outcomes: r.outcomes[:0], kept: r.kept[:0]}
	if cap(r.group) > largeGroup {
		*r = round{}
	}
}

// largeGroup is a group whose room is given back.
const largeGroup = 8192

func (r *round) running() bool { return len(r.group) > 0 }

// next gives the part of n elements that is up now, at most step long, and tells whether it is the last.
func (r *round) next(n, step int) (from, to int, last bool) {
	from = r.at
	to = from + min(step, n-from)
	r.at = to
	return from, to, to == n
}

// enter goes on to a stage.
func (r *round) enter(s stage) { r.stage, r.at = s, 0 }

// Due decides the traces whose time has come, up to limit of them together. A call looks at no more than step traces, and tells whether
// there is more to do: the next call goes on from there.
func (e *Engine) Due(now time.Time, limit, step int, out *Outputs) (more bool) {
	tick := int64(now.Sub(e.origin) / e.settings.Tick)
	if e.round.running() || e.begin(e.collect(tick, limit), now, out) {
		over := e.advance(step, out)
		return !over || e.nextDue <= tick
	}
	return e.nextDue <= tick
}

// Flush decides everything that waits, oldest first, up to limit traces, and tells whether there is more.
func (e *Engine) Flush(now time.Time, limit int, out *Outputs) (more bool) {
	e.finishRound(out)
	group := e.round.group[:0]
	for t := e.oldest; t != nil && len(group) < limit; t = t.next {
		group = append(group, candidate{t: t})
	}
	e.decideGroup(group, now, out)
	return e.oldest != nil
}

// Discard drops everything that waits without deciding it.
func (e *Engine) Discard() (traces int) {
	e.round.end()
	for e.oldest != nil {
		t := e.oldest
		e.forget(t)
		traces++
	}
	return traces
}

// collect returns up to limit traces that are due at a tick.
func (e *Engine) collect(tick int64, limit int) []candidate {
	group := e.round.group[:0]
	for ; e.nextDue <= tick; e.nextDue++ {
		for t := e.due[e.nextDue]; t != nil; t = t.dueNext {
			if len(group) >= limit {
				return group
			}
			group = append(group, candidate{t: t})
		}
	}
	return group
}

// decideGroup decides traces together, at once. No round may be running.
func (e *Engine) decideGroup(group []candidate, now time.Time, out *Outputs) {
	if e.begin(group, now, out) {
		e.finishRound(out)
	}
}

// finishRound brings the round that runs, if one does, to its end.
func (e *Engine) finishRound(out *Outputs) {
	for e.round.running() {
		e.advance(math.MaxInt, out)
	}
}

// begin starts a round, unless there is nothing to weigh.
func (e *Engine) begin(group []candidate, now time.Time, out *Outputs) bool {
	if e.settings.SpanIngest {
		for i := range group {
			e.stats.decided(NotSampled)
			e.finish(group[i].t, now, decidedTrace{policy: -1, lane: -1})
		}
		clear(group)
		e.round.group = group[:0]
		return false
	}
	if e.decided.engines.Load() > 1 {
		group = e.followOthers(group, now, out)
	}
	e.round.start(group, now)
	return len(group) > 0
}

// advance looks at up to step traces of the round, and tells whether it is over.
func (e *Engine) advance(step int, out *Outputs) (over bool) {
	r := &e.round
	switch r.stage {
	case stageLearn:
		e.learnRound(step)
	case stageJudge:
		e.judgeRound(step)
	case stageSort:
		e.sortRound(step)
	case stageKeep:
		if e.keepRound(step, out) {
			r.end()
			e.shrink()
			return true
		}
	}
	return false
}

// learnRound works out the facts that depend on other traces, and at the end lets limiters choose.
func (e *Engine) learnRound(step int) {
	r := &e.round
	from, to, last := r.next(len(r.group), step)
	for i := from; i < to; i++ {
		c := &r.group[i]
		c.d = e.program.drawOf(c.t, nil)
		e.learn(c.t, r.now)
	}
	if last {
		e.program.prepare(r.group, r.now, e.settings.FirstMatch)
		r.enter(stageJudge)
	}
}

// judgeRound asks the policies about each trace, and at the end keeps those that linked ones draw in. Traces that are pinned are kept
// unless a drop policy says otherwise.
func (e *Engine) judgeRound(step int) {
	r := &e.round
	from, to, last := r.next(len(r.group), step)
	for i := from; i < to; i++ {
		c := &r.group[i]
		o := e.program.decide(c.t, &c.d, e.settings.FirstMatch, e.stats.visitor(c.t))
		if o.decision != Dropped && c.t.has(factPinned) {
			o.decision = Sampled
		}
		r.outcomes[i] = o
	}
	if !last {
		return
	}
	e.linkRound()
	r.trial = e.try(r.group, r.now)
	r.enter(stageSort)
}

func (e *Engine) linkRound() {
	if !e.program.needsLinks {
		return
	}
	r := &e.round
	kept := make(map[TraceID]bool)
	for i := range r.group {
		kept[r.group[i].t.id] = r.outcomes[i].decision == Sampled
	}
	e.linkGroup(r.group, kept, func(i int) bool {
		c := &r.group[i]
		o := e.program.decide(c.t, &c.d, e.settings.FirstMatch, func(int, Decision) {})
		if o.decision == Sampled {
			r.outcomes[i] = o
		}
		return o.decision == Sampled
	})
}

// sortRound lets go of what the policies do not keep, and at the end lets the budget choose among the rest.
func (e *Engine) sortRound(step int) {
	r := &e.round
	from, to, last := r.next(len(r.group), step)
	for i := from; i < to; i++ {
		c, o := &r.group[i], r.outcomes[i]
		switch {
		case c.t.decided:
		case o.decision == Sampled:
			r.kept = append(r.kept, e.verdictOf(c, o))
		default:
			r.trial.score(e, c.t, false)
			e.stats.decided(o.decision)
			e.finish(c.t, r.now, decidedTrace{policy: o.policy, lane: -1})
		}
	}
	if last {
		if e.budget != nil {
			e.budget.settle(r.kept, r.now)
		}
		r.enter(stageKeep)
	}
}

// keepRound hands what the policies and the budget keep to the output, and tells when all of it is done.
func (e *Engine) keepRound(step int, out *Outputs) (last bool) {
	r := &e.round
	from, to, last := r.next(len(r.kept), step)
	for i := from; i < to; i++ {
		v := &r.kept[i]
		switch {
		case v.t.decided:
		case e.budget != nil && !e.budget.admits(v):
			r.trial.score(e, v.t, false)
			e.stats.OverBudget++
			e.unlearn(v.t)
			e.stats.decided(NotSampled)
			e.finish(v.t, r.now, decidedTrace{policy: -1, lane: -1})
		default:
			r.trial.score(e, v.t, true)
			e.stats.decided(Sampled)
			e.pinLinks(v.t, r.now)
			e.keep(v, r.now, out)
		}
	}
	return last
}
