// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// level is one gauge of one resource at a time.
func level(attrs map[string]any, at time.Time, values map[string]float64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	fill(rm.Resource().Attributes(), attrs)
	list := rm.ScopeMetrics().AppendEmpty().Metrics()
	for name, v := range values {
		m := list.AppendEmpty()
		m.SetName(name)
		dp := m.SetEmptyGauge().DataPoints().AppendEmpty()
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetDoubleValue(v)
	}
	return md
}

// served is spans that a service served, each taking a second times its number.
func served(attrs map[string]any, state string, routes ...string) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	fill(rs.Resource().Attributes(), attrs)
	for i, route := range routes {
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetKind(ptrace.SpanKindServer)
		s.SetTraceID(pcommon.TraceID{byte(i)})
		s.SetSpanID(pcommon.SpanID{byte(i + 1)})
		s.SetName("span " + route)
		s.Attributes().PutStr("http.route", route)
		s.TraceState().FromRaw(state)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(noon))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(noon.Add(time.Duration(i+1) * time.Second)))
	}
	return td
}

// emitted are the values of one metric by service and attributes.
func emitted(r *rig, name string, attributes ...string) map[string]float64 {
	out := map[string]float64{}
	for _, md := range r.metrics.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			service := first(rm.Resource().Attributes(), "", "service.name")
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() != name {
					continue
				}
				var points pmetric.NumberDataPointSlice
				if m.Type() == pmetric.MetricTypeSum {
					points = m.Sum().DataPoints()
				} else {
					points = m.Gauge().DataPoints()
				}
				for _, dp := range points.All() {
					key := []string{service}
					for _, attribute := range attributes {
						key = append(key, first(dp.Attributes(), "", attribute))
					}
					out[strings.Join(key, " ")] = dp.DoubleValue()
				}
			}
		}
	}
	return out
}

func container(service, pod string) map[string]any {
	return map[string]any{"service.name": service, "k8s.pod.uid": pod, "k8s.container.name": "main", "k8s.node.name": "node-1", attrOwner: "team"}
}

// hour runs a node of 4 cores and 16 GiB for an hour: a reserves 2 cores and uses 1, b uses 0.5 cores and 4 GiB.
func hour(t *testing.T, r *rig) {
	t.Helper()
	r.engine.now = func() time.Time { return noon }
	r.engine.emit(t.Context())
	for _, at := range []time.Time{noon, noon.Add(time.Hour)} {
		for _, md := range []pmetric.Metrics{
			level(map[string]any{"k8s.node.name": "node-1", "cloud.region": "eu"}, at, map[string]float64{"k8s.node.allocatable_cpu": 4, "k8s.node.allocatable_memory": 16 << 30}),
			level(container("a", "pod-a"), at, map[string]float64{"k8s.container.cpu_request": 2, "container.cpu.usage": 1}),
			level(container("b", "pod-b"), at, map[string]float64{"container.cpu.usage": 0.5, "container.memory.working_set": 4 << 30}),
			level(map[string]any{"process.pid": 7, "host.name": "node-1"}, at, map[string]float64{"process.memory.usage": 1 << 40}), // no service: it may be in a container
		} {
			require.NoError(t, r.pm.ConsumeMetrics(t.Context(), md))
			require.NoError(t, r.pm.ConsumeMetrics(t.Context(), md), "sent twice, counted once")
		}
	}
	r.metrics.Reset()
	r.engine.now = func() time.Time { return noon.Add(time.Hour) }
}

func allocating(t *testing.T, change func(*ResourcesConfig)) *rig {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prices.csv")
	write(t, path, "region,cpu_core_hour,ram_gib_hour\neu,0.04,0.005\n")
	return newRig(t, func(c *Config) {
		c.Telemetry.Enabled = false
		c.Resources.Enabled = true
		c.Resources.PriceSheet = path
		c.Resources.MaxGap = time.Hour
		if change != nil {
			change(&c.Resources)
		}
	})
}

func TestServicesPayForWhatTheyReserveOrUseAndTheRestIsIdle(t *testing.T) {
	r := allocating(t, nil)
	hour(t, r)
	r.engine.emit(t.Context())
	got := emitted(r, "cost.allocated", "cost.kind")
	assert.InDelta(t, 2*0.04, got["a own"], 1e-12)
	assert.InDelta(t, 0.5*0.04+4*0.005, got["b own"], 1e-12)
	assert.InDelta(t, 1.5*0.04+12*0.005, got["__idle__ idle"], 1e-12)
	assert.Len(t, got, 3)
	sum := 0.0
	for _, v := range got {
		sum += v
	}
	assert.InDelta(t, 4*0.04+16*0.005, sum, 1e-12, "all of it is what the node costs")
	r.stop(t)
}

