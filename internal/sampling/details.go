// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// details are what only some configurations need to know of a waiting trace.
type details struct {
	// links are traces that its spans link to.
	links []TraceID
	// spans and missing are hashes of the IDs of its spans, and of those of parents that are not among them.
	spans, missing []uint32
	// structure is a hash of its operations and of how often each occurs; settled is what structure was when nothing was missing, or 0.
	structure, settled uint64
	// before is when the trace was due before it was found complete, or 0.
	before int64
	// open is set once the trace is too large to follow.
	open bool
}

const (
	// maxLinks bounds the links of a trace that are followed.
	maxLinks = 16
	// maxFollowed bounds the spans of a trace whose parents are looked for.
	maxFollowed = 1024
	// detailsOverhead is what the runtime keeps for details.
	detailsOverhead = 112
)

func (d *details) bytes() int64 {
	if d == nil {
		return 0
	}
	return detailsOverhead + 16*int64(cap(d.links)) + 4*int64(cap(d.spans)+cap(d.missing))
}

// spanMore is what a batch notes of a span only where details are wanted.
type spanMore struct {
	id, parent, operation uint32
	firstLink, endLink    uint32
}

// noteMore notes it, for the span that comes next.
func (b *Batch) noteMore(s *spanFields, rs *resourceScope) {
	m := spanMore{id: spanHash(s.spanID), firstLink: uint32(len(b.links))}
	if s.hasParent {
		m.parent = spanHash(s.parentID)
	}
	m.operation = operationOf(xxhash.Sum64(s.name), rs.service, s)
	for _, link := range b.linkFields {
		for pos := 0; pos < len(link); {
			f, next := nextField(link, pos)
			if next < 0 {
				break
			}
			if pos = next; f.num == otlpwire.LinkTraceID && f.typ == otlpwire.Bytes && len(f.data) == len(TraceID{}) {
				b.links = append(b.links, TraceID(f.data))
			}
		}
	}
	m.endLink = uint32(len(b.links))
	b.more = append(b.more, m)
}

// spanHash is never 0, which stands for no span.
func spanHash(id []byte) uint32 { return max(uint32(xxhash.Sum64(id)), 1) }

// followDetails notes the links and parents of the spans that came in.
func (e *Engine) followDetails(t *trace, b *Batch, frag *fragment, now time.Time) {
	if !e.program.needsMore() {
		return
	}
	before := t.more.bytes()
	if t.more == nil {
		t.more = &details{}
	}
	for g := frag.firstGroup; g >= 0 && e.program.needsLinks; g = b.groups[g].next {
		for i := b.groups[g].first; i >= 0; i = b.spans[i].next {
			m := &b.more[i]
			for _, link := range b.links[m.firstLink:m.endLink] {
				if len(t.more.links) < maxLinks && link != t.id && !slices.Contains(t.more.links, link) {
					t.more.links = append(t.more.links, link)
				}
			}
		}
	}
	if e.program.followsStructure {
		e.followStructure(t, b, frag, now)
	}
	e.store.bytes += t.more.bytes() - before
}

// followStructure keeps track of which parents are missing. A trace in which none is, and that has a structure with which others did not
// grow any more, need not wait.
func (e *Engine) followStructure(t *trace, b *Batch, frag *fragment, now time.Time) {
	d := t.more
	if d.settled != 0 {
		e.structures.grew(d.settled)
		d.settled = 0
	}
	if d.before != 0 {
		e.reschedule(t, d.before)
		d.before = 0
	}
	if d.open || len(d.spans)+int(frag.facts.spans) > maxFollowed {
		d.open, d.spans, d.missing = true, nil, nil
		return
	}
	for g := frag.firstGroup; g >= 0; g = b.groups[g].next {
		for i := b.groups[g].first; i >= 0; i = b.spans[i].next {
			d.take(&b.more[i])
		}
	}
	if !t.has(factRoot) || len(d.missing) > 0 {
		return
	}
	d.settled = max(mix(d.structure), 1)
	if !e.structures.complete(d.settled) || probes(t.id) {
		return
	}
	if tick := e.tickOf(now, e.settings.WaitAfterComplete); tick < t.due {
		d.before = t.due
		e.reschedule(t, tick)
	}
}

func (d *details) take(m *spanMore) {
	d.spans = append(d.spans, m.id)
	d.structure += mix(uint64(m.operation))
	if at := slices.Index(d.missing, m.id); at >= 0 {
		d.missing[at] = d.missing[len(d.missing)-1]
		d.missing = d.missing[:len(d.missing)-1]
	}
	if m.parent != 0 && !slices.Contains(d.spans, m.parent) && !slices.Contains(d.missing, m.parent) {
		d.missing = append(d.missing, m.parent)
	}
}

// structures remembers, for each structure in which no parent was missing, how many traces stayed as they were, and how many grew
// still. That a parent is there does not say that all of its children are, but what others of the same structure did does.
type structures struct {
	seen map[uint64]*stayedOrGrew
}

type stayedOrGrew struct{ stayed, grew float32 }

const (
	// maxStructures bounds the structures remembered; when there are more, all are learned anew.
	maxStructures = 20_000
	// structureBytes is about what one takes.
	structureBytes = 64
	// A structure is complete once so many traces stayed as they were for each that grew; the counts fade after structureMemory.
	structureProof  = 50
	structureMemory = 1000
	// One trace in probeEvery waits as if nothing were known, to find out when that changes.
	probeEvery = 16
)

func (s *structures) of(key uint64) *stayedOrGrew {
	if s.seen == nil || len(s.seen) >= maxStructures {
		s.seen = make(map[uint64]*stayedOrGrew)
	}
	c := s.seen[key]
	if c == nil {
		c = &stayedOrGrew{}
		s.seen[key] = c
	}
	return c
}

