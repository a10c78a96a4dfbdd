// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
)

// killedDemo makes the test binary a demo that has a collector and is about to be killed.
const killedDemo = "PITWALL_TEST_KILLED_DEMO"

// holdCollector starts the collector of a configuration and waits to be killed.
func holdCollector(config string) int {
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	if _, err := startCollector(self, config, config+".log", nil, func(string) {}); err != nil {
		return 1
	}
	time.Sleep(patience)
	return 2
}

// The test binary plays the collector when it is started as one.
func TestMain(m *testing.M) {
	if config := os.Getenv(killedDemo); config != "" && !slices.Contains(os.Args, "--config") {
		os.Exit(holdCollector(config))
	}
	if i := slices.Index(os.Args, "--config"); i >= 0 && i+1 < len(os.Args) {
		os.Exit(playCollector(os.Args[i+1]))
	}
	goleak.VerifyTestMain(m)
}

// playCollector listens for spans and sends a firing signal about the first failed one, or does what the configuration says.
func playCollector(config string) int {
	raw, err := os.ReadFile(config)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	say := strings.TrimSpace(string(raw))
	if say == "refuse" {
		fmt.Println("2026-01-01T00:00:00Z\tinfo\treading")
		fmt.Println("Error: invalid configuration: unknown key")
		return 3
	}
	listener, err := net.Listen("tcp", os.Getenv("PITWALL_OTLP_GRPC_ENDPOINT"))
	if err != nil {
		fmt.Println("Error:", err)
		return 1
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	server := grpc.NewServer()
	fake := &fakeCollector{die: say == "die", died: make(chan struct{})}
	coltrace.RegisterTraceServiceServer(server, fake)
	go func() { _ = server.Serve(listener) }()
	fmt.Println("2026-01-01T00:00:00Z\tinfo\tEverything is ready.")
	select {
	case <-term:
		if say == "stubborn" {
			select {}
		}
	case <-fake.died:
		fmt.Println("2026-01-01T00:00:00Z\terror\tthe ground opened")
		return 7
	}
	server.Stop()
	fmt.Println("2026-01-01T00:00:00Z\tinfo\tShutdown complete.")
	return 0
}

type fakeCollector struct {
	coltrace.UnimplementedTraceServiceServer
	die  bool
	died chan struct{}
	once sync.Once
}

func (f *fakeCollector) Export(_ context.Context, req *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				if f.die {
					f.once.Do(func() { close(f.died) })
				} else if span.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR {
					f.once.Do(func() { sendSignal(hex.EncodeToString(span.GetTraceId())) })
				}
			}
		}
	}
	return &coltrace.ExportTraceServiceResponse{}, nil
}

func sendSignal(traceID string) {
	body := strings.ReplaceAll(goodEvent, "4bf92f3577b34da6a3ce929d0e0e4736", traceID)
	response, err := http.Post(os.Getenv("PITWALL_SIGNALS_ENDPOINT"), structuredJSON, bytes.NewBufferString(body))
	if err != nil {
		fmt.Printf("2026-01-01T00:00:00Z\terror\t%s\n", err)
		return
	}
	_ = response.Body.Close()
}
