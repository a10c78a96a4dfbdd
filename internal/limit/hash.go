// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Odd constants with well spread bits, from the fractional parts of the square roots of primes.
const (
	mixA = 0x6a09e667f3bcc909
	mixB = 0xbb67ae8584caa73b
)

// Mix joins two hashes into one; the order matters. The full 128-bit product is folded, so that a difference in any input bit
// reaches every output bit and sums of mixes do not cancel.
func Mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^mixA, bits.RotateLeft64(b, 32)^mixB)
	hi2, lo2 := bits.Mul64(hi^lo^a, mixA^b|1)
	return hi2 ^ lo2
}

// HashString hashes a text.
func HashString(s string) uint64 { return xxhash.Sum64String(s) }

// HashBytes hashes bytes.
func HashBytes(b []byte) uint64 { return xxhash.Sum64(b) }

// HashInt hashes an integer.
func HashInt(v int64) uint64 { return Mix(uint64(v), 1) }

// HashFloat hashes a float by its bits.
func HashFloat(bits uint64) uint64 { return Mix(bits, 2) }

// HashBool hashes a boolean.
func HashBool(v bool) uint64 {
	if v {
		return Mix(1, 3)
	}
	return Mix(0, 3)
}
