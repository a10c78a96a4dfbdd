// SPDX-License-Identifier: Apache-2.0

// Package telemetry gives each service of the shop an OpenTelemetry SDK of its own: resource, tracer, meter and logger provider.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

// Scope is the instrumentation scope of the shop's own spans, metrics and logs.
const Scope = "github.com/pitwall-io/pitwall/examples/shop"

// Identity is who a service says it is.
type Identity struct {
	Service     string
	Version     string
	Instance    string
	Environment string
}

// Settings are common to the services of one process.
type Settings struct {
	// Conn leads to the collector; the caller closes it after the last Shutdown.
	Conn *grpc.ClientConn
	// BatchEvery is how long spans and log records wait for company.
	BatchEvery time.Duration
	// MetricsEvery is the interval between two exports of the metrics.
	MetricsEvery time.Duration
}

// Telemetry is the SDK of one service.
type Telemetry struct {
	Identity    Identity
	Tracers     trace.TracerProvider
	Meters      metric.MeterProvider
	Events      log.Logger
	Log         *slog.Logger
	Propagators propagation.TextMapPropagator

	shutdown []func(context.Context) error
	// die ends exports that go on after the shutdown.
	die context.CancelFunc
}

// New starts the SDK of one service. It does not wait for the collector.
func New(ctx context.Context, id Identity, set Settings) (*Telemetry, error) {
	res := resource.NewWithAttributes(semconv.SchemaURL,
		semconv.ServiceName(id.Service),
		semconv.ServiceNamespace("shop"),
		semconv.ServiceVersion(id.Version),
		semconv.ServiceInstanceID(id.Instance),
		semconv.DeploymentEnvironmentNameKey.String(id.Environment),
		semconv.TelemetrySDKName("opentelemetry"),
		semconv.TelemetrySDKLanguageGo,
		semconv.TelemetrySDKVersion(sdk.Version()),
	)
	spans, err := otlptrace.New(ctx, otlptracegrpc.NewClient(otlptracegrpc.WithGRPCConn(set.Conn), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig(patience))))
	if err != nil {
		return nil, fmt.Errorf("trace exporter of %s: %w", id.Service, err)
	}
	points, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithGRPCConn(set.Conn), otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig(patience)))
	if err != nil {
		return nil, fmt.Errorf("metric exporter of %s: %w", id.Service, err)
	}
	records, err := otlploggrpc.New(ctx, otlploggrpc.WithGRPCConn(set.Conn), otlploggrpc.WithRetry(otlploggrpc.RetryConfig(patience)))
	if err != nil {
		return nil, fmt.Errorf("log exporter of %s: %w", id.Service, err)
	}
	alive, die := context.WithCancel(context.Background())
	tracers := sdktrace.NewTracerProvider(sdktrace.WithResource(res),
		sdktrace.WithBatcher(mortalSpans{spans, alive}, sdktrace.WithBatchTimeout(set.BatchEvery), sdktrace.WithExportTimeout(exportTimeout)))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res),
		// An SDK folds what exceeds 2000 series by itself; a shop that shows what unbounded values do must let them through.
		sdkmetric.WithCardinalityLimit(0),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(points, sdkmetric.WithInterval(set.MetricsEvery), sdkmetric.WithTimeout(exportTimeout))))
	loggers := sdklog.NewLoggerProvider(sdklog.WithResource(res),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(mortalLogs{records, alive}, sdklog.WithExportInterval(set.BatchEvery), sdklog.WithExportTimeout(exportTimeout))))
	return &Telemetry{
		Identity:    id,
		Tracers:     tracers,
		Meters:      meters,
		Events:      loggers.Logger(Scope),
		Log:         otelslog.NewLogger(Scope, otelslog.WithLoggerProvider(loggers)),
		Propagators: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		shutdown:    []func(context.Context) error{tracers.Shutdown, meters.Shutdown, loggers.Shutdown},
		die:         die,
	}, nil
}

// exportTimeout bounds one export, all its attempts together.
const exportTimeout = 5 * time.Second

// patience is how exports are repeated; a batch is given up before the queue behind it fills.
var patience = struct {
	Enabled         bool
	InitialInterval time.Duration
	MaxInterval     time.Duration
	MaxElapsedTime  time.Duration
}{true, 250 * time.Millisecond, time.Second, 4 * time.Second}

// Tracer returns the tracer for the shop's own spans.
func (t *Telemetry) Tracer() trace.Tracer { return t.Tracers.Tracer(Scope) }

// Meter returns the meter for the shop's own metrics.
func (t *Telemetry) Meter() metric.Meter { return t.Meters.Meter(Scope) }

// Emit writes an event: a log record with a name, in the trace context of ctx.
func (t *Telemetry) Emit(ctx context.Context, at time.Time, name string, attrs ...attribute.KeyValue) {
	var record log.Record
	record.SetEventName(name)
	record.SetTimestamp(at)
	record.SetSeverity(log.SeverityInfo)
	record.SetSeverityText("INFO")
	record.AddAttributes(attrs...)
	t.Events.Emit(ctx, record)
}

// Shutdown flushes and stops the three providers side by side, each until ctx ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	errs := make([]error, len(t.shutdown))
	var wg sync.WaitGroup
	for i, shutdown := range t.shutdown {
		wg.Go(func() { errs[i] = shutdown(ctx) })
	}
	wg.Wait()
	t.die()
	return errors.Join(errs...)
}

// mortalLogs and mortalSpans are exporters whose exports end with a life: the batch processors leave behind one that is being repeated.
type mortalLogs struct {
	sdklog.Exporter
	alive context.Context
}

func (m mortalLogs) Export(ctx context.Context, records []sdklog.Record) error {
	ctx, cancel := until(ctx, m.alive)
	defer cancel()
	return m.Exporter.Export(ctx, records)
}

type mortalSpans struct {
	sdktrace.SpanExporter
	alive context.Context
}

func (m mortalSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := until(ctx, m.alive)
	defer cancel()
	return m.SpanExporter.ExportSpans(ctx, spans)
}

// until returns a context that ends with either of two.
func until(ctx, alive context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(alive, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
