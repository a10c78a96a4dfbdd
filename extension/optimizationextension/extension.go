// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/extension/optimizationextension/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

var (
	_ extension.Extension             = (*optimizationExtension)(nil)
	_ extensioncapabilities.Dependent = (*optimizationExtension)(nil)
	_ signal.Board                    = (*optimizationExtension)(nil)
)

// optimizationExtension is the board and the server that shows it.
type optimizationExtension struct {
	cfg       *Config
	id        component.ID
	version   string
	settings  component.TelemetrySettings
	log       *zap.Logger
	clock     func() time.Time
	telemetry *metadata.TelemetryBuilder

	store *signal.Store
	// publishing orders the ledger and the store: a record enters both or none. ledger is nil when it cannot be trusted to go on.
	publishing sync.Mutex
	ledger     *ledger
	cited      citations

	client   storage.Client
	statuses []slo.StatusReader
	started  time.Time
	listener net.Listener
	server   *http.Server
	served   sync.WaitGroup
}

func newExtension(set extension.Settings, cfg *Config) (*optimizationExtension, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("optimization telemetry: %w", err)
	}
	e := &optimizationExtension{
		cfg: cfg, id: set.ID, version: set.BuildInfo.Version, settings: set.TelemetrySettings, log: set.Logger,
		clock: time.Now, telemetry: telemetry, store: signal.NewStore(cfg.Board.MaxBytes),
	}
	gauge := func(value func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value())
			return nil
		}
	}
	return e, errors.Join(
		telemetry.RegisterOptimizationBoardBytesCallback(gauge(func() int64 { return int64(e.store.Usage().Bytes) })),
		telemetry.RegisterOptimizationBoardBytesLimitCallback(gauge(func() int64 { return int64(cfg.Board.MaxBytes) })),
		telemetry.RegisterOptimizationBoardForgottenCallback(gauge(func() int64 { return e.store.Usage().Forgotten })),
		telemetry.RegisterOptimizationBoardSignalsCallback(gauge(func() int64 { return int64(e.store.Usage().Signals) })),
		telemetry.RegisterOptimizationLedgerRecordsCallback(gauge(func() int64 { return int64(e.ledgerRecords()) })),
	)
}

// Dependencies makes the storage extension start before this one.
func (e *optimizationExtension) Dependencies() []component.ID {
	if e.cfg.Storage == nil {
		return nil
	}
	return []component.ID{*e.cfg.Storage}
}

// Start restores the ledger and begins to serve.
func (e *optimizationExtension) Start(ctx context.Context, host component.Host) error {
	e.started = e.clock()
	extensions := host.GetExtensions()
	for _, id := range slices.SortedFunc(maps.Keys(extensions), func(a, b component.ID) int { return strings.Compare(a.String(), b.String()) }) {
		if reader, ok := extensions[id].(slo.StatusReader); ok {
			e.statuses = append(e.statuses, reader)
		}
	}
	if err := e.openLedger(ctx, extensions); err != nil {
		return err
	}
	listener, err := e.cfg.ServerConfig.ToListener(ctx)
	if err != nil {
		return fmt.Errorf("listen on endpoint %q: %w", e.cfg.ServerConfig.NetAddr.Endpoint, err)
	}
	e.server, err = e.cfg.ServerConfig.ToServer(ctx, extensions, e.settings, e.handler())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	e.listener = listener
	e.log.Info("serving signals and objectives", zap.Stringer("address", listener.Addr()), zap.Bool("console", e.cfg.Console))
	e.served.Go(func() {
		if err := e.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err))
		}
	})
	return nil
}

// Shutdown stops serving and lets go of storage.
func (e *optimizationExtension) Shutdown(ctx context.Context) error {
	var errs error
	if e.server != nil {
		errs = e.server.Shutdown(ctx)
		if errs != nil {
			errs = errors.Join(errs, e.server.Close())
		}
		e.served.Wait()
	}
	e.publishing.Lock()
	defer e.publishing.Unlock()
	if e.client != nil {
		errs = errors.Join(errs, e.client.Close(ctx))
		e.client = nil
	}
	e.ledger = nil
	e.telemetry.Shutdown()
	return errs
}

var errStorage = errors.New("storage cannot be used")

// openLedger restores the ledger. One that is broken stops the start: going on would hide what the chain is there to show.
func (e *optimizationExtension) openLedger(ctx context.Context, extensions map[component.ID]component.Component) error {
	e.client = newMemoryClient()
	if e.cfg.Storage != nil {
		ext, ok := extensions[*e.cfg.Storage].(storage.Extension)
		if !ok {
			return fmt.Errorf("%w: no storage extension %q", errStorage, e.cfg.Storage)
		}
		client, err := ext.GetClient(ctx, component.KindExtension, e.id, "")
		if err != nil {
			return fmt.Errorf("%w: %w", errStorage, err)
		}
		e.client = client
	}
	l := newLedger(e.client, e.cfg.Ledger.MaxRecords)
	records, err := l.load(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("read the ledger: %w", err), e.client.Close(ctx))
	}
	for _, record := range records {
		if err := e.store.Put(record); err != nil {
			e.log.Warn("ledger record is not shown", zap.String("id", record.ID), zap.Error(err))
		}
	}
	if e.cfg.Storage != nil {
		e.log.Info("ledger read and verified", zap.Int("records", len(records)))
	}
	e.publishing.Lock()
	defer e.publishing.Unlock()
	e.ledger = l
	return nil
}

func (e *optimizationExtension) ledgerRecords() uint64 {
	e.publishing.Lock()
	defer e.publishing.Unlock()
	if e.ledger == nil {
		return 0
	}
	return e.ledger.records()
}

var errNotRunning = errors.New("the optimization extension is not running")

// PublishSignal implements signal.Board: it enters the envelope in the ledger and shows it.
func (e *optimizationExtension) PublishSignal(ctx context.Context, envelope signal.Envelope) (signal.Envelope, error) {
	recorded, outcome, err := e.publish(ctx, envelope)
	e.telemetry.OptimizationPublications.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	return recorded, err
}

func (e *optimizationExtension) publish(ctx context.Context, envelope signal.Envelope) (signal.Envelope, string, error) {
	if err := envelope.Validate(); err != nil {
		return signal.Envelope{}, "invalid", err
	}
	e.publishing.Lock()
	defer e.publishing.Unlock()
	if e.ledger == nil {
		return signal.Envelope{}, "storage_failed", errNotRunning
	}
	if err := e.store.CanPut(envelope); err != nil {
		return signal.Envelope{}, "no_transition", err
	}
	recorded, err := e.ledger.append(ctx, envelope)
	if err != nil {
		return signal.Envelope{}, "storage_failed", err
	}
	e.cited.add(&recorded, e.clock())
	if err := e.store.Put(recorded); err != nil {
		// It is in the ledger, which is what counts; only the view lacks it.
		e.log.Warn("signal is in the ledger but not shown", zap.String("id", recorded.ID), zap.Error(err))
		return recorded, "full", nil
	}
	return recorded, "recorded", nil
}

// PublishSnapshot implements signal.Board.
func (e *optimizationExtension) PublishSnapshot(topic, source string, body json.RawMessage) error {
	return e.store.PutSnapshot(topic, source, body)
}
