// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"slices"
	"time"
)

// defaultSalt is mixed into the hash of the trace ID when a probabilistic policy names none.
const defaultSalt = "default-hash-seed"

// Decision is the outcome of a policy, or of all of them.
type Decision uint8

// The decisions. Failed is that of a policy that could not be evaluated; it never is the final one.
const (
	NotSampled Decision = iota
	Sampled
	Dropped
	Failed
	numDecisions
)

// String is the value of the decision attribute of the metrics.
func (d Decision) String() string {
	switch d {
	case Sampled:
		return "sampled"
	case Dropped:
		return "dropped"
	case Failed:
		return "error"
	}
	return "not_sampled"
}

// draw is the randomness of one trace: shared is what the specification calls R, others that of further hash salts.
type draw struct {
	shared uint64
	// bound is set when the trace came with sampling information: every policy then goes by shared.
	bound  bool
	others []uint64
}

func (d *draw) of(salt int) uint64 {
	if salt <= 0 || d.bound {
		return d.shared
	}
	return d.others[salt-1]
}

// drawOf finds the randomness of a trace. Without sampling information in the tracestate it is the hash that the first probabilistic
// policy uses, turned so that a kept trace is at or above its threshold; without such a policy, the trace ID's own.
func (p *Program) drawOf(t *trace, buf []uint64) draw {
	switch {
	case t.has(factRandom):
		return draw{shared: t.random, bound: true}
	case t.has(factThreshold) || len(p.salts) == 0:
		return draw{shared: t.id.Randomness(), bound: true}
	}
	d := draw{shared: saltedRandomness(p.salts[0], t.id), others: buf[:0]}
	for _, salt := range p.salts[1:] {
		d.others = append(d.others, saltedRandomness(salt, t.id))
	}
	return d
}

// saltedRandomness is the complement of the FNV-1a hash of salt and trace ID, cut to 56 bits.
func saltedRandomness(salt string, id TraceID) uint64 {
	const offset, prime = uint64(14695981039346656037), uint64(1099511628211)
	h := offset
	for i := range len(salt) {
		h = (h ^ uint64(salt[i])) * prime
	}
	for _, b := range id {
		h = (h ^ uint64(b)) * prime
	}
	return ^h >> 8
}

// evaluate gives the decision of one policy. It changes nothing.
func (n *node) evaluate(t *trace, d *draw) Decision {
	switch n.kind {
	case KindAlways:
		return Sampled
	case KindSpanCount:
		return sampledIf(int64(t.spans) >= n.min && (n.max == 0 || int64(t.spans) <= n.max))
	case KindProbabilistic:
		return sampledIf(d.of(n.salt) >= n.threshold)
	case KindRate, KindBytes:
		return sampledIf(n.limiter.admits(t, d.shared))
	case KindCondition:
		if t.bits.has(n.slot + 1) {
			return Failed
		}
		return sampledIf(t.bits.has(n.slot))
	case KindChange:
		return sampledIf(t.bits.has(n.slot) && d.shared >= n.threshold)
	case KindDynamic:
		return sampledIf(d.shared >= n.dynamic.thresholdOf(t))
	case KindAnd, KindDrop:
		for _, sub := range n.sub {
			if r := sub.evaluate(t, d); r != Sampled {
				return r
			}
		}
		if n.kind == KindDrop {
			return Dropped
		}
		return Sampled
	case KindNot:
		switch r := n.sub[0].evaluate(t, d); r {
		case Sampled:
			return NotSampled
		case NotSampled:
			return Sampled
		default:
			return r
		}
	case KindComposite:
		r, _ := n.composite(t, d)
		return r
	case KindRules:
		r, _ := n.firstRule(t, d)
		return r
	}
	return sampledIf(t.bits.has(n.slot) != n.invert)
}

