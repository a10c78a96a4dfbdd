// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/load"
	"github.com/pitwall-io/pitwall/examples/shop/internal/service"
	"github.com/pitwall-io/pitwall/examples/shop/internal/telemetry"
)

const (
	// stopTimeout bounds the end of a run. In it visitors have stopVisits to get their pages, the services stopDrain from the
	// beginning to finish what they are at, and the telemetry stopFlush.
	stopTimeout = 4500 * time.Millisecond
	stopVisits  = 1500 * time.Millisecond
	stopDrain   = 2 * time.Second
	stopFlush   = 2 * time.Second
	// canaryGrace is how long the canary stays after the last user was sent to it.
	canaryGrace = 100 * time.Millisecond
)

// versions are what the services say they are.
var versions = map[string]string{
	service.Frontend: "2.3.0", service.Cart: "1.9.2", service.Checkout: "1.4.2",
	service.Payment: "3.0.1", service.Inventory: "1.7.0", service.Recommender: "0.8.0",
}

// Shop is a running shop, or the part of it that this process runs.
type Shop struct {
	config  Config
	out     printer
	started time.Time
	ports   *ports
	conn    *grpc.ClientConn
	faults  *fault.Set
	summary *telemetry.Summary
	// dataDir is where the databases are; cleanup removes it when it is ours.
	dataDir string
	cleanup []func() error

	mu sync.Mutex // guards running
	// running holds what was started, in that order, with the telemetry it has.
	running []part

	control  *http.Server
	load     *load.Generator
	stopLoad context.CancelFunc
	loops    sync.WaitGroup
	stopped  sync.Once
	lastSeen load.Counts
}

// part is one started instance of a service.
type part struct {
	name string
	run  *service.Running
	tel  *telemetry.Telemetry
}

// Start starts everything the configuration asks for and returns once it answers. The collector need not be there.
func Start(ctx context.Context, config Config, out io.Writer) (*Shop, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Shop{config: config, out: printer{out}, started: time.Now(), summary: &telemetry.Summary{}, stopLoad: func() {}}
	otel.SetErrorHandler(s.summary)
	otel.SetLogger(logr.Discard())
	if err := s.start(ctx); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return nil, errors.Join(err, s.Stop(ctx))
	}
	return s, nil
}

func (s *Shop) start(ctx context.Context) error {
	var err error
	if s.ports, err = openPorts(s.config); err != nil {
		return err
	}
	if err := s.openFiles(); err != nil {
		return err
	}
	s.conn, err = grpc.NewClient("passthrough:///"+s.config.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", s.config.Endpoint, err)
	}
	if err := s.startServices(ctx); err != nil {
		return err
	}
	if err := s.startControl(); err != nil {
		return err
	}
	for _, arg := range s.config.Faults {
		spec, params, err := fault.ParseFlag(arg)
		if err == nil {
			err = s.faults.Enable(spec.Name, params)
		}
		if err != nil {
			return fmt.Errorf("fault %q: %w", arg, err)
		}
	}
	if s.config.AddrFile != "" {
		if err := s.writeAddresses(s.config.AddrFile); err != nil {
			return err
		}
	}
	s.startLoad()
	return nil
}

// openFiles makes the directory of the databases and opens the truth journal.
func (s *Shop) openFiles() error {
	s.dataDir = s.config.DataDir
	if s.dataDir == "" {
		dir, err := os.MkdirTemp("", "shop-")
		if err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		s.dataDir = dir
		s.cleanup = append(s.cleanup, func() error { return os.RemoveAll(dir) })
	}
	var journal *fault.Journal
	if s.config.TruthOut != "" {
		file, err := os.OpenFile(s.config.TruthOut, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("truth-out: %w", err)
		}
		s.cleanup = append(s.cleanup, file.Close)
		journal = fault.NewJournal(file)
	}
	s.faults = fault.NewSet(time.Now, journal, s.onFault)
	return nil
}

