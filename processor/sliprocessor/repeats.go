// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"hash/maphash"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// repeats remembers what points that were merged counted, in two generations: when the younger is full, the older is forgotten.
type repeats struct {
	most       int // points of one generation
	young, old map[uint64]slo.Weight
}

func newRepeats(points int) *repeats {
	return &repeats{most: max(1, points/2), young: map[uint64]slo.Weight{}}
}

// fresh is how much of a point's weight was not counted before. A sender that got no answer sends a point again, or one with the same stamp
// that holds newer events too.
func (r *repeats) fresh(id uint64, weight slo.Weight) slo.Weight {
	counted, known := r.young[id]
	if !known {
		counted = r.old[id]
	}
	if len(r.young) >= r.most && !known {
		r.old, r.young = r.young, map[uint64]slo.Weight{}
	}
	r.young[id] = max(counted, weight)
	return weight - min(counted, weight)
}

func (r *repeats) len() int { return len(r.young) + len(r.old) }

// identify tells a point from all others of its sender; false where that cannot be done.
func (p *metricsProcessor) identify(instance string, dp pmetric.NumberDataPoint) (uint64, bool) {
	stamp, stamped := slo.StampOf(int64(dp.Timestamp()))
	if instance == "" || !stamped {
		return 0, false
	}
	return maphash.Comparable(p.seed, [4]uint64{
		maphash.String(p.seed, instance), p.hashMap(dp.Attributes()), uint64(dp.StartTimestamp()), uint64(stamp),
	}), true
}
