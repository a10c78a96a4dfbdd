// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"slices"
	"time"
)

// slicesPerWindow bounds how many slices a window is made of. With the widths below a window's edge is off by at most 1/120 of
// it, or one fine slice.
const slicesPerWindow = 600

// widths are the slice widths in use. Each divides the next, so that a coarse slice is a whole number of finer ones.
var widths = []time.Duration{
	time.Second, 5 * time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, 2 * time.Hour, 12 * time.Hour, Day,
}

// fineWidth derives the width of the finest slice from the shortest alerting window: a sixth of it at most, never above 10 s.
func fineWidth(shortest time.Duration) time.Duration {
	fine := widths[0]
	for _, w := range widths[:3] {
		if w <= shortest/6 {
			fine = w
		}
	}
	return fine
}

// layout says which rings of slices a series has. It is shared by all groups of an objective.
type layout struct {
	fine     time.Duration
	lateness time.Duration
	rings    []ringSpec
}

type ringSpec struct {
	width time.Duration
	slots int
}

// newLayout plans the rings that hold all windows and accept events up to lateness behind the newest.
func newLayout(fine time.Duration, windows []time.Duration, lateness time.Duration) layout {
	longest := map[time.Duration]time.Duration{fine: fine}
	for _, w := range windows {
		width := ringWidth(fine, w)
		longest[width] = max(longest[width], w)
	}
	l := layout{fine: fine, lateness: lateness}
	for width, window := range longest {
		slots := int((window+lateness+width-1)/width) + 2
		l.rings = append(l.rings, ringSpec{width: width, slots: slots})
	}
	slices.SortFunc(l.rings, func(a, b ringSpec) int { return int(a.width - b.width) })
	return l
}

// ringWidth is the slice width a window is kept at.
func ringWidth(fine, window time.Duration) time.Duration {
	for _, w := range widths {
		if w >= fine && window <= w*slicesPerWindow {
			return w
		}
	}
	return widths[len(widths)-1]
}

// Counts are the events of some stretch of time. GoodN and BadN count what was really seen, whatever its weight: what a
// significance test needs.
type Counts struct {
	Good, Bad   Weight
	GoodN, BadN uint32
}

// Total is the weight of all events.
func (c Counts) Total() Weight { return c.Good + c.Bad }

// BadRatio is bad ÷ total; false when there is no event.
func (c Counts) BadRatio() (float64, bool) {
	total := c.Total()
	if total == 0 {
		return 0, false
	}
	return float64(c.Bad) / float64(total), true
}

func (c *Counts) add(o Counts) {
	c.Good = c.Good.plus(o.Good)
	c.Bad = c.Bad.plus(o.Bad)
	c.GoodN = addSaturating(c.GoodN, o.GoodN)
	c.BadN = addSaturating(c.BadN, o.BadN)
}

func addSaturating(a, b uint32) uint32 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint32(0)
}

const blockSlices = 32

// blockOf is the number of the block that holds a slice.
func blockOf(slice int64) int64 { return floorDiv(slice, blockSlices) }

// block holds neighbouring slices. Blocks are made on first use: a quiet group costs little.
type block [blockSlices]Counts

// series is the history of one group: the same events in rings of ever coarser slices. Slices are aligned to the epoch, so what
// a series holds depends on the events alone and not on their order.
type series struct {
	rings []ring
}

type ring struct {
	width   int64   // ns
	numbers []int64 // of each block: the index of its first slice ÷ blockSlices
	blocks  []*block
}

func newRing(width int64, blocks int) ring {
	return ring{width: width, numbers: make([]int64, blocks), blocks: make([]*block, blocks)}
}

// find returns the block with a number; nil when the ring does not hold it.
func (r *ring) find(number int64) *block {
	at := floorMod(number, int64(len(r.blocks)))
	if r.numbers[at] != number {
		return nil
	}
	return r.blocks[at]
}

func newSeries(l layout) series {
	s := series{rings: make([]ring, len(l.rings))}
	for i, spec := range l.rings {
		s.rings[i] = newRing(int64(spec.width), (spec.slots+blockSlices-1)/blockSlices+1)
	}
	return s
}

// add counts c at time t in every ring that still reaches back to t. It reports false when none does.
func (s *series) add(t int64, c Counts) bool {
	kept := false
	for i := range s.rings {
		if s.rings[i].add(floorDiv(t, s.rings[i].width), c) {
			kept = true
		}
	}
	return kept
}

// window sums the last `window` ending with the slice that holds t.
func (s *series) window(t int64, window time.Duration) Counts {
	r := s.ringFor(window)
	last := floorDiv(t, r.width)
	n := max(1, int64(window)/r.width)
	return r.sum(last-n+1, last)
}

func (s *series) ringFor(window time.Duration) *ring {
	width := int64(ringWidth(time.Duration(s.rings[0].width), window))
	for i := range s.rings {
		if s.rings[i].width >= width {
			return &s.rings[i]
		}
	}
	return &s.rings[len(s.rings)-1]
}

func (r *ring) add(slice int64, c Counts) bool {
	cell := r.cell(slice)
	if cell == nil {
		return false
	}
	cell.add(c)
	return true
}

// cell finds or makes the cell of a slice; nil when the ring has moved on.
func (r *ring) cell(slice int64) *Counts {
	number := blockOf(slice)
	b := r.block(number)
	if b == nil {
		return nil
	}
	return &b[slice-number*blockSlices]
}

// block finds or makes the block with a number; nil when the ring has moved on.
func (r *ring) block(number int64) *block {
	at := floorMod(number, int64(len(r.blocks)))
	switch {
	case r.blocks[at] == nil:
		r.blocks[at] = new(block)
	case r.numbers[at] > number:
		return nil
	case r.numbers[at] < number:
		*r.blocks[at] = block{}
	}
	r.numbers[at] = number
	return r.blocks[at]
}

// sum adds the slices first to last, both included.
func (r *ring) sum(first, last int64) Counts {
	var total Counts
	for slice := first; slice <= last; {
		number := blockOf(slice)
		end := min(last, (number+1)*blockSlices-1)
		if b := r.find(number); b != nil {
			held := b[slice-number*blockSlices : end-number*blockSlices+1]
			for i := range held {
				c := &held[i]
				total.Good += c.Good
				total.Bad += c.Bad
				total.GoodN = addSaturating(total.GoodN, c.GoodN)
				total.BadN = addSaturating(total.BadN, c.BadN)
			}
		}
		slice = end + 1
	}
	return total
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }
