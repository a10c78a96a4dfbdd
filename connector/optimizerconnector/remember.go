// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"slices"

	"github.com/pitwall-io/pitwall/internal/detect"
)

// changeMemory knows the last changes, so that one told twice, or over two pipelines, is one.
type changeMemory struct {
	limit int
	seen  map[string]struct{}
	// order is a ring once it is full; next is its oldest entry.
	order []detect.Change
	next  int
	// unsent were seen in telemetry and have to be told as log records.
	unsent []detect.Change
	// fresh says that there are changes the board does not show yet.
	fresh bool
}

func newChangeMemory(limit int) changeMemory {
	return changeMemory{limit: limit, seen: map[string]struct{}{}}
}

// key tells the states of one change apart: one that was started and then succeeded is told twice.
func changeKey(c detect.Change) string { return c.ID + "\x00" + c.State }

// add remembers a change and reports whether it was not known.
func (m *changeMemory) add(c detect.Change) bool {
	key := changeKey(c)
	if _, known := m.seen[key]; known {
		return false
	}
	m.seen[key], m.fresh = struct{}{}, true
	if len(m.order) < m.limit {
		m.order = append(m.order, c)
		return true
	}
	delete(m.seen, changeKey(m.order[m.next]))
	m.order[m.next] = c
	m.next = (m.next + 1) % m.limit
	return true
}

// list returns the changes known, oldest first.
func (m *changeMemory) list() []detect.Change {
	return slices.Concat(m.order[m.next:], m.order[:m.next])
}