func TestIdleAndOverheadCanBeShared(t *testing.T) {
	r := allocating(t, func(c *ResourcesConfig) { c.Idle = allocation.Weighted; c.OverheadPerHour = 1.2 })
	hour(t, r)
	r.engine.emit(t.Context())
	got := emitted(r, "cost.allocated", "cost.kind")
	assert.InDelta(t, 1.5*0.04*2/2.5, got["a idle"], 1e-12)
	assert.InDelta(t, 1.5*0.04*0.5/2.5+12*0.005, got["b idle"], 1e-12)
	assert.InDelta(t, 1.2*0.08/0.12, got["a overhead"], 1e-12)
	assert.InDelta(t, 1.2*0.04/0.12, got["b overhead"], 1e-12)
	r.stop(t)
}

func TestServicesThatRunForTheOthersAreDividedAmongThem(t *testing.T) {
	for split, want := range map[allocation.Share]map[string]float64{
		allocation.Weighted: {"a own": 3, "b own": 1, "a shared": 1.5, "b shared": 0.5, "a overhead": 3, "b overhead": 1, "__idle__ idle": 4},
		allocation.Even:     {"a own": 3, "b own": 1, "a shared": 1, "b shared": 1, "a overhead": 2, "b overhead": 2, "__idle__ idle": 4},
		allocation.None:     {"a own": 3, "b own": 1, "kube-dns own": 2, "__idle__ idle": 4, "__idle__ overhead": 4},
	} {
		r, _ := sheetOf(t, "cpu_core_hour,ram_gib_hour\n1,0\n", func(c *Config) {
			c.Resources.Shared, c.Resources.Split, c.Resources.OverheadPerHour = []string{"kube-*"}, split, 4
		})
		got := run(t, r,
			levels(map[string]any{"k8s.node.name": "node-1"}, map[string]float64{"k8s.node.cpu.allocatable": 10}),
			levels(container("a", "pod-a"), map[string]float64{"k8s.container.cpu.request.desired": 3}),
			levels(container("b", "pod-b"), map[string]float64{"k8s.container.cpu.request.desired": 1}),
			levels(container("kube-dns", "pod-k"), map[string]float64{"k8s.container.cpu.request.desired": 2}),
		)
		assert.Equal(t, want, rounded(got), split)
		r.stop(t)
	}
}

func TestARequestCostsItsShareOfTheService(t *testing.T) {
	r := allocating(t, nil)
	hour(t, r)
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), served(container("a", "pod-a"), "", "/cart", "/cart", "/pay")))
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), served(container("b", "pod-b"), "ot=th:c", "/x")), "sampled: stands for four")
	r.engine.emit(t.Context())
	got := emitted(r, "cost.per_request", "cost.scope", "cost.operation")
	assert.InDelta(t, 0.08/3, got["a service "], 1e-12)
	assert.InDelta(t, 0.08*3/6/2, got["a service /cart"], 1e-12)
	assert.InDelta(t, 0.08*3/6, got["a service /pay"], 1e-12)
	assert.InDelta(t, 0.04/4, got["b service "], 1e-12)
	assert.InDelta(t, got["a service /cart"]*2+got["a service /pay"], got["a service "]*3, 1e-9, "requests together cost what the service costs")
	r.metrics.Reset()
	r.engine.emit(t.Context())
	assert.Empty(t, emitted(r, "cost.per_request", "cost.operation"), "a window without requests has no cost per request")
	r.stop(t)
}

func TestARequestCostsWhatAllServicesWorkedForIt(t *testing.T) {
	r := allocating(t, nil)
	hour(t, r)
	td := ptrace.NewTraces()
	add := func(service string, n byte, parent byte, kind ptrace.SpanKind, route string, from, to int) {
		rs := td.ResourceSpans().AppendEmpty()
		fill(rs.Resource().Attributes(), container(service, "pod-"+service))
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1})
		s.SetSpanID(pcommon.SpanID{n})
		if parent > 0 {
			s.SetParentSpanID(pcommon.SpanID{parent})
		}
		s.SetKind(kind)
		s.SetName(route)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(noon.Add(time.Duration(from) * time.Second)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(noon.Add(time.Duration(to) * time.Second)))
	}
	add("a", 1, 0, ptrace.SpanKindServer, "/cart", 0, 10)
	add("a", 2, 1, ptrace.SpanKindClient, "call", 2, 9)
	add("b", 3, 2, ptrace.SpanKindServer, "/price", 3, 8)
	add("b", 4, 0, ptrace.SpanKindServer, "/health", 0, 5)
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), td))
	r.engine.emit(t.Context())
	got := emitted(r, "cost.per_request", "cost.scope", "cost.operation")
	assert.InDelta(t, 0.08+0.04/2, got["a trace /cart"], 1e-12, "all of a, and half of b")
	assert.InDelta(t, 0.04/2, got["b trace /health"], 1e-12)
	assert.InDelta(t, 0.08+0.04, got["a trace /cart"]+got["b trace /health"], 1e-9, "over all requests it is what the services cost")
	assert.InDelta(t, 0.04/2, got["b service /price"], 1e-12)
	r.stop(t)
}

