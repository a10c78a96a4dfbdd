// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"slices"
)

const (
	// A seat nobody used for this many windows is free again: quickly where there is room, slowly where others wait, so that a
	// stream of values seen once cannot walk through all the seats.
	idleWindows          = 2
	idleWindowsContested = 10
)

// admission holds who, of all values of an attribute or all series of a metric, is let through in the current window. A seat
// once given is kept until the window's edge; there, whoever waits and weighs a given factor more than the lightest seat takes it,
// unless he is one of a crowd: to get in at once he must also weigh that factor more than those who would be left, so that values seen
// once do not walk through the seats. One who waited in the window before, too, is no such value.
type admission struct {
	limit   int
	seats   map[uint64]*seat
	unseen  seatFilter          // says of most hashes without a seat that they have none; made when somebody is refused
	waiting *heavyHitters       // nil until somebody was refused
	known   map[uint64]struct{} // those of the window before who were heavy enough for a seat
	demand  hyperLogLog         // everybody who asked in this window; filled from the moment somebody is refused

	refused       float64 // weight refused in this window
	lastDemand    float64 // demand estimate of the window before
	contested     bool    // somebody was refused in this window
	wasContested  bool    // or in the one before
	displacements uint64
}

type seat struct {
	weight float64 // in this window, counted while contested
	idle   uint8   // windows in a row without use
	used   bool    // in this window
	// vacated seats are free from the next window on.
	vacated bool
}

const seatBytes = 64

// crowded tells whether weights have to be counted.
func (a *admission) crowded() bool { return a.contested || a.wasContested }

// find returns the seat of a hash, or nil.
func (a *admission) find(hash uint64) *seat {
	if a.unseen.bits != nil && !a.unseen.has(hash) {
		return nil
	}
	return a.seats[hash]
}

// ask gives a seat while there is room.
func (a *admission) ask(hash uint64, room bool) *seat {
	if len(a.seats) >= a.limit || !room {
		return nil
	}
	if a.seats == nil {
		a.seats = map[uint64]*seat{}
	}
	s := &seat{used: true}
	a.seats[hash] = s
	if a.unseen.bits != nil {
		a.unseen.add(hash)
	}
	return s
}

// refuse notes the weight of somebody without a seat, in sketches that take no more than room bytes when they are made. It
// returns the bytes they grew by. Without room nobody is weighed, and the seats stay with who has them.
func (a *admission) refuse(hash uint64, weight float64, room int64) int64 {
	grown := int64(0)
	if a.waiting == nil {
		size := waitingSize(min(a.limit, len(a.seats)+16))
		for size >= 16 && heavyHittersBytes(size) > room {
			size /= 2
		}
		if size >= 16 {
			a.waiting = newHeavyHitters(size)
			grown = heavyHittersBytes(size)
		}
	}
	if !a.contested {
		a.contested = true
		if a.unseen.bits == nil && room > 0 {
			grown += a.unseen.fill(a.seats)
		}
		if !a.wasContested && room > 0 {
			for seated := range a.seats {
				grown += a.demand.insert(seated)
			}
		}
	}
	if room > 0 {
		grown += a.demand.insert(hash)
	}
	if weight > 0 && a.waiting != nil {
		a.refused += weight
		a.waiting.offer(hash, weight)
	}
	return grown
}

// waitingSize is how many hashes are watched while they wait.
func waitingSize(limit int) int { return 4 * min(max(limit, 16), 4096) }

// clear takes all seats back.
func (a *admission) clear() {
	clear(a.seats)
	a.unseen = seatFilter{}
}

// edge closes the window: it frees idle seats, lets the heavy displace the light and tells whether anybody lost or won a seat.
func (a *admission) edge(factor float64) bool {
	changed := a.freeIdle()
	if a.contested && a.waiting != nil {
		changed = a.displace(factor) || changed
	}
	a.lastDemand = a.wanted()
	for _, s := range a.seats {
		s.weight, s.used = 0, false
	}
	if a.waiting != nil {
		a.waiting.reset()
	}
	a.demand.reset()
	a.refused = 0
	a.wasContested, a.contested = a.contested, false
	a.unseen = seatFilter{}
	if !a.wasContested {
		a.known = nil
	} else {
		a.unseen.fill(a.seats)
	}
	return changed
}

