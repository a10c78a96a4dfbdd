// SPDX-License-Identifier: Apache-2.0

package guardrail

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
)

// Facts are what the rules look at.
type Facts struct {
	Now       time.Time
	Candidate detect.Candidate
	// Budget is the lowest error budget left among the target's objectives; nil when it has none or too little is known.
	Budget *float64
	// Coverage is the share of the expected input that arrived, of all and of the target; nil before anything can be expected.
	Coverage *float64
	// Criticality is the target's service.criticality; empty when unknown.
	Criticality string
	// Approved says that a person approved the signal.
	Approved bool
	// Breaker is what became of earlier actions.
	Breaker Breaker
	// Holder is the id of another signal on which something is in flight for the same target; empty when there is none.
	Holder string
	// Past is what was last recommended for the target and kind.
	Past Past
}

// Breaker is what became of the actions that were judged.
type Breaker struct {
	Acted, Reverted int
	// RefutedInARow counts the signals refuted since one was not.
	RefutedInARow int
}

// Open reports whether the breaker is open: nothing but observing until outcomes are better or somebody resets it.
func (b Breaker) Open(s Settings) bool {
	return b.RefutedInARow >= s.MaxRefuted || b.Acted >= s.MinActions && float64(b.Reverted) > s.MaxRevertRate*float64(b.Acted)
}

// Ruling is what the rules say.
type Ruling struct {
	// Evaluated and BlockedBy are names of rules, in the order of the table.
	Evaluated, BlockedBy []string
	// Inputs are what was looked at, as rule.input and its value.
	Inputs map[string]string
}

// rule is one guardrail. It notes what it looked at and reports whether it lets the action pass.
type rule struct {
	name string
	pass func(s *Settings, f *Facts, note func(input, value string)) bool
}

// The names of the rules, which stand in guardrails.evaluated and blocked_by.
const (
	Blind       = "blind"
	Breakers    = "circuit_breaker"
	Expiry      = "expiry"
	Evidence    = "evidence_floor"
	Hysteresis  = "hysteresis"
	MaxStep     = "max_step"
	Throttle    = "error_budget"
	InFlight    = "in_flight"
	MinInterval = "min_interval"
	FlapBudget  = "flap_budget"
	FreezeRule  = "freeze"
	WindowRule  = "change_window"
	Approval    = "approval"
)

var table = []rule{
	{Blind, blind},
	{Breakers, breaker},
	{Expiry, expiry},
	{Evidence, evidence},
	{Hysteresis, hysteresis},
	{MaxStep, maxStep},
	{Throttle, throttle},
	{InFlight, inFlight},
	{MinInterval, minInterval},
	{FlapBudget, flapBudget},
	{FreezeRule, freeze},
	{WindowRule, window},
	{Approval, approval},
}

// Names returns the names of all rules, in the order in which they are evaluated.
func Names() []string {
	names := make([]string, len(table))
	for i, r := range table {
		names[i] = r.name
	}
	return names
}

// Evaluate holds an acting candidate against every rule.
func Evaluate(s Settings, f Facts) Ruling {
	r := Ruling{Evaluated: make([]string, 0, len(table)), BlockedBy: []string{}, Inputs: map[string]string{}}
	for _, rule := range table {
		r.Evaluated = append(r.Evaluated, rule.name)
		if !rule.pass(&s, &f, func(input, value string) { r.Inputs[rule.name+"."+input] = value }) {
			r.BlockedBy = append(r.BlockedBy, rule.name)
		}
	}
	return r
}

// toSafety reports whether the action takes something back for the sake of reliability: waiting for a window would keep the harm.
func toSafety(c *detect.Candidate) bool { return c.Reliability && c.Envelope.Action.Reversible }

func blind(s *Settings, f *Facts, note func(string, string)) bool {
	if f.Coverage == nil {
		return true
	}
	note("coverage", number(*f.Coverage))
	return *f.Coverage >= s.MinCoverage
}

func breaker(s *Settings, f *Facts, note func(string, string)) bool {
	note("acted", strconv.Itoa(f.Breaker.Acted))
	note("reverted", strconv.Itoa(f.Breaker.Reverted))
	note("refuted_in_a_row", strconv.Itoa(f.Breaker.RefutedInARow))
	return !f.Breaker.Open(*s)
}

