// SPDX-License-Identifier: Apache-2.0

// Package slo_test holds the promise that the error budget of a killed collector goes on where it was.
package slo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

const (
	kills   = 100
	senders = 4
	each    = 5 // spans of a request
)

const crashConfig = `
extensions:
  file_storage: {directory: %q}
  slo:
    storage: file_storage
    objectives: [{name: all, service: checkout, target: 0.99, indicator: {spans: {}}}]
  optimization: {endpoint: %q}
receivers:
  otlp: {protocols: {http: {endpoint: %q}}}
processors:
  sli: {mode: count}
exporters:
  nop:
service:
  telemetry: {metrics: {level: none}}
  extensions: [file_storage, slo, optimization]
  pipelines:
    traces: {receivers: [otlp], processors: [sli], exporters: [nop]}
`

// load sends requests, each again and again until it is acknowledged.
type load struct {
	url   string
	acked atomic.Int64 // spans
}

func (l *load) run(ctx context.Context, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 5))
	for ctx.Err() == nil {
		body, err := request(r)
		if err != nil {
			return
		}
		for ctx.Err() == nil && !l.send(body) {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// send is not cancelled by the end of the load: a request under way is waited for, so that nothing is left in doubt.
func (l *load) send(body []byte) bool {
	response, err := http.Post(l.url, "application/x-protobuf", bytes.NewReader(body)) //nolint:noctx // see above
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		return false
	}
	l.acked.Add(each)
	return true
}

func request(r *rand.Rand) ([]byte, error) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for range each {
		span := spans.AppendEmpty()
		span.SetTraceID(pcommon.TraceID{1, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		span.SetSpanID(pcommon.SpanID{1, byte(r.Uint32())})
		span.SetKind(ptrace.SpanKindServer)
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(-time.Millisecond)))
		span.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		if r.IntN(20) == 0 {
			span.Status().SetCode(ptrace.StatusCodeError)
		}
	}
	return ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
}

// A collector killed under load, again and again, has every acknowledged span in its budget, and none twice that was not under way
// at a kill.
func TestKilledCollectorsLoseNoAcknowledgedEvent(t *testing.T) {
	binary := harness.Binary(t, "pitwall-sidecar")
	dir := t.TempDir()
	api, otlp := harness.Address(t), harness.Address(t)
	config := harness.WriteFile(t, "collector.yaml", fmt.Sprintf(crashConfig, dir, api, otlp))
	start := func(life int) *harness.Process {
		return harness.Start(t, harness.Options{Binary: binary, Configs: []string{config}, Log: filepath.Join(dir, fmt.Sprintf("%d.log", life))})
	}
	lives := max(3, int(kills*harness.Scale()))
	r := rand.New(rand.NewPCG(1, uint64(lives)))

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := &load{url: "http://" + otlp + "/v1/traces"}
	var group sync.WaitGroup
	for i := range senders {
		group.Go(func() { l.run(ctx, uint64(i)) })
	}
	for life := range lives {
		collector := start(life)
		time.Sleep(time.Duration(20+r.IntN(400)) * time.Millisecond)
		collector.Kill()
	}
	collector := start(lives)
	time.Sleep(100 * time.Millisecond)
	stop()
	group.Wait()

	acked, counted := l.acked.Load(), events(t, api)
	t.Logf("%d kills, %d spans acknowledged, %d counted", lives, acked, counted)
	require.Greater(t, acked, int64(lives*each))
	assert.GreaterOrEqual(t, counted, acked, "an acknowledged span is lost")
	assert.LessOrEqual(t, counted, acked+int64((lives+1)*senders*each), "more is doubled than was under way")
	_, err := collector.Stop()
	require.NoError(t, err)
	figures.Record(t, figures.Figure{
		Table: "SLOs: what a crash costs", Row: fmt.Sprintf("%d times SIGKILL under load, a sender that retries", lives),
		Reached: fmt.Sprintf("%d of %d acknowledged spans lost, %d doubled", max(0, acked-counted), acked, max(0, counted-acked)),
		Wanted:  "0 lost; doubled at most the requests in flight",
		Command: fmt.Sprintf("%s=%g go -C tests test ./slo", harness.ScaleVariable, harness.Scale()),
	})
}

// events reads the number of events in the book.
func events(t *testing.T, api string) int64 {
	t.Helper()
	response, err := http.Get("http://" + api + "/api/v1/slos") //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var answer struct {
		SLOs []struct{ Good, Bad float64 } `json:"slos"`
	}
	require.NoError(t, json.Unmarshal(body, &answer), string(body))
	require.Len(t, answer.SLOs, 1, string(body))
	return int64(answer.SLOs[0].Good + answer.SLOs[0].Bad)
}
