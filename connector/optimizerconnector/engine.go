// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/detect/burn"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

const (
	// tickInterval is how often signals expire, refused envelopes are offered again and the state is kept.
	tickInterval = time.Second
	// windowRefresh is how often the objectives' windows are read from the slo extension.
	windowRefresh = 30 * time.Second
)

// engine is what all instances of one component id share.
//
// Lock order: sending, then mu. mu is never held while another component is called, except for storage.
type engine struct {
	cfg       *Config
	id        component.ID
	version   string
	scope     string
	log       *zap.Logger
	clock     func() time.Time
	telemetry *metadata.TelemetryBuilder

	board    signal.Board
	statuses []slo.StatusReader
	next     consumer.Logs
	stop     chan struct{}
	done     chan struct{}

	// sending keeps envelopes in order on their way out.
	sending sync.Mutex

	mu       sync.Mutex
	storage  storage.Client
	detector *burn.Detector
	now      eventClock
	outbox   []signal.Envelope
	// windows are the objectives' own windows by objective name, as the slo extension last gave them.
	windows     map[string]time.Duration
	windowsRead time.Time
	dirty       bool
	nextSave    time.Time
}

func newEngine(set connector.Settings, cfg *Config, clock func() time.Time) (*engine, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("optimizer telemetry: %w", err)
	}
	e := &engine{
		cfg: cfg, id: set.ID, version: set.BuildInfo.Version, scope: metadata.ScopeName, log: set.Logger, clock: clock, telemetry: telemetry,
		detector: burn.New(burn.Settings{
			MaxActive: cfg.MaxActiveSignals,
			TTL:       cfg.SignalTTL,
			Allow:     signal.NewAllowList(cfg.EvidenceAttributes...),
		}),
		windows: map[string]time.Duration{},
	}
	return e, errors.Join(
		telemetry.RegisterOptimizerSignalsActiveCallback(e.observeLocked(func() int { return e.detector.Active() })),
		telemetry.RegisterOptimizerSignalsActiveLimitCallback(e.observeLocked(func() int { return e.cfg.MaxActiveSignals })),
		telemetry.RegisterOptimizerOutboxCallback(e.observeLocked(func() int { return len(e.outbox) })),
	)
}

func (e *engine) observeLocked(value func() int) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		o.Observe(int64(value()))
		return nil
	}
}

// open finds the other components, restores the state and starts the clock.
func (e *engine) open(ctx context.Context, host component.Host, next consumer.Logs) error {
	e.next = next
	extensions := host.GetExtensions()
	for _, id := range slices.SortedFunc(maps.Keys(extensions), func(a, b component.ID) int { return strings.Compare(a.String(), b.String()) }) {
		if board, ok := extensions[id].(signal.Board); ok && e.board == nil {
			e.board = board
			e.log.Info("signals are published on a board", zap.Stringer("extension", id))
		}
		if reader, ok := extensions[id].(slo.StatusReader); ok {
			e.statuses = append(e.statuses, reader)
		}
	}
	if e.cfg.Storage != nil {
		if err := e.openStorage(ctx, extensions); err != nil {
			return err
		}
	}
	e.refreshWindows(e.clock())
	e.stop, e.done = make(chan struct{}), make(chan struct{})
	go e.run(e.stop, e.done) //nolint:gosec // it outlives the start; stop ends it
	return nil
}

func (e *engine) run(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			e.tick(context.Background())
		}
	}
}

// close sends what waits, keeps the state and lets go of storage. What cannot be sent now is lost and counted.
func (e *engine) close(ctx context.Context) error {
	close(e.stop)
	<-e.done
	e.flush(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.outbox) > 0 {
		e.dropped(ctx, "shutdown", len(e.outbox))
		e.log.Warn("signals could not be delivered before shutdown", zap.Int("signals", len(e.outbox)))
		e.outbox = nil
	}
	if e.storage == nil {
		return nil
	}
	e.saveLocked(ctx)
	err := e.storage.Close(ctx)
	e.storage = nil
	return err
}

func (e *engine) release() { e.telemetry.Shutdown() }

