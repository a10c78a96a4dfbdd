// SPDX-License-Identifier: Apache-2.0

package change

import (
	"container/list"
	"encoding/json"
	"errors"
	"hash/crc32"
	"time"
)

// Memory remembers which changes were told, at most a number of them; the oldest is forgotten first. It is not safe for concurrent use.
type Memory struct {
	limit   int
	order   *list.List // of *entry, oldest first
	entries map[string]*list.Element
	// Forgotten counts entries that made room for others.
	Forgotten int64
}

type entry struct {
	Key   string `json:"k"`
	Value string `json:"v,omitempty"`
}

// NewMemory returns a memory of at most limit changes.
func NewMemory(limit int) *Memory {
	return &Memory{limit: limit, order: list.New(), entries: map[string]*list.Element{}}
}

// Knows says whether key holds value already.
func (m *Memory) Knows(key, value string) bool {
	e, ok := m.entries[key]
	return ok && e.Value.(*entry).Value == value
}

// Add makes key hold value.
func (m *Memory) Add(key, value string) {
	if e, ok := m.entries[key]; ok {
		e.Value.(*entry).Value = value
		m.order.MoveToBack(e)
		return
	}
	for len(m.entries) >= m.limit {
		oldest := m.order.Front()
		delete(m.entries, m.order.Remove(oldest).(*entry).Key)
		m.Forgotten++
	}
	m.entries[key] = m.order.PushBack(&entry{Key: key, Value: value})
}

// Len is how many changes are remembered.
func (m *Memory) Len() int { return len(m.entries) }

// snapshotVersion is the form of a snapshot; Restore reads this one only.
const snapshotVersion = 1

type snapshot struct {
	Version int             `json:"version"`
	Sum     uint32          `json:"crc32"`
	Entries json.RawMessage `json:"entries"`
}

// ErrSnapshot says that a snapshot cannot be read.
var ErrSnapshot = errors.New("the snapshot of remembered changes is damaged or of another version")

// Snapshot returns everything remembered, oldest first, with a checksum.
func (m *Memory) Snapshot() ([]byte, error) {
	all := make([]*entry, 0, m.order.Len())
	for e := m.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*entry))
	}
	entries, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return json.Marshal(snapshot{Version: snapshotVersion, Sum: crc32.ChecksumIEEE(entries), Entries: entries})
}

// Restore adds what a snapshot holds.
func (m *Memory) Restore(data []byte) error {
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil || s.Version != snapshotVersion || crc32.ChecksumIEEE(s.Entries) != s.Sum {
		return ErrSnapshot
	}
	var all []entry
	if err := json.Unmarshal(s.Entries, &all); err != nil {
		return ErrSnapshot
	}
	for _, e := range all {
		m.Add(e.Key, e.Value)
	}
	return nil
}

// Bucket limits a rate: it holds up to burst tokens and gains perSecond of them each second. It is not safe for concurrent use.
type Bucket struct {
	perSecond, burst, tokens float64
	last                     time.Time
}

// NewBucket returns a full bucket.
func NewBucket(perSecond float64, burst int) *Bucket {
	return &Bucket{perSecond: perSecond, burst: float64(burst), tokens: float64(burst)}
}

// Take takes a token, if there is one.
func (b *Bucket) Take(now time.Time) bool {
	if elapsed := now.Sub(b.last).Seconds(); !b.last.IsZero() && elapsed > 0 {
		b.tokens = min(b.burst, b.tokens+elapsed*b.perSecond)
	}
	if b.last.IsZero() || now.After(b.last) {
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
