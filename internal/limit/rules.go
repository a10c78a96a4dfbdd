// SPDX-License-Identifier: Apache-2.0

package limit

import "strings"

// The marks of folding, as in the OpenTelemetry SDK specification.
const (
	OverflowValue     = "otel.cardinality_overflow"
	OverflowAttribute = "otel.metric.overflow"
)

// Action is what a rule does with an attribute.
type Action uint8

// The actions of rules. ActionFold is what the limits do on their own; a rule may ask for it too.
const (
	ActionNone Action = iota
	ActionKeep
	ActionDrop
	ActionRename
	ActionHash
	ActionTemplate
	ActionFold
)

// Rule rewrites the attributes it matches before the limits look at them. The first matching rule of an attribute wins.
type Rule struct {
	// Name labels the rule in reports.
	Name string
	// Metrics and Attributes are patterns with * and ?; no pattern matches everything.
	Metrics    []string
	Attributes []string
	Action     Action
	// To is the new key of a rename.
	To string
	// Buckets is the number of values a hash leaves.
	Buckets int
	// DryRun counts what the rule would have done and does nothing.
	DryRun bool
}

// merges tells whether different series may become the same under the rule.
func (r *Rule) merges() bool {
	switch r.Action {
	case ActionDrop, ActionHash, ActionTemplate, ActionRename, ActionFold:
		return !r.DryRun
	}
	return false
}

// Match tells whether a text matches a pattern in which * stands for any run of characters and ? for any one.
func Match(pattern, text string) bool {
	p, t, star, back := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			back++
			p, t = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func matchAny(patterns []string, text string) bool {
	for _, p := range patterns {
		if Match(p, text) {
			return true
		}
	}
	return false
}

// matchAnyOrAll matches everything when there is no pattern.
func matchAnyOrAll(patterns []string, text string) bool {
	return len(patterns) == 0 || matchAny(patterns, text)
}
