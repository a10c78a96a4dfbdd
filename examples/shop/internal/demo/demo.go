// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/shop"
)

const (
	// readyTimeout is how long the collector may take to listen.
	readyTimeout = time.Minute
	// Time limits of the end: the shop's own is below its five seconds.
	shopStopTimeout      = 5 * time.Second
	collectorStopTimeout = 15 * time.Second
	receiverStopTimeout  = 2 * time.Second
)

// Config is what a user may choose.
type Config struct {
	// Collector is the binary, File its configuration.
	Collector, File string
	// Listen is the host:port of the receiver of signals.
	Listen string
	// RunDir is where the collector's log goes.
	RunDir string
	// Fault is what goes wrong, as fault.ParseFlag reads it.
	Fault string
	// FaultAfter is how long all is well first and in between; FaultFor how long it is not.
	FaultAfter, FaultFor time.Duration
	// Once ends the demo after the first firing signal; Timeout is how long to wait for it.
	Once    bool
	Timeout time.Duration
	// Shop is the shop's own configuration.
	Shop shop.Config
}

// Default returns what holds when nobody says otherwise.
func Default() Config {
	config := Config{
		Listen: "localhost:8900", RunDir: ".run", Fault: "errors=checkout:0.3",
		FaultAfter: 45 * time.Second, FaultFor: 3 * time.Minute, Timeout: 5 * time.Minute, Shop: shop.Default(),
	}
	config.Shop.Load.Day = 10 * time.Minute
	return config
}

// Flags binds the configuration to command-line flags.
func (c *Config) Flags(flags *flag.FlagSet) {
	flags.StringVar(&c.Collector, "collector", c.Collector, "the collector's `binary`")
	flags.StringVar(&c.File, "config", c.File, "the collector's configuration `file`")
	flags.StringVar(&c.Listen, "listen", c.Listen, "`host:port` of the receiver of signals")
	flags.StringVar(&c.RunDir, "run-dir", c.RunDir, "`directory` for the collector's log")
	flags.StringVar(&c.Fault, "fault", c.Fault, "what goes wrong: `name[=value:value]`")
	flags.DurationVar(&c.FaultAfter, "fault-after", c.FaultAfter, "how long all is well, first and in between")
	flags.DurationVar(&c.FaultFor, "fault-for", c.FaultFor, "how long the fault lasts")
	flags.BoolVar(&c.Once, "once", c.Once, "end after the first firing signal: 0 when it came, 1 when it did not")
	flags.DurationVar(&c.Timeout, "timeout", c.Timeout, "how long -once waits")
	flags.IntVar(&c.Shop.Port, "shop-port", c.Shop.Port, "first of the shop's ports on 127.0.0.1; 0 for any free ones")
	flags.Float64Var(&c.Shop.Load.Rate, "rate", c.Shop.Load.Rate, "mean requests per second at the front end")
	flags.DurationVar(&c.Shop.Load.Day, "day", c.Shop.Load.Day, "length of a day of visitors")
	flags.Uint64Var(&c.Shop.Load.Seed, "seed", c.Shop.Load.Seed, "seed of the visitors")
	flags.StringVar(&c.Shop.TruthOut, "truth-out", c.Shop.TruthOut, "append truth events to this `file` as JSON lines")
	flags.StringVar(&c.Shop.AddrFile, "addr-file", c.Shop.AddrFile, "write the shop's addresses to this `file` as JSON")
}

// Validate names the key and the value that are wrong.
func (c *Config) Validate() error {
	switch {
	case c.Collector == "":
		return errors.New("collector must name the collector's binary")
	case c.File == "":
		return errors.New("config must name the collector's configuration")
	case c.FaultAfter < 0:
		return fmt.Errorf("fault-after must not be negative (got %s)", c.FaultAfter)
	case c.FaultFor < time.Second:
		return fmt.Errorf("fault-for must be at least 1s (got %s)", c.FaultFor)
	case c.Timeout < time.Second:
		return fmt.Errorf("timeout must be at least 1s (got %s)", c.Timeout)
	}
	if _, _, err := fault.ParseFlag(c.Fault); err != nil {
		return fmt.Errorf("fault %q: %w", c.Fault, err)
	}
	return c.Shop.Validate()
}

// addresses are where the collector listens, by the variables its configuration reads.
type addresses struct {
	OTLP, Console, Health string
}

// collectorAddresses reads the variables, and makes sure that what the collector wants is free before it starts.
func collectorAddresses(lookup func(string) (string, bool)) (addresses, error) {
	get := func(name, fallback string) string {
		if v, ok := lookup(name); ok && v != "" {
			return v
		}
		return fallback
	}
	a := addresses{
		OTLP:    get("PITWALL_OTLP_GRPC_ENDPOINT", "localhost:4317"),
		Console: get("PITWALL_API_ENDPOINT", "localhost:8800"),
		Health:  get("PITWALL_HEALTH_ENDPOINT", "localhost:13133"),
	}
	for _, want := range []struct{ what, variable, address string }{
		{"telemetry over gRPC", "PITWALL_OTLP_GRPC_ENDPOINT", a.OTLP},
		{"telemetry over HTTP", "PITWALL_OTLP_HTTP_ENDPOINT", get("PITWALL_OTLP_HTTP_ENDPOINT", "localhost:4318")},
		{"the console", "PITWALL_API_ENDPOINT", a.Console},
		{"health", "PITWALL_HEALTH_ENDPOINT", a.Health},
		{"the collector's own metrics", "PITWALL_METRICS_PORT", net.JoinHostPort("localhost", get("PITWALL_METRICS_PORT", "8888"))},
	} {
		listener, err := net.Listen("tcp", want.address)
		if err != nil {
			return addresses{}, fmt.Errorf("address %s for %s is not to be had; choose another by the environment variable %s: %w",
				want.address, want.what, want.variable, err)
		}
		_ = listener.Close() // it was only to see
	}
	return a, nil
}

