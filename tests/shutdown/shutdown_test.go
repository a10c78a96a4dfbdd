// SPDX-License-Identifier: Apache-2.0

// Package shutdown_test holds the promise that what was accepted arrives,
// whatever moment the collector is told to stop at.
package shutdown_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"

	"github.com/pitwall-io/pitwall/tests/harness"
	"github.com/pitwall-io/pitwall/tests/otlpload"
)

const (
	// stopLimit is half of the thirty seconds that Kubernetes gives.
	stopLimit = 15 * time.Second
	wait      = 60 * time.Second
)

// relay is a collector between a sender and a sink.
type relay struct {
	otlp, upstream, storage string
	sink                    *otlpload.Sink
	failed                  atomic.Int64
	mu                      sync.Mutex
	acked                   []ptrace.Traces
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	r := &relay{otlp: harness.Address(t), upstream: harness.Address(t), storage: t.TempDir()}
	r.listen(t)
	return r
}

func (r *relay) listen(t *testing.T) {
	t.Helper()
	sink, err := otlpload.Listen(r.upstream, true)
	require.NoError(t, err)
	t.Cleanup(sink.Close)
	r.sink = sink
}

// config is a pipeline as our configurations have them, with or without the
// counting of SLIs.
func (r *relay) config(queue string, counting bool) string {
	objectives, processor, extensions, processors := "", "", "file_storage", "memory_limiter"
	if counting {
		objectives = "slo: {objectives: [{name: availability, service: checkout, target: 0.99, indicator: {spans: {}}}]}"
		processor = "sli: {mode: count}"
		extensions += ", slo"
		processors += ", sli"
	}
	return fmt.Sprintf(`
extensions:
  file_storage: {directory: %q, fsync: false}
  %s
receivers:
  otlp: {protocols: {grpc: {endpoint: %q}}}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 1024}
  %s
exporters:
  otlp_grpc:
    endpoint: %q
    tls: {insecure: true}
    retry_on_failure: {initial_interval: 100ms, max_interval: 500ms}
    sending_queue: %s
service:
  telemetry: {metrics: {level: none}}
  extensions: [%s]
  pipelines:
    traces: {receivers: [otlp], processors: [%s], exporters: [otlp_grpc]}
`, r.storage, objectives, r.otlp, processor, r.upstream, queue, extensions, processors)
}

func (r *relay) start(t *testing.T, config string) *harness.Process {
	t.Helper()
	return harness.Start(t, harness.Options{
		Binary:  harness.Binary(t, "pitwall-sidecar"),
		Configs: []string{harness.WriteFile(t, "relay.yaml", config)},
	})
}

// load sends until the context ends and remembers what was acknowledged.
func (r *relay) load(ctx context.Context) (otlpload.Result, error) {
	recording, err := otlpload.Synthetic{Traces: 2000, SpansPerRequest: 64}.Generate()
	if err != nil {
		return otlpload.Result{}, err
	}
	return otlpload.Sender{Endpoint: r.otlp, Repeat: 1 << 20, Rate: 40_000, Timeout: 20 * time.Second, OnAck: func(traces ptrace.Traces) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.acked = append(r.acked, traces)
	}, OnFail: func(ptrace.Traces, error) { r.failed.Add(1) }}.Send(ctx, recording)
}

// startLoad loads in the background; the function it returns ends the load and
// waits for its result.
func (r *relay) startLoad(t *testing.T) (stop func() otlpload.Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var (
		loading sync.WaitGroup
		result  otlpload.Result
		err     error
	)
	loading.Go(func() { result, err = r.load(ctx) })
	return func() otlpload.Result {
		cancel()
		loading.Wait()
		require.NoError(t, err)
		return result
	}
}

func (r *relay) ackedSpans() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	for _, traces := range r.acked {
		total += traces.SpanCount()
	}
	return total
}

// missing counts the acknowledged spans that are not in the sink.
func (r *relay) missing() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	missing := 0
	for _, traces := range r.acked {
		missing += r.sink.Missing(traces)
	}
	return missing
}

// stopUnderLoad sends SIGTERM in the middle of the load.
func (r *relay) stopUnderLoad(t *testing.T, collector *harness.Process, after int) otlpload.Result {
	t.Helper()
	stopLoad := r.startLoad(t)
	harness.Await(t, wait, "the load to be under way", func() bool { return r.ackedSpans() >= after })

	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code, "the exit is clean")
	assert.Less(t, exit.Took, stopLimit)
	assert.NotContains(t, collector.Logs(), "panic")
	harness.Await(t, wait, "the load to go on past the stop, or nothing was tested", func() bool { return r.failed.Load() > 0 })
	return stopLoad()
}

func TestStopUnderLoadLosesNothingThatWasAccepted(t *testing.T) {
	queues := map[string]string{
		"no queue":         "{enabled: false}",
		"queue in memory":  "{queue_size: 10000}",
		"batching queue":   "{queue_size: 10000, batch: {flush_timeout: 200ms, min_size: 2048, max_size: 8192, sizer: items}}",
		"queue in storage": "{queue_size: 10000, storage: file_storage}",
	}
	for _, counting := range []bool{false, true} {
		for queueName, queue := range queues {
			t.Run(fmt.Sprintf("%s, counting %t", queueName, counting), func(t *testing.T) {
				r := newRelay(t)
				config := r.config(queue, counting)
				result := r.stopUnderLoad(t, r.start(t, config), 10_000)
				if strings.Contains(queue, "storage") {
					// What was not sent at the stop is kept, and sent at the next start.
					r.start(t, config)
				}
				assert.True(t, harness.Eventually(wait, func() bool { return r.missing() == 0 }),
					"%d of %d acknowledged spans are missing (%s)", r.missing(), r.ackedSpans(), result)
				t.Logf("%s; sink: %s, distinct %d", result, r.sink.Counts(), r.sink.Distinct())
			})
		}
	}
}

func TestWhatWasAcceptedWhileTheBackendWasDownArrivesAfterARestart(t *testing.T) {
	for name, fail := range map[string]func(r *relay){
		"backend gone":     func(r *relay) { r.sink.Close() },
		"backend refusing": func(r *relay) { r.sink.Answer(codes.Unavailable) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t)
			fail(r)
			config := r.config("{queue_size: 100000, storage: file_storage, block_on_overflow: true}", true)
			r.stopUnderLoad(t, r.start(t, config), 5_000)
			require.Zero(t, r.sink.Counts().Spans)
			r.sink.Close()

			r.listen(t)
			r.start(t, config)

			assert.True(t, harness.Eventually(wait, func() bool { return r.missing() == 0 }),
				"%d of %d acknowledged spans are missing", r.missing(), r.ackedSpans())
		})
	}
}

func TestKillUnderLoadLosesNothingThatIsInStorage(t *testing.T) {
	rounds := max(1, int(30*harness.Scale()))
	for round := range rounds {
		r := newRelay(t)
		config := r.config("{queue_size: 100000, storage: file_storage, block_on_overflow: true}", true)
		collector := r.start(t, config)
		stopLoad := r.startLoad(t)
		harness.Await(t, wait, "the load to be under way", func() bool { return r.ackedSpans() >= 5_000+777*round })
		collector.Kill()
		stopLoad()

		r.start(t, config)

		require.True(t, harness.Eventually(wait, func() bool { return r.missing() == 0 }),
			"round %d: %d of %d acknowledged spans are missing", round, r.missing(), r.ackedSpans())
	}
}
