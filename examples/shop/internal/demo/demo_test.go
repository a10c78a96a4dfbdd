// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const patience = time.Minute

// screen is what the user sees.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
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

// free returns an address nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// testConfig plays a collector that does what say says, on free ports.
func testConfig(t *testing.T, say string) Config {
	t.Helper()
	for _, name := range []string{"PITWALL_OTLP_GRPC_ENDPOINT", "PITWALL_OTLP_HTTP_ENDPOINT", "PITWALL_API_ENDPOINT", "PITWALL_HEALTH_ENDPOINT"} {
		t.Setenv(name, free(t))
	}
	_, port, err := net.SplitHostPort(free(t))
	require.NoError(t, err)
	t.Setenv("PITWALL_METRICS_PORT", port)

	dir := t.TempDir()
	config := Default()
	config.File = filepath.Join(dir, "config.yaml")
	require.NoError(t, os.WriteFile(config.File, []byte(say), 0o600))
	config.Collector, err = os.Executable()
	require.NoError(t, err)
	config.Listen, config.RunDir = "127.0.0.1:0", filepath.Join(dir, "run")
	config.FaultAfter, config.FaultFor = 0, time.Hour
	config.Fault = "errors=payment:1"
	config.Once, config.Timeout = true, patience
	config.Shop.Port, config.Shop.Load.Rate = 0, 200
	config.Shop.BatchEvery = 20 * time.Millisecond
	require.NoError(t, config.Validate())
	return config
}

func TestOnceEndsWithTheFirstFiringSignal(t *testing.T) {
	config := testConfig(t, "ok")
	seen := &screen{}
	require.NoError(t, Run(t.Context(), config, seen))
	out := seen.String()
	assert.Contains(t, out, "trouble begins: errors (rate=1 service=payment)")
	assert.Contains(t, out, "FIRING optimization.slo.burn for checkout, objective checkout-availability (page)")
	assert.Contains(t, out, "burning 28.0 times too fast; 72.0 % of the error budget left; 3m: 28.0; demo windows, far too short for production")
	assert.Contains(t, out, "recommended: investigate, can be undone, risk low")
	assert.Regexp(t, `traces that show it: [0-9a-f]{32}\n`, out)
	assert.Regexp(t, `the first firing signal took \d+\.\d seconds`, out)
	assert.Less(t, strings.Index(out, "the shop has stopped"), strings.Index(out, "the collector has stopped"))
	log, err := os.ReadFile(filepath.Join(config.RunDir, "collector.log"))
	require.NoError(t, err)
	assert.Contains(t, string(log), "Shutdown complete.")
}

func TestFaultComesAndGoes(t *testing.T) {
	config := testConfig(t, "ok")
	config.Once, config.FaultFor = false, time.Second
	config.FaultAfter = 100 * time.Millisecond
	config.Shop.ProgressEvery = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := &screen{}
	done := make(chan error, 1)
	go func() { done <- Run(ctx, config, seen) }()
	require.Eventually(t, func() bool { return strings.Count(seen.String(), "trouble begins") == 2 }, patience, 20*time.Millisecond)
	cancel()
	require.NoError(t, <-done, "Ctrl-C is a good end")
	assert.Equal(t, 1, strings.Count(seen.String(), "the trouble is over"))
	assert.Contains(t, seen.String(), "faults on: errors")
	assert.Contains(t, seen.String(), "demo: stopping")
}

func TestACollectorThatDiesIsExplained(t *testing.T) {
	err := Run(t.Context(), testConfig(t, "die"), &screen{})
	require.ErrorContains(t, err, "exit status 7")
	assert.ErrorContains(t, err, "Everything is ready.")
	assert.ErrorContains(t, err, "the ground opened")
}

func TestACollectorThatRefusesItsConfigurationIsExplained(t *testing.T) {
	seen := &screen{}
	err := Run(t.Context(), testConfig(t, "refuse"), seen)
	require.ErrorContains(t, err, "exit status 3")
	assert.Contains(t, seen.String(), "collector: Error: invalid configuration: unknown key")
	assert.NotContains(t, seen.String(), "collector: 2026")
}

