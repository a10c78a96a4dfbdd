// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/internal/cost/ownership"
	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestAllThreeSignalsGetTheSameTags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "owners.csv")
	write(t, path, "service,service.owner.name,cc\nche*,team-checkout,7\n")
	r := newRig(t, func(c *Config) {
		c.Tables = map[string]TableConfig{"owners": {Path: path, Key: []string{"service"}, Columns: map[string]string{"cc": attrCostCenter}}}
		c.Aliases = map[string][]string{attrEnvironment: {"env"}}
		c.Values = map[string]map[string][]string{attrEnvironment: {"production": {"prod"}}}
		c.Rules = []RuleConfig{
			{Name: "critical", When: []ConditionConfig{{Attribute: "service.name", Matches: "^check"}}, OTTL: `attributes["tier"] == 1`, Set: map[string]string{attrCriticality: "critical"}},
			{Name: "owners", Lookup: &LookupConfig{Table: "owners", Key: []string{"service.name"}}},
		}
	})
	attrs := map[string]any{"service.name": "checkout", " Env": "PROD", "tier": 1}
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), spansOf(attrs, 2)))
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), gaugeOf(attrs, 3)))
	require.NoError(t, r.pl.ConsumeLogs(t.Context(), logsOf(attrs, 4)))

	want := map[string]any{
		"service.name": "checkout", " Env": "PROD", "tier": int64(1),
		attrOwner: "team-checkout", attrCostCenter: "7", attrEnvironment: "production", attrCriticality: "critical",
		attrSource: "deployment.environment.name=alias: Env;service.criticality=rule:critical;" +
			"service.instance.cost_center.id=table:owners:2;service.owner.name=table:owners:2",
	}
	assert.Equal(t, want, resourceOf(r.traces.AllTraces()[0]))
	assert.Equal(t, want, r.metrics.AllMetrics()[0].ResourceMetrics().At(0).Resource().Attributes().AsRaw())
	assert.Equal(t, want, r.logs.AllLogs()[0].ResourceLogs().At(0).Resource().Attributes().AsRaw())
	assert.EqualValues(t, 1, r.counter(t, "cost_cache_misses"), "one decision for three signals")
	assert.EqualValues(t, 2, r.counter(t, "cost_records", "signal", "traces", "outcome", "allocated"))
	assert.EqualValues(t, 3, r.counter(t, "cost_records", "signal", "metrics", "outcome", "allocated"))
	assert.EqualValues(t, 4, r.counter(t, "cost_records", "signal", "logs", "outcome", "allocated"))
	assert.EqualValues(t, 1, r.counter(t, "cost_cache_entries"))
	assert.EqualValues(t, 1, r.counter(t, "cost_accounts"))
	r.stop(t)
}

func TestResourcesWithoutAnOwnerAreTaggedDroppedOrRouted(t *testing.T) {
	for policy, want := range map[OnMissing]map[string]any{
		Tag:   {"service.name": "cart", attrOwner: "__unallocated__", attrSource: "service.owner.name=missing"},
		Route: {"service.name": "cart", attrRoute: "unallocated"},
		Drop:  nil,
	} {
		t.Run(string(policy), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.OnMissing = policy })
			td := spansOf(map[string]any{"service.name": "cart"}, 3)
			spansOf(map[string]any{attrOwner: "me"}, 1).ResourceSpans().At(0).MoveTo(td.ResourceSpans().AppendEmpty())
			require.NoError(t, r.pt.ConsumeTraces(t.Context(), td))
			require.NoError(t, r.pl.ConsumeLogs(t.Context(), logsOf(map[string]any{"service.name": "cart"}, 2)))
			require.NoError(t, r.pm.ConsumeMetrics(t.Context(), gaugeOf(map[string]any{"service.name": "cart"}, 2)))
			outcome := "unallocated"
			if want == nil {
				outcome = "dropped"
				assert.Equal(t, 1, r.traces.SpanCount())
				assert.Zero(t, r.logs.LogRecordCount())
				assert.Zero(t, r.metrics.DataPointCount())
				assert.EqualValues(t, 3, r.counter(t, "cost_dropped_records", "signal", "traces", "reason", "unallocated"))
			} else {
				assert.Equal(t, want, resourceOf(r.traces.AllTraces()[0]))
			}
			assert.EqualValues(t, 3, r.counter(t, "cost_records", "signal", "traces", "outcome", outcome))
			assert.EqualValues(t, 1, r.counter(t, "cost_records", "signal", "traces", "outcome", "allocated"))
			assert.EqualValues(t, 2, r.counter(t, "cost_records", "signal", "logs", "outcome", outcome))
			r.stop(t)
		})
	}
}

