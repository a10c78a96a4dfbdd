// SPDX-License-Identifier: Apache-2.0

package sampling

import "time"

// Tally counts what a policy decided alike.
type Tally struct{ Traces, Spans, Bytes int64 }

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
}

// Ages counts by whole seconds.
type Ages [maxAge + 1]int64

const maxAge = 600

func (a *Ages) add(d time.Duration) {
	a[min(max(int64(d/time.Second), 0), maxAge)]++
}

func newStats(p *Program) Stats {
	s := Stats{}
	for _, name := range p.Names() {
		s.Policies = append(s.Policies, PolicyStats{Name: name})
	}
	return s
}

// visitor counts the decisions of the policies on one trace.
func (s *Stats) visitor(t *trace) func(int, Decision) {
	return func(policy int, d Decision) {
		tally := &s.Policies[policy].Decisions[d]
		tally.Traces++
		tally.Spans += int64(t.spans)
		tally.Bytes += int64(t.size)
	}
}

func (s *Stats) lateAge(d time.Duration) { s.LateAges.add(d) }
func (s *Stats) removed(d time.Duration) { s.RemovalAges.add(d) }
func (s *Stats) decided(d Decision)      { s.Decisions[d]++ }

// TakeStats hands over the counts and starts them anew.
func (e *Engine) TakeStats() Stats {
	s := e.stats
	e.stats = newStats(e.program)
	return s
}
