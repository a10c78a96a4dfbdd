// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/connector/sloconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/extension/sloextension"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// emitter sends the book of one extension on, for all instances of one component id.
type emitter struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	writer    writer
	clock     func() time.Time
	refused   atomic.Bool // the last metrics were refused: the next try waits for the timer

	mu        sync.Mutex // guards all below, and holds deliveries apart
	engine    *slo.Engine
	sync      func(context.Context) // writes what was delivered to storage
	instances []*instance
	stop      context.CancelFunc
	done      sync.WaitGroup
}

func newEmitter(set connector.Settings, cfg *Config) (*emitter, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	w := writer{version: set.BuildInfo.Version}
	if id, ok := set.Resource.Attributes().Get(otelattr.ServiceInstanceID); ok {
		w.instance = id.AsString()
	}
	return &emitter{cfg: cfg, id: set.ID, logger: set.Logger, telemetry: telemetry, writer: w, clock: time.Now}, nil
}

// attach adds an instance; the first finds the book and starts the loop.
func (e *emitter) attach(host component.Host, i *instance) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.engine == nil {
		book, err := sloextension.Find(host, e.cfg.SLO)
		if err != nil {
			return err
		}
		e.engine, e.sync = book.Engine(), book.Sync
	}
	if err := e.engine.Claim(e.id.String(), i.metrics != nil); err != nil {
		return err
	}
	e.instances = append(e.instances, i)
	if e.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		e.stop = cancel
		e.done.Go(func() { e.run(ctx) })
	}
	return nil
}

// detach emits the book once more and removes an instance. It reports whether that was the last one.
func (e *emitter) detach(ctx context.Context, i *instance) (last bool) {
	e.flush(ctx)
	e.mu.Lock()
	e.instances = slices.DeleteFunc(e.instances, func(o *instance) bool { return o == i })
	last = len(e.instances) == 0
	e.mu.Unlock()
	if last {
		e.stop()
		e.done.Wait()
		e.engine.Release(e.id.String())
		e.telemetry.Shutdown()
	}
	return last
}

func (e *emitter) run(ctx context.Context) {
	ticker := time.NewTicker(e.cfg.FlushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.engine.Wake():
			e.sendAlerts(ctx)
			if e.engine.Pressing() && !e.refused.Load() {
				e.sendMetrics(ctx)
			}
		case <-ticker.C:
			e.flush(ctx)
		}
	}
}

// flush sends alerts first: whoever waits for them waits least.
func (e *emitter) flush(ctx context.Context) {
	e.sendAlerts(ctx)
	e.sendMetrics(ctx)
}

// sendAlerts delivers the transitions that wait. What is refused goes back and is sent again with the next flush.
func (e *emitter) sendAlerts(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := slices.IndexFunc(e.instances, func(i *instance) bool { return i.logs != nil })
	if at < 0 {
		return
	}
	defer e.sendFindingsLocked(ctx, e.instances[at])
	transitions := e.engine.TakeTransitions()
	if len(transitions) == 0 {
		return
	}
	if err := e.instances[at].logs.ConsumeLogs(ctx, e.writer.logs(transitions, e.clock())); err != nil {
		e.engine.ReturnTransitions(transitions)
		e.failed(ctx, "logs", err)
		return
	}
	e.engine.DeliveredTransitions(transitions)
	e.sync(ctx)
	for _, t := range transitions {
		e.telemetry.ConnectorSloAlerts.Add(ctx, 1, metric.WithAttributes(attribute.String("state", alertState(t))))
	}
}

// sendMetrics delivers the events since the last delivery and the state of the book.
func (e *emitter) sendMetrics(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := slices.IndexFunc(e.instances, func(i *instance) bool { return i.metrics != nil })
	if at < 0 {
		return
	}
	events := e.engine.TakeEvents()
	if len(events) > 0 {
		e.sync(ctx) // should this process be killed now, the next knows what may have arrived
	}
	md := e.writer.metrics(events, e.engine.Statuses(), e.engine.Settings().Profile)
	points := md.DataPointCount()
	if points == 0 {
		return
	}
	if err := e.instances[at].metrics.ConsumeMetrics(ctx, md); err != nil {
		e.engine.ReturnEvents(events)
		e.sync(ctx)
		e.refused.Store(true)
		e.failed(ctx, "metrics", err)
		return
	}
	e.engine.Delivered(events)
	e.sync(ctx)
	e.refused.Store(false)
	e.telemetry.ConnectorSloPoints.Add(ctx, int64(points))
}

func (e *emitter) failed(ctx context.Context, signal string, err error) {
	e.telemetry.ConnectorSloDeliveryFailures.Add(ctx, 1, metric.WithAttributes(attribute.String("signal", signal)))
	e.logger.Warn("A delivery was refused and will be repeated.", zap.String("signal", signal), zap.Error(err))
}
