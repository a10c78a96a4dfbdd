// SPDX-License-Identifier: Apache-2.0

// Command otlpload sends OTLP spans to a collector, or stands behind one and
// counts what arrives.
//
//	otlpload send -endpoint localhost:4317 -rate 10000 -repeat 3 traces.jsonl.gz
//	otlpload send -endpoint localhost:4317 -traces 10000
//	otlpload sink -endpoint localhost:14317 -ids ids.txt
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc/codes"

	"github.com/pitwall-io/pitwall/tests/otlpload"
)

var (
	errUsage  = errors.New("usage: otlpload send [flags] [recording.jsonl[.gz]] | otlpload sink [flags]")
	errFailed = errors.New("not every span was acknowledged")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errUsage
	}
	switch arguments[0] {
	case "send":
		return send(ctx, arguments[1:])
	case "sink":
		return sink(ctx, arguments[1:])
	default:
		return errUsage
	}
}

func send(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	var sender otlpload.Sender
	flags.StringVar(&sender.Endpoint, "endpoint", "localhost:4317", "host:port of an OTLP gRPC receiver")
	flags.Float64Var(&sender.Rate, "rate", 0, "spans per second; 0 is as fast as they are accepted")
	flags.IntVar(&sender.Repeat, "repeat", 1, "how often to send the recording; trace ids are renewed each time")
	flags.IntVar(&sender.Concurrency, "conc", 4, "requests under way at once")
	size := flags.Int("size", otlpload.DefaultSpansPerRequest, "spans per request")
	traces := flags.Int("traces", 10_000, "how many traces to generate where no recording is given")
	failing := flags.Float64("errors", 0.01, "share of generated traces that fail")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	recording, err := load(flags.Arg(0), *size, otlpload.Synthetic{Traces: *traces, ErrorRatio: *failing, SpansPerRequest: *size})
	if err != nil {
		return err
	}
	result, err := sender.Send(ctx, recording)
	if err != nil {
		return err
	}
	fmt.Println(result)
	if result.Failed > 0 {
		return errFailed
	}
	return nil
}

func load(path string, size int, synthetic otlpload.Synthetic) (*otlpload.Recording, error) {
	if path == "" {
		return synthetic.Generate()
	}
	return otlpload.Read(path, size)
}

func sink(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("sink", flag.ContinueOnError)
	endpoint := flags.String("endpoint", "localhost:14317", "host:port to listen on")
	ids := flags.String("ids", "", "file to write trace ids and their span counts to at the end")
	code := flags.Uint("code", 0, "gRPC code of every answer; 0 accepts, 14 is unavailable")
	delay := flags.Duration("delay", 0, "time before every answer")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	server, err := otlpload.Listen(*endpoint, *ids != "")
	if err != nil {
		return err
	}
	server.Answer(codes.Code(*code))
	server.Delay(*delay)
	<-ctx.Done()
	server.Close()
	fmt.Println(server.Counts())
	if *ids == "" {
		return nil
	}
	file, err := os.Create(*ids)
	if err != nil {
		return err
	}
	return errors.Join(server.WriteIDs(file), file.Close())
}
