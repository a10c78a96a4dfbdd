// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/extension/sloextension/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// tick is how often event time may move on in silence.
const tick = time.Second

var errNotStorage = errors.New("is not a storage extension")

var (
	_ extension.Extension             = (*sloExtension)(nil)
	_ extensioncapabilities.Dependent = (*sloExtension)(nil)
	_ Book                            = (*sloExtension)(nil)
)

// sloExtension holds the book and keeps it across restarts.
type sloExtension struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	engine    *slo.Engine
	clock     func() time.Time

	defined definitions    // those in force; after the start only the loop has them
	look    string         // what the last look at the files found
	broken  string         // why the files cannot be used, as it was last logged
	client  storage.Client // nil without storage
	asked   atomic.Uint64  // calls of Sync
	failed  sync.Once      // the first failure to write the journal is logged

	writing sync.Mutex // holds writes apart, and guards served
	served  uint64     // calls of Sync whose records are written

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newExtension(cfg *Config, set extension.Settings) (*sloExtension, error) {
	settings, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	defined, err := cfg.read()
	if err != nil {
		return nil, err
	}
	settings.Maintenance = defined.maintenance
	engine, err := slo.New(settings, defined.objectives)
	if err != nil {
		return nil, err
	}
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	x := &sloExtension{cfg: cfg, id: set.ID, logger: set.Logger, telemetry: telemetry, engine: engine, clock: time.Now, defined: defined}
	return x, x.observe()
}

// ProtectedAttributes are the attributes that objectives group by or match on, sorted. Whoever folds attributes away asks for them.
func (x *sloExtension) ProtectedAttributes() []string {
	var attributes []string
	for _, o := range x.engine.Objectives() {
		attributes = append(attributes, o.GroupBy...)
		attributes = append(attributes, o.Indicator.Attributes()...)
	}
	slices.Sort(attributes)
	return slices.Compact(attributes)
}

// Engine is the live book.
func (x *sloExtension) Engine() *slo.Engine { return x.engine }

// CitedTraces returns the traces that alerts named since a time, and those they would name now. The sampler keeps them.
func (x *sloExtension) CitedTraces(since time.Time) [][16]byte {
	cited := x.engine.Cited(since)
	ids := make([][16]byte, len(cited))
	for i, id := range cited {
		ids[i] = id
	}
	return ids
}

// Statuses implements slo.StatusReader.
func (x *sloExtension) Statuses() []slo.Status { return x.engine.Statuses() }

// Dependencies makes the Collector start the storage extension first.
func (x *sloExtension) Dependencies() []component.ID {
	if x.cfg.Storage == nil {
		return nil
	}
	return []component.ID{*x.cfg.Storage}
}

// Start restores the book and begins to keep it.
func (x *sloExtension) Start(ctx context.Context, host component.Host) error {
	if x.cfg.Storage != nil {
		if err := x.restore(ctx, host); err != nil {
			return err
		}
	}
	x.warn(x.defined.warnings)
	run, cancel := context.WithCancel(context.Background())
	x.cancel = cancel
	x.done.Go(func() { x.run(run) })
	if p := x.engine.Settings().Profile; p.Name == slo.ProfileDemo {
		x.logger.Warn("The alert profile demo is for demonstrations: it pages within minutes and guards no real budget.",
			zap.Stringer("short", p.Rules[0].Short), zap.Stringer("long", p.Rules[0].Long))
	}
	return nil
}

// Shutdown writes the last snapshot.
func (x *sloExtension) Shutdown(ctx context.Context) error {
	if x.cancel != nil {
		x.cancel()
		x.done.Wait()
	}
	var err error
	if x.client != nil {
		err = errors.Join(x.save(ctx), x.client.Close(ctx))
	}
	x.telemetry.Shutdown()
	return err
}

func (x *sloExtension) run(ctx context.Context) {
	second := time.NewTicker(tick)
	defer second.Stop()
	snapshot := time.NewTicker(x.cfg.SnapshotInterval)
	defer snapshot.Stop()
	reload := x.reloads()
	defer reload.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			x.engine.Advance(x.clock())
			x.Sync(ctx)
		case <-reload.C:
			x.reload(ctx)
		case <-snapshot.C:
			if x.client == nil {
				continue
			}
			if err := x.save(ctx); err != nil && ctx.Err() == nil {
				x.logger.Error("The book could not be saved; the next snapshot will be a whole one.", zap.Error(err))
			}
		}
	}
}

// observe wires the book's own totals to the metrics.
func (x *sloExtension) observe() error {
	total := func(read func(slo.Stats) uint64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(read(x.engine.Stats())))
			return nil
		}
	}
	return errors.Join(
		x.telemetry.RegisterExtensionSloGroupsCallback(func(_ context.Context, o metric.Int64Observer) error {
			groups, _ := x.engine.Fill()
			for name, n := range groups {
				o.Observe(int64(n), metric.WithAttributes(attribute.String(otelattr.SLOName, name)))
			}
			return nil
		}),
		x.telemetry.RegisterExtensionSloSourcesCallback(func(_ context.Context, o metric.Int64Observer) error {
			_, sources := x.engine.Fill()
			o.Observe(int64(sources))
			return nil
		}),
		x.telemetry.RegisterExtensionSloNotComputableCallback(func(_ context.Context, o metric.Int64Observer) error {
			n := int64(0)
			for _, objective := range x.engine.Objectives() {
				if objective.NotComputable != "" {
					n++
				}
			}
			o.Observe(n)
			return nil
		}),
		x.telemetry.RegisterExtensionSloAuditViolationsCallback(func(_ context.Context, o metric.Int64Observer) error {
			found, _, _ := x.engine.Audit()
			return byCheck(o, found)
		}),
		x.telemetry.RegisterExtensionSloAuditOpenCallback(func(_ context.Context, o metric.Int64Observer) error {
			_, open, _ := x.engine.Audit()
			return byCheck(o, open)
		}),
		x.telemetry.RegisterExtensionSloGroupsEvictedCallback(total(func(s slo.Stats) uint64 { return s.GroupsEvicted })),
		x.telemetry.RegisterExtensionSloSourcesEvictedCallback(total(func(s slo.Stats) uint64 { return s.SourcesEvicted })),
		x.telemetry.RegisterExtensionSloEventsExcludedCallback(total(func(s slo.Stats) uint64 { return s.EventsExcluded })),
		x.telemetry.RegisterExtensionSloEventsInDoubtCallback(total(func(s slo.Stats) uint64 { return s.EventsInDoubt })),
		x.telemetry.RegisterExtensionSloSlicesDroppedCallback(total(func(s slo.Stats) uint64 { return s.SlicesDropped })),
		x.telemetry.RegisterExtensionSloSlicesTooOldCallback(total(func(s slo.Stats) uint64 { return s.CommittedTooOld })),
		x.telemetry.RegisterExtensionSloTransitionsDroppedCallback(total(func(s slo.Stats) uint64 { return s.TransitionsDropped })),
	)
}

func byCheck(o metric.Int64Observer, n map[slo.Check]uint64) error {
	for check, n := range n {
		o.Observe(int64(n), metric.WithAttributes(attribute.String("check", string(check))))
	}
	return nil
}