// startServices starts the services from the inside outwards, so that each finds those it calls.
func (s *Shop) startServices(ctx context.Context) error {
	inwards := []string{service.Inventory, service.Payment, service.Cart, service.Checkout, service.Frontend}
	switch s.config.Service {
	case "":
		host, err := s.newTelemetry(ctx, "shop", "1.0.0")
		if err != nil {
			return err
		}
		s.add(part{name: "shop", run: &service.Running{}, tel: host})
		if err := host.ObserveProcess(); err != nil {
			return err
		}
	case Load:
		return nil
	default:
		inwards = []string{s.config.Service}
	}
	for _, name := range inwards {
		var params fault.Params
		if name == service.Recommender {
			spec, err := fault.Find(fault.IdleService)
			if err != nil {
				return err
			}
			if params, err = spec.Resolve(nil); err != nil {
				return err
			}
		}
		p, err := s.startPart(ctx, name, versions[name], name, params)
		if err != nil {
			return err
		}
		if s.config.Service != "" {
			if err := p.tel.ObserveProcess(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Shop) newTelemetry(ctx context.Context, name, version string) (*telemetry.Telemetry, error) {
	return telemetry.New(ctx,
		telemetry.Identity{Service: name, Version: version, Instance: uuid.NewString(), Environment: s.config.Environment},
		telemetry.Settings{Conn: s.conn, BatchEvery: s.config.BatchEvery, MetricsEvery: s.config.MetricsEvery})
}

// startPart starts one instance of a service behind a door.
func (s *Shop) startPart(ctx context.Context, name, version, door string, params fault.Params) (part, error) {
	wanted := []string{door}
	if name == service.Inventory {
		wanted = append(wanted, doorInventoryGRPC)
	}
	var listeners []net.Listener
	for _, w := range wanted {
		listener, err := s.ports.take(w)
		if err != nil {
			return part{}, err
		}
		listeners = append(listeners, listener)
	}
	tel, err := s.newTelemetry(ctx, name, version)
	if err != nil {
		return part{}, err
	}
	p := part{name: door, run: &service.Running{}, tel: tel}
	started, err := service.Start(name, service.Env{
		Tel: tel, Faults: s.faults, Peers: s.ports.peers(), DataDir: s.dataDir,
		Chance: rand.Float64, Now: time.Now, Params: params, Canary: door == doorCanary,
	}, listeners...)
	if err == nil {
		p.run = started
	} else {
		for _, listener := range listeners {
			_ = listener.Close() // it may be closed already
		}
	}
	s.add(p)
	return p, err
}

func (s *Shop) add(p part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, p)
}

// stopPart stops the instance behind a door, if it runs, and flushes its telemetry.
func (s *Shop) stopPart(ctx context.Context, door string) error {
	s.mu.Lock()
	i := slices.IndexFunc(s.running, func(p part) bool { return p.name == door })
	if i < 0 {
		s.mu.Unlock()
		return nil
	}
	p := s.running[i]
	s.running = slices.Delete(s.running, i, i+1)
	s.mu.Unlock()
	return errors.Join(p.run.Stop(ctx), p.tel.Shutdown(ctx))
}

// onFault starts and stops the instances that only a fault needs.
func (s *Shop) onFault(name string, params fault.Params) error {
	var door, of, version string
	switch {
	case name == fault.Canary && serves(s.config.Service, doorCanary):
		door, of, version = doorCanary, service.Checkout, params.Text("version")
	case name == fault.IdleService && s.config.Service == "":
		door, of, version = service.Recommender, service.Recommender, versions[service.Recommender]
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopDrain)
	defer cancel()
	if params == nil {
		time.Sleep(canaryGrace)
		if err := s.stopPart(ctx, door); err != nil {
			// The telemetry of an instance may not get through; the instance itself is gone all the same.
			s.summary.Handle(err)
		}
		return nil
	}
	_, err := s.startPart(ctx, of, version, door, params)
	if err != nil {
		err = errors.Join(err, s.stopPart(ctx, door))
	}
	return err
}

func (s *Shop) startControl() error {
	listener, err := s.ports.take(doorControl)
	if err != nil {
		return err
	}
	s.control = &http.Server{Handler: s.faults.Handler(), ReadHeaderTimeout: 5 * time.Second}
	s.loops.Go(func() { _ = s.control.Serve(listener) }) // always non-nil: the server was shut down
	return nil
}

func (s *Shop) startLoad() {
	if s.config.NoLoad || s.config.Service != "" && s.config.Service != Load {
		return
	}
	config := s.config.Load
	config.Target = "http://" + s.ports.address(service.Frontend)
	s.load = load.New(config)
	ctx, cancel := context.WithCancel(context.Background())
	s.stopLoad = cancel
	s.loops.Go(func() { s.load.Run(ctx) })
}

// Faults returns what is broken, to be switched.
func (s *Shop) Faults() *fault.Set { return s.faults }

// Counts returns what the visitors have seen so far.
func (s *Shop) Counts() load.Counts {
	if s.load == nil {
		return load.Counts{}
	}
	return s.load.Counts()
}

// Progress writes a line every now and then until ctx ends.
func (s *Shop) Progress(ctx context.Context) {
	ticker := time.NewTicker(s.config.ProgressEvery)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case now := <-ticker.C:
			s.report(now.Sub(last))
			last = now
		case <-ctx.Done():
			return
		}
	}
}

