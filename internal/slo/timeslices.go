// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// Bounds of time slices.
const (
	minTimeSlice  = time.Minute
	maxTimeSlice  = Day
	minTimeSlices = 2
	// verdictSlices is how many verdicts a block holds.
	verdictSlices = 256
	verdictWords  = verdictSlices / 64
	// minOpenSlices is how many time slices are kept open at least.
	minOpenSlices = 64
	// wholeLoss is a loss of 1: a slice in which every event was bad.
	wholeLoss = 1 << 31
)

// slicing says how the time slices of an objective are judged. It is shared by its groups.
type slicing struct {
	width  int64 // ns
	target float64
	ratio  bool // RatioTimeslices: a slice has a loss, and not a verdict
	slots  int
	open   int
}

// newSlicing plans slices that reach back over a window.
func newSlicing(o Objective, longest, lateness time.Duration) *slicing {
	width := time.Duration(o.TimeSliceWindow)
	late := int((lateness + width - 1) / width)
	return &slicing{
		width: int64(width), target: o.TimeSliceTarget, ratio: o.Method == MethodRatioTimeslices,
		slots: int(longest/width) + late + 2, open: max(minOpenSlices, 2*late+4),
	}
}

// timeslices are the verdicts of one group's time slices, two bits each, or their losses, four bytes each. Exact counts are kept only of
// slices that are open: the `open` ones last touched. So the order of events within the lateness cannot matter, a gap can be filled in
// later, and the size is fixed whatever the traffic.
type timeslices struct {
	*slicing
	cells   []openSlice // in no order
	last    int         // the cell used last
	touches uint64
	numbers []int64 // of each block: the index of its first slice ÷ verdictSlices
	blocks  []*verdicts
}

type openSlice struct {
	slice     int64
	touched   uint64
	good, bad Weight
}

// verdicts are those of neighbouring slices. A slice without an event is not known. For RatioTimeslices a slice is bad when it lost
// anything, and loss says how much, in units of 1/wholeLoss.
type verdicts struct {
	known, bad [verdictWords]uint64
	loss       *[verdictSlices]uint32
	lost       uint64 // sum of loss
}

func newTimeslices(s *slicing) *timeslices {
	n := s.slots/verdictSlices + 2
	return &timeslices{slicing: s, numbers: make([]int64, n), blocks: make([]*verdicts, n)}
}

// add counts events in the slice that holds t. It reports false when that slice is closed: it has a verdict and its counts are gone.
func (s *timeslices) add(t int64, c Counts) bool {
	slice := floorDiv(t, s.width)
	b := s.block(floorDiv(slice, verdictSlices))
	if b == nil {
		return false
	}
	at := int(floorMod(slice, verdictSlices))
	cell := s.cell(slice, b.known[at/64]>>(at%64)&1 == 1)
	if cell == nil {
		return false
	}
	cell.good, cell.bad = cell.good.plus(c.Good), cell.bad.plus(c.Bad)
	b.set(at, s.loss(cell.good, cell.bad), cell.good+cell.bad > 0)
	return true
}

// loss is what a slice costs: all or nothing by the target, or for RatioTimeslices its share of bad events.
func (s *slicing) loss(good, bad Weight) uint32 {
	total := float64(good + bad)
	switch {
	case total == 0:
		return 0
	case s.ratio:
		return uint32(math.Round(float64(bad) / total * wholeLoss))
	case float64(good)/total < s.target:
		return wholeLoss
	}
	return 0
}

// cell finds or makes the open counts of a slice; nil when it was closed.
func (s *timeslices) cell(slice int64, known bool) *openSlice {
	s.touches++
	if s.last < len(s.cells) && s.cells[s.last].slice == slice {
		s.cells[s.last].touched = s.touches
		return &s.cells[s.last]
	}
	s.last = slices.IndexFunc(s.cells, func(c openSlice) bool { return c.slice == slice })
	switch {
	case s.last >= 0:
		s.cells[s.last].touched = s.touches
		return &s.cells[s.last]
	case known:
		s.last = 0
		return nil
	case len(s.cells) < s.open:
		s.cells = append(s.cells, openSlice{})
		s.last = len(s.cells) - 1
	default:
		s.last = 0
		for i, c := range s.cells {
			if c.touched < s.cells[s.last].touched {
				s.last = i
			}
		}
	}
	s.cells[s.last] = openSlice{slice: slice, touched: s.touches}
	return &s.cells[s.last]
}

// block finds or makes the block with a number; nil when the ring has moved on.
func (s *timeslices) block(number int64) *verdicts {
	at := floorMod(number, int64(len(s.blocks)))
	switch {
	case s.blocks[at] == nil:
		s.blocks[at] = new(verdicts)
		if s.ratio {
			s.blocks[at].loss = new([verdictSlices]uint32)
		}
	case s.numbers[at] > number:
		return nil
	case s.numbers[at] < number:
		s.blocks[at].clear()
	}
	s.numbers[at] = number
	return s.blocks[at]
}

// find returns the block with a number; nil when the ring does not hold it.
func (s *timeslices) find(number int64) *verdicts {
	at := floorMod(number, int64(len(s.blocks)))
	if s.numbers[at] != number {
		return nil
	}
	return s.blocks[at]
}

func (v *verdicts) clear() {
	loss := v.loss
	if loss != nil {
		clear(loss[:])
	}
	*v = verdicts{loss: loss}
}

