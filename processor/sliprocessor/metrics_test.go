// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/sliprocessor/internal/metadatatest"
)

func newEvents(md pmetric.Metrics, instance string) pmetric.Sum {
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "checkout")
	rm.Resource().Attributes().PutStr("service.instance.id", instance)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("slo.events")
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	return sum
}

func newPoint(sum pmetric.Sum, name, verdict, route string, value float64) pmetric.NumberDataPoint {
	dp := sum.DataPoints().AppendEmpty()
	dp.SetStartTimestamp(pcommon.NewTimestampFromTime(epoch))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(epoch.Add(5 * time.Second)))
	dp.SetDoubleValue(value)
	dp.Attributes().PutStr("slo.name", name)
	dp.Attributes().PutStr("slo.verdict", verdict)
	dp.Attributes().PutStr("slo.group.http.route", route)
	return dp
}

func TestMergeAddsTheBooksOfOthers(t *testing.T) {
	tel := componenttest.NewTelemetry()
	engine := testEngine(t, slo.Objective{Name: "o", GroupBy: []string{"http.route"}})
	sink := new(consumertest.MetricsSink)
	p := newMetricsProcessor(newTestBaseWith(t, &Config{Mode: ModeMerge}, engine, tel), sink)
	p.instance = "me"
	md := pmetric.NewMetrics()
	for _, agent := range []string{"a", "b"} {
		sum := newEvents(md, agent)
		newPoint(sum, "o", "good", "/pay", 10.5)
		newPoint(sum, "o", "bad", "/pay", 0).SetIntValue(2)
	}
	newPoint(newEvents(md, "me"), "o", "bad", "/pay", 1000) // our own book, on its way out
	wrong := newEvents(md, "c")
	newPoint(wrong, "o", "bad", "/pay", math.NaN())
	newPoint(wrong, "o", "bad", "/pay", -1)
	newPoint(wrong, "o", "ugly", "/pay", 1)
	newPoint(wrong, "o", "bad", "/pay", 1).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	newPoint(wrong, "o", "bad", "/pay", 1).Attributes().Remove("slo.name")
	newPoint(wrong, "other", "bad", "/pay", 1)
	newPoint(wrong, "o", "bad", "/pay", 1).SetStartTimestamp(0)
	running := newEvents(md, "d")
	running.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	newPoint(running, "o", "bad", "/pay", 1)
	md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty().SetName("something.else")
	gauge := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	gauge.SetName("slo.events")
	gauge.SetEmptyGauge()

	require.NoError(t, p.ConsumeMetrics(t.Context(), md))
	statuses := engine.Statuses()
	require.Len(t, statuses, 1)
	assert.Equal(t, map[string]string{"http.route": "/pay"}, statuses[0].Group)
	assert.InDelta(t, 21, statuses[0].Good, 0)
	assert.InDelta(t, 4, statuses[0].Bad, 0)
	assert.Len(t, sink.AllMetrics(), 1, "the events are passed on")

	point := func(reason string, n int64) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attribute.String("reason", reason)), Value: n}
	}
	metadatatest.AssertEqualProcessorSliRefused(t, tel, []metricdata.DataPoint[int64]{
		point("bad_point", 6), point("unknown_objective", 1), point("no_time", 1), point("cumulative", 1),
	}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, tel.Shutdown(context.Background()))
}

func TestOtherModesPassMetricsOn(t *testing.T) {
	engine := testEngine(t, slo.Objective{Name: "o"})
	sink := new(consumertest.MetricsSink)
	p := newMetricsProcessor(newTestBase(t, &Config{Mode: ModeCount}, engine), sink)
	md := pmetric.NewMetrics()
	newPoint(newEvents(md, "a"), "o", "bad", "/", 1)
	require.NoError(t, p.ConsumeMetrics(t.Context(), md))
	assert.Len(t, sink.AllMetrics(), 1)
	assert.InDelta(t, 0, engine.Statuses()[0].Bad, 0)
}

func TestMergePassesSpansAndLogsOn(t *testing.T) {
	engine := testEngine(t, slo.Objective{Name: "o"})
	b := newTestBase(t, &Config{Mode: ModeMerge}, engine)
	spans, logs := new(consumertest.TracesSink), new(consumertest.LogsSink)
	td := ptrace.NewTraces()
	newSpan(td, "x", failed)
	require.NoError(t, (&tracesProcessor{base: b, next: spans}).ConsumeTraces(t.Context(), td))
	require.NoError(t, (&logsProcessor{base: b, next: logs}).ConsumeLogs(t.Context(), plog.NewLogs()))
	assert.Len(t, spans.AllTraces(), 1)
	assert.Len(t, logs.AllLogs(), 1)
	assert.InDelta(t, 0, engine.Statuses()[0].Bad, 0)
}
