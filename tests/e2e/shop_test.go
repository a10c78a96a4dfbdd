// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// cloudEvents is a real HTTP server that keeps the CloudEvents it is sent.
type cloudEvents struct {
	mu     sync.Mutex
	events []map[string]any
	bad    []string
}

func (c *cloudEvents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var event map[string]any
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/cloudevents+json") {
		c.bad = append(c.bad, r.Header.Get("Content-Type")+" "+string(body))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.events = append(c.events, event)
	w.WriteHeader(http.StatusAccepted)
}

// find returns the first event for which match is true.
func (c *cloudEvents) find(match func(map[string]any) bool) map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if match(e) {
			return e
		}
	}
	return nil
}

func data(event map[string]any, keys ...string) any {
	value := event["data"]
	for _, key := range keys {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[key]
	}
	return value
}

// The thin path, whole: a fault switched on in a real service, over real HTTP, ends as a CloudEvent at a real receiver.
func TestShopErrorFaultArrivesAsCloudEvent(t *testing.T) {
	collectorBinary := harness.Binary(t, "pitwall-sidecar")
	receiver := &cloudEvents{}
	server := httptest.NewServer(receiver)
	defer server.Close()
	at := newEndpoints(t)
	tracesFile := filepath.Join(t.TempDir(), "traces.jsonl")
	record := harness.WriteFile(t, "record.yaml", `
exporters:
  file:
    path: `+tracesFile+`
    flush_interval: 200ms
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter, sli]
      exporters: [file, slo, optimizer]
`)
	collector := harness.Start(t, harness.Options{
		Binary:    collectorBinary,
		Configs:   []string{config(t, "demo.yaml"), record},
		Env:       append(at.env, "PITWALL_SIGNALS_ENDPOINT="+server.URL+"/events"),
		HealthURL: at.healthURL(),
	})

	shop, control := startShop(t, at)

	// A quiet half minute first: no fault, no signal.
	harness.Await(t, time.Minute, "the book to see checkout", func() bool { return goodEvents(t, at, "checkout-availability") > 100 })
	require.Nil(t, receiver.find(func(map[string]any) bool { return true }), "a signal without a fault")

	switchFault(t, http.MethodPost, control, "errors", `{"service":"checkout","rate":0.5}`)
	firing := func(e map[string]any) bool {
		return data(e, "state") == "firing" && data(e, "target", "service") == "checkout"
	}
	harness.Await(t, 3*time.Minute, "a signal that names checkout", func() bool { return receiver.find(firing) != nil })
	event := receiver.find(firing)

	assert.Equal(t, "1.0", event["specversion"])
	assert.Equal(t, "optimization.slo.burn", event["type"])
	for _, attribute := range []string{"id", "source", "time", "datacontenttype"} {
		assert.NotEmpty(t, event[attribute], attribute)
	}
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(harness.Root(t), "docs", "signal.schema.json"))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(event["data"]), "the envelope does not validate against the published schema")
	assert.NotEmpty(t, data(event, "evidence", "windows"))

	exemplars, ok := data(event, "evidence", "exemplars").([]any)
	require.True(t, ok)
	require.GreaterOrEqual(t, len(exemplars), 3)

	switchFault(t, http.MethodDelete, control, "errors", "")
	resolved := func(e map[string]any) bool {
		return data(e, "id") == data(event, "id") && data(e, "state") == "resolved"
	}
	harness.Await(t, 6*time.Minute, "the signal to resolve", func() bool { return receiver.find(resolved) != nil })

	shopExit, err := shop.Stop()
	require.NoError(t, err)
	assert.Zero(t, shopExit.Code)
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)

	exported, err := os.ReadFile(filepath.Clean(tracesFile))
	require.NoError(t, err)
	for _, exemplar := range exemplars {
		object, isObject := exemplar.(map[string]any)
		require.True(t, isObject)
		text, isText := object["trace_id"].(string)
		require.True(t, isText)
		assert.True(t, bytes.Contains(exported, []byte(`"traceId":"`+text+`"`)), "exemplar %s was not exported", text)
	}
	assert.Empty(t, receiver.bad)
}

// goodEvents reads an objective's good events from the API.
func goodEvents(t *testing.T, at endpoints, objective string) float64 {
	t.Helper()
	var book struct {
		SLOs []struct {
			Name string  `json:"name"`
			Good float64 `json:"good"`
		} `json:"slos"`
	}
	getJSON(t, at.api, "/api/v1/slos", &book)
	for _, s := range book.SLOs {
		if s.Name == objective {
			return s.Good
		}
	}
	return 0
}

// startShop opens the shop, sending to the collector at at, and returns the address of its fault control.
func startShop(t *testing.T, at endpoints) (*harness.Process, string) {
	t.Helper()
	addresses := filepath.Join(t.TempDir(), "addresses.json")
	shop := harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "shop"),
		Args:      []string{"-endpoint", at.otlpGRPC, "-port", "0", "-addr-file", addresses, "-seed", "1"},
		ReadyLine: "all services ready",
	})
	return shop, controlAddress(t, addresses)
}

// controlAddress reads where the shop's fault control listens.
func controlAddress(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(path))
	require.NoError(t, err)
	var addresses map[string]string
	require.NoError(t, json.Unmarshal(content, &addresses))
	require.NotEmpty(t, addresses["control"])
	return addresses["control"]
}

func switchFault(t *testing.T, method, control, fault, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+control+"/faults/"+fault, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, 300, string(answer))
}
