// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/sliprocessor/internal/metadatatest"
)

// verdicts consumes spans and returns good and bad of the first objective.
func verdicts(t *testing.T, objective slo.Objective, td ptrace.Traces) (good, bad float64) {
	t.Helper()
	objective.Name = "o"
	engine := testEngine(t, objective)
	p := &tracesProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	for _, s := range engine.Statuses() {
		good, bad = good+s.Good, bad+s.Bad
	}
	return good, bad
}

func TestWhatCountsAsARequest(t *testing.T) {
	anyKind := slo.Objective{Indicator: slo.Indicator{Kinds: []string{"any"}}}
	latency := slo.Objective{Indicator: slo.Indicator{Kind: slo.IndicatorLatency, Latency: 200 * time.Millisecond}}
	checkout := slo.Objective{Service: "checkout"}
	route := func(m slo.Match) slo.Objective { return slo.Objective{Indicator: slo.Indicator{Match: []slo.Match{m}}} }
	for name, c := range map[string]struct {
		objective slo.Objective
		options   []spanOption
		good, bad float64
	}{
		"a server span is good":                       {slo.Objective{}, nil, 1, 0},
		"an error is bad":                             {slo.Objective{}, []spanOption{failed}, 0, 1},
		"a consumer span is a request":                {slo.Objective{}, []spanOption{kind(ptrace.SpanKindConsumer), failed}, 0, 1},
		"a client span describes the same request":    {slo.Objective{}, []spanOption{kind(ptrace.SpanKindClient), failed}, 0, 0},
		"an internal span is none":                    {slo.Objective{}, []spanOption{kind(ptrace.SpanKindInternal)}, 0, 0},
		"a span without kind is none":                 {slo.Objective{}, []spanOption{kind(ptrace.SpanKindUnspecified)}, 0, 0},
		"unless any kind counts":                      {anyKind, []spanOption{kind(ptrace.SpanKindUnspecified)}, 1, 0},
		"a kind out of range never counts":            {anyKind, []spanOption{kind(99)}, 0, 0},
		"a 4xx that the server left unset is good":    {slo.Objective{}, []spanOption{attr("http.response.status_code", "404")}, 1, 0},
		"a 4xx is not the server's error":             {slo.Objective{}, []spanOption{failed, attr("http.response.status_code", "404")}, 1, 0},
		"but it is the client's":                      {anyKind, []spanOption{kind(ptrace.SpanKindClient), attr("http.response.status_code", "404")}, 0, 1},
		"a 5xx is bad without a status":               {slo.Objective{}, []spanOption{attr("http.status_code", "502")}, 0, 1},
		"error.type is bad without a status":          {slo.Objective{}, []spanOption{attr("error.type", "timeout")}, 0, 1},
		"a status the application set to OK decides":  {slo.Objective{}, []spanOption{attr("error.type", "x"), func(s ptrace.Span) { s.Status().SetCode(ptrace.StatusCodeOk) }}, 1, 0},
		"OTTL says what is bad":                       {slo.Objective{Indicator: slo.Indicator{BadWhen: `attributes["retry"] == "3"`}}, []spanOption{attr("retry", "3")}, 0, 1},
		"instead of the status":                       {slo.Objective{Indicator: slo.Indicator{BadWhen: `attributes["retry"] == "3"`}}, []spanOption{failed}, 1, 0},
		"OTTL says what counts":                       {slo.Objective{Indicator: slo.Indicator{Where: `IsRootSpan()`}}, []spanOption{failed}, 0, 1},
		"and what does not":                           {slo.Objective{Indicator: slo.Indicator{Where: `not IsRootSpan()`}}, []spanOption{failed}, 0, 0},
		"an OTTL condition that fails counts nothing": {slo.Objective{Indicator: slo.Indicator{Where: `Int(attributes["n"]) > Len(attributes["n"])`}}, []spanOption{func(s ptrace.Span) { s.Attributes().PutInt("n", 1) }}, 0, 0},
		"a probe does not count":                      {slo.Objective{}, []spanOption{attr("user_agent.synthetic.type", "test")}, 0, 0},
		"unless it should":                            {slo.Objective{Indicator: slo.Indicator{IncludeSynthetic: true}}, []spanOption{attr("user_agent.synthetic.type", "test")}, 1, 0},
		"at the threshold is good":                    {latency, []spanOption{took(200 * time.Millisecond)}, 1, 0},
		"a nanosecond above is bad":                   {latency, []spanOption{took(200*time.Millisecond + 1)}, 0, 1},
		"latency does not judge status":               {latency, []spanOption{failed}, 1, 0},
		"the objective's service counts":              {checkout, nil, 1, 0},
		"another service does not":                    {slo.Objective{Service: "cart"}, nil, 0, 0},
		"an attribute equals":                         {route(slo.Match{Attribute: "http.route", Equals: "/pay"}), []spanOption{attr("http.route", "/pay")}, 1, 0},
		"or does not":                                 {route(slo.Match{Attribute: "http.route", Equals: "/pay"}), []spanOption{attr("http.route", "/payment")}, 0, 0},
		"or is absent":                                {route(slo.Match{Attribute: "http.route", Equals: "/pay"}), nil, 0, 0},
		"a regex matches the whole value":             {route(slo.Match{Attribute: "http.route", Regex: "/p.y"}), []spanOption{attr("http.route", "/pay/x")}, 0, 0},
		"the resource decides at once":                {route(slo.Match{Attribute: "service.name", Regex: "check.*"}), nil, 1, 0},
		"the span's name is an attribute":             {route(slo.Match{Attribute: "span.name", Equals: "GET"}), []spanOption{func(s ptrace.Span) { s.SetName("GET") }}, 1, 0},
		"another name does not match":                 {route(slo.Match{Attribute: "span.name", Equals: "GET"}), []spanOption{func(s ptrace.Span) { s.SetName("PUT") }}, 0, 0},
		"an older attribute name is understood":       {route(slo.Match{Attribute: "http.request.method", Equals: "GET"}), []spanOption{attr("http.method", "GET")}, 1, 0},
		"the current name wins over the older":        {route(slo.Match{Attribute: "http.request.method", Equals: "GET"}), []spanOption{attr("http.method", "PUT"), attr("http.request.method", "GET")}, 1, 0},
		"a sampled span stands for more":              {slo.Objective{}, []spanOption{func(s ptrace.Span) { s.TraceState().FromRaw("ot=th:c") }, failed}, 0, 4},
		"a span that ends before it starts is none":   {slo.Objective{}, []spanOption{took(-time.Second)}, 0, 0},
		"a span without start is none":                {latency, []spanOption{func(s ptrace.Span) { s.SetStartTimestamp(0) }}, 0, 0},
		"a span without trace is none":                {slo.Objective{}, []spanOption{func(s ptrace.Span) { s.SetTraceID(pcommon.TraceID{}) }}, 0, 0},
		"a span of the year 2100 is none":             {slo.Objective{}, []spanOption{endsAt(epoch.AddDate(74, 0, 0))}, 0, 0},
		"a span beyond the range of time is none":     {slo.Objective{}, []spanOption{func(s ptrace.Span) { s.SetEndTimestamp(1 << 63) }}, 0, 0},
		"a number matches by its text":                {route(slo.Match{Attribute: "http.response.status_code", Equals: "503"}), []spanOption{func(s ptrace.Span) { s.Attributes().PutInt("http.response.status_code", 503) }}, 0, 1},
		"groups by span attribute count the same":     {slo.Objective{GroupBy: []string{"http.route"}}, []spanOption{attr("http.route", "/pay"), failed}, 0, 1},
		"groups by missing attribute count the same":  {slo.Objective{GroupBy: []string{"tenant"}}, nil, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			td := ptrace.NewTraces()
			newSpan(td, "checkout", c.options...)
			good, bad := verdicts(t, c.objective, td)
			assert.InDelta(t, c.good, good, 1e-6, "good")
			assert.InDelta(t, c.bad, bad, 1e-6, "bad")
		})
	}
}

