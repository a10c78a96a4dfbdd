// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/receiver/changereceiver/internal/metadata"
)

const gitHubSecret = "it's a secret to everybody"

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// rig is a receiver without a network, its clock at t0.
type rig struct {
	*changeReceiver
	sink consumertest.LogsSink
	err  error // what the next component answers
	tel  *componenttest.Telemetry
	logs *observer.ObservedLogs
	t    *testing.T
}

func newRig(t *testing.T, changes ...func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, tel: componenttest.NewTelemetry()}
	cfg := createDefaultConfig().(*Config)
	cfg.GitHub.Secret = gitHubSecret
	cfg.ServerConfig.NetAddr.Endpoint = "localhost:0"
	for _, change := range changes {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	set := receiver.Settings{ID: component.NewID(metadata.Type), TelemetrySettings: g.tel.NewTelemetrySettings()}
	core, logs := observer.New(zapcore.DebugLevel)
	set.Logger, g.logs = zap.New(core), logs
	next, err := consumer.NewLogs(func(ctx context.Context, ld plog.Logs) error {
		if g.err != nil {
			return g.err
		}
		return g.sink.ConsumeLogs(ctx, ld)
	})
	require.NoError(t, err)
	g.changeReceiver, err = newReceiver(set, cfg, next)
	require.NoError(t, err)
	g.now = func() time.Time { return t0 }
	t.Cleanup(func() {
		assert.NoError(t, g.Shutdown(context.WithoutCancel(t.Context())))
		assert.NoError(t, g.tel.Shutdown(context.WithoutCancel(t.Context())))
	})
	return g
}

// post sends a body and returns the status and the answer.
func (g *rig) post(path, body string, headers ...string) (int, answer) {
	g.t.Helper()
	req := httptest.NewRequestWithContext(g.t.Context(), http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.handler().ServeHTTP(w, req)
	var got answer
	require.NoError(g.t, json.Unmarshal(w.Body.Bytes(), &got))
	return w.Code, got
}

func (g *rig) gitHub(event string, body []byte) (int, answer) {
	g.t.Helper()
	mac := hmac.New(sha256.New, []byte(gitHubSecret))
	mac.Write(body)
	return g.post("/github", string(body), "X-GitHub-Event", event, "X-GitHub-Delivery", "d", "X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

func plainly(id string) string {
	return fmt.Sprintf(`{"kind":"deployment","id":%q,"service":"checkout","version":"1.4.2","environment":"production","namespace":"shop","state":"failed","signal_id":"s1"}`, id)
}

func TestAPlainChangeBecomesALogRecordOnce(t *testing.T) {
	g := newRig(t, func(c *Config) { c.ServiceNames = map[string]string{"checkout": "checkoutservice"} })
	for i := range 3 {
		status, got := g.post("/changes", plainly("1"))
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, answer{Emitted: map[bool]int{true: 1}[i == 0], Duplicates: map[bool]int{true: 1}[i > 0]}, got)
	}
	require.Len(t, g.sink.AllLogs(), 1)
	rl := g.sink.AllLogs()[0].ResourceLogs().At(0)
	assert.Equal(t, map[string]any{"service.name": "checkoutservice", "service.namespace": "shop", "service.version": "1.4.2", "deployment.environment.name": "production"}, rl.Resource().Attributes().AsRaw())
	rec := rl.ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, "change.deployment", rec.EventName())
	assert.Equal(t, t0, rec.Timestamp().AsTime())
	assert.Equal(t, plog.SeverityNumberWarn, rec.SeverityNumber())
	assert.Equal(t, "deploy of checkoutservice 1.4.2 in production failed (plain)", rec.Body().Str())
	assert.Equal(t, map[string]any{
		"change.id": "1", "change.tool": "plain", "change.action": "deploy", "change.state": "failed", "service.version": "1.4.2",
		"deployment.status": "failed", "optimization.signal.id": "s1",
	}, rec.Attributes().AsRaw())
	metrics, err := g.tel.GetMetric("otelcol_change_events")
	require.NoError(t, err)
	assert.NotNil(t, metrics)
}

func TestFlagsAndConfigurationsHaveTheirOwnEvents(t *testing.T) {
	g := newRig(t)
	_, got := g.post("/changes", `{"kind":"feature_flag","flag":{"key":"new-cart","variant":"on"}}`)
	assert.Equal(t, 1, got.Emitted)
	_, got = g.post("/changes", `{"kind":"configuration","environment":"prod"}`)
	assert.Equal(t, 1, got.Emitted)
	_, got = g.post("/changes", `{"kind":"configuration","environment":"prod"}`)
	assert.Equal(t, 1, got.Emitted, "without an id it is another change")
	first := g.sink.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, "change.feature_flag", first.EventName())
	assert.Equal(t, "flip of flag new-cart to on succeeded (plain)", first.Body().Str())
	second := g.sink.AllLogs()[1].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, "modify of the configuration in prod succeeded (plain)", second.Body().Str())
}

