// SPDX-License-Identifier: Apache-2.0

package limit

import "math/rand/v2"

// arena holds the streams of all metrics in blocks that never move.
type arena struct {
	blocks [][]stream
	next   uint32
	free   []uint32
}

const (
	blockBits = 9
	blockSize = 1 << blockBits
)

func (a *arena) at(ref uint32) *stream {
	return &a.blocks[ref>>blockBits][ref&(blockSize-1)]
}

func (a *arena) take() uint32 {
	if n := len(a.free); n > 0 {
		ref := a.free[n-1]
		a.free = a.free[:n-1]
		return ref
	}
	if int(a.next>>blockBits) == len(a.blocks) {
		a.blocks = append(a.blocks, make([]stream, blockSize))
	}
	a.next++
	return a.next - 1
}

func (a *arena) give(ref uint32) {
	*a.at(ref) = stream{}
	a.free = append(a.free, ref)
}

// streamTable finds a metric's streams by the hash of their identity: open addressing with linear probing, eight bytes a slot, so
// that a look-up among millions touches one cache line and the garbage collector none. A slot's place comes from the hash times a
// secret odd number (multiply-shift, Dietzfelbinger et al. 1997): senders choose the values that are hashed, and must not be able
// to choose where they land.
type streamTable struct {
	slots []streamSlot
	used  int
}

type streamSlot struct {
	tag uint32 // upper half of the product; its upper bits are the slot's place, in a table of any size
	ref uint32 // place in the arena plus one; 0 is free
}

const (
	streamSlotBytes = 8
	leastSlots      = 8
)

// secret is drawn once: runs differ only in the order in which tables are walked.
var secret = rand.Uint64() | 1

func tagOf(id uint64) uint32 { return uint32((id * secret) >> 32) }

// home is the slot at which the search for a tag begins.
func (t *streamTable) home(tag uint32) int {
	return int(uint64(tag) * uint64(len(t.slots)) >> 32)
}

func (t *streamTable) find(a *arena, id uint64) *stream {
	if t.used == 0 {
		return nil
	}
	mask := len(t.slots) - 1
	tag := tagOf(id)
	for i := t.home(tag); ; i++ {
		s := t.slots[i&mask]
		if s.ref == 0 {
			return nil
		}
		if s.tag == tag {
			if found := a.at(s.ref - 1); found.id == id {
				return found
			}
		}
	}
}

// first returns what the slot holds at which the search for a hash begins.
func (t *streamTable) first(id uint64) uint32 { return t.slots[t.home(tagOf(id))].ref }

// insert adds a stream that is not there yet and tells by how many bytes the table grew.
func (t *streamTable) insert(id uint64, ref uint32) int64 {
	grown := int64(0)
	if crowdedTable(t.used+1, len(t.slots)) {
		grown = t.resize(max(2*len(t.slots), leastSlots))
	}
	t.put(streamSlot{tagOf(id), ref + 1})
	return grown
}

// crowdedTable tells whether a table has to grow. Small ones stay emptier: most searches end at the first slot, and no branch is
// guessed wrong.
func crowdedTable(used, slots int) bool {
	if slots < manySlots {
		return 4*used > slots
	}
	return 8*used > 5*slots
}

func (t *streamTable) put(s streamSlot) {
	mask := len(t.slots) - 1
	i := t.home(s.tag)
	for t.slots[i&mask].ref != 0 {
		i++
	}
	t.slots[i&mask] = s
	t.used++
}

func (t *streamTable) resize(slots int) int64 {
	before := t.slots
	t.slots, t.used = make([]streamSlot, slots), 0
	for _, s := range before {
		if s.ref != 0 {
			t.put(s)
		}
	}
	return int64(len(t.slots)-len(before)) * streamSlotBytes
}

// each calls f for every stream.
func (t *streamTable) each(a *arena, f func(*stream)) {
	for _, s := range t.slots {
		if s.ref != 0 {
			f(a.at(s.ref - 1))
		}
	}
}

// prune removes the streams for which leave is true, gives their places back and tells by how many bytes the table grew (less than
// zero when it shrank).
func (t *streamTable) prune(a *arena, leave func(*stream) bool) int64 {
	gone := 0
	for i, s := range t.slots {
		if s.ref == 0 || !leave(a.at(s.ref-1)) {
			continue
		}
		a.give(s.ref - 1)
		t.slots[i].ref = 0
		gone++
	}
	if gone == 0 {
		return 0
	}
	left := t.used - gone
	if left == 0 {
		freed := int64(len(t.slots)) * streamSlotBytes
		*t = streamTable{}
		return -freed
	}
	slots := leastSlots
	for crowdedTable(left, slots) {
		slots *= 2
	}
	return t.resize(slots) // searches end at a free slot: holes have to be closed
}

func (t *streamTable) len() int { return t.used }
