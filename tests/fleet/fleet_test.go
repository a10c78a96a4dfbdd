// SPDX-License-Identifier: Apache-2.0

// Package fleet_test holds the promise that collectors which share the telemetry conclude, through one that decides, what a single one
// that sees all of it would.
package fleet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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

const (
	replicas = 3
	slice    = 10 * time.Second
	// perSlice are the requests of each version of each service in a slice.
	perSlice = 40
)

const replicaConfig = `
extensions: {optimization: {endpoint: %q}}
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
connectors: {optimizer: {decider: false}}
exporters:
  otlp_http:
    endpoint: %q
    compression: none
    retry_on_failure: {initial_interval: 20ms, max_interval: 50ms, max_elapsed_time: 0s}
service:
  telemetry: {metrics: {level: none}}
  extensions: [optimization]
  pipelines:
    traces: {receivers: [otlp], exporters: [optimizer]}
    logs: {receivers: [otlp], exporters: [optimizer]}
    logs/fleet: {receivers: [optimizer], exporters: [otlp_http]}
`

const deciderConfig = `
extensions: {optimization: {endpoint: %q}}
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
connectors: {optimizer: {}}
exporters: {nop: {}}
service:
  telemetry: {metrics: {level: none}}
  extensions: [optimization]
  pipelines:
    traces: {receivers: [otlp], exporters: [optimizer]}
    logs: {receivers: [otlp], exporters: [optimizer]}
    logs/signals: {receivers: [optimizer], exporters: [nop]}
`

// link carries what replicas send to the decider. It loses every third answer, so that the replica sends the same again.
type link struct {
	decider string

	mu    sync.Mutex
	n     int
	again int
	// reached is the event time that each sender has told of.
	reached map[string]time.Time
}

func (l *link) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := http.Post(l.decider+r.URL.Path, r.Header.Get("Content-Type"), bytes.NewReader(body)) //nolint:noctx // a loopback address in a test
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	answer.Body.Close()
	l.mu.Lock()
	l.n++
	lost := l.n%3 == 0
	if lost {
		l.again++
	}
	request := plogotlp.NewExportRequest()
	if request.UnmarshalProto(body) == nil {
		for _, rl := range request.Logs().ResourceLogs().All() {
			for _, rec := range rl.ScopeLogs().At(0).LogRecords().All() {
				if sender, ok := rec.Attributes().Get("optimizer.sender"); ok && rec.Timestamp().AsTime().After(l.reached[sender.Str()]) {
					l.reached[sender.Str()] = rec.Timestamp().AsTime()
				}
			}
		}
	}
	l.mu.Unlock()
	if lost {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(answer.StatusCode)
}

// told reports whether every replica has told of all before at.
func (l *link) told(at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, reached := range l.reached {
		if reached.Before(at) {
			return false
		}
	}
	return len(l.reached) == replicas
}

// traffic returns one request of each version of each service at an event time; checkout 2 fails more often than it should.
func traffic(r *rand.Rand, at time.Time) ptrace.Traces {
	td := ptrace.NewTraces()
	for _, service := range []string{"checkout", "payment"} {
		for _, version := range []string{"1", "2"} {
			rs := td.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("service.name", service)
			rs.Resource().Attributes().PutStr("service.version", version)
			rs.Resource().Attributes().PutStr("service.instance.id", service+version)
			span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
			span.SetTraceID(pcommon.TraceID{1, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
			span.SetSpanID(pcommon.SpanID{1, byte(r.Uint32())})
			span.SetKind(ptrace.SpanKindServer)
			span.SetEndTimestamp(pcommon.NewTimestampFromTime(at))
			span.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(-time.Duration(40e6 * math.Exp(0.4*r.NormFloat64())))))
			if p := r.Float64(); p < 0.01 || service == "checkout" && version == "2" && p < 0.035 {
				span.Status().SetCode(ptrace.StatusCodeError)
			}
		}
	}
	return td
}

func post(t *testing.T, url string, body []byte) {
	t.Helper()
	response, err := http.Post(url, "application/x-protobuf", bytes.NewReader(body)) //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
}

// envelope is what the test reads of a signal.
type envelope struct {
	Target    struct{ Service, Revision string }
	Result    struct{ Value, Reason string }
	Evidence  struct{ Statistics map[string]float64 }
	UpdatedAt time.Time `json:"updated_at"`
}

func read(t *testing.T, url string, into any) {
	t.Helper()
	response, err := http.Get(url) //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
	require.NoError(t, json.Unmarshal(body, into), string(body))
}

func verdicts(t *testing.T, api string) map[string]envelope {
	t.Helper()
	var answer struct{ Signals []envelope }
	read(t, "http://"+api+"/api/v1/signals?kind=optimization.canary.verdict", &answer)
	found := map[string]envelope{}
	for _, e := range answer.Signals {
		found[e.Target.Service] = e
	}
	return found
}

