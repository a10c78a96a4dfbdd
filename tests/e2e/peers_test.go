// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// A real Alertmanager takes our signals as alerts, with the service as a label and the evidence as annotations.
func TestAlertmanagerTakesSignals(t *testing.T) {
	alertmanager := harness.Peer(t, "prometheus-alertmanager")
	address := harness.Address(t)
	rules := harness.WriteFile(t, "alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n")
	harness.Start(t, harness.Options{
		Binary:    alertmanager,
		Args:      []string{"--config.file=" + rules, "--storage.path=" + t.TempDir(), "--web.listen-address=" + address, "--cluster.listen-address="},
		HealthURL: "http://" + address + "/-/ready",
	})
	at := newEndpoints(t)
	sinks := harness.WriteFile(t, "alertmanager-sink.yaml", `
exporters:
  optimization:
    alertmanager:
      endpoint: http://`+address+`
`)
	harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "pitwall-sidecar"),
		Configs:   []string{config(t, "demo.yaml"), sinks},
		Env:       append(at.env, "PITWALL_SIGNALS_ENDPOINT=http://"+harness.Address(t)+"/nobody-listens"),
		HealthURL: at.healthURL(),
	})
	_, control := startShop(t, at)
	harness.Await(t, time.Minute, "requests at checkout", func() bool { return goodEvents(t, at, "checkout-availability") > 100 })
	switchFault(t, http.MethodPost, control, "errors", `{"service":"checkout","rate":0.5}`)

	var alerts []struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	}
	harness.Await(t, 3*time.Minute, "an alert at Alertmanager", func() bool {
		getJSON(t, address, "/api/v2/alerts", &alerts)
		return len(alerts) > 0
	})
	assert.Equal(t, "checkout", alerts[0].Labels["service_name"])
	assert.NotEmpty(t, alerts[0].Annotations)
}

// A real Prometheus scrapes the book, and promtool finds nothing to complain about in what it scrapes.
func TestPrometheusScrapesTheBook(t *testing.T) {
	prometheus := harness.Peer(t, "prometheus")
	promtool := harness.Peer(t, "promtool")
	at := newEndpoints(t)
	exposed := harness.Address(t)
	exporter := harness.WriteFile(t, "prometheus-exporter.yaml", `
exporters:
  prometheus:
    endpoint: `+exposed+`
    resource_to_telemetry_conversion: {enabled: true}
service:
  pipelines:
    metrics/slo:
      receivers: [slo]
      exporters: [prometheus]
`)
	harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "pitwall"),
		Configs:   []string{config(t, "demo.yaml"), exporter},
		Env:       append(at.env, "PITWALL_SIGNALS_ENDPOINT=http://"+harness.Address(t)+"/nobody-listens"),
		HealthURL: at.healthURL(),
	})
	startShop(t, at)

	address := harness.Address(t)
	scrape := harness.WriteFile(t, "prometheus.yml", "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: pitwall, static_configs: [{targets: ['"+exposed+"']}]}]\n")
	harness.Start(t, harness.Options{
		Binary:    prometheus,
		Args:      []string{"--config.file=" + scrape, "--storage.tsdb.path=" + t.TempDir(), "--web.listen-address=" + address},
		HealthURL: "http://" + address + "/-/ready",
	})
	var result struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	harness.Await(t, 2*time.Minute, "the budget in Prometheus", func() bool {
		query := url.URL{Scheme: "http", Host: address, Path: "/api/v1/query", RawQuery: "query=" + url.QueryEscape(`{__name__=~"slo_error_budget_remaining.*",slo_name="checkout-availability"}`)}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, query.String(), http.NoBody)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		require.NoError(t, json.NewDecoder(response.Body).Decode(&result))
		return len(result.Data.Result) > 0
	})
	assert.Equal(t, "checkout", result.Data.Result[0].Metric["service_name"])

	response, err := http.Get("http://" + exposed + "/metrics") //nolint:noctx // a test of the address, not of the client
	require.NoError(t, err)
	defer response.Body.Close()
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = response.Body
	out, err := check.CombinedOutput()
	assert.NotContains(t, string(out), "error", "promtool: %v", err)
}

// A real browser shows the console: objectives and their state, with no script error.
func TestConsoleInABrowser(t *testing.T) {
	chromium := harness.Peer(t, "chromium")
	at := newEndpoints(t)
	harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "pitwall-sidecar"),
		Configs:   []string{config(t, "demo.yaml")},
		Env:       append(at.env, "PITWALL_SIGNALS_ENDPOINT=http://"+harness.Address(t)+"/nobody-listens"),
		HealthURL: at.healthURL(),
	})
	startShop(t, at)
	harness.Await(t, time.Minute, "requests at checkout", func() bool { return goodEvents(t, at, "checkout-availability") > 50 })

	picture := filepath.Join(t.TempDir(), "console.png")
	flags := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir=" + t.TempDir(), "--window-size=1280,800", "--virtual-time-budget=5000",
	}
	dump := exec.CommandContext(t.Context(), chromium, append(flags, "--dump-dom", "http://"+at.api+"/")...)
	dom, err := dump.Output()
	require.NoError(t, err)
	assert.Contains(t, string(dom), "checkout-availability")
	assert.Contains(t, string(dom), "demo", "the demo's windows are not labelled")

	shot := exec.CommandContext(t.Context(), chromium, append(flags, "--screenshot="+picture, "http://"+at.api+"/")...)
	require.NoError(t, shot.Run())
	info, err := os.Stat(picture)
	require.NoError(t, err)
	assert.Positive(t, info.Size())
}
