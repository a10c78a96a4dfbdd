// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// engine is what all processors of one component ID share: one decision per resource, one set of accounts, whatever pipelines they stand
// in. The first to start opens it, the last to stop closes it.
type engine struct {
	id         component.ID
	cfg        *Config
	set        component.TelemetrySettings
	collector  string // service.instance.id of this collector
	now        func() time.Time
	tel        *metadata.TelemetryBuilder
	tagger     *tagger
	meter      *meter
	prices     telemetryPrices
	series     *seriesMeter // nil where series have no price
	find       func(component.ID) *engine
	resources  *resourceMeter // nil when allocation is off
	requests   *requestMeter
	budgets    *budgets
	daily      *daily
	focusOut   *focusWriter   // nil: no files are written
	board      board          // nil without an optimization extension
	client     storage.Client // nil: nothing is kept over a restart
	traceSize  ptrace.ProtoMarshaler
	metricSize pmetric.ProtoMarshaler
	logSize    plog.ProtoMarshaler
	outcomes   [signals]outcomes

	mu      sync.Mutex // guards everything below
	users   int
	sinks   []consumer.Metrics
	started time.Time
	cancel  context.CancelFunc
	done    chan struct{}
}

// outcomes are prepared attribute sets of the record counters.
type outcomes struct {
	allocated, unallocated, dropped, droppedReason metric.MeasurementOption
}

// registry holds the engines of one factory by component ID.
type registry struct {
	mu      sync.Mutex
	engines map[component.ID]*engine
}

// get is the engine of a component ID, made by the first processor that asks.
func (r *registry) get(set processor.Settings, cfg *Config) (*engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.engines[set.ID]; ok && e.cfg == cfg {
		return e, nil
	}
	e, err := newEngine(set, cfg)
	if err != nil {
		return nil, err
	}
	e.find = r.find
	r.engines[set.ID] = e
	return e, nil
}

// find is the engine of a component ID that was made; nil when there is none.
func (r *registry) find(id component.ID) *engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.engines[id]
}

func newEngine(set processor.Settings, cfg *Config) (*engine, error) {
	tel, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	e := &engine{id: set.ID, cfg: cfg, set: set.TelemetrySettings, now: time.Now, tel: tel, meter: newMeter(cfg.MaxAccounts), daily: newDaily(cfg.MaxAccounts)}
	if v, ok := set.Resource.Attributes().Get("service.instance.id"); ok {
		e.collector = v.AsString()
	}
	if e.tagger, err = newTagger(cfg, set.TelemetrySettings, tel); err != nil {
		return nil, err
	}
	if e.prices, err = newTelemetryPrices(cfg.Telemetry); err != nil {
		return nil, fmt.Errorf("telemetry.prices: %w", err)
	}
	if cfg.Telemetry.Enabled && cfg.Telemetry.Prices["metrics"].PerSeriesMonth > 0 {
		if e.series, err = newSeriesMeter(&cfg.Telemetry); err != nil {
			return nil, fmt.Errorf("telemetry.prices.metrics.per_series_month: %w", err)
		}
	}
	if cfg.Resources.Enabled {
		if e.resources, err = newResourceMeter(&cfg.Resources); err != nil {
			return nil, fmt.Errorf("resources.%w", err)
		}
		e.requests = newRequestMeter(cfg.MaxAccounts, cfg.Resources.MaxOperations)
	}
	e.focusOut = newFocusWriter(cfg, set.ID.String())
	if e.budgets, err = newBudgets(cfg.Budgets); err != nil {
		return nil, err
	}
	for s := range signals {
		option := func(key, value string) metric.MeasurementOption {
			return metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", s.String()), attribute.String(key, value)))
		}
		e.outcomes[s] = outcomes{
			allocated: option("outcome", "allocated"), unallocated: option("outcome", "unallocated"),
			dropped: option("outcome", "dropped"), droppedReason: option("reason", "unallocated"),
		}
	}
	return e, nil
}

func (e *engine) start(ctx context.Context, host component.Host) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users++
	if e.users > 1 {
		return nil
	}
	e.started = e.now()
	e.board = findBoard(host)
	_, err := e.baseline()
	if err := errors.Join(err, e.tagger.load(), e.openStorage(ctx, host)); err != nil {
		e.users--
		return err
	}
	e.publishPrices(ctx)
	if err := e.tel.RegisterCostCacheEntriesCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(int64(e.tagger.now.Load().cache.Len()))
		return nil
	}); err != nil {
		return err
	}
	if err := e.tel.RegisterCostAccountsCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(int64(e.meter.len()))
		return nil
	}); err != nil {
		return err
	}
	if err := e.tel.RegisterCostSeriesActiveCallback(func(_ context.Context, o metric.Int64Observer) error {
		if e.series != nil {
			o.Observe(int64(e.series.len()))
		}
		return nil
	}); err != nil {
		return err
	}
	loop, cancel := context.WithCancel(context.Background())
	e.cancel, e.done = cancel, make(chan struct{})
	go e.run(loop, e.done)
	return nil
}

// run reloads tables and emits metrics until ctx ends.
func (e *engine) run(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	reload := time.NewTicker(e.cfg.ReloadInterval)
	defer reload.Stop()
	emit := time.NewTicker(e.cfg.EmitInterval)
	defer emit.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload.C:
			e.tagger.reload(ctx)
			e.reloadPrices(ctx)
		case <-emit.C:
			e.emit(ctx)
		}
	}
}

