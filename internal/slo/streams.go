// SPDX-License-Identifier: Apache-2.0

package slo

import "slices"

// StreamID names a metric stream: an objective, its part in it, and all attributes.
type StreamID uint64

// StreamBytes is what a remembered stream takes at most, its place in the table included.
const StreamBytes = 160

// maxPairItems is how many increments of one side of a ratio wait for the other side apart.
const maxPairItems = 8

// pairWait is how far one side of a ratio may run ahead of the other before it is taken as it is.
const pairWait = 2 * 60 * 1e9

// Point is one reading of a stream: how many events it had in all, and how many of them were good.
type Point struct {
	Split
	Start, At  int64 // ns; Start 0 where the sender gives none
	Cumulative bool
}

// Verdict says what became of a point.
type Verdict int

const (
	// Counted points have an increment, which may be zero.
	Counted Verdict = iota
	// Baseline points are the first of a running total that began before anybody looked.
	Baseline
	// Stale points are no newer than the stream.
	Stale
	// Full says that no further stream can be remembered.
	Full
)

// Streams turns readings of metric streams into increments. It is not safe for concurrent use.
type Streams struct {
	limit   int
	known   map[StreamID]stream
	pairs   map[StreamID]*pair
	sources map[uint64]int64 // first time of each source
	newest  int64            // latest time of all streams
	began   int64            // first time of all streams
	evicted bool             // a stream that is not known may have been known before
	fell    bool             // the last point counted was below the one before, with the same start
}

type stream struct {
	Split
	start, at int64
}

// NewStreams makes a table for at most limit streams.
func NewStreams(limit int) *Streams {
	return &Streams{limit: limit, known: map[StreamID]stream{}, pairs: map[StreamID]*pair{}, sources: map[uint64]int64{}, began: noTime}
}

// Len is the number of streams remembered.
func (s *Streams) Len() int { return len(s.known) + len(s.pairs) }

// look notes that a point of time at was seen.
func (s *Streams) look(at int64) {
	if s.began == noTime {
		s.began = at
	}
	s.newest = max(s.newest, at)
}

// Count returns the events between the stream's last point and p, and the time they began at. A running total that fell, or that started
// anew, counts from zero: what its sender had not reported before it restarted is lost to everybody. So does one that appears at a
// source that was seen before: a counter of errors is often made by the first error.
func (s *Streams) Count(source uint64, id StreamID, p Point) (inc Split, since int64, v Verdict) {
	s.look(p.At)
	s.fell = false
	first, met := s.sources[source]
	if !met && len(s.sources) < maxSources {
		s.sources[source] = p.At
	}
	if !p.Cumulative {
		return p.Split, p.Start, Counted
	}
	last, known := s.known[id]
	if !known {
		if !s.room() {
			return Split{}, 0, Full
		}
		s.known[id] = stream{p.Split, p.Start, p.At}
		switch {
		case p.Start > s.began:
			return p.Split, p.Start, Counted
		case met && p.At > first && !s.evicted:
			return p.Split, 0, Counted
		}
		return Split{}, 0, Baseline
	}
	if p.At <= last.at || p.Start < last.start {
		return Split{}, 0, Stale
	}
	s.known[id] = stream{p.Split, p.Start, p.At}
	if p.Start >= last.at && p.Start > last.start || p.Total < last.Total {
		s.fell = p.Start != 0 && p.Start == last.start
		return p.Split, max(p.Start, last.at), Counted
	}
	inc = Split{Total: p.Total - last.Total, Unsure: max(0, p.Unsure-last.Unsure)}
	// Buckets may have been merged since, so that the good part falls by what was interpolated.
	inc.Good = min(max(0, p.Good-last.Good), inc.Total)
	return inc, last.at, Counted
}

// Fell reports whether the running total of the last Count fell although its start, which its sender gives, stayed the same.
func (s *Streams) Fell() bool { return s.fell }

