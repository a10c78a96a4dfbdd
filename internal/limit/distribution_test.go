// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExponentialMergeAlignsOffsets(t *testing.T) {
	for _, c := range []struct {
		a, b, want Buckets
	}{
		{Buckets{5, []uint64{10}}, Buckets{4, []uint64{1, 2}}, Buckets{4, []uint64{1, 12}}},
		{Buckets{5, []uint64{10}}, Buckets{1, []uint64{7}}, Buckets{1, []uint64{7, 0, 0, 0, 10}}},
		{Buckets{-3, []uint64{1}}, Buckets{}, Buckets{-3, []uint64{1}}},
	} {
		a := Exponential{Positive: c.a, Count: 10}
		a.add(&Exponential{Positive: c.b, Count: 3}, 160)
		assert.Equal(t, c.want, a.Positive)
	}
}

// observeAll is the oracle: one pass over all observations at one scale.
func observeAll(values []float64, scale int32) Exponential {
	e := Exponential{Scale: scale, HasSum: true, HasMin: true, HasMax: true, Min: math.Inf(1), Max: math.Inf(-1)}
	for _, v := range values {
		e.Count++
		e.Sum += v
		e.Min, e.Max = min(e.Min, v), max(e.Max, v)
		side := &e.Positive
		if v < 0 {
			side = &e.Negative
		}
		if v == 0 {
			e.ZeroCount++
			continue
		}
		i := int64(math.Ceil(math.Log2(math.Abs(v))*math.Exp2(float64(scale)))) - 1
		side.add(&Buckets{int32(i), []uint64{1}})
	}
	return e
}

func TestMergedExponentialEqualsASinglePass(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		size := 20 + r.IntN(141)
		var all []float64
		merged := Exponential{Scale: 5, HasSum: true, HasMin: true, HasMax: true, Min: math.Inf(1), Max: math.Inf(-1)}
		least := int32(5)
		for range 1 + r.IntN(8) {
			var part []float64
			for range r.IntN(50) {
				v := math.Exp2(float64(r.IntN(12)) + 0.37*float64(r.IntN(3)))
				switch r.IntN(6) {
				case 0:
					v = 0
				case 1:
					v = -v
				}
				part = append(part, v)
			}
			scale := int32(r.IntN(6))
			least = min(least, scale)
			x := observeAll(part, scale)
			require.True(t, x.Normalize())
			merged.add(&x, size)
			all = append(all, part...)
		}
		require.LessOrEqual(t, merged.Scale, least)
		want := observeAll(all, merged.Scale)
		require.Equal(t, want.Positive, merged.Positive, "seed %d", seed)
		require.Equal(t, want.Negative, merged.Negative, "seed %d", seed)
		require.Equal(t, [4]any{want.Count, want.ZeroCount, want.Min, want.Max}, [4]any{merged.Count, merged.ZeroCount, merged.Min, merged.Max})
		require.InEpsilon(t, 1+math.Abs(want.Sum), 1+math.Abs(merged.Total()), 1e-12)
		require.LessOrEqual(t, len(merged.Positive.Counts), size)
		if merged.Scale < least { // no coarser than it has to be
			finer := observeAll(all, merged.Scale+1)
			require.True(t, len(finer.Positive.Counts) > size || len(finer.Negative.Counts) > size, "seed %d", seed)
		}
	}
}

func TestWiderZeroBucketTakesInWhatLiesWithin(t *testing.T) {
	a := Exponential{Scale: 0, Positive: Buckets{-2, []uint64{3, 4, 5}}, Count: 12} // (1/4,1/2] (1/2,1] (1,2]
	b := Exponential{Scale: 0, ZeroThreshold: 0.75, ZeroCount: 2, Count: 2}
	a.add(&b, 160)
	assert.InDelta(t, 1.0, a.ZeroThreshold, 0, "the bucket that 0.75 cuts is taken in whole")
	assert.Equal(t, uint64(9), a.ZeroCount)
	assert.Equal(t, Buckets{0, []uint64{5}}, a.Positive)
}

func TestHostileExponentialIsRefusedOrHarmless(t *testing.T) {
	for _, e := range []Exponential{
		{Scale: 20, Positive: Buckets{-1075 << 20, []uint64{2}}, Count: 2},
		{Scale: 20, Positive: Buckets{1024<<20 - 1, []uint64{2}}, Count: 2},
		{Scale: -10, Positive: Buckets{-2, []uint64{1, 0, 1}}, Count: 2},
	} {
		require.True(t, e.Normalize())
		o := Exponential{Scale: 20, Positive: Buckets{0, []uint64{1}}, Count: 1, ZeroThreshold: 1e300}
		e.add(&o, 160)
		assert.LessOrEqual(t, len(e.Positive.Counts), 160)
		assert.Equal(t, uint64(3), e.Count)
	}
	for name, e := range map[string]Exponential{
		"count":     {Count: 3, ZeroCount: 1},
		"scale":     {Scale: 21},
		"threshold": {ZeroThreshold: math.NaN()},
		"sum":       {HasSum: true, Sum: math.Inf(1)},
		"overflow":  {Count: 1, ZeroCount: math.MaxUint64, Positive: Buckets{0, []uint64{2}}},
		"below":     {Scale: 20, Positive: Buckets{math.MinInt32, []uint64{2}}, Count: 2},
		"above":     {Scale: 20, Positive: Buckets{math.MaxInt32 - 1, []uint64{2}}, Count: 2},
		"negative":  {Scale: -10, Negative: Buckets{160, []uint64{1}}, Count: 1},
		"offset":    {Count: 1, Positive: Buckets{math.MaxInt32, []uint64{1}}},
	} {
		assert.False(t, e.Normalize(), name)
	}
}

