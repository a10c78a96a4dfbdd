// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Weights say how much benefits of different kinds are worth, relative to one another.
type Weights struct {
	// Money is the worth of one unit of the currency, saved in a month.
	Money float64
	// Budget is the worth of a whole error budget.
	Budget float64
	// Latency is the worth of one second off each request.
	Latency float64
}

// DefaultWeights take a whole error budget for as much as 1,000 units of money in a month, and a second as much as 100.
func DefaultWeights() Weights { return Weights{Money: 1, Budget: 1000, Latency: 100} }

// riskDivisor and effortDivisor make what is risky or laborious wait behind what is not.
var (
	riskDivisor   = map[signal.Risk]float64{signal.RiskNone: 1, signal.RiskLow: 1.25, signal.RiskMedium: 2, signal.RiskHigh: 4}
	effortDivisor = map[detect.Effort]float64{detect.EffortNone: 1, detect.EffortLow: 1.25, detect.EffortMedium: 2, detect.EffortHigh: 4}
)

// unknownBenefit is what a candidate that states no benefit is taken to bring, so that confidence, risk and effort still rank it.
const unknownBenefit = 1

// Score is the benefit, weighted, times the confidence, divided by risk and effort.
func Score(w Weights, c *detect.Candidate) float64 {
	benefit := w.Money*max(c.Benefit.Money, 0) + w.Budget*max(c.Benefit.Budget, 0) + w.Latency*max(c.Benefit.LatencySeconds, 0)
	benefit = max(benefit, unknownBenefit)
	score := benefit * c.Envelope.Confidence.Value
	if d, ok := riskDivisor[c.Envelope.Action.Risk]; ok {
		score /= d
	}
	if d, ok := effortDivisor[c.Effort]; ok {
		score /= d
	}
	return score
}

// Acting reports whether the action changes something. Looking, waiting and doing nothing do not.
func Acting(a signal.Action) bool {
	switch a.Verb {
	case "none", "investigate", "hold", "wait", "review":
		return false
	default:
		return true
	}
}

// Item is what became of one candidate in the plan.
type Item struct {
	Candidate *detect.Candidate
	Score     float64
	// MergedInto is the id of the signal that speaks for this one; empty when it speaks for itself.
	MergedInto string
	// Supersedes are the ids of those it speaks for.
	Supersedes []string
	// Holder is the id of the signal that is in flight for the same target and has to end first; empty when this one may go.
	Holder string
}

// Plan ranks the candidates, best first, and says of each what becomes of it. held are the targets, by TargetKey, for which something is
// in flight already, with the id of its signal: it stays ahead of others unless these serve reliability and it does not.
func Plan(w Weights, candidates []*detect.Candidate, held map[string]string) []Item {
	items := make([]Item, len(candidates))
	for i, c := range candidates {
		items[i] = Item{Candidate: c, Score: Score(w, c)}
	}
	slices.SortFunc(items, func(a, b Item) int { return compare(&a, &b) })
	merge(items)
	fly(items, held)
	return items
}

// compare orders by reliability, then by score; ids break ties, so that the order does not depend on anything else.
func compare(a, b *Item) int {
	return cmp.Or(
		-compareBool(a.Candidate.Reliability, b.Candidate.Reliability),
		-cmp.Compare(a.Score, b.Score),
		cmp.Compare(a.Candidate.Envelope.ID, b.Candidate.Envelope.ID),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// merge lets the best candidate of each cause and target speak for the others. One that is more urgent than the best is never taken
// into it: nobody would be woken.
func merge(items []Item) {
	best := map[string]int{}
	for i := range items {
		c := items[i].Candidate
		if c.Cause == "" {
			continue
		}
		key := TargetKey(c.Envelope.Target) + "\x00" + c.Cause
		first, ok := best[key]
		switch {
		case !ok:
			best[key] = i
		case urgency(c.Envelope.Severity) > urgency(items[first].Candidate.Envelope.Severity):
		case len(items[first].Supersedes) >= signal.MaxList:
		default:
			items[i].MergedInto = items[first].Candidate.Envelope.ID
			items[first].Supersedes = append(items[first].Supersedes, c.Envelope.ID)
		}
	}
}

func urgency(s signal.Severity) int {
	switch s {
	case signal.SeverityPage:
		return 2
	case signal.SeverityTicket:
		return 1
	default:
		return 0
	}
}

// fly lets one acting candidate go for each target: the one in flight already, unless a better one serves reliability and it does not;
// otherwise the best.
func fly(items []Item, held map[string]string) {
	flying := map[string]*Item{}
	for i := range items {
		item := &items[i]
		if item.MergedInto != "" || !Acting(item.Candidate.Envelope.Action) {
			continue
		}
		key := TargetKey(item.Candidate.Envelope.Target)
		now, taken := flying[key]
		if !taken {
			flying[key] = item
			continue
		}
		if held[key] == item.Candidate.Envelope.ID && now.Candidate.Reliability == item.Candidate.Reliability {
			now.Holder = ""
			flying[key] = item
		}
	}
	for i := range items {
		item := &items[i]
		if item.MergedInto != "" || !Acting(item.Candidate.Envelope.Action) {
			continue
		}
		key := TargetKey(item.Candidate.Envelope.Target)
		if holder := flying[key]; holder != item {
			item.Holder = holder.Candidate.Envelope.ID
		}
	}
}

// TargetKey names what one change at a time is made to.
func TargetKey(t signal.Target) string {
	var b strings.Builder
	for _, part := range []string{t.Service, t.Namespace, t.Environment} {
		b.WriteString(strconv.Itoa(len(part)))
		b.WriteByte(':')
		b.WriteString(part)
	}
	return b.String()
}
