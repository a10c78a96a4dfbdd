// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/processor/sliprocessor/internal/metadata"
)

// NewFactory makes the factory of the sli processor.
func NewFactory() processor.Factory {
	return processor.NewFactory(
		metadata.Type, createDefaultConfig,
		processor.WithTraces(createTraces, metadata.TracesStability),
		processor.WithLogs(createLogs, metadata.LogsStability),
		processor.WithMetrics(createMetrics, metadata.MetricsStability),
	)
}

func createDefaultConfig() component.Config {
	return &Config{Mode: ModeCount, MaxStreams: defaultMaxStreams, MaxPoints: defaultMaxPoints}
}

func createTraces(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Traces) (processor.Traces, error) {
	base, err := newBase(cfg.(*Config), set)
	if err != nil {
		return nil, err
	}
	return &tracesProcessor{base: base, next: next}, nil
}

func createLogs(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Logs) (processor.Logs, error) {
	base, err := newBase(cfg.(*Config), set)
	if err != nil {
		return nil, err
	}
	return &logsProcessor{base: base, next: next}, nil
}

func createMetrics(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
	base, err := newBase(cfg.(*Config), set)
	if err != nil {
		return nil, err
	}
	return newMetricsProcessor(base, next), nil
}
