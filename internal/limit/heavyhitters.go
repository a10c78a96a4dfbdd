// SPDX-License-Identifier: Apache-2.0

package limit

// heavyHitters finds the heaviest hashes of a stream in fixed memory: Space-Saving (Metwally, Agrawal, El Abbadi 2005) behind a
// small counting filter (filtered Space-Saving, Homem and Carvalho 2010). Each true weight lies between weight − excess and
// weight. The filter keeps a flood of hashes seen once out of the heap: they cost one array access each.
type heavyHitters struct {
	hitters []hitter
	heap    []int32 // min-heap of places in hitters, by weight
	sieve   []cell
	size    int
}

type hitter struct {
	hash           uint64
	weight, excess float64
	at             int32 // in the heap
	next           int32 // place plus one of the next hitter of the same cell; 0 ends the chain
}

// cell is shared by all hashes that fall into it.
type cell struct {
	weight float32 // seen by hashes that are not in the heap
	first  int32   // place plus one of the first hitter of the cell; 0 when none of its hashes is in the heap
}

func newHeavyHitters(size int) *heavyHitters {
	return &heavyHitters{
		hitters: make([]hitter, 0, size),
		heap:    make([]int32, 0, size),
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
	return int64(size)*(32+4) + 8*int64(sieveCells(size))
}

func (s *heavyHitters) cell(hash uint64) *cell { return &s.sieve[hash&uint64(len(s.sieve)-1)] }

// find returns a hash's place among the hitters, or -1.
func (s *heavyHitters) find(hash uint64) int32 {
	at := s.cell(hash).first - 1
	for at >= 0 && s.hitters[at].hash != hash {
		at = s.hitters[at].next - 1
	}
	return at
}

// offer adds weight to a hash.
func (s *heavyHitters) offer(hash uint64, weight float64) {
	c := s.cell(hash)
	if c.first != 0 {
		if at := s.find(hash); at >= 0 {
			s.hitters[at].weight += weight
			s.down(s.hitters[at].at)
			return
		}
	}
	before := float64(c.weight)
	if n := int32(len(s.hitters)); int(n) < s.size {
		s.hitters = append(s.hitters, hitter{hash: hash, weight: before + weight, excess: before, at: n, next: c.first})
		s.heap = append(s.heap, n)
		c.first = n + 1
		s.up(n)
		return
	}
	place := s.heap[0]
	lightest := &s.hitters[place]
	if before+weight <= lightest.weight {
		c.weight = float32(before + weight)
		return
	}
	s.unlink(place)
	*lightest = hitter{hash: hash, weight: before + weight, excess: before, next: c.first}
	c.first = place + 1
	s.down(0)
}

// unlink takes a hitter out of its cell, which remembers the weight.
func (s *heavyHitters) unlink(place int32) {
	h := &s.hitters[place]
	c := s.cell(h.hash)
	c.weight = max(c.weight, float32(h.weight))
	link := &c.first
	for *link != place+1 {
		link = &s.hitters[*link-1].next
	}
	*link = h.next
}

func (s *heavyHitters) weight(i int32) float64 { return s.hitters[s.heap[i]].weight }

func (s *heavyHitters) put(i, place int32) {
	s.heap[i] = place
	s.hitters[place].at = i
}

func (s *heavyHitters) up(i int32) {
	rising := s.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if s.weight(parent) <= s.hitters[rising].weight {
			break
		}
		s.put(i, s.heap[parent])
		i = parent
	}
	s.put(i, rising)
}

func (s *heavyHitters) down(i int32) {
	sinking, n := s.heap[i], int32(len(s.heap))
	weight := s.hitters[sinking].weight
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && s.weight(child+1) < s.weight(child) {
			child++
		}
		if s.weight(child) >= weight {
			break
		}
		s.put(i, s.heap[child])
		i = child
	}
	s.put(i, sinking)
}

func (s *heavyHitters) reset() {
	clear(s.sieve)
	s.hitters, s.heap = s.hitters[:0], s.heap[:0]
}
