// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/metadata"
)

// NewFactory returns the factory of the `replay` receiver. The receivers of one component ID share one player, so that the signals are merged.
func NewFactory() receiver.Factory {
	players := newRegistry()
	return receiver.NewFactory(
		metadata.Type,
		func() component.Config { return createDefaultConfig() },
		receiver.WithTraces(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Traces) (receiver.Traces, error) {
			return players.join(set, cfg.(*Config), signalTraces, func(ctx context.Context, b *batch) error {
				return next.ConsumeTraces(ctx, b.traces)
			})
		}, metadata.TracesStability),
		receiver.WithMetrics(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
			return players.join(set, cfg.(*Config), signalMetrics, func(ctx context.Context, b *batch) error {
				return next.ConsumeMetrics(ctx, b.metrics)
			})
		}, metadata.MetricsStability),
		receiver.WithLogs(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
			return players.join(set, cfg.(*Config), signalLogs, func(ctx context.Context, b *batch) error {
				return next.ConsumeLogs(ctx, b.logs)
			})
		}, metadata.LogsStability),
	)
}
