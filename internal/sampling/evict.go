// SPDX-License-Identifier: Apache-2.0

package sampling

import "time"

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

// The part of the memory limit that is left free by and by, and the part that is made free when the limit is reached after all.
const (
	spareMemory = 16
	madeFree    = 32
)

// victims is how many traces are evicted together. Policies that choose among traces choose among so many.
const victims = 64

// relieve makes room before it has to be made: each request that comes when room is getting scarce has twice as many traces decided as it
// brought, so that none waits long for all the others.
func (e *Engine) relieve(now time.Time, brought int, out *Outputs) {
	if !e.over(e.settings.MemoryLimit - e.settings.MemoryLimit/spareMemory) {
		e.owed = 0
		if e.plan.idle++; e.plan.idle > stalePlan {
			e.plan = plan{}
		}
		return
	}
	if e.owed += 2 * brought; e.owed >= victims {
		e.evict(now, e.owed, false, out)
		e.owed = 0
	}
}

// over tells whether what waits takes more memory than that. Output on its way takes from it up to a half.
func (e *Engine) over(bytes int64) bool { return e.Bytes()-e.pending > bytes-min(e.pending, bytes/2) }

// shed brings memory below its limit after a trace has grown. A trace that holds a quarter of the memory alone is decided at once: what
// it still sends follows that decision.
func (e *Engine) shed(now time.Time, t *trace, out *Outputs) {
	e.finishRound(out)
	if !t.decided && int64(t.wireBytes) > e.settings.MemoryLimit/4 && e.traces[t.id] == t {
		e.stats.Evicted++
		e.decideGroup(append(e.round.group[:0], candidate{t: t}), now, out)
	}
	for e.over(e.settings.MemoryLimit-e.settings.MemoryLimit/madeFree) && e.evict(now, victims, false, out) {
	}
}

// evict decides about count of the least valuable traces, for their places only or for their memory, and tells whether there were any.
func (e *Engine) evict(now time.Time, count int, places bool, out *Outputs) (some bool) {
	before := len(e.traces)
	e.finishRound(out)
	var readers segmentReaders
	for count -= before - len(e.traces); count > 0; {
		group := e.nextVictims(min(max(count, 16), 4*victims), places, &readers)
		if len(group) == 0 {
			return some
		}
		some = true
		e.stats.Evicted += int64(len(group))
		count -= len(group)
		e.decideGroup(group, now, out)
	}
	return true
}

// plan is who goes next. Looking for them takes long where most traces are of value, so more are looked for than go at once.
type plan struct {
	steps []step
	at    int
	// rank is the most that those to go may be worth.
	rank int
	// idle counts the requests since it was of use.
	idle int
}

// stalePlan is after how many requests a plan is given up, which may be all that keeps traces in memory that were decided otherwise.
const stalePlan = 100

// step is a trace to decide, or, with move, one to move out of the way of those.
type step struct {
	t    *trace
	move bool
}

// nextVictims returns up to size traces to decide now. Valuable ones that lie between them are moved to the end of the line once, into
// fresh segments, so that the memory around them can go, unless just places are needed. Moving means unpacking, so where there are many of
// value, only some of them are moved.
func (e *Engine) nextVictims(size int, places bool, readers *segmentReaders) []candidate {
	group, moves := e.round.group[:0], max(16, size/4)
	e.plan.idle = 0
	for range 2 {
		for p := &e.plan; p.at < len(p.steps) && len(group) < size; p.at++ {
			s := p.steps[p.at]
			p.steps[p.at] = step{}
			switch {
			case s.t.decided:
			case s.move:
				if !places && moves > 0 {
					moves--
					e.move(s.t, readers)
				}
			case e.rank(s.t) <= p.rank || e.sure(s.t):
				group = append(group, candidate{t: s.t})
			}
		}
		if len(group) > 0 {
			break
		}
		e.look(max(size, len(e.traces)/16))
	}
	return group
}

// look chooses up to size traces to go: from the oldest on, those without value; when there are none, those of a new shape; and then any.
// Valuable traces that the policies are sure to keep lose nothing by an early decision, since what they still send follows it: when they
// crowd the others, they go first.
func (e *Engine) look(size int) {
	clear(e.plan.steps)
	crowd := max(size, len(e.traces)/4)
	for rank := 0; rank <= 2; rank++ {
		e.plan = plan{steps: e.plan.steps[:0], rank: rank}
		var sure []step
		found := 0
		for t := e.oldest; t != nil && found < size; t = t.next {
			if e.rank(t) <= rank {
				found++
				e.plan.steps = append(e.plan.steps, step{t: t})
				continue
			}
			if e.sure(t) {
				if sure = append(sure, step{t: t}); len(sure) >= crowd {
					e.plan.steps = append(e.plan.steps[:0], sure[:size]...)
					return
				}
			}
			if !t.has(factMoved) && len(e.plan.steps)-found < size {
				e.plan.steps = append(e.plan.steps, step{t, true})
			}
		}
		if found > 0 {
			return
		}
	}
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
