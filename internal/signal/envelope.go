// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Version is the version of the envelope that this package writes and the only one it reads.
const Version = 1

// SchemaURI names the published JSON Schema of the envelope; it is the schema's $id and the dataschema of every CloudEvent.
const SchemaURI = "https://github.com/pitwall-io/pitwall/raw/main/docs/signal.schema.json"

// The kinds of signal; the catalogue is docs/signals.md.
const (
	KindSLOBurn            = "optimization.slo.burn"
	KindCanaryVerdict      = "optimization.canary.verdict"
	KindChangeRegression   = "optimization.change.regression"
	KindFlagImpact         = "optimization.flag.impact"
	KindBlind              = "optimization.blind"
	KindControllerConflict = "optimization.controller.conflict"
	KindPolicyDecision     = "optimization.policy.decision"
	KindOutcome            = "optimization.outcome"
	KindCoverage           = "optimization.coverage"
)

// Severity says how soon somebody has to look at a signal.
type Severity string

// The severities, most urgent first.
const (
	SeverityPage   Severity = "page"
	SeverityTicket Severity = "ticket"
	SeverityInfo   Severity = "info"
)

// Risk is the risk of doing what a signal recommends.
type Risk string

// The risk bands. RiskNone is kept for actions that change nothing.
const (
	RiskNone   Risk = "none"
	RiskLow    Risk = "low"
	RiskMedium Risk = "medium"
	RiskHigh   Risk = "high"
)

// Envelope is one optimization signal. The order of its fields is the order of its JSON form.
type Envelope struct {
	// ID is deterministic: see NewID. All states and updates of one signal share it.
	ID string `json:"id"`
	// Kind is the signal's kind, which is also the event name of its log record and the type of its CloudEvent.
	Kind string `json:"kind"`
	// Version is the version of the envelope.
	Version int `json:"version"`
	// State is where in its life the signal is.
	State State `json:"state"`
	// Update counts the envelopes that were emitted for this signal before this one.
	Update int `json:"update"`
	// Severity says how soon somebody has to look.
	Severity Severity `json:"severity"`
	// Summary is one plain sentence for a human.
	Summary string `json:"summary"`
	// Target is what the signal is about.
	Target Target `json:"target"`
	// Action is what is recommended; nothing in this project performs it.
	Action Action `json:"action"`
	// Result is the answer, of the kinds that give one: pass, fail or inconclusive; confirmed, refuted …
	Result *Result `json:"result,omitempty"`
	// Confidence is how sure the detector is.
	Confidence Confidence `json:"confidence"`
	// Evidence is what the signal rests on.
	Evidence Evidence `json:"evidence"`
	// Expected is what the detector predicts.
	Expected *Expected `json:"expected,omitempty"`
	// Guardrails are the rules the signal was held against.
	Guardrails Guardrails `json:"guardrails"`
	// Budget is the error budget's state when the signal was made.
	Budget *Budget `json:"budget,omitempty"`
	// Owner is who looks after the target.
	Owner string `json:"owner,omitempty"`
	// Runbook is where to read what to do.
	Runbook string `json:"runbook,omitempty"`
	// ValidFrom is the event time at which the condition began.
	ValidFrom time.Time `json:"valid_from"`
	// UpdatedAt is the event time of this envelope.
	UpdatedAt time.Time `json:"updated_at"`
	// ExpiresAt is the event time after which the signal must not be acted on.
	ExpiresAt time.Time `json:"expires_at"`
	// Supersedes holds the ids of signals this one replaces.
	Supersedes []string `json:"supersedes,omitempty"`
	// CausedBy holds the ids of the changes that are suspected.
	CausedBy []string `json:"caused_by,omitempty"`
	// Audit is the signal's place in the ledger; absent where no ledger is kept.
	Audit *Audit `json:"audit,omitempty"`
}

