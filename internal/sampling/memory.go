// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// decidedTrace is what is remembered of a decision.
type decidedTrace struct {
	kept         bool
	policy, lane int
	chance       Chance
	random       uint64
	setRandom    bool
	at           time.Duration
}

// Decisions remembers decisions. It may be shared by engines and is safe for concurrent use. Kept and dropped alike go into generations of fingerprint tables of three bytes an entry; the oldest
// generation is forgotten when the newest is full. Of the latest kept traces the details are remembered as well.
//
// A fingerprint has 23 bits and a trace is looked for in eight places a generation, so about one in 260,000 new traces is taken for one
// that was decided before.
type Decisions struct {
	// size is what it takes, in bytes.
	size atomic.Int64
	// engines is how many share it.
	engines atomic.Int32

	// mu guards what follows; nothing else is locked under it.
	mu          sync.Mutex
	generations []*fingerprints
	perTable    int

	details map[TraceID]decidedTrace
	order   []TraceID
	at      int
}

// memoryGenerations is how many tables share the capacity: at most one of them is empty.
const memoryGenerations = 4

// NewDecisions makes a memory of capacity decisions, and of the details of that many kept traces.
func NewDecisions(capacity, details int) *Decisions {
	m := &Decisions{details: make(map[TraceID]decidedTrace)}
	if capacity > 0 {
		m.perTable = max(16, (capacity+memoryGenerations-1)/memoryGenerations)
	}
	if details > 0 {
		m.order = make([]TraceID, 0, min(details, 1024))
		m.at = -details
	}
	return m
}

// detailBytes is about what a map entry of details takes.
const detailBytes = 160

func (m *Decisions) bytes() int64 { return m.size.Load() }

func (m *Decisions) add(id TraceID, d decidedTrace) {
	if m.perTable == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := idHash(id)
	n := len(m.generations)
	if n == 0 || m.generations[n-1].count >= m.perTable || !m.generations[n-1].add(h, d.kept) {
		if n == memoryGenerations {
			oldest := m.generations[0]
			copy(m.generations, m.generations[1:])
			oldest.clear()
			m.generations[n-1] = oldest
		} else {
			m.generations = append(m.generations, newFingerprints(m.perTable))
			m.size.Add(int64(len(m.generations[n].slots)))
		}
		m.generations[len(m.generations)-1].add(h, d.kept)
	}
	if d.kept {
		m.remember(id, d)
	}
}

// remember keeps details of the latest kept traces, in a ring that grows as needed. at is negative while the ring may grow.
func (m *Decisions) remember(id TraceID, d decidedTrace) {
	if m.at == 0 && len(m.order) == 0 {
		return
	}
	if _, known := m.details[id]; !known {
		m.size.Add(detailBytes)
	}
	m.details[id] = d
	if m.at < 0 {
		m.order = append(m.order, id)
		m.at++
		return
	}
	if _, known := m.details[m.order[m.at]]; known && m.order[m.at] != id {
		delete(m.details, m.order[m.at])
		m.size.Add(-detailBytes)
	}
	m.order[m.at] = id
	m.at = (m.at + 1) % len(m.order)
}

func (m *Decisions) lookup(id TraceID) (decidedTrace, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.generations) == 0 {
		return decidedTrace{}, false
	}
	h := idHash(id)
	for _, v := range slices.Backward(m.generations) {
		kept, ok := v.find(h)
		if !ok {
			continue
		}
		if d, known := m.details[id]; kept && known {
			return d, true
		}
		return decidedTrace{kept: kept, policy: -1, lane: -1, at: -1}, true
	}
	return decidedTrace{}, false
}

func idHash(id TraceID) uint64 {
	return mix(binary.LittleEndian.Uint64(id[:8]) ^ mix(binary.LittleEndian.Uint64(id[8:])))
}

// fingerprints is a cuckoo table (Fan, Andersen, Kaminsky, Mitzenmacher, "Cuckoo Filter: Practically Better Than Bloom", 2014) with four
// entries a bucket. An entry is three bytes: one bit for kept, 23 for the fingerprint, of which zero means empty.
type fingerprints struct {
	slots   []byte
	buckets uint64
	count   int
}

const (
	slotBytes   = 3
	bucketSlots = 4
	maxKicks    = 500
)

func newFingerprints(capacity int) *fingerprints {
	buckets := uint64(float64(capacity)/(0.95*bucketSlots)) + 1
	return &fingerprints{slots: make([]byte, buckets*bucketSlots*slotBytes), buckets: buckets}
}

func (f *fingerprints) clear() {
	clear(f.slots)
	f.count = 0
}

func fingerprintOf(h uint64) uint32 {
	fp := uint32(h>>41) & (1<<23 - 1)
	if fp == 0 {
		fp = 1
	}
	return fp
}

func (f *fingerprints) first(h uint64) uint64 { return (h & (1<<41 - 1)) % f.buckets }

// other is the second bucket of a fingerprint, whichever of the two bucket is: their numbers add up to a hash of the fingerprint.
func (f *fingerprints) other(bucket uint64, fp uint32) uint64 {
	return (mix(uint64(fp))%f.buckets + f.buckets - bucket) % f.buckets
}

func (f *fingerprints) get(bucket uint64, i int) (fp uint32, kept bool) {
	at := (bucket*bucketSlots + uint64(i)) * slotBytes
	s := f.slots[at : at+slotBytes]
	return (uint32(s[0])<<16 | uint32(s[1])<<8 | uint32(s[2])) & (1<<23 - 1), s[0]&0x80 != 0
}

func (f *fingerprints) put(bucket uint64, i int, fp uint32, kept bool) {
	at := (bucket*bucketSlots + uint64(i)) * slotBytes
	s := f.slots[at : at+slotBytes]
	s[0], s[1], s[2] = byte(fp>>16), byte(fp>>8), byte(fp)
	if kept {
		s[0] |= 0x80
	}
}

func (f *fingerprints) find(h uint64) (kept, ok bool) {
	fp := fingerprintOf(h)
	a := f.first(h)
	for _, bucket := range [2]uint64{a, f.other(a, fp)} {
		for i := range bucketSlots {
			if have, kept := f.get(bucket, i); have == fp {
				return kept, true
			}
		}
	}
	return false, false
}

func (f *fingerprints) place(bucket uint64, fp uint32, kept bool) bool {
	for i := range bucketSlots {
		if have, _ := f.get(bucket, i); have == 0 {
			f.put(bucket, i, fp, kept)
			f.count++
			return true
		}
	}
	return false
}

// add stores an entry; it fails when the table is too full, and then has forgotten one other entry.
func (f *fingerprints) add(h uint64, kept bool) bool {
	fp := fingerprintOf(h)
	bucket := f.first(h)
	if f.place(bucket, fp, kept) || f.place(f.other(bucket, fp), fp, kept) {
		return true
	}
	for kick := range maxKicks {
		slot := int(h>>(kick%32)) & (bucketSlots - 1)
		victim, victimKept := f.get(bucket, slot)
		f.put(bucket, slot, fp, kept)
		fp, kept = victim, victimKept
		bucket = f.other(bucket, fp)
		if f.place(bucket, fp, kept) {
			return true
		}
	}
	return false
}
