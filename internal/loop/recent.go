// SPDX-License-Identifier: Apache-2.0

package loop

import "slices"

// recent remembers the last ids it was given, and forgets the oldest.
type recent struct {
	limit int
	seen  map[string]struct{}
	// order is a ring once it is full; next is its oldest entry.
	order []string
	next  int
}

func newRecent(limit int) *recent { return &recent{limit: limit, seen: map[string]struct{}{}} }

func (r *recent) has(id string) bool {
	_, ok := r.seen[id]
	return ok
}

func (r *recent) add(id string) {
	if r.has(id) || r.limit <= 0 {
		return
	}
	r.seen[id] = struct{}{}
	if len(r.order) < r.limit {
		r.order = append(r.order, id)
		return
	}
	delete(r.seen, r.order[r.next])
	r.order[r.next] = id
	r.next = (r.next + 1) % r.limit
}

// list returns the ids, oldest first.
func (r *recent) list() []string { return slices.Concat(r.order[r.next:], r.order[:r.next]) }
