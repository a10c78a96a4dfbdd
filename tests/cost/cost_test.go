// SPDX-License-Identifier: Apache-2.0

// Package cost runs the worked examples of configs/cost in the built binary.
package cost

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/report"
	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/tests/harness"
)

// answer is what these tests read of /api/v1/costs.
type answer struct {
	Waste   []report.Wasted
	Sources map[string]report.Costs
	Prices  map[string]json.RawMessage
}

// place is the addresses and files of one collector.
type place struct {
	otlp, api, health string
	env               []string
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{otlp: harness.Address(t), api: harness.Address(t), health: harness.Address(t)}
	_, port, err := net.SplitHostPort(harness.Address(t))
	require.NoError(t, err)
	examples := filepath.Join(harness.Root(t), "configs", "cost")
	state := t.TempDir()
	p.env = []string{
		"PITWALL_OTLP_GRPC_ENDPOINT=" + p.otlp, "PITWALL_OTLP_GRPC=" + p.otlp, "PITWALL_API_ENDPOINT=" + p.api, "PITWALL_HEALTH_ENDPOINT=" + p.health,
		"PITWALL_METRICS_PORT=" + port, "PITWALL_STATE_DIR=" + state, "PITWALL_STATE=" + state, "PITWALL_BACKEND=" + harness.Address(t),
		"PITWALL_COST_OWNERS=" + filepath.Join(examples, "owners.csv"), "PITWALL_COST_NAMESPACES=" + filepath.Join(examples, "namespaces.csv"),
		"PITWALL_COST_PRICES=" + filepath.Join(examples, "prices.csv"), "PITWALL_COST_CARBON=" + filepath.Join(examples, "carbon.csv"), "PITWALL_COST_ACCOUNTS=" + filepath.Join(examples, "accounts.csv"),
		"PITWALL_COST_EMIT_INTERVAL=10s",
	}
	return p
}

func (p *place) collector(t *testing.T, config string) *harness.Process {
	t.Helper()
	return harness.Start(t, harness.Options{
		Binary: harness.Binary(t, "pitwall-sidecar"), Configs: []string{filepath.Join(harness.Root(t), "configs", "cost", config)},
		Env: p.env, HealthURL: "http://" + p.health + "/health/status",
	})
}

// costs asks the API.
func (p *place) costs(t *testing.T) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.api+"/api/v1/costs", http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var a answer
	require.NoError(t, json.NewDecoder(response.Body).Decode(&a))
	return a
}

// service is the allocated cost of a service; zero when it has none.
func (a *answer) service(name string) report.AccountResource {
	if r := a.Sources["cost"].Resources; r != nil {
		for i := range r.Accounts {
			if r.Accounts[i].Service == name {
				return r.Accounts[i]
			}
		}
	}
	return report.AccountResource{}
}

func startShop(t *testing.T, p *place) (shop *harness.Process, control string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "addresses.json")
	shop = harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "shop"),
		Args:      []string{"-endpoint", p.otlp, "-port", "0", "-addr-file", file, "-seed", "1"},
		ReadyLine: "all services ready",
	})
	text, err := os.ReadFile(filepath.Clean(file))
	require.NoError(t, err)
	var addresses map[string]string
	require.NoError(t, json.Unmarshal(text, &addresses))
	return shop, addresses["control"]
}

func switchOn(t *testing.T, control, fault string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+control+"/faults/"+fault, strings.NewReader("{}"))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Less(t, response.StatusCode, 300)
}