func (e *engine) countItems(ctx context.Context, kind string, n int) {
	e.telemetry.OptimizerItems.Add(ctx, int64(n), metric.WithAttributeSet(itemSets[kind]))
}

// itemSets are built once: the counter is on the path of all telemetry.
var itemSets = map[string]attribute.Set{
	"traces":  attribute.NewSet(attribute.String("signal", "traces")),
	"metrics": attribute.NewSet(attribute.String("signal", "metrics")),
	"logs":    attribute.NewSet(attribute.String("signal", "logs")),
}

// consumeAlerts looks for alert transitions and sends the signals they cause.
func (e *engine) consumeAlerts(ctx context.Context, ld plog.Logs) {
	found := false
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if rec.EventName() == alertEvent && e.observe(ctx, rl.Resource().Attributes(), rec) {
					found = true
				}
			}
		}
	}
	if found {
		e.flush(ctx)
	}
}

// observe takes one alert record and reports whether there is something to send.
func (e *engine) observe(ctx context.Context, resource pcommon.Map, rec plog.LogRecord) bool {
	a, refused := readAlert(resource, rec, func(reason string) {
		e.telemetry.OptimizerAlertFieldsIgnored.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
	})
	clock := e.clock()
	if refused == "" && a.Time.After(clock.Add(e.cfg.MaxFuture)) {
		refused = future
	}
	if refused != "" {
		e.countAlert(ctx, refused)
		e.log.Debug("alert record refused", zap.String("reason", refused))
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.ObjectiveWindow == 0 {
		a.ObjectiveWindow = e.windows[a.Objective]
	}
	e.now.observe(a.Time, clock)
	envelope, emit, outcome := e.detector.Observe(a)
	e.countAlert(ctx, string(outcome))
	e.dirty = e.dirty || outcome.Applied()
	if emit {
		e.enqueueLocked(ctx, envelope)
	}
	return emit
}

func (e *engine) countAlert(ctx context.Context, outcome string) {
	e.telemetry.OptimizerAlerts.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// tick lets time pass: signals expire, refused envelopes are offered again, the state is kept.
func (e *engine) tick(ctx context.Context) {
	clock := e.clock()
	e.refreshWindows(clock)
	e.expire(ctx, clock)
	e.flush(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.storage != nil && e.dirty && !clock.Before(e.nextSave) {
		e.saveLocked(ctx)
	}
}

// expire ends the signals that nothing confirmed in time. The slo extension is asked without a lock held.
func (e *engine) expire(ctx context.Context, clock time.Time) {
	e.mu.Lock()
	due := e.detector.Due(e.now.at(clock))
	e.mu.Unlock()
	if !due {
		return
	}
	statuses := e.readStatuses()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, envelope := range e.detector.Advance(e.now.at(clock), func(a burn.Alert) bool { return stillFires(statuses, a) }) {
		e.dirty = true
		e.enqueueLocked(ctx, envelope)
	}
}

func (e *engine) readStatuses() []slo.Status {
	var all []slo.Status
	for _, reader := range e.statuses {
		all = append(all, reader.Statuses()...)
	}
	return all
}

// stillFires reports whether the objective's live state has the alert rule firing.
func stillFires(statuses []slo.Status, a burn.Alert) bool {
	return slices.ContainsFunc(statuses, func(s slo.Status) bool {
		return s.Name == a.Objective && (s.Service == "" || s.Service == a.Service) && maps.Equal(s.Group, a.Group) &&
			slices.ContainsFunc(s.Alerts, func(f slo.FiringAlert) bool { return f.Name == a.Rule })
	})
}

// refreshWindows reads the objectives' windows, for alert records that do not carry them.
func (e *engine) refreshWindows(clock time.Time) {
	if len(e.statuses) == 0 || clock.Before(e.windowsRead.Add(windowRefresh)) {
		return
	}
	e.windowsRead = clock
	windows := map[string]time.Duration{}
	for _, s := range e.readStatuses() {
		windows[s.Name] = burn.ParseWindow(s.Window)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.windows = windows
}
