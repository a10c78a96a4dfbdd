// SPDX-License-Identifier: Apache-2.0

// Package badinput_test sends the built binary what no client should send, and
// holds that good data afterwards gives the same result as without it.
package badinput_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/tests/harness"
	"github.com/pitwall-io/pitwall/tests/otlpload"
)

const (
	wait = 60 * time.Second
	// fixtures is how many bad requests there are.
	fixtures = 40
)

// collector is a binary with every component of ours in its pipelines. The
// replay receiver plays the bad requests too, into pipelines of its own so that
// the rest of the result does not depend on it.
type collector struct {
	process              *harness.Process
	http, grpc, api, dir string
}

func start(t *testing.T, replayed string) *collector {
	t.Helper()
	c := &collector{http: harness.Address(t), grpc: harness.Address(t), api: harness.Address(t), dir: t.TempDir()}
	config := fmt.Sprintf(`
extensions:
  file_storage: {directory: %[1]q}
  optimization: {endpoint: %[2]q}
  slo:
    storage: file_storage
    objectives:
      - {name: availability, service: checkout, target: 0.9, window: 1d, indicator: {spans: {}}}
      - {name: latency, service: checkout, target: 0.9, window: 1d, indicator: {spans: {latency: 13ms}}}
      - {name: everybody, group_by: [service.name], target: 0.9, window: 1d, indicator: {spans: {}}}
      - {name: logs, group_by: [service.name], target: 0.9, window: 1d, indicator: {logs: {bad_severity: ERROR}}}
receivers:
  otlp: {protocols: {grpc: {endpoint: %[3]q}, http: {endpoint: %[4]q}}}
  replay:
    traces: [%[6]q]
    metrics: [%[7]q]
    logs: [%[8]q]
    speed: 0
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 1024}
  sli: {mode: count}
  sli/mark: {mode: mark}
  sli/merge: {mode: merge}
connectors:
  slo: {flush_interval: 200ms}
  optimizer:
  optimizer/replayed:
exporters:
  nop:
  file: {path: %[5]q, flush_interval: 100ms}
  optimization: {file: {path: %[9]q}}
service:
  telemetry: {metrics: {level: none}}
  extensions: [file_storage, slo, optimization]
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, sli], exporters: [nop, slo, optimizer]}
    logs: {receivers: [otlp], processors: [memory_limiter, sli], exporters: [nop, slo, optimizer]}
    metrics: {receivers: [otlp], processors: [memory_limiter, sli/merge], exporters: [nop, slo, optimizer]}
    metrics/slo: {receivers: [slo], exporters: [file]}
    logs/slo: {receivers: [slo], exporters: [optimizer]}
    traces/replayed: {receivers: [replay], processors: [sli/mark], exporters: [nop, optimizer/replayed]}
    logs/replayed: {receivers: [replay], processors: [sli/mark], exporters: [nop, optimizer/replayed]}
    metrics/replayed: {receivers: [replay], exporters: [nop, optimizer/replayed]}
    logs/signals: {receivers: [optimizer, optimizer/replayed], exporters: [optimization]}
`, c.dir, c.api, c.grpc, c.http, c.metrics(),
		filepath.Join(replayed, "trace_*.jsonl"), filepath.Join(replayed, "metric_*.jsonl"), filepath.Join(replayed, "log_*.jsonl"),
		filepath.Join(c.dir, "signals.jsonl"))
	c.process = harness.Start(t, harness.Options{
		Binary:  harness.Binary(t, "pitwall-sidecar"),
		Configs: []string{harness.WriteFile(t, "all.yaml", config)},
	})
	return c
}

func (c *collector) metrics() string { return filepath.Join(c.dir, "metrics.jsonl") }

// send posts a request as it stands in a file and returns the status.
func (c *collector) send(t *testing.T, path string) int {
	t.Helper()
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	kind, _, _ := strings.Cut(filepath.Base(path), "_")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.http+"/v1/"+kind+"s", bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err, "the collector must answer %s", filepath.Base(path))
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.StatusCode
}

// objective is what the collector says of one objective of one service, apart
// from what depends on the moment it is asked.
type objective struct {
	Name       string            `json:"name"`
	Service    string            `json:"service"`
	Group      map[string]string `json:"group"`
	State      string            `json:"state"`
	Good       float64           `json:"good"`
	Bad        float64           `json:"bad"`
	Compliance float64           `json:"compliance"`
	Budget     float64           `json:"error_budget_remaining"`
}

