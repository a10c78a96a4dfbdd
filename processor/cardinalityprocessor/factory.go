// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/processor/cardinalityprocessor/internal/metadata"
)

// NewFactory makes the factory of the cardinality processor. Its instances with one component ID share one engine: a processor
// exists once per pipeline, its state once.
func NewFactory() processor.Factory {
	r := &registry{engines: map[component.ID]*engine{}, now: time.Now}
	return processor.NewFactory(metadata.Type, createDefaultConfig, processor.WithMetrics(r.createMetrics, metadata.MetricsStability))
}

func createDefaultConfig() component.Config {
	return &Config{
		Scope:  []string{"service.name"},
		Window: 5 * time.Minute,
		Limits: LimitsConfig{
			Attribute: 200, Series: 2000, Total: 200_000, OverflowSeries: 100, Metrics: 20_000, AttributeKeys: 64, MemoryMiB: 256,
		},
		Displacement: 2,
		InitialValue: "auto",
		WarmUp:       2 * time.Minute,
		MaxStale:     5 * time.Minute,
		Retention:    time.Hour,
		MaxFuture:    time.Minute,
		Exemplars:    8,
		MaxBuckets:   160,
		Offenders:    20,
	}
}

// registry holds the engines by component ID.
type registry struct {
	mu      sync.Mutex
	engines map[component.ID]*engine
	now     func() time.Time
}

func (r *registry) createMetrics(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
	return &cardinality{registry: r, set: set, cfg: cfg.(*Config), next: next}, nil
}

// acquire returns the engine of an ID, started by the first that asks.
func (r *registry) acquire(ctx context.Context, host component.Host, set processor.Settings, cfg *Config) (*engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.engines[set.ID]
	if e == nil {
		e = newEngine(cfg, set, r.now)
		if err := e.start(ctx, host); err != nil {
			return nil, err
		}
		r.engines[set.ID] = e
	}
	e.users++
	return e, nil
}

// release stops the engine after its last user.
func (r *registry) release(ctx context.Context, e *engine) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.users--; e.users > 0 {
		return nil
	}
	delete(r.engines, e.id)
	return e.stop(ctx)
}
