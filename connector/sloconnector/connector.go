// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// registry holds one emitter per component id while an instance of it lives.
type registry struct {
	mu       sync.Mutex
	emitters map[component.ID]*emitter
}

var (
	_ connector.Traces  = (*instance)(nil)
	_ connector.Metrics = (*instance)(nil)
	_ connector.Logs    = (*instance)(nil)
)

// instance connects one pair of signals. It stands behind sli as an exporter and reads no payload: its place makes the Collector shut it
// down after the pipeline before it has drained, so that the last counts still leave.
type instance struct {
	registry *registry
	id       component.ID
	emitter  *emitter
	metrics  consumer.Metrics // one of these two
	logs     consumer.Logs
	attached bool
}

func (r *registry) instance(set connector.Settings, cfg component.Config, metrics consumer.Metrics, logs consumer.Logs) (*instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.emitters[set.ID]
	if !ok {
		var err error
		if e, err = newEmitter(set, cfg.(*Config)); err != nil {
			return nil, err
		}
		r.emitters[set.ID] = e
	}
	return &instance{registry: r, id: set.ID, emitter: e, metrics: metrics, logs: logs}, nil
}

// Start finds the book; the first instance to start begins to emit it.
func (i *instance) Start(_ context.Context, host component.Host) error {
	if err := i.emitter.attach(host, i); err != nil {
		return err
	}
	i.attached = true
	return nil
}

// Shutdown emits what is there, and the last instance ends the emitter.
func (i *instance) Shutdown(ctx context.Context) error {
	i.registry.mu.Lock()
	defer i.registry.mu.Unlock()
	if !i.attached {
		return nil
	}
	i.attached = false
	if last := i.emitter.detach(ctx, i); last && i.registry.emitters[i.id] == i.emitter {
		delete(i.registry.emitters, i.id)
	}
	return nil
}

// Capabilities says that nothing is changed.
func (*instance) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeTraces takes no notice of the spans: sli has counted them. It never fails, since a fan-out would have them sent again.
func (*instance) ConsumeTraces(context.Context, ptrace.Traces) error { return nil }

// ConsumeMetrics is ConsumeTraces for metrics.
func (*instance) ConsumeMetrics(context.Context, pmetric.Metrics) error { return nil }

// ConsumeLogs is ConsumeTraces for logs.
func (*instance) ConsumeLogs(context.Context, plog.Logs) error { return nil }
