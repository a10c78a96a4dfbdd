// SPDX-License-Identifier: Apache-2.0

package limit

import "math"

// heavyHitters finds the heaviest hashes of a stream in fixed memory: Space-Saving (Metwally, Agrawal, El Abbadi 2005) behind a
// small counting filter (filtered Space-Saving, Homem and Carvalho 2010). Each true weight lies between weight − excess and
// weight. The filter keeps a flood of hashes seen once out of the table: they cost one array access each.
//
// Who has to go for a newcomer is not the lightest of all, which takes a heap to know and is the dearest part of an explosion, but
// the lightest of the next few. The bounds hold whoever goes, since the filter remembers the weight of each that went; and
// the heaviest fraction f of the table loses one to a newcomer with probability f to the power of tries at most.
type heavyHitters struct {
	hitters []hitter
	sieve   []cell
	size    int

	hand int     // where the search for the next to go begins
	bar  float64 // what the lightest few weighed lately: below it nobody searches
}

// tries is how many hitters are looked at to find one to replace; sizes are multiples of it.
const tries = 8

type hitter struct {
	hash           uint64
	weight, excess float64
	next           int32 // place plus one of the next hitter of the same cell; 0 ends the chain
}

// cell is shared by all hashes that fall into it.
type cell struct {
	weight float32 // seen by hashes that are not in the table
	first  int32   // place plus one of the first hitter of the cell; 0 when none of its hashes is in the table
}

func newHeavyHitters(size int) *heavyHitters {
	return &heavyHitters{
		hitters: make([]hitter, 0, size),
		sieve:   make([]cell, sieveCells(size)),
		size:    size,
	}
}

// sieveCells is a power of two, at least four times the size.
func sieveCells(size int) int {
	cells := 512
	for cells < 4*size {
		cells *= 2
	}
	return cells
}

// heavyHittersBytes is what a sketch of a size holds in memory.
func heavyHittersBytes(size int) int64 {
	return int64(size)*32 + 8*int64(sieveCells(size))
}

func (s *heavyHitters) cell(hash uint64) *cell { return &s.sieve[hash&uint64(len(s.sieve)-1)] }

// find returns a hash's place among the hitters, or -1.
func (s *heavyHitters) find(hash uint64) int32 { return s.in(s.cell(hash), hash) }

func (s *heavyHitters) in(c *cell, hash uint64) int32 {
	at := c.first - 1
	for at >= 0 && s.hitters[at].hash != hash {
		at = s.hitters[at].next - 1
	}
	return at
}

// offer adds weight to a hash.
func (s *heavyHitters) offer(hash uint64, weight float64) {
	c := s.cell(hash)
	if c.first != 0 {
		if at := s.in(c, hash); at >= 0 {
			s.hitters[at].weight += weight
			return
		}
	}
	before := float64(c.weight)
	after := before + weight
	if n := int32(len(s.hitters)); int(n) < s.size {
		s.hitters = append(s.hitters, hitter{hash: hash, weight: after, excess: before, next: c.first})
		c.first = n + 1
		return
	}
	if after <= s.bar {
		c.weight = roundedUp(after)
		return
	}
	place, lightest := s.candidate()
	if after <= lightest {
		c.weight = roundedUp(after)
		return
	}
	s.unlink(place)
	s.hitters[place] = hitter{hash: hash, weight: after, excess: before, next: c.first}
	c.first = place + 1
}

// candidate returns the lightest of the hitters under the hand, and moves the hand on.
func (s *heavyHitters) candidate() (place int32, weight float64) {
	few := s.hitters[s.hand:min(s.hand+tries, len(s.hitters))]
	at := 0
	for i := range few {
		if few[i].weight < few[at].weight {
			at = i
		}
	}
	place, weight = int32(s.hand+at), few[at].weight
	if s.hand += tries; s.hand >= len(s.hitters) {
		s.hand = 0
	}
	s.bar += (weight - s.bar) / 16
	return place, weight
}

// roundedUp keeps the filter's narrow numbers from falling behind what they have seen.
func roundedUp(weight float64) float32 {
	narrow := float32(weight)
	if float64(narrow) < weight {
		narrow = math.Nextafter32(narrow, math.MaxFloat32)
	}
	return narrow
}

// unlink takes a hitter out of its cell, which remembers the weight.
func (s *heavyHitters) unlink(place int32) {
	h := &s.hitters[place]
	c := s.cell(h.hash)
	c.weight = max(c.weight, roundedUp(h.weight))
	link := &c.first
	for *link != place+1 {
		link = &s.hitters[*link-1].next
	}
	*link = h.next
}

func (s *heavyHitters) reset() {
	clear(s.sieve)
	s.hitters = s.hitters[:0]
	s.hand, s.bar = 0, 0
}