func TestACheckingRuleReportsWhatItDisagreesWith(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Rules = []RuleConfig{{Name: "truth", Set: map[string]string{attrOwner: "a"}, Existing: ownership.Check}}
	})
	td := spansOf(map[string]any{attrOwner: "b"}, 1)
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), td))
	assert.Equal(t, map[string]any{attrOwner: "b", attrSource: "service.owner.name=resource", attrConflict: `service.owner.name: truth says "a"`},
		resourceOf(r.traces.AllTraces()[0]))
	assert.EqualValues(t, 1, r.counter(t, "cost_tag_conflicts", "tag", attrOwner, "rule", "truth"))
	r.stop(t)
}

func TestAConditionThatCannotBeEvaluatedCountsAsNotMet(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Rules = []RuleConfig{{Name: "odd", OTTL: `Len(attributes["n"]) > 0`, Set: map[string]string{attrOwner: "a"}}}
	})
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), spansOf(map[string]any{"n": 3}, 1)))
	assert.Equal(t, "__unallocated__", resourceOf(r.traces.AllTraces()[0])[attrOwner])
	assert.EqualValues(t, 1, r.counter(t, "cost_rule_errors", "rule", "odd"))
	r.stop(t)
}

func TestATableIsReloadedOnChangeAndABrokenOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "owners.csv")
	stamp := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	replace := func(text string) {
		stamp = stamp.Add(time.Second)
		write(t, path, text)
		require.NoError(t, os.Chtimes(path, stamp, stamp))
	}
	replace("service,service.owner.name\ncart,one\n")
	r := newRig(t, func(c *Config) {
		c.Tables = map[string]TableConfig{"owners": {Path: path, Key: []string{"service"}}}
		c.Rules = []RuleConfig{{Name: "owners", Lookup: &LookupConfig{Table: "owners", Key: []string{"service.name"}}}}
	})
	owner := func() any {
		r.traces.Reset()
		require.NoError(t, r.pt.ConsumeTraces(t.Context(), spansOf(map[string]any{"service.name": "cart"}, 1)))
		return resourceOf(r.traces.AllTraces()[0])[attrOwner]
	}
	reloads := func(outcome string) int64 {
		return r.counter(t, "cost_table_reloads", "table", "owners", "outcome", outcome)
	}
	assert.Equal(t, "one", owner())

	r.engine.tagger.reload(t.Context())
	assert.Zero(t, reloads("success"), "nothing changed")

	replace("service,service.owner.name\ncart,two\n")
	r.engine.tagger.reload(t.Context())
	assert.Equal(t, "two", owner())
	assert.EqualValues(t, 1, reloads("success"))

	replace("service,service.owner.name\ncart,three\ncart,four\n")
	r.engine.tagger.reload(t.Context())
	r.engine.tagger.reload(t.Context())
	assert.Equal(t, "two", owner())
	assert.EqualValues(t, 1, reloads("failure"), "a broken table is reported once")

	require.NoError(t, os.Remove(path))
	r.engine.tagger.reload(t.Context())
	r.engine.tagger.reload(t.Context())
	assert.Equal(t, "two", owner())
	assert.EqualValues(t, 2, reloads("failure"))

	replace("service,service.owner.name\ncart,five\n")
	r.engine.tagger.reload(t.Context())
	assert.Equal(t, "five", owner())
	r.stop(t)
}

