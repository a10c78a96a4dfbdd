// SPDX-License-Identifier: Apache-2.0

package signallog

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func envelope() signal.Envelope {
	burn := 14.5
	target := signal.Target{Service: "checkout", Namespace: "shop", Environment: "production", Revision: "1.2", Objective: "o"}
	return signal.Envelope{
		ID: signal.NewID(signal.KindSLOBurn, target, nil, t0), Kind: signal.KindSLOBurn, Version: signal.Version, State: signal.StateFiring,
		Severity: signal.SeverityPage, Summary: "It burns.", Target: target,
		Action:     signal.Action{Verb: "investigate", Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 1, Method: "beta_posterior"},
		Evidence:   signal.Evidence{Statistics: map[string]float64{"b": 1, "a": 0.5, "c": 1e300}, Windows: []signal.Window{{Rule: "r", Window: "1h", BurnRate: &burn}}},
		ValidFrom:  t0, UpdatedAt: t0.Add(time.Minute), ExpiresAt: t0.Add(time.Hour),
	}
}

func record(t *testing.T, e signal.Envelope) (plog.Logs, plog.LogRecord) {
	t.Helper()
	logs := plog.NewLogs()
	require.NoError(t, Append(logs, "scope", "1.0", pcommon.NewTimestampFromTime(t0.Add(time.Hour)), e))
	return logs, logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
}

func TestRecordCarriesTheEnvelope(t *testing.T) {
	e := envelope()
	logs, rec := record(t, e)
	assert.Equal(t, map[string]any{
		"service.name": "checkout", "service.namespace": "shop", "deployment.environment.name": "production", "service.version": "1.2",
	}, logs.ResourceLogs().At(0).Resource().Attributes().AsRaw())
	assert.Equal(t, "optimization.slo.burn", rec.EventName())
	assert.Equal(t, map[string]any{AttributeID: e.ID, AttributeState: "firing"}, rec.Attributes().AsRaw())
	assert.Equal(t, plog.SeverityNumberError, rec.SeverityNumber())
	assert.Equal(t, e.UpdatedAt, rec.Timestamp().AsTime())
	back, err := Read(rec)
	require.NoError(t, err)
	assert.Equal(t, e.UpdatedAt, back.UpdatedAt)
	want, err := e.MarshalCanonical()
	require.NoError(t, err)
	got, err := back.MarshalCanonical()
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func TestEqualEnvelopesMakeEqualRecords(t *testing.T) {
	m := plog.ProtoMarshaler{}
	logs, _ := record(t, envelope())
	first, err := m.MarshalLogs(logs)
	require.NoError(t, err)
	for range 20 {
		logs, _ := record(t, envelope())
		again, err := m.MarshalLogs(logs)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
}

func TestSeverityFollowsUrgencyAndState(t *testing.T) {
	for _, c := range []struct {
		state    signal.State
		severity signal.Severity
		number   plog.SeverityNumber
		text     string
	}{
		{signal.StateFiring, signal.SeverityPage, plog.SeverityNumberError, "page"},
		{signal.StateFiring, signal.SeverityTicket, plog.SeverityNumberWarn, "ticket"},
		{signal.StatePending, signal.SeverityInfo, plog.SeverityNumberInfo, "info"},
		{signal.StateResolved, signal.SeverityPage, plog.SeverityNumberInfo, "resolved"},
		{signal.StateExpired, signal.SeverityPage, plog.SeverityNumberInfo, "expired"},
	} {
		e := envelope()
		e.State, e.Severity = c.state, c.severity
		_, rec := record(t, e)
		assert.Equal(t, c.number, rec.SeverityNumber())
		assert.Equal(t, c.text, rec.SeverityText())
	}
}

func TestEnvelopeThatCannotBeEncodedIsAnError(t *testing.T) {
	e := envelope()
	e.Confidence.Value = math.NaN()
	require.Error(t, Append(plog.NewLogs(), "", "", 0, e))
}

func TestHostileRecordsAreRefusedByReason(t *testing.T) {
	deep := func(v pcommon.Value) {
		for range 10_000 {
			v = v.SetEmptySlice().AppendEmpty()
		}
	}
	for name, c := range map[string]struct {
		change func(plog.LogRecord)
		want   error
	}{
		"another event":     {func(r plog.LogRecord) { r.SetEventName("slo.alert") }, ErrNotSignal},
		"no event":          {func(r plog.LogRecord) { r.SetEventName("") }, ErrNotSignal},
		"another kind":      {func(r plog.LogRecord) { r.SetEventName("optimization.canary.verdict") }, ErrMismatch},
		"text body":         {func(r plog.LogRecord) { r.Body().SetStr("x") }, ErrBody},
		"empty body":        {func(r plog.LogRecord) { r.Body().SetEmptyMap() }, ErrBody},
		"missing field":     {func(r plog.LogRecord) { r.Body().Map().Remove("id") }, ErrBody},
		"unknown field":     {func(r plog.LogRecord) { r.Body().Map().PutStr("x", "y") }, ErrBody},
		"wrong type":        {func(r plog.LogRecord) { r.Body().Map().PutInt("summary", 1) }, ErrBody},
		"NaN":               {func(r plog.LogRecord) { r.Body().Map().PutDouble("version", math.NaN()) }, ErrBody},
		"bytes":             {func(r plog.LogRecord) { r.Body().Map().PutEmptyBytes("id").FromRaw([]byte("x")) }, ErrBody},
		"huge":              {func(r plog.LogRecord) { r.Body().Map().PutStr("summary", strings.Repeat("x", 1<<20)) }, ErrTooLarge},
		"large when quoted": {func(r plog.LogRecord) { r.Body().Map().PutStr("summary", strings.Repeat("\"", 15_000)) }, ErrTooLarge},
		"deep":              {func(r plog.LogRecord) { deep(r.Body().Map().PutEmpty("target")) }, ErrBody},
		"many": {func(r plog.LogRecord) {
			s := r.Body().Map().PutEmptySlice("caused_by")
			for range 100_000 {
				s.AppendEmpty().SetInt(1)
			}
		}, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, rec := record(t, envelope())
			c.change(rec)
			_, err := Read(rec)
			require.ErrorIs(t, err, c.want)
		})
	}
}
