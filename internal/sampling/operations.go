// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// operations follows, for each operation (service, span name, kind, failed or not), how long all but a hundredth of its spans take at
// most. It is read and written by all who take requests apart, without a lock: an update lost to another does no harm.
//
// The estimate is a stochastic one (Ma, Muthukrishnan, Sandler, "Frugal Streaming for Estimating Quantiles", 2013) on the logarithm of
// the duration: a step up for a span above it, a hundredth of a step down for one below.
type operations struct {
	slots [operationSlots]operation
}

// operation is a place of the table. key is 0 while it is free.
type operation struct {
	key   atomic.Uint32
	seen  atomic.Uint32
	level atomic.Uint32
}

const (
	// operationSlots bounds the operations followed, at twelve bytes each; further ones count as neither slow nor fast.
	operationSlots  = 1 << 14
	operationProbes = 8

	operationQuantile = 0.99
	// operationWarmUp is how many spans of an operation it takes to know it; until operationSettled, steps are larger.
	operationWarmUp, operationSettled = 50, 500
	operationFirstStep, operationStep = 0.25, 0.05
)

func (o *operations) find(key uint32) *operation {
	key = max(key, 1)
	for i := range uint32(operationProbes) {
		op := &o.slots[(key+i)%operationSlots]
		have := op.key.Load()
		if have == 0 && op.key.CompareAndSwap(0, key) {
			return op
		}
		if have == key || op.key.Load() == key {
			return op
		}
	}
	return nil
}

// slowest and fastest bound slowness: sixteen times what is slow, and half of it.
const (
	slowest = 4
	fastest = -1
)

// slowness takes note of a span and says how much slower it is than all but a hundredth of its operation's, in powers of two and
// counted from fastest: 0 is a span as usual, 1 is at the hundredth, 2 takes twice as long.
func (o *operations) slowness(key uint32, start, end uint64) float32 {
	if end <= start {
		return 0
	}
	op := o.find(key)
	if op == nil {
		return 0
	}
	took := logTwo(end - start)
	seen := op.seen.Load()
	if seen == 0 {
		op.seen.Store(1)
		op.level.Store(math.Float32bits(took))
		return 0
	}
	level := math.Float32frombits(op.level.Load())
	step := float32(operationStep)
	if seen < operationSettled {
		step = operationFirstStep
		op.seen.Store(seen + 1)
	}
	next := level - step*(1-operationQuantile)
	if took > level {
		next = level + step*operationQuantile
	}
	op.level.Store(math.Float32bits(next))
	if seen < operationWarmUp {
		return 0
	}
	return min(max(took-level, fastest), slowest) - fastest
}

// logTwo is the logarithm to base 2, within a tenth: the digits behind the point are those of the mantissa.
func logTwo(n uint64) float32 {
	whole := bits.Len64(n) - 1
	return float32(whole) + float32(n<<(63-whole)<<1>>40)/(1<<24)
}