func TestExplicitBoundsCoarsenToTheCommonOnes(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 4))
		common := map[float64]bool{}
		var total Explicit
		var values []float64
		for part := range 1 + r.IntN(5) {
			var bounds []float64
			for b := range 12 {
				if r.IntN(3) > 0 {
					bounds = append(bounds, float64(b))
				}
			}
			e := Explicit{Bounds: bounds, Counts: make([]uint64, len(bounds)+1), HasSum: true}
			for range r.IntN(40) {
				v := float64(r.IntN(130)) / 10
				values = append(values, v)
				i, _ := slices.BinarySearch(bounds, v)
				e.Counts[i]++
				e.Count++
				e.Sum += v
			}
			require.True(t, e.Normalize())
			for b := range 12 {
				common[float64(b)] = slices.Contains(bounds, float64(b)) && (part == 0 || common[float64(b)])
			}
			if part == 0 {
				total.copyFrom(&e)
			} else {
				total.add(&e)
			}
		}
		var want []float64
		for b := range 12 {
			if common[float64(b)] {
				want = append(want, float64(b))
			}
		}
		require.True(t, slices.Equal(want, total.Bounds), "seed %d: %v %v", seed, want, total.Bounds)
		counts := make([]uint64, len(want)+1)
		for _, v := range values {
			i, _ := slices.BinarySearch(want, v)
			counts[i]++
		}
		require.Equal(t, counts, total.Counts)
		require.Equal(t, uint64(len(values)), total.Count)
	}
}

func TestExplicitContentThatTheDataModelForbidsIsRefused(t *testing.T) {
	for name, e := range map[string]Explicit{
		"counts":    {Bounds: []float64{1, 2, 3}, Counts: []uint64{1, 1}, Count: 2},
		"order":     {Bounds: []float64{5, 1}, Counts: []uint64{1, 1, 0}, Count: 2},
		"equal":     {Bounds: []float64{1, 1}, Counts: []uint64{1, 1, 0}, Count: 2},
		"not equal": {Bounds: []float64{1}, Counts: []uint64{1, 1}, Count: 99},
		"nan bound": {Bounds: []float64{math.NaN()}, Counts: []uint64{1, 1}, Count: 2},
		"nan sum":   {HasSum: true, Sum: math.NaN()},
	} {
		assert.False(t, e.Normalize(), name)
	}
	plain := Explicit{Count: 7}
	assert.True(t, plain.Normalize())
	assert.Equal(t, []uint64{7}, plain.Counts)
}

func TestAccumulatorLosesNothing(t *testing.T) {
	var a accumulator
	a.add(Int(math.MaxInt64))
	assert.Equal(t, Int(math.MaxInt64), a.value())
	a.add(Int(5))
	a.sub(Int(math.MaxInt64))
	assert.InDelta(t, 5, a.value().Float64(), 0, "an overflow turns to floats and keeps every unit")
	var f accumulator
	for range 10_000_000 / 1000 {
		f.add(Float(0.1))
		f.add(Float(1e16))
		f.sub(Float(1e16))
	}
	assert.InEpsilon(t, 1000, f.value().Float64(), 1e-12)
	var low accumulator
	low.sub(Int(math.MaxInt64))
	low.sub(Int(math.MaxInt64))
	assert.InEpsilon(t, -2*float64(math.MaxInt64), low.value().Float64(), 1e-12)
}

// FuzzExponentialMerge merges any two histograms: never a panic, never a lost observation.
func FuzzExponentialMerge(f *testing.F) {
	f.Add(int32(0), int32(5), []byte{1, 2}, int32(3), int32(4), []byte{9}, 0.5)
	f.Fuzz(func(t *testing.T, scaleA, offsetA int32, a []byte, scaleB, offsetB int32, b []byte, zero float64) {
		make1 := func(scale, offset int32, counts []byte, zero float64) Exponential {
			e := Exponential{Scale: scale, Positive: Buckets{Offset: offset}, Negative: Buckets{Offset: -offset}, ZeroThreshold: zero}
			for _, c := range counts {
				e.Positive.Counts = append(e.Positive.Counts, uint64(c))
				e.Negative.Counts = append(e.Negative.Counts, uint64(c))
				e.Count += 2 * uint64(c)
			}
			return e
		}
		x, y := make1(scaleA, offsetA, a, 0), make1(scaleB, offsetB, b, zero)
		if !x.Normalize() || !y.Normalize() {
			return
		}
		want := x.Count + y.Count
		x.add(&y, 160)
		positive, _ := addCounts(x.Positive.Counts)
		negative, _ := addCounts(x.Negative.Counts)
		if x.Count != want || positive+negative+x.ZeroCount != want {
			t.Fatalf("%d observations became %+v", want, x)
		}
		if len(x.Positive.Counts) > 160 {
			t.Fatalf("%d buckets", len(x.Positive.Counts))
		}
	})
}