// demo is a running demo.
type demo struct {
	config  Config
	started time.Time
	signals chan Signal

	mu  sync.Mutex // serialises lines
	out io.Writer
}

func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = fmt.Fprintf(d.out, format+"\n", args...) // a user who closed the terminal reads nothing anyway
}

// Write lets the shop say things in between.
func (d *demo) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(p)
}

// Run runs the demo until ctx ends, the collector dies or, with Once, the first firing signal has arrived. It stops what it started.
func Run(ctx context.Context, config Config, out io.Writer) (err error) {
	d := &demo{config: config, started: time.Now(), out: out, signals: make(chan Signal, 64)}
	at, err := collectorAddresses(os.LookupEnv)
	if err != nil {
		return err
	}
	receiver, err := startReceiver(config.Listen, d.gotSignal, func(err error) { d.say("receiver: refused a request: %s", err) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, within(receiverStopTimeout, receiver.stop)) }()

	if err := os.MkdirAll(config.RunDir, 0o755); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	logFile := filepath.Join(config.RunDir, "collector.log")
	d.say("demo: starting the collector %s with %s, its log is %s", config.Collector, config.File, logFile)
	collector, err := startCollector(config.Collector, config.File, logFile, []string{"PITWALL_SIGNALS_ENDPOINT=" + receiver.url()},
		func(line string) { d.say("collector: %s", line) })
	if err != nil {
		return err
	}
	defer func() {
		select {
		case <-collector.exited: // it died, which has been said
		default:
			err = errors.Join(err, within(collectorStopTimeout, collector.stop))
			d.say("demo: the collector has stopped")
		}
	}()
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := collector.ready(ready, at.OTLP); err != nil {
		if ctx.Err() != nil {
			return nil // the user did not want to wait
		}
		return err
	}
	d.say("demo: the collector listens on %s after %s", at.OTLP, d.elapsed())

	config.Shop.Endpoint = at.OTLP
	s, err := shop.Start(ctx, config.Shop, d)
	if err != nil {
		return err
	}
	progress, stopProgress := context.WithCancel(ctx)
	var loops sync.WaitGroup
	loops.Go(func() { s.Progress(progress) })
	defer func() {
		stopProgress()
		loops.Wait()
		err = errors.Join(err, within(shopStopTimeout, s.Stop))
		d.say("demo: the shop has stopped")
	}()
	d.introduce(s, receiver, at)
	return d.watch(ctx, s.Faults(), collector)
}

func (d *demo) introduce(s *shop.Shop, r *receiver, at addresses) {
	addresses := s.Addresses()
	d.say("demo: the shop is open: about %.0f requests a second go from the front end to cart, checkout, payment and inventory", d.config.Shop.Load.Rate)
	d.say("  console          http://%s/", at.Console)
	d.say("  signals          http://%s/api/v1/signals", at.Console)
	d.say("  objectives       http://%s/api/v1/slos", at.Console)
	d.say("  health           http://%s/health/status", at.Health)
	d.say("  shop             http://%s/", addresses["frontend"])
	d.say("  faults           http://%s/faults   (on: curl --json '{}' …/faults/errors   off: curl -X DELETE …/faults/errors)", addresses["control"])
	d.say("  signals arrive   %s", r.url())
	d.say("demo: all is well for %s; then %q makes trouble for %s. Ctrl-C stops everything.", d.config.FaultAfter, d.config.Fault, d.config.FaultFor)
}

// watch switches the fault on and off and waits for what ends the demo.
func (d *demo) watch(ctx context.Context, faults *fault.Set, c *collector) error {
	spec, params, err := fault.ParseFlag(d.config.Fault)
	if err != nil {
		return err
	}
	var deadline <-chan time.Time
	if d.config.Once {
		timer := time.NewTimer(d.config.Timeout)
		defer timer.Stop()
		deadline = timer.C
	}
	on := false
	change := time.NewTimer(d.config.FaultAfter)
	defer change.Stop()
	for {
		select {
		case <-change.C:
			on = !on
			if err := d.change(faults, spec.Name, params, on); err != nil {
				return err
			}
			if on {
				change.Reset(d.config.FaultFor)
			} else {
				change.Reset(d.config.FaultAfter)
			}
		case s := <-d.signals:
			if d.config.Once && s.State == Firing {
				d.say("demo: the first firing signal took %.1f seconds", time.Since(d.started).Seconds())
				return nil
			}
		case <-c.exited:
			return c.died()
		case <-deadline:
			return fmt.Errorf("no firing signal within %s", d.config.Timeout)
		case <-ctx.Done():
			d.say("demo: stopping")
			return nil
		}
	}
}

// change switches the fault and says so.
func (d *demo) change(faults *fault.Set, name string, params fault.Params, on bool) error {
	if on {
		d.say("demo: after %s, trouble begins: %s (%s)", d.elapsed(), name, params)
		return faults.Enable(name, params)
	}
	d.say("demo: after %s, the trouble is over: %s is off", d.elapsed(), name)
	return faults.Disable(name)
}

// gotSignal prints a signal and hands it on; nobody waits for a demo that has ended.
func (d *demo) gotSignal(s Signal) {
	for i, line := range s.plain() {
		if i == 0 {
			d.say("signal: after %s, %s", d.elapsed(), line)
		} else {
			d.say("        %s", line)
		}
	}
	select {
	case d.signals <- s:
	default:
	}
}

func (d *demo) elapsed() time.Duration { return time.Since(d.started).Round(100 * time.Millisecond) }

// within runs a stop with a time limit of its own: what started the end may be a context that is over.
func within(limit time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return stop(ctx)
}
