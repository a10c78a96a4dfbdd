// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARememberedStreamStaysWithinItsBytes(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewStreams(n)
	for i := range n + 10 {
		_, _, v := s.Count(1, StreamID(i), Point{Split: Split{Total: 1}, At: 1, Cumulative: true})
		require.Equal(t, i >= n, v == Full)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := float64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%.0f bytes a stream", per)
	assert.Less(t, per, float64(StreamBytes))
	runtime.KeepAlive(s)
}

// bucketed puts observations into an exponential histogram of a scale.
func bucketed(values []float64, scale int32) ExponentialBuckets {
	base := math.Exp2(math.Ldexp(1, int(-scale)))
	index := func(v float64) int32 { return int32(math.Ceil(math.Log(v)/math.Log(base))) - 1 }
	low, high := index(slices.Min(values)), index(slices.Max(values))
	b := ExponentialBuckets{Offset: low, Counts: make([]uint64, high-low+1)}
	for _, v := range values {
		b.Counts[index(v)-low]++
	}
	return b
}

func TestTheErrorOfASplitIsBoundedByTheBucketItCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		values := make([]float64, 200)
		for i := range values {
			values[i] = math.Exp(r.NormFloat64())
		}
		threshold := math.Exp(r.NormFloat64())
		truth := 0.0
		for _, v := range values {
			if v <= threshold {
				truth++
			}
		}
		bounds := []float64{0.1, 0.25, 0.5, 1, 2, 4}
		counts := make([]uint64, len(bounds)+1)
		for _, v := range values {
			i, _ := slices.BinarySearch(bounds, v)
			counts[i]++
		}
		scale := int32(r.IntN(6))
		explicit, ok := SplitExplicit(bounds, counts, threshold)
		require.True(t, ok)
		exponential, ok := SplitExponential(scale, bucketed(values, scale), ExponentialBuckets{}, 0, 0, threshold)
		require.True(t, ok)
		for _, s := range []Split{explicit, exponential} {
			assert.InDelta(t, 200, s.Total, 0)
			assert.LessOrEqual(t, math.Abs(s.Good-truth), s.Unsure)
		}
	}
}

func TestEdgesAreExact(t *testing.T) {
	s, ok := SplitExplicit([]float64{0.1, 0.3}, []uint64{5, 6, 7}, 0.3)
	require.True(t, ok)
	assert.Equal(t, Split{Good: 11, Total: 18}, s)
	for scale := int32(-2); scale <= 8; scale++ {
		s, ok = SplitExponential(scale, ExponentialBuckets{Offset: 0, Counts: []uint64{3}}, ExponentialBuckets{}, 2, 0, math.Exp2(math.Ldexp(1, int(-scale))))
		require.True(t, ok)
		assert.Equal(t, Split{Good: 5, Total: 5}, s, "scale %d", scale)
	}
	s, ok = SplitExponential(0, ExponentialBuckets{}, ExponentialBuckets{Offset: 0, Counts: []uint64{4}}, 1, 0, -1) // (-2,-1]
	require.True(t, ok)
	assert.Equal(t, Split{Good: 4, Total: 5}, s)
	_, ok = SplitExplicit([]float64{math.NaN()}, []uint64{1, 1}, 1)
	assert.False(t, ok)
	_, ok = SplitExplicit(nil, nil, 1)
	assert.False(t, ok)
	_, ok = SplitExponential(99, ExponentialBuckets{}, ExponentialBuckets{}, 0, 0, 1)
	assert.False(t, ok)
}

func TestTheSidesOfARatioWaitForEachOther(t *testing.T) {
	minute := int64(time.Minute)
	s := NewStreams(10)
	settle := func() []float64 {
		total, part, _, _ := s.Settle(1, false)
		return []float64{total, part}
	}
	require.True(t, s.Total(1, minute, 10))
	assert.Equal(t, []float64{0, 0}, settle(), "good events have not come yet")
	require.True(t, s.Part(1, minute, 12))
	total, part, _, excess := s.Settle(1, false)
	assert.True(t, excess, "more good events than events")
	assert.Equal(t, []float64{10, 10}, []float64{total, part})
	require.True(t, s.Total(1, 2*minute, 10))
	require.True(t, s.Part(1, 2*minute, 5))
	assert.Equal(t, []float64{10, 7}, settle(), "what was too much is owed")
	for i := range int64(20) {
		require.True(t, s.Total(1, (3+i)*minute, 1))
	}
	assert.Equal(t, []float64{18, 0}, settle(), "the part is waited for no longer than two minutes")
	assert.LessOrEqual(t, len(s.pairs[1].total.waits), maxPairItems)
}
