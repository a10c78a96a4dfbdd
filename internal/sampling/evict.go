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

// shed brings memory below its limit after a trace has grown. A trace that holds a quarter of the memory alone is decided at once: what
// it still sends follows that decision.
func (e *Engine) shed(now time.Time, t *trace, out *Outputs) {
	e.finishRound(out)
	if !t.decided && int64(t.wireBytes) > e.settings.MemoryLimit/4 && e.traces[t.id] == t {
		e.stats.Evicted++
		e.decideGroup(append(e.round.group[:0], candidate{t: t}), now, out)
	}
	e.evict(now, 0, e.settings.MemoryLimit-e.settings.MemoryLimit/8, out)
}

// evict decides the oldest traces until count of them are gone and memory is at most bytes (0: whatever it is). Valuable ones are moved
// to the end of the line once, into fresh segments, so that the memory around them can go.
func (e *Engine) evict(now time.Time, count int, bytes int64, out *Outputs) {
	before := len(e.traces)
	e.finishRound(out)
	count -= before - len(e.traces)
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
		group, sure := e.round.group[:0], []candidate(nil)
		left := len(e.traces)
		for t := e.oldest; t != nil && len(group) < size && left > 0; left-- {
			next := t.next
			switch {
			case e.rank(t) <= rank:
				group = append(group, candidate{t: t})
			case e.sure(t):
				if sure = append(sure, candidate{t: t}); len(sure) >= crowd {
					return append(e.round.group[:0], sure[:size]...)
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
