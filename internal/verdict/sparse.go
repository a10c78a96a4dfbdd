// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"math"
)

var errCounts = errors.New("not pairs of a bucket and a count")

// Sparse returns the buckets that hold something, as pairs of bucket and count.
func Sparse(counts *[Buckets]uint32) []uint32 {
	var pairs []uint32
	for bucket, n := range counts {
		if n > 0 {
			pairs = append(pairs, uint32(bucket), n)
		}
	}
	return pairs
}

// Dense returns what Sparse was given, and the sum. Any pairs will do that name buckets which exist.
func Dense(pairs []uint32) (counts [Buckets]uint32, sum uint64, err error) {
	if len(pairs)%2 != 0 || len(pairs) > 2*Buckets {
		return counts, 0, errCounts
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] >= Buckets {
			return counts, 0, errCounts
		}
		counts[pairs[i]] += pairs[i+1]
		sum += uint64(pairs[i+1])
	}
	return counts, sum, nil
}

// Usable reports whether sum and weight are finite and not negative.
func (g Gauge) Usable() bool {
	return g.Sum >= 0 && g.Weight >= 0 && !math.IsInf(g.Sum, 0) && !math.IsInf(g.Weight, 0)
}

// Add adds another gauge.
func (g *Gauge) Add(other Gauge) { g.add(other) }
