// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadatatest"
)

func benchInstance(tb testing.TB) *instance {
	tb.Helper()
	reg := newRegistry(func() time.Time { return t0.Add(time.Hour) })
	c, err := reg.instance(metadatatest.NewSettings(componenttest.NewTelemetry()), createDefaultConfig().(*Config), consumertest.NewNop())
	require.NoError(tb, err)
	require.NoError(tb, c.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, c.Shutdown(tb.Context())) })
	return c
}

func spans(n int) ptrace.Traces {
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for range n {
		ss.AppendEmpty().SetName("GET /cart")
	}
	return td
}

func records(n int) plog.Logs {
	ld := plog.NewLogs()
	lr := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for range n {
		lr.AppendEmpty().Body().SetStr("hello")
	}
	return ld
}

func TestTelemetryThatNoDetectorReadsCostsNoAllocation(t *testing.T) {
	c := benchInstance(t)
	td, ld := spans(512), records(512)
	assertAllocs := func(name string, want float64, f func()) {
		if got := testing.AllocsPerRun(100, f); got > want {
			t.Errorf("%s: %.0f allocations, at most %.0f", name, got, want)
		}
	}
	// The measurement's option list; nothing for each span or record.
	assertAllocs("traces", 3, func() { _ = c.ConsumeTraces(t.Context(), td) })
	assertAllocs("logs", 3, func() { _ = c.ConsumeLogs(t.Context(), ld) })
}

// benchTargets are the services of a busy fleet; two versions run of one in a hundred.
const benchTargets = 10_000

// busy makes requests of 64 services each, in turn, whose event time passes as it would at so many items a second.
type busy struct {
	traces  []ptrace.Traces
	metrics []pmetric.Metrics
}

func fillBusy(m pcommon.Map, service int) {
	m.PutStr("service.name", fmt.Sprint("service-", service))
	m.PutStr("service.namespace", "shop")
	m.PutStr("deployment.environment.name", "production")
	version := "1.4.0"
	if service%100 == 0 && service%200 == 0 {
		version = "1.5.0"
	}
	m.PutStr("service.version", version)
	m.PutStr("service.instance.id", fmt.Sprint("pod-", service))
	m.PutStr("k8s.pod.name", fmt.Sprint("service-", service, "-7d9f"))
	m.PutStr("telemetry.sdk.language", "go")
}

func newBusy() busy {
	r := rand.New(rand.NewPCG(1, 1))
	var b busy
	for from := 0; from < benchTargets; from += 64 {
		td, md := ptrace.NewTraces(), pmetric.NewMetrics()
		for i := range 64 {
			service := (from + i) % benchTargets
			rs, rm := td.ResourceSpans().AppendEmpty(), md.ResourceMetrics().AppendEmpty()
			fillBusy(rs.Resource().Attributes(), service)
			fillBusy(rm.Resource().Attributes(), service)
			ss, metrics := rs.ScopeSpans().AppendEmpty().Spans(), rm.ScopeMetrics().AppendEmpty().Metrics()
			for k := range 8 {
				s := ss.AppendEmpty()
				s.SetName("GET /cart")
				s.SetTraceID(pcommon.TraceID{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 14: byte(r.Uint32()), 15: byte(r.Uint32())})
				s.SetSpanID(pcommon.SpanID{byte(k + 1), byte(r.Uint32())})
				s.SetKind([]ptrace.SpanKind{ptrace.SpanKindServer, ptrace.SpanKindClient, ptrace.SpanKindInternal, ptrace.SpanKindInternal}[k%4])
				s.Attributes().PutStr("http.request.method", "GET")
				s.Attributes().PutInt("http.response.status_code", 200)
				if r.IntN(200) == 0 {
					s.Status().SetCode(ptrace.StatusCodeError)
				}
			}
			for k, name := range []string{"process.memory.usage", "process.cpu.time", "http.server.active_requests", "jvm.thread.count"} {
				m := metrics.AppendEmpty()
				m.SetName(name)
				points := m.SetEmptySum()
				points.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				for range 2 {
					points.DataPoints().AppendEmpty().SetDoubleValue(float64(1 + k))
				}
			}
		}
		b.traces, b.metrics = append(b.traces, td), append(b.metrics, md)
	}
	return b
}