func TestATableThatIsMissingAtStartIsAnError(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Tables = map[string]TableConfig{"owners": {Path: filepath.Join(t.TempDir(), "none.csv"), Key: []string{"service"}}}
	p, err := NewFactory().CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, p.Start(t.Context(), componenttest.NewNopHost()), "tables.owners")
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestABadOTTLConditionIsAnErrorAtCreation(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Rules = []RuleConfig{{Name: "odd", OTTL: `nonsense(`, Set: map[string]string{attrOwner: "a"}}}
	_, err := NewFactory().CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.ErrorContains(t, err, "odd")
}

func TestBytesOverAllServicesAreThePayload(t *testing.T) {
	r := newRig(t, nil)
	want := [signals]int{}
	items := [signals]int{}
	for i := range 30 {
		td, md, ld := ptrace.NewTraces(), pmetric.NewMetrics(), plog.NewLogs()
		for j := range i % 5 {
			attrs := map[string]any{"service.name": fmt.Sprintf("s%d", j), "pad": strings.Repeat("x", i*j*17)}
			spansOf(attrs, i*j).ResourceSpans().MoveAndAppendTo(td.ResourceSpans())
			gaugeOf(attrs, i).ResourceMetrics().MoveAndAppendTo(md.ResourceMetrics())
			logsOf(attrs, i*i).ResourceLogs().MoveAndAppendTo(ld.ResourceLogs())
		}
		want[traces] += (&ptrace.ProtoMarshaler{}).TracesSize(td)
		want[metrics] += (&pmetric.ProtoMarshaler{}).MetricsSize(md)
		want[logs] += (&plog.ProtoMarshaler{}).LogsSize(ld)
		items[traces] += td.SpanCount()
		items[metrics] += md.DataPointCount()
		items[logs] += ld.LogRecordCount()
		require.NoError(t, r.pt.ConsumeTraces(t.Context(), td))
		require.NoError(t, r.pm.ConsumeMetrics(t.Context(), md))
		require.NoError(t, r.pl.ConsumeLogs(t.Context(), ld))
	}
	var gotBytes, gotItems [signals]int
	for _, s := range r.engine.meter.statements() {
		for sig := range signals {
			gotBytes[sig] += int(s.usage[sig].bytes)
			gotItems[sig] += int(s.usage[sig].items)
		}
	}
	assert.Equal(t, want, gotBytes)
	assert.Equal(t, items, gotItems)
	assert.NotZero(t, want[traces]*want[metrics]*want[logs])
	r.stop(t)
	figures.Record(t, figures.Figure{
		Table: "Cost", Row: "Telemetry bytes: the sum over services, against the canonical size of what was received, three signals",
		Reached: fmt.Sprintf("%d of %d bytes", gotBytes[traces]+gotBytes[metrics]+gotBytes[logs], want[traces]+want[metrics]+want[logs]), Wanted: "exactly",
		Command: "go test -run BytesOver ./processor/costprocessor",
	})
}

type refusing struct {
	consumertest.Consumer
}

var errFull = errors.New("full")

func (refusing) ConsumeTraces(context.Context, ptrace.Traces) error    { return errFull }
func (refusing) ConsumeMetrics(context.Context, pmetric.Metrics) error { return errFull }
func (refusing) ConsumeLogs(context.Context, plog.Logs) error          { return errFull }

