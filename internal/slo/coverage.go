// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// maxIntervals bounds the interruptions that are remembered of a service; before the oldest of them, time counts as unknown.
	maxIntervals = 1024
	// maxServices bounds the services whose coverage is followed.
	maxServices = 10_000
)

// interval is a stretch of event time, [from, to) in ns.
type interval struct{ from, to int64 }

// intervals is a union of intervals, in order and apart from each other. A union does not depend on the order in which its members come.
type intervals []interval

func (s *intervals) add(from, to int64) {
	all := *s
	// Mostly the newest grows.
	if n := len(all); n > 0 && from >= all[n-1].from && from <= all[n-1].to {
		all[n-1].to = max(all[n-1].to, to)
		return
	}
	first, _ := slices.BinarySearchFunc(all, from, func(i interval, from int64) int { return cmp.Compare(i.to, from) })
	last := first
	for last < len(all) && all[last].from <= to {
		from, to = min(from, all[last].from), max(to, all[last].to)
		last++
	}
	*s = slices.Replace(all, first, last, interval{from, to})
	if len(*s) > maxIntervals {
		*s = slices.Delete(*s, 0, 1)
	}
}

// within is how much of [from, to) the union holds.
func (s intervals) within(from, to int64) (sum int64) {
	for i := len(s) - 1; i >= 0 && s[i].to > from; i-- {
		sum += max(0, min(to, s[i].to)-max(from, s[i].from))
	}
	return sum
}

func (s intervals) holds(t int64) bool { return s.within(t, t+1) > 0 }

const (
	// usualPauses is how many pauses say what is usual, and fewPauses how many are too few to say.
	usualPauses, fewPauses = 16, 2
	// patience is how many times as long as usual a pause may last before it is silence.
	patience = 4
	// maxPatience bounds how long that is.
	maxPatience = int64(time.Hour)
)

// pausing reports whether t lies in a pause as this source of telemetry makes them: what is called every ten minutes does not fall silent in between.
func (s intervals) pausing(t int64) bool {
	at, _ := slices.BinarySearchFunc(s, t, func(i interval, t int64) int { return cmp.Compare(i.from, t+1) })
	if at == 0 {
		return false
	}
	var pauses []int64
	for i := at - 1; i > 0 && len(pauses) < usualPauses; i-- {
		pauses = append(pauses, s[i].from-s[i-1].to)
	}
	if len(pauses) < fewPauses {
		return false
	}
	slices.Sort(pauses)
	return t-s[at-1].to < min(maxPatience, patience*pauses[len(pauses)/2])
}

// coverage remembers which event time was observed, of each service and of all together: the slices in which any of its telemetry arrived,
// and what lies within `reach` after one of them. The rest is unknown time. Whether an objective counted anything there is not asked: a
// service nobody calls is observed as long as it says anything at all.
type coverage struct {
	fine     int64
	reach    int64 // ns an observation vouches for, from the start of its slice
	all      intervals
	services map[string]*intervals
}

func newCoverage(fine, absent time.Duration) coverage {
	return coverage{fine: int64(fine), reach: max(int64(fine), int64(absent/fine)*int64(fine)), services: map[string]*intervals{}}
}

// mark notes telemetry of a service in the slice that starts at start.
func (c *coverage) mark(service string, start int64) {
	c.all.add(start, start+c.reach)
	if service == "" {
		return
	}
	of, ok := c.services[service]
	if !ok {
		if len(c.services) >= maxServices {
			c.evict()
		}
		of = new(intervals)
		c.services[strings.Clone(service)] = of
	}
	of.add(start, start+c.reach)
}

// evict forgets the tenth of the services that have been silent longest.
func (c *coverage) evict() {
	end := func(name string) int64 {
		of := *c.services[name]
		return of[len(of)-1].to
	}
	names := slices.SortedFunc(maps.Keys(c.services), func(a, b string) int { return cmp.Or(cmp.Compare(end(a), end(b)), cmp.Compare(a, b)) })
	for _, name := range names[:max(1, len(names)/10)] {
		delete(c.services, name)
	}
}

// of is what was observed of a service; of anything where none is named, or where no telemetry has named one.
func (c *coverage) of(service string) intervals {
	if service == "" || service == Overflow || len(c.services) == 0 {
		return c.all
	}
	if of, ok := c.services[service]; ok {
		return *of
	}
	return nil
}

// share is the part of the window ending at t in which a service was observed, in [0, 1].
func (c *coverage) share(service string, t int64, window time.Duration) float64 {
	return min(1, float64(c.time(service, t, window))/float64(window))
}

// time is how much of the window that ends with the slice of t was observed.
func (c *coverage) time(service string, t int64, window time.Duration) time.Duration {
	end := (floorDiv(t, c.fine) + 1) * c.fine
	return time.Duration(c.of(service).within(end-int64(window), end))
}

// at reports whether t was observed, or lies in a pause that is nothing unusual.
func (c *coverage) at(service string, t int64) bool {
	of := c.of(service)
	return of.holds(t) || of.pausing(t)
}

// encode writes what a window as long as keep, that ends at until or later, can reach.
func (c *coverage) encode(w *encoder, until int64, keep time.Duration) {
	c.all.encode(w, until-int64(keep))
	w.uint(uint64(len(c.services)))
	for _, name := range slices.Sorted(maps.Keys(c.services)) {
		w.text(name)
		c.services[name].encode(w, until-int64(keep))
	}
}

func (s intervals) encode(w *encoder, oldest int64) {
	first, _ := slices.BinarySearchFunc(s, oldest, func(i interval, oldest int64) int { return cmp.Compare(i.to, oldest) })
	if first == len(s) && first > 0 {
		first-- // at least when it was last seen
	}
	w.uint(uint64(len(s) - first))
	previous := int64(0)
	for _, i := range s[first:] {
		w.int(i.from - previous)
		w.int(i.to - i.from)
		previous = i.from
	}
}

func (c *coverage) decode(d *decoder) {
	c.all = decodeIntervals(d)
	for range d.length() {
		name := d.text()
		if of := decodeIntervals(d); len(of) > 0 {
			c.services[name] = &of
		}
	}
}

func decodeIntervals(d *decoder) intervals {
	var out intervals
	previous := int64(0)
	for range d.length() {
		previous += d.int()
		if length := d.int(); length > 0 && !d.failed {
			out.add(previous, previous+length)
		}
	}
	return out
}
