// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/guardrail"
	"github.com/pitwall-io/pitwall/internal/plan"
	"github.com/pitwall-io/pitwall/internal/policy"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newLoop(limit int) *Loop {
	return New(Settings{MaxActive: limit, Weights: plan.DefaultWeights(), Guardrails: guardrail.Default()})
}

// candidate is a firing signal of a service at a time, valid for an hour.
func candidate(service string, at time.Time) detect.Candidate {
	target := signal.Target{Service: service}
	return detect.Candidate{Envelope: signal.Envelope{
		ID: signal.NewID(signal.KindSLOBurn, target, nil, t0), Kind: signal.KindSLOBurn, Version: signal.Version, State: signal.StateFiring,
		Severity: signal.SeverityTicket, Summary: service + " burns.", Target: target,
		Action:     signal.Action{Verb: "investigate", Reversible: true, Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 0.9, Method: "test"}, ValidFrom: t0, UpdatedAt: at, ExpiresAt: at.Add(time.Hour),
	}}
}

func TestOnlyNewsAreSaid(t *testing.T) {
	l := newLoop(10)
	step := func(c detect.Candidate) Said { return l.Step(c.Envelope.UpdatedAt, []detect.Candidate{c}, World{}) }

	assert.Len(t, step(candidate("a", t0)).Signals, 1)
	assert.Equal(t, map[string]int{ReasonUnchanged: 1}, step(candidate("a", t0.Add(time.Minute))).Held)

	page := candidate("a", t0.Add(2*time.Minute))
	page.Envelope.Severity = signal.SeverityPage
	said := step(page).Signals
	require.Len(t, said, 1)
	assert.Equal(t, 1, said[0].Update)

	answer := page
	answer.Envelope.Result = &signal.Result{Value: signal.ResultFail}
	assert.Len(t, step(answer).Signals, 1)
	assert.Equal(t, 1, step(answer).Held[ReasonUnchanged])

	extended := answer
	extended.Envelope.UpdatedAt = t0.Add(33 * time.Minute)
	extended.Envelope.ExpiresAt = t0.Add(93 * time.Minute)
	assert.Len(t, step(extended).Signals, 1)

	resolved := extended
	resolved.Envelope.State, resolved.Envelope.ExpiresAt = signal.StateResolved, extended.Envelope.UpdatedAt
	said = step(resolved).Signals
	require.Len(t, said, 1)
	assert.Equal(t, 4, said[0].Update)
	assert.Zero(t, l.Active())
	assert.Equal(t, 1, step(resolved).Held[ReasonNoTransition], "what has ended does not end again")
	assert.Equal(t, 1, step(candidate("a", t0.Add(time.Hour))).Held[ReasonNoTransition], "nor does it come back")
	never := resolved
	never.Envelope.ID = signal.NewID("k", signal.Target{}, nil, t0)
	assert.Equal(t, 1, step(never).Held[ReasonUnknown])
}

func TestSignalsThatNobodyRenewsExpireInOrder(t *testing.T) {
	l := newLoop(10)
	l.Step(t0, []detect.Candidate{candidate("b", t0.Add(time.Minute)), candidate("a", t0), candidate("c", t0)}, World{})
	assert.Empty(t, l.Step(t0.Add(time.Hour), nil, World{}).Signals)
	said := l.Step(t0.Add(2*time.Hour), nil, World{}).Signals
	require.Len(t, said, 3)
	for _, e := range said {
		require.NoError(t, e.Validate())
		assert.Equal(t, signal.StateExpired, e.State)
		assert.Equal(t, "none", e.Action.Verb)
	}
	assert.Equal(t, "b", said[2].Target.Service, "those that ended first go first")
	assert.Zero(t, l.Active())
}

func TestLimitHoldsBackNewSignalsAndCountsThem(t *testing.T) {
	l := newLoop(2)
	var all []detect.Candidate
	for i := range 5 {
		all = append(all, candidate(strconv.Itoa(i), t0))
	}
	said := l.Step(t0, all, World{})
	assert.Len(t, said.Signals, 2)
	assert.Equal(t, map[string]int{ReasonLimit: 3}, said.Held)
	broken := candidate("0", t0)
	broken.Envelope.Summary, broken.Envelope.Severity = "", signal.SeverityPage
	assert.Equal(t, 1, l.Step(t0, []detect.Candidate{broken}, World{}).Held[ReasonInvalid])
}

func TestLoopLivesThroughARestart(t *testing.T) {
	l := newLoop(10)
	l.Step(t0, []detect.Candidate{candidate("a", t0), candidate("b", t0)}, World{})
	data, err := l.Snapshot()
	require.NoError(t, err)
	again := newLoop(10)
	require.NoError(t, again.Restore(data))
	same, err := again.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, data, same)
	assert.Equal(t, 1, again.Step(t0, []detect.Candidate{candidate("a", t0)}, World{}).Held[ReasonUnchanged])
	data[len(data)-1] ^= 1
	require.Error(t, again.Restore(data))
	assert.Equal(t, 2, again.Active(), "a damaged snapshot changes nothing")
}

