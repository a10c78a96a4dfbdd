// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/signallog"
	"github.com/pitwall-io/pitwall/internal/slo"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fakeClock is moved by the test alone.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// host offers the extensions of a test.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

type nopExtension struct{ component.StartFunc }

func (nopExtension) Shutdown(context.Context) error { return nil }

// fakeStorage keeps values over the life of clients.
type fakeStorage struct {
	nopExtension
	mu     sync.Mutex
	values map[string][]byte
	fail   error
}

func (s *fakeStorage) GetClient(_ context.Context, _ component.Kind, id component.ID, name string) (storage.Client, error) {
	return &fakeClient{s, id.String() + "/" + name + "/"}, nil
}

type fakeClient struct {
	s      *fakeStorage
	prefix string
}

func (c *fakeClient) Get(_ context.Context, key string) ([]byte, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.values[c.prefix+key], c.s.fail
}

func (c *fakeClient) Set(_ context.Context, key string, value []byte) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.fail == nil {
		c.s.values[c.prefix+key] = value
	}
	return c.s.fail
}

func (*fakeClient) Delete(context.Context, string) error { return nil }
func (c *fakeClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	for _, op := range ops {
		if err := c.Set(ctx, op.Key, op.Value); err != nil {
			return err
		}
	}
	return nil
}
func (*fakeClient) Close(context.Context) error { return nil }

// fakeBoard numbers what is published.
type fakeBoard struct {
	nopExtension
	published []signal.Envelope
	fail      error
	chain     signal.Chain
	snapshots map[string]string
}

func (b *fakeBoard) PublishSignal(_ context.Context, e signal.Envelope) (signal.Envelope, error) {
	if b.fail != nil {
		return signal.Envelope{}, b.fail
	}
	e, err := b.chain.Append(e)
	b.published = append(b.published, e)
	return e, err
}

func (b *fakeBoard) PublishSnapshot(topic, source string, body json.RawMessage) error {
	if b.snapshots == nil {
		b.snapshots = map[string]string{}
	}
	b.snapshots[topic+" "+source] = string(body)
	return b.fail
}

type fakeStatuses struct {
	nopExtension
	statuses []slo.Status
}

func (s *fakeStatuses) Statuses() []slo.Status { return s.statuses }

// sink is a next consumer that can refuse.
type sink struct {
	consumertest.LogsSink
	fail error
}

func (s *sink) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	if s.fail != nil {
		return s.fail
	}
	return s.LogsSink.ConsumeLogs(ctx, ld)
}

// rig is a running connector with everything around it.
type rig struct {
	t        *testing.T
	tel      *componenttest.Telemetry
	clock    *fakeClock
	next     *sink
	registry *registry
	logs     *instance
	traces   *instance
	settings connector.Settings
}

func newRig(t *testing.T, h host, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, tel: componenttest.NewTelemetry(), clock: &fakeClock{now: t0.Add(time.Hour)}, next: &sink{}}
	cfg := createDefaultConfig().(*Config)
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	r.registry = newRegistry(r.clock.read)
	set := metadatatest.NewSettings(r.tel)
	r.settings = set
	var err error
	r.traces, err = r.registry.instance(set, cfg, r.next)
	require.NoError(t, err)
	r.logs, err = r.registry.instance(set, cfg, r.next)
	require.NoError(t, err)
	require.NoError(t, r.traces.Start(t.Context(), h))
	require.NoError(t, r.logs.Start(t.Context(), h))
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	ctx := context.Background()
	assert.NoError(r.t, r.traces.Shutdown(ctx))
	assert.NoError(r.t, r.logs.Shutdown(ctx))
	assert.Empty(r.t, r.registry.engines)
}

func (r *rig) consume(ld plog.Logs) {
	r.t.Helper()
	require.NoError(r.t, r.logs.ConsumeLogs(r.t.Context(), ld))
}

// envelopes returns the lines of what was sent, without their audit entries.
func (r *rig) envelopes() []string {
	r.t.Helper()
	var lines []string
	for _, e := range r.signals() {
		e.Audit = nil
		data, err := e.MarshalCanonical()
		require.NoError(r.t, err)
		lines = append(lines, string(data))
	}
	return lines
}

