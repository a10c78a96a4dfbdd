// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/extension/sloextension"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/sliprocessor/internal/metadata"
)

// base is what the processors of all signals share.
type base struct {
	cfg       *Config
	telemetry *metadata.TelemetryBuilder
	logger    *zap.Logger
	instance  string // service.instance.id of this collector
	settings  component.TelemetrySettings
	clock     func() time.Time

	engine    *slo.Engine
	commit    func(context.Context, *slo.Tally, time.Time)
	plan      atomic.Pointer[plan]
	compiling sync.Mutex // holds compilations apart
	judges    sync.Pool
	warned    [reasons]sync.Once
	// spreadAfter is the longest stretch, in ns, whose events are taken to belong to its end.
	spreadAfter int64
}

func newBase(cfg *Config, set processor.Settings) (*base, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	b := &base{cfg: cfg, telemetry: telemetry, logger: set.Logger, clock: time.Now, settings: set.TelemetrySettings}
	if id, ok := set.Resource.Attributes().Get(otelattr.ServiceInstanceID); ok {
		b.instance = id.AsString()
	}
	return b, nil
}

// Start finds the book. Without one the processor would silently do nothing, so it refuses to start.
func (b *base) Start(_ context.Context, host component.Host) error {
	book, err := sloextension.Find(host, b.cfg.SLO)
	if err != nil {
		return err
	}
	if err := b.use(book.Engine()); err != nil {
		return err
	}
	b.commit = book.Commit
	return nil
}

func (b *base) use(engine *slo.Engine) error {
	b.commit = func(_ context.Context, t *slo.Tally, now time.Time) { engine.Commit(t, now) }
	b.engine = engine
	b.spreadAfter = int64(engine.Settings().AbsentAfter)
	return b.compile()
}

// compile makes a plan of the book's objectives.
func (b *base) compile() error {
	generation := b.engine.Generation()
	p, err := newPlan(b.engine.Objectives(), b.engine.Settings().Contributors, b.settings)
	if err != nil {
		return err
	}
	p.generation = generation
	b.plan.Store(p)
	return nil
}

// compiled is the plan of the objectives in force. The book has checked them, so that compiling them anew cannot fail; should it, the old
// plan goes on: what it counts for objectives that are gone is not counted.
func (b *base) compiled() *plan {
	p := b.plan.Load()
	if p.generation == b.engine.Generation() || !b.compiling.TryLock() {
		return p
	}
	defer b.compiling.Unlock()
	if err := b.compile(); err != nil {
		b.logger.Error("Changed objectives cannot be compiled; the ones before stay in force here.", zap.Error(err))
	}
	return b.plan.Load()
}

// Shutdown ends the telemetry.
func (b *base) Shutdown(context.Context) error {
	b.telemetry.Shutdown()
	return nil
}

// Capabilities says that marks are written into the data.
func (*base) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (b *base) counting() bool { return b.cfg.Mode == ModeCount }

func (b *base) judge() *judge {
	p := b.compiled()
	j, ok := b.judges.Get().(*judge)
	if !ok || j.plan != p {
		j = newJudge(p, b.engine)
	}
	j.reset()
	return j
}

// finish commits a batch if it was delivered: what failed will be sent again, and must not count twice.
func (b *base) finish(ctx context.Context, j *judge, delivered error) error {
	defer b.judges.Put(j)
	if delivered != nil {
		b.telemetry.ProcessorSliDiscarded.Add(ctx, j.outcome.items())
		return delivered
	}
	if b.cfg.Mode != ModeMark {
		b.commit(ctx, j.tally, b.clock())
	}
	b.record(ctx, &j.outcome)
	return nil
}

var (
	outcomeCounted = metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", "counted")))
	outcomeIgnored = metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", "ignored")))
	outcomeRefused = metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", "refused")))
	verdictGood    = metric.WithAttributeSet(attribute.NewSet(attribute.String("verdict", "good")))
	verdictBad     = metric.WithAttributeSet(attribute.NewSet(attribute.String("verdict", "bad")))
)

func (b *base) record(ctx context.Context, o *outcome) {
	refused := int64(0)
	for r, n := range o.refused {
		if n > 0 {
			refused += n
			if reason(r) == repeated {
				b.telemetry.ProcessorSliRefused.Add(ctx, n, metric.WithAttributes(attribute.String("reason", reasonNames[r])))
				continue // as it should be
			}
			b.warned[r].Do(func() {
				b.logger.Warn("Some items cannot be judged and count in no budget. More of the same are only counted, in otelcol_processor_sli_refused.",
					zap.String("reason", reasonNames[r]), zap.Int64("items", n))
			})
			b.telemetry.ProcessorSliRefused.Add(ctx, n, metric.WithAttributes(attribute.String("reason", reasonNames[r])))
		}
	}
	for _, add := range []struct {
		counter metric.Int64Counter
		n       int64
		option  metric.AddOption
	}{
		{b.telemetry.ProcessorSliItems, o.counted, outcomeCounted},
		{b.telemetry.ProcessorSliItems, o.ignored, outcomeIgnored},
		{b.telemetry.ProcessorSliItems, refused, outcomeRefused},
		{b.telemetry.ProcessorSliEvents, o.good, verdictGood},
		{b.telemetry.ProcessorSliEvents, o.bad, verdictBad},
	} {
		if add.n > 0 {
			add.counter.Add(ctx, add.n, add.option)
		}
	}
	if o.excess > 0 {
		b.telemetry.ProcessorSliExcess.Add(ctx, o.excess)
	}
	if o.stripped > 0 {
		b.telemetry.ProcessorSliMarksStripped.Add(ctx, o.stripped)
	}
}
