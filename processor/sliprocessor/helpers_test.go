// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/sliprocessor/internal/metadata"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testEngine(t testing.TB, objectives ...slo.Objective) *slo.Engine {
	t.Helper()
	settings := slo.DefaultSettings()
	settings.Profile = slo.Demo()
	for i := range objectives {
		objectives[i].Window = slo.Duration(30 * slo.Day)
		objectives[i].MaxGroups = slo.DefaultMaxGroups
		if objectives[i].Target == 0 {
			objectives[i].Target = 0.9
		}
		if objectives[i].Indicator.Kind == "" {
			objectives[i].Indicator.Kind = slo.IndicatorSpans
		}
	}
	engine, err := slo.New(settings, objectives)
	require.NoError(t, err)
	return engine
}

// newTestBase makes the shared part of a processor over an engine, without a host. Its clock stands a minute after epoch.
func newTestBase(t testing.TB, cfg *Config, engine *slo.Engine) *base {
	t.Helper()
	b, err := newBase(cfg, processortest.NewNopSettings(metadata.Type))
	require.NoError(t, err)
	require.NoError(t, b.use(engine))
	b.clock = func() time.Time { return epoch.Add(time.Minute) }
	return b
}

func newTestBaseWith(t testing.TB, cfg *Config, engine *slo.Engine, tel *componenttest.Telemetry) *base {
	t.Helper()
	set := processortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	b, err := newBase(cfg, set)
	require.NoError(t, err)
	require.NoError(t, b.use(engine))
	b.clock = func() time.Time { return epoch.Add(time.Minute) }
	return b
}

// spanOption changes one thing of a good SERVER span of 100 ms that ends at epoch.
type spanOption func(span ptrace.Span)

func failed(span ptrace.Span) { span.Status().SetCode(ptrace.StatusCodeError) }

func kind(k ptrace.SpanKind) spanOption { return func(span ptrace.Span) { span.SetKind(k) } }

func attr(name, value string) spanOption {
	return func(span ptrace.Span) { span.Attributes().PutStr(name, value) }
}

func took(d time.Duration) spanOption {
	return func(span ptrace.Span) {
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(span.EndTimestamp().AsTime().Add(-d)))
	}
}

func endsAt(at time.Time) spanOption {
	return func(span ptrace.Span) {
		span.SetEndTimestamp(pcommon.NewTimestampFromTime(at))
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(-100 * time.Millisecond)))
	}
}

func newSpan(td ptrace.Traces, service string, options ...spanOption) ptrace.Span {
	rs := td.ResourceSpans().AppendEmpty()
	if service != "" {
		rs.Resource().Attributes().PutStr("service.name", service)
	}
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	n := byte(td.ResourceSpans().Len())
	span.SetTraceID(pcommon.TraceID{1, n})
	span.SetSpanID(pcommon.SpanID{1, n})
	span.SetKind(ptrace.SpanKindServer)
	endsAt(epoch)(span)
	for _, o := range options {
		o(span)
	}
	return span
}