func (s *structures) grew(key uint64) {
	c := s.of(key)
	c.grew++
	c.fade()
}

func (s *structures) stayed(key uint64) {
	c := s.of(key)
	c.stayed++
	c.fade()
}

func (c *stayedOrGrew) fade() {
	if c.stayed+c.grew >= structureMemory {
		c.stayed /= 2
		c.grew /= 2
	}
}

// complete tells whether traces of a structure are unlikely to grow.
func (s *structures) complete(key uint64) bool {
	c := s.seen[key]
	return c != nil && c.stayed >= structureProof*max(c.grew, 1)
}

func (s *structures) bytes() int64 { return int64(len(s.seen)) * structureBytes }

// probes picks the traces that wait in full. They are not those of a range of randomness, or decisions would depend on it.
func probes(id TraceID) bool { return idHash(id)>>32%probeEvery == 0 }

// learnStructure notes a trace that waited in full without growing out of its structure.
func (e *Engine) learnStructure(t *trace, now time.Time) {
	switch {
	case t.more == nil || t.more.settled == 0:
	case t.more.before != 0:
		e.stats.EarlyComplete++
	case now.Sub(e.origin)-t.arrival >= e.settings.DecisionWait:
		e.structures.stayed(t.more.settled)
	}
}

// pin is why a trace is to be kept, and until when it is awaited.
type pin struct {
	linked  bool
	expires time.Duration
}

const (
	// maxPins bounds the traces that are awaited; pinBytes is about what one takes.
	maxPins  = 16_384
	pinBytes = 64
)

// Pin has traces kept that are cited elsewhere, whatever policies (but for drop) and the budget say: those that wait, and those still to
// come within the decision wait. Those that are decided already stay as they are.
func (e *Engine) Pin(ids []TraceID, now time.Time) {
	for _, id := range ids {
		e.pin(id, false, now)
	}
}

func (e *Engine) pin(id TraceID, linked bool, now time.Time) {
	if t := e.traces[id]; t != nil {
		if linked {
			e.markLinked(t)
		} else {
			t.flags |= factPinned
		}
		return
	}
	if _, decided := e.decided.lookup(id); decided {
		return
	}
	if len(e.pins) >= maxPins {
		e.expirePins(now)
	}
	if p, known := e.pins[id]; known || len(e.pins) < maxPins {
		e.pins[id] = pin{linked: linked && (!known || p.linked), expires: now.Sub(e.origin) + e.settings.DecisionWait}
	}
}

func (e *Engine) expirePins(now time.Time) {
	if now.Sub(e.pinsSwept) < e.settings.Tick {
		return
	}
	e.pinsSwept = now
	for id, p := range e.pins {
		if p.expires < now.Sub(e.origin) {
			delete(e.pins, id)
		}
	}
}

// meetPin marks a new trace that was awaited.
func (e *Engine) meetPin(t *trace, now time.Time) {
	if len(e.pins) == 0 {
		return
	}
	p, ok := e.pins[t.id]
	if !ok {
		return
	}
	delete(e.pins, t.id)
	switch {
	case p.expires < now.Sub(e.origin):
	case p.linked:
		e.markLinked(t)
	default:
		t.flags |= factPinned
	}
}

func (e *Engine) markLinked(t *trace) {
	for _, slot := range e.program.linked {
		t.bits.set(slot)
	}
	t.flags |= factLinked
}

// learnLinks marks a trace that links to a kept one.
func (e *Engine) learnLinks(t *trace) {
	if t.more == nil {
		return
	}
	for _, id := range t.more.links {
		if d, ok := e.decided.lookup(id); ok && d.kept {
			e.markLinked(t)
			return
		}
	}
}

// pinLinks has the traces kept that a kept one links to.
func (e *Engine) pinLinks(t *trace, now time.Time) {
	if t.more == nil {
		return
	}
	for _, id := range t.more.links {
		e.pin(id, true, now)
	}
}

// linkGroup finds, among traces that are decided together, those linked to kept ones, until there are no more of them. again decides on
// a trace anew and tells whether it is kept now.
func (e *Engine) linkGroup(group []candidate, kept map[TraceID]bool, again func(i int) bool) {
	if !e.program.needsLinks {
		return
	}
	for more := true; more; {
		more = false
		wanted := make(map[TraceID]struct{})
		for i := range group {
			if t := group[i].t; kept[t.id] && t.more != nil {
				for _, id := range t.more.links {
					wanted[id] = struct{}{}
				}
			}
		}
		for i := range group {
			t := group[i].t
			if t.has(factLinked) {
				continue
			}
			_, linked := wanted[t.id]
			if !linked && t.more != nil {
				linked = slices.ContainsFunc(t.more.links, func(id TraceID) bool { return kept[id] })
			}
			if !linked {
				continue
			}
			// That a trace is linked counts for those kept anyway as well: they state no threshold then.
			e.markLinked(t)
			if !kept[t.id] && again(i) {
				kept[t.id], more = true, true
			}
		}
	}
}

// chanceOf is that of the program, but for traces kept for a link: how likely that was depends on the randomness of others.
func (e *Engine) chanceOf(t *trace, d *draw) chance {
	if !t.has(factLinked) {
		return e.program.chanceOf(t, d, e.settings.FirstMatch)
	}
	for _, slot := range e.program.linked {
		t.bits.unset(slot)
	}
	defer e.markLinked(t)
	if e.program.decide(t, d, e.settings.FirstMatch, nil).decision != Sampled {
		return chance{}
	}
	if c := e.program.chanceOf(t, d, e.settings.FirstMatch); c.known && c.threshold == 0 {
		return c
	}
	return chance{}
}
