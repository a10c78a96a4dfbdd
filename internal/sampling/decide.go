// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"slices"
	"time"
)

// Outputs collects what an engine decided to keep.
type Outputs struct {
	// Kept are traces whose decision fell; Late are spans that follow an earlier one.
	Kept, Late []Kept
	bytes      int64
}

// Bytes is the size of the kept traces.
func (o *Outputs) Bytes() int64 { return o.bytes }

// Kept is a kept trace, or late spans of one.
type Kept struct {
	ID TraceID
	// Policy is the index of the policy that kept the trace, in the order of Program.Names, and Lane the part of a composite; negative
	// when there is none or it is no longer known.
	Policy, Lane int
	Chance       Chance
	// Random is the randomness of the trace, to be written as rv when SetRandom.
	Random    uint64
	SetRandom bool
	// Cached marks late spans.
	Cached bool
	// Spans is the number of spans; Bytes the size they take in a request of their own.
	Spans int
	Bytes int64

	// refs stay in the store until Delivered; views are what Views made of them. held is the memory they take meanwhile.
	refs  []ref
	views []view
	held  int64
}

// Views readies kept traces for a Writer. What it sets up stays valid while the engine goes on.
func (e *Engine) Views(kept []Kept) {
	for i := range kept {
		k := &kept[i]
		if len(k.views) > 0 {
			continue
		}
		k.views = make([]view, len(k.refs))
		for j, r := range k.refs {
			k.views[j] = viewOf(r)
		}
	}
}

// Delivered lets go of kept traces.
func (e *Engine) Delivered(kept []Kept) {
	for i := range kept {
		for _, r := range kept[i].refs {
			e.store.release(r)
		}
		e.pending -= kept[i].held
		if len(kept[i].refs) == 0 {
			e.detached -= kept[i].held
		}
		kept[i] = Kept{}
	}
}

// Chance is the probability something was kept with, as a threshold; Known is false when it cannot be stated.
type Chance struct {
	Threshold uint64
	Known     bool
}

// verdictOf completes the outcome of a kept trace.
func (e *Engine) verdictOf(c *candidate, o outcome) verdict {
	v := verdict{candidate: *c, outcome: o, random: c.d.shared, weight: 1}
	if c.t.has(factPinned) {
		// Whether a trace is cited does not depend on its randomness, so it goes out as certain to be kept.
		v.certain, v.chance = true, chance{known: true, natural: true}
		return v
	}
	v.chance = e.chanceOf(c.t, &c.d)
	if v.known && !v.natural {
		v.random = spread(v.t.id, v.threshold)
	}
	return v
}

// followOthers decides what another engine has decided already the same way, and returns the rest.
func (e *Engine) followOthers(group []candidate, now time.Time, out *Outputs) []candidate {
	rest := group[:0]
	for _, c := range group {
		d, ok := e.decided.lookup(c.t.id)
		switch {
		case !ok:
			rest = append(rest, c)
		case !d.kept:
			e.stats.decided(NotSampled)
			e.finish(c.t, now, decidedTrace{policy: -1, lane: -1})
		default:
			e.stats.decided(Sampled)
			v := verdict{candidate: c, outcome: outcome{Sampled, d.policy, d.lane}, random: d.random, weight: 1}
			v.chance = chance{threshold: d.chance.Threshold, known: d.chance.Known, natural: !d.setRandom}
			e.keep(&v, now, out)
		}
	}
	clear(group[len(rest):])
	return rest
}

// verdict is a trace that the policies keep. random is the randomness it goes out with.
type verdict struct {
	candidate
	outcome
	chance
	random uint64
	// weight is what the trace is worth to the budget.
	weight float64
	// certain is set when the budget keeps the trace whatever its randomness.
	certain bool
}

// learn works out the facts that depend on other traces.
func (e *Engine) learn(t *trace, now time.Time) {
	e.readLogs(t)
	e.learnLinks(t)
	e.learnStructure(t, now)
	e.program.learn(t, now)
	if e.trial != nil {
		e.trial.program.learn(t, now)
	}
	if len(e.burning) > 0 && len(e.program.burning) > 0 &&
		slices.ContainsFunc(t.services, func(s uint32) bool { return slices.Contains(e.burning, s) }) {
		for _, slot := range e.program.burning {
			t.bits.set(slot)
		}
	}
	e.firstOfShape(t)
}

// learn asks the learning policies.
func (p *Program) learn(t *trace, now time.Time) {
	for _, l := range p.learners {
		if l.learner.learn(t, now) {
			t.bits.set(l.slot)
			t.flags |= l.notable
		}
	}
}

// severityError is the first severity number of OpenTelemetry's range ERROR.
const severityError = 17

// readLogs notes what the logs of a trace say so far.
func (e *Engine) readLogs(t *trace) {
	if e.settings.Logs == nil {
		return
	}
	severity := e.settings.Logs.Severity(t.id)
	if severity >= severityError {
		t.flags |= factError
	}
	for _, l := range e.program.severities {
		if int64(severity) >= l.min {
			t.bits.set(l.slot)
		}
	}
}

// unlearn takes back that a trace stood for its shape or route, when the budget did not let it.
func (e *Engine) unlearn(t *trace) {
	e.program.unlearn(t)
	if t.has(factNewShape) {
		delete(e.shapes, t.shape())
	}
}

func (p *Program) unlearn(t *trace) {
	for _, l := range p.learners {
		if c, ok := l.learner.(*counter); ok && t.bits.has(l.slot) {
			c.unlearn(t)
		}
	}
}

// keep hands a trace to the output.
func (e *Engine) keep(v *verdict, now time.Time, out *Outputs) {
	t := v.t
	k := Kept{
		ID: t.id, Policy: v.policy, Lane: v.lane, Spans: int(t.spans), Bytes: int64(t.wireBytes),
		Chance: Chance{v.chance.threshold, v.known}, Random: v.random,
		SetRandom: !v.d.bound && v.known && (!v.natural || v.chance.threshold > 0),
	}
	k.refs = t.refs
	for _, r := range t.refs {
		k.held += r.memory()
	}
	e.pending += k.held
	e.store.bytes -= int64(cap(t.refs)) * 16
	t.refs = nil
	out.Kept = append(out.Kept, k)
	out.bytes += k.Bytes
	e.finish(t, now, decidedTrace{kept: true, policy: v.policy, lane: v.lane, chance: k.Chance, random: k.Random, setRandom: k.SetRandom})
}

// finish remembers a decision and lets go of the trace.
func (e *Engine) finish(t *trace, now time.Time, d decidedTrace) {
	d.at = now.Sub(e.origin)
	e.decided.add(t.id, d)
	if e.settings.Logs != nil {
		e.settings.Logs.settle(t.id, d.kept)
	}
	e.stats.removed(d.at - t.arrival)
	e.forget(t)
}

func (e *Engine) forget(t *trace) {
	if t.decided {
		return
	}
	t.decided = true
	delete(e.traces, t.id)
	e.unlink(t)
	e.unschedule(t)
	e.store.bytes -= int64(cap(t.refs))*16 + t.listBytes() + t.more.bytes()
	for _, r := range t.refs {
		e.store.release(r)
	}
	t.refs = nil
}
