// SPDX-License-Identifier: Apache-2.0

// Package shop puts the services, the load generator, the faults and their control together.
package shop

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/load"
	"github.com/pitwall-io/pitwall/examples/shop/internal/service"
)

// Load is the name -service knows the load generator by.
const Load = "load"

// names are what -service takes, in the order of their control ports.
var names = []string{service.Frontend, service.Cart, service.Checkout, service.Payment, service.Inventory, service.Recommender, Load}

// Config is what a user may choose.
type Config struct {
	// Endpoint is the host:port of the OTLP/gRPC receiver.
	Endpoint string
	// Service runs one service alone; empty runs all of them in this process.
	Service string
	// Port is the first of the ports on 127.0.0.1; 0 lets the system choose them all.
	Port int
	// Environment is deployment.environment.name.
	Environment string
	// Load describes the visitors; its Target is filled in.
	Load load.Config
	// NoLoad leaves the visitors out.
	NoLoad bool
	// Faults are switched on at the start, each as fault.ParseFlag reads it.
	Faults []string
	// TruthOut is a file the truth events are appended to; empty for none.
	TruthOut string
	// AddrFile is a file the addresses are written to as JSON; empty for none.
	AddrFile string
	// DataDir is where the databases are; empty for a directory that is removed at the end.
	DataDir string
	// BatchEvery is how long spans and log records wait for company before they are sent.
	BatchEvery time.Duration
	// MetricsEvery is the interval between two exports of metrics.
	MetricsEvery time.Duration
	// ProgressEvery is the interval between two lines of progress.
	ProgressEvery time.Duration
}

// Default returns what holds when nobody says otherwise.
func Default() Config {
	return Config{
		Endpoint:      "localhost:4317",
		Port:          8080,
		Environment:   "demo",
		Load:          load.Config{Rate: 50, Day: 24 * time.Hour, StartHour: 9, Seed: 1},
		BatchEvery:    time.Second,
		MetricsEvery:  5 * time.Second,
		ProgressEvery: 10 * time.Second,
	}
}

// Flags binds the configuration to command-line flags.
func (c *Config) Flags(flags *flag.FlagSet) {
	flags.StringVar(&c.Endpoint, "endpoint", c.Endpoint, "`host:port` of the OTLP/gRPC receiver")
	flags.StringVar(&c.Service, "service", c.Service, "run only this `service`: "+strings.Join(names, ", "))
	flags.IntVar(&c.Port, "port", c.Port, "first of the ports on 127.0.0.1; 0 for any free ones")
	flags.StringVar(&c.Environment, "environment", c.Environment, "deployment.environment.name")
	flags.Float64Var(&c.Load.Rate, "rate", c.Load.Rate, "mean requests per second at the front end")
	flags.DurationVar(&c.Load.Day, "day", c.Load.Day, "length of a day: 10m runs a day in ten minutes")
	flags.Float64Var(&c.Load.StartHour, "start-hour", c.Load.StartHour, "time of day at the start")
	flags.Uint64Var(&c.Load.Seed, "seed", c.Load.Seed, "seed of the visitors")
	flags.BoolVar(&c.NoLoad, "no-load", c.NoLoad, "no visitors")
	flags.Func("fault", "switch a fault on: `name[=value:value]` or name=key=value,key=value (repeatable)", func(arg string) error {
		c.Faults = append(c.Faults, arg)
		return nil
	})
	flags.StringVar(&c.TruthOut, "truth-out", c.TruthOut, "append truth events to this `file` as JSON lines")
	flags.StringVar(&c.AddrFile, "addr-file", c.AddrFile, "write the addresses to this `file` as JSON")
	flags.StringVar(&c.DataDir, "data-dir", c.DataDir, "`directory` of the databases; default a temporary one")
	flags.DurationVar(&c.BatchEvery, "batch-every", c.BatchEvery, "how long spans and log records wait to be sent together")
	flags.DurationVar(&c.MetricsEvery, "metrics-every", c.MetricsEvery, "interval between two exports of metrics")
	flags.DurationVar(&c.ProgressEvery, "progress-every", c.ProgressEvery, "interval between two lines of progress")
}

// Validate names the key and the value that are wrong.
func (c *Config) Validate() error {
	switch {
	case c.Endpoint == "":
		return errors.New("endpoint must not be empty")
	case c.Service != "" && !slices.Contains(names, c.Service):
		return fmt.Errorf("service must be one of %s (got %q)", strings.Join(names, ", "), c.Service)
	case c.Port < 0 || c.Port > 65_500:
		return fmt.Errorf("port must be from 0 to 65500 (got %d)", c.Port)
	case c.Service != "" && c.Port == 0:
		return fmt.Errorf("port must not be 0 when service is %s: the others could not find it", c.Service)
	case c.BatchEvery < 10*time.Millisecond:
		return fmt.Errorf("batch-every must be at least 10ms (got %s)", c.BatchEvery)
	case c.MetricsEvery < 100*time.Millisecond:
		return fmt.Errorf("metrics-every must be at least 100ms (got %s)", c.MetricsEvery)
	case c.ProgressEvery < 100*time.Millisecond:
		return fmt.Errorf("progress-every must be at least 100ms (got %s)", c.ProgressEvery)
	}
	for _, arg := range c.Faults {
		if _, _, err := fault.ParseFlag(arg); err != nil {
			return fmt.Errorf("fault %q: %w", arg, err)
		}
	}
	return c.Load.Validate()
}

// printer writes lines for a human; what cannot be written is nobody's loss.
type printer struct {
	out io.Writer
}

func (p printer) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}
