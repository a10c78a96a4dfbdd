// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/extension/extensionauth"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/pitwall-io/pitwall/docs"
	"github.com/pitwall-io/pitwall/extension/optimizationextension/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func envelope(n int, state signal.State) signal.Envelope {
	target := signal.Target{Service: fmt.Sprint("service-", n%3), Objective: fmt.Sprint("o", n)}
	return signal.Envelope{
		ID: signal.NewID(signal.KindSLOBurn, target, nil, t0), Kind: signal.KindSLOBurn, Version: signal.Version, State: state,
		Severity: signal.SeverityPage, Summary: "It burns.", Target: target, Action: signal.Action{Verb: "investigate", Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 1, Method: "beta_posterior"},
		ValidFrom:  t0, UpdatedAt: t0.Add(time.Duration(n) * time.Second), ExpiresAt: t0.Add(time.Hour),
	}
}

// host offers the extensions of a test.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

type nopExtension struct{ component.StartFunc }

func (nopExtension) Shutdown(context.Context) error { return nil }

type fakeStatuses struct {
	nopExtension
	statuses []slo.Status
	panics   bool
}

func (s *fakeStatuses) Statuses() []slo.Status {
	if s.panics {
		panic("broken")
	}
	return s.statuses
}

// fakeStorage keeps values over the life of clients, and can be told to fail.
type fakeStorage struct {
	nopExtension
	mu     sync.Mutex
	memory *memoryClient
	fail   error
}

func newFakeStorage() *fakeStorage { return &fakeStorage{memory: newMemoryClient().(*memoryClient)} }

func (s *fakeStorage) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return &fakeClient{s}, nil
}

type fakeClient struct{ s *fakeStorage }

func (c *fakeClient) Get(ctx context.Context, key string) ([]byte, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.fail != nil {
		return nil, c.s.fail
	}
	return c.s.memory.Get(ctx, key)
}

func (c *fakeClient) Set(ctx context.Context, key string, v []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, v))
}

func (c *fakeClient) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

func (c *fakeClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.fail != nil {
		return c.s.fail
	}
	return c.s.memory.Batch(ctx, ops...)
}

func (*fakeClient) Close(context.Context) error { return nil }

func start(t *testing.T, h host, change func(*Config)) (*optimizationExtension, *componenttest.Telemetry) {
	t.Helper()
	tel := componenttest.NewTelemetry()
	cfg := createDefaultConfig().(*Config)
	cfg.ServerConfig.NetAddr.Endpoint = "localhost:0"
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	e, err := newExtension(metadatatest.NewSettings(tel), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), h))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		assert.NoError(t, e.Shutdown(context.Background()))
	})
	return e, tel
}

func request(t *testing.T, e *optimizationExtension, method, path string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+e.listener.Addr().String()+path, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp, string(body)
}

func get(t *testing.T, e *optimizationExtension, path string) (int, map[string]any) {
	t.Helper()
	resp, body := request(t, e, http.MethodGet, path)
	assert.Equal(t, "application/json", resp.Header.Get("Content-Type"), path)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &v), "%s: %s", path, body)
	return resp.StatusCode, v
}