// composite gives a trace to the first part that matches it and has room, and says which.
func (n *node) composite(t *trace, d *draw) (Decision, int) {
	for i, sub := range n.sub {
		switch r := sub.evaluate(t, d); r {
		case Sampled:
			if n.lanes[i].admits(t, d.shared) {
				return Sampled, i
			}
		case Failed:
			return Failed, -1
		}
	}
	return NotSampled, -1
}

func sampledIf(yes bool) Decision {
	if yes {
		return Sampled
	}
	return NotSampled
}

// limited tells whether a limiter is in the policy.
func (n *node) limited() bool {
	return n.limiter != nil || len(n.lanes) > 0 || slices.ContainsFunc(n.sub, (*node).limited)
}

// prepare lets the limiters of a policy choose among the traces that reach them.
func (n *node) prepare(group []candidate, now time.Time) {
	switch n.kind {
	case KindRate, KindBytes:
		n.limiter.begin()
		for i := range group {
			n.limiter.offer(group[i].t, group[i].d.shared)
		}
		n.limiter.settle(now)
	case KindNot:
		n.sub[0].prepare(group, now)
	case KindAnd, KindDrop:
		if !n.limited() {
			return
		}
		reach := slices.DeleteFunc(slices.Clone(group), func(c candidate) bool {
			return slices.ContainsFunc(n.sub, func(sub *node) bool {
				return !sub.limited() && sub.evaluate(c.t, &c.d) != Sampled
			})
		})
		for _, sub := range n.sub {
			sub.prepare(reach, now)
		}
	case KindComposite:
		rest := slices.Clone(group)
		for i, sub := range n.sub {
			sub.prepare(rest, now)
			lane := n.lanes[i]
			lane.begin()
			for j := range rest {
				if sub.evaluate(rest[j].t, &rest[j].d) == Sampled {
					lane.offer(rest[j].t, rest[j].d.shared)
				}
			}
			lane.settle(now)
			rest = slices.DeleteFunc(rest, func(c candidate) bool {
				return sub.evaluate(c.t, &c.d) == Sampled && lane.admits(c.t, c.d.shared)
			})
		}
	}
}

// candidate is a trace up for a decision.
type candidate struct {
	t *trace
	d draw
}

// prepare settles all limiters for a group of traces that are decided together.
func (p *Program) prepare(group []candidate, now time.Time, firstMatch bool) {
	for _, n := range p.drops {
		n.prepare(group, now)
	}
	if len(p.limiters) == 0 {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(group), func(c candidate) bool {
		return slices.ContainsFunc(p.drops, func(n *node) bool { return n.evaluate(c.t, &c.d) == Dropped })
	})
	for _, n := range p.policies {
		n.prepare(rest, now)
		if firstMatch {
			rest = slices.DeleteFunc(rest, func(c candidate) bool { return n.evaluate(c.t, &c.d) == Sampled })
		}
	}
}

// outcome is what the policies together make of a trace.
type outcome struct {
	decision Decision
	policy   int
	lane     int
}

// decide evaluates all policies in order. visit, when set, sees each decision.
func (p *Program) decide(t *trace, d *draw, firstMatch bool, visit func(policy int, decision Decision)) outcome {
	out := outcome{policy: -1, lane: -1}
	for i, n := range p.drops {
		r := n.evaluate(t, d)
		if visit != nil {
			visit(i, r)
		}
		if r == Dropped {
			return outcome{decision: Dropped, policy: i, lane: -1}
		}
	}
	for i, n := range p.policies {
		index := len(p.drops) + i
		r := n.evaluate(t, d)
		if visit != nil {
			visit(index, r)
		}
		if r != Sampled {
			continue
		}
		if out.decision != Sampled {
			out.decision, out.policy = Sampled, index
			switch n.kind {
			case KindComposite:
				_, out.lane = n.composite(t, d)
			case KindRules:
				_, out.lane = n.firstRule(t, d)
			}
		}
		if firstMatch || visit == nil {
			break
		}
	}
	return out
}