// Hold returns how long the value a gauge has at p speaks for: the time since its last value, at most slice.
func (s *Streams) Hold(id StreamID, at, slice int64) (held int64, v Verdict) {
	s.look(at)
	last, known := s.known[id]
	switch {
	case !known && !s.room():
		return 0, Full
	case known && at <= last.at:
		return 0, Stale
	}
	s.known[id] = stream{at: at}
	if !known {
		return slice, Counted
	}
	return min(at-last.at, slice), Counted
}

// Forget ends a stream, whose sender said that it has no value.
func (s *Streams) Forget(id StreamID) { delete(s.known, id) }

// forgetAfter is how long a stream may be silent before it makes room.
const forgetAfter = 3600 * 1e9

// room reports whether a further stream fits; a full table forgets streams that have been silent.
func (s *Streams) room() bool {
	if s.Len() < s.limit {
		return true
	}
	for id, k := range s.known {
		if s.newest-k.at > forgetAfter {
			delete(s.known, id)
			s.evicted = true
		}
	}
	for id, p := range s.pairs {
		if s.newest-max(p.part.at, p.total.at) > forgetAfter {
			delete(s.pairs, id)
		}
	}
	return s.Len() < s.limit
}

// pair joins the two counters of a ratio: the part (good or bad events) and the total, which are metrics of their own and may arrive in
// different requests.
type pair struct {
	part, total side
	owed        float64 // events of the part that no total has covered yet
}

type side struct {
	at    int64 // latest time
	seen  bool
	waits []increment // in order of time
}

type increment struct {
	at int64
	n  float64
}

func (s *side) add(at int64, n float64) {
	s.seen = true
	s.at = max(s.at, at)
	if n == 0 {
		return
	}
	if len(s.waits) == maxPairItems { // the two oldest become one
		s.waits[1].n += s.waits[0].n
		s.waits = slices.Delete(s.waits, 0, 1)
	}
	i := len(s.waits)
	for i > 0 && s.waits[i-1].at > at {
		i--
	}
	s.waits = slices.Insert(s.waits, i, increment{at, n})
}

// take removes what is no later than until.
func (s *side) take(until int64) (n float64, latest int64) {
	i := 0
	for ; i < len(s.waits) && s.waits[i].at <= until; i++ {
		n += s.waits[i].n
		latest = s.waits[i].at
	}
	s.waits = slices.Delete(s.waits, 0, i)
	return n, latest
}

// Part and Total add increments of the two counters of the ratio id; n may be 0. They report false when no further ratio fits.
func (s *Streams) Part(id StreamID, at int64, n float64) bool { return s.join(id, at, n, false) }

// Total is Part for the counter of all events.
func (s *Streams) Total(id StreamID, at int64, n float64) bool { return s.join(id, at, n, true) }

func (s *Streams) join(id StreamID, at int64, n float64, total bool) bool {
	p, known := s.pairs[id]
	if !known {
		if !s.room() {
			return false
		}
		p = &pair{}
		s.pairs[id] = p
	}
	if total {
		p.total.add(at, n)
	} else {
		p.part.add(at, n)
	}
	return true
}

// Settle returns the events of a ratio that both counters speak of: all, the part among them, and the latest of their times. A side that
// lags is waited for, two minutes at most; a counter of bad events that was never seen is zero, since many are not made before the first
// failure. What the part has more than the total is kept for the totals to come, and reported in excess once.
func (s *Streams) Settle(id StreamID, partIsBad bool) (total, part float64, at int64, excess bool) {
	p, known := s.pairs[id]
	if !known || !p.total.seen {
		return 0, 0, 0, false
	}
	until := min(p.part.at, p.total.at)
	if !p.part.seen {
		until = noTime
		if partIsBad {
			until = p.total.at
		}
	}
	until = max(until, p.total.at-pairWait)
	total, at = p.total.take(until)
	n, _ := p.part.take(until)
	owed := p.owed + n
	part = min(owed, total)
	excess = owed-part > p.owed
	p.owed = owed - part
	return total, part, at, excess
}