// acting is a candidate that recommends to change something and that no guardrail objects to.
func acting(name, service string, at time.Time) detect.Candidate {
	c := candidate(service, at)
	c.Envelope.ID = signal.NewID(name, c.Envelope.Target, nil, t0)
	c.Envelope.Kind = "optimization." + name
	c.Envelope.Action = signal.Action{Verb: "set_requests", Risk: signal.RiskLow}
	c.Envelope.Confidence.Value = 0.99
	return c
}

func TestOneChangeInFlightAndTheNextWhenItHasEnded(t *testing.T) {
	l := newLoop(10)
	first, second := acting("a", "s", t0), acting("b", "s", t0)
	first.Benefit.Money = 100
	said := l.Step(t0, []detect.Candidate{second, first}, World{}).Signals
	require.Len(t, said, 2)
	assert.Equal(t, signal.StateFiring, said[0].State)
	assert.Equal(t, guardrail.Names(), said[0].Guardrails.Evaluated)
	assert.Equal(t, signal.StatePending, said[1].State)
	assert.Equal(t, []string{guardrail.InFlight}, said[1].Guardrails.BlockedBy)
	assert.Equal(t, first.Envelope.ID, said[1].Guardrails.Inputs["in_flight.holder"])
	for range 5 {
		assert.Empty(t, l.Step(t0.Add(time.Minute), nil, World{}).Signals, "nothing is said twice")
	}
	over := first
	over.Envelope.State, over.Envelope.UpdatedAt = signal.StateResolved, t0.Add(2*time.Minute)
	said = l.Step(t0.Add(2*time.Minute), []detect.Candidate{over}, World{}).Signals
	require.Len(t, said, 2)
	assert.Equal(t, signal.StateResolved, said[0].State)
	assert.Equal(t, guardrail.Names(), said[0].Guardrails.Evaluated, "the end says under which rules it stood")
	assert.Equal(t, signal.StateFiring, said[1].State)
	assert.Equal(t, 1, said[1].Update)
	for _, e := range said {
		require.NoError(t, e.Validate())
	}
}

func TestOneCauseIsOneSignalThatNamesTheOthers(t *testing.T) {
	l := newLoop(10)
	weak, strong, late := acting("weak", "s", t0), acting("strong", "s", t0.Add(time.Minute)), acting("late", "s", t0.Add(time.Minute))
	weak.Cause, strong.Cause, late.Cause = "deploy-1", "deploy-1", "deploy-1"
	strong.Benefit.Money = 100
	l.Step(t0, []detect.Candidate{weak}, World{})
	result := l.Step(t0.Add(time.Minute), []detect.Candidate{strong, late}, World{})
	require.Len(t, result.Signals, 2)
	assert.Equal(t, map[string]int{ReasonMerged: 1}, result.Held)
	assert.Equal(t, strong.Envelope.ID, result.Signals[0].ID)
	assert.ElementsMatch(t, []string{weak.Envelope.ID, late.Envelope.ID}, result.Signals[0].Supersedes)
	assert.Equal(t, signal.StateSuperseded, result.Signals[1].State)
	assert.Equal(t, strong.Envelope.ID, result.Signals[1].Guardrails.Inputs["planner.merged_into"])
	assert.Empty(t, l.Step(t0.Add(2*time.Minute), []detect.Candidate{weak}, World{}).Signals, "what was superseded does not come back")
}

func TestWorldReachesTheGuardrails(t *testing.T) {
	l := newLoop(10)
	budget, criticality := 0.4, "critical"
	world := World{Budget: func(string) *float64 { return &budget }, Criticality: func(string) string { return criticality }}
	said := l.Step(t0, []detect.Candidate{acting("a", "s", t0)}, world).Signals
	assert.Equal(t, []string{guardrail.Throttle, guardrail.Approval}, said[0].Guardrails.BlockedBy)
	budget = 0.6
	said = l.Step(t0.Add(time.Second), nil, world).Signals
	require.Len(t, said, 1)
	assert.Equal(t, []string{guardrail.Approval}, said[0].Guardrails.BlockedBy)
	assert.Equal(t, signal.StatePending, said[0].State)
	l.ObserveChange(detect.Change{ID: "x", Action: ActionApprove, State: "succeeded", SignalID: said[0].ID})
	said = l.Step(t0.Add(2*time.Second), nil, world).Signals
	require.Len(t, said, 1)
	assert.Equal(t, signal.StateFiring, said[0].State)
	assert.Equal(t, t0.Add(2*time.Second), said[0].UpdatedAt)
	budget = 0.1
	said = l.Step(t0.Add(3*time.Second), nil, world).Signals
	require.Len(t, said, 1)
	assert.Equal(t, signal.StateFiring, said[0].State, "what was free once is withdrawn by blocked_by, not by its state")
	assert.Equal(t, []string{guardrail.Throttle}, said[0].Guardrails.BlockedBy)
}

