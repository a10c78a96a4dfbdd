// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Method says what an error budget is counted in (OpenSLO v1, budgetingMethod).
type Method string

// The methods of budgeting.
const (
	// MethodOccurrences takes the share of good events.
	MethodOccurrences Method = "occurrences"
	// MethodTimeslices takes the share of good time slices; one is good when its share of good events is at the slice target.
	MethodTimeslices Method = "timeslices"
	// MethodRatioTimeslices takes the average over all time slices of their shares of good events.
	MethodRatioTimeslices Method = "ratio_timeslices"
)

// maxPeriods is how many calendar periods a group remembers: the current one, and those that late events may still belong to.
const maxPeriods = 3

// period is the sum of one calendar period.
type period struct {
	start int64
	Counts
}

// periods are exact sums of the latest calendar periods, newest first.
type periods []period

func (p *periods) add(start int64, c Counts) bool {
	i, found := slices.BinarySearchFunc(*p, start, func(a period, start int64) int { return cmp.Compare(start, a.start) })
	if !found {
		if i == maxPeriods {
			return false
		}
		*p = slices.Insert(*p, i, period{start: start})
		*p = (*p)[:min(len(*p), maxPeriods)]
	}
	c.Good, c.Bad = c.Good+(*p)[i].Good, c.Bad+(*p)[i].Bad // a period may hold more than a cell
	c.GoodN, c.BadN = addSaturating(c.GoodN, (*p)[i].GoodN), addSaturating(c.BadN, (*p)[i].BadN)
	(*p)[i].Counts = c
	return true
}

func (p periods) at(start int64) Counts {
	for _, one := range p {
		if one.start == start {
			return one.Counts
		}
	}
	return Counts{}
}

// addCounts adds the counts of a fine slice to all that a group keeps. It reports false when nothing reaches back to it.
func (o *objective) addCounts(g *group, start int64, c Counts) bool {
	kept := g.series.add(start, c)
	if o.slicing != nil {
		kept = g.slices.add(start, c) || kept
	}
	if o.calendar != nil && o.slicing == nil {
		from, _ := o.calendar.period(start)
		kept = g.periods.add(from, c) || kept
	}
	return kept
}

// counted is what the window that ends at t holds, in the unit of the objective's method: events, or time slices that are over. A window
// shorter than a time slice looks at the last one.
func (o *objective) counted(g *group, t int64, window time.Duration) Counts {
	switch {
	case o.composite():
		return o.together(g, t, window)
	case o.slicing == nil:
		return g.series.window(t, window)
	}
	last := o.slicing.complete(t)
	first := last - max(1, int64(window)/o.slicing.width) + 1
	return o.slicing.counts(sumSlices([]*timeslices{g.slices}, first, last))
}

// counts states time slices as events of weight one.
func (s *slicing) counts(t tallySlices) Counts {
	bad := Weight(t.bad) * One
	if s.ratio {
		bad = Weight(math.Round(t.lost * float64(One)))
	}
	bad = min(bad, Weight(t.known)*One)
	return Counts{Bad: bad, Good: Weight(t.known)*One - bad, BadN: uint32(t.bad), GoodN: uint32(t.known - t.bad)}
}

// budget is the state of an error budget.
type budget struct {
	Counts
	compliance *float64 // nil where nothing was seen
	remaining  *float64
}

// remaining is the share of the error budget that is left at t; nil where nothing is known.
func (o *objective) remaining(g *group, t int64) *float64 { return o.budget(g, t).remaining }

// budget judges the objective's own window, or the calendar period, that ends at t.
//
// A budget of events is a share of those seen. A budget of time slices is a share of all slices of the window or period, those to come
// and those nobody observed included: five bad minutes cost the same on any day of the month.
func (o *objective) budget(g *group, t int64) budget {
	var b budget
	first, last, all := o.span(t)
	switch {
	case o.composite():
		return o.budgetTogether(g, t)
	case o.slicing != nil:
		b.Counts = o.slicing.counts(sumSlices([]*timeslices{g.slices}, first, last))
		b.compliance = complianceOf(b.Counts)
		if b.compliance != nil {
			b.remaining = left(b.Bad.Float() / (float64(all) * (1 - o.Target)))
		}
	case o.calendar != nil:
		from, _ := o.calendar.period(t)
		b.Counts = g.periods.at(from)
		b.compliance, b.remaining = complianceOf(b.Counts), budgetRemaining(b.Counts, o.Target)
	default:
		b.Counts = g.series.window(t, time.Duration(o.Window))
		b.compliance, b.remaining = complianceOf(b.Counts), budgetRemaining(b.Counts, o.Target)
	}
	if o.calendar != nil && b.remaining == nil {
		b.remaining = left(0) // a period begins with a whole budget
	}
	return b
}

// span are the time slices of the window or period that ends at t, as first and last, and how many it has when it is over. For a budget
// of events they mean nothing.
func (o *objective) span(t int64) (first, last int64, all int64) {
	if o.slicing == nil {
		return 0, -1, 0
	}
	last = o.slicing.complete(t)
	if o.calendar != nil {
		from, to := o.calendar.period(t)
		first, end := o.slicing.between(from, to)
		return first, min(last, end), end - first + 1
	}
	all = int64(o.Window) / o.slicing.width
	return last - all + 1, last, all
}

func complianceOf(c Counts) *float64 {
	ratio, ok := c.BadRatio()
	if !ok {
		return nil
	}
	good := 1 - ratio
	return &good
}

func left(spent float64) *float64 {
	rest := 1 - spent
	return &rest
}
