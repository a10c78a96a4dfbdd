// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Check names what the book looks at to find out whether it can be believed.
type Check string

const (
	// CheckTotal finds ratios whose part, good or bad, grew beyond their total.
	CheckTotal Check = "good_within_total"
	// CheckMonotone finds running totals that fell although their sender does not say that they began anew.
	CheckMonotone Check = "monotone_counter"
	// CheckSkew finds sources whose clock is ahead of the collector's, or that are further behind the others than may be.
	CheckSkew Check = "clock_skew"
	// CheckCoverage finds services that objectives are about and that say nothing.
	CheckCoverage Check = "coverage"
)

// Checks are all of them.
var Checks = []Check{CheckTotal, CheckMonotone, CheckSkew, CheckCoverage}

const (
	// skewAhead is how far a clock may be ahead: what synchronized clocks are apart is a fraction of it.
	skewAhead = 5 * time.Second
	// auditEvery is how often services are looked at.
	auditEvery = 10 * time.Second
	// quietAfter is how long a violation must not have been seen before it is told again.
	quietAfter = time.Hour
	// maxFindings bounds the violations that are followed, and those that wait to be told.
	maxFindings = 1024
)

// Finding is a violation that began or ended.
type Finding struct {
	Check Check
	// Objective is empty where the violation is not one's own; Service and Instance where they are not known.
	Objective, Service, Instance string
	// At is event time; of CheckSkew the time of the clock.
	At time.Time
	// Ended says that a lasting violation, one of CheckSkew or CheckCoverage, is over.
	Ended bool
	// Reason says for humans what was found.
	Reason string
}

// subject is what a violation is about.
type subject struct {
	check              Check
	objective, service string
	source             uint64
}

type audit struct {
	found   map[Check]uint64
	open    map[subject]*violation
	waiting []Finding
	dropped uint64
	looked  int64 // clock, ns
}

type violation struct {
	instance string
	last     int64 // clock, ns
}

func newAudit() audit { return audit{found: map[Check]uint64{}, open: map[subject]*violation{}} }

// raise notes a violation, and tells of it where it is new.
func (a *audit) raise(s subject, instance string, at, now int64, reason func() string) {
	if v, known := a.open[s]; known {
		v.last = now
		return
	}
	a.found[s.check]++
	if len(a.open) >= maxFindings {
		a.dropped++
		return
	}
	s.objective, s.service, instance = strings.Clone(s.objective), strings.Clone(s.service), strings.Clone(instance)
	a.open[s] = &violation{instance: instance, last: now}
	a.tell(Finding{Check: s.check, Objective: s.objective, Service: s.service, Instance: instance, At: unix(at), Reason: reason()})
}

// end tells that a lasting violation is over.
func (a *audit) end(s subject, at int64, reason string) {
	v, known := a.open[s]
	if !known {
		return
	}
	delete(a.open, s)
	a.tell(Finding{Check: s.check, Objective: s.objective, Service: s.service, Instance: v.instance, At: unix(at), Ended: true, Reason: reason})
}

func (a *audit) tell(f Finding) {
	if len(a.waiting) >= maxFindings {
		a.waiting = slices.Delete(a.waiting, 0, 1)
		a.dropped++
	}
	a.waiting = append(a.waiting, f)
}

// auditTallyLocked looks at a batch: at what its reader found in it, and at the clocks of its sources. before is the book's time ahead of it.
func (e *Engine) auditTallyLocked(t *Tally, before, now int64) {
	for _, v := range t.violations {
		o := e.objectives[v.objective]
		e.audit.raise(subject{check: v.check, objective: o.Name, service: o.Service}, "", v.at, now, func() string { return violationReasons[v.check] })
	}
	if e.settings.MaxFuture > 0 { // otherwise recordings of any time are welcome
		for _, s := range t.ahead {
			e.auditAheadLocked(s, now)
		}
	}
	for _, s := range t.sources {
		skew := subject{check: CheckSkew, service: s.service, source: s.source}
		switch {
		case e.settings.MaxFuture > 0 && s.latest-now > int64(skewAhead):
			e.auditAheadLocked(s, now)
		case before != noTime && s.latest < before-int64(e.settings.MaxLateness):
			e.audit.raise(skew, s.instance, now, now, func() string {
				return fmt.Sprintf("its events are %s behind those of other sources: its clock is, or a backlog arrives", round(before-s.latest))
			})
		case len(e.audit.open) > 0:
			e.audit.end(skew, now, "its events are of the time of the others again")
		}
	}
}

