// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadata"
)

// NewFactory returns the factory of the optimizer connector. Its pipelines of one component id share one engine.
func NewFactory() connector.Factory {
	engines := newRegistry(time.Now)
	create := func(set connector.Settings, cfg component.Config, next consumer.Logs) (*instance, error) {
		return engines.instance(set, cfg.(*Config), next)
	}
	return connector.NewFactory(
		metadata.Type,
		createDefaultConfig,
		connector.WithTracesToLogs(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Traces, error) {
			return create(set, cfg, next)
		}, metadata.TracesToLogsStability),
		connector.WithMetricsToLogs(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Metrics, error) {
			return create(set, cfg, next)
		}, metadata.MetricsToLogsStability),
		connector.WithLogsToLogs(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Logs, error) {
			return create(set, cfg, next)
		}, metadata.LogsToLogsStability),
	)
}
