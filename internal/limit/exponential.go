// SPDX-License-Identifier: Apache-2.0

package limit

import "math"

// Buckets is one side of an exponential histogram: Counts[i] is the count of bucket Offset+i.
type Buckets struct {
	Offset int32
	Counts []uint64
}

// Exponential is the content of an exponential histogram: bucket i holds (base^i, base^(i+1)] with base = 2^(2^-Scale), as the
// OpenTelemetry metrics data model defines it.
type Exponential struct {
	Scale          int32
	ZeroThreshold  float64
	ZeroCount      uint64
	Positive       Buckets
	Negative       Buckets
	Count          uint64
	Sum            float64
	HasSum         bool
	Min, Max       float64
	HasMin, HasMax bool

	sumLow float64
}

// Normalize trims empty buckets at both ends and tells whether the content is one that the data model allows.
func (e *Exponential) Normalize() bool {
	if (e.HasSum && !isFinite(e.Sum)) || !isFinite(e.ZeroThreshold) || e.ZeroThreshold < 0 || e.Scale > 20 || e.Scale < -11 {
		return false
	}
	if int64(e.Positive.Offset)+int64(len(e.Positive.Counts)) > math.MaxInt32 || int64(e.Negative.Offset)+int64(len(e.Negative.Counts)) > math.MaxInt32 {
		return false
	}
	e.Positive.trim()
	e.Negative.trim()
	if !e.Positive.holdFloats(e.Scale) || !e.Negative.holdFloats(e.Scale) {
		return false
	}
	pos, ok := addCounts(e.Positive.Counts)
	neg, ok2 := addCounts(e.Negative.Counts)
	total, ok3 := addCounts([]uint64{pos, neg, e.ZeroCount})
	return ok && ok2 && ok3 && total == e.Count
}

// holdFloats tells whether all buckets are such that a float can fall into them. Others are made up, and a single one far out
// would coarsen whatever it is merged into.
func (b *Buckets) holdFloats(scale int32) bool {
	if len(b.Counts) == 0 {
		return true
	}
	least, most := int64(-1075), int64(1024) // exponents of two: the smallest float is 2^-1074, all lie below 2^1024
	if scale >= 0 {
		least, most = least<<scale, most<<scale
	} else {
		least, most = least>>-scale, most>>-scale+1
	}
	return int64(b.Offset) >= least && b.last() <= most
}

func (b *Buckets) trim() {
	n := len(b.Counts)
	for n > 0 && b.Counts[n-1] == 0 {
		n--
	}
	first := 0
	for first < n && b.Counts[first] == 0 {
		first++
	}
	copy(b.Counts, b.Counts[first:n])
	b.Counts = b.Counts[:n-first]
	b.Offset += int32(first)
	if len(b.Counts) == 0 {
		b.Offset = 0
	}
}

func (b *Buckets) copyFrom(o *Buckets) {
	b.Offset = o.Offset
	b.Counts = append(b.Counts[:0], o.Counts...)
}

// downscale halves the resolution by times: 2^by neighbours become one bucket.
func (b *Buckets) downscale(by int32) {
	if by <= 0 || len(b.Counts) == 0 {
		return
	}
	first := b.Offset >> by
	last := int32((int64(b.Offset) + int64(len(b.Counts)) - 1) >> by)
	for i, c := range b.Counts {
		at := int32((int64(b.Offset)+int64(i))>>by) - first
		if int(at) == i {
			continue // only the very first bucket stays in place
		}
		b.Counts[i] = 0
		b.Counts[at] += c
	}
	b.Counts = b.Counts[:last-first+1]
	b.Offset = first
}

// widen makes room for buckets lo to hi.
func (b *Buckets) widen(lo, hi int64) {
	if len(b.Counts) == 0 {
		b.Offset = int32(lo)
		b.Counts = append(b.Counts[:0], make([]uint64, hi-lo+1)...)
		return
	}
	if front := int64(b.Offset) - lo; front > 0 {
		n := len(b.Counts)
		b.Counts = append(b.Counts, make([]uint64, front)...)
		copy(b.Counts[front:], b.Counts[:n])
		clear(b.Counts[:front])
		b.Offset = int32(lo)
	}
	if back := hi - (int64(b.Offset) + int64(len(b.Counts)) - 1); back > 0 {
		b.Counts = append(b.Counts, make([]uint64, back)...)
	}
}

func (b *Buckets) last() int64 { return int64(b.Offset) + int64(len(b.Counts)) - 1 }

// add merges o, of the same scale, into b.
func (b *Buckets) add(o *Buckets) {
	if len(o.Counts) == 0 {
		return
	}
	lo, hi := int64(o.Offset), o.last()
	if len(b.Counts) > 0 {
		lo, hi = min(lo, int64(b.Offset)), max(hi, b.last())
	}
	b.widen(lo, hi)
	for i, c := range o.Counts {
		b.Counts[int64(o.Offset)-int64(b.Offset)+int64(i)] += c
	}
}

// at returns the count of a bucket, zero outside.
func (b *Buckets) at(i int64) uint64 {
	k := i - int64(b.Offset)
	if k < 0 || k >= int64(len(b.Counts)) {
		return 0
	}
	return b.Counts[k]
}

func (b *Buckets) fell(before *Buckets) bool {
	for i, c := range before.Counts {
		if b.at(int64(before.Offset)+int64(i)) < c {
			return true
		}
	}
	return false
}

func (b *Buckets) subtract(before *Buckets) {
	for i, c := range before.Counts {
		if c > 0 {
			b.Counts[int64(before.Offset)+int64(i)-int64(b.Offset)] -= c
		}
	}
}

