// SPDX-License-Identifier: Apache-2.0

package cardinality_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

// pictureVariable names the file the picture in the README is drawn into.
const pictureVariable = "PITWALL_PICTURE"

const (
	valueLimit  = 20
	seriesLimit = 60
	sessions    = 400
)

// Everything arrives twice at Prometheus: as it came, and folded. Two books hold the same objectives, one in front of the limiter and one
// behind it; one of these is over the very metric that explodes. What dashboards make of the metrics is asked of both views.
const shopConfig = `
extensions:
  slo/raw:
    objectives:
      - {name: availability raw, service: frontend, target: 0.99, indicator: {spans: {}}}
      - {name: views raw, service: frontend, target: 0.5, indicator: {metrics: {total: {metric: shop.page.views}, bad: {metric: shop.page.views, match: [{attribute: shop.page, equals: cart}]}}}}
      - {name: latency raw, service: frontend, target: 0.9, indicator: {metrics: {histogram: {metric: http.server.request.duration}, latency: 10ms}}}
  slo/folded:
    objectives:
      - {name: views folded, service: frontend, target: 0.5, indicator: {metrics: {total: {metric: shop.page.views}, bad: {metric: shop.page.views, match: [{attribute: shop.page, equals: cart}]}}}}
      - {name: latency folded, service: frontend, target: 0.9, indicator: {metrics: {histogram: {metric: http.server.request.duration}, latency: 10ms}}}
  optimization: {endpoint: %q}
receivers:
  otlp: {protocols: {grpc: {endpoint: %q}}}
processors:
  sli/raw: {mode: count, slo: slo/raw}
  sli/folded: {mode: count, slo: slo/folded}
  cardinality:
    slo: slo/folded
    limits: {attribute: %d, series: %d}
    initial_value: count # the collector is up before the shop
exporters:
  nop:
  prometheus/raw: {endpoint: %q, metric_expiration: 1h}
  prometheus/folded: {endpoint: %q, metric_expiration: 1h}
service:
  telemetry: {metrics: {level: none}}
  extensions: [slo/raw, slo/folded, optimization]
  pipelines:
    traces: {receivers: [otlp], processors: [sli/raw], exporters: [nop]}
    metrics/raw: {receivers: [otlp], processors: [sli/raw], exporters: [prometheus/raw]}
    metrics/folded: {receivers: [otlp], processors: [cardinality, sli/folded], exporters: [prometheus/folded]}
`