// gate returns the answer that a rollout tool gets.
func gate(t *testing.T, api string) (verdict, reason string) {
	t.Helper()
	var answer struct {
		Data struct{ Verdict, Reason string }
	}
	read(t, "http://"+api+"/api/v1/verdict/checkout?revision=2", &answer)
	return answer.Data.Verdict, answer.Data.Reason
}

func TestReplicasAndADeciderConcludeWhatOneCollectorWould(t *testing.T) {
	binary := harness.Binary(t, "pitwall-sidecar")
	dir := t.TempDir()
	start := func(name, config string, args ...any) (api, otlp string) {
		api, otlp = harness.Address(t), harness.Address(t)
		text := fmt.Sprintf(config, append([]any{api, otlp}, args...)...)
		harness.Start(t, harness.Options{
			Binary: binary, Configs: []string{harness.WriteFile(t, name+".yaml", text)}, Log: filepath.Join(dir, name+".log"),
		})
		return api, "http://" + otlp
	}
	aloneAPI, alone := start("alone", deciderConfig)
	deciderAPI, decider := start("decider", deciderConfig)
	between := &link{decider: decider, reached: map[string]time.Time{}}
	server := httptest.NewServer(between)
	defer server.Close()
	var apis, targets []string
	for i := range replicas {
		api, otlp := start(fmt.Sprint("replica-", i), replicaConfig, server.URL)
		apis, targets = append(apis, api), append(targets, otlp)
	}

	slices := max(60, int(360*harness.Scale()))
	r := rand.New(rand.NewPCG(7, 7))
	began := time.Now().Add(-2 * time.Hour).Truncate(slice)
	for s := range slices {
		from := began.Add(time.Duration(s) * slice)
		shares := make([]ptrace.Traces, replicas)
		for i := range shares {
			shares[i] = ptrace.NewTraces()
		}
		whole := ptrace.NewTraces()
		for i := range perSlice {
			td := traffic(r, from.Add(time.Duration(i)*slice/perSlice))
			seen := ptrace.NewTraces()
			td.CopyTo(seen)
			seen.ResourceSpans().MoveAndAppendTo(whole.ResourceSpans())
			share := i % replicas // each gets some of every slice; which request goes where is chance
			if i >= replicas {
				share = r.IntN(replicas)
			}
			td.ResourceSpans().MoveAndAppendTo(shares[share].ResourceSpans())
		}
		for i, share := range append(shares, whole) {
			body, err := ptraceotlp.NewExportRequestFromTraces(share).MarshalProto()
			require.NoError(t, err)
			post(t, append(targets, alone)[i]+"/v1/traces", body)
		}
		if s > 0 {
			harness.Await(t, time.Minute, "all replicas have told of the slice", func() bool { return between.told(from) })
		}
	}

	want := verdicts(t, aloneAPI)
	require.Len(t, want, 2)
	require.Equal(t, "fail", want["checkout"].Result.Value, "the fault is there to be found")
	require.NotEqual(t, "fail", want["payment"].Result.Value)
	harness.Await(t, time.Minute, "the decider says what it has to", func() bool { return len(verdicts(t, deciderAPI)) == len(want) })
	got := verdicts(t, deciderAPI)
	worst := 0.0
	for service, w := range want {
		g := got[service]
		assert.Equal(t, w.Target, g.Target)
		assert.Equal(t, w.Result, g.Result, service)
		require.Len(t, g.Evidence.Statistics, len(w.Evidence.Statistics), service)
		for name, v := range w.Evidence.Statistics {
			off := math.Abs(g.Evidence.Statistics[name]-v) / max(math.Abs(v), 1e-9)
			assert.LessOrEqual(t, off, 0.01, "%s of %s: %g, alone %g", name, service, g.Evidence.Statistics[name], v)
			worst = max(worst, off)
		}
	}

	harness.Await(t, time.Minute, "the optimizers report", func() bool {
		verdict, _ := gate(t, deciderAPI)
		return verdict == "fail"
	})
	for _, api := range apis {
		verdict, reason := gate(t, api)
		assert.Equal(t, "inconclusive", verdict)
		assert.Equal(t, "not_decider", reason)
	}
	between.mu.Lock()
	defer between.mu.Unlock()
	assert.Greater(t, between.again, slices/2, "retries were provoked")
	figures.Record(t, figures.Figure{
		Table: "Replicas", Row: fmt.Sprintf("%d requests split over %d processes and a decider over OTLP, %d of %d deliveries repeated", 4*perSlice*slices, replicas, between.again, between.n),
		Reached: fmt.Sprintf("same verdicts; statistics at most %.2g %% off one process that sees all", 100*worst),
		Wanted:  "within 1 %",
		Command: fmt.Sprintf("%s=%g go -C tests test ./fleet", harness.ScaleVariable, harness.Scale()),
	})
}
