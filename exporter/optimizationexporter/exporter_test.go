// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/docs"
	"github.com/pitwall-io/pitwall/exporter/optimizationexporter/internal/metadata"
	"github.com/pitwall-io/pitwall/exporter/optimizationexporter/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/signallog"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func envelope(service string) signal.Envelope {
	target := signal.Target{Service: service, Objective: "availability", Attributes: map[string]string{"http.route": "/a<b>"}}
	return signal.Envelope{
		ID: signal.NewID(signal.KindSLOBurn, target, nil, t0), Kind: signal.KindSLOBurn, Version: signal.Version, State: signal.StateFiring,
		Severity: signal.SeverityPage, Summary: "It burns.", Target: target,
		Action:     signal.Action{Verb: "investigate", Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 0.99, Method: "beta_posterior"},
		Evidence:   signal.Evidence{Exemplars: []signal.Exemplar{{TraceID: strings.Repeat("ab", 16)}}},
		Budget:     &signal.Budget{Remaining: new(0.25), Burn: new(15.0)},
		Owner:      "team", Runbook: "https://example.com/r",
		ValidFrom: t0, UpdatedAt: t0.Add(time.Minute), ExpiresAt: t0.Add(time.Hour),
	}
}

func logsOf(t *testing.T, list ...signal.Envelope) plog.Logs {
	t.Helper()
	ld := plog.NewLogs()
	for _, e := range list {
		require.NoError(t, signallog.Append(ld, "scope", "1", 0, e))
	}
	return ld
}

// receiver records requests and answers as told.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	answer   func(w http.ResponseWriter, n int)
	requests []*http.Request
	bodies   [][]byte
}

func newReceiver(t *testing.T, answer func(w http.ResponseWriter, n int)) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests = append(r.requests, req)
		r.bodies = append(r.bodies, body)
		if r.answer != nil {
			r.answer(w, len(r.requests))
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

func status(code int, header ...string) func(http.ResponseWriter, int) {
	return func(w http.ResponseWriter, _ int) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// start builds and starts an exporter without queues and retries, so that a test sees each attempt.
func start(t *testing.T, change func(*Config)) (*optimizationExporter, *componenttest.Telemetry) {
	t.Helper()
	tel := componenttest.NewTelemetry()
	cfg := createDefaultConfig().(*Config)
	cfg.CloudEvents, cfg.Alertmanager, cfg.File = configoptional.None[CloudEventsConfig](), configoptional.None[AlertmanagerConfig](), configoptional.None[FileConfig]()
	change(cfg)
	cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
	cfg.RetryConfig.Enabled = false
	require.NoError(t, cfg.Validate())
	e, err := newExporter(t.Context(), metadatatest.NewSettings(tel), cfg, func() time.Time { return t0.Add(2 * time.Minute) })
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { assert.NoError(t, e.Shutdown(context.Background())) })
	return e, tel
}

func withCloudEvents(url string, change ...func(*CloudEventsConfig)) func(*Config) {
	return func(c *Config) {
		ce := createDefaultConfig().(*Config).CloudEvents
		v := ce.GetOrInsertDefault()
		v.ClientConfig.Endpoint = url
		for _, f := range change {
			f(v)
		}
		c.CloudEvents = configoptional.Some(*v)
	}
}

func withFile(path string, maxBytes int64) func(*Config) {
	return func(c *Config) { c.File = configoptional.Some(FileConfig{Path: path, MaxBytes: maxBytes}) }
}

func withAlertmanager(url string, change ...func(*AlertmanagerConfig)) func(*Config) {
	return func(c *Config) {
		am := createDefaultConfig().(*Config).Alertmanager
		v := am.GetOrInsertDefault()
		v.ClientConfig.Endpoint = url
		for _, f := range change {
			f(v)
		}
		c.Alertmanager = configoptional.Some(*v)
	}
}

func both(list ...func(*Config)) func(*Config) {
	return func(c *Config) {
		for _, f := range list {
			f(c)
		}
	}
}

func counts(t *testing.T, tel *componenttest.Telemetry, name string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	m, err := tel.GetMetric(name)
	if err != nil {
		return out
	}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		key := ""
		var keySb174 strings.Builder
		for _, name := range []string{"reason", "sink", "outcome"} {
			if v, ok := dp.Attributes.Value(attribute.Key(name)); ok {
				keySb174.WriteString("/" + v.AsString())
			}
		}
		key += keySb174.String()
		out[key] += dp.Value
	}
	return out
}