// The shop puts the session on a metric. Prometheus, behind the limiter, stores few series, and every question that does not ask for
// the session gets the answer it would have got without the limiter; no objective moves by a single event, also not the one over the metric
// that is folded.
func TestShopsUnboundedLabelIsFoldedAndNothingElse(t *testing.T) {
	collector, shopBinary := harness.Binary(t, "pitwall"), harness.Binary(t, "shop")
	api, otlp, raw, folded := harness.Address(t), harness.Address(t), harness.Address(t), harness.Address(t)
	harness.Start(t, harness.Options{Binary: collector, Configs: []string{
		harness.WriteFile(t, "shop.yaml", fmt.Sprintf(shopConfig, api, otlp, valueLimit, seriesLimit, raw, folded)),
	}})
	prom := startPrometheus(t, map[string]string{"raw": raw, "folded": folded})
	addresses := filepath.Join(t.TempDir(), "addresses.json")
	shop := harness.Start(t, harness.Options{
		Binary:    shopBinary,
		Args:      []string{"-endpoint", otlp, "-port", "0", "-addr-file", addresses, "-seed", "1"},
		ReadyLine: "all services ready",
	})
	began := time.Now().UnixMilli()
	var end int64 // 0 until then
	series := func(view string) float64 {
		n, _ := prom.one(t, fmt.Sprintf(`count(shop_page_views_total{view=%q})`, view), end)
		return n
	}
	harness.Await(t, time.Minute, "page views in both views", func() bool { return series("raw") > 0 && series("folded") > 0 })
	time.Sleep(5 * time.Second) // some calm, for the picture
	calm := readBook(t, api)
	assert.Positive(t, calm["views folded"].Bad, "%v", calm)
	switchFault(t, addresses, "unbounded-label", fmt.Sprintf(`{"max_values":%d}`, sessions*4))
	harness.Await(t, 5*time.Minute, "the explosion", func() bool { return series("raw") > sessions })
	_, err := shop.Stop()
	require.NoError(t, err)
	time.Sleep(4 * scrapeEvery)
	end = prom.settled(t, 2)

	exploded, kept := series("raw"), series("folded")
	assert.LessOrEqual(t, kept, float64(seriesLimit+10), "more series than the limit and the overflow series")
	assert.Greater(t, exploded, 5*kept)
	compared := compare(t, prom, end)
	books := readBook(t, api)
	for _, objective := range []string{"views", "latency"} {
		before, without, with := calm[objective+" raw"], books[objective+" raw"], books[objective+" folded"]
		assert.Greater(t, without.Good, before.Good, objective)
		assert.InDelta(t, without.Good, with.Good, 1e-6, "good events of %s", objective)
		assert.InDelta(t, without.Bad, with.Bad, 1e-6, "bad events of %s", objective)
	}
	assert.Greater(t, books["views folded"].Bad, calm["views folded"].Bad, "an objective that nothing is bad for shows little")
	book := books["availability raw"].Good + books["availability raw"].Bad
	for _, view := range []string{"raw", "folded"} {
		served, ok := prom.one(t, fmt.Sprintf(`sum(http_server_request_duration_seconds_count{job=~"(.*/)?frontend",view=%q})`, view), end)
		require.True(t, ok)
		assert.InDelta(t, book, served, 0, "the book of frontend-availability, in events, and the requests in the view %s", view)
	}
	figures.Record(t, figures.Figure{
		Table: "cardinality: the shop's unbounded label",
		Row:   "series of shop.page.views in a real Prometheus, and what else moves",
		Reached: fmt.Sprintf("%.0f without the limiter, %.0f with it; 0 of %d totals by other attributes differ; the book holds all %.0f requests, "+
			"and an objective over the metric itself %.0f good and %.0f bad views, as in front of the limiter",
			exploded, kept, compared, book, books["views folded"].Good, books["views folded"].Bad),
		Wanted:  fmt.Sprintf("at most %d and the overflow series; 0", seriesLimit),
		Command: "go -C tests test -v -run Shop ./cardinality",
	})
	if path := os.Getenv(pictureVariable); path != "" {
		require.NoError(t, os.WriteFile(path, []byte(draw(t, prom, began, time.Now().UnixMilli())), 0o600))
	}
}

// compare asks both views the same questions: every counter and histogram, by every attribute but the one that explodes.
func compare(t *testing.T, prom prometheus, at int64) int {
	t.Helper()
	compared := 0
	for _, metric := range []string{
		"shop_page_views_total", "http_server_request_duration_seconds_count", "http_server_request_duration_seconds_sum",
		"http_server_request_duration_seconds_bucket", "http_client_request_duration_seconds_count", "rpc_server_call_duration_seconds_count",
	} {
		expression := fmt.Sprintf("sum without (session_id, instance) (%s)", metric)
		totals := map[string]map[string]float64{}
		for _, s := range prom.query(t, expression, at) {
			view := s.labels["view"]
			delete(s.labels, "view")
			if totals[view] == nil {
				totals[view] = map[string]float64{}
			}
			totals[view][fmt.Sprint(s.labels)] = s.samples[0].value
		}
		require.NotEmpty(t, totals["raw"], metric)
		require.Len(t, totals["folded"], len(totals["raw"]), metric)
		for labels, want := range totals["raw"] {
			assert.InDelta(t, want, totals["folded"][labels], 1e-9*want, "%s %s", metric, labels)
			compared++
		}
	}
	return compared
}

func switchFault(t *testing.T, addresses, fault, body string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(addresses))
	require.NoError(t, err)
	var at map[string]string
	require.NoError(t, json.Unmarshal(content, &at))
	response, err := http.Post("http://"+at["control"]+"/faults/"+fault, "application/json", strings.NewReader(body)) //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	defer response.Body.Close()
	require.Less(t, response.StatusCode, 300)
}

type events struct{ Good, Bad float64 }

// readBook returns the events of each objective.
func readBook(t *testing.T, api string) map[string]events {
	t.Helper()
	response, err := http.Get("http://" + api + "/api/v1/slos") //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var answer struct {
		SLOs []struct {
			Name string
			events
		} `json:"slos"`
	}
	require.NoError(t, json.Unmarshal(body, &answer), string(body))
	require.Len(t, answer.SLOs, 5, string(body))
	all := map[string]events{}
	for _, s := range answer.SLOs {
		all[s.Name] = s.events
	}
	return all
}
