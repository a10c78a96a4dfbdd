// SPDX-License-Identifier: Apache-2.0

package sampling

import "time"

// Trial is how a set of policies that decides nothing is run beside the one in force, to tell what it would do.
type Trial struct {
	FirstMatch bool
	Budget     Budget
}

// AddTrial compiles policies to be scored against those of the program.
func (p *Program) AddTrial(policies []Policy) error {
	// Slots of both number the same facts of a trace.
	q := &Program{monotone: true, slots: p.slots, tried: true}
	if err := q.compileAll(policies); err != nil {
		return err
	}
	p.slots = q.slots
	for i := range q.keyed {
		for _, l := range q.keyed[i].leaves {
			p.addKeyed(l)
		}
	}
	p.statuses = append(p.statuses, q.statuses...)
	p.states = append(p.states, q.states...)
	p.flags = append(p.flags, q.flags...)
	p.latencies = append(p.latencies, q.latencies...)
	p.conditions = append(p.conditions, q.conditions...)
	p.slo = append(p.slo, q.slo...)
	p.burning = append(p.burning, q.burning...)
	p.severities = append(p.severities, q.severities...)
	p.linked = append(p.linked, q.linked...)
	p.needsVersions = p.needsVersions || q.needsVersions
	p.needsLinks = p.needsLinks || q.needsLinks
	p.trial = q
	return nil
}

// TrialNames lists the policies on trial in the order they are evaluated in.
func (p *Program) TrialNames() []string {
	if p.trial == nil {
		return nil
	}
	return p.trial.Names()
}

// Worth is what kind of trace a trial is scored by.
type Worth uint8

// The kinds, the most valuable first.
const (
	WorthSLOBad Worth = iota
	WorthError
	WorthNewShape
	WorthPlain
	NumWorths
)

// String is the value of the worth attribute of the metrics.
func (w Worth) String() string {
	return [...]string{"slo_bad", "error", "new_shape", "plain"}[w]
}

func worthOf(t *trace) Worth {
	switch {
	case t.has(factSLOBad):
		return WorthSLOBad
	case t.has(factError):
		return WorthError
	case t.has(factNewShape):
		return WorthNewShape
	}
	return WorthPlain
}

// Scores count traces by their worth, by whether they were kept, and by whether the trial would have kept them.
type Scores [NumWorths][2][2]Tally

// trial is the state of a set of policies on trial.
type trial struct {
	settings Trial
	program  *Program
	budget   *budget
	policies []PolicyStats
	scores   Scores
}

func newTrial(settings Trial, p *Program) *trial {
	t := &trial{settings: settings, program: p, policies: policyStats(p)}
	if settings.Budget.enabled() {
		t.budget = newBudget(settings.Budget)
		t.budget.learned = factNoted
	}
	return t
}

// trialGroup is what a trial makes of a group; nil where there is no trial.
type trialGroup struct{ kept map[*trace]struct{} }

// try lets the trial decide on a group. The learning policies of both sets have seen it.
func (e *Engine) try(group []candidate, now time.Time) *trialGroup {
	if e.trial == nil {
		return nil
	}
	x := e.trial
	mine := make([]candidate, len(group))
	for i := range group {
		mine[i] = candidate{t: group[i].t, d: x.program.drawOf(group[i].t, nil)}
	}
	x.program.prepare(mine, now, x.settings.FirstMatch)
	g := &trialGroup{kept: make(map[*trace]struct{})}
	var kept []verdict
	for i := range mine {
		c := &mine[i]
		o := x.program.decide(c.t, &c.d, x.settings.FirstMatch, visitorOf(x.policies, c.t))
		switch pinned := c.t.has(factPinned) && o.decision != Dropped; {
		case o.decision != Sampled && !pinned:
		case x.budget == nil:
			g.kept[c.t] = struct{}{}
		default:
			kept = append(kept, verdict{candidate: *c, outcome: o, random: c.d.shared, weight: 1, certain: pinned})
		}
	}
	if x.budget == nil {
		return g
	}
	x.budget.settle(kept, now)
	for i := range kept {
		if v := &kept[i]; x.budget.admits(v) {
			g.kept[v.t] = struct{}{}
		} else {
			x.program.unlearn(v.t)
		}
	}
	return g
}

// score notes what became of a trace.
func (g *trialGroup) score(e *Engine, t *trace, live bool) {
	if g == nil {
		return
	}
	_, tried := g.kept[t]
	e.trial.scores[worthOf(t)][index(live)][index(tried)].add(t)
}

func index(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
