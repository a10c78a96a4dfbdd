// SPDX-License-Identifier: Apache-2.0

// Package service holds the shop's services: frontend, cart, checkout, payment, inventory, and recommender, which nobody asks.
package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/telemetry"
)

// The names of the services, which are their service.name.
const (
	Frontend    = "frontend"
	Cart        = "cart"
	Checkout    = "checkout"
	Payment     = "payment"
	Inventory   = "inventory"
	Recommender = "recommender"
)

// callTimeout bounds one call from one service to another.
const callTimeout = 4 * time.Second

// Peers are the addresses (host:port) the services call each other at.
type Peers struct {
	Cart           string
	Checkout       string
	CheckoutCanary string
	Payment        string
	InventoryHTTP  string
	InventoryGRPC  string
}

// Env is what a service gets from its surroundings.
type Env struct {
	Tel    *telemetry.Telemetry
	Faults *fault.Set
	Peers  Peers
	// DataDir is where a service with a database keeps its file.
	DataDir string
	// Chance returns a number in [0, 1), evenly spread.
	Chance func() float64
	// Now is the clock.
	Now func() time.Time
	// Params are the parameters of the fault a service is started for; nil for the services that are always there.
	Params fault.Params
	// Canary marks the second instance of checkout.
	Canary bool
}

// Running is a service that has been started.
type Running struct {
	stops []func(context.Context) error
}

func (r *Running) onStop(stop func(context.Context) error) { r.stops = append(r.stops, stop) }

// Stop undoes the start, last things first: the requests in flight finish, until ctx ends, then what they used closes.
func (r *Running) Stop(ctx context.Context) error {
	var errs []error
	for _, stop := range slices.Backward(r.stops) {
		errs = append(errs, stop(ctx))
	}
	r.stops = nil
	return errors.Join(errs...)
}

// Start starts a service by its name. inventory is the only one that needs both listeners, for HTTP and gRPC; the others take the first.
func Start(name string, env Env, listeners ...net.Listener) (*Running, error) {
	starters := map[string]func(Env, *Running, ...net.Listener) error{
		Frontend: startFrontend, Cart: startCart, Checkout: startCheckout,
		Payment: startPayment, Inventory: startInventory, Recommender: startRecommender,
	}
	start, ok := starters[name]
	if !ok {
		return nil, fmt.Errorf("unknown service %q", name)
	}
	run := &Running{}
	if err := start(env, run, listeners...); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", name, err), run.Stop(context.Background()))
	}
	return run, nil
}

// observeRequests reports what an orchestrator would set aside for the service: CPU in cores, memory in bytes.
func (e Env) observeRequests(cpu float64, memory int64) error {
	meter := e.Tel.Meter()
	_, err := meter.Float64ObservableUpDownCounter("k8s.container.cpu.request.desired", metric.WithUnit("{cpu}"),
		metric.WithDescription("The CPU requested for the container."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(cpu)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("requested CPU: %w", err)
	}
	_, err = meter.Int64ObservableUpDownCounter("k8s.container.memory.request.desired", metric.WithUnit("By"),
		metric.WithDescription("The memory requested for the container."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(memory)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("requested memory: %w", err)
	}
	return nil
}

// What is set aside for a service that gets requests.
const (
	usualCPU    = 0.25
	usualMemory = 128 << 20
)

// broken returns the error of a request that fails because the errors fault says so, else nil.
func (e Env) broken() error {
	params, on := e.Faults.Lookup(fault.Errors)
	if !on || params.Text("service") != e.Tel.Identity.Service || e.Chance() >= params.Number("rate") {
		return nil
	}
	return &failure{status: 500, kind: "shop.FaultError", message: "an invariant of " + e.Tel.Identity.Service + " does not hold"}
}

// pause waits, or returns early with the context's error.
func pause(ctx context.Context, d time.Duration) error {
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