// objectives asks for the book and keeps what is about the named services.
func (c *collector) objectives(t *testing.T, services []string) []objective {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.api+"/api/v1/slos", http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var answer struct {
		SLOs []objective `json:"slos"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	return slices.DeleteFunc(answer.SLOs, func(o objective) bool {
		return !slices.Contains(services, o.Service) && !slices.Contains(services, o.Group["service.name"])
	})
}

// events sums the exported slo.events by objective, group and verdict.
func (c *collector) events(t *testing.T, services []string) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(c.metrics())
	if err != nil {
		return nil
	}
	sums := map[string]float64{}
	for line := range bytes.Lines(text) {
		metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line)
		if err != nil {
			continue // the last line is still being written
		}
		for _, resource := range metrics.ResourceMetrics().All() {
			for _, scope := range resource.ScopeMetrics().All() {
				for _, metric := range scope.Metrics().All() {
					if metric.Name() == "slo.events" {
						add(sums, textOf(resource.Resource().Attributes(), "service.name"), metric, services)
					}
				}
			}
		}
	}
	return sums
}

func add(sums map[string]float64, service string, metric pmetric.Metric, services []string) {
	for _, point := range metric.Sum().DataPoints().All() {
		group := textOf(point.Attributes(), "slo.group.service.name")
		if !slices.Contains(services, service) && !slices.Contains(services, group) {
			continue
		}
		value := point.DoubleValue()
		if point.ValueType() == pmetric.NumberDataPointValueTypeInt {
			value = float64(point.IntValue())
		}
		sums[strings.Join([]string{textOf(point.Attributes(), "slo.name"), group, textOf(point.Attributes(), "slo.verdict")}, " ")] += value
	}
}

func textOf(attributes pcommon.Map, key string) string {
	value, ok := attributes.Get(key)
	if !ok {
		return ""
	}
	return value.AsString()
}

// result sends the good data and returns what the collector makes of it.
func (c *collector) result(t *testing.T, good *otlpload.Recording) ([]objective, map[string]float64) {
	t.Helper()
	services := []string{"frontend", "cart", "checkout"}
	sent, err := otlpload.Sender{Endpoint: c.grpc, Concurrency: 1}.Send(t.Context(), good)
	require.NoError(t, err)
	require.Equal(t, int64(good.Spans), sent.Acked, sent)

	// Each trace has one server span in each service: what every objective counts.
	traces := float64(good.Spans / (2 * len(services)))
	want := traces * float64(2+len(services))
	var events map[string]float64
	counted := harness.Eventually(wait, func() bool {
		events = c.events(t, services)
		sum := 0.0
		for _, n := range events {
			sum += n
		}
		return sum >= want
	})
	require.True(t, counted, "every server span is counted for each of its objectives: want %v in %v", want, events)
	return c.objectives(t, services), events
}

func TestGoodDataGivesTheSameResultAfterBadData(t *testing.T) {
	dir := recordings.Path(t, "fixtures", "otlp-badinput")
	bad, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, bad, fixtures)

	// Both collectors get the same spans, recent enough to be in every window.
	good, err := otlpload.Synthetic{
		Traces: 2000, Services: 3, ErrorRatio: 0.05, Start: time.Now().Add(-2 * time.Minute), Seed: 7,
	}.Generate()
	require.NoError(t, err)

	spoiled, clean := start(t, dir), start(t, dir)

	accepted := 0
	for range 3 {
		for _, path := range bad {
			status := spoiled.send(t, path)
			assert.Less(t, status, 500, "%s: a client's mistake is not the server's", filepath.Base(path))
			if status == http.StatusOK {
				accepted++
			}
		}
	}
	assert.Greater(t, accepted, fixtures, "most of it is valid OTLP with strange values, and reaches the components")

	gotObjectives, gotEvents := spoiled.result(t, good)
	wantObjectives, wantEvents := clean.result(t, good)

	assert.Equal(t, wantEvents, gotEvents)
	assert.ElementsMatch(t, wantObjectives, gotObjectives)
	require.NotEmpty(t, wantObjectives)
	for _, c := range []*collector{spoiled, clean} {
		exit, err := c.process.Stop()
		require.NoError(t, err)
		assert.Zero(t, exit.Code)
		assert.NotContains(t, c.process.Logs(), "panic")
	}
}
