// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Commit counts a tally. now is the clock's reading.
func (e *Engine) Commit(t *Tally, now time.Time) {
	e.recordTally(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recordCommitLocked(t, now)
	before := e.edge
	e.commitTallyLocked(t, now.UnixNano())
	e.auditTallyLocked(t, before, now.UnixNano())
}

func (e *Engine) commitTallyLocked(t *Tally, now int64) {
	defer e.orderTransitionsLocked(len(e.transitions))
	before := e.edge
	for _, s := range t.sources {
		e.observeLocked(s)
	}
	for _, s := range t.seen {
		start := s.start
		e.coverage.mark(s.service, start)
		// A slice far behind the others comes from a wrong clock, and does not make the book any older.
		if before == noTime || start >= before-int64(e.settings.MaxLateness)-int64(e.fine) {
			e.first = min(e.first, start)
		}
	}
	e.rewindLocked(now)
	if e.edge != noTime {
		e.now = e.edge
	}
	e.arrived = now
	e.moved = true
	for _, d := range t.doubts {
		if !e.objectives[d.objective].retired {
			e.doubtLocked(d)
		}
	}
	for _, entry := range t.touched {
		o := e.objectives[entry.objective]
		if o.retired || o.composite() {
			continue // it was taken out while the batch was judged, or is named by the slo.events of a book that defines it otherwise
		}
		if g := e.groupLocked(o, entry.group); g != nil {
			e.commitLocked(o, g, entry, t.values)
		}
	}
	e.expireLocked()
}

func (e *Engine) observeLocked(s sourceMark) {
	e.edge = max(e.edge, s.latest)
	watermark, known := e.sources[s.source]
	if !known && len(e.sources) >= maxSources {
		e.evictSourcesLocked()
	}
	if !known || s.latest > watermark {
		e.sources[s.source] = s.latest
	}
}

// evictSourcesLocked forgets the tenth of the sources that have been silent longest, so that a flood of new ones stays cheap. Should
// one return, its lateness is judged afresh.
func (e *Engine) evictSourcesLocked() {
	ids := slices.Collect(maps.Keys(e.sources))
	slices.SortFunc(ids, func(a, b uint64) int { return cmp.Or(cmp.Compare(e.sources[a], e.sources[b]), cmp.Compare(a, b)) })
	for _, id := range ids[:max(1, len(ids)/10)] {
		delete(e.sources, id)
		e.stats.SourcesEvicted++
	}
}

func (e *Engine) groupLocked(o *objective, key string) *group {
	if g, ok := o.groups[key]; ok {
		return g
	}
	values, ok := parseGroupKey(key, len(o.GroupBy))
	if !ok {
		return nil
	}
	if len(o.GroupBy) > 0 && len(o.groups) >= o.MaxGroups && !e.evictGroupLocked(o) {
		if o.overflow == nil {
			for i := range values {
				values[i] = Overflow
			}
			o.overflow = e.newGroup(o, string(appendGroupKey(nil, values)), values)
		}
		return o.overflow
	}
	// Strings of a tally may pin a whole request.
	values, _ = parseGroupKey(strings.Clone(key), len(o.GroupBy))
	g := e.newGroup(o, string(appendGroupKey(nil, values)), values)
	o.groups[g.key] = g
	return g
}

// evictGroupLocked makes room by forgetting one group without an event in the objective's window. A full table is searched once
// a slice of event time, so that a flood of new groups stays cheap.
func (e *Engine) evictGroupLocked(o *objective) bool {
	slice := floorDiv(e.now, int64(e.fine))
	if slice == o.swept {
		return false
	}
	var empty *group
	for _, g := range o.groups {
		if g.latest >= e.now-int64(o.reach()) || len(g.pending) > 0 || len(g.inflight) > 0 || g.firing() {
			continue
		}
		if empty == nil || g.latest < empty.latest || g.latest == empty.latest && g.key < empty.key {
			empty = g
		}
	}
	if empty != nil {
		delete(o.groups, empty.key)
		o.deleted = append(o.deleted, empty.key)
		e.stats.GroupsEvicted++
		return true
	}
	o.swept = slice
	return false
}

func (e *Engine) commitLocked(o *objective, g *group, entry *Entry, values []contribution) {
	g.dirty = true
	counted := entry.slices
	if len(e.freezes) > 0 {
		counted = e.excludeLocked(o, g, entry.slices)
	}
	if len(counted) > 0 {
		for _, x := range entry.exemplars {
			if len(e.freezes) == 0 || !e.excludedLocked(o, g, floorDiv(x.at, int64(e.fine))*int64(e.fine)) {
				g.exemplars.add(x)
				g.exemplified = e.arrived
			}
		}
		generation := floorDiv(counted[len(counted)-1].start, e.generation())
		for _, p := range entry.parts {
			if p.good != 0 || p.bad != 0 {
				g.contributors.add(generation, tallied{contribution: values[p.id], good: p.good, bad: p.bad})
			}
		}
	}
	e.addDurationsLocked(g, entry.durations)
	for _, s := range entry.sampled {
		if len(e.freezes) == 0 || !e.excludedLocked(o, g, s.start) {
			o.addSampled(g, s)
		}
	}
	for _, s := range counted {
		if !o.addCounts(g, s.start, s.Counts) {
			e.stats.CommittedTooOld++
			continue
		}
		if e.emitting {
			e.pendLocked(g, s)
			if len(g.pending) >= manyPending {
				e.pressing = true
				e.wakeLocked()
			}
		}
		if s.start > g.edge && g.edge != noTime {
			e.expireGroupLocked(o, g, s.latest)
		}
		g.edge = max(g.edge, s.start)
		g.latest = max(g.latest, s.latest)
		e.judgeLocked(o, g)
		e.touchWholesLocked(o, g)
	}
}

func (e *Engine) pendLocked(g *group, s sliceCounts) {
	i, found := slices.BinarySearchFunc(g.pending, s.start, func(p sliceCounts, start int64) int {
		return int(p.start/int64(e.fine) - start/int64(e.fine))
	})
	if found {
		g.pending[i].count(s.latest, s.Counts)
		return
	}
	g.pending = slices.Insert(g.pending, i, s)
	if len(g.pending) > maxPending {
		g.pending = slices.Delete(g.pending, 0, 1)
		e.stats.SlicesDropped++
	}
}
