// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"slices"
	"time"
)

// judgeLocked steps every rule of a group at the group's own newest slice. Only events move a group's alerts, so a source whose clock
// runs ahead blinds no other, and a replay fires where the live run did.
func (e *Engine) judgeLocked(o *objective, g *group) {
	end := g.edge + int64(e.fine) - 1
	for i, rule := range o.profile.Rules {
		if len(e.freezes) > 0 && e.heldLocked(o, g, g.latest, rule.Short) {
			continue
		}
		r := reading{
			short: o.counted(g, end, time.Duration(rule.Short)), threshold: o.thresholds[i], slice: g.edge, at: g.latest,
		}
		if r.short.Bad == 0 && !g.alerts[i].firing && g.alerts[i].hotSince == 0 {
			continue
		}
		r.long = o.counted(g, end, time.Duration(rule.Long))
		r.young = end-e.first < int64(rule.Short)
		r.significant = g.alerts[i].firing || r.hot(o.Target) && e.convincingLocked(o, g, end, time.Duration(rule.Long))
		if g.alerts[i].step(r, o.Target, time.Duration(rule.Short), time.Duration(rule.For)) {
			reason := ResolveReason("")
			if !g.alerts[i].firing {
				reason = ReasonRecovered
			}
			e.announceLocked(o, g, i, r, reason)
		}
	}
}

// expireLocked resolves alerts whose group has been silent for the long window.
func (e *Engine) expireLocked() {
	for _, f := range e.firing {
		e.expireGroupLocked(f.objective, f.group, e.now)
	}
	e.firing = slices.DeleteFunc(e.firing, func(f firing) bool { return !f.group.firing() })
}

func (e *Engine) expireGroupLocked(o *objective, g *group, now int64) {
	if e.frozenLocked(o, g, now) != "" {
		return
	}
	for i, rule := range o.profile.Rules {
		if !g.alerts[i].firing || now-g.latest <= int64(rule.Long) {
			continue
		}
		at := g.latest + int64(rule.Long)
		g.alerts[i].firing = false
		g.alerts[i].clearSince = 0
		g.dirty = true
		e.announceLocked(o, g, i, reading{threshold: o.thresholds[i], slice: g.edge, at: at}, ReasonInsufficientData)
	}
}

func (e *Engine) announceLocked(o *objective, g *group, rule int, r reading, reason ResolveReason) {
	long := o.profile.Rules[rule].Long
	t := Transition{
		Objective: o.Objective, Service: o.service(g), Group: o.group(g), Profile: o.profile.Name,
		Rule: o.profile.Rules[rule], Firing: g.alerts[rule].firing, Reason: reason,
		At: unix(r.at), StartedAt: unix(g.alerts[rule].startedAt), Threshold: r.threshold,
		BurnLong: burnOf(r.long, o.Target), BurnShort: burnOf(r.short, o.Target),
		BudgetRemaining: o.remaining(g, r.at),
		Coverage:        e.coverage.share(o.service(g), r.at, time.Duration(long)),
		Good:            r.long.Good.Float(), Bad: r.long.Bad.Float(),
		Exemplars: g.exemplars.recent(r.at-int64(long), AlertExemplars),
		digest:    o.digest, key: g.key,
	}
	e.citeLocked(t.Exemplars)
	oldest := floorDiv(r.at, e.generation()) - 1
	t.Contributors = g.contributors.worst(e.settings.Contributors, oldest, r.long.Bad)
	if f := (firing{o, g}); t.Firing && !slices.Contains(e.firing, f) {
		e.firing = append(e.firing, f)
	}
	if len(e.transitions) >= maxTransitions {
		e.transitions = e.transitions[1:]
		e.stats.TransitionsDropped++
	}
	e.transitions = append(e.transitions, t)
	e.journal.alertsMoved, e.moved = true, true
	e.wakeLocked()
}

// generation is how long contributors are followed before they start to fade: the longest page window up to an hour.
func (e *Engine) generation() int64 {
	longest := e.settings.Profile.Rules[0].Long
	return int64(min(longest, Duration(time.Hour)))
}
