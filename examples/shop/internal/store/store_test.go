// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/pitwall-io/pitwall/examples/shop/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	create = Query{"CREATE", "things", "CREATE TABLE things (id INTEGER)"}
	insert = Query{"INSERT", "things", "INSERT INTO things VALUES (?)"}
	read   = Query{"SELECT", "things", "SELECT id FROM things ORDER BY id"}
)

// open returns a database, the spans it makes, and its delay.
func open(t *testing.T) (*DB, *tracetest.SpanRecorder, *sdktrace.TracerProvider, *atomic.Int64) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	delay := &atomic.Int64{}
	db, err := Open(filepath.Join(t.TempDir(), "test.db"), "test", &telemetry.Telemetry{Tracers: tracers, Meters: sdkmetric.NewMeterProvider()},
		func() time.Duration { return time.Duration(delay.Load()) })
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	_, err = db.Do(t.Context(), create)
	require.NoError(t, err)
	return db, spans, tracers, delay
}

func ids(ctx context.Context, db *DB) ([]int, error) {
	var out []int
	err := db.Each(ctx, read, func(row func(...any) error) error {
		var id int
		if err := row(&id); err != nil {
			return err
		}
		out = append(out, id)
		return nil
	})
	return out, err
}

func TestAStatementIsASpanWithItsSummary(t *testing.T) {
	db, spans, tracers, _ := open(t)
	assert.Empty(t, spans.Ended(), "without a request there is no span")
	ctx, parent := tracers.Tracer("test").Start(t.Context(), "request")
	_, err := db.Do(ctx, insert, 7)
	require.NoError(t, err)
	got, err := ids(ctx, db)
	require.NoError(t, err)
	assert.Equal(t, []int{7}, got)
	parent.End()

	require.Len(t, spans.Ended(), 3, "one span a statement, and the request's")
	for i, q := range []Query{insert, read} {
		span := spans.Ended()[i]
		assert.Equal(t, q.summary(), span.Name())
		assert.Equal(t, parent.SpanContext().SpanID(), span.Parent().SpanID())
		attrs := attribute.NewSet(span.Attributes()...)
		for key, want := range map[attribute.Key]string{
			"db.system.name": "sqlite", "db.namespace": "test", "db.query.text": q.Text,
			"db.query.summary": q.summary(), "db.operation.name": q.Operation, "db.collection.name": q.Collection,
		} {
			value, ok := attrs.Value(key)
			require.True(t, ok, key)
			assert.Equal(t, want, value.AsString())
		}
	}
}

func TestADelayIsWaitedForInsideTheSpan(t *testing.T) {
	db, spans, tracers, delay := open(t)
	delay.Store(int64(30 * time.Millisecond))
	ctx, parent := tracers.Tracer("test").Start(t.Context(), "request")
	defer parent.End()
	_, err := ids(ctx, db)
	require.NoError(t, err)
	_, err = db.Do(ctx, insert, 1)
	require.NoError(t, err)
	require.Len(t, spans.Ended(), 2)
	for _, span := range spans.Ended() {
		assert.GreaterOrEqual(t, span.EndTime().Sub(span.StartTime()), 30*time.Millisecond)
	}
}

func TestADelayEndsWithItsRequest(t *testing.T) {
	db, _, _, delay := open(t)
	delay.Store(int64(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := db.Do(ctx, insert, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = ids(ctx, db)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestErrorsNameTheStatement(t *testing.T) {
	db, _, _, _ := open(t)
	_, err := db.Do(t.Context(), Query{"DROP", "nothing", "DROP TABLE nothing"})
	require.ErrorContains(t, err, "DROP nothing: ")
	_, err = db.Do(t.Context(), insert, 1)
	require.NoError(t, err)
	sour := errors.New("sour")
	err = db.Each(t.Context(), read, func(func(...any) error) error { return sour })
	require.ErrorIs(t, err, sour)
	assert.ErrorContains(t, err, "SELECT things: ")
}

func TestAFileThatCannotBeOpenedIsNamed(t *testing.T) {
	_, err := connector{source: "file:/nowhere/at/all.db", delay: func() time.Duration { return 0 }}.Connect(t.Context())
	require.ErrorContains(t, err, "/nowhere/at/all.db")
}