func TestWhatTheNextComponentRefusesIsNotCounted(t *testing.T) {
	r := newRig(t, nil)
	bad := refusing{consumertest.NewNop()}
	r.pt.(*tracesProcessor).next, r.pm.(*metricsProcessor).next, r.pl.(*logsProcessor).next = bad, bad, bad
	attrs := map[string]any{"service.name": "cart"}
	require.ErrorIs(t, r.pt.ConsumeTraces(t.Context(), spansOf(attrs, 2)), errFull)
	require.ErrorIs(t, r.pm.ConsumeMetrics(t.Context(), gaugeOf(attrs, 2)), errFull)
	require.ErrorIs(t, r.pl.ConsumeLogs(t.Context(), logsOf(attrs, 2)), errFull)
	assert.Zero(t, r.engine.meter.len())
	assert.Zero(t, r.counter(t, "cost_records", "signal", "traces", "outcome", "unallocated"))
	r.stop(t)
}

func TestNewAccountsBeyondTheLimitOverflowAndKnownOnesStay(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAccounts = 2 })
	for _, service := range []string{"a", "b", "c", "d", "a"} {
		require.NoError(t, r.pl.ConsumeLogs(t.Context(), logsOf(map[string]any{"service.name": service}, 1)))
	}
	got := map[string]uint64{}
	for _, s := range r.engine.meter.statements() {
		got[s.account.service] = s.usage[logs].items
	}
	assert.Equal(t, map[string]uint64{"a": 2, "b": 1, overflow: 2}, got)
	assert.EqualValues(t, 2, r.counter(t, "cost_account_overflow"))
	r.stop(t)
}

func TestTelemetryCostLeavesThroughTheMetricsPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) {
			c.Telemetry.Prices = map[string]TelemetryPrice{"traces": {PerGB: 0.5, PerMillion: 2}}
		})
		attrs := map[string]any{"service.name": "cart", attrOwner: "shop", attrCostCenter: "7"}
		td := spansOf(attrs, 10)
		size := (&ptrace.ProtoMarshaler{}).TracesSize(td)
		require.NoError(t, r.pt.ConsumeTraces(t.Context(), td))
		require.NoError(t, r.pl.ConsumeLogs(t.Context(), logsOf(attrs, 4)))
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Len(t, r.metrics.AllMetrics(), 1)
		rm := r.metrics.AllMetrics()[0].ResourceMetrics().At(0)
		assert.Equal(t, map[string]any{"service.name": "cart", attrOwner: "shop", attrCostCenter: "7", "service.instance.id": "collector-1"}, rm.Resource().Attributes().AsRaw())
		got := map[string]float64{}
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			assert.True(t, m.Sum().IsMonotonic())
			for _, p := range m.Sum().DataPoints().All() {
				signal, _ := p.Attributes().Get("cost.signal")
				stage, _ := p.Attributes().Get("cost.stage")
				assert.Equal(t, "received", stage.Str())
				assert.Equal(t, time.Minute, p.Timestamp().AsTime().Sub(p.StartTimestamp().AsTime()))
				got[m.Name()+" "+m.Unit()+" "+signal.Str()] = p.DoubleValue() + float64(p.IntValue())
			}
		}
		ld := logsOf(attrs, 4)
		amount := "cost.telemetry.amount {USD} traces"
		assert.InDelta(t, 0.5*float64(size)/1e9+2*10/1e6, got[amount], 1e-15)
		delete(got, amount)
		assert.Equal(t, map[string]float64{
			"cost.telemetry.items {item} traces": 10, "cost.telemetry.bytes By traces": float64(size),
			"cost.telemetry.items {item} logs": 4, "cost.telemetry.bytes By logs": float64((&plog.ProtoMarshaler{}).LogsSize(ld)),
		}, got)
		r.stop(t)
		assert.Len(t, r.metrics.AllMetrics(), 2, "the last totals leave at shutdown")
	})
}

func TestARefusedEmissionIsCountedAndItsTotalsStay(t *testing.T) {
	r := newRig(t, nil)
	require.NoError(t, r.pl.ConsumeLogs(t.Context(), logsOf(map[string]any{"service.name": "cart"}, 1)))
	r.engine.mu.Lock()
	r.engine.sinks = []consumer.Metrics{refusing{consumertest.NewNop()}}
	r.engine.mu.Unlock()
	r.engine.emit(t.Context())
	assert.EqualValues(t, 1, r.counter(t, "cost_emit_failures"))
	assert.Equal(t, 1, r.engine.meter.len())
	r.stop(t)
}

