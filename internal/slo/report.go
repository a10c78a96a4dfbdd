// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Statuses returns one entry per objective and group, in the order of the configuration and then of the groups' values.
func (e *Engine) Statuses() []Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Status
	for _, o := range e.objectives {
		if o.retired {
			continue
		}
		groups := o.sorted()
		if len(groups) == 0 && len(o.GroupBy) == 0 {
			out = append(out, e.unseenLocked(o))
		}
		for _, g := range groups {
			out = append(out, e.statusLocked(o, g))
		}
	}
	return out
}

// sorted lists the groups by their values, the overflow group last.
func (o *objective) sorted() []*group {
	groups := make([]*group, 0, len(o.groups)+1)
	for _, g := range o.groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int { return slices.Compare(a.values, b.values) })
	if o.overflow != nil {
		groups = append(groups, o.overflow)
	}
	return groups
}

func (e *Engine) unseenLocked(o *objective) Status {
	s := e.headerLocked(o)
	s.Service = o.Service
	s.State, s.Reason = StateInsufficientData, o.NotComputable
	if e.now != noTime {
		s.Coverage = e.coverage.share(o.Service, e.now, time.Duration(o.Window))
	}
	for _, w := range o.profile.Windows {
		s.BurnRates = append(s.BurnRates, BurnRate{Window: w.String()})
	}
	return s
}

func (e *Engine) headerLocked(o *objective) Status {
	s := Status{
		Name: o.Name, Owner: o.Owner, Runbook: o.Runbook, Target: o.Target, Window: o.Window.String(),
		AlertProfile: o.profile.Name, Method: o.method(), Rules: o.profile.Rules,
	}
	if e.now != noTime {
		s.AsOf = unix(e.now)
	}
	return s
}

func (e *Engine) statusLocked(o *objective, g *group) Status {
	s := e.headerLocked(o)
	s.Service = o.service(g)
	if len(g.values) > 0 {
		s.Group = make(map[string]string, len(g.values))
		for _, v := range o.group(g) {
			s.Group[v.Attribute] = v.Value
		}
	}
	// A group's own events may be ahead of the book by no more than the skew of its source.
	at := max(e.now, g.latest)
	window := time.Duration(o.Window)
	if o.calendar != nil {
		from, to := o.calendar.period(at)
		s.Period = &Period{Start: unix(from), End: unix(to)}
		window = max(e.fine, time.Duration(at-from))
	}
	b := o.budget(g, at)
	s.Good, s.Bad = b.Good.Float(), b.Bad.Float()
	s.Coverage = e.coverage.share(s.Service, e.now, window)
	for _, w := range o.profile.Windows {
		s.BurnRates = append(s.BurnRates, BurnRate{Window: w.String(), Rate: burnOf(o.counted(g, at, time.Duration(w)), o.Target)})
	}
	for i, a := range g.alerts {
		if a.firing {
			r := o.profile.Rules[i]
			s.Alerts = append(s.Alerts, FiringAlert{Name: r.Name, Severity: r.Severity, Since: unix(a.startedAt)})
		}
	}
	known := b.remaining != nil && e.coverage.time(s.Service, e.now, time.Duration(o.Window)) >= e.settings.Profile.shortest()
	if known {
		s.Compliance, s.BudgetRemaining = b.compliance, b.remaining
	}
	if low, high, ok := o.interval(g, at, b.Counts); ok && known {
		s.BudgetInterval = &[2]float64{low, high}
	}
	if bound, ok := o.thresholdError(at); ok {
		s.ThresholdError = &bound
	}
	s.Maintenance = e.frozenLocked(o, g, e.now)
	s.Latency = g.durations.latency(at, e.generation())
	s.State = e.stateLocked(known, s)
	return s
}

func (e *Engine) stateLocked(known bool, s Status) State {
	switch {
	case s.Maintenance != "":
		return StateFrozen
	case !e.coverage.at(s.Service, e.now):
		if known || len(s.Alerts) > 0 {
			return StateFrozen
		}
		return StateInsufficientData
	case len(s.Alerts) > 0:
		return StateBurning
	case !known:
		return StateInsufficientData
	case *s.BudgetRemaining <= 0:
		return StateExhausted
	}
	return StateOK
}

// SliceEvents are the events of one group in one slice that were not emitted before.
type SliceEvents struct {
	Objective  Objective
	Service    string
	Group      []GroupValue
	Start, End time.Time
	Good, Bad  float64
	Exemplars  []TraceID // of bad events, newest first
	// StampGood and StampBad tell apart what the slice's events were handed out in. They follow from what was delivered of the slice before, so
	// events that are handed out again, together with newer ones or after a crash, have the stamps they had. Zero where that is not known.
	StampGood, StampBad Stamp

	counts sliceCounts
	index  int
	key    string
}

// Claim makes owner the one who takes the book's events and transitions: taken by two, each would have half. With events it also makes the
// book remember what TakeEvents has not handed out yet; the slices of a book nobody reads would pile up.
func (e *Engine) Claim(owner string, events bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owner != "" && e.owner != owner {
		return fmt.Errorf("the book is already emitted by %s: a second emitter would send everything twice", e.owner)
	}
	e.owner = owner
	e.emitting = e.emitting || events
	return nil
}

// Release ends a claim.
func (e *Engine) Release(owner string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owner == owner {
		e.owner = ""
	}
}

// Pressing reports whether very many events wait: the reader should not wait for its timer.
func (e *Engine) Pressing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pressing
}

// TakeTransitions hands out the alert transitions since the last call, in the order in which they came about: commit by commit, and those
// of one commit in event order. So it does not depend on when they are taken. The reader says what became of them, by
// DeliveredTransitions or ReturnTransitions, before it takes more.
func (e *Engine) TakeTransitions() []Transition {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.transitions
	e.transitions = nil
	e.handedOut = out
	return out
}

// orderTransitionsLocked puts the transitions that came about after the first n in event order.
func (e *Engine) orderTransitionsLocked(n int) {
	slices.SortStableFunc(e.transitions[min(n, len(e.transitions)):], func(a, b Transition) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Objective.Name, b.Objective.Name), cmp.Compare(a.Service, b.Service))
	})
}

// ReturnTransitions takes back transitions that could not be delivered, ahead of newer ones.
func (e *Engine) ReturnTransitions(ts []Transition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handedOut = nil
	e.transitions = append(ts, e.transitions...)
	if over := len(e.transitions) - maxTransitions; over > 0 {
		e.transitions = e.transitions[over:]
		e.stats.TransitionsDropped += uint64(over)
	}
}

// Stats are totals since the engine was made.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Fill is the number of groups of each objective and of sources, for the metrics that watch their bounds.
func (e *Engine) Fill() (groups map[string]int, sources int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	groups = make(map[string]int, len(e.objectives))
	for _, o := range e.objectives {
		if o.retired {
			continue
		}
		groups[o.Name] = len(o.groups)
	}
	return groups, len(e.sources)
}