func TestEveryErrorHasItsStatusAndReason(t *testing.T) {
	large := func(c *Config) { c.ServerConfig.MaxRequestBodySize = 64 }
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		change     func(*Config)
		status     int
		reason     string
	}{
		"path":       {path: "/", status: 404, reason: reasonPath},
		"not served": {path: "/flagger", change: func(c *Config) { c.Sources = []string{sourceGitHub} }, status: 404, reason: reasonPath},
		"form":       {path: "/changes", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, reason: reasonContentType},
		"no type":    {path: "/github", headers: []string{"Content-Type", ""}, status: 415, reason: reasonContentType},
		"malformed":  {path: "/flagger", body: "{", status: 400, reason: "malformed"},
		"schema":     {path: "/argocd", body: `{"who":1}`, status: 400, reason: "schema"},
		"rollouts":   {path: "/argo-rollouts", body: `{}`, status: 400, reason: "missing_field"},
		"cdevent":    {path: "/cdevents", body: `{}`, status: 400, reason: "missing_field"},
		"cloudevent": {path: "/cloudevents", body: `{}`, headers: []string{"ce-specversion", "0.3", "ce-id", "1", "ce-source", "s", "ce-type", "t"}, status: 400, reason: "unsupported_version"},
		"stale":      {path: "/changes", body: `{"kind":"configuration","time":"2026-02-01T00:00:00Z"}`, status: 400, reason: "stale"},
		"future":     {path: "/changes", body: `{"kind":"configuration","time":"2026-03-01T13:00:00Z"}`, status: 400, reason: "future"},
		"no secret":  {path: "/github", body: "{}", change: func(c *Config) { c.GitHub.Secret = "" }, status: 403, reason: "no_secret"},
		"unsigned":   {path: "/github", body: "{}", headers: []string{"X-GitHub-Event", "ping"}, status: 401, reason: "signature"},
		"webhook": {path: "/changes", body: plainly("1"), status: 401, reason: "signature", change: func(c *Config) {
			c.StandardWebhooks.Secret = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tr"
		}},
		"body": {path: "/changes", body: plainly("1"), change: large, status: 200},
	} {
		var changes []func(*Config)
		if c.change != nil {
			changes = append(changes, c.change)
		}
		g := newRig(t, changes...)
		status, got := g.post(c.path, c.body, c.headers...)
		assert.Equal(t, c.status, status, name)
		assert.Equal(t, c.reason, got.Reason, name)
		if c.status != 200 {
			assert.NotEmpty(t, got.Error, name)
			assert.Empty(t, g.sink.AllLogs(), name)
			_, err := g.tel.GetMetric("otelcol_change_refused_requests")
			require.NoError(t, err, name)
		}
	}
}

func TestOnlyPostIsTaken(t *testing.T) {
	g := newRig(t)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodOptions} {
		w := httptest.NewRecorder()
		g.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/changes", http.NoBody))
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
		assert.Equal(t, "POST", w.Header().Get("Allow"))
	}
	w := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/cloudevents", http.NoBody)
	req.Header.Set("WebHook-Request-Origin", "events.example.com")
	g.handler().ServeHTTP(w, req)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "events.example.com", w.Header().Get("WebHook-Allowed-Origin"))
	assert.Equal(t, "3000", w.Header().Get("WebHook-Allowed-Rate"))
}