// report writes what happened since the last report.
func (s *Shop) report(elapsed time.Duration) {
	counts := s.Counts()
	sent, failed := counts.Requests-s.lastSeen.Requests, counts.Failed-s.lastSeen.Failed
	s.lastSeen = counts
	share := 0.0
	if sent > 0 {
		share = 100 * float64(failed) / float64(sent)
	}
	on := "none"
	if active := s.faults.Active(); len(active) > 0 {
		words := make([]string, len(active))
		for i, a := range active {
			words[i] = a.Name + " (" + a.Params.String() + ")"
		}
		on = strings.Join(words, ", ")
	}
	s.out.line("shop %s: %.1f requests/s, %d failed (%.1f %%), faults on: %s",
		time.Since(s.started).Round(time.Second), float64(sent)/elapsed.Seconds(), failed, share, on)
	if counts.TurnedAway > 0 {
		s.out.line("shop: %d visitors turned away since the start: too many were inside", counts.TurnedAway)
	}
	if line := s.summary.Take(); line != "" {
		s.out.line("shop: %s", line)
	}
}

// Stop ends the load, lets the requests in flight finish, flushes the telemetry and closes everything. ctx bounds it all. Only the
// first call does something.
func (s *Shop) Stop(ctx context.Context) error {
	var err error
	s.stopped.Do(func() { err = s.stop(ctx) })
	return err
}

func (s *Shop) stop(ctx context.Context) error {
	s.stopLoad()
	drain, cancel := context.WithTimeout(ctx, stopDrain)
	defer cancel()
	if s.load != nil {
		hurry := time.AfterFunc(stopVisits, s.load.Abort)
		defer hurry.Stop()
	}
	var errs []error
	if s.control != nil {
		if s.control.Shutdown(drain) != nil {
			errs = append(errs, s.control.Close()) // somebody holds a request open
		}
	}
	s.loops.Wait()
	if s.faults != nil {
		errs = append(errs, s.faults.DisableAll())
	}
	s.mu.Lock()
	running := s.running
	s.running = nil
	s.mu.Unlock()
	for _, p := range slices.Backward(running) {
		errs = append(errs, p.run.Stop(drain))
	}
	flush, cancel := context.WithTimeout(ctx, stopFlush)
	defer cancel()
	var flushing sync.WaitGroup
	for _, p := range running {
		flushing.Go(func() { s.summary.Handle(p.tel.Shutdown(flush)) })
	}
	flushing.Wait()
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.ports != nil {
		s.ports.close()
	}
	for _, clean := range slices.Backward(s.cleanup) {
		errs = append(errs, clean())
	}
	if line := s.summary.Take(); line != "" {
		s.out.line("shop: %s", line)
	}
	return errors.Join(errs...)
}

// Run starts a shop, writes progress, and stops it when ctx ends.
func Run(ctx context.Context, config Config, out io.Writer) error {
	s, err := Start(ctx, config, out)
	if err != nil {
		return err
	}
	s.greet()
	s.Progress(ctx)
	s.out.line("shop: stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = s.Stop(stop)
	counts := s.Counts()
	s.out.line("shop: stopped after %d requests, %d of them failed", counts.Requests, counts.Failed)
	return err
}

func (s *Shop) greet() {
	what := "all services"
	if s.config.Service != "" {
		what = s.config.Service
	}
	s.out.line("shop: %s ready after %s, telemetry goes to %s", what, time.Since(s.started).Round(time.Millisecond), s.config.Endpoint)
	for _, door := range doors {
		if serves(s.config.Service, door) {
			s.out.line("shop:   %-16s %s", door, s.ports.address(door))
		}
	}
	s.out.line("shop: switch a fault on:  curl --json '{\"service\":\"checkout\",\"rate\":0.3}' http://%s/faults/errors", s.ports.address(doorControl))
	s.out.line("shop: see all of them:    curl http://%s/faults", s.ports.address(doorControl))
}
