// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"encoding/binary"
	"hash/crc32"

	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
)

func ignoreTimes() []metricdatatest.Option {
	return []metricdatatest.Option{metricdatatest.IgnoreTimestamp()}
}

// newerVersion makes of a stored part what a later version would write.
func newerVersion(part []byte) []byte {
	newer := append([]byte(nil), part[:len(part)-4]...)
	newer[4] = 99
	return binary.BigEndian.AppendUint32(newer, crc32.Checksum(newer, crc32.MakeTable(crc32.Castagnoli)))
}
