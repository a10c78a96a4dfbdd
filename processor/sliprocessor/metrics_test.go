// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
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

// Whoever got no answer sends the same points again, or, after a crash, points that hold newer events too.
func TestWhatIsSentAgainCountsOnce(t *testing.T) {
	engine := testEngine(t, slo.Objective{Name: "o", GroupBy: []string{"http.route"}})
	refuse := false
	next, err := consumer.NewMetrics(func(context.Context, pmetric.Metrics) error {
		if refuse {
			return errors.New("full")
		}
		return nil
	})
	require.NoError(t, err)
	b := newTestBase(t, &Config{Mode: ModeMerge, MaxPoints: 1000}, engine)
	p := newMetricsProcessor(b, next)
	send := func(instance, verdict string, value float64, stamp time.Duration) {
		md := pmetric.NewMetrics()
		dp := newPoint(newEvents(md, instance), "o", verdict, "/pay", value)
		dp.SetTimestamp(pcommon.NewTimestampFromTime(epoch.Add(5*time.Second - stamp)))
		x := dp.Exemplars().AppendEmpty()
		x.SetTraceID(pcommon.TraceID{7})
		assert.Equal(t, refuse, p.ConsumeMetrics(t.Context(), md) != nil)
	}
	for _, c := range []struct {
		instance, verdict string
		value             float64
		stamp             time.Duration
		refuse            bool
		good, bad         float64 // in the book afterwards
	}{
		{"a", "good", 10, 7, true, 0, 0},
		{"a", "good", 10, 7, false, 10, 0},
		{"a", "good", 10, 7, false, 10, 0}, // again
		{"a", "bad", 3, 7, false, 10, 3},   // not the same
		{"a", "good", 4, 8, false, 14, 3},  // a further part of the slice
		{"b", "good", 10, 7, false, 24, 3}, // another collector
		{"a", "bad", 5, 7, false, 24, 5},   // again, with two more
		{"a", "bad", 3, 7, false, 24, 5},   // the first once more, late
		{"a", "good", 1, 0, false, 25, 5},  // without a stamp nothing is taken for the same
		{"a", "good", 1, 0, false, 26, 5},
	} {
		refuse = c.refuse
		send(c.instance, c.verdict, c.value, c.stamp)
		if refuse {
			assert.Empty(t, engine.Statuses())
			continue
		}
		s := engine.Statuses()[0]
		assert.Equal(t, []float64{c.good, c.bad}, []float64{s.Good, s.Bad}, c)
	}
	j := p.judge()
	md := pmetric.NewMetrics()
	newPoint(newEvents(md, "b"), "o", "good", "/pay", 10).SetTimestamp(pcommon.NewTimestampFromTime(epoch.Add(5*time.Second - 7)))
	p.merge(j, md)
	p.applyMerged(j)
	assert.Equal(t, int64(1), j.outcome.refused[repeated])
	assert.Equal(t, int64(1), j.outcome.items())

	for i := range 5000 {
		p.repeats.fresh(uint64(i), 1)
		require.LessOrEqual(t, p.repeats.len(), 1000)
	}
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