func (r *rig) signals() []signal.Envelope {
	r.t.Helper()
	var found []signal.Envelope
	for _, ld := range r.next.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, rec := range sl.LogRecords().All() {
					e, err := signallog.Read(rec)
					require.NoError(r.t, err)
					found = append(found, e)
				}
			}
		}
	}
	return found
}

// counts returns a counter's values by the value of its only attribute.
func (r *rig) counts(name string) map[string]int64 {
	r.t.Helper()
	out := map[string]int64{}
	m, err := r.tel.GetMetric(name)
	if err != nil {
		return out
	}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		key := ""
		var keySb227 strings.Builder
		for _, kv := range dp.Attributes.ToSlice() {
			keySb227.WriteString(kv.Value.AsString())
		}
		key += keySb227.String()
		out[key] += dp.Value
	}
	return out
}

// alertLog returns an slo.alert record as the slo connector makes it; change may break it.
func alertLog(state string, at time.Time, change func(resource, attrs pcommon.Map, rec plog.LogRecord)) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	res := rl.Resource().Attributes()
	res.PutStr("service.name", "checkout")
	res.PutStr("service.namespace", "shop")
	res.PutStr("deployment.environment.name", "production")
	res.PutStr("service.instance.id", "collector-1")
	rec := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	rec.SetEventName("slo.alert")
	rec.SetTimestamp(pcommon.NewTimestampFromTime(at))
	a := rec.Attributes()
	a.PutStr("slo.name", "checkout-availability")
	a.PutStr("slo.alert", "page-1h")
	a.PutStr("slo.alert.state", state)
	a.PutStr("slo.alert.severity", "page")
	a.PutInt("slo.alert.started_at", t0.UnixNano())
	a.PutStr("slo.alert.profile", "workbook")
	a.PutStr("slo.window.long", "1h")
	a.PutStr("slo.window.short", "5m")
	a.PutDouble("slo.burn_rate.long", 20)
	a.PutDouble("slo.burn_rate.short", 24)
	a.PutDouble("slo.burn_rate.threshold", 14.4)
	a.PutDouble("slo.target", 0.995)
	a.PutDouble("slo.error_budget.remaining", 0.6)
	a.PutDouble("slo.coverage", 1)
	a.PutDouble("slo.events.good", 9000)
	a.PutInt("slo.events.bad", 1000)
	a.PutStr("slo.indicator", "spans")
	a.PutStr("slo.owner", "team-checkout")
	a.PutStr("slo.runbook", "https://example.com/r")
	ids := a.PutEmptySlice("slo.exemplar.trace_ids")
	for i := range 3 {
		ids.AppendEmpty().SetStr(fmt.Sprintf("%032X", i+0xab))
	}
	c := a.PutEmptySlice("slo.contributors").AppendEmpty().SetEmptyMap()
	c.PutStr("attribute", "http.route")
	c.PutStr("value", "/checkout")
	c.PutDouble("bad", 900)
	c.PutDouble("total", 2000)
	c.PutDouble("share", 0.9)
	if change != nil {
		change(res, a, rec)
	}
	return ld
}

func TestAlertBecomesASignalAndResolves(t *testing.T) {
	board := &fakeBoard{}
	r := newRig(t, host{component.MustNewID("optimization"): board}, nil)
	r.consume(alertLog("firing", t0.Add(time.Minute), nil))
	r.consume(alertLog("resolved", t0.Add(10*time.Minute), nil))

	got := r.signals()
	require.Len(t, got, 2)
	assert.Equal(t, signal.StateFiring, got[0].State)
	assert.Equal(t, signal.StateResolved, got[1].State)
	assert.Equal(t, got[0].ID, got[1].ID)
	assert.Equal(t, "checkout", got[0].Target.Service)
	assert.Equal(t, "team-checkout", got[0].Owner)
	assert.Len(t, got[0].Evidence.Exemplars, 3)
	assert.Equal(t, fmt.Sprintf("%032x", 0xab), got[0].Evidence.Exemplars[0].TraceID)
	assert.Equal(t, "/checkout", got[0].Evidence.Contributors[0].Value)
	assert.Equal(t, t0, got[0].ValidFrom)
	require.NotNil(t, got[1].Audit, "the signal carries its place in the ledger")
	assert.EqualValues(t, 2, got[1].Audit.Seq)
	assert.Len(t, board.published, 2)

	assert.Equal(t, map[string]int64{"opened": 1, "resolved": 1}, r.counts("otelcol_optimizer_alerts"))
	assert.Equal(t, map[string]int64{"optimization.slo.burnfiring": 1, "optimization.slo.burnresolved": 1}, r.counts("otelcol_optimizer_signals_emitted"))
	assert.Equal(t, map[string]int64{"logs": 2}, r.counts("otelcol_optimizer_items"))
}

