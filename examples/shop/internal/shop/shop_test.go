// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/examples/shop/internal/otlptest"
)

// screen is what the user sees.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// runUntil runs a shop until the user sees something, ends it, and returns everything the user saw.
func runUntil(t *testing.T, config Config, want string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := &screen{}
	done := make(chan error, 1)
	go func() { done <- Run(ctx, config, seen) }()
	require.Eventually(t, func() bool { return strings.Contains(seen.String(), want) }, patience, poll, want)
	cancel()
	require.NoError(t, <-done)
	return seen.String()
}

func TestRunReportsProgressAndStopsWithEverythingDelivered(t *testing.T) {
	sink := otlptest.Start(t)
	config := testConfig(sink)
	config.BatchEvery, config.MetricsEvery = time.Hour, time.Hour // only the end delivers
	config.ProgressEvery = 100 * time.Millisecond
	config.AddrFile = filepath.Join(t.TempDir(), "addresses.json")
	config.Faults = []string{"errors=cart:0.5"}
	out := runUntil(t, config, "faults on: errors (rate=0.5 service=cart)")
	assert.Contains(t, out, "all services ready after")
	assert.Contains(t, out, "stopped after")

	_, rest, _ := strings.Cut(out, "stopped after ")
	count, _, _ := strings.Cut(rest, " ")
	requests, err := strconv.Atoi(count)
	require.NoError(t, err)
	require.Positive(t, requests)
	assert.Len(t, sink.Spans(server("frontend")), requests, "every request that was sent has its span delivered")

	raw, err := os.ReadFile(config.AddrFile)
	require.NoError(t, err)
	var addresses map[string]string
	require.NoError(t, json.Unmarshal(raw, &addresses))
	for _, door := range doors {
		_, port, err := net.SplitHostPort(addresses[door])
		require.NoError(t, err, door)
		assert.NotEqual(t, "0", port)
	}
}

func TestAMissingCollectorIsOneLineNowAndThen(t *testing.T) {
	config := Default()
	config.Endpoint, config.Port = "127.0.0.1:1", 0
	config.BatchEvery, config.MetricsEvery = 20*time.Millisecond, 200*time.Millisecond
	config.ProgressEvery = 500 * time.Millisecond
	start := time.Now()
	out := runUntil(t, config, "exports failed")
	lines := strings.Count(out, "exports failed")
	reports := strings.Count(out, "requests/s")
	assert.LessOrEqual(t, lines, reports+1, "at most one line a report, and one at the end")
	assert.NotContains(t, out, " 0.0 requests/s", "the shop goes on")
	assert.Less(t, time.Since(start), patience)
}

func TestStopCutsOffRequestsThatDoNotEnd(t *testing.T) {
	s, sink := open(t)
	enable(t, s, "slow-dependency=inventory:1.5s")
	eventually(t, "somebody waits", func() bool { return s.Counts().Requests > 20 })
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
	require.NoError(t, ctx.Err(), "the whole stop is within its limit")
	assert.NotEmpty(t, sink.Spans(server("frontend")))
}

func TestControlIsServedOnItsDoor(t *testing.T) {
	s, _ := open(t, func(c *Config) { c.NoLoad = true })
	defer http.DefaultClient.CloseIdleConnections()
	url := "http://" + s.Addresses()["control"] + "/faults/"
	response, err := http.Post(url+"canary", "application/json", strings.NewReader(`{"weight":10}`))
	require.NoError(t, err)
	defer response.Body.Close()
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Len(t, s.Faults().Active(), 1)
	response, err = http.Post(url+"errors", "application/json", strings.NewReader(`{"rate":7}`))
	require.NoError(t, err)
	defer response.Body.Close()
	assert.Equal(t, http.StatusBadRequest, response.StatusCode)
	assert.Zero(t, s.Counts().Requests)
}

// freePorts returns the first of enough free ports in a row.
func freePorts(t *testing.T) int {
	t.Helper()
	for first := 20_000 + os.Getpid()%20_000; first < 60_000; first += 25 {
		free := true
		for port := first; port < first+20 && free; port++ {
			listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
			free = err == nil
			if free {
				require.NoError(t, listener.Close())
			}
		}
		if free {
			return first
		}
	}
	require.FailNow(t, "no free ports in a row")
	return 0
}

