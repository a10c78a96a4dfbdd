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
}

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

// Due decides up to limit traces whose time has come, and tells whether there are more.
func (e *Engine) Due(now time.Time, limit int, out *Outputs) (more bool) {
	tick := int64(now.Sub(e.origin) / e.settings.Tick)
	group := e.group[:0]
	for ; e.nextDue <= tick; e.nextDue++ {
		for t := e.due[e.nextDue]; t != nil; t = t.dueNext {
			if len(group) >= limit {
				e.decideGroup(group, now, out)
				return true
			}
			group = append(group, candidate{t: t})
		}
	}
	e.decideGroup(group, now, out)
	return false
}

// Flush decides everything that waits, oldest first, up to limit traces, and tells whether there is more.
func (e *Engine) Flush(now time.Time, limit int, out *Outputs) (more bool) {
	group := e.group[:0]
	for t := e.oldest; t != nil && len(group) < limit; t = t.next {
		group = append(group, candidate{t: t})
	}
	e.decideGroup(group, now, out)
	return e.oldest != nil
}

// Discard drops everything that waits without deciding it.
func (e *Engine) Discard() (traces int) {
	for e.oldest != nil {
		t := e.oldest
		e.forget(t)
		traces++
	}
	return traces
}

// decideGroup decides traces together, so that limiters can choose among them.
func (e *Engine) decideGroup(group []candidate, now time.Time, out *Outputs) {
	e.group = group
	if len(group) == 0 {
		return
	}
	if e.settings.SpanIngest {
		for i := range group {
			e.stats.decided(NotSampled)
			e.finish(group[i].t, now, decidedTrace{policy: -1, lane: -1})
		}
		clear(group)
		return
	}
	if e.decided.engines.Load() > 1 {
		group = e.followOthers(group, now, out)
	}
	for i := range group {
		c := &group[i]
		c.d = e.program.drawOf(c.t, nil)
		e.learn(c.t, now)
	}
	e.program.prepare(group, now, e.settings.FirstMatch)
	outcomes := e.outcomes(group)
	trial := e.try(group, now)
	var kept []verdict
	for i := range group {
		c, o := &group[i], outcomes[i]
		if o.decision != Sampled {
			trial.score(e, c.t, false)
			e.stats.decided(o.decision)
			e.finish(c.t, now, decidedTrace{policy: o.policy, lane: -1})
			continue
		}
		kept = append(kept, e.verdictOf(c, o))
	}
	if e.budget != nil {
		kept = e.thin(kept, now, trial)
	}
	for i := range kept {
		k := &kept[i]
		trial.score(e, k.t, true)
		e.stats.decided(Sampled)
		e.pinLinks(k.t, now)
		e.keep(k, now, out)
	}
	e.shrink()
	clear(group)
}

