// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/metadata"
)

// call is one request as a pipeline received it.
type call struct {
	at     time.Time
	signal signal
	data   string // OTLP/JSON
}

// stage is what surrounds a receiver under test: pipelines, a host and telemetry.
type stage struct {
	t         testing.TB
	cfg       *Config
	tel       *componenttest.Telemetry
	logs      *observer.ObservedLogs
	receivers []component.Component
	spoil     bool // empty the traces that a pipeline gets
	digest    bool // keep a hash of the data instead of the data

	// answer decides what a pipeline returns; nil takes everything.
	answer func(ctx context.Context, s signal, nth int) error

	mu     sync.Mutex
	calls  []call
	events []*componentstatus.Event
	over   chan struct{} // closed at the first status event that ends a replay
}

// newStage connects pipelines of the given signals to one receiver.
func newStage(tb testing.TB, cfg *Config, connected ...signal) *stage {
	tb.Helper()
	require.NoError(tb, cfg.Validate())
	st := &stage{t: tb, cfg: cfg, tel: componenttest.NewTelemetry(), over: make(chan struct{})}
	core, logs := observer.New(zapcore.InfoLevel)
	st.logs = logs
	set := receiver.Settings{
		ID:                component.NewIDWithName(metadata.Type, "test"),
		TelemetrySettings: st.tel.NewTelemetrySettings(),
	}
	set.Logger = zap.New(core)
	factory := NewFactory()
	for _, s := range connected {
		var rcv component.Component
		var err error
		switch s {
		case signalTraces:
			rcv, err = factory.CreateTraces(tb.Context(), set, cfg, must(tb, func() (consumer.Traces, error) {
				return consumer.NewTraces(func(ctx context.Context, td ptrace.Traces) error {
					data, err := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
					require.NoError(tb, err)
					if st.spoil {
						td.ResourceSpans().RemoveIf(func(ptrace.ResourceSpans) bool { return true })
					}
					return st.take(ctx, s, data)
				})
			}))
		case signalMetrics:
			rcv, err = factory.CreateMetrics(tb.Context(), set, cfg, must(tb, func() (consumer.Metrics, error) {
				return consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
					data, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(md)
					require.NoError(tb, err)
					return st.take(ctx, s, data)
				})
			}))
		case signalLogs:
			rcv, err = factory.CreateLogs(tb.Context(), set, cfg, must(tb, func() (consumer.Logs, error) {
				return consumer.NewLogs(func(ctx context.Context, ld plog.Logs) error {
					data, err := (&plog.JSONMarshaler{}).MarshalLogs(ld)
					require.NoError(tb, err)
					return st.take(ctx, s, data)
				})
			}))
		}
		require.NoError(tb, err)
		st.receivers = append(st.receivers, rcv)
	}
	return st
}

func must[T any](tb testing.TB, produce func() (T, error)) T {
	tb.Helper()
	v, err := produce()
	require.NoError(tb, err)
	return v
}

func (st *stage) take(ctx context.Context, s signal, data []byte) error {
	if st.digest {
		sum := sha256.Sum256(data)
		data = sum[:]
	}
	st.mu.Lock()
	nth := len(st.calls)
	st.calls = append(st.calls, call{at: time.Now(), signal: s, data: string(data)})
	st.mu.Unlock()
	if st.answer == nil {
		return nil
	}
	return st.answer(ctx, s, nth)
}

// GetExtensions makes the stage a component.Host.
func (st *stage) GetExtensions() map[component.ID]component.Component { return nil }

// Report makes the stage a componentstatus.Reporter.
func (st *stage) Report(ev *componentstatus.Event) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.events = append(st.events, ev)
	_, finished := ev.Attributes().Get("replay.state")
	select {
	case <-st.over:
	default:
		if finished || ev.Status() == componentstatus.StatusFatalError || ev.Status() == componentstatus.StatusPermanentError {
			close(st.over)
		}
	}
}

// start starts every receiver.
func (st *stage) start() {
	st.t.Helper()
	for _, r := range st.receivers {
		require.NoError(st.t, r.Start(context.Background(), st))
	}
}

// stop shuts every receiver down and the telemetry.
func (st *stage) stop() {
	st.t.Helper()
	for _, r := range st.receivers {
		require.NoError(st.t, r.Shutdown(context.Background()))
	}
	require.NoError(st.t, st.tel.Shutdown(context.Background()))
}

// play plays the whole recording and leaves the receivers running.
func (st *stage) play() {
	st.t.Helper()
	st.start()
	<-st.over
}

// toTheEnd plays the whole recording, shuts the receivers down and returns what the pipelines received.
func (st *stage) toTheEnd() []call {
	st.t.Helper()
	st.play()
	calls := st.received()
	for _, r := range st.receivers {
		require.NoError(st.t, r.Shutdown(context.Background()))
	}
	return calls
}

func (st *stage) received() []call {
	st.mu.Lock()
	defer st.mu.Unlock()
	return append([]call(nil), st.calls...)
}

func (st *stage) status() []*componentstatus.Event {
	st.mu.Lock()
	defer st.mu.Unlock()
	return append([]*componentstatus.Event(nil), st.events...)
}

// testConfig is the default configuration without progress lines, as fast as it goes.
func testConfig() *Config {
	cfg := createDefaultConfig()
	cfg.Speed = 0
	cfg.ProgressInterval = 0
	return cfg
}

// write puts a file into a fresh directory and returns its path.
func write(tb testing.TB, name, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// writeTo puts a file where path says.
func writeTo(tb testing.TB, path, content string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
}

// read returns a file.
func read(tb testing.TB, path string) string {
	tb.Helper()
	content, err := os.ReadFile(path)
	require.NoError(tb, err)
	return string(content)
}
