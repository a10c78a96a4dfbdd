// SPDX-License-Identifier: Apache-2.0

package otlpload

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // collectors compress by default
	"google.golang.org/grpc/status"
)

// Sink is an OTLP gRPC server that counts what it gets. It can be told to
// answer with an error, or slowly.
type Sink struct {
	server *grpc.Server
	// address is what the sink listens on.
	address string

	spans, logs, points, requests, refused atomic.Int64
	// code is the answer to every request; delay comes before it.
	code  atomic.Uint32
	delay atomic.Int64

	// mu guards traces, nil unless ids are kept: spans by trace id, each span's
	// id with how often it came.
	mu     sync.Mutex
	traces map[pcommon.TraceID]map[pcommon.SpanID]int
}

// Counts is what a sink has accepted so far.
type Counts struct {
	Spans, LogRecords, DataPoints int64
	// Requests were accepted, Refused answered with an error on demand.
	Requests, Refused int64
}

// String is the counts in one line.
func (c Counts) String() string {
	return fmt.Sprintf("spans %d logs %d points %d requests %d refused %d", c.Spans, c.LogRecords, c.DataPoints, c.Requests, c.Refused)
}

// Listen starts a sink. With keepIDs it remembers the ids of every span.
func Listen(address string, keepIDs bool) (*Sink, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		server:  grpc.NewServer(grpc.MaxRecvMsgSize(maxMessageBytes)),
		address: listener.Addr().String(),
	}
	if keepIDs {
		s.traces = map[pcommon.TraceID]map[pcommon.SpanID]int{}
	}
	ptraceotlp.RegisterGRPCServer(s.server, &traceService{sink: s})
	plogotlp.RegisterGRPCServer(s.server, &logService{sink: s})
	pmetricotlp.RegisterGRPCServer(s.server, &metricService{sink: s})
	// Serve returns an error only when the listener breaks, and then every sender
	// sees it.
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// Address is the address that the sink listens on.
func (s *Sink) Address() string { return s.address }

// Close ends the sink at once.
func (s *Sink) Close() { s.server.Stop() }

// Answer sets the code of every answer from now on; codes.OK accepts.
func (s *Sink) Answer(code codes.Code) { s.code.Store(uint32(code)) }

// Delay makes every answer from now on wait.
func (s *Sink) Delay(d time.Duration) { s.delay.Store(int64(d)) }

// Counts is what was accepted so far.
func (s *Sink) Counts() Counts {
	return Counts{
		Spans: s.spans.Load(), LogRecords: s.logs.Load(), DataPoints: s.points.Load(),
		Requests: s.requests.Load(), Refused: s.refused.Load(),
	}
}

// Missing counts the spans of a request that have not arrived.
func (s *Sink) Missing(traces ptrace.Traces) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := 0
	forEachSpan(traces, func(span ptrace.Span) {
		if s.traces[span.TraceID()][span.SpanID()] == 0 {
			missing++
		}
	})
	return missing
}

// Distinct counts the spans without their duplicates.
func (s *Sink) Distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	distinct := 0
	for _, spans := range s.traces {
		distinct += len(spans)
	}
	return distinct
}

// WriteIDs writes a line with a trace id and its number of spans for each trace,
// in the order of the ids.
func (s *Sink) WriteIDs(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make(map[string]int, len(s.traces))
	for id, spans := range s.traces {
		for _, times := range spans {
			lines[id.String()] += times
		}
	}
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		if _, err := fmt.Fprintf(w, "%s %d\n", id, lines[id]); err != nil {
			return err
		}
	}
	return nil
}

// admit waits and answers as it was told to.
func (s *Sink) admit(ctx context.Context) error {
	if delay := time.Duration(s.delay.Load()); delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if code := codes.Code(s.code.Load()); code != codes.OK {
		s.refused.Add(1)
		return status.Error(code, "refused on demand")
	}
	s.requests.Add(1)
	return nil
}

func (s *Sink) remember(traces ptrace.Traces) {
	if s.traces == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	forEachSpan(traces, func(span ptrace.Span) {
		spans, ok := s.traces[span.TraceID()]
		if !ok {
			spans = map[pcommon.SpanID]int{}
			s.traces[span.TraceID()] = spans
		}
		spans[span.SpanID()]++
	})
}

func forEachSpan(traces ptrace.Traces, visit func(ptrace.Span)) {
	for _, resource := range traces.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				visit(span)
			}
		}
	}
}

type traceService struct {
	ptraceotlp.UnimplementedGRPCServer
	sink *Sink
}

func (t *traceService) Export(ctx context.Context, request ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	if err := t.sink.admit(ctx); err != nil {
		return ptraceotlp.NewExportResponse(), err
	}
	t.sink.remember(request.Traces())
	t.sink.spans.Add(int64(request.Traces().SpanCount()))
	return ptraceotlp.NewExportResponse(), nil
}

type logService struct {
	plogotlp.UnimplementedGRPCServer
	sink *Sink
}

func (l *logService) Export(ctx context.Context, request plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	if err := l.sink.admit(ctx); err != nil {
		return plogotlp.NewExportResponse(), err
	}
	l.sink.logs.Add(int64(request.Logs().LogRecordCount()))
	return plogotlp.NewExportResponse(), nil
}

type metricService struct {
	pmetricotlp.UnimplementedGRPCServer
	sink *Sink
}

func (m *metricService) Export(ctx context.Context, request pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	if err := m.sink.admit(ctx); err != nil {
		return pmetricotlp.NewExportResponse(), err
	}
	m.sink.points.Add(int64(request.Metrics().DataPointCount()))
	return pmetricotlp.NewExportResponse(), nil
}