func TestACollectorThatDoesNotStopIsKilled(t *testing.T) {
	config := testConfig(t, "stubborn")
	require.NoError(t, os.MkdirAll(config.RunDir, 0o755))
	c, err := startCollector(config.Collector, config.File, filepath.Join(config.RunDir, "log"), nil, func(string) {})
	require.NoError(t, err)
	require.NoError(t, c.ready(t.Context(), os.Getenv("PITWALL_OTLP_GRPC_ENDPOINT")))
	require.ErrorContains(t, within(10*time.Millisecond, c.stop), "was killed")
}

func TestNoSignalInTimeIsAFailure(t *testing.T) {
	config := testConfig(t, "ok")
	config.FaultAfter, config.Timeout = time.Hour, time.Second
	require.ErrorContains(t, Run(t.Context(), config, &screen{}), "no firing signal within 1s")
}

func TestABinaryThatIsNotThereIsNamed(t *testing.T) {
	config := testConfig(t, "ok")
	config.Collector = filepath.Join(t.TempDir(), "nothing")
	require.ErrorContains(t, Run(t.Context(), config, &screen{}), config.Collector)
}

func TestATakenPortIsNamedWithWhatMovesIt(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	address := taken.Addr().String()
	for _, variable := range []string{"PITWALL_OTLP_GRPC_ENDPOINT", "PITWALL_OTLP_HTTP_ENDPOINT", "PITWALL_API_ENDPOINT", "PITWALL_HEALTH_ENDPOINT"} {
		t.Run(variable, func(t *testing.T) {
			config := testConfig(t, "ok")
			t.Setenv(variable, address)
			err := Run(t.Context(), config, &screen{})
			require.ErrorContains(t, err, address)
			assert.ErrorContains(t, err, variable)
		})
	}
	t.Run("listen", func(t *testing.T) {
		config := testConfig(t, "ok")
		config.Listen = address
		err := Run(t.Context(), config, &screen{})
		require.ErrorContains(t, err, address)
		assert.ErrorContains(t, err, "-listen")
	})
}

func TestConfigNamesKeyAndValue(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"collector must name":                        func(c *Config) { c.Collector = "" },
		"config must name":                           func(c *Config) { c.File = "" },
		"fault-after must not be negative (got -1s)": func(c *Config) { c.FaultAfter = -time.Second },
		"fault-for must be at least 1s (got 1ms)":    func(c *Config) { c.FaultFor = time.Millisecond },
		"timeout must be at least 1s (got 0s)":       func(c *Config) { c.Timeout = 0 },
		`fault "nonsense"`:                           func(c *Config) { c.Fault = "nonsense" },
		"rate must be above 0":                       func(c *Config) { c.Shop.Load.Rate = 0 },
	} {
		config := Default()
		config.Collector, config.File = "pitwall", "demo.yaml"
		require.NoError(t, config.Validate())
		change(&config)
		assert.ErrorContains(t, config.Validate(), want)
	}
}

func TestFlagsReachTheConfiguration(t *testing.T) {
	config := Default()
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	config.Flags(flags)
	require.NoError(t, flags.Parse([]string{"-collector", "bin/pitwall", "-config", "demo.yaml", "-once", "-timeout", "9m", "-shop-port", "0", "-fault", "n-plus-one"}))
	require.NoError(t, config.Validate())
	assert.Equal(t, "bin/pitwall", config.Collector)
	assert.Equal(t, 9*time.Minute, config.Timeout)
	assert.Zero(t, config.Shop.Port)
	assert.True(t, config.Once)
}

func TestLogTailKeepsTheLastLinesAndRepeatsErrorsWithABound(t *testing.T) {
	var file strings.Builder
	var told []string
	tail := &logTail{file: &file, tell: func(line string) { told = append(told, line) }}
	for range 50 {
		_, err := tail.Write([]byte("t\terr"))
		require.NoError(t, err)
		_, err = tail.Write([]byte("or\tx\nt\tinfo\ty\n"))
		require.NoError(t, err)
	}
	_, err := tail.Write([]byte(strings.Repeat("z", 3*maxLine) + "end"))
	require.NoError(t, err)
	assert.Len(t, told, maxErrorLines+1)
	assert.Equal(t, "t\terror\tx", told[0])
	assert.Equal(t, "more errors are in its log", told[maxErrorLines])
	lines := tail.tail()
	assert.Len(t, lines, lastLines+1)
	assert.Equal(t, "end", lines[lastLines])
	for _, line := range lines {
		assert.LessOrEqual(t, len(line), maxLine)
	}
	assert.Len(t, file.String(), 50*len("t\terror\tx\nt\tinfo\ty\n")+3*maxLine+3)
}