func TestTheRateIsBounded(t *testing.T) {
	g := newRig(t, func(c *Config) { c.RateLimit = RateLimitConfig{RequestsPerSecond: 1, Burst: 2} })
	for i := range 4 {
		status, _ := g.post("/changes", plainly(strconv.Itoa(i)))
		assert.Equal(t, map[bool]int{true: 200, false: 429}[i < 2], status)
	}
	g.now = func() time.Time { return t0.Add(time.Second) }
	status, _ := g.post("/changes", plainly("9"))
	assert.Equal(t, 200, status)
}

func TestWhatThePipelineRefusesIsNotRemembered(t *testing.T) {
	g := newRig(t)
	g.err = errors.New("queue is full")
	status, got := g.post("/changes", plainly("1"))
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, reasonNext, got.Reason)
	assert.NotContains(t, got.Error, "queue", "what is inside stays inside")
	g.err = consumererror.NewPermanent(errors.New("no"))
	status, got = g.post("/changes", plainly("1"))
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Equal(t, reasonNextForGood, got.Reason)
	g.err = nil
	status, got = g.post("/changes", plainly("1"))
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, 1, got.Emitted)
}

func TestAChangeToldTwiceAtOnceIsEmittedOnce(t *testing.T) {
	g := newRig(t)
	var mu sync.Mutex
	codes := map[int]int{}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/changes", strings.NewReader(plainly("1")))
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			g.handler().ServeHTTP(w, req)
			mu.Lock()
			defer mu.Unlock()
			codes[w.Code]++
		})
	}
	all.Wait()
	assert.Equal(t, 50, codes[200]+codes[503])
	assert.Equal(t, 1, g.sink.LogRecordCount())
	assert.Empty(t, g.inFlight)
}

func TestAChangeOnItsWayIsSentBack(t *testing.T) {
	g := newRig(t)
	status := 0
	g.next, _ = consumer.NewLogs(func(context.Context, plog.Logs) error {
		var got answer
		status, got = g.post("/changes", plainly("1"))
		assert.Equal(t, reasonInFlight, got.Reason)
		return nil
	})
	first, _ := g.post("/changes", plainly("1"))
	assert.Equal(t, http.StatusOK, first)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Empty(t, g.inFlight)
}

func TestABatchIsTakenWholeOrNotAtAll(t *testing.T) {
	g := newRig(t)
	event := func(id, data string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/s","type":"change.deployment","data":` + data + `}`
	}
	right, wrong := event("1", `{"service":"a"}`), event("2", `{}`)
	status, _ := g.post("/cloudevents", "["+right+","+wrong+"]", "Content-Type", "application/cloudevents-batch+json")
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Zero(t, g.sink.LogRecordCount())
	other := `{"specversion":"1.0","id":"3","source":"/s","type":"order"}`
	status, got := g.post("/changes", "["+right+","+right+","+other+"]", "Content-Type", "application/cloudevents-batch+json")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, answer{Emitted: 1, Duplicates: 1, Ignored: map[string]int{"not_a_change": 1}}, got)
}

func TestEveryFixtureIsTakenAndAMutatedOneRefused(t *testing.T) {
	g := newRig(t, func(c *Config) { c.MaxAge, c.RateLimit = 0, RateLimitConfig{RequestsPerSecond: 1, Burst: 10_000} })
	files, err := filepath.Glob(filepath.Join(recordings.Path(t, "fixtures", "cdevents"), "conformance", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 48)
	emitted := 0
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		// The examples share one id; events do not.
		body = bytes.Replace(body, []byte("271069a8-fc18-44f1-b38f-9d70a1695819"), []byte(filepath.Base(file)), 1)
		status, got := g.post("/cdevents", string(body))
		require.Equal(t, http.StatusOK, status, file)
		emitted += got.Emitted
		assert.Equal(t, 1, got.Emitted+got.Ignored["not_a_change"], file)
		status, got = g.post("/cdevents", strings.Replace(string(body), `"subject"`, `"object"`, 1))
		require.Equal(t, http.StatusBadRequest, status, file)
		require.Equal(t, "missing_field", got.Reason)
	}
	assert.Equal(t, 8, emitted)
	data, err := os.ReadFile(filepath.Join(recordings.Path(t, "fixtures", "github-webhooks"), "deploy-related.json"))
	require.NoError(t, err)
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	require.NoError(t, json.Unmarshal(data, &events))
	taken := 0
	for _, e := range events {
		for _, body := range e.Examples {
			status, got := g.gitHub(e.Name, body)
			require.Equal(t, http.StatusOK, status, "%s: %s", e.Name, got.Error)
			taken++
			forged := bytes.Replace(body, []byte("octo"), []byte("evil"), 1)
			mac := hmac.New(sha256.New, []byte(gitHubSecret))
			mac.Write(body)
			status, got = g.post("/github", string(forged)+" ", "X-GitHub-Event", e.Name, "X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
			require.Equal(t, http.StatusUnauthorized, status)
			require.Equal(t, "signature", got.Reason)
		}
	}
	assert.Equal(t, 54, taken)
	figures.Record(t, figures.Figure{
		Table: "Changes", Row: "published examples of CDEvents and GitHub mapped or acknowledged with a reason; the same, mutated or forged, refused with the reason",
		Reached: fmt.Sprintf("%d of 102; %d of 102", len(files)+taken, len(files)+taken), Wanted: "102 of 102; 102 of 102",
		Command: "go test -run TestEveryFixture ./receiver/changereceiver",
	})
	status, got := g.gitHub("ping", []byte(`{"zen":"Design for failure."}`))
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, map[string]int{"ping": 1}, got.Ignored)
}