// The shop's five services cost money and serve requests: each has a cost per request. A sixth is switched on that is expensive and
// serves nobody: it heads the list of waste. Totals go on where they were after the collector is killed.
func TestTheShopShowsCostPerRequestAndTheIdleExpensiveServiceFirst(t *testing.T) {
	p := newPlace(t)
	collector := p.collector(t, "shop.yaml")
	shop, control := startShop(t, &p)
	services := []string{"frontend", "cart", "checkout", "payment", "inventory"}
	var got answer
	harness.Await(t, 2*time.Minute, "a cost per request for every service", func() bool {
		got = p.costs(t)
		return !slices.ContainsFunc(services, func(s string) bool { return got.service(s).PerRequest <= 0 })
	})
	for _, s := range services {
		a := got.service(s)
		assert.InDelta(t, a.Hourly*got.Sources["cost"].Resources.WindowHours, a.PerRequest*a.Requests, 1e-9, "%s: over its requests it is what the service cost", s)
		assert.True(t, a.Spoken, s)
		assert.Positive(t, a.CarbonPerRequest, s)
	}
	assert.Equal(t, "team-checkout", got.service("checkout").Owner)
	assert.False(t, slices.ContainsFunc(got.Waste, func(w report.Wasted) bool { return slices.Contains(services, w.Service) && w.Reason == "no_requests" }))

	switchOn(t, control, "idle-service")
	harness.Await(t, 2*time.Minute, "the idle expensive service at the top", func() bool {
		got = p.costs(t)
		return len(got.Waste) > 0 && got.Waste[0].Service == "recommender"
	})
	assert.Equal(t, "no_requests", got.Waste[0].Reason)
	harness.Await(t, time.Minute, "a whole window of it", func() bool {
		got = p.costs(t)
		hourly := got.service("recommender").Hourly
		return hourly > 0.5*idleHourly && hourly < 1.6*idleHourly // a window of ten seconds holds one to three samples
	})

	received, sent := got.Sources["cost"].Telemetry, got.Sources["cost/sent"].Telemetry
	require.NotNil(t, received)
	require.NotNil(t, sent)
	assert.Equal(t, "received", sent.Baseline)
	assert.Positive(t, received.Amount)
	assert.Positive(t, sent.Amount)
	price, currency, ok := report.SeriesMonth(got.Prices)
	assert.True(t, ok)
	assert.Equal(t, 0.008, price)
	assert.Equal(t, "USD", currency)

	sum := 0.0
	for _, a := range got.Sources["cost"].Resources.Accounts {
		sum += a.Total
	}
	assert.InDelta(t, got.Sources["cost"].Resources.Total, sum, 1e-9)
	figures.Record(t, figures.Figure{
		Table: "Cost", Row: "The shop: an idle expensive service", Reached: fmt.Sprintf("first of %d in the list of waste, %d of 5 services with a cost per request", len(got.Waste), len(services)),
		Wanted: "at the top", Command: "go -C tests test ./cost -run Shop",
	})

	exit, err := shop.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	before := p.costs(t)
	collector.Kill()

	collector = p.collector(t, "shop.yaml")
	var after answer
	harness.Await(t, time.Minute, "costs after the restart", func() bool {
		after = p.costs(t)
		return after.Sources["cost"].Resources != nil && len(after.Sources["cost"].Resources.Accounts) > 0
	})
	assert.True(t, before.Sources["cost"].Since.Equal(after.Sources["cost"].Since), "the sums began when they began")
	for _, s := range append(services, "recommender") {
		assert.GreaterOrEqual(t, after.service(s).Total, before.service(s).Total, s)
	}
	exit, err = collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
}

// idleHourly is what 2 cores and 4 GiB cost an hour in europe-west1, by configs/cost/prices.csv.
const idleHourly = 2*0.034772 + 4*0.004661

// fileSink is an exporter to a file for each pipeline, in place of the backend of an example. One file exporter in several pipelines is one
// file, which the first of them to stop closes: the last metrics of the others would find it gone.
func fileSink(t *testing.T, pipelines ...string) (config string, paths map[string]string) {
	t.Helper()
	dir := t.TempDir()
	var exporters, uses strings.Builder
	paths = map[string]string{}
	for _, p := range pipelines {
		name := strings.ReplaceAll(p, "/", "-")
		paths[p] = filepath.Join(dir, name+".jsonl")
		fmt.Fprintf(&exporters, "  file/%s: {path: %s, flush_interval: 100ms}\n", name, paths[p])
		fmt.Fprintf(&uses, "    %s: {exporters: [file/%s]}\n", p, name)
	}
	return harness.WriteFile(t, "sink.yaml", "exporters:\n"+exporters.String()+"service:\n  pipelines:\n"+uses.String()), paths
}

