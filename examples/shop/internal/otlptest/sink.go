// SPDX-License-Identifier: Apache-2.0

// Package otlptest is an OTLP/gRPC receiver that keeps in memory what it gets, for tests.
package otlptest

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"sync"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Span is a span with the attributes of its resource.
type Span struct {
	*trace.Span
	Resource map[string]any
	Attrs    map[string]any
}

// Service returns the span's service.name.
func (s Span) Service() string { return text(s.Resource, "service.name") }

// Trace is the trace id in hexadecimal.
func (s Span) Trace() string { return hex.EncodeToString(s.TraceId) }

// ID is the span id in hexadecimal.
func (s Span) ID() string { return hex.EncodeToString(s.SpanId) }

// Parent is the parent's span id in hexadecimal, empty for a root.
func (s Span) Parent() string { return hex.EncodeToString(s.ParentSpanId) }

// Failed tells whether the span has status ERROR.
func (s Span) Failed() bool { return s.Status.GetCode() == trace.Status_STATUS_CODE_ERROR }

// Seconds is how long the span lasted.
func (s Span) Seconds() float64 { return float64(s.EndTimeUnixNano-s.StartTimeUnixNano) / 1e9 }

// Record is a log record with the attributes of its resource.
type Record struct {
	*logs.LogRecord
	Resource map[string]any
	Attrs    map[string]any
}

// Service returns the record's service.name.
func (r Record) Service() string { return text(r.Resource, "service.name") }

// Trace returns the trace the record belongs to, in hexadecimal.
func (r Record) Trace() string { return hex.EncodeToString(r.TraceId) }

// Point is one data point of a metric.
type Point struct {
	Metric   string
	Resource map[string]any
	Attrs    map[string]any
	// Value is a number's value, or a histogram's sum; Count is a histogram's count.
	Value float64
	Count uint64
	Time  uint64
}

// Service returns the point's service.name.
func (p Point) Service() string { return text(p.Resource, "service.name") }

// Sink is the receiver.
type Sink struct {
	coltrace.UnimplementedTraceServiceServer
	// Address is where it listens.
	Address string

	mu     sync.Mutex
	spans  []Span
	traces map[string][]Span
	logs   []Record
	points []Point
}

// Start starts a receiver on a free port; it stops with the test.
func Start(t testing.TB) *Sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Address: listener.Addr().String(), traces: map[string][]Span{}}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	coltrace.RegisterTraceServiceServer(server, s)
	colmetrics.RegisterMetricsServiceServer(server, metricsOf{s: s})
	collogs.RegisterLogsServiceServer(server, logsOf{s: s})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return s
}

// Spans returns the spans that keep says yes to.
func (s *Sink) Spans(keep func(Span) bool) []Span { return kept(s, &s.spans, keep) }

// InTrace returns the spans of one trace that keep says yes to, without going through all the others.
func (s *Sink) InTrace(trace string, keep func(Span) bool) []Span {
	s.mu.Lock()
	spans := slices.Clone(s.traces[trace])
	s.mu.Unlock()
	return slices.DeleteFunc(spans, func(span Span) bool { return !keep(span) })
}

// Logs returns the log records that keep says yes to.
func (s *Sink) Logs(keep func(Record) bool) []Record { return kept(s, &s.logs, keep) }

// Points returns the data points that keep says yes to.
func (s *Sink) Points(keep func(Point) bool) []Point { return kept(s, &s.points, keep) }

// Forget drops what came so far.
func (s *Sink) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans, s.logs, s.points = nil, nil, nil
	clear(s.traces)
}

func kept[T any](s *Sink, all *[]T, keep func(T) bool) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []T
	for _, item := range *all {
		if keep(item) {
			out = append(out, item)
		}
	}
	return out
}

// Export takes spans.
func (s *Sink) Export(_ context.Context, req *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		resource := attributes(rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				kept := Span{span, resource, attributes(span.GetAttributes())}
				s.spans = append(s.spans, kept)
				s.traces[kept.Trace()] = append(s.traces[kept.Trace()], kept)
			}
		}
	}
	return &coltrace.ExportTraceServiceResponse{}, nil
}

type metricsOf struct {
	colmetrics.UnimplementedMetricsServiceServer
	s *Sink
}

func (m metricsOf) Export(_ context.Context, req *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for _, rm := range req.GetResourceMetrics() {
		resource := attributes(rm.GetResource().GetAttributes())
		for _, sm := range rm.GetScopeMetrics() {
			for _, metric := range sm.GetMetrics() {
				m.s.points = append(m.s.points, pointsOf(metric, resource)...)
			}
		}
	}
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

func pointsOf(metric *metrics.Metric, resource map[string]any) []Point {
	var out []Point
	numbers := append(metric.GetSum().GetDataPoints(), metric.GetGauge().GetDataPoints()...)
	for _, p := range numbers {
		value := p.GetAsDouble()
		if _, ok := p.GetValue().(*metrics.NumberDataPoint_AsInt); ok {
			value = float64(p.GetAsInt())
		}
		out = append(out, Point{metric.GetName(), resource, attributes(p.GetAttributes()), value, 0, p.GetTimeUnixNano()})
	}
	for _, p := range metric.GetHistogram().GetDataPoints() {
		out = append(out, Point{metric.GetName(), resource, attributes(p.GetAttributes()), p.GetSum(), p.GetCount(), p.GetTimeUnixNano()})
	}
	return out
}

type logsOf struct {
	collogs.UnimplementedLogsServiceServer
	s *Sink
}

func (l logsOf) Export(_ context.Context, req *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	for _, rl := range req.GetResourceLogs() {
		resource := attributes(rl.GetResource().GetAttributes())
		for _, sl := range rl.GetScopeLogs() {
			for _, record := range sl.GetLogRecords() {
				l.s.logs = append(l.s.logs, Record{record, resource, attributes(record.GetAttributes())})
			}
		}
	}
	return &collogs.ExportLogsServiceResponse{}, nil
}

func attributes(pairs []*common.KeyValue) map[string]any {
	out := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		switch v := pair.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[pair.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[pair.GetKey()] = v.IntValue
		case *common.AnyValue_DoubleValue:
			out[pair.GetKey()] = v.DoubleValue
		case *common.AnyValue_BoolValue:
			out[pair.GetKey()] = v.BoolValue
		default:
			out[pair.GetKey()] = pair.GetValue().String()
		}
	}
	return out
}

func text(attrs map[string]any, key string) string {
	v, _ := attrs[key].(string)
	return v
}
