// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math"
	"math/bits"
)

const (
	hllPrecision = 12 // 4 KiB, standard error 1.04/√4096 = 1.6 %
	hllRegisters = 1 << hllPrecision
	hllExact     = 512 // up to here the hashes themselves are kept, and the count is exact
)

// hyperLogLog estimates how many distinct hashes it has seen (Flajolet et al. 2007, with the estimator of Ertl 2017, which needs
// no bias table). The harmonic sum is kept up to date with every insert, so that reading costs the same as writing: nothing.
type hyperLogLog struct {
	exact     map[uint64]struct{}
	registers []uint8
	histogram [66]int32 // how many registers hold each rank
}

// insert counts a hash and tells how many bytes the sketch grew by.
func (h *hyperLogLog) insert(hash uint64) int64 {
	if h.registers == nil {
		if _, ok := h.exact[hash]; ok {
			return 0
		}
		if len(h.exact) < hllExact {
			if h.exact == nil {
				h.exact = map[uint64]struct{}{}
			}
			h.exact[hash] = struct{}{}
			return 18
		}
		h.registers = make([]uint8, hllRegisters)
		h.histogram[0] = hllRegisters
		for seen := range h.exact {
			h.register(seen)
		}
		h.exact = nil
		h.register(hash)
		return hllRegisters - 18*hllExact
	}
	h.register(hash)
	return 0
}

func (h *hyperLogLog) register(hash uint64) {
	hash = Mix(hash, hllPrecision)
	at := hash >> (64 - hllPrecision)
	rank := uint8(bits.LeadingZeros64(hash<<hllPrecision|1<<(hllPrecision-1)) + 1)
	if was := h.registers[at]; rank > was {
		h.registers[at] = rank
		h.histogram[was]--
		h.histogram[rank]++
	}
}

// estimate returns the number of distinct hashes: exact up to 512, within about 2 % beyond.
func (h *hyperLogLog) estimate() float64 {
	if h.registers == nil {
		return float64(len(h.exact))
	}
	const m, top = float64(hllRegisters), 64 - hllPrecision
	z := m * tau(1-float64(h.histogram[top+1])/m)
	for k := top; k >= 1; k-- {
		z = 0.5 * (z + float64(h.histogram[k]))
	}
	z += m * sigma(float64(h.histogram[0])/m)
	return m * m / (2 * math.Ln2 * z)
}

// sigma and tau correct for empty and saturated registers (Ertl 2017, algorithm 6).
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		before := z
		z += x * y
		y += y
		if z == before {
			return z
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y /= 2
		z -= (1 - x) * (1 - x) * y
		if z == before {
			return z / 3
		}
	}
}

func (h *hyperLogLog) reset() {
	clear(h.exact)
	if h.registers != nil {
		clear(h.registers)
		clear(h.histogram[:])
		h.histogram[0] = hllRegisters
	}
}

func (h *hyperLogLog) bytes() int64 {
	return int64(len(h.registers)) + 18*int64(len(h.exact))
}
