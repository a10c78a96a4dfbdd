// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// front answers most lookups of the cache in one pass over the attributes, without a copy of them and without a lock. It knows resources
// by a fingerprint only. Writers replace whole entries.
type front struct {
	mask   uint64
	places []atomic.Pointer[frontEntry]
}

// frontEntry is one resource and what was decided about it. It is immutable.
type frontEntry struct {
	fingerprint
	verdict *verdict
}

// fingerprint is 128 bits of hash over names, kinds and values, in their order, and how many bytes they are. Two resources share one with
// a chance of about 2^-100 for each pair: keys are drawn anew in every process, so nobody can look for such a pair from outside.
type fingerprint struct {
	a, b   uint64
	length uint64
}

// secret keys the fingerprints of this process.
var secret = [4]uint64{rand.Uint64() | 1, rand.Uint64() | 1, rand.Uint64() | 1, rand.Uint64() | 1}

// frontWays is how many places a resource may stand at.
const frontWays = 2

// newFront is a front of about twice as many places as there may be resources.
func newFront(maxResources int) *front {
	n := uint64(1) << bits.Len(uint(min(max(maxResources, 1), 1<<20)*2-1))
	return &front{mask: n - 1, places: make([]atomic.Pointer[frontEntry], n)}
}

// get is the verdict on the resource with this fingerprint, if it is at hand.
func (f *front) get(mark fingerprint) *verdict {
	for way := range uint64(frontWays) {
		if e := f.places[(mark.a+way)&f.mask].Load(); e != nil && e.fingerprint == mark {
			return e.verdict
		}
	}
	return nil
}

// put remembers a verdict at the better of its places: a free one, or else the second, so that the first stays with who came first.
func (f *front) put(mark fingerprint, v *verdict) {
	to := &f.places[(mark.a+frontWays-1)&f.mask]
	for way := range uint64(frontWays) {
		if place := &f.places[(mark.a+way)&f.mask]; place.Load() == nil {
			to = place
			break
		}
	}
	to.Store(&frontEntry{mark, v})
}

// fingerprintOf is the fingerprint of attributes. It allocates only where one of them is a list, a map or bytes.
func fingerprintOf(attrs pcommon.Map) fingerprint {
	c, length := newChain().attributes(attrs)
	return fingerprint{a: c.a, b: c.b, length: length}
}

// chain is the two halves of a fingerprint on its way. It is passed by value: in registers.
type chain struct{ a, b uint64 }

func newChain() chain { return chain{secret[0], secret[1]} }

// attributes takes names, kinds and values, and says how many bytes they are. Names and values are two chains, so that the machine need
// not wait for one before it goes on with the other.
func (c chain) attributes(attrs pcommon.Map) (_ chain, length uint64) {
	names, values := c, chain{c.b ^ secret[2], c.a ^ secret[3]}
	for name, value := range attrs.All() {
		names = names.text(name)
		length += uint64(len(name)) + 1
		switch kind := value.Type(); kind {
		case pcommon.ValueTypeStr:
			text := value.Str()
			values = values.text(text)
			length += uint64(len(text)) + 1
		case pcommon.ValueTypeInt:
			values = values.mix(uint64(kind), uint64(value.Int()))
		case pcommon.ValueTypeDouble:
			values = values.mix(uint64(kind), math.Float64bits(value.Double()))
		case pcommon.ValueTypeBool:
			n := uint64(0)
			if value.Bool() {
				n = 1
			}
			values = values.mix(uint64(kind), n)
		case pcommon.ValueTypeEmpty:
			values = values.mix(uint64(kind), 0)
		default:
			text := value.AsString()
			values = values.mix(uint64(kind), 0).text(text)
			length += uint64(len(text)) + 1
		}
	}
	return names.mix(values.a, values.b), length
}

// text takes a text: its length and, sixteen bytes at a time, all of it. The last step may take bytes again that were taken before; the
// length says which.
func (c chain) text(s string) chain {
	n := uint64(len(s))
	c.a ^= n * secret[1]
	c.b ^= n * secret[0]
	for len(s) > 16 {
		c = c.mix(word(s), word(s[8:]))
		s = s[16:]
	}
	switch m := len(s); {
	case m >= 8:
		return c.mix(word(s), word(s[m-8:]))
	case m >= 4:
		return c.mix(half(s), half(s[m-4:])<<32)
	case m > 0:
		return c.mix(uint64(s[0])|uint64(s[m/2])<<8|uint64(s[m-1])<<16, 0)
	}
	return c.mix(0, 0)
}

// mix folds two words into both halves: each is the product of the two, keyed, its upper half on its lower (the folded multiplication of
// Wang Yi, Diego Barrios Romero and others, "Modern Non-Cryptographic Hash Function and Pseudorandom Number Generator", wyhash, 2020).
func (c chain) mix(x, y uint64) chain {
	high, low := bits.Mul64(x^c.a, y^secret[2])
	c.a = high ^ low
	high, low = bits.Mul64(x^secret[3], y^c.b)
	c.b = high ^ low
	return c
}

// half is the first four bytes of s.
func half(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// word is the first eight bytes of s.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