func (v *verdicts) set(at int, loss uint32, known bool) {
	bit := uint64(1) << (at % 64)
	v.known[at/64] &^= bit
	v.bad[at/64] &^= bit
	if known {
		v.known[at/64] |= bit
	}
	if loss > 0 {
		v.bad[at/64] |= bit
	}
	if v.loss != nil {
		v.lost += uint64(loss) - uint64(v.loss[at])
		v.loss[at] = loss
	}
}

// tallySlices is what a stretch of slices holds.
type tallySlices struct {
	known, bad int
	lost       float64 // in slices
}

// sum adds the slices first to last, both included, of several series: a slice is known if any knows it, and bad if it is bad in any.
// Losses are added up.
func sumSlices(all []*timeslices, first, last int64) tallySlices {
	var out tallySlices
	if last < first {
		return out
	}
	var lost uint64
	for number := floorDiv(first, verdictSlices); number <= floorDiv(last, verdictSlices); number++ {
		var known, bad [verdictWords]uint64
		begin := number * verdictSlices
		from, to := int(max(first-begin, 0)), int(min(last-begin, verdictSlices-1))
		for _, s := range all {
			b := s.find(number)
			if b == nil {
				continue
			}
			for w := range known {
				known[w] |= b.known[w]
				bad[w] |= b.bad[w]
			}
			lost += b.lostBetween(from, to)
		}
		for w := range known {
			mask := maskOf(w, from, to)
			out.known += bits.OnesCount64(known[w] & mask)
			out.bad += bits.OnesCount64(bad[w] & mask)
		}
	}
	out.lost = float64(lost) / wholeLoss
	return out
}

// maskOf has the bits of word w that stand for the slices from to to of a block.
func maskOf(w, from, to int) uint64 {
	from, to = max(from-64*w, 0), min(to-64*w, 63)
	if from > 63 || to < 0 || from > to {
		return 0
	}
	return ^uint64(0) << from & (^uint64(0) >> (63 - to))
}

func (v *verdicts) lostBetween(from, to int) uint64 {
	if v.loss == nil || v.lost == 0 {
		return 0
	}
	if from == 0 && to == verdictSlices-1 {
		return v.lost
	}
	sum := uint64(0)
	for _, l := range v.loss[from : to+1] {
		sum += uint64(l)
	}
	return sum
}

// complete is the newest slice that is over at t. One that is not may still turn out either way.
func (s *slicing) complete(t int64) int64 { return floorDiv(t+1, s.width) - 1 }

// between are the slices that begin in [from, to), as first and last.
func (s *slicing) between(from, to int64) (first, last int64) {
	return -floorDiv(-from, s.width), -floorDiv(-to, s.width) - 1
}

// encode writes what a window that ends at `until` can reach. The order in which cells were touched is not written.
func (s *timeslices) encode(w *encoder, until int64) {
	w.int(s.width)
	cells := slices.Clone(s.cells)
	slices.SortFunc(cells, func(a, b openSlice) int { return int(a.slice - b.slice) })
	w.uint(uint64(len(cells)))
	for _, c := range cells {
		w.int(c.slice)
		w.uint(uint64(c.good))
		w.uint(uint64(c.bad))
	}
	newest := floorDiv(floorDiv(until, s.width), verdictSlices)
	var numbers []int64
	for number := newest - int64(len(s.blocks)) + 1; number <= newest; number++ {
		if s.find(number) != nil {
			numbers = append(numbers, number)
		}
	}
	w.uint(uint64(len(numbers)))
	for _, number := range numbers {
		w.int(number)
		s.find(number).encode(w)
	}
}

// encode writes words only where they are not the usual ones: all known, none bad.
func (v *verdicts) encode(w *encoder) {
	for i := range v.known {
		plain := v.known[i] == ^uint64(0)
		w.flag(plain)
		if !plain {
			w.uint(v.known[i])
		}
		w.uint(v.bad[i])
		for rest := v.bad[i]; rest != 0 && v.loss != nil; rest &= rest - 1 {
			w.uint(uint64(v.loss[64*i+bits.TrailingZeros64(rest)]))
		}
	}
}

func (s *timeslices) decode(d *decoder) {
	if d.int() != s.width {
		d.failed = true
		return
	}
	for range d.length() {
		s.touches++
		c := openSlice{slice: d.int(), touched: s.touches, good: min(Weight(d.uint()), maxCell), bad: min(Weight(d.uint()), maxCell)}
		if len(s.cells) < s.open {
			s.cells = append(s.cells, c)
		}
	}
	for range d.length() {
		number := d.int()
		if d.failed {
			return
		}
		if b := s.block(number); b != nil {
			b.decode(d)
		} else {
			(&verdicts{loss: new([verdictSlices]uint32)}).decode(d)
		}
	}
}

func (v *verdicts) decode(d *decoder) {
	for i := range v.known {
		v.known[i] = ^uint64(0)
		if !d.flag() {
			v.known[i] = d.uint()
		}
		v.bad[i] = d.uint() & v.known[i]
		for rest := v.bad[i]; rest != 0 && v.loss != nil; rest &= rest - 1 {
			loss := min(d.uint(), wholeLoss)
			v.loss[64*i+bits.TrailingZeros64(rest)] = uint32(loss)
			v.lost += loss
		}
	}
}