func TestPublishedSignalsAreServed(t *testing.T) {
	e, _ := start(t, nil, nil)
	var board signal.Board = e
	for n := range 5 {
		recorded, err := board.PublishSignal(t.Context(), envelope(n, signal.StateFiring))
		require.NoError(t, err)
		assert.EqualValues(t, n+1, recorded.Audit.Seq)
	}
	done := envelope(4, signal.StateResolved)
	done.Update = 1
	recorded, err := board.PublishSignal(t.Context(), done)
	require.NoError(t, err)

	code, all := get(t, e, "/api/v1/signals")
	assert.Equal(t, 200, code)
	assert.Equal(t, "pitwall.signals/v1", all["schema"])
	assert.InDelta(t, 5, all["total"], 0)
	assert.Equal(t, false, all["truncated"])
	assert.Len(t, all["signals"], 5)

	for query, want := range map[string]int{
		"?state=firing": 4, "?state=resolved,firing": 5, "?state=resolved&state=expired": 1, "?service=service-1": 2,
		"?kind=optimization.slo.burn": 5, "?kind=optimization.other": 0, "?state=firing&service=service-0": 2, "?limit=2": 5,
	} {
		code, v := get(t, e, "/api/v1/signals"+query)
		assert.Equal(t, 200, code)
		assert.InDelta(t, want, v["total"], 0, query)
	}
	_, limited := get(t, e, "/api/v1/signals?limit=2")
	assert.Len(t, limited["signals"], 2)
	assert.Equal(t, true, limited["truncated"])

	code, one := get(t, e, "/api/v1/signals/"+done.ID)
	assert.Equal(t, 200, code)
	data, err := json.Marshal(one["signal"])
	require.NoError(t, err)
	served, err := signal.Decode(data)
	require.NoError(t, err)
	want, err := recorded.MarshalCanonical()
	require.NoError(t, err)
	got, err := served.MarshalCanonical()
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func TestPublicationsAreCounted(t *testing.T) {
	e, tel := start(t, nil, nil)
	ok := envelope(1, signal.StateResolved)
	_, err := e.PublishSignal(t.Context(), ok)
	require.NoError(t, err)
	again := ok
	again.Update, again.State = 1, signal.StateFiring
	_, err = e.PublishSignal(t.Context(), again)
	require.ErrorIs(t, err, signal.ErrNoTransition)
	bad := ok
	bad.ID = "x"
	_, err = e.PublishSignal(t.Context(), bad)
	require.Error(t, err)
	m, err := tel.GetMetric("otelcol_optimization_publications")
	require.NoError(t, err)
	got := map[string]int64{}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		got[dp.Attributes.ToSlice()[0].Value.AsString()] = dp.Value
	}
	assert.Equal(t, map[string]int64{"recorded": 1, "no_transition": 1, "invalid": 1}, got)
	metadatatest.AssertEqualOptimizationLedgerRecords(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualOptimizationBoardSignals(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	assert.EqualValues(t, 1, e.ledgerRecords())
}

func TestErrorsAreNeverASuccess(t *testing.T) {
	e, _ := start(t, host{component.MustNewID("slo"): &fakeStatuses{panics: true}}, nil)
	for path, want := range map[string]int{
		"/api/v1/signals?state=burning":           400,
		"/api/v1/signals?limit=0":                 400,
		"/api/v1/signals?limit=1001":              400,
		"/api/v1/signals?limit=x":                 400,
		"/api/v1/signals?servce=a":                400,
		"/api/v1/signals?x=" + long(3000):         414,
		"/api/v1/signals/unknown":                 404,
		"/api/v1/signals/../../etc/passwd":        404,
		"/api/v1/signals/%2e%2e%2fsecret":         404,
		"/api/v1/nothing":                         404,
		"/api/v2/signals":                         404,
		"/nothing.html":                           404,
		"/console/index.html":                     404,
		"/api/v1/slos":                            500,
		"/api/v1/signals?state=%3Cscript%3E":      400,
		"/api/v1/signals?" + long(40) + "=%00%ff": 400,
	} {
		code, v := get(t, e, path)
		assert.Equal(t, want, code, path)
		assert.Equal(t, "pitwall.error/v1", v["schema"], path)
		assert.NotEmpty(t, v["error"])
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		for _, path := range []string{"/", "/api/v1/signals", "/api/v1/signals/x", "/api/v1/slos", "/api/v1/schema", "/api/v1/health", "/console.js"} {
			resp, body := request(t, e, method, path)
			assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, "%s %s", method, path)
			assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
			assert.True(t, json.Valid([]byte(body)))
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestObjectivesAreServedAsValidJSONWhateverTheyHold(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(-1)
	statuses := &fakeStatuses{statuses: []slo.Status{
		{Name: "good", Compliance: new(0.999), BudgetRemaining: new(-0.5), BurnRates: []slo.BurnRate{{Window: "5m", Rate: new(2.0)}}, AsOf: t0},
		{
			Name: "hostile\xff</script>", Good: nan, Bad: inf, Target: nan, Coverage: inf, Compliance: &nan, BudgetRemaining: &inf,
			BurnRates: []slo.BurnRate{{Window: "5m", Rate: &nan}}, AsOf: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC),
			Alerts: []slo.FiringAlert{{Name: "x", Since: time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)}},
		},
	}}
	e, _ := start(t, host{component.MustNewID("slo"): statuses, component.MustNewID("other"): &nopExtension{}}, nil)
	code, v := get(t, e, "/api/v1/slos")
	assert.Equal(t, 200, code)
	assert.Equal(t, "pitwall.slos/v1", v["schema"])
	list := v["slos"].([]any)
	require.Len(t, list, 2)
	assert.InDelta(t, -0.5, list[0].(map[string]any)["error_budget_remaining"], 0)
	assert.NotContains(t, list[1], "compliance")
	assert.True(t, math.IsNaN(*statuses.statuses[1].Compliance), "the book is not changed")

	for range maxSLOs {
		statuses.statuses = append(statuses.statuses, slo.Status{Name: "x"})
	}
	_, v = get(t, e, "/api/v1/slos")
	assert.Len(t, v["slos"], maxSLOs)
	assert.InDelta(t, 2, v["left_out"], 0)
}

func TestWithoutTheSLOExtensionThereAreNoObjectives(t *testing.T) {
	e, _ := start(t, nil, nil)
	code, v := get(t, e, "/api/v1/slos")
	assert.Equal(t, 200, code)
	assert.Empty(t, v["slos"])
	assert.NotNil(t, v["slos"])
	_, health := get(t, e, "/api/v1/health")
	assert.Equal(t, "ok", health["status"])
	assert.Equal(t, false, health["objectives"])
}

func TestSchemaIsServedAsPublished(t *testing.T) {
	e, _ := start(t, nil, nil)
	resp, body := request(t, e, http.MethodGet, "/api/v1/schema")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "application/schema+json", resp.Header.Get("Content-Type"))
	assert.Equal(t, string(docs.SignalSchema), body)
	resp, body = request(t, e, http.MethodHead, "/api/v1/schema")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, body)
}

