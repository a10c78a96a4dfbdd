// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/signal"
)

var eventTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// verdictSignal is a verdict on a revision of checkout.
func verdictSignal(revision string, result signal.ResultValue, change func(*signal.Envelope)) signal.Envelope {
	target := signal.Target{Service: "checkout", Environment: "production", Revision: revision}
	e := signal.Envelope{
		Kind: signal.KindCanaryVerdict, Version: signal.Version, State: signal.StateFiring, Severity: signal.SeverityInfo,
		Summary: "verdict <b>", Target: target, Action: signal.Action{Verb: "hold", Reversible: true, Risk: signal.RiskNone},
		Result: &signal.Result{Value: result}, Confidence: signal.Confidence{Value: 0.99, Method: "e_process"},
		ValidFrom: eventTime, UpdatedAt: eventTime, ExpiresAt: eventTime.Add(time.Hour),
	}
	if result == signal.ResultInconclusive {
		e.Result.Reason = "needs_more_data"
	}
	if change != nil {
		change(&e)
	}
	e.ID = signal.NewID(e.Kind, e.Target, nil, e.ValidFrom)
	return e
}

func report(t *testing.T, e *optimizationExtension, r optimizerReport) {
	t.Helper()
	body, err := json.Marshal(r)
	require.NoError(t, err)
	require.NoError(t, e.PublishSnapshot("optimizer", "optimizer", body))
}

func verdictOf(t *testing.T, e *optimizationExtension, path string) (verdict, reason string) {
	t.Helper()
	status, body := get(t, e, "/api/v1/verdict/"+path)
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, schemaVerdict, body["schema"])
	data := body["data"].(map[string]any)
	reason, _ = data["reason"].(string)
	return data["verdict"].(string), reason
}

func TestVerdictIsBoundToItsRevisionAndPassesOnlyIfNothingSpeaksAgainstIt(t *testing.T) {
	e, _ := start(t, nil, nil)
	for _, s := range []signal.Envelope{
		verdictSignal("good", signal.ResultPass, nil),
		verdictSignal("bad", signal.ResultFail, func(s *signal.Envelope) { s.Guardrails.BlockedBy = []string{"approval"} }),
		verdictSignal("young", signal.ResultInconclusive, nil),
		verdictSignal("blocked", signal.ResultPass, func(s *signal.Envelope) { s.Guardrails.BlockedBy = []string{"freeze"} }),
		verdictSignal("old", signal.ResultPass, func(s *signal.Envelope) { s.ExpiresAt = eventTime }),
		verdictSignal("ended", signal.ResultPass, func(s *signal.Envelope) { s.State = signal.StateResolved }),
		verdictSignal("mute", signal.ResultPass, func(s *signal.Envelope) { s.Result = nil }),
		verdictSignal("split", signal.ResultPass, nil),
		verdictSignal("split", signal.ResultFail, func(s *signal.Envelope) { s.Target.Environment = "staging" }),
		verdictSignal("again", signal.ResultFail, nil),
		verdictSignal("again", signal.ResultPass, func(s *signal.Envelope) {
			s.ValidFrom, s.UpdatedAt = eventTime.Add(time.Minute), eventTime.Add(time.Minute)
		}),
	} {
		_, err := e.PublishSignal(t.Context(), s)
		require.NoError(t, err)
	}
	verdict, reason := verdictOf(t, e, "checkout?revision=good")
	assert.Equal(t, []string{"inconclusive", "not_decider"}, []string{verdict, reason}, "no optimizer decides here")
	report(t, e, optimizerReport{Decider: false, EventTime: eventTime, At: e.clock()})
	_, reason = verdictOf(t, e, "checkout?revision=good")
	assert.Equal(t, "not_decider", reason)
	report(t, e, optimizerReport{Decider: true, EventTime: eventTime, At: e.clock().Add(-2 * time.Minute)})
	_, reason = verdictOf(t, e, "checkout?revision=good")
	assert.Equal(t, "stale", reason)

	report(t, e, optimizerReport{Decider: true, EventTime: eventTime, At: e.clock()})
	for path, want := range map[string][2]string{
		"checkout?revision=good":                        {"pass", ""},
		"checkout?revision=good&environment=staging":    {"inconclusive", "no_verdict"},
		"checkout?revision=good&environment=production": {"pass", ""},
		"checkout?revision=bad":                         {"fail", ""},
		"checkout?revision=young":                       {"inconclusive", "needs_more_data"},
		"checkout?revision=blocked":                     {"inconclusive", "blocked"},
		"checkout?revision=old":                         {"inconclusive", "expired"},
		"checkout?revision=ended":                       {"inconclusive", "ended"},
		"checkout?revision=mute":                        {"inconclusive", "no_verdict"},
		"checkout?revision=unknown":                     {"inconclusive", "no_verdict"},
		"cart?revision=good":                            {"inconclusive", "no_verdict"},
		"team%2Fcart?revision=good":                     {"inconclusive", "no_verdict"},
		"checkout?revision=split":                       {"fail", ""},
		"checkout?revision=again":                       {"pass", ""},
	} {
		verdict, reason := verdictOf(t, e, path)
		assert.Equal(t, want, [2]string{verdict, reason}, path)
	}
	for _, path := range []string{"checkout", "checkout?revision=", "checkout?revision=a&revision=b", "checkout?revision=a&weight=1", ""} {
		res, body := request(t, e, http.MethodGet, "/api/v1/verdict/"+path)
		assert.GreaterOrEqual(t, res.StatusCode, 400, path)
		assert.Contains(t, body, schemaError, path)
	}
}

func TestChangesAreServedNewestFirst(t *testing.T) {
	e, _ := start(t, nil, nil)
	require.NoError(t, e.PublishSnapshot("changes", "a", json.RawMessage(`[{"id":"1","time":"2026-03-01T12:00:00Z","service":"cart"},{"id":"2","time":"2026-03-01T13:00:00Z","service":"checkout"}]`)))
	require.NoError(t, e.PublishSnapshot("changes", "b", json.RawMessage(`[{"id":"3","time":"2026-03-01T12:30:00Z","service":"cart","version":"2"}]`)))
	require.NoError(t, e.PublishSnapshot("changes", "broken", json.RawMessage(`{}`)))
	_, body := get(t, e, "/api/v1/changes")
	var ids []any
	for _, c := range body["changes"].([]any) {
		ids = append(ids, c.(map[string]any)["id"])
	}
	assert.Equal(t, []any{"2", "3", "1"}, ids)
	_, body = get(t, e, "/api/v1/changes?service=cart&limit=1")
	assert.InDelta(t, 2, body["total"], 0)
	assert.Len(t, body["changes"], 1)
	for _, query := range []string{"?limit=0", "?limit=x", "?kind=x"} {
		status, _ := get(t, e, "/api/v1/changes"+query)
		assert.Equal(t, http.StatusBadRequest, status, query)
	}
}