// Target is what a signal is about. Empty fields are unknown or do not apply.
type Target struct {
	Service     string `json:"service,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Environment string `json:"environment,omitempty"`
	// Revision is the service.version, image or hash that the signal is bound to.
	Revision string `json:"revision,omitempty"`
	// Objective is the service level objective concerned.
	Objective string `json:"objective,omitempty"`
	// Attributes narrow the target further; their names are on the allow-list.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Action is a recommendation.
type Action struct {
	Verb   string            `json:"verb"`
	Params map[string]string `json:"params,omitempty"`
	// Alternatives are other verbs the evidence supports, best first.
	Alternatives []string `json:"alternatives,omitempty"`
	Reversible   bool     `json:"reversible"`
	Risk         Risk     `json:"risk"`
}

// Result is an answer and why it is not another.
type Result struct {
	Value ResultValue `json:"value"`
	// Reason is a word, such as needs_more_data; empty where the value says it all.
	Reason string `json:"reason,omitempty"`
}

// ResultValue is the answer of a signal that gives one.
type ResultValue string

// The answers of verdicts, of outcomes and of policies.
const (
	ResultPass         ResultValue = "pass"
	ResultFail         ResultValue = "fail"
	ResultInconclusive ResultValue = "inconclusive"

	ResultConfirmed ResultValue = "confirmed"
	ResultRefuted   ResultValue = "refuted"
	ResultNoEffect  ResultValue = "no_effect"
	ResultNotActed  ResultValue = "not_acted"

	ResultAllow           ResultValue = "allow"
	ResultRequireApproval ResultValue = "require_approval"
	ResultDeny            ResultValue = "deny"
)

// results are the answers there are.
var results = []ResultValue{
	ResultPass, ResultFail, ResultInconclusive, ResultConfirmed, ResultRefuted, ResultNoEffect, ResultNotActed,
	ResultAllow, ResultRequireApproval, ResultDeny,
}

// Confidence is a probability in [0, 1] and the method that gave it.
type Confidence struct {
	Value  float64 `json:"value"`
	Method string  `json:"method"`
}

// Evidence is what a signal rests on.
type Evidence struct {
	// Profile names the alerting windows in force; "demo" windows are far too short for production.
	Profile string `json:"profile,omitempty"`
	// Inputs names the telemetry that was read.
	Inputs       []string           `json:"inputs,omitempty"`
	Windows      []Window           `json:"windows,omitempty"`
	Statistics   map[string]float64 `json:"statistics,omitempty"`
	Contributors []Contributor      `json:"contributors,omitempty"`
	Exemplars    []Exemplar         `json:"exemplars,omitempty"`
	// Coverage is the share of the window that was observed, in [0, 1].
	Coverage *float64 `json:"coverage,omitempty"`
	// Withheld names attributes whose values are not on the allow-list and therefore not here.
	Withheld []string `json:"withheld,omitempty"`
	// Trimmed names the parts that were cut to keep the envelope under MaxBytes.
	Trimmed []string `json:"trimmed,omitempty"`
}

// Window is the burn of one alert rule's window: bad ratio ÷ (1 − target).
type Window struct {
	Rule      string   `json:"rule"`
	Window    string   `json:"window"`
	BurnRate  *float64 `json:"burn_rate,omitempty"`
	Threshold *float64 `json:"threshold,omitempty"`
}

// Contributor is one attribute value's part in the bad events of the window.
type Contributor struct {
	Attribute string   `json:"attribute"`
	Value     string   `json:"value"`
	Bad       *float64 `json:"bad,omitempty"`
	Total     *float64 `json:"total,omitempty"`
	// Share is this value's share of all bad events, in [0, 1].
	Share *float64 `json:"share,omitempty"`
}

// Exemplar points at a trace that shows the condition.
type Exemplar struct {
	TraceID string `json:"trace_id"`
}

// Expected is a prediction about one metric.
type Expected struct {
	Metric string `json:"metric"`
	// Delta is the predicted change of the metric over the horizon if nothing is done.
	Delta *float64 `json:"delta,omitempty"`
	// Interval bounds Delta, lower end first.
	Interval []float64 `json:"interval,omitempty"`
	// HorizonSeconds is how far ahead the prediction looks.
	HorizonSeconds *float64 `json:"horizon_seconds,omitempty"`
	// At is the event time of the predicted condition, such as the exhaustion of a budget.
	At *time.Time `json:"at,omitempty"`
}

// Guardrails are the rules a signal was held against and those that forbid to act on it.
type Guardrails struct {
	Evaluated []string `json:"evaluated"`
	BlockedBy []string `json:"blocked_by"`
	// Inputs are what the rules looked at, as rule.input and its value.
	Inputs map[string]string `json:"inputs,omitempty"`
}

// Budget is the state of an error budget.
type Budget struct {
	// Remaining is the share of the budget left, in (−∞, 1].
	Remaining *float64 `json:"remaining,omitempty"`
	// Burn is the burn rate of the long window.
	Burn *float64 `json:"burn,omitempty"`
}

// Audit is a record's place in the hash chain of the ledger; see Chain.
type Audit struct {
	Seq      uint64 `json:"seq"`
	PrevHash string `json:"prev_hash"`
	Hash     string `json:"hash"`
}

// MarshalCanonical returns the one JSON form of the envelope: fields in the order of the struct, map keys sorted, times in UTC,
// no insignificant space, no HTML escapes. Equal envelopes give equal bytes.
func (e Envelope) MarshalCanonical() ([]byte, error) {
	e.normalize()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode signal: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// normalize gives times and mandatory lists the one form that is written.
func (e *Envelope) normalize() {
	e.ValidFrom, e.UpdatedAt, e.ExpiresAt = e.ValidFrom.UTC(), e.UpdatedAt.UTC(), e.ExpiresAt.UTC()
	if e.Expected != nil && e.Expected.At != nil {
		expected, at := *e.Expected, e.Expected.At.UTC()
		expected.At = &at
		e.Expected = &expected
	}
	if e.Guardrails.Evaluated == nil {
		e.Guardrails.Evaluated = []string{}
	}
	if e.Guardrails.BlockedBy == nil {
		e.Guardrails.BlockedBy = []string{}
	}
}

// Decode reads an envelope from its JSON form and validates it. A field this version does not know is an error: what cannot be
// checked must not be passed on.
func Decode(data []byte) (Envelope, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var e Envelope
	if err := dec.Decode(&e); err != nil {
		return Envelope{}, fmt.Errorf("decode signal: %w", err)
	}
	if dec.More() {
		return Envelope{}, fmt.Errorf("decode signal: %w", errTrailing)
	}
	if err := e.Validate(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

var errTrailing = errors.New("data after the envelope")