func TestConsoleLoadsNothingFromElsewhere(t *testing.T) {
	e, _ := start(t, nil, nil)
	for path, media := range map[string]string{"/": "text/html", "/console.js": "text/javascript", "/console.css": "text/css"} {
		resp, body := request(t, e, http.MethodGet, path)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Contains(t, resp.Header.Get("Content-Type"), media)
		csp := resp.Header.Get("Content-Security-Policy")
		assert.Contains(t, csp, "default-src 'none'")
		assert.NotContains(t, csp, "unsafe")
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		for _, banned := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://", "//cdn", "onclick=", "style=\""} {
			assert.NotContains(t, body, banned, path)
		}
	}
	without, _ := start(t, nil, func(c *Config) { c.Console = false })
	code, _ := get(t, without, "/")
	assert.Equal(t, 404, code)
}

func TestSnapshotsAreKept(t *testing.T) {
	e, _ := start(t, nil, nil)
	require.NoError(t, e.PublishSnapshot("offenders", "cardinality", json.RawMessage(`{"a":1}`)))
	require.Error(t, e.PublishSnapshot("offenders", "cardinality", json.RawMessage(`{`)))
	_, v := get(t, e, "/api/v1/health")
	assert.InDelta(t, 1, v["snapshots"], 0)
}

func TestLedgerLivesThroughARestart(t *testing.T) {
	store := newFakeStorage()
	id := component.MustNewID("file_storage")
	withStorage := func(c *Config) { c.Storage = &id; c.Ledger.MaxRecords = 3 }
	e, _ := start(t, host{id: store}, withStorage)
	assert.Equal(t, []component.ID{id}, e.Dependencies())
	for n := range 5 {
		_, err := e.PublishSignal(t.Context(), envelope(n, signal.StateFiring))
		require.NoError(t, err)
	}
	assert.Len(t, store.memory.values, 4, "three records and the head")
	require.NoError(t, e.Shutdown(t.Context()))
	_, err := e.PublishSignal(t.Context(), envelope(9, signal.StateFiring))
	require.ErrorIs(t, err, errNotRunning)

	again, _ := start(t, host{id: store}, withStorage)
	_, v := get(t, again, "/api/v1/signals")
	assert.InDelta(t, 3, v["total"], 0)
	recorded, err := again.PublishSignal(t.Context(), envelope(7, signal.StateFiring))
	require.NoError(t, err)
	assert.EqualValues(t, 6, recorded.Audit.Seq, "the chain goes on")
}

