// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/figures"
)

const targets = 10_000

// uses is what the instances of many services use, ten points each.
func uses(services int, at time.Time) []pmetric.Metrics {
	var all []pmetric.Metrics
	for from := 0; from < services; from += 100 {
		md := pmetric.NewMetrics()
		for i := from; i < min(from+100, services); i++ {
			rm := md.ResourceMetrics().AppendEmpty()
			m := rm.Resource().Attributes()
			m.PutStr("service.name", fmt.Sprintf("service-%05d", i))
			m.PutStr("service.namespace", "prod")
			m.PutStr("service.version", "1.2.3")
			m.PutStr("service.instance.id", "pod")
			metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
			for n, name := range []string{"process.memory.usage", "container.cpu.usage", "process.cpu.time", "http.server.active_requests", "go.goroutine.count"} {
				x := metrics.AppendEmpty()
				x.SetName(name)
				sum := x.SetEmptySum()
				sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				for range 2 {
					p := sum.DataPoints().AppendEmpty()
					p.SetTimestamp(pcommon.NewTimestampFromTime(at))
					p.SetDoubleValue(float64(1000 + n))
				}
			}
		}
		all = append(all, md)
	}
	return all
}

func TestTenThousandTargetsAreReadWithoutAllocation(t *testing.T) {
	var before, after runtime.MemStats
	all, points := fleet(targets, 5, t0), uses(targets, t0)
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := benchInstance(t)
	for range 3 {
		for i := range all {
			require.NoError(t, c.ConsumeTraces(t.Context(), all[i]))
			require.NoError(t, c.ConsumeMetrics(t.Context(), points[i]))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	i := 0
	allocations := func(consume func(n int)) float64 {
		return testing.AllocsPerRun(200, func() {
			consume(i % len(all))
			i++
		})
	}
	assert.LessOrEqual(t, allocations(func(n int) { _ = c.ConsumeTraces(t.Context(), all[n]) }), 3.0, "for a request of 500 spans")
	assert.LessOrEqual(t, allocations(func(n int) { _ = c.ConsumeMetrics(t.Context(), points[n]) }), 3.0, "for a request of 1,000 points")
	for _, d := range c.engine.detectors.all {
		switch d.Name() {
		case "canary", "regression":
			assert.Equal(t, targets, d.Fill().Used, d.Name())
		}
	}
	figures.Record(t, figures.Figure{
		Table: "Optimizer with 10,000 services", Row: "held for them, all detectors together", Reached: fmt.Sprintf("%d MB", held>>20), Wanted: "bounded",
		Command: "go test -run TenThousand ./connector/optimizerconnector",
	})
	assert.Less(t, held, int64(200<<20))
	runtime.KeepAlive(all)
	runtime.KeepAlive(points)
}

// processor is the CPU time of this process so far.
func processor(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// What is read moves on by ten seconds a round, so that detectors judge as they do in life.
func TestFigureTenThousandTargetsASecond(t *testing.T) {
	c := benchInstance(t)
	const rounds = 30
	spans, points := 0, 0
	var onSpans, onPoints time.Duration
	for round := range rounds {
		at := t0.Add(time.Duration(round) * 10 * time.Second)
		all, md := fleet(targets, 5, at), uses(targets, at)
		from := processor(t)
		for _, td := range all {
			_ = c.ConsumeTraces(t.Context(), td)
			spans += td.SpanCount()
		}
		between := processor(t)
		for _, m := range md {
			_ = c.ConsumeMetrics(t.Context(), m)
			points += m.DataPointCount()
		}
		onSpans, onPoints = onSpans+between-from, onPoints+processor(t)-between
	}
	row := func(name string, n int, took time.Duration, wanted string) {
		figures.Record(t, figures.Figure{
			Table: "Optimizer with 10,000 services", Row: name, Reached: fmt.Sprintf("%.1f million a CPU second", float64(n)/took.Seconds()/1e6), Wanted: wanted,
			Command: "go test -run TenThousand ./connector/optimizerconnector",
		})
	}
	row("spans read and judged, 500 a request", spans, onSpans, "at least 0.15 (300,000 spans/s on 2 cores)")
	row("points read, 1,000 a request", points, onPoints, "at least 0.25 (500,000 points/s on 2 cores)")
}

func BenchmarkTracesOfTenThousandTargets(b *testing.B) {
	c := benchInstance(b)
	all := fleet(targets, 5, t0)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_ = c.ConsumeTraces(b.Context(), all[i%len(all)])
	}
	b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds(), "spans/s")
}

func BenchmarkPointsOfTenThousandTargets(b *testing.B) {
	c := benchInstance(b)
	all := uses(targets, t0)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_ = c.ConsumeMetrics(b.Context(), all[i%len(all)])
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "points/s")
}
