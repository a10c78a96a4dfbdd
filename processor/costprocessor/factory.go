// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// NewFactory creates the factory of the cost processor. Processors of one component ID in several pipelines share their decisions and
// accounts.
func NewFactory() processor.Factory {
	r := &registry{engines: map[component.ID]*engine{}}
	return processor.NewFactory(metadata.Type, createDefaultConfig,
		processor.WithTraces(r.createTraces, metadata.TracesStability),
		processor.WithMetrics(r.createMetrics, metadata.MetricsStability),
		processor.WithLogs(r.createLogs, metadata.LogsStability),
	)
}

func (r *registry) createTraces(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Traces) (processor.Traces, error) {
	e, err := r.get(set, cfg.(*Config))
	if err != nil {
		return nil, err
	}
	return &tracesProcessor{base: base{e}, next: next}, nil
}

func (r *registry) createMetrics(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
	e, err := r.get(set, cfg.(*Config))
	if err != nil {
		return nil, err
	}
	return &metricsProcessor{base: base{e}, next: next}, nil
}

func (r *registry) createLogs(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Logs) (processor.Logs, error) {
	e, err := r.get(set, cfg.(*Config))
	if err != nil {
		return nil, err
	}
	return &logsProcessor{base: base{e}, next: next}, nil
}
