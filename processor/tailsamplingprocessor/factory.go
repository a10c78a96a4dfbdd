// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

// NewFactory makes the factory of tail_sampling.
func NewFactory() processor.Factory {
	open := &journals{open: make(map[component.ID]struct{})}
	same := &groups{byID: make(map[component.ID]*shared)}
	traces := func(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Traces) (processor.Traces, error) {
		return newSampler(set, cfg.(*Config), next, open, same)
	}
	logs := func(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Logs) (processor.Logs, error) {
		return newLogSampler(set, cfg.(*Config), next, same)
	}
	return processor.NewFactory(metadata.Type, createDefaultConfig,
		processor.WithTraces(traces, metadata.TracesStability), processor.WithLogs(logs, metadata.LogsStability))
}

func createDefaultConfig() component.Config {
	return &Config{
		DecisionWait:        30 * time.Second,
		NumTraces:           50_000,
		NumShards:           1,
		SamplingStrategy:    strategyTraceComplete,
		MemoryLimitMiB:      512,
		RememberedDecisions: 1_000_000,
		WriteTracestate:     true,
		KeepCited:           true,
		Logs:                LogsConfig{MemoryLimitMiB: 64, Undecided: undecidedKeep},
	}
}

// componentSettings serve to compile policies where only errors matter.
func componentSettings() component.TelemetrySettings {
	return component.TelemetrySettings{
		Logger:         zap.NewNop(),
		MeterProvider:  metricnoop.NewMeterProvider(),
		TracerProvider: tracenoop.NewTracerProvider(),
	}
}
