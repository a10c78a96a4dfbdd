// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"cmp"
	"math"
	"slices"
)

func (e *Engine) encodeGroup(o *objective, g *group) []byte {
	var w encoder
	w.int(g.edge)
	w.int(g.latest)
	w.uint(uint64(len(g.alerts)))
	for i, a := range g.alerts {
		w.text(o.profile.Rules[i].Name)
		w.flag(a.firing)
		w.int(a.startedAt)
		w.int(a.clearSince)
		w.int(a.seen)
		w.int(a.hotSince)
	}
	g.series.encode(&w, g.latest)
	if g.slices != nil {
		g.slices.encode(&w, g.latest)
	}
	w.uint(uint64(len(g.periods)))
	for _, p := range g.periods {
		w.int(p.start)
		w.counts(p.Counts)
	}
	for _, waiting := range [][]sliceCounts{g.pending, g.inflight} {
		w.uint(uint64(len(waiting)))
		for _, s := range waiting {
			w.slice(s)
		}
	}
	w.uint(uint64(len(g.exemplars)))
	slices.SortFunc(g.exemplars, newest)
	for _, x := range g.exemplars {
		w.int(x.at)
		w.bytes(x.id[:])
	}
	for at := range g.contributors.tables {
		w.int(g.contributors.generation[at])
		w.uint(uint64(len(g.contributors.tables[at])))
		for _, t := range slices.SortedFunc(slices.Values(g.contributors.tables[at]), byValue) {
			w.text(e.settings.Contributors[t.attribute])
			w.text(t.value)
			w.uint(uint64(t.good))
			w.uint(uint64(t.bad))
		}
	}
	if w.flag(g.sampled != nil); g.sampled != nil {
		g.sampled.encode(&w, g.latest)
	}
	return w
}

func (e *Engine) decodeGroup(o *objective, g *group, body []byte) bool {
	d := decoder{rest: body}
	g.edge, g.latest = d.int(), d.int()
	for range d.length() {
		name := d.text()
		a := alertState{firing: d.flag(), startedAt: d.int(), clearSince: d.int(), seen: d.int(), hotSince: d.int()}
		// The rules may have changed since: an alert of a rule that is gone ends with it.
		if i := slices.IndexFunc(o.profile.Rules, func(r Rule) bool { return r.Name == name }); i >= 0 {
			g.alerts[i] = a
		}
	}
	g.series.decode(&d)
	if g.slices != nil {
		g.slices.decode(&d)
	}
	for range d.length() {
		p := period{start: d.int()}
		p.Good, p.GoodN = d.weightedAnd(math.MaxInt64)
		p.Bad, p.BadN = d.weightedAnd(math.MaxInt64)
		g.periods.add(p.start, p.Counts)
	}
	for range d.length() {
		g.pending = append(g.pending, d.slice())
	}
	for range d.length() {
		g.inflight = append(g.inflight, d.slice())
	}
	for range d.length() {
		x := exemplar{at: d.int()}
		copy(x.id[:], d.bytes(uint64(len(x.id))))
		g.exemplars = append(g.exemplars, x)
	}
	for at := range g.contributors.tables {
		g.contributors.generation[at] = d.int()
		for range d.length() {
			name := d.text()
			t := tallied{contribution: contribution{value: d.text()}, good: Weight(d.uint()), bad: Weight(d.uint())}
			if i := slices.Index(e.settings.Contributors, name); i >= 0 {
				t.attribute = uint8(i)
				g.contributors.tables[at] = append(g.contributors.tables[at], t)
			}
		}
	}
	if d.flag() {
		g.sampled = o.newSampled()
		g.sampled.decode(&d)
	}
	return !d.failed && len(d.rest) == 0
}

func byValue(a, b tallied) int {
	return cmp.Or(cmp.Compare(a.attribute, b.attribute), cmp.Compare(a.value, b.value))
}

// encode writes the slices that hold something and are recent enough to be in a window that ends at `until`. What a ring still holds
// beyond that depends on the order of arrival; what is written does not.
func (s *series) encode(w *encoder, until int64) {
	w.uint(uint64(len(s.rings)))
	for i := range s.rings {
		r := &s.rings[i]
		w.int(r.width)
		newest := floorDiv(until, r.width)
		oldest := newest - int64(len(r.blocks)-1)*blockSlices + 1
		count := 0
		r.each(oldest, newest, func(int64, Counts) { count++ })
		w.uint(uint64(count))
		previous := int64(0)
		r.each(oldest, newest, func(slice int64, c Counts) {
			w.int(slice - previous)
			previous = slice
			w.counts(c)
		})
	}
}

// each visits the slices first to last that hold something, in order.
func (r *ring) each(first, last int64, visit func(slice int64, c Counts)) {
	for number := floorDiv(first, blockSlices); number <= floorDiv(last, blockSlices); number++ {
		b := r.find(number)
		if b == nil {
			continue
		}
		for i, c := range b {
			if slice := number*blockSlices + int64(i); slice >= first && slice <= last && c != (Counts{}) {
				visit(slice, c)
			}
		}
	}
}

// decode reads rings back. A ring that the layout no longer has is left out: its windows fill again.
func (s *series) decode(d *decoder) {
	for range d.length() {
		width := d.int()
		at := slices.IndexFunc(s.rings, func(r ring) bool { return r.width == width })
		slice, number := int64(0), int64(0)
		var b *block
		for range d.length() {
			slice += d.int()
			c := d.counts()
			if at < 0 || d.failed {
				continue
			}
			if n := blockOf(slice); b == nil || n != number {
				b, number = s.rings[at].block(n), n
			}
			if b != nil {
				b[slice-number*blockSlices].add(c)
			}
		}
	}
}
