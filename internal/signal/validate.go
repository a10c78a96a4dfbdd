// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"
)

// The bounds of text and lists in an envelope. The published schema states the same numbers.
const (
	MaxText         = 256
	MaxSummary      = 512
	MaxURL          = 1024
	MaxAttributes   = 16
	MaxContributors = 10
	MaxExemplars    = 10
	MaxWindows      = 16
	MaxStatistics   = 32
	MaxList         = 16
	MaxInputs       = 48
)

var (
	errInvalid = errors.New("invalid signal")

	idPattern    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	hashPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	kindPattern  = regexp.MustCompile(`^optimization(\.[a-z][a-z0-9_]*)+$`)
	verbPattern  = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	tracePattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

	minTime = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Validate reports the first fault that would make the envelope differ from the published schema or its JSON form impossible. The
// error wraps the field's name; it holds no value of the envelope, which may be hostile.
func (e Envelope) Validate() error {
	c := &checker{}
	c.that(idPattern.MatchString(e.ID), "id")
	c.that(len(e.Kind) <= MaxText && kindPattern.MatchString(e.Kind), "kind")
	c.that(e.Version == Version, "version")
	c.that(e.State.Known(), "state")
	c.that(e.Update >= 0, "update")
	c.that(e.Severity == SeverityPage || e.Severity == SeverityTicket || e.Severity == SeverityInfo, "severity")
	c.text(e.Summary, MaxSummary, "summary")
	c.that(e.Summary != "", "summary")
	c.target(e.Target)
	c.action(e.Action)
	if e.Result != nil {
		c.that(slices.Contains(results, e.Result.Value), "result.value")
		c.that(e.Result.Reason == "" || len(e.Result.Reason) <= MaxText && verbPattern.MatchString(e.Result.Reason), "result.reason")
	}
	c.that(e.Confidence.Value >= 0 && e.Confidence.Value <= 1, "confidence.value")
	c.that(verbPattern.MatchString(e.Confidence.Method) && len(e.Confidence.Method) <= MaxText, "confidence.method")
	c.evidence(e.Evidence)
	c.expected(e.Expected)
	c.texts(e.Guardrails.Evaluated, "guardrails.evaluated")
	c.texts(e.Guardrails.BlockedBy, "guardrails.blocked_by")
	c.textMap(e.Guardrails.Inputs, MaxInputs, "guardrails.inputs")
	if e.Budget != nil {
		c.number(e.Budget.Remaining, math.Inf(-1), 1, "budget.remaining")
		c.number(e.Budget.Burn, 0, math.Inf(1), "budget.burn")
	}
	c.text(e.Owner, MaxText, "owner")
	c.text(e.Runbook, MaxURL, "runbook")
	c.time(e.ValidFrom, "valid_from")
	c.time(e.UpdatedAt, "updated_at")
	c.time(e.ExpiresAt, "expires_at")
	c.that(!e.UpdatedAt.Before(e.ValidFrom), "updated_at")
	c.that(!e.ExpiresAt.Before(e.ValidFrom), "expires_at")
	c.texts(e.Supersedes, "supersedes")
	c.texts(e.CausedBy, "caused_by")
	if e.Audit != nil {
		c.that(e.Audit.Seq > 0, "audit.seq")
		c.that(hashPattern.MatchString(e.Audit.PrevHash), "audit.prev_hash")
		c.that(hashPattern.MatchString(e.Audit.Hash), "audit.hash")
	}
	if c.fault != "" {
		return fmt.Errorf("%w: %s", errInvalid, c.fault)
	}
	return nil
}

// checker remembers the first field that failed.
type checker struct{ fault string }

func (c *checker) that(ok bool, field string) {
	if !ok && c.fault == "" {
		c.fault = field
	}
}

func (c *checker) text(s string, limit int, field string) {
	c.that(len(s) <= limit && utf8.ValidString(s), field)
}

func (c *checker) texts(list []string, field string) {
	c.that(len(list) <= MaxList, field)
	for _, s := range list {
		c.text(s, MaxText, field)
	}
}

func (c *checker) textMap(m map[string]string, limit int, field string) {
	c.that(len(m) <= limit, field)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		c.that(key != "", field)
		c.text(key, MaxText, field)
		c.text(m[key], MaxText, field)
	}
}

