// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"slices"

	"github.com/cespare/xxhash/v2"
)

// fact is something a trace showed while it arrived.
type fact uint16

const (
	factRandom fact = 1 << iota
	factThreshold
	factError
	factSLOBad
	factRoot
	factMoved
	factTooLarge
	factNewShape
	// factLearned marks a trace that a learning policy picked out.
	factLearned
	// factPinned marks a trace that is cited elsewhere, factLinked one that is linked with a kept trace.
	factPinned
	factLinked
	// factNoted marks a trace that a learning policy of a dry run picked out.
	factNoted
)

// maxOperations bounds the distinct operations a trace's shape is made of. Of more, those with the smallest hashes count, so that the
// shape does not depend on the order of arrival.
const maxOperations = 256

// maxServices and maxVersions bound what is remembered of a trace for slo and change policies.
const (
	maxServices = 16
	maxVersions = 8
)

// facts are gathered from the spans of a trace; those of a request are merged into those of the trace.
type facts struct {
	bits  bitset
	flags fact
	spans uint32
	// start and end span the trace, in the units of the wire.
	start, end uint64
	// size counts the bytes as one ResourceSpans message a request, as maximum_trace_size_bytes does; wireBytes as one Traces message.
	size, wireBytes uint64
	// random is rv; valid with factRandom.
	random uint64
	// route is the service and name of the root span, or of the first span while there is no root.
	route uint64
	// slowness is that of the slowest span for its operation; see operations.
	slowness float32
	// operations, services and versions are hashes, in order of arrival.
	operations []uint32
	services   []uint32
	versions   []uint32
}

func (f *facts) has(x fact) bool { return f.flags&x != 0 }

func (f *facts) reset() {
	bits, ops, services, versions := f.bits, f.operations, f.services, f.versions
	bits.clear()
	*f = facts{bits: bits, operations: ops[:0], services: services[:0], versions: versions[:0]}
}

// merge takes over what a request said about the trace. Times are merged span by span elsewhere, since latency looks at them in order.
func (f *facts) merge(o *facts) {
	f.bits.merge(&o.bits)
	if o.has(factRandom) && !f.has(factRandom) {
		f.random = o.random
	}
	if f.spans == 0 || (o.has(factRoot) && !f.has(factRoot)) {
		f.route = o.route
	}
	f.flags |= o.flags
	f.slowness = max(f.slowness, o.slowness)
	f.spans += o.spans
	f.size += o.size
	f.wireBytes += o.wireBytes
	if len(f.operations) == 0 && len(o.operations) > 0 {
		f.operations = slices.Clone(o.operations)
	} else {
		for _, op := range o.operations {
			f.operations = addOperation(f.operations, op)
		}
	}
	f.services = union(f.services, o.services, maxServices)
	f.versions = union(f.versions, o.versions, maxVersions)
}

// listBytes is the memory of what merge lets grow.
func (f *facts) listBytes() int64 {
	return 4*int64(cap(f.operations)+cap(f.services)+cap(f.versions)) + 8*int64(cap(f.bits.high))
}

func union(into, from []uint32, limit int) []uint32 {
	if len(into) == 0 && len(from) > 0 {
		return slices.Clone(from)
	}
	for _, v := range from {
		into = addDistinct(into, v, limit)
	}
	return into
}

func addDistinct(into []uint32, v uint32, limit int) []uint32 {
	if slices.Contains(into, v) {
		return into
	}
	if len(into) >= limit {
		return into
	}
	return append(into, v)
}

func addOperation(into []uint32, op uint32) []uint32 {
	if slices.Contains(into, op) {
		return into
	}
	if len(into) < maxOperations {
		return append(into, op)
	}
	largest := 0
	for i, v := range into {
		if v > into[largest] {
			largest = i
		}
	}
	if op < into[largest] {
		into[largest] = op
	}
	return into
}

// shape identifies the set of operations in a trace, whatever their order and number.
func (f *facts) shape() uint64 {
	sum := uint64(len(f.operations)) * 0x9e3779b97f4a7c15
	for _, op := range f.operations {
		sum += mix(uint64(op))
	}
	return mix(sum)
}

// ServiceHash identifies a service among the ones a trace went through.
func ServiceHash(service string) uint32 {
	return uint32(xxhash.Sum64String(service))
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