func TestBadSpansCarryAMark(t *testing.T) {
	engine := testEngine(t, slo.Objective{Name: "a"}, slo.Objective{Name: "b"}, slo.Objective{Name: "c", Service: "other"})
	for _, mode := range []Mode{ModeCount, ModeMark} {
		sink := new(consumertest.TracesSink)
		p := &tracesProcessor{base: newTestBase(t, &Config{Mode: mode}, engine), next: sink}
		td := ptrace.NewTraces()
		newSpan(td, "checkout", failed)
		newSpan(td, "checkout", attr("slo.bad", "true"), attr("slo.bad.names", "forged"))
		require.NoError(t, p.ConsumeTraces(t.Context(), td))
		bad := sink.AllTraces()[0].ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
		assert.Equal(t, map[string]any{"slo.bad": true, "slo.bad.names": []any{"a", "b"}}, bad.Attributes().AsRaw())
		good := sink.AllTraces()[0].ResourceSpans().At(1).ScopeSpans().At(0).Spans().At(0)
		assert.Empty(t, good.Attributes().AsRaw(), "a mark from outside is stripped")
		assert.True(t, p.Capabilities().MutatesData)
	}
	s := engine.Statuses()[0]
	assert.InDelta(t, 1, s.Bad, 0, "mode mark does not count")
	assert.InDelta(t, 1, s.Good, 0)
}