func TestResourcesThatDifferDoNotShareADecision(t *testing.T) {
	seen := map[string]string{}
	for name, attrs := range map[string]map[string]any{
		"str":    {"a": "1"},
		"int":    {"a": 1},
		"double": {"a": 1.0},
		"true":   {"a": true},
		"false":  {"a": false},
		"nil":    {"a": nil},
		"slice":  {"a": []any{"1"}},
		"empty":  {},
		"joined": {"a": "1b1"},
		"two":    {"a": "1", "b": "1"},
	} {
		td := spansOf(attrs, 0)
		key := string(appendKey(nil, td.ResourceSpans().At(0).Resource().Attributes()))
		other, dup := seen[key]
		require.False(t, dup, "%s and %s", name, other)
		seen[key] = name
	}
}

func TestHostileRequestsNeitherPanicNorChangeWhatFollows(t *testing.T) {
	dir := recordings.Path(t, "fixtures", "otlp-badinput")
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	sort.Strings(files)
	require.NotEmpty(t, files)
	good := func(r *rig) (ptrace.Traces, pmetric.Metrics, plog.Logs) {
		r.traces.Reset()
		r.metrics.Reset()
		r.logs.Reset()
		attrs := map[string]any{"service.name": "cart", "team": "shop"}
		require.NoError(t, r.pt.ConsumeTraces(t.Context(), spansOf(attrs, 3)))
		require.NoError(t, r.pm.ConsumeMetrics(t.Context(), gaugeOf(attrs, 3)))
		require.NoError(t, r.pl.ConsumeLogs(t.Context(), logsOf(attrs, 3)))
		return r.traces.AllTraces()[0], r.metrics.AllMetrics()[0], r.logs.AllLogs()[0]
	}
	rules := func(c *Config) {
		c.Resources.Enabled = true
		c.Aliases = map[string][]string{attrOwner: {"team"}}
		c.Rules = []RuleConfig{{Name: "all", OTTL: `attributes["x"] != nil`, Copy: map[string][]string{attrCostCenter: {"service.name"}}}}
	}
	clean, dirty := newRig(t, rules), newRig(t, rules)
	wantT, wantM, wantL := good(clean)
	passed := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(text); err == nil {
			require.NoError(t, dirty.pt.ConsumeTraces(t.Context(), td), file)
			passed++
		}
		if md, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(text); err == nil {
			require.NoError(t, dirty.pm.ConsumeMetrics(t.Context(), md), file)
			passed++
		}
		if ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(text); err == nil {
			require.NoError(t, dirty.pl.ConsumeLogs(t.Context(), ld), file)
			passed++
		}
	}
	require.Positive(t, passed)
	gotT, gotM, gotL := good(dirty)
	assert.Equal(t, wantT, gotT)
	assert.Equal(t, wantM, gotM)
	assert.Equal(t, wantL, gotL)
	dirty.engine.emit(t.Context())
	clean.stop(t)
	dirty.stop(t)
}

// Accounts are bounded in number; what each is named by is chosen by senders, and is bounded, too.
func TestNamesThatAreTooLongOverflow(t *testing.T) {
	long := strings.Repeat("x", longestName+1)
	r := newRig(t, func(*Config) {})
	for _, c := range []struct{ service, want string }{{long, overflow}, {long[1:], long[1:]}, {"cart", "cart"}} {
		resource := pcommon.NewResource()
		resource.Attributes().PutStr("service.name", c.service)
		assert.Equal(t, c.want, r.engine.tagger.decide(t.Context(), resource).account.service)
		again, _ := resource.Attributes().Get("service.name")
		assert.Equal(t, c.service, again.Str(), "the telemetry itself keeps its name")
	}
	r.stop(t)
}