// upperBound is base^(i+1) at a scale, and the largest float where that is beyond all floats.
func upperBound(scale int32, i int64) float64 {
	if scale <= 0 {
		exp := (i + 1) << min(uint32(-scale), 40)
		return min(math.Ldexp(1, int(min(max(exp, -1100), 1100))), math.MaxFloat64)
	}
	return min(math.Exp2(math.Ldexp(float64(i+1), -int(scale))), math.MaxFloat64)
}

// absorb moves the buckets within the zero threshold into the zero count and returns the threshold, which grows to the upper
// bound of a bucket it would otherwise cut.
func (b *Buckets) absorb(scale int32, threshold float64) (float64, uint64) {
	var moved uint64
	n := 0
	for n < len(b.Counts) {
		lower := upperBound(scale, int64(b.Offset)+int64(n)-1)
		if lower >= threshold {
			break
		}
		if c := b.Counts[n]; c > 0 {
			moved += c
			threshold = max(threshold, upperBound(scale, int64(b.Offset)+int64(n)))
		}
		n++
	}
	copy(b.Counts, b.Counts[n:])
	b.Counts = b.Counts[:len(b.Counts)-n]
	b.Offset += int32(n)
	return threshold, moved
}

func (e *Exponential) copyFrom(o *Exponential) {
	positive, negative := e.Positive, e.Negative
	*e = *o
	positive.copyFrom(&o.Positive)
	negative.copyFrom(&o.Negative)
	e.Positive, e.Negative = positive, negative
}

func (e *Exponential) downscaleTo(scale int32) {
	if by := e.Scale - scale; by > 0 {
		e.Positive.downscale(by)
		e.Negative.downscale(by)
		e.Scale = scale
	}
}

// raiseZero widens the zero bucket to at least the threshold.
func (e *Exponential) raiseZero(threshold float64) {
	for e.ZeroThreshold < threshold {
		e.ZeroThreshold = threshold
		reached, moved := e.Positive.absorb(e.Scale, threshold)
		e.ZeroCount += moved
		threshold = reached
		reached, moved = e.Negative.absorb(e.Scale, threshold)
		e.ZeroCount += moved
		threshold = max(threshold, reached)
	}
}

// alignExponential brings both to the coarser scale and the wider zero bucket.
func alignExponential(a, b *Exponential) {
	scale := min(a.Scale, b.Scale)
	a.downscaleTo(scale)
	b.downscaleTo(scale)
	for a.ZeroThreshold != b.ZeroThreshold {
		a.raiseZero(b.ZeroThreshold)
		b.raiseZero(a.ZeroThreshold)
	}
}

// fit lowers a's and b's scale until both together need at most size buckets a side.
func fit(a, b *Exponential, size int) {
	by := int32(0)
	for _, side := range [2][2]*Buckets{{&a.Positive, &b.Positive}, {&a.Negative, &b.Negative}} {
		lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
		for _, s := range side {
			if len(s.Counts) > 0 {
				lo, hi = min(lo, int64(s.Offset)), max(hi, s.last())
			}
		}
		for lo <= hi && hi>>by-lo>>by+1 > int64(size) {
			by++
		}
	}
	a.downscaleTo(a.Scale - by)
	b.downscaleTo(b.Scale - by)
}

// add merges o into e, keeping at most size buckets a side, and may coarsen o on the way.
func (e *Exponential) add(o *Exponential, size int) {
	alignExponential(e, o)
	fit(e, o, size)
	e.Positive.add(&o.Positive)
	e.Negative.add(&o.Negative)
	e.ZeroCount += o.ZeroCount
	e.Count += o.Count
	e.HasSum = e.HasSum && o.HasSum
	e.addSum(o.Sum)
	e.addSum(o.sumLow)
	e.HasMin = e.HasMin && o.HasMin
	e.HasMax = e.HasMax && o.HasMax
	e.Min = min(e.Min, o.Min)
	e.Max = max(e.Max, o.Max)
}

func (e *Exponential) addSum(v float64) { e.Sum, e.sumLow = twoSum(e.Sum, e.sumLow, v) }

// Total is the sum of the observations, rounded once.
func (e *Exponential) Total() float64 { return e.Sum + e.sumLow }

// fell tells whether any count of e lies below its predecessor's. It may coarsen both.
func (e *Exponential) fell(before *Exponential) bool {
	if e.Count < before.Count {
		return true
	}
	alignExponential(e, before)
	return e.ZeroCount < before.ZeroCount || e.Positive.fell(&before.Positive) || e.Negative.fell(&before.Negative)
}

// subtract takes before from e; fell must have said no.
func (e *Exponential) subtract(before *Exponential) {
	e.Positive.subtract(&before.Positive)
	e.Negative.subtract(&before.Negative)
	e.Positive.trim()
	e.Negative.trim()
	e.ZeroCount -= before.ZeroCount
	e.Count -= before.Count
	e.HasSum = e.HasSum && before.HasSum
	e.addSum(-before.Sum)
	e.addSum(-before.sumLow)
}

// needs is the memory for a copy.
func (e *Exponential) needs() int64 {
	return 192 + 8*int64(len(e.Positive.Counts)+len(e.Negative.Counts))
}

// shrink keeps the count and the sum, and two buckets a side.
func (e *Exponential) shrink() { fit(e, &Exponential{Scale: e.Scale}, 2) }

func (e *Exponential) bytes() int64 {
	if e == nil {
		return 0
	}
	return 192 + 8*int64(cap(e.Positive.Counts)+cap(e.Negative.Counts))
}
