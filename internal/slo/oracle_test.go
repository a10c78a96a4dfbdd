// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"time"
)

// The oracle computes error budgets from a list of events, by counting: no ring, no sum that is kept, no calendar of the standard library
// beyond what a clock in a zone shows. It shares with the engine the definitions alone.

type oracleEvent struct {
	at        int64 // ns
	good, bad Weight
}

type oracleAnswer struct {
	good, bad             float64 // events, or slices
	compliance, remaining float64
	known                 bool // compliance is known
	from, to              int64
	slices                int64 // of the whole window
}

// oracle answers for one objective at time now.
func oracle(o Objective, fine time.Duration, events []oracleEvent, now int64) (a oracleAnswer) {
	a.from, a.to = now-int64(o.Window), math.MaxInt64
	if o.Calendar != nil {
		a.from, a.to = oraclePeriod(*o.Calendar, now)
	}
	if o.method() == MethodOccurrences {
		for _, e := range events {
			inside := e.at >= a.from
			if o.Calendar == nil {
				width := int64(ringWidth(fine, time.Duration(o.Window)))
				inside = floorDiv(e.at, width) > floorDiv(now, width)-int64(o.Window)/width
			}
			if inside && e.at < a.to {
				a.good, a.bad = a.good+e.good.Float(), a.bad+e.bad.Float()
			}
		}
		return a.finish(a.bad, (a.good+a.bad)*(1-o.Target), o.Calendar != nil)
	}
	lost := 0.0
	sums := oracleSlices(o, events)
	first, last := oracleSpan(o, a.from, a.to, now)
	for s := first; s <= last; s++ {
		a.slices++
		loss, known := oracleLoss(o, sums[s])
		if known && (s+1)*int64(o.TimeSliceWindow) <= now+1 {
			lost += loss
			a.good, a.bad = a.good+1-loss, a.bad+loss
		}
	}
	return a.finish(lost, float64(a.slices)*(1-o.Target), o.Calendar != nil)
}

func (a oracleAnswer) finish(spent, allowed float64, calendar bool) oracleAnswer {
	if a.known = a.good+a.bad > 0; a.known {
		a.compliance = a.good / (a.good + a.bad)
		a.remaining = 1 - spent/allowed
	} else if calendar {
		a.remaining = 1
	}
	return a
}

func oracleSlices(o Objective, events []oracleEvent) map[int64]oracleEvent {
	sums := map[int64]oracleEvent{}
	for _, e := range events {
		s := floorDiv(e.at, int64(o.TimeSliceWindow))
		sums[s] = oracleEvent{good: sums[s].good + e.good, bad: sums[s].bad + e.bad}
	}
	return sums
}

func oracleLoss(o Objective, sum oracleEvent) (loss float64, known bool) {
	total := sum.good + sum.bad
	switch {
	case total == 0:
		return 0, false
	case o.method() == MethodRatioTimeslices:
		return float64(sum.bad) / float64(total), true
	case float64(sum.good)/float64(total) < o.TimeSliceTarget:
		return 1, true
	}
	return 0, true
}

// oracleSpan are the slices of the whole window or period.
func oracleSpan(o Objective, from, to, now int64) (first, last int64) {
	width := int64(o.TimeSliceWindow)
	if o.Calendar == nil {
		last = floorDiv(now+1, width) - 1
		return last - int64(o.Window)/width + 1, last
	}
	for first = floorDiv(from, width); first*width < from; {
		first++
	}
	for last = floorDiv(to, width); last*width >= to; {
		last--
	}
	return first, last
}

// oracleTogether is a composite, by the words of OpenSLO v1.
func oracleTogether(o Objective, parts []Objective, fine time.Duration, events [][]oracleEvent, now int64) (a oracleAnswer) {
	spent, total, losses, knownSlices, slicesLost := 0.0, 0.0, 0.0, 0.0, 0.0
	badIn, knownIn := map[int64]bool{}, map[int64]bool{}
	for i, p := range parts {
		weight := o.Composite[i].Weight
		one := oracle(p, fine, events[i], now)
		a.from, a.to, a.slices = one.from, one.to, one.slices
		total += one.good + one.bad
		knownSlices = max(knownSlices, one.good+one.bad)
		slicesLost += weight * one.bad
		if one.known {
			spent += weight * (1 - one.compliance) / (1 - p.Target)
			losses += weight * (1 - one.compliance)
		}
		if o.method() == MethodTimeslices {
			first, last := oracleSpan(p, one.from, one.to, now)
			for s, sum := range oracleSlices(p, events[i]) {
				if loss, known := oracleLoss(p, sum); known && s >= first && s <= last && (s+1)*int64(p.TimeSliceWindow) <= now+1 {
					knownIn[s], badIn[s] = true, badIn[s] || loss > 0
				}
			}
		}
	}
	switch o.method() {
	case MethodOccurrences:
		a.bad = min(total, total*spent*(1-o.Target))
		a.good = total - a.bad
		a = a.finish(spent, 1, o.Calendar != nil)
	case MethodTimeslices:
		for s := range knownIn {
			if badIn[s] {
				a.bad++
			} else {
				a.good++
			}
		}
		a = a.finish(a.bad, float64(a.slices)*(1-o.Target), o.Calendar != nil)
	default:
		a.bad = min(1, losses) * knownSlices
		a.good = knownSlices - a.bad
		a = a.finish(slicesLost, float64(a.slices)*(1-o.Target), o.Calendar != nil)
	}
	return a
}

// oraclePeriod walks from the calendar's start, one period after the other.
func oraclePeriod(c Calendar, now int64) (from, to int64) {
	zone, err := time.LoadLocation(c.Zone)
	if err != nil {
		panic(err)
	}
	start, _ := time.Parse(time.DateTime, c.Start)
	for k := 0; ; k++ {
		to = oracleInstant(oracleWall(c, start, k), zone)
		if to > now {
			return from, to
		}
		from = to
	}
}

// oracleWall is the wall clock's reading (seconds) at the k-th boundary.
func oracleWall(c Calendar, start time.Time, k int) int64 {
	days := map[Unit]int{UnitDay: 1, UnitWeek: 7}[c.Unit]
	if days > 0 {
		return start.Unix() + int64(k*c.Every*days)*86400
	}
	month := int(start.Month()) - 1 + k*c.Every*map[Unit]int{UnitMonth: 1, UnitQuarter: 3, UnitYear: 12}[c.Unit]
	year, month := start.Year()+month/12, month%12
	lengths := []int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	if year%4 == 0 && year%100 != 0 || year%400 == 0 {
		lengths[1] = 29
	}
	day := min(start.Day(), lengths[month])
	return time.Date(year, time.Month(month+1), day, start.Hour(), start.Minute(), start.Second(), 0, time.UTC).Unix()
}

// oracleInstant looks at a clock of the zone, ten seconds after ten seconds, until it shows the time or a later one.
func oracleInstant(wall int64, zone *time.Location) int64 {
	shows := func(at int64) int64 {
		t := time.Unix(at, 0).In(zone)
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC).Unix()
	}
	at := wall - 15*3600
	for shows(at) < wall {
		at += 60
	}
	for shows(at-10) >= wall {
		at -= 10
	}
	return at * int64(time.Second)
}
