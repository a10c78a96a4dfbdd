// SPDX-License-Identifier: Apache-2.0

package sampling

import "time"

// Tally counts what a policy decided alike.
type Tally struct{ Traces, Spans, Bytes int64 }

func (t *Tally) add(tr *trace) {
	t.Traces++
	t.Spans += int64(tr.spans)
	t.Bytes += int64(tr.size)
}

// PolicyStats are the decisions of one policy, by Decision.
type PolicyStats struct {
	Name      string
	Decisions [numDecisions]Tally
}

// Executions is how often the policy was evaluated.
func (p *PolicyStats) Executions() (n int64) {
	for _, t := range p.Decisions {
		n += t.Traces
	}
	return n
}

// Stats are the counts since the last TakeStats.
type Stats struct {
	Policies []PolicyStats
	// Decisions are the final ones, by Decision.
	Decisions [numDecisions]int64
	// New counts traces first seen; TooLarge those dropped for their size; Evicted those decided early for want of memory or places;
	// OverBudget those that the policies kept and the budget did not.
	New, TooLarge, Evicted, OverBudget int64
	// LateKept and LateDropped count spans that followed an earlier decision.
	LateKept, LateDropped int64
	// LateAges and RemovalAges are in seconds: since the decision, for late spans, and since arrival, for decided traces. They are counts
	// by second; the last holds everything beyond.
	LateAges, RemovalAges Ages
	// EarlyComplete counts traces decided before their time because they had the structure of a complete one.
	EarlyComplete int64
	// Trial are the decisions of the policies on trial, and Scores what they come to beside those in force.
	Trial  []PolicyStats
	Scores Scores
}

// Ages counts by whole seconds.
type Ages [maxAge + 1]int64

const maxAge = 600

func (a *Ages) add(d time.Duration) {
	a[min(max(int64(d/time.Second), 0), maxAge)]++
}

func newStats(p *Program) Stats {
	return Stats{Policies: policyStats(p)}
}

func policyStats(p *Program) (stats []PolicyStats) {
	for _, name := range p.Names() {
		stats = append(stats, PolicyStats{Name: name})
	}
	return stats
}

// visitor counts the decisions of the policies on one trace.
func (s *Stats) visitor(t *trace) func(int, Decision) { return visitorOf(s.Policies, t) }

func visitorOf(stats []PolicyStats, t *trace) func(int, Decision) {
	return func(policy int, d Decision) { stats[policy].Decisions[d].add(t) }
}

func (s *Stats) lateAge(d time.Duration) { s.LateAges.add(d) }
func (s *Stats) removed(d time.Duration) { s.RemovalAges.add(d) }
func (s *Stats) decided(d Decision)      { s.Decisions[d]++ }

// TakeStats hands over the counts and starts them anew.
func (e *Engine) TakeStats() Stats {
	s := e.stats
	e.stats = newStats(e.program)
	if x := e.trial; x != nil {
		s.Trial, s.Scores = x.policies, x.scores
		x.policies, x.scores = policyStats(x.program), Scores{}
	}
	return s
}
