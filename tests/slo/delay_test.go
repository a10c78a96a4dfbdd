// SPDX-License-Identifier: Apache-2.0

package slo_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

const delayConfig = `
extensions:
  slo:
    alert_profile: demo
    objectives: [{name: all, group_by: [service.name], target: 0.99, indicator: {spans: {}}}]
receivers:
  otlp: {protocols: {http: {endpoint: %q}}}
processors:
  sli: {mode: count}
connectors:
  slo:
exporters:
  otlp_http: {endpoint: %q, compression: none}
  nop:
service:
  telemetry: {metrics: {level: none}}
  extensions: [slo]
  pipelines:
    traces: {receivers: [otlp], processors: [sli], exporters: [slo]}
    logs: {receivers: [slo], exporters: [otlp_http]}
    metrics: {receivers: [slo], exporters: [nop]}
`

// pager is an OTLP receiver that notes when a page of each service arrives.
type pager struct {
	mu      sync.Mutex
	arrived map[string]time.Time
}

func (p *pager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	request := plogotlp.NewExportRequest()
	if err == nil {
		err = request.UnmarshalProto(body)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rl := range request.Logs().ResourceLogs().All() {
		service, _ := rl.Resource().Attributes().Get("service.name")
		if _, known := p.arrived[service.Str()]; !known {
			p.arrived[service.Str()] = now
		}
	}
}

func (p *pager) of(service string) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.arrived[service]
	return at, ok
}

func post(t *testing.T, url string, td ptrace.Traces) {
	t.Helper()
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	require.NoError(t, err)
	response, err := http.Post(url, "application/x-protobuf", bytes.NewReader(body)) //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
}

// spansOf are n spans of a service, one a second up to `last`.
func spansOf(service string, n int, last time.Time, bad bool) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", service)
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		span := spans.AppendEmpty()
		span.SetTraceID(pcommon.TraceID{1, byte(i)})
		span.SetSpanID(pcommon.SpanID{1, byte(i)})
		span.SetKind(ptrace.SpanKindServer)
		end := last.Add(-time.Duration(n-1-i) * time.Second)
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(end.Add(-time.Millisecond)))
		span.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
		if bad {
			span.Status().SetCode(ptrace.StatusCodeError)
		}
	}
	return td
}

// From the request that completes an alert's condition to the alert's arrival at an OTLP receiver, with the real clock and the built binary.
func TestAlertsLeaveWhenTheirConditionIsComplete(t *testing.T) {
	services := max(50, int(1000*harness.Scale()))
	arrivals := &pager{arrived: map[string]time.Time{}}
	server := httptest.NewServer(arrivals)
	defer server.Close()
	otlp := harness.Address(t)
	config := harness.WriteFile(t, "collector.yaml", fmt.Sprintf(delayConfig, otlp, server.URL))
	collector := harness.Start(t, harness.Options{
		Binary: harness.Binary(t, "pitwall-sidecar"), Configs: []string{config}, Log: filepath.Join(t.TempDir(), "collector.log"),
	})
	url := "http://" + otlp + "/v1/traces"
	for i := range services {
		post(t, url, spansOf(fmt.Sprint("service-", i), 40, time.Now(), false))
	}
	var delays []time.Duration
	for i := range services {
		service := fmt.Sprint("service-", i)
		_, early := arrivals.of(service)
		require.False(t, early, "an alert of a service that is well")
		sent := time.Now()
		post(t, url, spansOf(service, 10, sent, true))
		harness.Await(t, time.Minute, "the page of "+service, func() bool { _, ok := arrivals.of(service); return ok })
		at, _ := arrivals.of(service)
		delays = append(delays, at.Sub(sent))
	}
	_, err := collector.Stop()
	require.NoError(t, err)
	slices.Sort(delays)
	assert.Len(t, delays, services)
	figures.Record(t, figures.Figure{
		Table: "SLOs: delay", Row: fmt.Sprintf("from sending the request that completes the condition to the alert record at a receiver, %d alerts of the built binary: p50, p99", services),
		Reached: fmt.Sprintf("%s, %s", delays[len(delays)/2].Round(time.Millisecond/10), delays[len(delays)*99/100].Round(time.Millisecond/10)),
		Wanted:  "p99 of 2 s or less", Command: "PITWALL_SCALE=1 go -C tests test -v -run AlertsLeave ./slo",
	})
}