func TestNoVerdictIsGivenBlindly(t *testing.T) {
	l := newLoop(10)
	coverage := 0.94
	world := World{Coverage: func(string) *float64 { return &coverage }}
	c := acting("canary.verdict", "s", t0)
	c.Envelope.Result = &signal.Result{Value: signal.ResultPass}
	c.Envelope.Action.Verb = "promote"
	said := l.Step(t0, []detect.Candidate{c}, world).Signals
	require.Len(t, said, 1)
	assert.Equal(t, signal.Result{Value: signal.ResultInconclusive, Reason: "telemetry_gap"}, *said[0].Result)
	assert.Equal(t, "hold", said[0].Action.Verb)
	coverage = 0.96
	said = l.Step(t0.Add(time.Second), nil, world).Signals
	require.Len(t, said, 1)
	assert.Equal(t, signal.ResultPass, said[0].Result.Value)
	assert.Equal(t, "promote", said[0].Action.Verb)
}

func TestLiveCandidatesLiveThroughARestart(t *testing.T) {
	l := newLoop(10)
	first, second := acting("a", "s", t0), acting("b", "s", t0)
	first.Benefit.Money = 100
	l.Step(t0, []detect.Candidate{first, second}, World{})
	data, err := l.Snapshot()
	require.NoError(t, err)
	again := newLoop(10)
	require.NoError(t, again.Restore(data))
	assert.Empty(t, again.Step(t0.Add(time.Second), nil, World{}).Signals)
	over := first
	over.Envelope.State = signal.StateResolved
	assert.Len(t, again.Step(t0.Add(2*time.Second), []detect.Candidate{over}, World{}).Signals, 2)
}

func TestPoliciesDecideAndTellOfIt(t *testing.T) {
	policies, err := policy.Compile([]policy.Rule{
		{Name: "nights_only", When: `signal.kind == "optimization.a" && now.getHours() < 20`, Decision: signal.ResultDeny},
		{Name: "ask", When: `signal.kind == "optimization.b"`, Decision: signal.ResultRequireApproval},
		{Name: "broken", When: `signal.kind == "optimization.c" && signal.nothing.here`, Decision: signal.ResultAllow},
	}, signal.ResultAllow)
	require.NoError(t, err)
	settings := Settings{MaxActive: 10, Weights: plan.DefaultWeights(), Guardrails: guardrail.Default(), Policies: policies}
	l := New(settings)
	said := l.Step(t0, []detect.Candidate{acting("a", "s", t0), acting("b", "t", t0), acting("c", "u", t0), acting("d", "v", t0)}, World{}).Signals
	require.Len(t, said, 7)
	byKind := map[string][]signal.Envelope{}
	for _, e := range said {
		require.NoError(t, e.Validate())
		byKind[e.Kind] = append(byKind[e.Kind], e)
	}
	assert.Equal(t, []string{"policy"}, byKind["optimization.a"][0].Guardrails.BlockedBy)
	assert.Equal(t, "nights_only", byKind["optimization.a"][0].Guardrails.Inputs["policy.rule"])
	assert.Equal(t, signal.StatePending, byKind["optimization.b"][0].State)
	assert.Equal(t, "true", byKind["optimization.c"][0].Guardrails.Inputs["policy.failed"])
	assert.Equal(t, signal.StateFiring, byKind["optimization.d"][0].State)
	assert.Equal(t, "allow", byKind["optimization.d"][0].Guardrails.Inputs["policy.decision"])
	results := map[signal.ResultValue]string{}
	for _, e := range byKind[signal.KindPolicyDecision] {
		results[e.Result.Value] += e.Action.Params["rule"] + e.Result.Reason
	}
	assert.Len(t, results, 2)
	assert.Equal(t, "ask", results[signal.ResultRequireApproval])
	assert.Len(t, byKind[signal.KindPolicyDecision], 3)

	l.ObserveChange(detect.Change{ID: "x", Action: ActionApprove, State: "succeeded", SignalID: byKind["optimization.b"][0].ID})
	again := l.Step(t0.Add(time.Second), nil, World{}).Signals
	require.Len(t, again, 1, "a decision is told once")
	assert.Equal(t, signal.StateFiring, again[0].State)
	evening := l.Step(t0.Add(30*time.Minute), nil, World{}).Signals
	assert.Empty(t, evening)
}

func TestWhatBecameOfEarlierSignalsCounts(t *testing.T) {
	l := newLoop(10)
	world := World{
		Breaker:   guardrail.Breaker{RefutedInARow: 3},
		Calibrate: func(_ string, confidence float64) (float64, int) { return confidence / 2, 7 },
	}
	said := l.Step(t0, []detect.Candidate{acting("a", "s", t0)}, world).Signals
	require.Len(t, said, 1)
	assert.Equal(t, []string{guardrail.Breakers, guardrail.Evidence}, said[0].Guardrails.BlockedBy)
	assert.InDelta(t, 0.495, said[0].Confidence.Value, 1e-9)
	assert.Equal(t, map[string]float64{"calibration.outcomes": 7, "calibration.from": 0.99}, said[0].Evidence.Statistics)
}
