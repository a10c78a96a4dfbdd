// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/exporter/optimizationexporter/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/signallog"
)

// sink is one place to which signals go. send delivers one signal; its error says, through outcomeOf and waitOf, what to do next.
type sink interface {
	name() string
	start(ctx context.Context, host component.Host) error
	send(ctx context.Context, e signal.Envelope) error
	shutdown(ctx context.Context) error
}

// The outcomes of one attempt at one sink. They are values of the component's metrics.
const (
	outcomeSent         = "sent"
	outcomeRetry        = "retry"
	outcomeRejected     = "rejected"
	outcomeGone         = "gone"
	outcomeRedirected   = "redirected"
	outcomeEncodeFailed = "encode_failed"
)

// sinkError says why a sink did not take a signal and what follows from it.
type sinkError struct {
	outcome string
	// wait is how long the receiver asked to be left alone; zero when it did not.
	wait time.Duration
	err  error
}

func (e *sinkError) Error() string { return e.err.Error() }

func (e *sinkError) Unwrap() error { return e.err }

func outcomeOf(err error) string {
	if err == nil {
		return outcomeSent
	}
	var s *sinkError
	if errors.As(err, &s) {
		return s.outcome
	}
	return outcomeRetry
}

func waitOf(err error) time.Duration {
	var s *sinkError
	if errors.As(err, &s) {
		return s.wait
	}
	return 0
}

// delivery gives signals to one sink, in order.
type delivery struct {
	sink      sink
	log       *zap.Logger
	telemetry *metadata.TelemetryBuilder
	// ending is done when a shutdown has waited long enough: attempts under way are given up then, and no more are made.
	ending context.Context
}

// errEnding says that a signal was not tried because the shutdown's time is up. A queue in storage keeps it for the next start.
var errEnding = errors.New("the exporter is shutting down")

// push sends the signals one after the other. At the first that has to be tried again it stops, and returns that one and those after
// it for the next attempt: the envelopes of one signal must arrive in order. A signal that is given up does not stop the others.
func (d *delivery) push(ctx context.Context, logs plog.Logs) error {
	if d.ending.Err() != nil {
		return errEnding
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	rest := plog.NewLogs()
	var retry, permanent error
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if retry != nil {
					keep(rest, rl, sl, rec)
					continue
				}
				envelope, err := signallog.Read(rec)
				if err != nil {
					permanent = errors.Join(permanent, err)
					continue
				}
				err = d.sink.send(ctx, envelope)
				outcome := outcomeOf(err)
				d.telemetry.OptimizationExporterSignals.Add(ctx, 1, metric.WithAttributes(
					attribute.String("sink", d.sink.name()), attribute.String("outcome", outcome)))
				switch {
				case err == nil:
				case outcome == outcomeRetry:
					retry = err
					keep(rest, rl, sl, rec)
				default:
					permanent = errors.Join(permanent, fmt.Errorf("signal %s: %w", envelope.ID, err))
				}
			}
		}
	}
	if retry == nil {
		if permanent != nil {
			return consumererror.NewPermanent(permanent)
		}
		return nil
	}
	if permanent != nil {
		d.log.Error("signals were given up", zap.Error(permanent))
	}
	return consumererror.NewLogs(asThrottle(retry), rest)
}

// asThrottle tells the retry sender how long to wait, where a receiver said so.
func asThrottle(err error) error {
	if wait := waitOf(err); wait > 0 {
		return exporterhelper.NewThrottleRetry(err, wait)
	}
	return err
}

// maxWait bounds what a receiver may ask for.
const maxWait = time.Hour

// retryAfter reads a Retry-After header: seconds, or a date (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return min(max(time.Duration(seconds)*time.Second, 0), maxWait)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxWait)
	}
	return 0
}

// keep copies a record with its resource and scope.
func keep(to plog.Logs, rl plog.ResourceLogs, sl plog.ScopeLogs, rec plog.LogRecord) {
	newRL := to.ResourceLogs().AppendEmpty()
	rl.Resource().CopyTo(newRL.Resource())
	newRL.SetSchemaUrl(rl.SchemaUrl())
	newSL := newRL.ScopeLogs().AppendEmpty()
	sl.Scope().CopyTo(newSL.Scope())
	newSL.SetSchemaUrl(sl.SchemaUrl())
	rec.CopyTo(newSL.LogRecords().AppendEmpty())
}
