// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"encoding/binary"
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// resourceAttributes shows a resource to the ownership engine.
type resourceAttributes struct {
	resource pcommon.Resource
}

func (a resourceAttributes) Get(key string) (string, bool) {
	v, ok := a.resource.Attributes().Get(key)
	if !ok {
		return "", false
	}
	return text(v), true
}

func (a resourceAttributes) Range(f func(key, value string) bool) {
	a.resource.Attributes().Range(func(k string, v pcommon.Value) bool { return f(k, text(v)) })
}

func text(v pcommon.Value) string {
	if v.Type() == pcommon.ValueTypeStr {
		return v.Str()
	}
	return v.AsString()
}

// appendKey appends a key that is the same for two resources only if all their attributes are the same, in the same order. Lengths stand
// before texts, so that no value can pretend to be another attribute.
func appendKey(key []byte, attrs pcommon.Map) []byte {
	for k, v := range attrs.All() {
		key = binary.AppendUvarint(key, uint64(len(k)))
		key = append(key, k...)
		key = append(key, byte(v.Type()))
		switch v.Type() {
		case pcommon.ValueTypeStr:
			key = appendText(key, v.Str())
		case pcommon.ValueTypeInt:
			key = binary.LittleEndian.AppendUint64(key, uint64(v.Int()))
		case pcommon.ValueTypeDouble:
			key = binary.LittleEndian.AppendUint64(key, math.Float64bits(v.Double()))
		case pcommon.ValueTypeBool:
			if v.Bool() {
				key = append(key, 1)
			} else {
				key = append(key, 0)
			}
		case pcommon.ValueTypeEmpty:
		default:
			key = appendText(key, v.AsString())
		}
	}
	return key
}

func appendText(key []byte, s string) []byte {
	key = binary.AppendUvarint(key, uint64(len(s)))
	return append(key, s...)
}