func TestServicesFindEachOtherWhenEachRunsAlone(t *testing.T) {
	sink := otlptest.Start(t)
	first := freePorts(t)
	for _, name := range []string{"inventory", "payment", "cart", "checkout", "frontend", "recommender", "load"} {
		config := testConfig(sink)
		config.Service, config.Port = name, first
		s, err := Start(t.Context(), config, io.Discard)
		require.NoError(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
			defer cancel()
			assert.NoError(t, s.Stop(ctx))
		})
	}
	eventually(t, "an order went through", func() bool {
		return len(sink.Spans(func(s otlptest.Span) bool { return s.Name == "POST /checkout/{user}" && !s.Failed() })) > 0
	})
	eventually(t, "each process reports its own memory", func() bool {
		services := map[string]bool{}
		for _, p := range sink.Points(func(p otlptest.Point) bool { return p.Metric == "go.memory.used" }) {
			services[p.Service()] = true
		}
		return len(services) == 6 && !services["shop"]
	})
	assert.Empty(t, sink.Spans(func(s otlptest.Span) bool { return s.Service() == "recommender" }))
}

func TestATakenPortIsNamedAndNothingIsLeftBehind(t *testing.T) {
	first := freePorts(t)
	taken, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first+3))
	require.NoError(t, err)
	defer taken.Close()
	config := Default()
	config.Port = first
	_, err = Start(t.Context(), config, io.Discard)
	require.ErrorContains(t, err, taken.Addr().String()+" for payment is not to be had")
	assert.ErrorContains(t, err, "-port")
	again, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first))
	require.NoError(t, err, "the doors that were open are closed again")
	require.NoError(t, again.Close())
}

func TestFilesThatCannotBeWrittenAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"truth-out": func(c *Config) { c.TruthOut = "/nowhere/truth.jsonl" },
		"addr-file": func(c *Config) { c.AddrFile = "/nowhere/addresses.json" },
		"starting":  func(c *Config) { c.DataDir = "/nowhere" },
	} {
		config := Default()
		config.Port, config.NoLoad, config.Endpoint = 0, true, "127.0.0.1:1"
		change(&config)
		_, err := Start(t.Context(), config, io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func TestConfigNamesKeyAndValue(t *testing.T) {
	fine := Default()
	require.NoError(t, fine.Validate())
	for want, change := range map[string]func(*Config){
		"endpoint must not be empty":                    func(c *Config) { c.Endpoint = "" },
		`service must be one of frontend, cart`:         func(c *Config) { c.Service = "bank" },
		"port must be from 0 to 65500 (got 70000)":      func(c *Config) { c.Port = 70_000 },
		"port must not be 0 when service is cart":       func(c *Config) { c.Service, c.Port = "cart", 0 },
		"batch-every must be at least 10ms (got 0s)":    func(c *Config) { c.BatchEvery = 0 },
		"metrics-every must be at least 100ms (got 0s)": func(c *Config) { c.MetricsEvery = 0 },
		"progress-every must be at least 100ms":         func(c *Config) { c.ProgressEvery = 0 },
		`fault "errors=cart:7": errors: rate must be`:   func(c *Config) { c.Faults = []string{"errors=cart:7"} },
		"rate must be above 0":                          func(c *Config) { c.Load.Rate = -1 },
	} {
		config := Default()
		change(&config)
		require.ErrorContains(t, config.Validate(), want)
		_, err := Start(t.Context(), config, io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func TestFlagsReachTheConfiguration(t *testing.T) {
	config := Default()
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	config.Flags(flags)
	require.NoError(t, flags.Parse([]string{"-port", "0", "-day", "10m", "-fault", "errors", "-fault", "canary=10", "-rate", "5", "-seed", "9"}))
	require.NoError(t, config.Validate())
	assert.Equal(t, 10*time.Minute, config.Load.Day)
	assert.Equal(t, []string{"errors", "canary=10"}, config.Faults)
	assert.EqualValues(t, 9, config.Load.Seed)
}

func TestTurnedAwayVisitorsAndNoTrafficAreReportedPlainly(t *testing.T) {
	s, _ := open(t, func(c *Config) { c.NoLoad = true })
	seen := &screen{}
	s.out = printer{seen}
	s.summary.Handle(errors.New("no collector"))
	s.report(time.Second)
	assert.Contains(t, seen.String(), "0.0 requests/s, 0 failed (0.0 %), faults on: none")
	assert.Contains(t, seen.String(), "1 exports failed, the last: no collector")
}