func TestUsageIsBoundedAndOverflowIsCounted(t *testing.T) {
	r := allocating(t, func(c *ResourcesConfig) { c.MaxUnits = 3; c.MaxOperations = 2 })
	for i := range 5 {
		require.NoError(t, r.pm.ConsumeMetrics(t.Context(), level(container("a", strconv.Itoa(i)), noon, map[string]float64{"container.cpu.usage": 1})))
	}
	assert.EqualValues(t, 2, r.counter(t, "cost_usage_overflow"))
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), served(container("a", "0"), "", "/1", "/2", "/3", "/4", "/1")))
	window := r.engine.requests.take()
	require.Len(t, window.accounts, 1)
	for _, c := range window.accounts {
		assert.Len(t, c.operations, 3)
		assert.InDelta(t, 5, c.all.Count, 0)
	}
	r.engine.requests.maxAccounts = 1
	for _, service := range []string{"a", "b", "c"} {
		require.NoError(t, r.pt.ConsumeTraces(t.Context(), served(container(service, "0"), "", "/1")))
	}
	window = r.engine.requests.take()
	assert.Len(t, window.accounts, 2)
	assert.Len(t, window.entries, 2)
	r.stop(t)
}

func TestCountersHistogramsAndOddPointsOfUsageMetricsAreTold(t *testing.T) {
	r := allocating(t, nil)
	r.engine.now = func() time.Time { return noon }
	r.engine.emit(t.Context())
	for i, at := range []time.Time{noon, noon.Add(30 * time.Minute)} {
		md := level(map[string]any{"service.name": "p", "host.name": "h", "service.instance.id": "1"}, at, nil)
		list := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		m := list.AppendEmpty()
		m.SetName("process.cpu.time")
		sum := m.SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		for _, state := range []string{"user", "system"} {
			dp := sum.DataPoints().AppendEmpty()
			dp.Attributes().PutStr("state", state)
			dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
			dp.SetIntValue(int64(i) * 900)
		}
		stale := sum.DataPoints().AppendEmpty()
		stale.SetTimestamp(pcommon.NewTimestampFromTime(at))
		stale.SetDoubleValue(1e12)
		stale.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		delta := list.AppendEmpty()
		delta.SetName("container.cpu.time")
		delta.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		delta.Sum().DataPoints().AppendEmpty().SetDoubleValue(1e6)
		odd := list.AppendEmpty()
		odd.SetName("container.memory.working_set")
		odd.SetEmptyHistogram().DataPoints().AppendEmpty().SetCount(3)
		require.NoError(t, r.pm.ConsumeMetrics(t.Context(), md))
	}
	r.metrics.Reset()
	r.engine.now = func() time.Time { return noon.Add(time.Hour) }
	r.engine.emit(t.Context())
	got := emitted(r, "cost.allocated", "cost.kind")
	assert.InDelta(t, 0.5*0.031611, got["p own"], 1e-12, "1,800 processor seconds at OpenCost's default price")
	assert.Len(t, got, 1)
	r.stop(t)
}

func TestABrokenOrMissingPriceSheetIsAnErrorAtCreation(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "broken.csv"), "colour\n")
	write(t, filepath.Join(dir, "good.yml"), "- {cpu_core_hour: 1}\n")
	for _, name := range []string{"none.csv", "broken.csv"} {
		_, err := newResourceMeter(&ResourcesConfig{PriceSheet: filepath.Join(dir, name)})
		require.ErrorContains(t, err, "price_sheet")
	}
	m, err := newResourceMeter(&ResourcesConfig{PriceSheet: filepath.Join(dir, "good.yml")})
	require.NoError(t, err)
	assert.Equal(t, 1, m.sheet.Len())
}

func TestAdjustedCountsComeFromTheTraceState(t *testing.T) {
	for state, want := range map[string]float64{
		"": 1, "ot=th:0": 1, "ot=th:8": 2, "vendor=x, ot=rv:1;th:c": 4, "ot=th:": 1, "ot=th:zz": 1, "ot=rv:1": 1, "ot=th:fffffffffffffff": 1,
	} {
		assert.InDelta(t, want, adjustedCount(state), 1e-12, state)
	}
}

func TestOperationsAreNamedByRouteProcedureOrSpan(t *testing.T) {
	for _, c := range []struct {
		attrs map[string]any
		want  string
	}{
		{map[string]any{"http.route": "/cart"}, "/cart"},
		{map[string]any{"rpc.service": "shop.Cart", "rpc.method": "Add"}, "shop.Cart/Add"},
		{map[string]any{"rpc.method": "shop.Cart/Add"}, "shop.Cart/Add"},
		{nil, "span"},
	} {
		s := ptrace.NewSpan()
		s.SetName("span")
		fill(s.Attributes(), c.attrs)
		assert.Equal(t, c.want, operationOf(s))
	}
}