func TestObjectivesWindowComesFromTheBookWhenTheRecordLacksIt(t *testing.T) {
	status := &fakeStatuses{statuses: []slo.Status{{Name: "checkout-availability", Window: "30d"}}}
	r := newRig(t, host{component.MustNewID("slo"): status}, nil)
	r.consume(alertLog("firing", t0, nil))
	require.NotNil(t, r.signals()[0].Expected)
	assert.InDelta(t, 21.6*3600, *r.signals()[0].Expected.HorizonSeconds, 0.5)

	without := newRig(t, nil, nil)
	without.consume(alertLog("firing", t0, nil))
	assert.Nil(t, without.signals()[0].Expected)
	without.consume(alertLog("firing", t0, func(_, a pcommon.Map, _ plog.LogRecord) {
		a.PutStr("slo.name", "other")
		a.PutStr("slo.objective.window", "15d")
	}))
	assert.InDelta(t, 10.8*3600, *without.signals()[1].Expected.HorizonSeconds, 0.5)
}

func TestDataIsNeitherChangedNorRefused(t *testing.T) {
	r := newRig(t, nil, nil)
	assert.False(t, r.logs.Capabilities().MutatesData)
	ld := alertLog("firing", t0, nil)
	ld.MarkReadOnly()
	r.next.fail = errors.New("down")
	r.consume(ld)
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	td.MarkReadOnly()
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), td))
	md := pmetric.NewMetrics()
	md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	md.MarkReadOnly()
	require.NoError(t, r.traces.ConsumeMetrics(t.Context(), md))
	assert.Equal(t, map[string]int64{"logs": 1, "traces": 1, "metrics": 1}, r.counts("otelcol_optimizer_items"))
	r.next.fail = nil
	r.logs.engine.tick(t.Context())
	assert.Len(t, r.signals(), 1)
}

