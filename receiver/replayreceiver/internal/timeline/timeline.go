// SPDX-License-Identifier: Apache-2.0

// Package timeline turns the event times of a recording into an order and a schedule. It has no clock: the time is an argument.
// All event times are in Unix nanoseconds.
package timeline

import (
	"math"
	"time"
)

// earliest is 2000-01-01T00:00:00Z. A clock that shows less was never set, so it says nothing about when something happened.
const earliest = 946_684_800 * int64(time.Second)

// Usable reports whether a timestamp can be an event time: not zero, not before the year 2000, not after the year 2262.
func Usable(timestamp uint64) bool {
	return timestamp >= uint64(earliest) && timestamp <= math.MaxInt64
}

// Shift moves a timestamp. Zero means unknown and stays zero; no other timestamp becomes zero or wraps around.
func Shift(timestamp uint64, by int64) uint64 {
	switch {
	case timestamp == 0 || by == 0:
		return timestamp
	case by > 0:
		if timestamp > math.MaxUint64-uint64(by) {
			return math.MaxUint64
		}
		return timestamp + uint64(by)
	default:
		back := uint64(-(by + 1)) + 1 // right for the smallest int64 too
		if timestamp <= back {
			return 1
		}
		return timestamp - back
	}
}

// Track gives each request of one file its place in the order.
//
// A request's place is its own first event time. Two kinds of request have none of their own and take the place of the request before:
// one without any usable time, and a lone one more than maxGap away from its neighbours, as a single wrong clock makes it. Two in a row
// that agree with each other are believed.
type Track struct {
	maxGap  int64
	place   int64
	placed  bool
	suspect int64 // the event time of the request before, when that was not believed; otherwise zero
}

// NewTrack returns the track of a file. A maxGap of zero believes every usable time.
func NewTrack(maxGap time.Duration) Track { return Track{maxGap: int64(maxGap)} }

// Begin sets the place that requests take before the first usable time is met.
func (t *Track) Begin(place int64) { t.place, t.placed = place, true }

// Place returns where a request whose first event time is first belongs; zero means that it has none.
func (t *Track) Place(first int64) int64 {
	if first == 0 {
		return t.place
	}
	if t.placed && t.maxGap > 0 && apart(first, t.place) > t.maxGap {
		if t.suspect == 0 || apart(first, t.suspect) > t.maxGap {
			t.suspect = first
			return t.place
		}
	}
	t.suspect = 0
	t.place, t.placed = first, true
	return first
}

// Pace says when a request is due.
type Pace struct {
	speed  float64
	maxGap int64

	anchored  bool
	fromEvent int64     // the event time that was due at fromClock
	fromClock time.Time // when fromEvent was due
	latest    int64     // the latest event time that was scheduled
}

// NewPace returns a pace of speed event seconds a second; zero means that everything is due at once. More than maxGap of event time without a
// request is not waited for; zero waits for any gap.
func NewPace(speed float64, maxGap time.Duration) Pace {
	return Pace{speed: speed, maxGap: int64(maxGap)}
}

// Due returns when a request at event time place is due, and whether a gap longer than maxGap was passed over to get there.
func (p *Pace) Due(place int64, now time.Time) (due time.Time, gap bool) {
	if p.speed == 0 {
		return now, false
	}
	if gap = p.anchored && p.maxGap > 0 && apart(place, p.latest) > p.maxGap; gap || !p.anchored {
		p.anchored, p.fromEvent, p.fromClock, p.latest = true, place, now, place
		return now, gap
	}
	p.latest = max(p.latest, place)
	wait := float64(place-p.fromEvent) / p.speed
	if wait > math.MaxInt64/2 {
		wait = math.MaxInt64 / 2
	}
	return p.fromClock.Add(time.Duration(wait)), false
}

// Near reports whether two event times are no more than maxGap apart. A maxGap of zero finds any two near.
func Near(a, b int64, maxGap time.Duration) bool { return maxGap == 0 || apart(a, b) <= int64(maxGap) }

// apart returns the distance between two event times.
func apart(a, b int64) int64 {
	if a > b {
		return a - b
	}
	return b - a
}
