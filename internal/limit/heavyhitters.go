// SPDX-License-Identifier: Apache-2.0

package limit

// heavyHitters finds the heaviest hashes of a stream in fixed memory: Space-Saving (Metwally, Agrawal, El Abbadi 2005) behind a
// small counting filter (filtered Space-Saving, Homem and Carvalho 2010). Each true weight lies between weight − excess and
// weight. The filter keeps a flood of hashes seen once out of the heap: they cost one array access each.
type heavyHitters struct {
	heap  []hitter         // min-heap by weight
	where map[uint64]int32 // hash → place in heap
	sieve []cell
	size  int
}

type hitter struct {
	hash           uint64
	weight, excess float64
}

// cell is shared by all hashes that fall into it.
type cell struct {
	weight  float32 // seen by hashes that are not in the heap
	watched int32   // how many hashes of the cell are in the heap
}

func newHeavyHitters(size int) *heavyHitters {
	return &heavyHitters{
		where: make(map[uint64]int32, size),
		heap:  make([]hitter, 0, size),
		sieve: make([]cell, sieveCells(size)),
		size:  size,
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
	return int64(size)*(24+20) + 8*int64(sieveCells(size))
}

// offer adds weight to a hash.
func (s *heavyHitters) offer(hash uint64, weight float64) {
	c := &s.sieve[hash&uint64(len(s.sieve)-1)]
	if c.watched > 0 {
		if at, ok := s.where[hash]; ok {
			s.heap[at].weight += weight
			s.down(int(at))
			return
		}
	}
	before := float64(c.weight)
	if len(s.heap) < s.size {
		s.heap = append(s.heap, hitter{hash: hash, weight: before + weight, excess: before})
		s.where[hash] = int32(len(s.heap) - 1)
		c.watched++
		s.up(len(s.heap) - 1)
		return
	}
	if before+weight <= s.heap[0].weight {
		c.weight = float32(before + weight)
		return
	}
	lightest := s.heap[0]
	delete(s.where, lightest.hash)
	left := &s.sieve[lightest.hash&uint64(len(s.sieve)-1)]
	left.watched--
	left.weight = max(left.weight, float32(lightest.weight))
	s.heap[0] = hitter{hash: hash, weight: before + weight, excess: before}
	s.where[hash] = 0
	c.watched++
	s.down(0)
}

func (s *heavyHitters) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if s.heap[parent].weight <= s.heap[i].weight {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s *heavyHitters) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.heap); child++ {
			if s.heap[child].weight < s.heap[least].weight {
				least = child
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}

func (s *heavyHitters) swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.where[s.heap[i].hash] = int32(i)
	s.where[s.heap[j].hash] = int32(j)
}

func (s *heavyHitters) reset() {
	clear(s.where)
	clear(s.sieve)
	s.heap = s.heap[:0]
}
