// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
)

// registry holds one engine for each component id, shared by the instances that the Collector makes of it for each pair of signals.
type registry struct {
	clock func() time.Time

	mu      sync.Mutex
	engines map[component.ID]*shared
}

// shared is an engine with the number of instances that were created and not shut down, and of those that were started.
type shared struct {
	*engine
	created, started int
}

func newRegistry(clock func() time.Time) *registry {
	return &registry{clock: clock, engines: map[component.ID]*shared{}}
}

func (r *registry) instance(set connector.Settings, cfg *Config, next consumer.Logs) (*instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.engines[set.ID]
	if s == nil {
		e, err := newEngine(set, cfg, r.clock)
		if err != nil {
			return nil, err
		}
		s = &shared{engine: e}
		r.engines[set.ID] = s
	}
	s.created++
	return &instance{id: set.ID, registry: r, engine: s.engine, next: next}, nil
}

// start opens the engine with the first instance that starts.
func (r *registry) start(ctx context.Context, id component.ID, host component.Host, next consumer.Logs) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.engines[id]
	if s.started == 0 {
		if err := s.open(ctx, host, next); err != nil {
			return err
		}
	}
	s.started++
	return nil
}

// shutdown closes the engine with the last instance that stops. All instances of a connector lead to the same pipelines, so the engine
// may go on sending through the first one's consumer until then.
func (r *registry) shutdown(ctx context.Context, id component.ID, wasStarted bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.engines[id]
	s.created--
	var err error
	if wasStarted {
		s.started--
		if s.started == 0 {
			err = s.close(ctx)
		}
	}
	if s.created == 0 {
		delete(r.engines, id)
		s.release()
	}
	return err
}
