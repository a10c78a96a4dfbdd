// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/exporter/optimizationexporter/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/signallog"
)

var _ exporter.Logs = (*optimizationExporter)(nil)

// optimizationExporter gives every signal to every sink. Each sink has a queue, retries and a timeout of its own, so that one which
// fails neither holds up the others nor makes them get a signal twice.
type optimizationExporter struct {
	log       *zap.Logger
	telemetry *metadata.TelemetryBuilder
	// sinks are the exporters around the sinks, in a fixed order.
	sinks []exporter.Logs
	// end gives up what is being sent.
	end context.CancelFunc
}

// drainTime is how long a shutdown goes on sending what is queued. A receiver that does not answer would otherwise hold the process
// up for a timeout a signal.
const drainTime = 5 * time.Second

func newExporter(ctx context.Context, set exporter.Settings, cfg *Config, clock func() time.Time) (*optimizationExporter, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("optimization exporter telemetry: %w", err)
	}
	ending, end := context.WithCancel(context.Background())
	e := &optimizationExporter{log: set.Logger, telemetry: telemetry, end: end}
	sinks, err := newSinks(set, cfg, clock, telemetry)
	if err != nil {
		end()
		return nil, err
	}
	for _, s := range sinks {
		d := &delivery{sink: s, log: set.Logger.With(zap.String("sink", s.name())), telemetry: telemetry, ending: ending}
		helper, err := exporterhelper.NewLogs(ctx, sinkSettings(set, s.name()), cfg, d.push,
			exporterhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
			exporterhelper.WithTimeout(cfg.TimeoutConfig),
			exporterhelper.WithRetry(cfg.RetryConfig),
			exporterhelper.WithQueue(cfg.QueueConfig),
			exporterhelper.WithStart(s.start),
			exporterhelper.WithShutdown(s.shutdown),
		)
		if err != nil {
			end()
			return nil, err
		}
		e.sinks = append(e.sinks, helper)
	}
	return e, nil
}

func newSinks(set exporter.Settings, cfg *Config, clock func() time.Time, telemetry *metadata.TelemetryBuilder) ([]sink, error) {
	var sinks []sink
	if cfg.CloudEvents.HasValue() {
		s, err := newCloudEvents(cfg.CloudEvents.Get(), set, clock)
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, s)
	}
	if cfg.Alertmanager.HasValue() {
		s := newAlertmanager(cfg.Alertmanager.Get(), set, clock)
		err := telemetry.RegisterOptimizationExporterAlertsActiveCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(s.activeAlerts()))
			return nil
		})
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, s)
	}
	if cfg.File.HasValue() {
		sinks = append(sinks, newFile(cfg.File.Get()))
	}
	return sinks, nil
}

// sinkSettings gives the sink an id of its own, by which its queue in storage and its metrics are told from those of the others.
func sinkSettings(set exporter.Settings, sinkName string) exporter.Settings {
	if name := set.ID.Name(); name != "" {
		sinkName = name + "_" + sinkName
	}
	set.ID = component.NewIDWithName(set.ID.Type(), sinkName)
	return set
}

// Capabilities says that the data is only read.
func (*optimizationExporter) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start starts all sinks, or none.
func (e *optimizationExporter) Start(ctx context.Context, host component.Host) error {
	for i, s := range e.sinks {
		if err := s.Start(ctx, host); err != nil {
			for _, started := range e.sinks[:i] {
				err = errors.Join(err, started.Shutdown(ctx))
			}
			e.sinks = nil
			return err
		}
	}
	return nil
}

// Shutdown empties the queues, for as long as drainTime, and stops all sinks.
func (e *optimizationExporter) Shutdown(ctx context.Context) error {
	timer := time.AfterFunc(drainTime, e.end)
	defer timer.Stop()
	defer e.end()
	var errs error
	for _, s := range e.sinks {
		errs = errors.Join(errs, s.Shutdown(ctx))
	}
	e.sinks = nil
	e.telemetry.Shutdown()
	return errs
}

// ConsumeLogs hands the signals in logs to every sink. It fails only if every sink refused them: a sender that tries again after a
// part of them took the signals would make those get them twice. What one sink refuses is counted by that sink's exporter metrics.
func (e *optimizationExporter) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	logs = e.signalsOnly(ctx, logs)
	if logs.LogRecordCount() == 0 {
		return nil
	}
	var errs error
	refused := 0
	for _, s := range e.sinks {
		if err := s.ConsumeLogs(ctx, logs); err != nil {
			refused++
			errs = errors.Join(errs, err)
		}
	}
	if refused < len(e.sinks) {
		if errs != nil {
			e.log.Error("a sink refused signals that others took", zap.Error(errs))
		}
		return nil
	}
	return errs
}

// signalsOnly returns logs without the records that are not valid signals, which are counted by reason. It copies only if there are
// any.
func (e *optimizationExporter) signalsOnly(ctx context.Context, logs plog.Logs) plog.Logs {
	bad := 0
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if _, err := signallog.Read(rec); err != nil {
					bad++
					reason := reasonOf(err)
					e.telemetry.OptimizationExporterRecordsDropped.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
					e.log.Debug("log record is not sent", zap.String("reason", reason), zap.Error(err))
				}
			}
		}
	}
	if bad == 0 {
		return logs
	}
	signals := plog.NewLogs()
	logs.CopyTo(signals)
	for _, rl := range signals.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			sl.LogRecords().RemoveIf(func(rec plog.LogRecord) bool {
				_, err := signallog.Read(rec)
				return err != nil
			})
		}
	}
	return signals
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, signallog.ErrNotSignal):
		return "not_signal"
	case errors.Is(err, signallog.ErrTooLarge):
		return "too_large"
	case errors.Is(err, signallog.ErrMismatch):
		return "kind_mismatch"
	default:
		return "bad_envelope"
	}
}