// outcomes asks the policies about each trace of a group. Traces that are pinned are kept unless a drop policy says otherwise.
func (e *Engine) outcomes(group []candidate) []outcome {
	outcomes := make([]outcome, len(group))
	var kept map[TraceID]bool
	if e.program.needsLinks {
		kept = make(map[TraceID]bool)
	}
	for i := range group {
		c := &group[i]
		o := e.program.decide(c.t, &c.d, e.settings.FirstMatch, e.stats.visitor(c.t))
		if o.decision != Dropped && c.t.has(factPinned) {
			o.decision = Sampled
		}
		if outcomes[i] = o; kept != nil {
			kept[c.t.id] = o.decision == Sampled
		}
	}
	e.linkGroup(group, kept, func(i int) bool {
		c := &group[i]
		o := e.program.decide(c.t, &c.d, e.settings.FirstMatch, func(int, Decision) {})
		if o.decision == Sampled {
			outcomes[i] = o
		}
		return o.decision == Sampled
	})
	return outcomes
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

// thin applies the budget to what the policies keep.
func (e *Engine) thin(kept []verdict, now time.Time, trial *trialGroup) []verdict {
	e.budget.settle(kept, now)
	within := kept[:0]
	for i := range kept {
		v := &kept[i]
		if e.budget.admits(v) {
			within = append(within, *v)
			continue
		}
		trial.score(e, v.t, false)
		e.stats.OverBudget++
		e.unlearn(v.t)
		e.stats.decided(NotSampled)
		e.finish(v.t, now, decidedTrace{policy: -1, lane: -1})
	}
	return within
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

// rank is what a trace is worth when memory runs short: those with an error or a bad span are decided last, then the first of each shape.
func (e *Engine) rank(t *trace) int {
	e.readLogs(t)
	switch {
	case t.has(factError | factSLOBad | factPinned):
		return 2
	case e.firstOfShape(t):
		return 1
	}
	return 0
}

// firstOfShape tells whether no trace of the same shape was seen before, and takes note of the shape.
func (e *Engine) firstOfShape(t *trace) bool {
	if t.has(factNewShape) {
		return true
	}
	shape := t.shape()
	if _, seen := e.shapes[shape]; seen {
		return false
	}
	if len(e.shapes) >= max(e.settings.Seen, 1) {
		clear(e.shapes)
	}
	e.shapes[shape] = struct{}{}
	t.flags |= factNewShape
	return true
}

// shed brings memory below its limit after a trace has grown. A trace that holds a quarter of the memory alone is decided at once: what
// it still sends follows that decision.
func (e *Engine) shed(now time.Time, t *trace, out *Outputs) {
	if !t.decided && int64(t.wireBytes) > e.settings.MemoryLimit/4 && e.traces[t.id] == t {
		e.stats.Evicted++
		e.decideGroup(append(e.group[:0], candidate{t: t}), now, out)
	}
	e.evict(now, 0, e.settings.MemoryLimit-e.settings.MemoryLimit/8, out)
}

// evict decides the oldest traces until count of them are gone and memory is at most bytes (0: whatever it is). Valuable ones are moved
// to the end of the line once, into fresh segments, so that the memory around them can go.
func (e *Engine) evict(now time.Time, count int, bytes int64, out *Outputs) {
	for range 64 {
		if e.oldest == nil || (count <= 0 && (bytes == 0 || e.Bytes()-e.pending <= bytes-min(e.pending, bytes/2))) {
			return
		}
		size := max(count, 16)
		if count <= 0 {
			size = max(16, len(e.traces)/16)
		}
		group := e.pick(size, count > 0)
		e.stats.Evicted += int64(len(group))
		count -= len(group)
		e.decideGroup(group, now, out)
	}
}

// pick chooses up to size traces to decide now: from the oldest on, those without value; when there are none, those of a new shape; and
// then any. Valuable ones on the way are moved, unless just places are needed.
//
// Valuable traces that the policies are sure to keep lose nothing by an early decision, since what they still send follows it: when they
// crowd the others, they go first. Moving means unpacking, so where there are many of value, only some of them are moved.
func (e *Engine) pick(size int, places bool) []candidate {
	crowd := max(size, len(e.traces)/4)
	var readers segmentReaders
	moves := max(16, size/4)
	for rank := 0; rank <= 2; rank++ {
		group, sure := e.group[:0], []candidate(nil)
		left := len(e.traces)
		for t := e.oldest; t != nil && len(group) < size && left > 0; left-- {
			next := t.next
			switch {
			case e.rank(t) <= rank:
				group = append(group, candidate{t: t})
			case e.sure(t):
				if sure = append(sure, candidate{t: t}); len(sure) >= crowd {
					return append(e.group[:0], sure[:size]...)
				}
				fallthrough
			default:
				if !places && moves > 0 && !t.has(factMoved) {
					moves--
					e.move(t, &readers)
				}
			}
			t = next
		}
		if len(group) > 0 {
			return group
		}
	}
	return nil
}

// sure tells whether a trace is kept whatever it still sends.
func (e *Engine) sure(t *trace) bool {
	if len(e.program.drops) > 0 || e.budget != nil {
		return false
	}
	for _, n := range e.program.lasting {
		if n.evaluate(t, &draw{}) == Sampled {
			return true
		}
	}
	return false
}

// move rewrites a trace into the open segment.
func (e *Engine) move(t *trace, readers *segmentReaders) {
	t.flags |= factMoved
	views := make([]view, len(t.refs))
	for i, r := range t.refs {
		views[i] = viewOf(r)
	}
	old := t.refs
	e.store.bytes -= int64(cap(old)) * 16
	t.refs = nil
	for i := range views {
		data, err := readers.read(&views[i])
		if err != nil {
			continue
		}
		seg := e.store.reserve(&e.store.aside, len(data)+len(views[i].contexts)*8)
		start := len(seg.raw)
		seg.raw = rewrite(seg.raw, data, func(index int) int {
			return e.store.use(seg, e.store.again(views[i].contexts[index]))
		})
		e.addRef(t, ref{seg, uint32(start), uint32(len(seg.raw) - start)})
	}
	for _, r := range old {
		e.store.release(r)
	}
	e.unlink(t)
	e.link(t)
}

// again makes sure that the store still knows a context.
func (s *store) again(c *context) *context {
	if c.refs > 0 {
		return c
	}
	return s.contextOf(c.resource.data, c.scope.data)
}
