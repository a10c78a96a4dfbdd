// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/limit"
	"github.com/pitwall-io/pitwall/processor/cardinalityprocessor/internal/metadata"
)

// engine is the limiter behind all instances of one component ID.
type engine struct {
	id    component.ID
	cfg   *Config
	set   processor.Settings
	now   func() time.Time
	users int // guarded by the registry

	telemetry *metadata.TelemetryBuilder

	// mu orders batches. A batch that merged something is handed on under it: the points of an outgoing series must leave in the
	// order of their times, and a delta's intervals must follow one another.
	mu      sync.Mutex
	limiter *limit.Limiter
	batch   batch
	counted limit.Stats
	board   board  // nil without an optimization extension
	store   *store // nil without a storage extension

	// view is what gauges and other readers see. They never wait for mu, which a slow consumer may hold.
	view   atomic.Pointer[view]
	viewed time.Time // guarded by mu
}

// view is a snapshot of the limiter, at most refreshEvery old while data flows.
type view struct {
	stats  limit.Stats
	demand limit.Demand
}

const refreshEvery = 5 * time.Second

func newEngine(cfg *Config, set processor.Settings, now func() time.Time) *engine {
	e := &engine{id: set.ID, cfg: cfg, set: set, now: now, limiter: limit.New(cfg.settings())}
	e.batch.init(cfg, e.limiter)
	e.view.Store(&view{})
	return e
}

// protector is implemented by the slo extension: the attributes its objectives use, which must not be folded.
type protector interface {
	ProtectedAttributes() []string
}

// board is implemented by the optimization extension: others read there what is published.
type board interface {
	PublishSnapshot(topic, source string, body json.RawMessage) error
}

func (e *engine) start(ctx context.Context, host component.Host) error {
	tb, err := metadata.NewTelemetryBuilder(e.set.TelemetrySettings)
	if err != nil {
		return fmt.Errorf("create own telemetry: %w", err)
	}
	e.telemetry = tb
	if err := e.observe(); err != nil {
		return err
	}
	for _, ext := range host.GetExtensions() {
		if b, ok := ext.(board); ok {
			e.board = b
		}
	}
	if err := e.restore(ctx, host); err != nil {
		return err
	}
	return e.protect(host)
}

// restore takes up the state of the run before. Damaged state is reported and left behind: the first values of all series are
// baselines then, so that nothing is counted twice. State of a newer version is refused.
func (e *engine) restore(ctx context.Context, host component.Host) error {
	if e.cfg.Storage == nil {
		return nil
	}
	s, err := openStore(ctx, host, *e.cfg.Storage, e.id)
	if err != nil {
		return err
	}
	e.store = s
	e.limiter.Journaling()
	restored, err := s.load(ctx, e.limiter)
	switch {
	case errors.Is(err, limit.ErrStateDamaged):
		e.set.Logger.Error("the stored state is damaged and is not used", zap.Error(err))
		e.telemetry.ProcessorCardinalityStorageFailures.Add(ctx, 1)
		e.limiter = limit.New(e.cfg.settings())
		e.limiter.Journaling()
		e.batch.limiter = e.limiter
	case err != nil:
		return errors.Join(fmt.Errorf("read state: %w", err), s.client.Close(ctx))
	case restored:
		stats := e.limiter.Stats()
		e.set.Logger.Info("restored state", zap.Int("streams", stats.Streams), zap.Int("series", stats.Series), zap.Uint64("journal entries", s.entries))
	}
	if err := s.save(ctx, e.limiter); err != nil {
		return errors.Join(fmt.Errorf("write state: %w", err), s.client.Close(ctx))
	}
	return nil
}

// persist writes what the batch changed. A batch is not held up by a storage that fails: what is lost then is exactness over the
// next restart, and the counter says so.
func (e *engine) persist(ctx context.Context) {
	if e.store == nil {
		return
	}
	if err := e.store.append(ctx, e.limiter); err != nil {
		e.telemetry.ProcessorCardinalityStorageFailures.Add(ctx, 1)
		e.set.Logger.Warn("state could not be written", zap.Error(err))
	}
}

// protect asks the slo extension, or every extension that answers when none is named, for the attributes in use.
func (e *engine) protect(host component.Host) error {
	var attributes []string
	for id, ext := range host.GetExtensions() {
		p, ok := ext.(protector)
		if !ok || (e.cfg.SLO != nil && id != *e.cfg.SLO) {
			continue
		}
		attributes = append(attributes, p.ProtectedAttributes()...)
	}
	if e.cfg.SLO != nil {
		if _, ok := host.GetExtensions()[*e.cfg.SLO]; !ok {
			return fmt.Errorf("slo: extension %q is not configured", e.cfg.SLO)
		}
	}
	if len(attributes) > 0 {
		e.set.Logger.Info("protecting the attributes that objectives use", zap.Strings("attributes", attributes))
		e.limiter.Protect(attributes)
	}
	return nil
}

func (e *engine) stop(ctx context.Context) error {
	e.telemetry.Shutdown()
	if e.store == nil {
		return nil
	}
	return errors.Join(e.store.save(ctx, e.limiter), e.store.client.Close(ctx))
}

