// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// maxParts is how many objectives a composite may have.
const maxParts = 32

// Component is one objective of a composite.
type Component struct {
	// Objective is the name of another objective of the book.
	Objective string
	// Weight multiplies what the objective spends of the composite's budget. Time slices are bad or not, whatever the weight.
	Weight float64
}

// component is a Component with its objective found.
type component struct {
	*objective
	weight float64
}

// composite says that an objective is made of others and counts nothing itself.
func (o *objective) composite() bool { return len(o.Objective.Composite) > 0 }

// compose finds the components of a composite in the book. All must be counted alike, or their sum means nothing.
func (d *definition) compose(o *objective) error {
	allowed := 0.0
	o.components = nil
	for _, c := range o.Composite {
		at, ok := d.byName[c.Objective]
		if !ok {
			return fmt.Errorf("%w %s: composite: there is no objective %q", errObjective, o.Name, c.Objective)
		}
		part := d.objectives[at]
		switch {
		case part.composite():
			return fmt.Errorf("%w %s: composite: %s is a composite itself", errObjective, o.Name, part.Name)
		case part.method() != o.method() || part.Window != o.Window || part.TimeSliceWindow != o.TimeSliceWindow || !sameCalendar(part.Calendar, o.Calendar):
			return fmt.Errorf("%w %s: composite: %s must have the same method, window and time_slice_window", errObjective, o.Name, part.Name)
		case !slices.Equal(part.GroupBy, o.GroupBy):
			return fmt.Errorf("%w %s: composite: %s must have the same group_by (got %q and %q)", errObjective, o.Name, part.Name, part.GroupBy, o.GroupBy)
		}
		weight := c.Weight
		if o.method() == MethodTimeslices {
			weight = 1
		}
		allowed += weight * (1 - part.Target)
		o.components = append(o.components, component{part, weight})
		part.wholes = append(part.wholes, o)
	}
	if o.Target == 0 {
		// What is allowed together is the sum of what each is allowed.
		o.Target = max(0, 1-allowed)
	}
	return nil
}

func sameCalendar(a, b *Calendar) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// groups are the components' groups of the same name; nil where one has not been seen.
func (o *objective) groupsLike(g *group) []*group {
	out := make([]*group, len(o.components))
	for i, c := range o.components {
		out[i] = c.find(g.key)
	}
	return out
}

// together is what the components hold of a window, as one: burn rates and losses add up by weight, and a time slice is bad if it is bad
// for any. The sums are stated as counts whose bad ratio is that of the composite.
func (o *objective) together(g *group, t int64, window time.Duration) Counts {
	if o.slicing == nil {
		counts, spent := o.addBurns(g, func(_ component, part *group) Counts { return part.series.window(t, window) })
		return o.stated(counts, spent*(1-o.Target))
	}
	last := o.slicing.complete(t)
	return o.slicesTogether(g, last-max(1, int64(window)/o.slicing.width)+1, last)
}

// addBurns sums the components' counts, and their burn rates by weight.
func (o *objective) addBurns(g *group, of func(component, *group) Counts) (all Counts, spent float64) {
	for i, part := range o.groupsLike(g) {
		if part == nil {
			continue
		}
		c := of(o.components[i], part)
		if b, ok := burn(c, o.components[i].Target); ok {
			spent += o.components[i].weight * b
		}
		all.Good += c.Good
		all.Bad += c.Bad
		all.GoodN, all.BadN = addSaturating(all.GoodN, c.GoodN), addSaturating(all.BadN, c.BadN)
	}
	return all, spent
}

// stated are counts with the bad ratio given, as many in all and seen as often.
func (*objective) stated(c Counts, ratio float64) Counts {
	total := c.Total()
	c.Bad = min(total, Weight(math.Round(ratio*float64(total))))
	c.Good = total - c.Bad
	return c
}

func (o *objective) slicesTogether(g *group, first, last int64) Counts {
	parts := o.groupsLike(g)
	if !o.slicing.ratio {
		var all []*timeslices
		for _, part := range parts {
			if part != nil {
				all = append(all, part.slices)
			}
		}
		return o.slicing.counts(sumSlices(all, first, last))
	}
	var out tallySlices
	lost := 0.0
	for i, part := range parts {
		if part == nil {
			continue
		}
		s := sumSlices([]*timeslices{part.slices}, first, last)
		if s.known > 0 {
			lost += o.components[i].weight * s.lost / float64(s.known)
		}
		out.known, out.bad = max(out.known, s.known), max(out.bad, s.bad)
	}
	out.lost = min(1, lost) * float64(out.known)
	return o.slicing.counts(out)
}

// budgetTogether is the budget of a composite. Of events: each component's burn, by weight, spends the composite's budget. Of time slices:
// the slices lost, of those its target allows.
func (o *objective) budgetTogether(g *group, t int64) budget {
	var b budget
	if o.slicing == nil {
		counts, spent := o.addBurns(g, func(c component, part *group) Counts { return c.budget(part, t).Counts })
		b.Counts = o.stated(counts, spent*(1-o.Target))
		if b.compliance = complianceOf(b.Counts); b.compliance != nil {
			b.remaining = left(spent)
		}
	} else {
		first, last, all := o.span(t)
		b.Counts = o.slicesTogether(g, first, last)
		if b.compliance = complianceOf(b.Counts); b.compliance != nil {
			b.remaining = left(o.slicesLost(g, first, last, b.Counts) / (float64(all) * (1 - o.Target)))
		}
	}
	if o.calendar != nil && b.remaining == nil {
		b.remaining = left(0)
	}
	return b
}

func (o *objective) slicesLost(g *group, first, last int64, c Counts) float64 {
	if !o.slicing.ratio {
		return c.Bad.Float()
	}
	lost := 0.0
	for i, part := range o.groupsLike(g) {
		if part != nil {
			lost += o.components[i].weight * sumSlices([]*timeslices{part.slices}, first, last).lost
		}
	}
	return lost
}

// touchWholesLocked lets the composites of an objective see that one of its groups moved.
func (e *Engine) touchWholesLocked(o *objective, g *group) {
	for _, whole := range o.wholes {
		wg := e.groupLocked(whole, g.key)
		if wg == nil {
			continue
		}
		if g.edge > wg.edge && wg.edge != noTime {
			e.expireGroupLocked(whole, wg, g.latest)
		}
		wg.edge, wg.latest, wg.dirty = max(wg.edge, g.edge), max(wg.latest, g.latest), true
		e.judgeLocked(whole, wg)
	}
}
