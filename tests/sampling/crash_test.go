// SPDX-License-Identifier: Apache-2.0

// Package sampling_test holds what tail_sampling promises as part of a built binary: what a killed collector was told comes out, and
// what the process costs beside contrib's.
package sampling_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
	"github.com/pitwall-io/pitwall/tests/otlpload"
)

const (
	kills = 100
	// offered is the load in spans a second; at least wanted of it must be taken for the test to say something.
	offered, wanted = 60_000, 50_000
	// grace is how long before a kill a trace must have been received.
	grace = time.Second
)

const crashConfig = `
extensions:
  file_storage: {directory: %q, fsync: false}
receivers:
  otlp: {protocols: {grpc: {endpoint: %q}}}
processors:
  tail_sampling:
    decision_wait: 2s
    num_traces: 1000000
    storage: file_storage
    policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
exporters:
  otlp_grpc:
    endpoint: %q
    tls: {insecure: true}
    compression: none
    sending_queue: {enabled: false}
    retry_on_failure: {enabled: false}
service:
  telemetry: {metrics: {level: none}}
  extensions: [file_storage]
  pipelines:
    traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp_grpc]}
`

// failing follows the traces with errors of one recording: which spans they have, how many were acknowledged and when the last was.
type failing struct {
	mu     sync.Mutex
	traces map[pcommon.TraceID]*received
}

type received struct {
	// spans has the IDs of the trace's spans.
	spans ptrace.Traces
	left  int
	last  time.Time
}

func eachSpan(td ptrace.Traces, visit func(ptrace.Span)) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				visit(span)
			}
		}
	}
}

func follow(recording *otlpload.Recording) *failing {
	f := &failing{traces: make(map[pcommon.TraceID]*received)}
	for _, request := range recording.Requests {
		eachSpan(request, func(span ptrace.Span) {
			if span.Status().Code() == ptrace.StatusCodeError && f.traces[span.TraceID()] == nil {
				td := ptrace.NewTraces()
				td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
				f.traces[span.TraceID()] = &received{spans: td}
			}
		})
	}
	for _, request := range recording.Requests {
		eachSpan(request, func(span ptrace.Span) {
			if r := f.traces[span.TraceID()]; r != nil {
				id := r.spans.ResourceSpans().At(0).ScopeSpans().At(0).Spans().AppendEmpty()
				id.SetTraceID(span.TraceID())
				id.SetSpanID(span.SpanID())
				r.left++
			}
		})
	}
	return f
}

func (f *failing) ack(td ptrace.Traces) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	eachSpan(td, func(span ptrace.Span) {
		if r := f.traces[span.TraceID()]; r != nil {
			r.left--
			r.last = now
		}
	})
}

// owed are the traces received whole before a time.
func (f *failing) owed(before time.Time) (owed []ptrace.Traces) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.traces {
		if r.left == 0 && r.last.Before(before) {
			owed = append(owed, r.spans)
		}
	}
	return owed
}

// A collector with storage is killed under load, again and again. What it had received a second before comes out in the end.
func TestKilledCollectorsGiveOutTheTracesTheyHeld(t *testing.T) {
	binary := harness.Binary(t, "pitwall")
	sink, err := otlpload.Listen("127.0.0.1:0", true)
	require.NoError(t, err)
	defer sink.Close()
	endpoint := harness.Address(t)
	config := harness.WriteFile(t, "collector.yaml", fmt.Sprintf(crashConfig, t.TempDir(), endpoint, sink.Address()))
	logs := t.TempDir()
	start := func(n int) *harness.Process {
		return harness.Start(t, harness.Options{Binary: binary, Configs: []string{config}, Log: filepath.Join(logs, fmt.Sprint(n, ".log"))})
	}

	r := rand.New(rand.NewPCG(5, 5))
	rounds := max(2, int(kills*harness.Scale()))
	var owed []ptrace.Traces
	var acked int64
	var loaded time.Duration
	for n := range rounds {
		collector := start(n)
		recording, err := otlpload.Synthetic{Traces: 24_000, ErrorRatio: 0.05, Seed: uint64(n + 1), Start: time.Now()}.Generate()
		require.NoError(t, err)
		followed := follow(recording)
		until := time.Duration(1500+r.IntN(2000)) * time.Millisecond
		killed := make(chan time.Time, 1)
		time.AfterFunc(until, func() {
			at := time.Now()
			collector.Kill()
			killed <- at
		})
		began := time.Now()
		result, err := otlpload.Sender{Endpoint: endpoint, Rate: offered, OnAck: followed.ack}.Send(t.Context(), recording)
		require.NoError(t, err)
		at := <-killed
		acked += result.Acked
		loaded += min(at.Sub(began), result.Took)
		owed = append(owed, followed.owed(at.Add(-grace))...)
	}
	last := start(rounds)
	missing := 0
	count := func() int {
		missing = 0
		for _, td := range owed {
			if sink.Missing(td) > 0 {
				missing++
			}
		}
		return missing
	}
	harness.Eventually(30*time.Second, func() bool { return count() == 0 })
	_, err = last.Stop()
	require.NoError(t, err)
	count()

	rate := float64(acked) / loaded.Seconds()
	t.Logf("%d kills at %.0f spans/s: of %d error traces received %v before, %d are missing", rounds, rate, len(owed), grace, missing)
	require.NotEmpty(t, owed)
	assert.LessOrEqual(t, float64(missing), 0.001*float64(len(owed)))
	figures.Record(t, figures.Figure{
		Table: "Tail sampling", Row: fmt.Sprintf("error traces that come out after SIGKILL at %d random moments, at %.0f spans/s", rounds, rate),
		Reached: fmt.Sprintf("%.2f %% of %d", 100*(1-float64(missing)/float64(len(owed))), len(owed)), Wanted: fmt.Sprintf("99.9 %%, at %d spans/s", wanted),
		Command: "PITWALL_SCALE=1 go -C tests test -run TestKilledCollectorsGiveOut -v ./sampling",
	})
}