func TestARepositoryIsRenamed(t *testing.T) {
	g := newRig(t, func(c *Config) { c.ServiceNames = map[string]string{"o/mono": "checkout"} })
	g.gitHub("deployment", []byte(`{"action":"created","repository":{"name":"mono","full_name":"o/mono"},"deployment":{"id":1,"sha":"`+strings.Repeat("a", 40)+`","environment":"prod","created_at":"2026-03-01T12:00:00Z"}}`))
	require.Equal(t, 1, g.sink.LogRecordCount())
	assert.Equal(t, "checkout", g.sink.AllLogs()[0].ResourceLogs().At(0).Resource().Attributes().AsRaw()["service.name"])
}

func TestASignedPlainChangeIsTaken(t *testing.T) {
	g := newRig(t, func(c *Config) { c.StandardWebhooks.Secret = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tr" })
	body, stamp := plainly("1"), strconv.FormatInt(t0.Unix(), 10)
	mac := hmac.New(sha256.New, g.webhookKey)
	mac.Write([]byte("id." + stamp + "." + body))
	signed := []string{"webhook-id", "id", "webhook-timestamp", stamp, "webhook-signature", "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	status, _ := g.post("/changes", body, signed...)
	assert.Equal(t, http.StatusOK, status)
	g.now = func() time.Time { return t0.Add(time.Hour) }
	status, _ = g.post("/changes", body, signed...)
	assert.Equal(t, http.StatusUnauthorized, status, "a replay after the tolerance")
}

func TestFlaggerHearsNothingAboveAccepted(t *testing.T) {
	g := newRig(t)
	for _, phase := range []string{"Initialized", "Progressing", "Progressing", "Promoting", "Succeeded"} {
		status, _ := g.post("/flagger", `{"name":"a","namespace":"n","phase":"`+phase+`","checksum":"1","metadata":{"eventType":"Normal"}}`)
		assert.Equal(t, http.StatusOK, status)
	}
	assert.Equal(t, 2, g.sink.LogRecordCount())
	for _, revision := range []string{"1", "1", "2", "1"} {
		status, _ := g.post("/argo-rollouts", `{"name":"a","namespace":"n","phase":"Healthy","revision":"`+revision+`"}`)
		assert.Equal(t, http.StatusOK, status)
	}
	assert.Equal(t, 5, g.sink.LogRecordCount(), "going back to an earlier revision is a change")
}

func TestHostileInputChangesNothingForWhatComesAfter(t *testing.T) {
	g, clean := newRig(t, func(c *Config) { c.RateLimit.Burst = 10_000 }), newRig(t)
	files, err := filepath.Glob(filepath.Join(recordings.Path(t, "fixtures", "otlp-badinput"), "*.jsonl"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 38)
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, source := range allSources {
			status, _ := g.post("/"+source, string(body))
			assert.GreaterOrEqual(t, status, 400, "%s to %s", file, source)
		}
		g.gitHub("deployment", body)
	}
	for _, r := range []*rig{g, clean} {
		status, _ := r.post("/changes", plainly("1"))
		assert.Equal(t, http.StatusOK, status)
	}
	assert.Equal(t, clean.sink.AllLogs(), g.sink.AllLogs())
}

func TestSecretsAndBodiesAreNeverLogged(t *testing.T) {
	g := newRig(t)
	g.post("/github", `{"token":"tok-123"}`, "X-Hub-Signature-256", "sha256=00", "Authorization", "Bearer tok-456")
	g.post("/changes", `{"tok-789":1}`)
	require.NotEmpty(t, g.logs.All())
	text := fmt.Sprintf("%+v %+v", g.logs.All(), g.cfg.GitHub)
	for _, secret := range []string{gitHubSecret, "tok-"} {
		assert.NotContains(t, text, secret)
	}
}

// box is a storage extension in memory.
type box struct {
	component.StartFunc
	component.ShutdownFunc
	data map[string][]byte
	err  error
}

func (b *box) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return b, nil
}
func (b *box) Get(_ context.Context, key string) ([]byte, error) { return b.data[key], b.err }
func (b *box) Set(_ context.Context, key string, value []byte) error {
	if b.err == nil {
		b.data[key] = value
	}
	return b.err
}

func (b *box) Delete(_ context.Context, key string) error {
	delete(b.data, key)
	return b.err
}

func (b *box) Batch(ctx context.Context, ops ...*storage.Operation) error {
	for _, op := range ops {
		if op.Type == storage.Delete {
			delete(b.data, op.Key)
			continue
		}
		if err := b.Set(ctx, op.Key, op.Value); err != nil {
			return err
		}
	}
	return b.err
}
func (*box) Close(context.Context) error { return nil }

type host struct {
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func TestWhatWasToldIsKnownAfterARestart(t *testing.T) {
	id := component.MustNewID("box")
	kept := &box{data: map[string][]byte{}}
	h := host{map[component.ID]component.Component{id: kept}}
	with := func(c *Config) { c.Storage, c.RateLimit.Burst = &id, 10_000 }
	const told = 2*maxDeltas + 10
	first := newRig(t, with)
	require.NoError(t, first.Start(t.Context(), h))
	for i := range told {
		status, _ := first.post("/changes", plainly(strconv.Itoa(i)))
		require.Equal(t, http.StatusOK, status)
	}
	assert.LessOrEqual(t, len(kept.data), maxDeltas+1, "deltas are folded into a snapshot")
	require.NoError(t, first.Shutdown(t.Context()))
	second := newRig(t, with)
	require.NoError(t, second.Start(t.Context(), h))
	for i := range told {
		_, got := second.post("/changes", plainly(strconv.Itoa(i)))
		require.Equal(t, 1, got.Duplicates, i)
	}
	kept.err = errors.New("disk full")
	status, _ := second.post("/changes", plainly("new"))
	assert.Equal(t, http.StatusOK, status, "the pipeline has it")
	_, err := second.tel.GetMetric("otelcol_change_state_failures")
	require.NoError(t, err)
	require.ErrorIs(t, newRig(t, with).Start(t.Context(), h), errStorage)
	kept.err, kept.data[snapshotKey] = nil, []byte("damaged")
	require.ErrorIs(t, newRig(t, with).Start(t.Context(), h), errStorage)
	require.ErrorIs(t, newRig(t, with).Start(t.Context(), host{}), errStorage)
}

func TestItServesOverHTTPWithABodyLimit(t *testing.T) {
	g := newRig(t, func(c *Config) { c.ServerConfig.MaxRequestBodySize = 512 })
	require.NoError(t, g.Start(t.Context(), componenttest.NewNopHost()))
	send := func(body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.listener.Addr().String()+"/changes", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	assert.Equal(t, http.StatusOK, send(plainly("1")))
	assert.Equal(t, http.StatusRequestEntityTooLarge, send(plainly(strings.Repeat("x", 600))))
	assert.Equal(t, 1, g.sink.LogRecordCount())
	taken := newRig(t, func(c *Config) { c.ServerConfig.NetAddr.Endpoint = g.listener.Addr().String() })
	require.ErrorContains(t, taken.Start(t.Context(), componenttest.NewNopHost()), "listen on endpoint")
}