func expiry(_ *Settings, f *Facts, note func(string, string)) bool {
	note("expires_at", f.Candidate.Envelope.ExpiresAt.UTC().Format(time.RFC3339))
	return f.Candidate.Envelope.ExpiresAt.After(f.Now)
}

func evidence(s *Settings, f *Facts, note func(string, string)) bool {
	note("confidence", number(f.Candidate.Envelope.Confidence.Value))
	ok := f.Candidate.Envelope.Confidence.Value >= s.MinConfidence
	if f.Candidate.Exposure > 0 {
		note("exposure", number(f.Candidate.Exposure))
		ok = ok && f.Candidate.Exposure >= s.MinExposure
	}
	return ok
}

func hysteresis(s *Settings, f *Facts, note func(string, string)) bool {
	if f.Candidate.Noise <= 0 {
		return true
	}
	note("noise", number(f.Candidate.Noise))
	note("margin", number(f.Candidate.Margin))
	return f.Candidate.Margin >= s.HysteresisFactor*f.Candidate.Noise
}

// stepTolerance lets a step that was computed to be the largest allowed pass, whatever the last bit says.
const stepTolerance = 1e-9

func maxStep(s *Settings, f *Facts, note func(string, string)) bool {
	if f.Candidate.Step == 0 {
		return true
	}
	note("step", number(f.Candidate.Step))
	return math.Abs(f.Candidate.Step) <= s.MaxStep+stepTolerance
}

func throttle(s *Settings, f *Facts, note func(string, string)) bool {
	if f.Budget == nil {
		return true
	}
	note("remaining", number(*f.Budget))
	switch c := &f.Candidate; {
	case *f.Budget > s.BudgetAll:
		return true
	case *f.Budget >= s.BudgetReversible:
		return c.Reliability || c.Envelope.Action.Reversible
	default:
		return c.Reliability
	}
}

func inFlight(_ *Settings, f *Facts, note func(string, string)) bool {
	if f.Holder == "" {
		return true
	}
	note("holder", f.Holder)
	return false
}

func minInterval(s *Settings, f *Facts, note func(string, string)) bool {
	if f.Past.At.IsZero() || f.Past.ID == f.Candidate.Envelope.ID && f.Past.Direction == Direction(&f.Candidate) {
		return true
	}
	least := s.MinInterval
	if own, ok := s.MinIntervals[f.Candidate.Envelope.Kind]; ok {
		least = own
	}
	since := f.Now.Sub(f.Past.At)
	note("since_seconds", number(since.Seconds()))
	note("least_seconds", number(least.Seconds()))
	return toSafety(&f.Candidate) || since >= least
}

func flapBudget(s *Settings, f *Facts, note func(string, string)) bool {
	flips := f.Past.flipsSince(f.Now.Add(-s.FlapWindow))
	note("flips", strconv.Itoa(flips))
	if f.Past.At.IsZero() || f.Past.Direction == Direction(&f.Candidate) {
		return true
	}
	return flips < s.FlapBudget
}

func freeze(s *Settings, f *Facts, note func(string, string)) bool {
	for _, one := range s.Freezes {
		if one.holds(f.Now) {
			note("until", one.To.UTC().Format(time.RFC3339))
			if one.Reason != "" {
				note("reason", one.Reason)
			}
			return toSafety(&f.Candidate)
		}
	}
	return true
}

func window(s *Settings, f *Facts, note func(string, string)) bool {
	if len(s.Windows) == 0 || toSafety(&f.Candidate) {
		return true
	}
	open := slices.ContainsFunc(s.Windows, func(w Window) bool { return w.holds(f.Now) })
	note("open", strconv.FormatBool(open))
	return open
}

func approval(s *Settings, f *Facts, note func(string, string)) bool {
	risk := string(f.Candidate.Envelope.Action.Risk)
	note("risk", risk)
	if f.Criticality != "" {
		note("criticality", f.Criticality)
	}
	if !slices.Contains(s.ApprovalCriticality, f.Criticality) && !slices.Contains(s.ApprovalRisk, risk) {
		return true
	}
	note("approved", strconv.FormatBool(f.Approved))
	return f.Approved
}

// number prints up to six significant digits.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
