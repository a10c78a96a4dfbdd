// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/exporter/optimizationexporter/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/signal/signallog"
)

// pendingAttribute marks, on the copy of a record that is offered again, the sinks that still have to take it. It lives between the
// attempts of one delivery only and never leaves the process.
const pendingAttribute = "optimization.export.pending"

// sink is one place to which signals go. send delivers one signal; its error is a *sinkError that says what to do next.
type sink interface {
	name() string
	start(ctx context.Context, host component.Host) error
	send(ctx context.Context, e signal.Envelope) error
	shutdown(ctx context.Context) error
}

// optimizationExporter reads signals from log records and gives each to every sink.
type optimizationExporter struct {
	log       *zap.Logger
	telemetry *metadata.TelemetryBuilder
	sinks     []sink
}

func newExporter(set exporter.Settings, cfg *Config, clock func() time.Time) (*optimizationExporter, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("optimization exporter telemetry: %w", err)
	}
	e := &optimizationExporter{log: set.Logger, telemetry: telemetry}
	if cfg.CloudEvents.HasValue() {
		s, err := newCloudEvents(cfg.CloudEvents.Get(), set, clock)
		if err != nil {
			return nil, err
		}
		e.sinks = append(e.sinks, s)
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
		e.sinks = append(e.sinks, s)
	}
	if cfg.File.HasValue() {
		e.sinks = append(e.sinks, newFile(cfg.File.Get()))
	}
	return e, nil
}

func (e *optimizationExporter) start(ctx context.Context, host component.Host) error {
	for i, s := range e.sinks {
		if err := s.start(ctx, host); err != nil {
			errs := fmt.Errorf("%s: %w", s.name(), err)
			for _, started := range e.sinks[:i] {
				errs = errors.Join(errs, started.shutdown(ctx))
			}
			return errs
		}
	}
	return nil
}

func (e *optimizationExporter) shutdown(ctx context.Context) error {
	var errs error
	for _, s := range e.sinks {
		errs = errors.Join(errs, s.shutdown(ctx))
	}
	e.telemetry.Shutdown()
	return errs
}

// push gives every signal in logs to every sink. It returns an error that holds only the records which at least one sink is to be
// offered again, each marked with those sinks: a sink that took a signal does not get it twice because another one failed.
func (e *optimizationExporter) push(ctx context.Context, logs plog.Logs) error {
	again := plog.NewLogs()
	var retryErr, permanentErr error
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				envelope, ok := e.read(ctx, rec)
				if !ok {
					continue
				}
				pending, err, permanent := e.deliver(ctx, envelope, rec)
				permanentErr = errors.Join(permanentErr, permanent)
				if len(pending) > 0 {
					retryErr = longerWait(retryErr, err)
					keep(again, rl, sl, rec, pending)
				}
			}
		}
	}
	if retryErr != nil {
		if permanentErr != nil {
			e.log.Error("signals were given up", zap.Error(permanentErr))
		}
		return consumererror.NewLogs(asThrottle(retryErr), again)
	}
	if permanentErr != nil {
		return consumererror.NewPermanent(permanentErr)
	}
	return nil
}

// read returns the signal in a record; a record without one is counted with the reason.
func (e *optimizationExporter) read(ctx context.Context, rec plog.LogRecord) (signal.Envelope, bool) {
	envelope, err := signallog.Read(rec)
	if err == nil {
		return envelope, true
	}
	reason := "bad_envelope"
	switch {
	case errors.Is(err, signallog.ErrNotSignal):
		reason = "not_signal"
	case errors.Is(err, signallog.ErrTooLarge):
		reason = "too_large"
	case errors.Is(err, signallog.ErrMismatch):
		reason = "kind_mismatch"
	}
	e.telemetry.OptimizationExporterRecordsDropped.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
	e.log.Debug("log record is not sent", zap.String("reason", reason), zap.Error(err))
	return signal.Envelope{}, false
}

// deliver gives one signal to the sinks that have not taken it yet. It returns the names of those to be offered it again.
func (e *optimizationExporter) deliver(ctx context.Context, envelope signal.Envelope, rec plog.LogRecord) (pending []string, retry, permanent error) {
	wanted := e.pendingSinks(rec)
	for _, s := range e.sinks {
		if !slices.Contains(wanted, s.name()) {
			continue
		}
		err := s.send(ctx, envelope)
		outcome := outcomeOf(err)
		e.count(ctx, s.name(), outcome)
		switch {
		case err == nil:
		case outcome == outcomeRetry:
			pending = append(pending, s.name())
			retry = longerWait(retry, fmt.Errorf("%s: %w", s.name(), err))
		default:
			permanent = errors.Join(permanent, fmt.Errorf("%s: signal %s: %w", s.name(), envelope.ID, err))
		}
	}
	return pending, retry, permanent
}

func (e *optimizationExporter) count(ctx context.Context, sinkName, outcome string) {
	e.telemetry.OptimizationExporterSignals.Add(ctx, 1, metric.WithAttributes(
		attribute.String("sink", sinkName), attribute.String("outcome", outcome)))
}

// pendingSinks returns the sinks a record is for: those it is marked with, or all of them. A mark that names no sink of ours did not
// come from us.
func (e *optimizationExporter) pendingSinks(rec plog.LogRecord) []string {
	var all, marked []string
	mark, isMarked := rec.Attributes().Get(pendingAttribute)
	for _, s := range e.sinks {
		all = append(all, s.name())
		if isMarked && holds(mark, s.name()) {
			marked = append(marked, s.name())
		}
	}
	if len(marked) > 0 {
		return marked
	}
	return all
}