func (e *engine) stop(ctx context.Context) error {
	e.mu.Lock()
	if e.users == 0 {
		e.mu.Unlock()
		return nil
	}
	e.users--
	if e.users > 0 {
		e.mu.Unlock()
		return nil
	}
	cancel, done := e.cancel, e.done
	e.mu.Unlock()
	cancel()
	<-done
	e.exportFocus(ctx, e.now(), true)
	e.tel.Shutdown()
	return e.closeStorage(ctx)
}

// reloadPrices reads sheets that changed. One that cannot be read is counted and logged once, and the one before stays in force.
func (e *engine) reloadPrices(ctx context.Context) {
	if e.resources == nil {
		return
	}
	for _, r := range e.resources.reload() {
		outcome := "success"
		if r.err != nil {
			outcome = "failure"
			e.set.Logger.Error("Sheet cannot be read; the one before stays in force", zap.Error(r.err))
		}
		e.tel.CostTableReloads.Add(ctx, 1, metric.WithAttributes(attribute.String("table", r.table), attribute.String("outcome", outcome)))
	}
}

// addSink makes next a way out for cost metrics. With several metrics pipelines only the first one is used: totals must not leave twice.
func (e *engine) addSink(next consumer.Metrics) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sinks = append(e.sinks, next)
}

// removeSink emits the last totals through next, if that is the way out, and forgets it.
func (e *engine) removeSink(ctx context.Context, next consumer.Metrics) {
	e.mu.Lock()
	last := len(e.sinks) > 0 && e.sinks[0] == next && e.users > 0
	e.mu.Unlock()
	if last {
		e.emit(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, sink := range e.sinks {
		if sink == next {
			e.sinks = append(e.sinks[:i], e.sinks[i+1:]...)
			return
		}
	}
}

// emit sends the cost metrics to the metrics pipeline, if the processor stands in one.
func (e *engine) emit(ctx context.Context) {
	e.mu.Lock()
	var sink consumer.Metrics
	if len(e.sinks) > 0 {
		sink = e.sinks[0]
	}
	started := e.started
	e.mu.Unlock()
	if sink == nil && e.board == nil && e.client == nil && e.focusOut == nil {
		return
	}
	now := e.now()
	md := pmetric.NewMetrics()
	var lines []telemetryLine
	if e.cfg.Telemetry.Enabled {
		var err error
		if lines, err = e.telemetryLines(now); err != nil {
			e.set.Logger.Error("Telemetry cannot be priced as a whole", zap.Error(err))
		}
		e.telemetryMetrics(md, lines, started, now)
	}
	var allocated *allocatedCosts
	if e.resources != nil {
		if err := e.resources.close(now); err != nil {
			e.set.Logger.Error("Resource cost cannot be allocated for this window", zap.Error(err))
		}
		allocated = e.resources.allocated()
		allocated.requests = e.requests.take()
		e.resourceMetrics(md, allocated, started, now)
		e.budgets.allocated(allocated.window, now)
		e.daily.allocated(allocated.window, e.cfg.Resources.Currency, now)
	}
	e.budgets.metrics(md, now, e.collector)
	e.unallocatedMetrics(md, allocated, started, now)
	e.exportFocus(ctx, now, false)
	e.publishCosts(ctx, lines, allocated, started, now)
	if err := e.save(ctx); err != nil {
		e.set.Logger.Error("Costs cannot be stored; it is tried again", zap.Error(err))
	}
	if sink == nil || md.DataPointCount() == 0 {
		return
	}
	if err := sink.ConsumeMetrics(ctx, md); err != nil {
		e.tel.CostEmitFailures.Add(ctx, 1)
		e.set.Logger.Warn("Cost metrics were refused; their totals go out with the next emission", zap.Error(err))
	}
}

func (e *engine) begin(s signal) *work {
	w := works.Get().(*work)
	w.engine, w.signal = e, s
	w.shipment = shipments.Get().(*shipment)
	return w
}

var works = sync.Pool{New: func() any { return &work{} }}

// commit counts the request: called once the next component accepted it.
func (w *work) commit(ctx context.Context) {
	e, o := w.engine, &w.engine.outcomes[w.signal]
	if overflowed := e.meter.commit(w.signal, w.shipment); overflowed > 0 {
		e.tel.CostAccountOverflow.Add(ctx, int64(overflowed))
	}
	if e.requests != nil {
		e.requests.commit(&w.requests)
	}
	if e.series != nil {
		w.seen(ctx)
	}
	e.budgets.commit(w.spent)
	e.tagger.unowned.commit(w.unowned)
	e.daily.commit(w.days)
	if w.allocated > 0 {
		e.tel.CostRecords.Add(ctx, w.allocated, o.allocated)
	}
	if w.unallocated > 0 {
		e.tel.CostRecords.Add(ctx, w.unallocated, o.unallocated)
	}
	if w.dropped > 0 {
		e.tel.CostRecords.Add(ctx, w.dropped, o.dropped)
		e.tel.CostDroppedRecords.Add(ctx, w.dropped, o.droppedReason)
	}
}

// seen counts the series of the request, under the accounts that its traffic is summed under.
func (w *work) seen(ctx context.Context) {
	var from, to account
	for i := range w.series {
		if s := &w.series[i]; i == 0 || s.account != from {
			from = s.account
			to = w.engine.meter.known(from)
		}
		w.series[i].account = to
	}
	if refused := w.engine.series.commit(w.series, w.engine.now()); refused > 0 {
		w.engine.tel.CostSeriesOverflow.Add(ctx, refused)
	}
}

func (w *work) end() {
	w.shipment.entries = w.shipment.entries[:0]
	shipments.Put(w.shipment)
	*w = work{spent: w.spent[:0], unowned: w.unowned[:0], series: w.series[:0], days: w.days[:0]}
	works.Put(w)
}