func TestSignalIsSentAsACloudEvent(t *testing.T) {
	r := newReceiver(t, status(http.StatusAccepted))
	e, tel := start(t, withCloudEvents(r.URL+"/events"))
	require.NoError(t, e.ConsumeLogs(t.Context(), logsOf(t, envelope("checkout"))))
	require.Equal(t, 1, r.count())
	assert.Equal(t, http.MethodPost, r.requests[0].Method)
	assert.Equal(t, "/events", r.requests[0].URL.Path)
	assert.Equal(t, "application/cloudevents+json", r.requests[0].Header.Get("Content-Type"))
	assert.Empty(t, r.requests[0].Header.Get("webhook-signature"))

	var got event
	require.NoError(t, json.Unmarshal(r.bodies[0], &got))
	want := envelope("checkout")
	data, err := want.MarshalCanonical()
	require.NoError(t, err)
	assert.Equal(t, event{
		SpecVersion: "1.0", ID: want.ID + ".firing", Source: "/pitwall", Type: "optimization.slo.burn", Subject: "checkout",
		Time: "2026-03-01T12:01:00Z", DataContentType: "application/json", DataSchema: signal.SchemaURI, Data: data,
	}, got)

	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.SignalSchema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(signal.SchemaURI, doc))
	schema, err := c.Compile(signal.SchemaURI)
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(got.Data))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(v))
	assert.Equal(t, map[string]int64{"/cloudevents/sent": 1}, counts(t, tel, "otelcol_optimization_exporter_signals"))
}

func TestEventIDsTellUpdatesApart(t *testing.T) {
	e := envelope("a")
	assert.Equal(t, e.ID+".firing", eventID(e))
	e.Update = 2
	assert.Equal(t, e.ID+".firing.2", eventID(e))
	e.State = signal.StateResolved
	assert.Equal(t, e.ID+".resolved", eventID(e))
	e.Target.Service = ""
	body, err := newEvent("/x", e)
	require.NoError(t, err)
	assert.Contains(t, string(body), `"subject":"availability"`)
}

func TestRequestIsSignedAsStandardWebhooksSays(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	r := newReceiver(t, nil)
	e, _ := start(t, withCloudEvents(r.URL, func(c *CloudEventsConfig) {
		c.Secret = configopaque.String("whsec_" + base64.StdEncoding.EncodeToString(key))
	}))
	require.NoError(t, e.ConsumeLogs(t.Context(), logsOf(t, envelope("a"))))
	h := r.requests[0].Header
	assert.Equal(t, envelope("a").ID+".firing", h.Get("webhook-id"))
	assert.Equal(t, "1772366520", h.Get("webhook-timestamp"))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + string(r.bodies[0])))
	assert.Equal(t, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), h.Get("webhook-signature"))
}