// consume runs one batch through the limiter. What the limiter learns from it stays when the next consumer refuses it: the sender
// sends it again, and then a cumulative point adds nothing, a level replaces itself, and a delta was forgotten with its batch.
func (e *engine) consume(ctx context.Context, md pmetric.Metrics, next consumer.Metrics) error {
	e.mu.Lock()
	now := e.now()
	e.limiter.Begin(now.UnixNano())
	e.batch.run(md)
	e.refresh(now)
	e.persist(ctx)
	tally := e.batch.tally
	if !tally.ordered() {
		e.mu.Unlock()
		err := hand(ctx, md, next, tally)
		if err == nil {
			e.count(ctx, tally)
		}
		return err
	}
	defer e.mu.Unlock()
	if err := hand(ctx, md, next, tally); err != nil {
		e.limiter.Failed()
		return err
	}
	e.limiter.Delivered()
	e.count(ctx, tally)
	e.countStats(ctx)
	return nil
}

// hand gives the batch to the next consumer, unless nothing is left of it.
func hand(ctx context.Context, md pmetric.Metrics, next consumer.Metrics, t tally) error {
	if t.received > 0 && t.sent == 0 {
		return nil
	}
	return next.ConsumeMetrics(ctx, md)
}

// count books a delivered batch: received = sent − marked + folded away + dropped.
func (e *engine) count(ctx context.Context, t tally) {
	tb := e.telemetry
	tb.ProcessorCardinalityPointsReceived.Add(ctx, t.received)
	tb.ProcessorCardinalityPointsSent.Add(ctx, t.sent)
	if t.marked > 0 {
		tb.ProcessorCardinalityPointsMarked.Add(ctx, t.marked)
	}
	if t.folded > 0 {
		tb.ProcessorCardinalityPointsFolded.Add(ctx, t.folded, howAttribute...)
	}
	if t.foldedWhole > 0 {
		tb.ProcessorCardinalityPointsFolded.Add(ctx, t.foldedWhole, howSeries...)
	}
	for reason, n := range t.dropped {
		if n > 0 {
			tb.ProcessorCardinalityPointsDropped.Add(ctx, n, forReason[reason]...)
		}
	}
}

// Sets of attributes of counters, made once.
var (
	howAttribute = counterOption("how", "attribute")
	howSeries    = counterOption("how", "series")
	forReason    = func() (all [limit.Reasons][]metric.AddOption) {
		for i := range all {
			all[i] = counterOption("reason", limit.Reason(i).String())
		}
		return all
	}()
)

func counterOption(key, value string) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))}
}

// countStats books what the limiter counted since the last time.
func (e *engine) countStats(ctx context.Context) {
	now, before := e.limiter.Stats(), e.counted
	e.counted = now
	tb := e.telemetry
	tb.ProcessorCardinalityResets.Add(ctx, int64(now.Resets-before.Resets))
	tb.ProcessorCardinalityBaselines.Add(ctx, int64(now.Baselined-before.Baselined))
	tb.ProcessorCardinalityDisplacements.Add(ctx, int64(now.Displaced-before.Displaced))
	tb.ProcessorCardinalityRulesDryRun.Add(ctx, int64(now.DryRun-before.DryRun))
}

// observe registers the gauges.
func (e *engine) observe() error {
	tb := e.telemetry
	return errors.Join(
		tb.RegisterProcessorCardinalityStateBytesCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(e.stats().Bytes)
			return nil
		}),
		tb.RegisterProcessorCardinalityStateBytesLimitCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(e.cfg.Limits.MemoryMiB) << 20)
			return nil
		}),
		tb.RegisterProcessorCardinalityStateItemsCallback(func(_ context.Context, o metric.Int64Observer) error {
			s := e.stats()
			for state, n := range map[string]int{
				"series": s.Series, "overflow": s.OverflowSeries, "groups": s.Groups, "streams": s.Streams, "metrics": s.Metrics,
			} {
				o.Observe(int64(n), metric.WithAttributes(attribute.String("state", state)))
			}
			return nil
		}),
		tb.RegisterProcessorCardinalitySeriesWantedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, r := range e.Offenders() {
				o.Observe(int64(r.Wanted), labels(&r))
			}
			return nil
		}),
		tb.RegisterProcessorCardinalitySeriesAdmittedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, r := range e.Offenders() {
				o.Observe(int64(r.Series), labels(&r))
			}
			return nil
		}),
		tb.RegisterProcessorCardinalityValuesWantedCallback(e.eachAttribute(func(a *limit.AttributeReport) float64 { return a.Wanted })),
		tb.RegisterProcessorCardinalityAttributeSavesCallback(e.eachAttribute(func(a *limit.AttributeReport) float64 { return a.Saves })),
	)
}

func labels(r *limit.Report) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("metric", r.Metric), attribute.String("scope", r.Scope))
}

func (e *engine) eachAttribute(value func(*limit.AttributeReport) float64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for _, r := range e.Offenders() {
			for _, a := range r.Attributes {
				o.Observe(int64(value(&a)), metric.WithAttributes(
					attribute.String("metric", r.Metric), attribute.String("scope", r.Scope), attribute.String("attribute", a.Attribute)))
			}
		}
		return nil
	}
}

func (e *engine) stats() limit.Stats { return e.view.Load().stats }

// Offenders reports the metrics that want most beyond what they get.
func (e *engine) Offenders() []limit.Report { return e.view.Load().demand.Metrics }

// refresh renews the view now and then.
func (e *engine) refresh(now time.Time) {
	if now.Sub(e.viewed) < refreshEvery && now.After(e.viewed) {
		return
	}
	e.viewed = now
	v := &view{stats: e.limiter.Stats(), demand: e.limiter.Demand(e.cfg.Offenders)}
	e.view.Store(v)
	if e.board == nil {
		return
	}
	body, err := json.Marshal(&v.demand)
	if err == nil {
		err = e.board.PublishSnapshot(limit.TopicOffenders, e.id.String(), body)
	}
	if err != nil {
		e.set.Logger.Warn("offenders could not be published", zap.Error(err))
	}
}