func TestBrokenLedgerStopsTheStart(t *testing.T) {
	id := component.MustNewID("file_storage")
	for name, damage := range map[string]func(map[string][]byte){
		"a changed record": func(v map[string][]byte) {
			v[recordKey(2)] = []byte(strings.Replace(string(v[recordKey(2)]), "It burns", "It learns", 1))
		},
		"a missing record": func(v map[string][]byte) { delete(v, recordKey(2)) },
		"a missing end": func(v map[string][]byte) {
			v[headKey] = []byte(strings.Replace(string(v[headKey]), `"last":3`, `"last":2`, 1))
		},
		"another version": func(v map[string][]byte) { v[headKey] = []byte(`{"version":9}`) },
		"no JSON":         func(v map[string][]byte) { v[headKey] = []byte(`{`) },
		"no envelope":     func(v map[string][]byte) { v[recordKey(1)] = []byte(`{}`) },
	} {
		t.Run(name, func(t *testing.T) {
			store := newFakeStorage()
			cfg := createDefaultConfig().(*Config)
			cfg.ServerConfig.NetAddr.Endpoint = "localhost:0"
			cfg.Storage = &id
			first, err := newExtension(metadatatest.NewSettings(componenttest.NewTelemetry()), cfg)
			require.NoError(t, err)
			require.NoError(t, first.Start(t.Context(), host{id: store}))
			for n := range 3 {
				_, err := first.PublishSignal(t.Context(), envelope(n, signal.StateFiring))
				require.NoError(t, err)
			}
			require.NoError(t, first.Shutdown(t.Context()))
			damage(store.memory.values)
			second, err := newExtension(metadatatest.NewSettings(componenttest.NewTelemetry()), cfg)
			require.NoError(t, err)
			require.ErrorContains(t, second.Start(t.Context(), host{id: store}), "read the ledger")
			require.NoError(t, second.Shutdown(t.Context()))
		})
	}
}

func TestStorageThatFailsIsToldToThePublisher(t *testing.T) {
	store := newFakeStorage()
	id := component.MustNewID("file_storage")
	e, _ := start(t, host{id: store}, func(c *Config) { c.Storage = &id })
	store.mu.Lock()
	store.fail = errors.New("disk full")
	store.mu.Unlock()
	_, err := e.PublishSignal(t.Context(), envelope(1, signal.StateFiring))
	require.ErrorContains(t, err, "disk full")
	assert.Zero(t, e.ledgerRecords())
	_, v := get(t, e, "/api/v1/signals")
	assert.InDelta(t, 0, v["total"], 0, "what is not in the ledger is not shown")
	store.mu.Lock()
	store.fail = nil
	store.mu.Unlock()
	recorded, err := e.PublishSignal(t.Context(), envelope(1, signal.StateFiring))
	require.NoError(t, err)
	assert.EqualValues(t, 1, recorded.Audit.Seq)
}

func TestFullBoardKeepsTheLedgerGoing(t *testing.T) {
	e, _ := start(t, nil, func(c *Config) { c.Board.MaxBytes = minBoardBytes })
	full := 0
	for n := range 200 {
		recorded, err := e.PublishSignal(t.Context(), envelope(n, signal.StateFiring))
		require.NoError(t, err)
		require.EqualValues(t, n+1, recorded.Audit.Seq)
		if _, shown := e.store.Get(recorded.ID); !shown {
			full++
		}
	}
	assert.Positive(t, full)
	assert.LessOrEqual(t, e.store.Usage().Bytes, minBoardBytes)
}

func TestStartFailsWhereItCannotServe(t *testing.T) {
	e, _ := start(t, nil, nil)
	id := component.MustNewID("file_storage")
	for name, change := range map[string]func(*Config){
		"port in use": func(c *Config) { c.ServerConfig.NetAddr.Endpoint = e.listener.Addr().String() },
		"no storage":  func(c *Config) { c.Storage = &id },
		"no authenticator": func(c *Config) {
			c.ServerConfig.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: id}})
		},
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.ServerConfig.NetAddr.Endpoint = "localhost:0"
		change(cfg)
		other, err := newExtension(metadatatest.NewSettings(componenttest.NewTelemetry()), cfg)
		require.NoError(t, err)
		require.Error(t, other.Start(t.Context(), host{}), name)
		require.NoError(t, other.Shutdown(t.Context()))
	}
	assert.Nil(t, (&optimizationExtension{cfg: createDefaultConfig().(*Config)}).Dependencies())
}

type denyAll struct{ nopExtension }

func (denyAll) Authenticate(context.Context, map[string][]string) (context.Context, error) {
	return nil, errors.New("no")
}

var _ extensionauth.Server = denyAll{}

func TestAuthenticationGuardsEveryPath(t *testing.T) {
	id := component.MustNewID("deny")
	e, _ := start(t, host{id: denyAll{}}, func(c *Config) {
		c.ServerConfig.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: id}})
	})
	for _, path := range []string{"/", "/api/v1/signals", "/api/v1/slos", "/api/v1/health", "/console.js"} {
		resp, _ := request(t, e, http.MethodGet, path)
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, path)
	}
}