func TestTrustedMarksStay(t *testing.T) {
	sink := new(consumertest.TracesSink)
	p := &tracesProcessor{base: newTestBase(t, &Config{Mode: ModeMark, TrustInbound: true}, testEngine(t, slo.Objective{Name: "a"})), next: sink}
	td := ptrace.NewTraces()
	newSpan(td, "checkout", attr("slo.bad", "true"))
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	assert.Equal(t, map[string]any{"slo.bad": "true"}, sink.AllTraces()[0].ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().AsRaw())
}

func TestOnlyWhatWasDeliveredCounts(t *testing.T) {
	tel := componenttest.NewTelemetry()
	engine := testEngine(t, slo.Objective{Name: "a"})
	refused := errors.New("queue full")
	p := &tracesProcessor{base: newTestBaseWith(t, &Config{Mode: ModeCount}, engine, tel), next: consumertest.NewErr(refused)}
	td := ptrace.NewTraces()
	newSpan(td, "checkout", failed)
	require.ErrorIs(t, p.ConsumeTraces(t.Context(), td), refused)
	assert.InDelta(t, 0, engine.Statuses()[0].Bad, 0)

	p.next = consumertest.NewNop()
	require.NoError(t, p.ConsumeTraces(t.Context(), td), "the sender tries again")
	assert.InDelta(t, 1, engine.Statuses()[0].Bad, 0)
	metadatatest.AssertEqualProcessorSliDiscarded(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, p.Shutdown(context.Background()))
	require.NoError(t, tel.Shutdown(context.Background()))
}

func TestEveryItemHasOneOutcome(t *testing.T) {
	tel := componenttest.NewTelemetry()
	engine := testEngine(t, slo.Objective{Name: "a"}, slo.Objective{Name: "b"})
	p := &tracesProcessor{base: newTestBaseWith(t, &Config{Mode: ModeCount}, engine, tel), next: consumertest.NewNop()}
	td := ptrace.NewTraces()
	newSpan(td, "x", failed)
	newSpan(td, "x", attr("slo.bad", "forged"))
	newSpan(td, "x", kind(ptrace.SpanKindClient))
	newSpan(td, "x", took(-1))
	newSpan(td, "x", endsAt(epoch.Add(3*time.Minute)))
	newSpan(td, "x", func(s ptrace.Span) { s.SetSpanID(pcommon.SpanID{}) })
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	late := ptrace.NewTraces()
	newSpan(late, "x", endsAt(epoch.Add(-6*time.Minute)))
	require.NoError(t, p.ConsumeTraces(t.Context(), late))

	point := func(key, value string, n int64) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attribute.String(key, value)), Value: n}
	}
	metadatatest.AssertEqualProcessorSliItems(t, tel, []metricdata.DataPoint[int64]{
		point("outcome", "counted", 2), point("outcome", "ignored", 1), point("outcome", "refused", 4),
	}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorSliRefused(t, tel, []metricdata.DataPoint[int64]{
		point("reason", "end_before_start", 1), point("reason", "future", 1), point("reason", "late", 1), point("reason", "zero_id", 1),
	}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorSliEvents(t, tel, []metricdata.DataPoint[int64]{
		point("verdict", "good", 2), point("verdict", "bad", 2),
	}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorSliMarksStripped(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, tel.Shutdown(context.Background()))
}

func TestAnAlertNamesTheBadRouteAndItsTraces(t *testing.T) {
	strict := testEngine(t, slo.Objective{Name: "a", GroupBy: []string{"service.name"}, Target: 0.99})
	p := &tracesProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, strict), next: consumertest.NewNop()}
	for i := range 60 {
		td := ptrace.NewTraces()
		newSpan(td, "checkout", attr("http.route", "/cart"), endsAt(epoch.Add(time.Duration(i)*time.Second)))
		bad := newSpan(td, "checkout", failed, attr("http.route", "/pay"), endsAt(epoch.Add(time.Duration(i)*time.Second)))
		bad.SetTraceID(pcommon.TraceID{9, byte(i)})
		td.ResourceSpans().At(1).Resource().Attributes().PutStr("service.version", "2.0")
		require.NoError(t, p.ConsumeTraces(t.Context(), td))
	}
	ts := strict.TakeTransitions()
	require.Len(t, ts, 1)
	alert := ts[0]
	assert.Equal(t, "checkout", alert.Service)
	assert.GreaterOrEqual(t, len(alert.Exemplars), 3)
	for _, id := range alert.Exemplars {
		assert.EqualValues(t, 9, id[0], "only bad traces")
	}
	require.Len(t, alert.Contributors, 2)
	assert.Equal(t, "/pay", alert.Contributors[0].Value)
	assert.InDelta(t, 1, alert.Contributors[0].Share, 0)
	assert.Equal(t, slo.Contributor{Attribute: "service.version", Value: "2.0", Bad: alert.Bad, Total: alert.Bad, Share: 1}, alert.Contributors[1])
}