// timed gives the spans of a request their times, as their sender would have.
func timed(td ptrace.Traces, at time.Time) {
	end := pcommon.NewTimestampFromTime(at)
	for _, rs := range td.ResourceSpans().All() {
		spans := rs.ScopeSpans().At(0).Spans()
		for i := range spans.Len() {
			spans.At(i).SetEndTimestamp(end)
			spans.At(i).SetStartTimestamp(end - pcommon.Timestamp(40*time.Millisecond))
		}
	}
}

func timedPoints(md pmetric.Metrics, at time.Time) {
	now := pcommon.NewTimestampFromTime(at)
	for _, rm := range md.ResourceMetrics().All() {
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			for _, p := range m.Sum().DataPoints().All() {
				p.SetTimestamp(now)
			}
		}
	}
}

// run consumes requests of 512 items as they come at perSecond; evaluations of all detectors are part of it. It reports what is left on
// the heap after half an hour of event time or the end.
func runBusy(b *testing.B, perSecond float64, change func(*Config), consume func(c *instance, load busy, i int, at time.Time)) {
	b.Helper()
	clock := &fakeClock{now: t0}
	cfg := createDefaultConfig().(*Config)
	change(cfg)
	c, err := newRegistry(clock.read).instance(metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, consumertest.NewNop())
	require.NoError(b, err)
	load := newBusy()
	require.NoError(b, c.Start(b.Context(), componenttest.NewNopHost()))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		clock.advance(time.Duration(512 / perSecond * float64(time.Second)))
		consume(c, load, i, clock.read())
		i++
	}
	b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "items/s")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc))/1e6, "MB")
	require.NoError(b, c.Shutdown(b.Context()))
}

// Every detector but coverage is on by default.
func BenchmarkTraces(b *testing.B) {
	for name, change := range map[string]func(*Config){
		"default": func(*Config) {}, "coverage": func(c *Config) { c.Coverage.Enabled = true }, "replica": func(c *Config) { c.Decider = false },
	} {
		b.Run(name, func(b *testing.B) {
			runBusy(b, 300_000, change, func(c *instance, load busy, i int, at time.Time) {
				td := load.traces[i%len(load.traces)]
				timed(td, at)
				_ = c.ConsumeTraces(b.Context(), td)
			})
		})
	}
}

func BenchmarkMetrics(b *testing.B) {
	runBusy(b, 500_000, func(*Config) {}, func(c *instance, load busy, i int, at time.Time) {
		md := load.metrics[i%len(load.metrics)]
		timedPoints(md, at)
		_ = c.ConsumeMetrics(b.Context(), md)
	})
}

func TestTelemetryOfKnownServicesCostsNoAllocationForEachItem(t *testing.T) {
	c := benchInstance(t)
	load := newBusy()
	td, md := load.traces[0], load.metrics[0]
	timed(td, t0)
	timedPoints(md, t0)
	for name, f := range map[string]func(){
		"traces":  func() { _ = c.ConsumeTraces(t.Context(), td) },
		"metrics": func() { _ = c.ConsumeMetrics(t.Context(), md) },
	} {
		for range 10 {
			f()
		}
		if got := testing.AllocsPerRun(100, f); got > 3 {
			t.Errorf("%s: %.0f allocations for 512 items of 64 services, at most 3", name, got)
		}
	}
}

func BenchmarkLogs(b *testing.B) {
	c, ld := benchInstance(b), records(512)
	b.ReportAllocs()
	for b.Loop() {
		_ = c.ConsumeLogs(b.Context(), ld)
	}
	b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkAlerts(b *testing.B) {
	c := benchInstance(b)
	state := map[bool]string{true: "firing", false: "resolved"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = c.ConsumeLogs(b.Context(), alertLog(state[i%2 == 0], t0.Add(time.Minute), func(_, a pcommon.Map, _ plog.LogRecord) {
			a.PutInt("slo.alert.started_at", t0.UnixNano()+int64(i/2))
		}))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
}
