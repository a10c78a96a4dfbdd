// SPDX-License-Identifier: Apache-2.0

package sampling

import "errors"

// Rule is one rule of a Rules policy.
type Rule struct {
	Name string
	// Conditions are the numbers that Conditions.Match gets; each must hold for some span of the trace. Without any, the rule is for all.
	Conditions []int
	// Percent is the share of traces kept.
	Percent float64
}

// rule is a compiled Rule; slots are those of its conditions.
type rule struct {
	slots     []int
	threshold uint64
}

var errNoRules = errors.New("expected at least one rule")

func (p *Program) compileRules(n *node, policy *Policy) error {
	if len(policy.Rules) == 0 {
		return errNoRules
	}
	for _, r := range policy.Rules {
		compiled := rule{threshold: ThresholdOf(r.Percent / 100)}
		for _, condition := range r.Conditions {
			// The place after the slot is for conditions that could not be evaluated.
			slot := p.slot()
			p.slot()
			p.conditions = append(p.conditions, leaf{slot: slot, condition: condition})
			compiled.slots = append(compiled.slots, slot)
		}
		p.thresholds = append(p.thresholds, compiled.threshold)
		n.rules = append(n.rules, compiled)
	}
	return nil
}

// firstRule lets the first rule that a trace meets decide, and says which that is.
func (n *node) firstRule(t *trace, d *draw) (Decision, int) {
	for i := range n.rules {
		if t.bits.hasAll(n.rules[i].slots) {
			return sampledIf(d.shared >= n.rules[i].threshold), i
		}
	}
	return NotSampled, -1
}
