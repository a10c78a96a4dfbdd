// SPDX-License-Identifier: Apache-2.0

package slo

import "math"

// Split is what a histogram says of a threshold.
type Split struct {
	// Good are the observations at or below the threshold; where it lies within a bucket, that bucket counts in proportion.
	Good float64
	// Total are all observations.
	Total float64
	// Unsure are the observations in the bucket that the threshold cuts: Good is wrong by less.
	Unsure float64
}

// SplitExplicit divides a histogram with explicit bounds at the threshold. Bucket i holds (bounds[i-1], bounds[i]]. It reports false for
// what is no histogram: bounds that do not rise, another number of buckets than the bounds make, or no buckets at all.
func SplitExplicit(bounds []float64, counts []uint64, threshold float64) (Split, bool) {
	if len(counts) == 0 || len(counts) != len(bounds)+1 {
		return Split{}, false
	}
	var s Split
	low := math.Inf(-1)
	for i, n := range counts {
		high := math.Inf(1)
		if i < len(bounds) {
			high = bounds[i]
			if math.IsNaN(high) || high <= low {
				return Split{}, false
			}
		}
		s.add(float64(n), low, high, threshold)
		low = high
	}
	return s, true
}

// ExponentialBuckets is one side of an exponential histogram: bucket i holds (base^(Offset+i), base^(Offset+i+1)].
type ExponentialBuckets struct {
	Offset int32
	Counts []uint64
}

// The scales that OpenTelemetry's data model allows in a float64.
const minScale, maxScale = -10, 20

// SplitExponential divides an exponential histogram at the threshold, with base 2^(2^-scale).
func SplitExponential(scale int32, positive, negative ExponentialBuckets, zero uint64, zeroThreshold, threshold float64) (Split, bool) {
	if scale < minScale || scale > maxScale || math.IsNaN(zeroThreshold) || zeroThreshold < 0 {
		return Split{}, false
	}
	var s Split
	s.add(float64(zero), -zeroThreshold, zeroThreshold, threshold)
	bound := func(index int64) float64 { return math.Exp2(math.Ldexp(float64(index), int(-scale))) }
	for i, n := range positive.Counts {
		if n > 0 {
			at := int64(positive.Offset) + int64(i)
			s.add(float64(n), bound(at), bound(at+1), threshold)
		}
	}
	for i, n := range negative.Counts {
		if n > 0 {
			at := int64(negative.Offset) + int64(i)
			s.add(float64(n), -bound(at+1), -bound(at), threshold)
		}
	}
	return s, true
}

// relativeEdge is how near a threshold must be to a computed bucket bound to be that bound: the bounds of exponential histograms are
// powers, and rounded.
const relativeEdge = 1e-12

// add counts n observations of (low, high].
func (s *Split) add(n, low, high, threshold float64) {
	s.Total += n
	tolerance := relativeEdge * math.Abs(threshold)
	switch {
	case high <= threshold+tolerance:
		s.Good += n
	case low >= threshold-tolerance:
	default:
		s.Unsure += n
		// An open bucket has no proportion: what lies beyond the last bound is bad, what lies below the first is good.
		switch {
		case math.IsInf(high, 1):
		case math.IsInf(low, -1):
			s.Good += n
		default:
			s.Good += n * (threshold - low) / (high - low)
		}
	}
}
