// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"github.com/cespare/xxhash/v2"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// readVariants notes the variants of feature flags that a span, or one of its events, says it went by.
func (f *fragment) readVariants(attributes, events [][]byte) {
	f.readVariant(attributes)
	for _, event := range events {
		var list [16][]byte
		found := list[:0]
		for pos := 0; pos < len(event); {
			e, next := nextField(event, pos)
			if next < 0 {
				break
			}
			if pos = next; e.num == otlpwire.EventAttributes && e.typ == otlpwire.Bytes && len(found) < len(list) {
				found = append(found, e.data)
			}
		}
		f.readVariant(found)
	}
}

func (f *fragment) readVariant(attributes [][]byte) {
	var flag, variant []byte
	for _, kv := range attributes {
		key, value := attribute(kv)
		switch string(key) {
		case "feature_flag.key":
			flag = readAny(value).text()
		case "feature_flag.result.variant", "feature_flag.variant":
			variant = readAny(value).text()
		}
	}
	if len(flag) > 0 && len(variant) > 0 {
		f.facts.versions = addDistinct(f.facts.versions, uint32(mix(xxhash.Sum64(flag)^mix(xxhash.Sum64(variant)))), maxVersions)
	}
}
