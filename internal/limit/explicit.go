// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math"
	"slices"
)

// Explicit is the content of a histogram with explicit bounds. A summary's count and sum are an Explicit without bounds.
type Explicit struct {
	// Bounds are the upper bounds of the buckets, strictly increasing; the last bucket has none.
	Bounds []float64
	// Counts has one entry more than Bounds.
	Counts []uint64
	Count  uint64
	Sum    float64
	HasSum bool
	// Min and Max are merged for deltas only: over a cumulative stream's life they cannot be taken apart again.
	Min, Max       float64
	HasMin, HasMax bool

	sumLow float64 // the part of Sum that does not fit into a float64
}

// Normalize makes a histogram that carries only a count and a sum look like one with a single bucket, and tells whether the
// content is one that the data model allows: increasing bounds, as many counts as fit, adding up to Count.
func (e *Explicit) Normalize() bool {
	if len(e.Counts) == 0 && len(e.Bounds) == 0 {
		e.Counts = append(e.Counts, e.Count)
	}
	if len(e.Counts) != len(e.Bounds)+1 || (e.HasSum && !isFinite(e.Sum)) {
		return false
	}
	for i, b := range e.Bounds {
		if math.IsNaN(b) || (i > 0 && b <= e.Bounds[i-1]) {
			return false
		}
	}
	total, ok := addCounts(e.Counts)
	return ok && total == e.Count
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func addCounts(counts []uint64) (uint64, bool) {
	var total uint64
	for _, c := range counts {
		if total+c < total {
			return 0, false
		}
		total += c
	}
	return total, true
}

// copyFrom makes e equal to o, reusing e's memory.
func (e *Explicit) copyFrom(o *Explicit) {
	bounds, counts := e.Bounds, e.Counts
	*e = *o
	if !slices.Equal(bounds, o.Bounds) {
		bounds = append(bounds[:0], o.Bounds...)
	}
	e.Bounds = bounds
	e.Counts = append(counts[:0], o.Counts...)
}

// coarsen merges buckets until only the given bounds remain, each of which must be one of e's.
func (e *Explicit) coarsen(bounds []float64) {
	if len(bounds) == len(e.Bounds) {
		return
	}
	at := 0
	var sum uint64
	for i, c := range e.Counts {
		sum += c
		if i == len(e.Bounds) || (at < len(bounds) && e.Bounds[i] == bounds[at]) {
			e.Counts[at] = sum
			sum = 0
			at++
		}
	}
	e.Counts = e.Counts[:len(bounds)+1]
	e.Bounds = append(e.Bounds[:0], bounds...)
}

// commonBounds appends to into the bounds that a and b share.
func commonBounds(into, a, b []float64) []float64 {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			into = append(into, a[0])
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return into
}

// alignExplicit coarsens both to their common bounds.
func alignExplicit(a, b *Explicit) {
	if slices.Equal(a.Bounds, b.Bounds) {
		return
	}
	common := commonBounds(nil, a.Bounds, b.Bounds)
	a.coarsen(common)
	b.coarsen(common)
}

// add merges o into e and may coarsen o on the way.
func (e *Explicit) add(o *Explicit) {
	alignExplicit(e, o)
	for i, c := range o.Counts {
		e.Counts[i] += c
	}
	e.Count += o.Count
	e.HasSum = e.HasSum && o.HasSum
	e.addSum(o.Sum)
	e.addSum(o.sumLow)
	e.HasMin = e.HasMin && o.HasMin
	e.HasMax = e.HasMax && o.HasMax
	e.Min = min(e.Min, o.Min)
	e.Max = max(e.Max, o.Max)
}

func (e *Explicit) addSum(v float64) { e.Sum, e.sumLow = twoSum(e.Sum, e.sumLow, v) }

// Total is the sum of the observations, rounded once.
func (e *Explicit) Total() float64 { return e.Sum + e.sumLow }

// fell tells whether any count of e lies below its predecessor's: the stream was reset in between. It may coarsen both.
func (e *Explicit) fell(before *Explicit) bool {
	if e.Count < before.Count {
		return true
	}
	alignExplicit(e, before)
	for i, c := range e.Counts {
		if c < before.Counts[i] {
			return true
		}
	}
	return false
}

// subtract takes before from e; fell must have said no.
func (e *Explicit) subtract(before *Explicit) {
	for i, c := range before.Counts {
		e.Counts[i] -= c
	}
	e.Count -= before.Count
	e.HasSum = e.HasSum && before.HasSum
	e.addSum(-before.Sum)
	e.addSum(-before.sumLow)
}

// needs is the memory for a copy.
func (e *Explicit) needs() int64 { return 136 + 8*int64(len(e.Bounds)+len(e.Counts)) }

// shrink keeps the count and the sum, in a single bucket.
func (e *Explicit) shrink() { e.coarsen(nil) }

func (e *Explicit) bytes() int64 {
	if e == nil {
		return 0
	}
	return 136 + 8*int64(cap(e.Bounds)+cap(e.Counts))
}
