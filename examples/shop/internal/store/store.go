// SPDX-License-Identifier: Apache-2.0

// Package store opens the shop's SQL databases: embedded, real, instrumented, and slow when they are told to be.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"modernc.org/sqlite"

	"github.com/pitwall-io/pitwall/examples/shop/internal/telemetry"
)

// maxConns bounds the connections of one database: enough to stay busy through the slowest delay at the default rate.
const maxConns = 128

// Query is one statement of the shop with the low-cardinality words that stand for it.
type Query struct {
	// Operation and Collection are db.operation.name and db.collection.name; both together are db.query.summary and the span's name.
	Operation, Collection string
	// Text is the statement, with placeholders.
	Text string
}

func (q Query) summary() string { return q.Operation + " " + q.Collection }

// DB is one database.
type DB struct {
	*sql.DB
}

// Open opens the database in a file, with a delay that is asked for before every statement.
func Open(file, namespace string, tel *telemetry.Telemetry, delay func() time.Duration) (*DB, error) {
	settings := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(OFF)", "busy_timeout(5000)"}}
	source := (&url.URL{Scheme: "file", Path: file, RawQuery: settings.Encode()}).String()
	db := otelsql.OpenDB(connector{source: source, delay: delay},
		otelsql.WithTracerProvider(tel.Tracers),
		otelsql.WithMeterProvider(tel.Meters),
		otelsql.WithAttributes(semconv.DBSystemNameSQLite, semconv.DBNamespace(namespace)),
		otelsql.WithSpanNameFormatter(func(ctx context.Context, method otelsql.Method, _ string) string {
			if q, ok := queryFrom(ctx); ok {
				return q.summary()
			}
			return string(method)
		}),
		otelsql.WithAttributesGetter(attributesOf),
		otelsql.WithInstrumentAttributesGetter(attributesOf),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			DisableErrSkip: true, OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true, OmitConnectorConnect: true,
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanContextFromContext(ctx).IsValid()
			},
		}))
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(4)
	return &DB{db}, nil
}

// Do runs a statement that returns no rows.
func (d *DB) Do(ctx context.Context, q Query, args ...any) (sql.Result, error) {
	result, err := d.ExecContext(withQuery(ctx, q), q.Text, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.summary(), err)
	}
	return result, nil
}

// Each runs a statement and calls scan for every row.
func (d *DB) Each(ctx context.Context, q Query, scan func(row func(...any) error) error, args ...any) (err error) {
	rows, err := d.QueryContext(withQuery(ctx, q), q.Text, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", q.summary(), err)
	}
	defer func() {
		if closeErr := errors.Join(rows.Err(), rows.Close()); closeErr != nil && err == nil {
			err = fmt.Errorf("%s: %w", q.summary(), closeErr)
		}
	}()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return fmt.Errorf("%s: %w", q.summary(), err)
		}
	}
	return nil
}

type queryKey struct{}

func withQuery(ctx context.Context, q Query) context.Context {
	return context.WithValue(ctx, queryKey{}, q)
}

func queryFrom(ctx context.Context) (Query, bool) {
	q, ok := ctx.Value(queryKey{}).(Query)
	return q, ok
}

func attributesOf(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) []attribute.KeyValue {
	q, ok := queryFrom(ctx)
	if !ok {
		return nil
	}
	return []attribute.KeyValue{semconv.DBOperationName(q.Operation), semconv.DBCollectionName(q.Collection), semconv.DBQuerySummary(q.summary())}
}

// connector opens SQLite connections that wait before every statement.
type connector struct {
	source string
	delay  func() time.Duration
}

func (c connector) Driver() driver.Driver { return &sqlite.Driver{} }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	opened, err := c.Driver().Open(c.source)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", c.source, err)
	}
	conn, ok := opened.(sqlConn)
	if !ok {
		return nil, fmt.Errorf("opening %s: the driver's connection (%T) lacks a method", c.source, opened)
	}
	return slowConn{conn, c.delay}, nil
}

// sqlConn is what the SQLite driver's connections can do.
type sqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// slowConn waits before a statement, inside the span and the measurement of it.
type slowConn struct {
	sqlConn
	delay func() time.Duration
}

func (c slowConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	return c.sqlConn.ExecContext(ctx, query, args)
}

func (c slowConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	return c.sqlConn.QueryContext(ctx, query, args)
}

func (c slowConn) wait(ctx context.Context) error {
	d := c.delay()
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
