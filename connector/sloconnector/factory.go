// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"

	"github.com/pitwall-io/pitwall/connector/sloconnector/internal/metadata"
)

// NewFactory makes the factory of the slo connector. The Collector makes one instance per pair of signals it connects; all instances
// of one component id share one emitter, so that the book leaves once.
func NewFactory() connector.Factory {
	r := &registry{emitters: map[component.ID]*emitter{}}
	return connector.NewFactory(
		metadata.Type, createDefaultConfig,
		connector.WithTracesToMetrics(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics) (connector.Traces, error) {
			return r.instance(set, cfg, next, nil)
		}, metadata.TracesToMetricsStability),
		connector.WithTracesToLogs(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Traces, error) {
			return r.instance(set, cfg, nil, next)
		}, metadata.TracesToLogsStability),
		connector.WithMetricsToMetrics(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics) (connector.Metrics, error) {
			return r.instance(set, cfg, next, nil)
		}, metadata.MetricsToMetricsStability),
		connector.WithMetricsToLogs(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Metrics, error) {
			return r.instance(set, cfg, nil, next)
		}, metadata.MetricsToLogsStability),
		connector.WithLogsToMetrics(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics) (connector.Logs, error) {
			return r.instance(set, cfg, next, nil)
		}, metadata.LogsToMetricsStability),
		connector.WithLogsToLogs(func(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Logs, error) {
			return r.instance(set, cfg, nil, next)
		}, metadata.LogsToLogsStability),
	)
}

func createDefaultConfig() component.Config { return &Config{FlushInterval: 10 * time.Second} }
