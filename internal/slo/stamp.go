// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"hash/fnv"
	"time"
)

// Stamp names a part of a slice's events, among all parts of that slice. Two parts have the same one by chance once in a million times.
type Stamp uint32

// stamps is how many there are. As many nanoseconds are less than a millisecond, of which slices are multiples.
const stamps = 999_999

// Duration is how much before the end of its slice a point ends that carries the part.
func (s Stamp) Duration() time.Duration { return time.Duration(s) }

// StampOf reads the stamp of a point by its end; false where it has none.
func StampOf(end int64) (Stamp, bool) {
	left := floorMod(-end, int64(time.Millisecond))
	return Stamp(left), left != 0
}

// stampsLocked are those of events that are about to be handed out.
func (e *Engine) stampsLocked(g *group, p sliceCounts) (good, bad Stamp) {
	if len(g.series.rings) == 0 {
		return 0, 0 // time slices: not kept by slice of event time
	}
	r := &g.series.rings[0]
	slice := floorDiv(p.start, r.width)
	b := r.find(blockOf(slice))
	if b == nil || r.width != int64(e.fine) {
		return 0, 0
	}
	c := b[slice-blockOf(slice)*blockSlices]
	if c.Good < p.Good || c.Bad < p.Bad {
		return 0, 0 // more than a cell holds
	}
	return e.stamp(c.Good - p.Good), e.stamp(c.Bad - p.Bad)
}

// stamp takes the age of the book in, since one that lost its state begins to count anew.
func (e *Engine) stamp(delivered Weight) Stamp {
	h := fnv.New64a()
	var w encoder
	w.int(e.first)
	w.uint(uint64(delivered))
	_, _ = h.Write(w) // a hash never fails
	return Stamp(1 + h.Sum64()%stamps)
}