// TestSignatureOfTheSpecification checks the example of the Standard Webhooks specification's reference libraries.
func TestSignatureOfTheSpecification(t *testing.T) {
	key, err := decodeSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	h := http.Header{}
	sign(h, key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	assert.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", h.Get("webhook-signature"))
}

func TestAnswersDecideWhatHappensNext(t *testing.T) {
	for name, c := range map[string]struct {
		answer    func(http.ResponseWriter, int)
		outcome   string
		permanent bool
		wait      time.Duration
	}{
		"200":                {status(200), "sent", false, 0},
		"204":                {status(204), "sent", false, 0},
		"429 with seconds":   {status(429, "Retry-After", "7"), "retry", false, 7 * time.Second},
		"429 with a date":    {status(429, "Retry-After", t0.Add(5*time.Minute).Format(http.TimeFormat)), "retry", false, 3 * time.Minute},
		"429 with a century": {status(429, "Retry-After", "2147483647"), "retry", false, time.Hour},
		"429 with nonsense":  {status(429, "Retry-After", "soon"), "retry", false, 0},
		"429 in the past":    {status(429, "Retry-After", "-5"), "retry", false, 0},
		"503":                {status(503, "Retry-After", "1"), "retry", false, time.Second},
		"500":                {status(500), "retry", false, 0},
		"408":                {status(408), "retry", false, 0},
		"425":                {status(425), "retry", false, 0},
		"400":                {status(400), "rejected", true, 0},
		"401":                {status(401), "rejected", true, 0},
		"415":                {status(415), "rejected", true, 0},
		"410":                {status(410), "gone", true, 0},
		"302":                {status(302, "Location", "http://169.254.169.254/"), "redirected", true, 0},
		"304":                {status(304), "redirected", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.answer)
			e, tel := start(t, withCloudEvents(r.URL))
			err := e.ConsumeLogs(t.Context(), logsOf(t, envelope("a")))
			assert.Equal(t, 1, r.count(), "one request, wherever it points")
			assert.Equal(t, map[string]int64{"/cloudevents/" + c.outcome: 1}, counts(t, tel, "otelcol_optimization_exporter_signals"))
			if c.outcome == "sent" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, c.permanent, consumererror.IsPermanent(err))
			assert.Equal(t, c.wait, waitOf(err))
			if c.wait > 0 {
				assert.Contains(t, err.Error(), "Throttle", "the retry sender is told to wait")
			}
		})
	}
}

func TestReceiverThatIsGoneIsNotAskedAgain(t *testing.T) {
	r := newReceiver(t, status(http.StatusGone))
	e, tel := start(t, withCloudEvents(r.URL))
	for range 3 {
		require.Error(t, e.ConsumeLogs(t.Context(), logsOf(t, envelope("a"))))
	}
	assert.Equal(t, 1, r.count())
	assert.Equal(t, map[string]int64{"/cloudevents/gone": 3}, counts(t, tel, "otelcol_optimization_exporter_signals"))
}

func TestReceiverOutOfReachIsTriedAgain(t *testing.T) {
	r := newReceiver(t, nil)
	url := r.URL
	r.Close()
	e, _ := start(t, withCloudEvents(url))
	err := e.ConsumeLogs(t.Context(), logsOf(t, envelope("a")))
	require.Error(t, err)
	assert.False(t, consumererror.IsPermanent(err))
}

// run builds and starts an exporter as the Collector does, with queues and fast retries.
func run(t *testing.T, change func(*Config)) exporter.Logs {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.CloudEvents, cfg.Alertmanager, cfg.File = configoptional.None[CloudEventsConfig](), configoptional.None[AlertmanagerConfig](), configoptional.None[FileConfig]()
	cfg.RetryConfig.InitialInterval = time.Millisecond
	change(cfg)
	exp, err := NewFactory().CreateLogs(t.Context(), metadatatest.NewSettings(componenttest.NewTelemetry()), cfg)
	require.NoError(t, err)
	require.NoError(t, exp.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { assert.NoError(t, exp.Shutdown(context.Background())) })
	return exp
}

