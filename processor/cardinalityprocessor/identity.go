// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// fill makes the limiter's view of a point.
func (b *batch) fill(p *limit.Point, attributes pcommon.Map, start, at pcommon.Timestamp, flags pmetric.DataPointFlags) {
	p.Series, p.Shared = b.series, b.shared
	p.Attrs = p.Attrs[:0]
	attributes.Range(func(k string, v pcommon.Value) bool {
		a := limit.Attr{Key: k, KeyHash: limit.HashString(k)}
		if v.Type() == pcommon.ValueTypeStr {
			a.Text, a.IsText = v.Str(), true
			a.ValueHash = limit.HashString(a.Text)
		} else {
			a.ValueHash = hashValue(v)
		}
		p.Attrs = append(p.Attrs, a)
		return true
	})
	p.Start, p.Time = nanoseconds(start), nanoseconds(at)
	p.NoValue = flags.NoRecordedValue()
	p.Malformed = b.malformed
}

func nanoseconds(t pcommon.Timestamp) int64 {
	if t > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(t)
}

func hashMap(m pcommon.Map) uint64 {
	var sum uint64
	for k, v := range m.All() {
		sum += limit.Mix(limit.HashString(k), hashValue(v))
	}
	return sum
}

func hashValue(v pcommon.Value) uint64 {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return limit.HashString(v.Str())
	case pcommon.ValueTypeInt:
		return limit.HashInt(v.Int())
	case pcommon.ValueTypeDouble:
		return limit.HashFloat(math.Float64bits(v.Double()))
	case pcommon.ValueTypeBool:
		return limit.HashBool(v.Bool())
	case pcommon.ValueTypeBytes:
		return limit.Mix(limit.HashString(v.AsString()), 4)
	case pcommon.ValueTypeSlice:
		h := uint64(5)
		for _, e := range v.Slice().All() {
			h = limit.Mix(h, hashValue(e))
		}
		return h
	case pcommon.ValueTypeMap:
		return limit.Mix(hashMap(v.Map()), 6)
	}
	return 7
}
