// SPDX-License-Identifier: Apache-2.0

package otlptest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func pair(key string, value *common.AnyValue) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: value}
}

func TestSinkKeepsWhatItGets(t *testing.T) {
	s := Start(t)
	conn, err := grpc.NewClient("passthrough:///"+s.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	cart := &resource.Resource{Attributes: []*common.KeyValue{pair("service.name", &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: "cart"}})}}
	attrs := []*common.KeyValue{
		pair("i", &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 3}}),
		pair("d", &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: 0.5}}),
		pair("b", &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}),
		pair("a", &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{}}}),
	}

	_, err = coltrace.NewTraceServiceClient(conn).Export(t.Context(), &coltrace.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource: cart, ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{{
			TraceId: []byte{1}, SpanId: []byte{2}, ParentSpanId: []byte{3}, StartTimeUnixNano: 1e9, EndTimeUnixNano: 3e9,
			Status: &trace.Status{Code: trace.Status_STATUS_CODE_ERROR}, Attributes: attrs,
		}}}},
	}}})
	require.NoError(t, err)
	spans := s.Spans(func(s Span) bool { return s.Service() == "cart" })
	require.Len(t, spans, 1)
	assert.Equal(t, []string{"01", "02", "03"}, []string{spans[0].Trace(), spans[0].ID(), spans[0].Parent()})
	assert.True(t, spans[0].Failed())
	assert.InDelta(t, 2, spans[0].Seconds(), 0)
	assert.Equal(t, int64(3), spans[0].Attrs["i"])
	assert.Equal(t, true, spans[0].Attrs["b"])
	assert.Contains(t, spans[0].Attrs["a"], "array")

	_, err = collogs.NewLogsServiceClient(conn).Export(t.Context(), &collogs.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource: cart, ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{{TraceId: []byte{1}, EventName: "e"}}}},
	}}})
	require.NoError(t, err)
	records := s.Logs(func(r Record) bool { return r.Trace() == "01" })
	require.Len(t, records, 1)
	assert.Equal(t, "cart", records[0].Service())

	number := []*metrics.NumberDataPoint{{Value: &metrics.NumberDataPoint_AsInt{AsInt: 7}}, {Value: &metrics.NumberDataPoint_AsDouble{AsDouble: 1.5}}}
	sum := 9.0
	_, err = colmetrics.NewMetricsServiceClient(conn).Export(t.Context(), &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{
		Resource: cart, ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: []*metrics.Metric{
			{Name: "s", Data: &metrics.Metric_Sum{Sum: &metrics.Sum{DataPoints: number}}},
			{Name: "g", Data: &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: number[:1]}}},
			{Name: "h", Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{DataPoints: []*metrics.HistogramDataPoint{{Count: 4, Sum: &sum}}}}},
		}}},
	}}})
	require.NoError(t, err)
	got := map[string]float64{}
	for _, p := range s.Points(func(p Point) bool { return p.Service() == "cart" }) {
		got[p.Metric] += p.Value + float64(p.Count)
	}
	assert.Equal(t, map[string]float64{"s": 8.5, "g": 7, "h": 13}, got)

	assert.Len(t, s.InTrace("01", func(s Span) bool { return s.Failed() }), 1)
	assert.Empty(t, s.InTrace("01", func(s Span) bool { return !s.Failed() }))
	assert.Empty(t, s.InTrace("02", func(Span) bool { return true }))
	s.Forget()
	assert.Empty(t, s.Spans(func(Span) bool { return true }))
}
