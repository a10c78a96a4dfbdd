// SPDX-License-Identifier: Apache-2.0

package limit

const (
	bloomWords = 1 << 16 // 512 KiB a generation
	bloomKeys  = 400_000 // 10.5 bits a key: about 1 % false positives
	bloomTests = 7
)

// bloom remembers which streams were forgotten, in two generations of a Bloom filter (Bloom 1970), so that one that returns after
// all does not have its whole life counted a second time. It takes no memory before the first is forgotten.
type bloom struct {
	young, old []uint64
	keys       int
}

func newBloom() *bloom { return &bloom{} }

func (b *bloom) add(hash uint64) {
	if b.young == nil || b.keys >= bloomKeys {
		b.old, b.young, b.keys = b.young, make([]uint64, bloomWords), 0
	}
	b.keys++
	for i := range uint64(bloomTests) {
		bit := bloomBit(hash, i)
		b.young[bit>>6] |= 1 << (bit & 63)
	}
}

// wasFolded is the hash under which a stream is remembered that was folded when it was forgotten.
func wasFolded(id uint64) uint64 { return Mix(id, overflowPair) }

func (b *bloom) has(hash uint64) bool { return bloomIn(b.young, hash) || bloomIn(b.old, hash) }

func bloomIn(words []uint64, hash uint64) bool {
	if words == nil {
		return false
	}
	for i := range uint64(bloomTests) {
		bit := bloomBit(hash, i)
		if words[bit>>6]&(1<<(bit&63)) == 0 {
			return false
		}
	}
	return true
}

// bloomBit derives the i-th position from two halves of one hash (Kirsch and Mitzenmacher 2006).
func bloomBit(hash, i uint64) uint64 {
	return (hash + i*(hash>>32|1)*mixA) >> 7 % (bloomWords * 64)
}

func (b *bloom) bytes() int64 { return 8 * int64(len(b.young)+len(b.old)) }
