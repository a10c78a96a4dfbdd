// SPDX-License-Identifier: Apache-2.0

// Command benchprocess measures what the built binary costs as a process: spans
// for each second of CPU time, and peak memory, by pipeline. The collector has
// one core for itself, the sender and the sink share another, and all figures
// come from the kernel. The pipelines take turns, so that a machine that slows
// down slows all of them down. It prints Markdown and judges nothing.
//
//	go run ./cmd/benchprocess -binary ../bin/pitwall-sidecar -rounds 5
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/tests/harness"
	"github.com/pitwall-io/pitwall/tests/otlpload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	binary := flag.String("binary", "", "the collector; by default bin/pitwall-sidecar, built where it is missing")
	recording := flag.String("recording", "", "traces as JSON lines, .gz or not; by default TrainTicket where present, else generated")
	rounds := flag.Int("rounds", 5, "how often each pipeline is measured")
	spans := flag.Int("spans", 2_000_000, "spans to send in each measurement")
	size := flag.Int("size", otlpload.DefaultSpansPerRequest, "spans per request")
	flag.Parse()

	path, err := findBinary(*binary)
	if err != nil {
		return err
	}
	load, name, err := findLoad(*recording, *size)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "benchprocess")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	b := bench{binary: path, dir: dir, load: load, repeat: max(1, *spans/load.Spans), wrap: pin()}
	samples := map[string][]sample{}
	for round := range *rounds {
		for _, p := range pipelines {
			s, err := b.measure(ctx, p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			samples[p.name] = append(samples[p.name], s)
			fmt.Fprintf(os.Stderr, "round %d, %s: %s\n", round+1, p.name, s)
		}
	}
	fmt.Printf("%s, %d spans in each of %d rounds, %d spans a request; %s.\n\n",
		name, b.repeat*load.Spans, *rounds, *size, machine(b.wrap))
	fmt.Print(table(samples))
	return writeDown(samples)
}

func findBinary(path string) (string, error) {
	if path == "" {
		return harness.FindBinary("pitwall-sidecar")
	}
	return filepath.Abs(path)
}

// findLoad decodes the recording once, so that only sending is measured.
func findLoad(path string, size int) (*otlpload.Recording, string, error) {
	if path == "" {
		if recorded, err := recordings.Find("trainticket", "traces.jsonl.gz"); err == nil {
			path = recorded
		}
	}
	if path == "" {
		load, err := otlpload.Synthetic{Traces: 20_000, ErrorRatio: 0.01, SpansPerRequest: size}.Generate()
		return load, "Generated spans", err
	}
	load, err := otlpload.Read(path, size)
	return load, filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path)), err
}

// machine says what the figures were made on.
func machine(wrap []string) string {
	model := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	pinned := "collector not pinned"
	if len(wrap) > 0 {
		pinned = "collector on one core, sender and sink on another"
	}
	return fmt.Sprintf("%s, %d CPUs, %s", model, runtime.NumCPU(), pinned)
}