// pointsOf are the points of one metric in a file of OTLP JSON lines, with the attributes of their resources.
func pointsOf(t *testing.T, path, metric string) (values []float64, resources []map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(path))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var doc struct {
			ResourceMetrics []struct {
				Resource struct {
					Attributes []struct {
						Key   string
						Value struct{ StringValue string }
					}
				}
				ScopeMetrics []struct {
					Metrics []struct {
						Name string
						Sum  struct {
							DataPoints []struct{ AsDouble float64 }
						}
					}
				}
			}
		}
		if json.Unmarshal([]byte(line), &doc) != nil {
			continue // the last line may be on its way
		}
		for _, rm := range doc.ResourceMetrics {
			attributes := map[string]string{}
			for _, a := range rm.Resource.Attributes {
				attributes[a.Key] = a.Value.StringValue
			}
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					if m.Name != metric {
						continue
					}
					for _, dp := range m.Sum.DataPoints {
						values = append(values, dp.AsDouble)
						resources = append(resources, attributes)
					}
				}
			}
		}
	}
	return values, resources
}

// The worked example of services, as it is shipped: what the shop sends leaves with owners, from its table.
func TestTheExampleOfServicesRuns(t *testing.T) {
	p := newPlace(t)
	sink, paths := fileSink(t, "traces", "metrics", "logs")
	collector := harness.Start(t, harness.Options{
		Binary: harness.Binary(t, "pitwall-sidecar"), Configs: []string{filepath.Join(harness.Root(t), "configs", "cost", "services.yaml"), sink}, Env: p.env,
	})
	shop, _ := startShop(t, &p)
	harness.Await(t, time.Minute, "tagged spans", func() bool {
		text, err := os.ReadFile(filepath.Clean(paths["traces"]))
		return err == nil && strings.Contains(string(text), "table:owners:")
	})
	_, err := shop.Stop()
	require.NoError(t, err)
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	_, resources := pointsOf(t, paths["metrics"], "cost.telemetry.bytes")
	owners := map[string]string{}
	for _, r := range resources {
		owners[r["service.name"]] = r["service.owner.name"]
	}
	assert.Equal(t, "team-checkout", owners["checkout"])
	assert.Equal(t, "team-shop", owners["cart"])
	amounts, _ := pointsOf(t, paths["metrics"], "cost.telemetry.amount")
	assert.NotEmpty(t, amounts)
}

// The worked example of a bill, as it is shipped, over the FinOps Foundation's sample: every cent arrives and has an owner.
func TestTheExampleOfABillRuns(t *testing.T) {
	sample := recordings.Path(t, "fixtures", "focus", "focus_sample.csv")
	p := newPlace(t)
	bills := t.TempDir()
	text, err := os.ReadFile(filepath.Clean(sample))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(bills, "bill.csv"), text, 0o600))
	sink, paths := fileSink(t, "metrics/bill")
	path := paths["metrics/bill"]
	settle := harness.WriteFile(t, "settle.yaml", "receivers: {focus: {settle: 100ms, poll_interval: 200ms}}\n")
	collector := harness.Start(t, harness.Options{
		Binary: harness.Binary(t, "pitwall"), Configs: []string{filepath.Join(harness.Root(t), "configs", "cost", "bill.yaml"), sink, settle},
		Env: append(p.env, "PITWALL_BILLS="+bills),
	})
	sum := func() (total float64, owned int, points int) {
		if _, err := os.Stat(path); err != nil {
			return 0, 0, 0
		}
		values, resources := pointsOf(t, path, "cost.effective")
		for i, v := range values {
			total += v
			if owner := resources[i]["service.owner.name"]; owner != "" && !strings.HasPrefix(owner, "__") {
				owned++
			}
		}
		return total, owned, len(values)
	}
	harness.Await(t, time.Minute, "the whole bill", func() bool {
		total, _, _ := sum()
		return total > 14.97651418586-1e-9
	})
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	total, owned, points := sum()
	assert.InDelta(t, 14.97651418586, total, 1e-9)
	assert.Equal(t, points, owned)
}
