// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSlowSpansAreToldFromUsualOnes(t *testing.T) {
	o := &operations{}
	r := rand.New(rand.NewPCG(1, 1))
	above := 0
	const spans = 50_000
	for i := range spans {
		// Log-normal, around a millisecond.
		took := uint64(1e6 * math.Exp(r.NormFloat64()*0.6))
		if s := o.slowness(7, 0, took); i > spans/2 && s > 1 {
			above++
		}
	}
	assert.InDelta(t, 0.01, float64(above)/(spans/2), 0.005, "a hundredth is above the hundredth")
	slow := uint64(1e6 * math.Exp(2.33*0.6))
	assert.InDelta(t, 1, o.slowness(7, 0, slow), 0.4)
	assert.InDelta(t, 3, o.slowness(7, 0, 4*slow), 0.4)
	assert.InDelta(t, slowest-fastest, o.slowness(7, 0, 1000*slow), 0, "bounded")
	assert.InDelta(t, 0, o.slowness(7, 0, 1000), 0)
	assert.InDelta(t, 0, o.slowness(8, 0, 1000*slow), 0, "an operation that is not known yet is not slow")
	assert.InDelta(t, 0, o.slowness(7, 10, 5), 0, "a span that ends before it starts says nothing")
}

func TestMoreOperationsThanThereAreSlots(t *testing.T) {
	o := &operations{}
	r := rand.New(rand.NewPCG(2, 2))
	for range 20 * operationSlots {
		o.slowness(r.Uint32(), 0, 1000)
	}
	assert.Nil(t, o.find(12345), "no room, and no harm")
}

func TestAShapeDoesNotDependOnTheOrderOfArrival(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{10, maxOperations, 3 * maxOperations} {
		all := make([]uint32, n)
		for i := range all {
			all[i] = uint32(mix(uint64(i)))
		}
		var first, second facts
		for _, op := range all {
			first.operations = addOperation(first.operations, op)
		}
		r.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, op := range append(all, all...) {
			second.operations = addOperation(second.operations, op)
		}
		assert.Equal(t, first.shape(), second.shape())
		assert.Len(t, second.operations, min(n, maxOperations))
	}
}

func TestFirstShapesGoBeforeTheRestAndDoNotCrowdItOut(t *testing.T) {
	h := replica(t, Budget{TracesPerSecond: 100}, always)
	n, fresh, failed, failedKept := uint64(0), make(map[TraceID]bool), make(map[TraceID]bool), 0
	second := func(names func(i uint64) string) (kept map[TraceID]Kept) {
		for i := range uint64(1000) {
			n++
			id := idOf(n)
			span := testSpan{id: id, name: names(i), failed: i%50 == 0}
			fresh[id], failed[id] = span.name != "op", span.failed
			h.add(span)
		}
		h.advance(time.Second)
		return h.kept()
	}
	for range 20 {
		second(func(uint64) string { return "op" })
	}
	kept := second(func(i uint64) string {
		if i%100 == 1 {
			return string(rune('a' + i/100))
		}
		return "op"
	})
	kept2 := second(func(uint64) string { return "op" })
	rare := 0
	for _, m := range []map[TraceID]Kept{kept, kept2} {
		for id := range m {
			if fresh[id] {
				rare++
			}
		}
	}
	assert.Equal(t, 10, rare, "each new shape is kept")
	// Names without end: errors still get their part.
	made := 0
	for range 30 {
		for id := range second(func(uint64) string { made++; return string(rune(1000 + made)) }) {
			if failed[id] {
				failedKept++
			}
		}
	}
	assert.Greater(t, failedKept, 25*20*9/10, "of 20 a second")
}
