// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	// maxSenders bounds the collectors whose numbers are remembered; the one that was silent longest makes room.
	maxSenders = 1_000
	// sequenceWindow is how far a number may lie behind the greatest one of its sender.
	sequenceWindow = 1024
)

// Why a part is not merged.
const (
	statisticsDuplicate = "duplicate"
	statisticsTooOld    = "too_old"
)

// senders remembers which numbers came from whom.
type senders map[string]*senderMemory

// senderMemory has the greatest number that came and, of the window up to it, a bit for each that did. It has the form in which it is kept.
type senderMemory struct {
	Last  int64                       `json:"last"`
	Seen  [sequenceWindow / 64]uint64 `json:"seen"`
	Heard time.Time                   `json:"heard"`
}

// known takes a number and returns why its part must not be merged; empty if it must.
func (s senders) known(sender string, sequence int64, clock time.Time) string {
	m := s[sender]
	if m == nil {
		if len(s) >= maxSenders {
			delete(s, slices.MinFunc(slices.Collect(maps.Keys(s)), func(a, b string) int {
				return cmp.Or(s[a].Heard.Compare(s[b].Heard), cmp.Compare(a, b))
			}))
		}
		m = &senderMemory{Last: sequence}
		s[sender] = m
	}
	m.Heard = clock
	switch behind := m.Last - sequence; {
	case behind >= sequenceWindow:
		return statisticsTooOld
	case behind < 0:
		// The numbers between were not seen yet.
		for n := max(m.Last+1, sequence-sequenceWindow+1); n < sequence; n++ {
			m.clear(n)
		}
		m.Last = sequence
	case m.has(sequence):
		return statisticsDuplicate
	}
	m.set(sequence)
	return ""
}

func place(n int64) (word int, bit uint64) {
	n %= sequenceWindow
	return int(n / 64), 1 << (n % 64)
}

func (m *senderMemory) has(n int64) bool {
	word, bit := place(n)
	return m.Seen[word]&bit != 0
}

func (m *senderMemory) set(n int64) {
	word, bit := place(n)
	m.Seen[word] |= bit
}

func (m *senderMemory) clear(n int64) {
	word, bit := place(n)
	m.Seen[word] &^= bit
}

// restored keeps what can be used of a snapshot.
func (s senders) restored(kept map[string]*senderMemory) {
	for name, m := range kept {
		if m != nil && m.Last > 0 && len(s) < maxSenders {
			s[name] = m
		}
	}
}