func (c *checker) number(v *float64, low, high float64, field string) {
	if v != nil {
		c.that(finite(*v) && *v >= low && *v <= high, field)
	}
}

func (c *checker) time(t time.Time, field string) {
	c.that(!t.Before(minTime) && t.Before(maxTime), field)
}

func (c *checker) target(t Target) {
	c.text(t.Service, MaxText, "target.service")
	c.text(t.Namespace, MaxText, "target.namespace")
	c.text(t.Environment, MaxText, "target.environment")
	c.text(t.Revision, MaxText, "target.revision")
	c.text(t.Objective, MaxText, "target.objective")
	c.textMap(t.Attributes, MaxAttributes, "target.attributes")
}

func (c *checker) action(a Action) {
	c.that(len(a.Verb) <= MaxText && verbPattern.MatchString(a.Verb), "action.verb")
	c.textMap(a.Params, MaxAttributes, "action.params")
	c.texts(a.Alternatives, "action.alternatives")
	for _, verb := range a.Alternatives {
		c.that(verbPattern.MatchString(verb), "action.alternatives")
	}
	c.that(a.Risk == RiskNone || a.Risk == RiskLow || a.Risk == RiskMedium || a.Risk == RiskHigh, "action.risk")
}

func (c *checker) evidence(ev Evidence) {
	c.text(ev.Profile, MaxText, "evidence.profile")
	c.texts(ev.Inputs, "evidence.inputs")
	c.that(len(ev.Windows) <= MaxWindows, "evidence.windows")
	for _, w := range ev.Windows {
		c.text(w.Rule, MaxText, "evidence.windows.rule")
		c.text(w.Window, MaxText, "evidence.windows.window")
		c.number(w.BurnRate, 0, math.Inf(1), "evidence.windows.burn_rate")
		c.number(w.Threshold, 0, math.Inf(1), "evidence.windows.threshold")
	}
	c.that(len(ev.Statistics) <= MaxStatistics, "evidence.statistics")
	for _, name := range slices.Sorted(maps.Keys(ev.Statistics)) {
		c.text(name, MaxText, "evidence.statistics")
		c.that(name != "" && finite(ev.Statistics[name]), "evidence.statistics")
	}
	c.that(len(ev.Contributors) <= MaxContributors, "evidence.contributors")
	for _, x := range ev.Contributors {
		c.that(x.Attribute != "", "evidence.contributors.attribute")
		c.text(x.Attribute, MaxText, "evidence.contributors.attribute")
		c.text(x.Value, MaxText, "evidence.contributors.value")
		c.number(x.Bad, 0, math.Inf(1), "evidence.contributors.bad")
		c.number(x.Total, 0, math.Inf(1), "evidence.contributors.total")
		c.number(x.Share, 0, 1, "evidence.contributors.share")
	}
	c.that(len(ev.Exemplars) <= MaxExemplars, "evidence.exemplars")
	for _, x := range ev.Exemplars {
		c.that(tracePattern.MatchString(x.TraceID), "evidence.exemplars.trace_id")
	}
	c.number(ev.Coverage, 0, 1, "evidence.coverage")
	c.texts(ev.Withheld, "evidence.withheld")
	c.texts(ev.Trimmed, "evidence.trimmed")
}

func (c *checker) expected(x *Expected) {
	if x == nil {
		return
	}
	c.that(x.Metric != "", "expected.metric")
	c.text(x.Metric, MaxText, "expected.metric")
	c.number(x.Delta, math.Inf(-1), math.Inf(1), "expected.delta")
	c.that(len(x.Interval) == 0 || len(x.Interval) == 2, "expected.interval")
	for i := range x.Interval {
		c.number(&x.Interval[i], math.Inf(-1), math.Inf(1), "expected.interval")
	}
	c.number(x.HorizonSeconds, 0, math.Inf(1), "expected.horizon_seconds")
	if x.At != nil {
		c.time(*x.At, "expected.at")
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
