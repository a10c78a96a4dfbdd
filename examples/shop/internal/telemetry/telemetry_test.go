// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pitwall-io/pitwall/examples/shop/internal/otlptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, address string) *Telemetry {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	tel, err := New(t.Context(), Identity{"cart", "1.2.3", "one", "test"}, Settings{Conn: conn, BatchEvery: time.Hour, MetricsEvery: time.Hour})
	require.NoError(t, err)
	return tel
}

func TestShutdownFlushesWhatNobodyWaitedFor(t *testing.T) {
	sink := otlptest.Start(t)
	tel := start(t, sink.Address)
	require.NoError(t, tel.ObserveProcess())
	ctx, span := tel.Tracer().Start(t.Context(), "work")
	tel.Log.ErrorContext(ctx, "it broke", "error.type", "test")
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tel.Emit(ctx, at, "feature_flag.evaluation", attribute.String("feature_flag.key", "k"))
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))

	spans := sink.Spans(func(otlptest.Span) bool { return true })
	require.Len(t, spans, 1)
	assert.Equal(t, map[string]any{
		"service.name": "cart", "service.namespace": "shop", "service.version": "1.2.3", "service.instance.id": "one",
		"deployment.environment.name": "test", "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "go",
		"telemetry.sdk.version": spans[0].Resource["telemetry.sdk.version"],
	}, spans[0].Resource)

	logs := sink.Logs(func(otlptest.Record) bool { return true })
	require.Len(t, logs, 2)
	for _, record := range logs {
		assert.Equal(t, spans[0].Trace(), record.Trace())
		assert.Equal(t, "cart", record.Service())
	}
	assert.Equal(t, "ERROR", logs[0].SeverityText)
	assert.Equal(t, "feature_flag.evaluation", logs[1].EventName)
	assert.EqualValues(t, at.UnixNano(), logs[1].TimeUnixNano)

	names := map[string]float64{}
	for _, p := range sink.Points(func(otlptest.Point) bool { return true }) {
		names[p.Metric] += p.Value
	}
	assert.Positive(t, names["process.cpu.time"])
	assert.Positive(t, names["process.memory.usage"])
	assert.Positive(t, names["go.memory.used"])
}

func TestSeriesAreNotFoldedByTheSDK(t *testing.T) {
	sink := otlptest.Start(t)
	tel := start(t, sink.Address)
	counter, err := tel.Meter().Int64Counter("views")
	require.NoError(t, err)
	const values = 5000 // an SDK folds above 2000 by default
	for i := range values {
		counter.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("session.id", i)))
	}
	require.NoError(t, tel.Shutdown(t.Context()))
	assert.Len(t, sink.Points(func(p otlptest.Point) bool { return p.Metric == "views" && p.Attrs["otel.metric.overflow"] == nil }), values)
}

func TestShutdownWithoutACollectorEndsWithItsContext(t *testing.T) {
	tel := start(t, "127.0.0.1:1")
	_, span := tel.Tracer().Start(t.Context(), "work")
	span.End()
	tel.Log.Info("hello")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Error(t, tel.Shutdown(ctx))
}

func TestSummaryIsOneLineHoweverManyErrors(t *testing.T) {
	s := &Summary{}
	assert.Empty(t, s.Take())
	s.Handle(nil)
	assert.Empty(t, s.Take())
	for range 1000 {
		s.Handle(errors.New("connection refused\nand more"))
	}
	assert.Equal(t, "telemetry: 1000 exports failed, the last: connection refused", s.Take())
	assert.Empty(t, s.Take())
	s.Handle(errors.New(strings.Repeat("x", 10_000)))
	assert.Less(t, len(s.Take()), 300)
}