func TestFailingSinkNeitherDelaysTheOthersNorMakesThemGetDuplicates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signals.jsonl")
	var mu sync.Mutex
	up := false
	r := newReceiver(t, func(w http.ResponseWriter, _ int) {
		mu.Lock()
		defer mu.Unlock()
		if !up {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	exp := run(t, both(withCloudEvents(r.URL), withFile(path, defaultFileBytes)))
	require.NoError(t, exp.ConsumeLogs(t.Context(), logsOf(t, envelope("a"), envelope("b"))))
	require.NoError(t, exp.ConsumeLogs(t.Context(), logsOf(t, envelope("c"))))
	require.Eventually(t, func() bool { return r.count() > 2 && len(services(t, path)) == 3 }, 10*time.Second, time.Millisecond,
		"the file has everything while the receiver is down")
	mu.Lock()
	up = true
	mu.Unlock()
	r.mu.Lock()
	failed := len(r.bodies)
	r.mu.Unlock()
	require.Eventually(t, func() bool { return r.count() >= failed+3 }, 10*time.Second, time.Millisecond)
	require.NoError(t, exp.Shutdown(t.Context()))
	assert.Equal(t, []string{"a", "b", "c"}, services(t, path))
	var order []string
	for _, body := range r.bodies[len(r.bodies)-3:] {
		var ev event
		require.NoError(t, json.Unmarshal(body, &ev))
		order = append(order, ev.Subject)
	}
	assert.Equal(t, []string{"a", "b", "c"}, order, "and the receiver gets it in order")
}

func TestRetryKeepsTheOrderOfABatch(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, n int) {
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	c, err := newCloudEvents(new(withEndpoint(r.URL)), metadatatest.NewSettings(componenttest.NewTelemetry()), time.Now)
	require.NoError(t, err)
	require.NoError(t, c.start(t.Context(), componenttest.NewNopHost()))
	telemetry, err := metadata.NewTelemetryBuilder(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	d := &delivery{sink: c, log: zap.NewNop(), telemetry: telemetry, ending: t.Context()}
	err = d.push(t.Context(), logsOf(t, envelope("a"), envelope("b"), envelope("c")))
	var partial consumererror.Logs
	require.ErrorAs(t, err, &partial)
	assert.Equal(t, 2, r.count(), "nothing is sent past the one that failed")
	require.Equal(t, 2, partial.Data().LogRecordCount())
	require.NoError(t, d.push(t.Context(), partial.Data()))
	assert.Equal(t, 4, r.count())
	bad := plog.NewLogs()
	bad.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	assert.True(t, consumererror.IsPermanent(d.push(t.Context(), bad)), "what a queue on disk lost cannot be sent")
}

func withEndpoint(url string) CloudEventsConfig {
	cfg := createDefaultConfig().(*Config)
	withCloudEvents(url)(cfg)
	return *cfg.CloudEvents.Get()
}

func TestOnlyARefusalByAllSinksIsToldToTheSender(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signals.jsonl")
	r := newReceiver(t, status(http.StatusServiceUnavailable))
	alone, _ := start(t, withCloudEvents(r.URL))
	require.Error(t, alone.ConsumeLogs(t.Context(), logsOf(t, envelope("a"))))
	two, _ := start(t, both(withCloudEvents(r.URL), withFile(path, defaultFileBytes)))
	require.NoError(t, two.ConsumeLogs(t.Context(), logsOf(t, envelope("a"))))
	assert.Equal(t, []string{"a"}, services(t, path))
}

func TestSinksHaveIDsOfTheirOwn(t *testing.T) {
	set := metadatatest.NewSettings(componenttest.NewTelemetry())
	set.ID = component.MustNewID("optimization")
	assert.Equal(t, "optimization/file", sinkSettings(set, "file").ID.String())
	set.ID = component.MustNewIDWithName("optimization", "eu")
	assert.Equal(t, "optimization/eu_file", sinkSettings(set, "file").ID.String())
}

func services(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var list []string
	for line := range strings.Lines(string(data)) {
		e, err := signal.Decode([]byte(line))
		require.NoError(t, err)
		list = append(list, e.Target.Service)
	}
	return list
}

func TestRecordsThatAreNoSignalsAreCountedAndNotSent(t *testing.T) {
	r := newReceiver(t, nil)
	e, tel := start(t, withCloudEvents(r.URL))
	ld := logsOf(t, envelope("a"), envelope("b"), envelope("c"), envelope("d"))
	rec := func(i int) plog.LogRecord { return ld.ResourceLogs().At(i).ScopeLogs().At(0).LogRecords().At(0) }
	rec(0).SetEventName("slo.alert")
	rec(1).Body().SetStr("x")
	rec(2).Body().Map().PutStr("summary", strings.Repeat("x", 1<<20))
	rec(3).SetEventName("optimization.other")
	ld.MarkReadOnly()
	require.NoError(t, e.ConsumeLogs(t.Context(), ld))
	assert.Zero(t, r.count())
	mixed := logsOf(t, envelope("a"), envelope("b"))
	mixed.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).SetEventName("")
	mixed.MarkReadOnly()
	require.NoError(t, e.ConsumeLogs(t.Context(), mixed))
	assert.Equal(t, 1, r.count(), "the good one is sent")
	assert.Equal(t, map[string]int64{"/not_signal": 2, "/bad_envelope": 1, "/too_large": 1, "/kind_mismatch": 1}, counts(t, tel, "otelcol_optimization_exporter_records_dropped"))
}

func TestFileIsAppendedToAndBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signals.jsonl")
	e, _ := start(t, withFile(path, minFileBytes))
	for range 200 {
		require.NoError(t, e.ConsumeLogs(t.Context(), logsOf(t, envelope("a"))))
	}
	for _, p := range []string{path, path + ".1"} {
		info, err := os.Stat(p)
		require.NoError(t, err)
		assert.LessOrEqual(t, info.Size(), int64(minFileBytes))
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		assert.NotEmpty(t, services(t, p))
	}
	require.NoError(t, e.Shutdown(t.Context()))

	again, _ := start(t, withFile(path, minFileBytes))
	before := len(services(t, path))
	require.NoError(t, again.ConsumeLogs(t.Context(), logsOf(t, envelope("b"))))
	assert.Len(t, services(t, path), before+1)
}

func TestFileThatCannotBeOpenedFailsTheStart(t *testing.T) {
	r := newReceiver(t, nil)
	cfg := createDefaultConfig().(*Config)
	both(withCloudEvents(r.URL), withFile(filepath.Join(t.TempDir(), "none", "x"), defaultFileBytes))(cfg)
	e, err := newExporter(t.Context(), metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, time.Now)
	require.NoError(t, err)
	require.ErrorContains(t, e.Start(t.Context(), componenttest.NewNopHost()), "open path")
	require.NoError(t, e.Shutdown(t.Context()))
}

func decodeAlerts(t *testing.T, body []byte) []alert {
	t.Helper()
	var list []alert
	require.NoError(t, json.Unmarshal(body, &list))
	return list
}

// startAlertmanager starts the sink alone.
func startAlertmanager(t *testing.T, tel *componenttest.Telemetry, change func(*Config)) *alertmanager {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	change(cfg)
	set := metadatatest.NewSettings(tel)
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	require.NoError(t, err)
	sinks, err := newSinks(set, cfg, func() time.Time { return t0.Add(2 * time.Minute) }, telemetry)
	require.NoError(t, err)
	require.Len(t, sinks, 1)
	require.NoError(t, sinks[0].start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { assert.NoError(t, sinks[0].shutdown(context.Background())) })
	return sinks[0].(*alertmanager)
}

func TestSignalsAreAlertsToAlertmanager(t *testing.T) {
	r := newReceiver(t, nil)
	am := startAlertmanager(t, componenttest.NewTelemetry(), withAlertmanager(r.URL+"/"))
	ticket := envelope("checkout")
	ticket.Severity = signal.SeverityTicket
	require.NoError(t, am.send(t.Context(), ticket))
	page := envelope("checkout")
	page.Update = 1
	require.NoError(t, am.send(t.Context(), page))
	require.NoError(t, am.send(t.Context(), ticket), "an overtaken envelope is dropped")
	am.resend(t.Context())
	done := page
	done.Update, done.State = 2, signal.StateResolved
	require.NoError(t, am.send(t.Context(), done))
	am.resend(t.Context())

	require.Equal(t, 4, r.count())
	assert.Equal(t, "/api/v2/alerts", r.requests[0].URL.Path)
	first := decodeAlerts(t, r.bodies[0])
	require.Len(t, first, 1)
	assert.Equal(t, map[string]string{
		"alertname": "optimization_slo_burn", "kind": "optimization.slo.burn", "service_name": "checkout", "objective": "availability",
		"owner": "team", "severity": "ticket", "http_route": "/a<b>",
	}, first[0].Labels)
	assert.Equal(t, page.ID, first[0].Annotations["signal_id"])
	assert.Equal(t, "0.25", first[0].Annotations["error_budget_remaining"])
	assert.Equal(t, "https://example.com/r", first[0].Annotations["runbook_url"])
	assert.Equal(t, "2026-03-01T12:00:00Z", first[0].StartsAt)
	assert.Equal(t, "2026-03-01T12:07:00Z", first[0].EndsAt, "the clock and resolve_timeout")

	second := decodeAlerts(t, r.bodies[1])
	require.Len(t, second, 2, "the ticket ends as the page begins")
	assert.Equal(t, "page", second[0].Labels["severity"])
	assert.Equal(t, "ticket", second[1].Labels["severity"])
	assert.Equal(t, "2026-03-01T12:02:00Z", second[1].EndsAt)

	repeated := decodeAlerts(t, r.bodies[2])
	require.Len(t, repeated, 1)
	assert.Equal(t, second[0].Labels, repeated[0].Labels)
	last := decodeAlerts(t, r.bodies[3])
	assert.Equal(t, "2026-03-01T12:02:00Z", last[0].EndsAt)
	assert.Zero(t, am.activeAlerts(), "what ended is not repeated")
}

func TestRepeatedAlertsAreBounded(t *testing.T) {
	r := newReceiver(t, nil)
	tel := componenttest.NewTelemetry()
	am := startAlertmanager(t, tel, withAlertmanager(r.URL, func(c *AlertmanagerConfig) { c.MaxActive = 2 }))
	for _, service := range []string{"a", "b", "c"} {
		require.NoError(t, am.send(t.Context(), envelope(service)))
	}
	assert.Equal(t, 3, r.count())
	m, err := tel.GetMetric("otelcol_optimization_exporter_alerts_active")
	require.NoError(t, err)
	assert.EqualValues(t, 2, m.Data.(metricdata.Gauge[int64]).DataPoints[0].Value)
	r.answer = status(500)
	am.resend(t.Context())
	assert.Equal(t, 2, am.activeAlerts(), "a failed repetition forgets nothing")
}

func TestLabelNamesSuitEveryAlertmanager(t *testing.T) {
	for in, want := range map[string]string{"http.route": "http_route", "1st": "_1st", "a-b/c": "a_b_c", "ü": "_", "": ""} {
		assert.Equal(t, want, labelName(in))
	}
}

func TestRepetitionRunsByTheClock(t *testing.T) {
	r := newReceiver(t, nil)
	exp := run(t, withAlertmanager(r.URL, func(c *AlertmanagerConfig) { c.ResendInterval = time.Millisecond }))
	require.NoError(t, exp.ConsumeLogs(t.Context(), logsOf(t, envelope("a"))))
	require.Eventually(t, func() bool { return r.count() >= 3 }, 10*time.Second, time.Millisecond)
	assert.False(t, exp.Capabilities().MutatesData)
}

func TestUnknownErrorsAreTriedAgain(t *testing.T) {
	assert.Equal(t, outcomeRetry, outcomeOf(errors.New("anything")))
	assert.Zero(t, waitOf(errors.New("anything")))
}

func TestBadInputPasses(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings.Path(t, "fixtures", "otlp-badinput"), "log_*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	r := newReceiver(t, nil)
	e, _ := start(t, withCloudEvents(r.URL))
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(data)
		if err == nil {
			require.NoError(t, e.ConsumeLogs(t.Context(), ld))
		}
	}
	assert.Zero(t, r.count())
	require.NoError(t, e.ConsumeLogs(t.Context(), logsOf(t, envelope("a"))))
	assert.Equal(t, 1, r.count())
}

var _ exporter.Factory = NewFactory()

func TestShutdownDoesNotWaitForAReceiverThatNeverAnswers(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	server := newReceiver(t, func(http.ResponseWriter, int) {
		close(entered)
		<-release
	})
	t.Cleanup(func() { close(release) })
	ending, end := context.WithCancel(t.Context())
	c, err := newCloudEvents(new(withEndpoint(server.URL)), metadatatest.NewSettings(componenttest.NewTelemetry()), time.Now)
	require.NoError(t, err)
	require.NoError(t, c.start(t.Context(), componenttest.NewNopHost()))
	telemetry, err := metadata.NewTelemetryBuilder(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	d := &delivery{sink: c, log: zap.NewNop(), telemetry: telemetry, ending: ending}

	signals := logsOf(t, envelope("a"), envelope("b"))
	ended := make(chan error)
	go func() { ended <- d.push(context.WithoutCancel(t.Context()), signals) }()
	<-entered
	end()
	err = <-ended

	assert.False(t, consumererror.IsPermanent(err), "a queue in storage keeps it")
	require.ErrorIs(t, d.push(context.WithoutCancel(t.Context()), logsOf(t, envelope("c"))), errEnding)
}
