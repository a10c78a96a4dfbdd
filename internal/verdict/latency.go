// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"
	"time"
)

// Durations fall into buckets whose bounds grow by the fourth root of two (19 %), from 0.1 ms to two minutes.
const (
	stepsPerOctave = 4
	octaves        = 20
	// Buckets is the number of duration buckets; the first and the last are open.
	Buckets = octaves*stepsPerOctave + 2
	// firstExponent makes 2^firstExponent nanoseconds, 131 µs, the first bound.
	firstExponent = 17
)

// Bucket returns the bucket of a duration.
func Bucket(d time.Duration) int {
	if d < 1<<firstExponent {
		return 0
	}
	fraction, exponent := math.Frexp(float64(d))
	octave := exponent - 1 - firstExponent
	if octave >= octaves {
		return Buckets - 1
	}
	step := 0
	switch {
	case fraction >= 0.8408964152537145: // 2^(−1/4)
		step = 3
	case fraction >= 0.7071067811865476: // 2^(−2/4)
		step = 2
	case fraction >= 0.5946035575013605: // 2^(−3/4)
		step = 1
	}
	return 1 + octave*stepsPerOctave + step
}

// BucketBound returns the lower bound of a bucket.
func BucketBound(bucket int) time.Duration {
	if bucket <= 0 {
		return 0
	}
	return time.Duration(math.Exp2(firstExponent + float64(bucket-1)/stepsPerOctave))
}

// tail returns how many of the durations fell into bucket from or above.
func tail(counts *[Buckets]uint32, from int) uint64 {
	sum := uint64(0)
	for i := max(from, 0); i < Buckets; i++ {
		sum += uint64(counts[i])
	}
	return sum
}

// quantileBucket returns the bucket that holds the q-quantile.
func quantileBucket(counts *[Buckets]uint64, q float64) int {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	rank, seen := q*float64(total), 0.0
	for i, n := range counts {
		seen += float64(n)
		if seen >= rank && n > 0 {
			return i
		}
	}
	return Buckets - 1
}
