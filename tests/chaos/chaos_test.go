// SPDX-License-Identifier: Apache-2.0

// Package chaos_test drives the built binary through what goes wrong in
// production: hostile input, full disks, kills, reloads and receivers that hang.
package chaos_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pitwall-io/pitwall/tests/harness"
)

const wait = 60 * time.Second

// site is one collector with a book, and the addresses it uses.
type site struct {
	otlp, api, metrics, state string
}

func newSite(t *testing.T) *site {
	t.Helper()
	return &site{otlp: harness.Address(t), api: harness.Address(t), metrics: harness.Address(t), state: t.TempDir()}
}

// config is a lone collector that counts, signals and shows the board.
// receiver is where its signals go.
func (s *site) config(receiver string) string {
	host, port := split(s.metrics)
	return fmt.Sprintf(`
extensions:
  file_storage: {directory: %q, fsync: false}
  slo:
    storage: file_storage
    snapshot_interval: 1s
    alert_profile: demo
    objectives:
      - {name: availability, group_by: [service.name], target: 0.99, indicator: {spans: {}}}
      - {name: log-errors, group_by: [service.name], target: 0.99, indicator: {logs: {bad_severity: ERROR}}}
  optimization: {endpoint: %q}
receivers:
  otlp: {protocols: {grpc: {endpoint: %q}}}
processors:
  sli: {mode: count}
connectors:
  slo: {flush_interval: 1s}
  optimizer: {}
exporters:
  nop:
  optimization: {retry_on_failure: {initial_interval: 100ms, max_interval: 1s}, cloudevents: {endpoint: %q}}
service:
  extensions: [file_storage, slo, optimization]
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: %q, port: %s}}}}]}}
  pipelines:
    traces: {receivers: [otlp], processors: [sli], exporters: [nop, slo, optimizer]}
    logs: {receivers: [otlp], processors: [sli], exporters: [nop, slo, optimizer]}
    metrics/slo: {receivers: [slo], exporters: [nop]}
    logs/slo: {receivers: [slo], exporters: [optimizer]}
    logs/signals: {receivers: [optimizer], exporters: [optimization]}
`, s.state, s.api, s.otlp, receiver, host, port)
}

func (s *site) start(t *testing.T, config string) *harness.Process {
	t.Helper()
	return harness.Start(t, harness.Options{
		Binary:  harness.Binary(t, "pitwall-sidecar"),
		Configs: []string{harness.WriteFile(t, "site.yaml", config)},
	})
}

func split(address string) (host, port string) {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == ':' {
			return address[:i], address[i+1:]
		}
	}
	return address, ""
}

// dial connects to the collector's OTLP gRPC server.
func (s *site) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(s.otlp, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { connection.Close() })
	return connection
}

func (s *site) send(t *testing.T, connection *grpc.ClientConn, traces ptrace.Traces) {
	t.Helper()
	_, err := ptraceotlp.NewGRPCClient(connection).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(traces))
	require.NoError(t, err)
}

// get reads an API path of the collector into a value.
func (s *site) get(t *testing.T, path string, into any) {
	t.Helper()
	response, err := http.Get("http://" + s.api + path)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	require.NoError(t, json.Unmarshal(body, into))
}

type board struct {
	SLOs []struct {
		Name    string  `json:"name"`
		Service string  `json:"service"`
		Good    float64 `json:"good"`
		Bad     float64 `json:"bad"`
	} `json:"slos"`
}

// total is what the book holds for a service of the objective availability.
func (s *site) total(t *testing.T, service string) float64 {
	t.Helper()
	var b board
	s.get(t, "/api/v1/slos", &b)
	for _, o := range b.SLOs {
		if o.Name == "availability" && o.Service == service {
			return o.Good + o.Bad
		}
	}
	return 0
}

// serverSpan adds a resource with one server span that ended just now.
func serverSpan(traces ptrace.Traces, service string, number uint64, bad bool) ptrace.Span {
	resource := traces.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", service)
	span := resource.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	var trace pcommon.TraceID
	binary.BigEndian.PutUint64(trace[:], number+1)
	var id pcommon.SpanID
	binary.BigEndian.PutUint64(id[:], number+1)
	now := time.Now()
	span.SetTraceID(trace)
	span.SetSpanID(id)
	span.SetKind(ptrace.SpanKindServer)
	span.SetName("GET /")
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Millisecond)))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
	if bad {
		span.Status().SetCode(ptrace.StatusCodeError)
	}
	return span
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// fill writes a file until its file system is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for _, size := range []int{64 << 10, 4 << 10, 1} {
		for chunk := make([]byte, size); err == nil; {
			_, err = f.Write(chunk)
		}
		err = nil
	}
}

// empty removes a file and gives its file system more space.
func empty(t *testing.T, path, mount string) {
	t.Helper()
	require.NoError(t, os.Remove(path))
	require.NoError(t, syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
}

// trySend sends what the collector may refuse.
func (s *site) trySend(t *testing.T, connection *grpc.ClientConn, traces ptrace.Traces) {
	t.Helper()
	_, _ = ptraceotlp.NewGRPCClient(connection).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(traces))
}
