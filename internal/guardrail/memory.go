// SPDX-License-Identifier: Apache-2.0

package guardrail

import (
	"cmp"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
)

// Past is what was last recommended, without anything that forbade it, for one target and kind.
type Past struct {
	ID        string    `json:"id"`
	Direction string    `json:"direction"`
	At        time.Time `json:"at"`
	// Flips are the last changes of direction, oldest first.
	Flips []time.Time `json:"flips,omitempty"`
}

// maxFlips bounds the changes of direction that are remembered of one target and kind.
const maxFlips = 16

func (p Past) flipsSince(from time.Time) int {
	n := 0
	for _, at := range p.Flips {
		if at.After(from) {
			n++
		}
	}
	return n
}

// Direction is what an action does: up or down where it is a matter of degree, otherwise its verb.
func Direction(c *detect.Candidate) string {
	switch {
	case c.Step > 0:
		return "up"
	case c.Step < 0:
		return "down"
	default:
		return c.Envelope.Action.Verb
	}
}

// Memory holds the past of the targets and kinds that were acted on last. It is bounded; the one touched longest ago goes first.
type Memory struct {
	Limit int             `json:"-"`
	Past  map[string]Past `json:"past"`
}

// NewMemory returns an empty memory.
func NewMemory(limit int) *Memory { return &Memory{Limit: limit, Past: map[string]Past{}} }

// Remember notes that a candidate was recommended at now with nothing to forbid it.
func (m *Memory) Remember(key string, c *detect.Candidate, now time.Time) {
	past, known := m.Past[key]
	direction := Direction(c)
	if known && past.ID == c.Envelope.ID && past.Direction == direction {
		return
	}
	if known && past.Direction != direction {
		past.Flips = append(past.Flips, now)
		if over := len(past.Flips) - maxFlips; over > 0 {
			past.Flips = slices.Delete(past.Flips, 0, over)
		}
	}
	past.ID, past.Direction, past.At = c.Envelope.ID, direction, now
	if !known && len(m.Past) >= m.Limit {
		m.forgetOldest()
	}
	m.Past[key] = past
}

// forgetOldest drops a tenth of the entries at once, so that a full memory does not search at every newcomer.
func (m *Memory) forgetOldest() {
	keys := make([]string, 0, len(m.Past))
	for key := range m.Past {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(m.Past[a].At.Compare(m.Past[b].At), cmp.Compare(a, b))
	})
	for _, key := range keys[:len(keys)/10+1] {
		delete(m.Past, key)
	}
}