func (a *admission) freeIdle() bool {
	patience := uint8(idleWindows)
	if a.crowded() {
		patience = idleWindowsContested
	}
	freed := false
	for hash, s := range a.seats {
		if s.vacated {
			delete(a.seats, hash)
			continue
		}
		if s.used {
			s.idle = 0
			continue
		}
		if s.idle++; s.idle >= patience {
			delete(a.seats, hash)
			freed = true
		}
	}
	return freed
}

// displace seats the heaviest of those who wait: on free seats first, then in place of the lightest.
func (a *admission) displace(factor float64) bool {
	type seated struct {
		hash   uint64
		weight float64
	}
	order := make([]seated, 0, len(a.seats))
	for hash, s := range a.seats {
		order = append(order, seated{hash, s.weight})
	}
	slices.SortFunc(order, func(x, y seated) int { return cmp.Or(cmp.Compare(x.weight, y.weight), cmp.Compare(x.hash, y.hash)) })
	wait := slices.Clone(a.waiting.hitters)
	slices.SortFunc(wait, func(x, y hitter) int {
		return cmp.Or(cmp.Compare(y.weight-y.excess, x.weight-x.excess), cmp.Compare(x.hash, y.hash))
	})
	crowd, known := a.crowd(wait), a.known
	a.known = nil
	changed := false
	for _, w := range wait {
		weight := w.weight - w.excess
		full := len(a.seats) >= a.limit
		if weight <= 0 || len(a.known) >= a.limit || full && (len(order) == 0 || weight < factor*order[0].weight) {
			break
		}
		if _, again := known[w.hash]; !again && weight < factor*crowd {
			if a.known == nil {
				a.known = map[uint64]struct{}{}
			}
			a.known[w.hash] = struct{}{}
			continue
		}
		if full {
			delete(a.seats, order[0].hash)
			order = order[1:]
			a.displacements++
		}
		a.seats[w.hash] = &seat{}
		changed = true
	}
	return changed
}

// crowd is what those weigh on average who wait, but for the heaviest, as many as there are seats at most.
func (a *admission) crowd(heaviest []hitter) float64 {
	heaviest = heaviest[:min(len(heaviest), a.limit)]
	others, weight := a.demand.estimate()-float64(len(a.seats)+len(heaviest)), a.refused
	for _, h := range heaviest {
		weight -= h.weight - h.excess
	}
	if others < 1 {
		return 0
	}
	return max(weight, 0) / others
}

// wanted is how many distinct hashes asked in this window.
func (a *admission) wanted() float64 {
	if a.contested {
		return max(a.demand.estimate(), float64(len(a.seats)))
	}
	used := 0
	for _, s := range a.seats {
		if s.used {
			used++
		}
	}
	return float64(used)
}

func (a *admission) bytes() int64 {
	n := int64(len(a.seats))*seatBytes + 18*int64(len(a.known)) + a.demand.bytes() + 8*int64(len(a.unseen.bits))
	if a.waiting != nil {
		n += heavyHittersBytes(a.waiting.size)
	}
	return n
}

// seatFilter answers for most hashes without a seat, in one access to memory, that they have none: in an explosion nearly all have none.
// It is one bit a hash, in sixteen to 32 times as many bits as there are seats.
type seatFilter struct{ bits []uint64 }

func (f *seatFilter) at(hash uint64) (word int, bit uint64) {
	return int(hash >> 6 & uint64(len(f.bits)-1)), 1 << (hash & 63)
}

func (f *seatFilter) has(hash uint64) bool {
	word, bit := f.at(hash)
	return f.bits[word]&bit != 0
}

func (f *seatFilter) add(hash uint64) {
	word, bit := f.at(hash)
	f.bits[word] |= bit
}

// fill makes a filter of seats and tells its size in bytes. Seats given later make it less sharp, never wrong.
func (f *seatFilter) fill(seats map[uint64]*seat) int64 {
	words := 8
	for words*64 < 16*len(seats) {
		words *= 2
	}
	f.bits = make([]uint64, words)
	for hash := range seats {
		f.add(hash)
	}
	return 8 * int64(words)
}