func TestWhatIsSaidAtOnceIsOfferedHoweverMuchItIs(t *testing.T) {
	r := newRig(t, nil, func(c *Config) { c.OutboxSize = 3 })
	all := plog.NewLogs()
	for i := range 50 {
		ld := alertLog("firing", t0, func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.name", fmt.Sprint("o", i)) })
		ld.ResourceLogs().MoveAndAppendTo(all.ResourceLogs())
	}
	r.next.fail = errors.New("queue is full")
	r.consume(all)
	assert.Equal(t, map[string]int64{"outbox_full": 47}, r.counts("otelcol_optimizer_signals_dropped"), "what was refused makes room")
	r.next.fail = nil
	for i := range 50 {
		ld := alertLog("firing", t0, func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.name", fmt.Sprint("p", i)) })
		ld.ResourceLogs().MoveAndAppendTo(all.ResourceLogs())
	}
	r.consume(all)
	assert.Equal(t, map[string]int64{"outbox_full": 50}, r.counts("otelcol_optimizer_signals_dropped"))
	assert.Len(t, r.signals(), 50)
}

func TestRefusedSignalsWaitInOrderAndTheOldestGoWhenFull(t *testing.T) {
	r := newRig(t, nil, func(c *Config) { c.OutboxSize = 3 })
	r.next.fail = errors.New("queue is full")
	for i := range 5 {
		r.consume(alertLog("firing", t0, func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.name", fmt.Sprint("o", i)) }))
	}
	assert.Equal(t, map[string]int64{"outbox_full": 2}, r.counts("otelcol_optimizer_signals_dropped"))
	metadatatest.AssertEqualOptimizerOutbox(t, r.tel, []metricdata.DataPoint[int64]{{Value: 3}}, metricdatatest.IgnoreTimestamp())
	r.next.fail = nil
	r.logs.engine.tick(t.Context())
	var order []string
	for _, e := range r.signals() {
		order = append(order, e.Target.Objective)
	}
	assert.Equal(t, []string{"o2", "o3", "o4"}, order)

	r.next.fail = consumererror.NewPermanent(errors.New("never"))
	r.consume(alertLog("firing", t0, func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.name", "o5") }))
	assert.Equal(t, map[string]int64{"outbox_full": 2, "refused": 1}, r.counts("otelcol_optimizer_signals_dropped"))
	r.next.fail = errors.New("still down")
	r.consume(alertLog("firing", t0, func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.name", "o6") }))
	r.stop()
	r.t = t
	assert.Equal(t, int64(1), r.counts("otelcol_optimizer_signals_dropped")["shutdown"])
}

func TestSilenceExpiresSignals(t *testing.T) {
	r := newRig(t, nil, func(c *Config) { c.SignalTTL = time.Hour })
	r.consume(alertLog("firing", t0, nil))
	r.clock.advance(59 * time.Minute)
	r.logs.engine.tick(t.Context())
	require.Len(t, r.signals(), 1)
	r.clock.advance(time.Minute)
	r.logs.engine.tick(t.Context())
	got := r.signals()
	require.Len(t, got, 2)
	assert.Equal(t, signal.StateExpired, got[1].State)
	assert.Equal(t, t0.Add(time.Hour), got[1].UpdatedAt)
	metadatatest.AssertEqualOptimizerSignalsActive(t, r.tel, []metricdata.DataPoint[int64]{{Value: 0}}, metricdatatest.IgnoreTimestamp())
}

func TestBookKeepsASignalFromExpiring(t *testing.T) {
	status := &fakeStatuses{statuses: []slo.Status{{Name: "checkout-availability", Service: "checkout", Alerts: []slo.FiringAlert{{Name: "page-1h"}}}}}
	r := newRig(t, host{component.MustNewID("slo"): status}, func(c *Config) { c.SignalTTL = time.Hour })
	r.consume(alertLog("firing", t0, nil))
	r.clock.advance(2 * time.Hour)
	r.logs.engine.tick(t.Context())
	got := r.signals()
	require.Len(t, got, 2)
	assert.Equal(t, signal.StateFiring, got[1].State)
	status.statuses[0].Alerts = nil
	r.clock.advance(2 * time.Hour)
	r.logs.engine.tick(t.Context())
	assert.Equal(t, signal.StateExpired, r.signals()[2].State)
}

func TestFiringSignalsLiveThroughARestart(t *testing.T) {
	store := &fakeStorage{values: map[string][]byte{}}
	id := component.MustNewID("file_storage")
	withStorage := func(c *Config) { c.Storage = &id }
	before := newRig(t, host{id: store}, withStorage)
	before.consume(alertLog("firing", t0, nil))
	before.stop()
	require.NotEmpty(t, store.values)

	after := newRig(t, host{id: store}, withStorage)
	assert.Equal(t, 1, after.logs.engine.loop.Active())
	after.consume(alertLog("resolved", t0.Add(time.Minute), nil))
	got := after.signals()
	require.Len(t, got, 1)
	assert.Equal(t, before.signals()[0].ID, got[0].ID)
	assert.Equal(t, signal.StateResolved, got[0].State)
	assert.Equal(t, 1, got[0].Update)
	// The tick keeps the state too, without waiting for an orderly end.
	after.logs.engine.tick(t.Context())
	third := newRig(t, host{id: store}, withStorage)
	assert.Zero(t, third.logs.engine.loop.Active())
}

func TestBrokenStorageIsReportedAndDoesNotStopTheWork(t *testing.T) {
	id := component.MustNewID("file_storage")
	store := &fakeStorage{values: map[string][]byte{"optimizer//state": []byte(`{"burn":{"version":99}}`)}}
	r := newRig(t, host{id: store}, func(c *Config) { c.Storage = &id })
	assert.Equal(t, map[string]int64{"": 1}, r.counts("otelcol_optimizer_storage_errors"))
	store.mu.Lock()
	store.fail = errors.New("disk full")
	store.mu.Unlock()
	r.consume(alertLog("firing", t0, nil))
	r.logs.engine.tick(t.Context())
	assert.Len(t, r.signals(), 1)
	assert.GreaterOrEqual(t, r.counts("otelcol_optimizer_storage_errors")[""], int64(2))
	store.mu.Lock()
	store.fail = nil
	store.mu.Unlock()

	reg := newRegistry(r.clock.read)
	missing := createDefaultConfig().(*Config)
	missing.Storage = &id
	c, err := reg.instance(metadatatest.NewSettings(componenttest.NewTelemetry()), missing, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorIs(t, c.Start(t.Context(), host{}), errStorage)
	require.NoError(t, c.Shutdown(t.Context()))
	require.NoError(t, c.Shutdown(t.Context()), "twice is no harm")
}

func TestBoardThatRefusesDoesNotHoldUpTheSignal(t *testing.T) {
	board := &fakeBoard{fail: errors.New("full")}
	r := newRig(t, host{component.MustNewID("optimization"): board}, nil)
	r.consume(alertLog("firing", t0, nil))
	require.Len(t, r.signals(), 1)
	assert.Nil(t, r.signals()[0].Audit)
	assert.Equal(t, map[string]int64{"": 1}, r.counts("otelcol_optimizer_board_errors"))
}

// hostile records, each with what must become of it: a reason, or opened with the reasons of the fields left out.
var hostile = map[string]struct {
	change  func(res, a pcommon.Map, rec plog.LogRecord)
	outcome string
	ignored map[string]int64
}{
	"no name":               {func(_, a pcommon.Map, _ plog.LogRecord) { a.Remove("slo.name") }, missingField, nil},
	"empty name":            {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.name", "") }, missingField, nil},
	"name of another type":  {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutInt("slo.name", 7) }, wrongType, nil},
	"huge name":             {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.name", strings.Repeat("x", 1<<20)) }, tooLong, nil},
	"unknown state":         {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.alert.state", "pending") }, outOfRange, nil},
	"unknown severity":      {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.alert.severity", "info") }, outOfRange, nil},
	"no start":              {func(_, a pcommon.Map, _ plog.LogRecord) { a.Remove("slo.alert.started_at") }, missingField, nil},
	"start as text":         {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.alert.started_at", "now") }, wrongType, nil},
	"start after the event": {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutInt("slo.alert.started_at", math.MaxInt64) }, outOfRange, nil},
	"negative start":        {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutInt("slo.alert.started_at", -1) }, outOfRange, nil},
	"no time":               {func(_, _ pcommon.Map, rec plog.LogRecord) { rec.SetTimestamp(0) }, missingField, nil},
	"end of time":           {func(_, _ pcommon.Map, rec plog.LogRecord) { rec.SetTimestamp(math.MaxUint64) }, outOfRange, nil},
	"year 2100": {func(_, _ pcommon.Map, rec plog.LogRecord) {
		rec.SetTimestamp(pcommon.NewTimestampFromTime(t0.AddDate(74, 0, 0)))
	}, future, nil},
	"group of another type": {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutInt("slo.group.x", 1) }, wrongType, nil},
	"group without name":    {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.group.", "x") }, missingField, nil},
	"huge group":            {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.group.x", strings.Repeat("x", 1<<20)) }, tooLong, nil},
	"many groups": {func(_, a pcommon.Map, _ plog.LogRecord) {
		for i := range 1000 {
			a.PutStr(fmt.Sprint("slo.group.", i), "x")
		}
	}, tooMany, nil},
	"numbers that are none": {func(_, a pcommon.Map, _ plog.LogRecord) {
		a.PutDouble("slo.burn_rate.long", math.NaN())
		a.PutDouble("slo.burn_rate.short", math.Inf(1))
		a.PutDouble("slo.target", 1)
		a.PutDouble("slo.coverage", -0.1)
		a.PutDouble("slo.events.good", -5)
		a.PutStr("slo.events.bad", "many")
	}, "opened", map[string]int64{notFinite: 2, outOfRange: 3, wrongType: 1}},
	"largest numbers": {func(_, a pcommon.Map, _ plog.LogRecord) {
		for _, name := range []string{"slo.burn_rate.long", "slo.burn_rate.short", "slo.burn_rate.threshold", "slo.events.good", "slo.events.bad"} {
			a.PutDouble(name, math.MaxFloat64)
		}
		a.PutDouble("slo.error_budget.remaining", -math.MaxFloat64)
	}, "opened", nil},
	"bad resource": {func(res, _ pcommon.Map, _ plog.LogRecord) {
		res.PutInt("service.name", 1)
		res.PutStr("service.namespace", strings.Repeat("x", 1<<20))
		res.PutStr("deployment.environment.name", "\xff\x00<script>")
	}, "opened", map[string]int64{wrongType: 1, tooLong: 1}},
	"10,000 contributors": {func(_, a pcommon.Map, _ plog.LogRecord) {
		s := a.PutEmptySlice("slo.contributors")
		for i := range 10_000 {
			m := s.AppendEmpty().SetEmptyMap()
			m.PutStr("attribute", "http.route")
			m.PutStr("value", fmt.Sprint(strings.Repeat("\"", 900), i))
		}
	}, "opened", map[string]int64{tooMany: 2}},
	"contributors of all kinds": {func(_, a pcommon.Map, _ plog.LogRecord) {
		s := a.PutEmptySlice("slo.contributors")
		s.AppendEmpty().SetStr("x")
		m := s.AppendEmpty().SetEmptyMap()
		m.PutInt("attribute", 1)
		m = s.AppendEmpty().SetEmptyMap()
		m.PutStr("attribute", "http.route")
		m.PutDouble("share", 1.5)
		m.PutDouble("bad", math.NaN())
		s.AppendEmpty()
	}, "opened", map[string]int64{wrongType: 3, outOfRange: 1, notFinite: 1}},
	"contributors are text": {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.contributors", "x") }, "opened", map[string]int64{wrongType: 1}},
	"trace ids": {func(_, a pcommon.Map, _ plog.LogRecord) {
		s := a.PutEmptySlice("slo.exemplar.trace_ids")
		s.AppendEmpty().SetStr(strings.Repeat("0", 32))
		s.AppendEmpty().SetStr("short")
		s.AppendEmpty().SetStr(strings.Repeat("z", 32))
		s.AppendEmpty().SetInt(5)
		for range 1000 {
			s.AppendEmpty().SetStr(strings.Repeat("ab", 16))
		}
	}, "opened", map[string]int64{outOfRange: 3, wrongType: 1, tooMany: 1}},
	"window": {func(_, a pcommon.Map, _ plog.LogRecord) { a.PutStr("slo.objective.window", "a month") }, "opened", map[string]int64{outOfRange: 1}},
	"everything huge": {func(_, a pcommon.Map, _ plog.LogRecord) {
		for _, name := range []string{"slo.owner", "slo.runbook", "slo.indicator", "slo.window.long", "slo.window.short", "slo.alert.profile"} {
			a.PutStr(name, strings.Repeat("\"", 1024))
		}
		a.PutStr("slo.name", strings.Repeat("\"", 1024))
		a.PutStr("slo.alert", strings.Repeat("\"", 1024))
	}, "opened", nil},
}

func TestHostileAlertsAreCountedByReason(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, nil)
			r.consume(alertLog("firing", t0.Add(time.Minute), c.change))
			assert.Equal(t, map[string]int64{c.outcome: 1}, r.counts("otelcol_optimizer_alerts"))
			want := c.ignored
			if want == nil {
				want = map[string]int64{}
			}
			assert.Equal(t, want, r.counts("otelcol_optimizer_alert_fields_ignored"))
			got := r.signals()
			if c.outcome != "opened" {
				assert.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.NoError(t, got[0].Validate())
			data, err := got[0].MarshalCanonical()
			require.NoError(t, err)
			assert.LessOrEqual(t, len(data), signal.MaxBytes)
		})
	}
}

func TestGoodDataAfterHostileDataGivesTheSameSignals(t *testing.T) {
	clean := newRig(t, nil, nil)
	clean.consume(alertLog("firing", t0.Add(time.Minute), nil))
	clean.consume(alertLog("resolved", t0.Add(2*time.Minute), nil))

	dirty := newRig(t, nil, nil)
	for _, c := range hostile {
		dirty.consume(alertLog("firing", t0, func(res, a pcommon.Map, rec plog.LogRecord) {
			a.PutStr("slo.name", "another")
			c.change(res, a, rec)
			if v, ok := a.Get("slo.name"); ok && v.AsString() == "checkout-availability" {
				a.PutStr("slo.name", "another")
			}
		}))
	}
	dirty.next.Reset()
	dirty.consume(alertLog("firing", t0.Add(time.Minute), nil))
	dirty.consume(alertLog("resolved", t0.Add(2*time.Minute), nil))
	assert.Equal(t, clean.envelopes(), dirty.envelopes())
}

func TestSameRecordsGiveByteIdenticalSignals(t *testing.T) {
	run := func() []string {
		r := newRig(t, nil, nil)
		for i := range 50 {
			state := []string{"firing", "resolved"}[i%2]
			r.consume(alertLog(state, t0.Add(time.Duration(i)*time.Minute), func(_, a pcommon.Map, _ plog.LogRecord) {
				a.PutStr("slo.name", fmt.Sprint("o", i/2%5))
				a.PutInt("slo.alert.started_at", t0.Add(time.Duration(i/2)*time.Minute).UnixNano())
				a.PutStr("slo.group.http.route", "/a")
				a.PutStr("slo.group.rpc.method", "b")
			}))
		}
		return r.envelopes()
	}
	first := run()
	require.NotEmpty(t, first)
	for range 3 {
		require.Equal(t, first, run())
	}
}

func TestBadInputPassesAndChangesNothing(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings.Path(t), "fixtures", "otlp-badinput", "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, files, 40)
	clean := newRig(t, nil, nil)
	clean.consume(alertLog("firing", t0, nil))
	r := newRig(t, nil, nil)
	consumed := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "trace"):
			td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(data)
			if err == nil {
				consumed++
				require.NoError(t, r.traces.ConsumeTraces(t.Context(), td))
			}
		case strings.HasPrefix(name, "metric"):
			md, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(data)
			if err == nil {
				consumed++
				require.NoError(t, r.traces.ConsumeMetrics(t.Context(), md))
			}
		default:
			ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(data)
			if err == nil {
				consumed++
				r.consume(ld)
			}
		}
	}
	require.Greater(t, consumed, 25)
	r.consume(alertLog("firing", t0, nil))
	assert.Equal(t, clean.envelopes(), r.envelopes())
}

func TestEventClock(t *testing.T) {
	var c eventClock
	assert.Equal(t, t0, c.inSilence(t0), "before anything was seen, the clock")
	past := t0.Add(-time.Hour)
	c.observe(past, t0)
	assert.Equal(t, past, c.inSilence(t0))
	assert.Equal(t, past.Add(time.Minute), c.inSilence(t0.Add(time.Minute)), "silence moves with the clock")
	c.observe(past.Add(time.Second), t0.Add(time.Minute))
	assert.Equal(t, past.Add(time.Second), c.watermark, "a pause that was none leaves no trace")
	c.observe(past, t0.Add(time.Minute))
	assert.Equal(t, past.Add(time.Second), c.watermark, "event time never goes back")
	assert.Equal(t, past.Add(time.Second), c.inSilence(t0), "nor does it when the clock does")
}

func TestComponentIDsHaveEnginesOfTheirOwn(t *testing.T) {
	reg := newRegistry(time.Now)
	cfg := createDefaultConfig().(*Config)
	set := metadatatest.NewSettings(componenttest.NewTelemetry())
	a, err := reg.instance(set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	b, err := reg.instance(set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	set.ID = component.MustNewIDWithName("optimizer", "two")
	c, err := reg.instance(set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	assert.Same(t, a.engine, b.engine)
	assert.NotSame(t, a.engine, c.engine)
	for _, x := range []*instance{a, b, c} {
		require.NoError(t, x.Shutdown(t.Context()))
	}
	assert.Empty(t, reg.engines)
}

var _ consumer.Logs = (*sink)(nil)
