// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/change"
	"github.com/pitwall-io/pitwall/receiver/changereceiver/internal/metadata"
)

var _ receiver.Logs = (*changeReceiver)(nil)

// changeReceiver serves the paths and emits what it is told.
type changeReceiver struct {
	cfg       *Config
	id        component.ID
	version   string
	settings  component.TelemetrySettings
	log       *zap.Logger
	telemetry *metadata.TelemetryBuilder
	next      consumer.Logs
	now       func() time.Time

	github     change.GitHub
	webhookKey []byte // nil asks for no signature

	// mu guards what follows.
	mu     sync.Mutex
	memory *change.Memory
	bucket *change.Bucket
	// inFlight holds the keys of changes that are on their way to the next component.
	inFlight map[string]bool
	shelf    *shelf

	server   *http.Server
	listener net.Listener
	served   sync.WaitGroup
}

func newReceiver(set receiver.Settings, cfg *Config, next consumer.Logs) (*changeReceiver, error) {
	workflows, err := patterns(cfg.GitHub.Workflows)
	if err != nil {
		return nil, err
	}
	r := &changeReceiver{
		cfg: cfg, id: set.ID, version: set.BuildInfo.Version, settings: set.TelemetrySettings, log: set.Logger, next: next, now: time.Now,
		github: change.GitHub{Workflows: workflows}, memory: change.NewMemory(cfg.Remember), inFlight: map[string]bool{},
		bucket: change.NewBucket(cfg.RateLimit.RequestsPerSecond, cfg.RateLimit.Burst), shelf: &shelf{},
	}
	if secret := string(cfg.StandardWebhooks.Secret); secret != "" {
		if r.webhookKey, err = change.WebhookKey(secret); err != nil {
			return nil, fmt.Errorf("%w: standard_webhooks::secret: %w", errConfig, err)
		}
	}
	if r.telemetry, err = metadata.NewTelemetryBuilder(set.TelemetrySettings); err != nil {
		return nil, err
	}
	observe := func(value func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			o.Observe(value())
			return nil
		}
	}
	return r, errors.Join(
		r.telemetry.RegisterChangeRememberedCallback(observe(func() int64 { return int64(r.memory.Len()) })),
		r.telemetry.RegisterChangeForgottenCallback(observe(func() int64 { return r.memory.Forgotten })),
	)
}

// Start restores what is remembered and begins to serve.
func (r *changeReceiver) Start(ctx context.Context, host component.Host) error {
	if err := r.restore(ctx, host); err != nil {
		return err
	}
	listener, err := r.cfg.ServerConfig.ToListener(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("listen on endpoint %q: %w", r.cfg.ServerConfig.NetAddr.Endpoint, err), r.shelf.close(ctx))
	}
	r.server, err = r.cfg.ServerConfig.ToServer(ctx, host.GetExtensions(), r.settings, r.handler())
	if err != nil {
		return errors.Join(err, listener.Close(), r.shelf.close(ctx))
	}
	r.listener = listener
	r.log.Info("serving change events", zap.Stringer("address", listener.Addr()), zap.Strings("sources", r.cfg.Sources))
	r.served.Go(func() {
		if err := r.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err))
		}
	})
	return nil
}

func (r *changeReceiver) restore(ctx context.Context, host component.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	opened, err := openShelf(ctx, host, r.cfg.Storage, r.id)
	if err != nil {
		return err
	}
	if err := opened.load(ctx, r.memory); err != nil {
		return errors.Join(err, opened.close(ctx))
	}
	r.shelf = opened
	return nil
}

// Shutdown stops serving, lets requests under way end, and lets go of storage.
func (r *changeReceiver) Shutdown(ctx context.Context) error {
	var errs error
	if r.server != nil {
		if errs = r.server.Shutdown(ctx); errs != nil {
			errs = errors.Join(errs, r.server.Close())
		}
		r.served.Wait()
	}
	r.mu.Lock()
	errs = errors.Join(errs, r.shelf.close(ctx))
	r.mu.Unlock()
	r.telemetry.Shutdown()
	return errs
}
