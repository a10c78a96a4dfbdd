// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pitwall-io/pitwall/tests/harness"
	"github.com/pitwall-io/pitwall/tests/otlpload"
)

// drainWait bounds the time from the last acknowledged span to its arrival.
const drainWait = 2 * time.Minute

var (
	errLost    = errors.New("spans were refused or lost: the figures would be of less work than they claim")
	errNoUsage = errors.New("this system does not tell what a running process costs")
)

// sample is one measurement.
type sample struct {
	// spans were handled in cpu of the collector's time, after it was warm.
	spans int64
	cpu   time.Duration
	// peak is the highest resident memory in bytes since the start.
	peak int64
}

func (s sample) perCPUSecond() float64 { return float64(s.spans) / s.cpu.Seconds() }

func (s sample) String() string {
	return fmt.Sprintf("%.0f spans per CPU second, %d MB", s.perCPUSecond(), s.peak>>20)
}

type bench struct {
	// binary is run behind wrap, which pins it.
	binary string
	wrap   []string
	dir    string
	// load is sent repeat times in each measurement.
	load   *otlpload.Recording
	repeat int
}

// measure starts a collector, warms it up with the recording once, and takes
// the CPU time that the rest of the load costs.
func (b *bench) measure(ctx context.Context, p pipeline) (sample, error) {
	sink, err := otlpload.Listen("127.0.0.1:0", false)
	if err != nil {
		return sample{}, err
	}
	defer sink.Close()
	otlp, collector, err := b.start(ctx, p, sink.Address())
	if err != nil {
		return sample{}, err
	}
	defer collector.Kill()

	sent := int64(0)
	send := func(repeat int) error {
		result, err := otlpload.Sender{Endpoint: otlp, Repeat: repeat}.Send(ctx, b.load)
		if err != nil {
			return err
		}
		sent += result.Acked
		if err := ctx.Err(); err != nil {
			return err
		}
		arrived := !p.forwards || harness.Eventually(drainWait, func() bool { return sink.Counts().Spans >= sent })
		if result.Failed > 0 || !arrived {
			return fmt.Errorf("%w: %s, at the sink: %s", errLost, result, sink.Counts())
		}
		return nil
	}
	if err := send(1); err != nil {
		return sample{}, err
	}
	before, err := collector.Usage()
	if err != nil {
		return sample{}, errors.Join(errNoUsage, err)
	}
	warm := sent
	if err := send(b.repeat); err != nil {
		return sample{}, err
	}
	after, err := collector.Usage()
	if err != nil {
		return sample{}, errors.Join(errNoUsage, err)
	}
	if _, err := collector.Stop(); err != nil {
		return sample{}, err
	}
	return sample{spans: sent - warm, cpu: after.CPU - before.CPU, peak: after.PeakRSS}, nil
}

func (b *bench) start(ctx context.Context, p pipeline, sink string) (string, *harness.Process, error) {
	otlp, err := harness.FreeAddress()
	if err != nil {
		return "", nil, err
	}
	api, err := harness.FreeAddress()
	if err != nil {
		return "", nil, err
	}
	config := filepath.Join(b.dir, "config.yaml")
	if err := os.WriteFile(config, []byte(p.config(otlp, sink, api, b.dir)), 0o600); err != nil {
		return "", nil, err
	}
	collector, err := harness.Run(ctx, harness.Options{
		Binary: b.binary, Wrap: b.wrap, Configs: []string{config}, Log: filepath.Join(b.dir, "collector.log"),
	})
	return otlp, collector, err
}
