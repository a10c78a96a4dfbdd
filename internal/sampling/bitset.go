// SPDX-License-Identifier: Apache-2.0

package sampling

// bitset is a set of small numbers. The first 64 take no allocation.
type bitset struct {
	low  uint64
	high []uint64
}

func (s *bitset) has(i int) bool {
	if i < 64 {
		return s.low>>i&1 != 0
	}
	word := i/64 - 1
	return word < len(s.high) && s.high[word]>>(i%64)&1 != 0
}

func (s *bitset) hasAll(all []int) bool {
	for _, i := range all {
		if !s.has(i) {
			return false
		}
	}
	return true
}

func (s *bitset) set(i int) {
	if i < 64 {
		s.low |= 1 << i
		return
	}
	word := i/64 - 1
	for len(s.high) <= word {
		s.high = append(s.high, 0)
	}
	s.high[word] |= 1 << (i % 64)
}

func (s *bitset) merge(o *bitset) {
	s.low |= o.low
	for len(s.high) < len(o.high) {
		s.high = append(s.high, 0)
	}
	for i, w := range o.high {
		s.high[i] |= w
	}
}

// clear empties the set and keeps what it allocated.
func (s *bitset) clear() {
	s.low = 0
	clear(s.high)
	s.high = s.high[:0]
}

func (s *bitset) unset(i int) {
	if i < 64 {
		s.low &^= 1 << i
		return
	}
	if word := i/64 - 1; word < len(s.high) {
		s.high[word] &^= 1 << (i % 64)
	}
}