func (e *Engine) auditAheadLocked(s sourceMark, now int64) {
	e.audit.raise(subject{check: CheckSkew, service: s.service, source: s.source}, s.instance, now, now, func() string {
		return fmt.Sprintf("its events are %s ahead of this collector's clock", round(s.latest-now))
	})
}

var violationReasons = map[Check]string{
	CheckTotal:    "the part of its ratio grew beyond the total: the two counters do not count the same events",
	CheckMonotone: "a running total fell although its start stayed the same: two senders share its attributes, or the sender is wrong",
}

func round(ns int64) time.Duration { return time.Duration(ns).Round(time.Second) }

// auditCoverageLocked looks, now and then, at the services that objectives are about.
func (e *Engine) auditCoverageLocked(now int64) {
	if e.audit.looked != 0 && now-e.audit.looked < int64(auditEvery) && now >= e.audit.looked {
		return
	}
	e.audit.looked = now
	about := e.servicesLocked()
	for name := range about {
		s := subject{check: CheckCoverage, service: name}
		switch of := e.coverage.of(name); {
		case len(of) == 0 || e.serviceFrozenLocked(name):
		case e.coverage.at(name, e.now):
			e.audit.end(s, e.now, "its telemetry is back")
		default:
			e.audit.raise(s, "", e.now, now, func() string {
				return "it has said nothing since " + unix(of[len(of)-1].to-e.coverage.reach+e.coverage.fine).Format(time.RFC3339)
			})
		}
	}
	for s, v := range e.audit.open {
		if _, defined := about[s.service]; now-v.last > int64(quietAfter) || s.check == CheckCoverage && !defined {
			delete(e.audit.open, s)
		}
	}
}

// servicesLocked are the services that objectives are about.
func (e *Engine) servicesLocked() map[string]struct{} {
	out := map[string]struct{}{}
	for _, o := range e.objectives {
		at := slices.Index(o.GroupBy, serviceName)
		switch {
		case o.retired:
		case at < 0:
			out[o.Service] = struct{}{}
		default:
			for _, g := range o.groups {
				out[g.values[at]] = struct{}{}
			}
		}
	}
	return out
}

// serviceFrozenLocked reports whether all of a service is in maintenance.
func (e *Engine) serviceFrozenLocked(service string) bool {
	return slices.ContainsFunc(e.freezes, func(f *freeze) bool {
		return f.overlaps(e.now, e.now) && (len(f.Objectives) == 0 && len(f.Services) == 0 || slices.Contains(f.Services, service))
	})
}

// TakeFindings hands out what the book found since the last call. Nothing of it is kept over a restart: what is still so is found again.
func (e *Engine) TakeFindings() []Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.audit.waiting
	e.audit.waiting = nil
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Objective, b.Objective), cmp.Compare(a.Service, b.Service))
	})
	return out
}

// ReturnFindings takes back what could not be delivered.
func (e *Engine) ReturnFindings(fs []Finding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	newer := e.audit.waiting
	e.audit.waiting = nil
	for _, f := range slices.Concat(fs, newer) {
		e.audit.tell(f)
	}
}

// Audit is how many violations of each check began since the engine was made, how many are open, and how many were not told for want of room.
func (e *Engine) Audit() (found, open map[Check]uint64, dropped uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found, open = map[Check]uint64{}, map[Check]uint64{}
	for _, c := range Checks {
		found[c], open[c] = e.audit.found[c], 0
	}
	for s := range e.audit.open {
		open[s.check]++
	}
	return found, open, e.audit.dropped
}
