// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// A clock that was ahead for a while, by a day or by a year, leaves a book whose latest event is yet to come: its windows end there, and what
// happens meanwhile is in none of them. So once the clock has been put back, the book goes back with it and drops what it counted of
// that time. A clock that is behind for a moment must not cost a book of 30 days: it has to stay back for a tenth of the observed time
// that would be dropped, at least ten minutes and at most a day.

const (
	// astray is how far beyond what is accepted now the book's latest event must be.
	astray               = int64(5 * time.Minute)
	minStayed, maxStayed = int64(10 * time.Minute), int64(Day)
)

// rewindLocked brings the book back to the clock where that has been put back.
func (e *Engine) rewindLocked(now int64) {
	newest := now + int64(e.settings.MaxFuture)
	switch {
	case e.settings.MaxFuture == 0 || e.edge == noTime || e.edge <= newest+astray:
		e.astraySince = 0
		return
	case e.astraySince == 0 || now < e.astraySince:
		e.astraySince = now
	}
	beyond := e.coverage.all.within(newest, math.MaxInt64)
	if now-e.astraySince < min(max(beyond/10, minStayed), maxStayed) {
		return
	}
	e.astraySince = 0
	ahead := e.edge - now
	e.edge, e.first = now, min(e.first, now)
	for id, watermark := range e.sources {
		e.sources[id] = min(watermark, now)
	}
	e.coverage.drop(now)
	for _, o := range e.objectives {
		o.doubts, o.swept = nil, noTime
		for _, g := range o.sorted() {
			if o.calendar != nil && o.slicing == nil && g.latest > now {
				o.takeOut(g, now, beyond)
			}
			g.drop(now, e.generation())
		}
	}
	e.firing = slices.DeleteFunc(e.firing, func(f firing) bool { return !f.group.firing() })
	e.audit.raise(subject{check: CheckSkew, service: ""}, "", now, now, func() string {
		return fmt.Sprintf("this collector's clock was put back by %s; what was counted meanwhile is dropped", round(ahead))
	})
}

// takeOut subtracts from the sum of the period that holds `after` what came later in it, as far as the rings know: in all it is `length` long.
func (o *objective) takeOut(g *group, after, length int64) {
	start, end := o.calendar.period(after)
	at := slices.IndexFunc(g.periods, func(p period) bool { return p.start == start })
	r := slices.IndexFunc(g.series.rings, func(r ring) bool { return int64(len(r.blocks)-1)*blockSlices*r.width >= length })
	if at < 0 || r < 0 {
		return
	}
	ring := &g.series.rings[r]
	last := floorDiv(min(g.latest, end-1), ring.width)
	first := max(floorDiv(after, ring.width)+1, last-int64(len(ring.blocks))*blockSlices)
	p, c := &g.periods[at].Counts, ring.sum(first, last)
	p.Good -= min(p.Good, c.Good)
	p.Bad -= min(p.Bad, c.Bad)
	p.GoodN -= min(p.GoodN, c.GoodN)
	p.BadN -= min(p.BadN, c.BadN)
}

// drop forgets what happened after a time.
func (g *group) drop(after, generation int64) {
	if g.latest <= after {
		return
	}
	g.dirty = true
	g.edge, g.latest = min(g.edge, after), after
	for i := range g.series.rings {
		g.series.rings[i].drop(after)
	}
	if g.sampled != nil {
		for i := range g.sampled.rings {
			g.sampled.rings[i].drop(after)
		}
	}
	if g.slices != nil {
		g.slices.drop(after)
	}
	g.standing, g.durations = standing{}, nil
	g.periods = slices.DeleteFunc(g.periods, func(p period) bool { return p.start > after })
	g.pending = slices.DeleteFunc(g.pending, func(s sliceCounts) bool { return s.start > after })
	g.exemplars = slices.DeleteFunc(g.exemplars, func(x exemplar) bool { return x.at > after })
	for i := range g.contributors.tables {
		if g.contributors.generation[i] > floorDiv(after, generation) {
			g.contributors.generation[i], g.contributors.tables[i] = 0, nil
		}
	}
	for i, a := range g.alerts {
		if max(a.startedAt, a.clearSince, a.seen, a.hotSince) > after {
			// What it was in before is not known any more: it is judged afresh.
			g.alerts[i] = alertState{}
		}
	}
}

func (r *ring) drop(after int64) {
	last := floorDiv(after, r.width)
	for i, b := range r.blocks {
		first := r.numbers[i] * blockSlices
		switch {
		case b == nil || first+blockSlices <= last:
		case first > last:
			r.blocks[i], r.numbers[i] = nil, 0
		default:
			clear(b[last-first+1:])
		}
	}
}

func (s *timeslices) drop(after int64) {
	last := floorDiv(after, s.width)
	s.cells, s.last = slices.DeleteFunc(s.cells, func(c openSlice) bool { return c.slice > last }), 0
	for i, b := range s.blocks {
		first := s.numbers[i] * verdictSlices
		switch {
		case b == nil || first+verdictSlices <= last:
		case first > last:
			s.blocks[i], s.numbers[i] = nil, 0
		default:
			for at := int(last - first + 1); at < verdictSlices; at++ {
				b.set(at, 0, false)
			}
		}
	}
}

// drop forgets what was observed after a time.
func (c *coverage) drop(after int64) {
	c.all = c.all.upTo(after)
	for name, of := range c.services {
		if *of = of.upTo(after); len(*of) == 0 {
			delete(c.services, name)
		}
	}
}

func (s intervals) upTo(t int64) (out intervals) {
	for _, i := range s {
		if i.from < t {
			out = append(out, interval{i.from, min(i.to, t)})
		}
	}
	return out
}
