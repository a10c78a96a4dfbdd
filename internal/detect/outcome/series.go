// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"math"
	"time"
)

// sliceWidth is the width of a slice of event time; sliceCount of them reach back far enough for the longest comparison.
const (
	sliceWidth = 30 * time.Second
	sliceCount = 120
)

// series are the events of one objective of one service, by slices of event time.
type series struct {
	// Newest is the number, since the epoch, of the newest slice; Good and Bad are rings indexed by number.
	Newest    int64
	Good, Bad [sliceCount]float64
	LastSeen  time.Time
}

func sliceOf(at time.Time) int64 { return at.Unix() / int64(sliceWidth/time.Second) }

// add counts events at a time and reports whether they were not too old.
func (s *series) add(at time.Time, good, bad float64) bool {
	n := sliceOf(at)
	switch {
	case s.LastSeen.IsZero():
		s.Newest = n
	case n <= s.Newest-sliceCount:
		return false
	}
	for ; s.Newest < n; s.Newest++ {
		if n-s.Newest > sliceCount {
			s.Good, s.Bad, s.Newest = [sliceCount]float64{}, [sliceCount]float64{}, n-1
		}
		s.Good[(s.Newest+1)%sliceCount], s.Bad[(s.Newest+1)%sliceCount] = 0, 0
	}
	s.Good[n%sliceCount] += good
	s.Bad[n%sliceCount] += bad
	s.LastSeen = at
	return true
}

// between returns the events of the slices that lie wholly within the times.
func (s *series) between(from, to time.Time) (good, bad float64) {
	first, last := sliceOf(from.Add(sliceWidth-1)), sliceOf(to)-1
	for n := max(first, s.Newest-sliceCount+1); n <= min(last, s.Newest); n++ {
		good += s.Good[n%sliceCount]
		bad += s.Bad[n%sliceCount]
	}
	return good, bad
}

// comparison is the bad ratio after minus that before, with its confidence interval.
type comparison struct {
	Before, After         float64 // bad ratios
	EventsBefore          float64
	EventsAfter           float64
	Difference, Low, High float64
	// Enough says that both sides hold enough events to compare.
	Enough bool
}

// minEvents is how many events each side needs.
const minEvents = 30

// z is the quantile of the normal distribution for an interval of 99 %: many changes are judged, so single ones have to be clear.
const z = 2.5758293035489004

// compare gives the interval of Agresti and Caffo (2000, The American Statistician 54:280-288): one good and one bad event is added to
// each side, which keeps the coverage of the simple interval near its nominal level also for few events and small ratios.
func compare(goodBefore, badBefore, goodAfter, badAfter float64) comparison {
	c := comparison{EventsBefore: goodBefore + badBefore, EventsAfter: goodAfter + badAfter}
	if c.EventsBefore < minEvents || c.EventsAfter < minEvents {
		return c
	}
	c.Enough = true
	c.Before, c.After = badBefore/c.EventsBefore, badAfter/c.EventsAfter
	c.Difference = c.After - c.Before
	n0, n1 := c.EventsBefore+2, c.EventsAfter+2
	p0, p1 := (badBefore+1)/n0, (badAfter+1)/n1
	half := z * math.Sqrt(p0*(1-p0)/n0+p1*(1-p1)/n1)
	c.Low, c.High = p1-p0-half, p1-p0+half
	return c
}
