// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/figures"
)

const (
	benchPoints     = 1000
	benchAttributes = 6
)

// benchLoad is a request of 1000 points with six attributes; values says how many values the last attribute takes.
func benchLoad(kind pmetric.AggregationTemporality, at time.Time, id func(i int) string) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("http.server.request.count")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(kind)
	for i := range benchPoints {
		dp := sum.DataPoints().AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(-time.Minute)))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetIntValue(int64(i))
		dp.Attributes().PutStr("http.request.method", []string{"GET", "POST"}[i%2])
		dp.Attributes().PutStr("http.route", fmt.Sprint("/api/v1/things/", i%20))
		dp.Attributes().PutInt("http.response.status_code", int64(200+i%5))
		dp.Attributes().PutStr("server.address", "shop.example.com")
		dp.Attributes().PutStr("network.protocol.version", "1.1")
		dp.Attributes().PutStr("user.id", id(i))
	}
	return md
}

func newBench(tb testing.TB, change func(*Config)) *engine {
	tb.Helper()
	g := newRig(tb, func(c *Config) {
		c.Limits.Attribute = 200
		change(c)
	})
	return g.proc.engine
}

// meter adds up the processor time that requests take, which other work on the machine does not blur as it does the clock.
type meter struct {
	spent    time.Duration
	requests int
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (m *meter) run(e *engine, md pmetric.Metrics) {
	before := cpuTime()
	_ = e.consume(context.Background(), md, consumertest.NewNop())
	m.spent += cpuTime() - before
	m.requests++
}

func (m *meter) report(b *testing.B) {
	b.Helper()
	points := float64(m.requests) * benchPoints
	b.ReportMetric(float64(m.spent.Nanoseconds())/points/benchAttributes, "cpu-ns/attribute")
	b.ReportMetric(points/m.spent.Seconds(), "points/cpu-s")
}

// Calm: 1000 series, all kept, and seen before.
func BenchmarkCalm(b *testing.B) {
	for _, kind := range []pmetric.AggregationTemporality{delta, cumulative} {
		b.Run(kind.String(), func(b *testing.B) {
			e := newBench(b, func(*Config) {})
			md := benchLoad(kind, e.now(), func(i int) string { return fmt.Sprint("user-", i%50) })
			ctx, sink := context.Background(), consumertest.NewNop()
			require.NoError(b, e.consume(ctx, md, sink))
			b.ReportAllocs()
			var m meter
			for b.Loop() {
				m.run(e, md)
			}
			m.report(b)
		})
	}
}

// Exploding: every point of every request has a value of user.id never seen before. The copy that a request that is rewritten needs
// is made outside of the time.
func BenchmarkExploding(b *testing.B) {
	for _, kind := range []pmetric.AggregationTemporality{delta, cumulative} {
		b.Run(kind.String(), func(b *testing.B) {
			e := newBench(b, func(c *Config) { c.Limits.MemoryMiB = 1024 })
			ctx, sink := context.Background(), consumertest.NewNop()
			users := 0
			md := benchLoad(kind, e.now(), func(int) string { return "user-0000000000" })
			request := func() pmetric.Metrics {
				again := pmetric.NewMetrics()
				md.CopyTo(again)
				for _, dp := range again.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().All() {
					users++
					v, _ := dp.Attributes().Get("user.id")
					v.SetStr(fmt.Sprint("user-", users))
				}
				return again
			}
			for range 10 {
				require.NoError(b, e.consume(ctx, request(), sink))
			}
			b.ReportAllocs()
			var m meter
			for b.Loop() {
				b.StopTimer()
				next := request()
				b.StartTimer()
				m.run(e, next)
			}
			m.report(b)
		})
	}
}

// Folded: a population of 50,000 users, far over the limit, all seen before.
func BenchmarkFolded(b *testing.B) {
	for _, kind := range []pmetric.AggregationTemporality{delta, cumulative} {
		b.Run(kind.String(), func(b *testing.B) {
			e := newBench(b, func(*Config) {})
			ctx, sink := context.Background(), consumertest.NewNop()
			var requests []pmetric.Metrics
			for n := range 50 {
				requests = append(requests, benchLoad(kind, e.now(), func(i int) string { return fmt.Sprint("user-", n*1000+i) }))
			}
			next := 0
			request := func() pmetric.Metrics {
				again := pmetric.NewMetrics()
				requests[next%len(requests)].CopyTo(again)
				next++
				return again
			}
			for range requests {
				require.NoError(b, e.consume(ctx, request(), sink))
			}
			b.ReportAllocs()
			var m meter
			for b.Loop() {
				b.StopTimer()
				md := request()
				b.StartTimer()
				m.run(e, md)
			}
			m.report(b)
		})
	}
}

// A request costs a few allocations of its own and those of pdata's setters for each point that leaves changed; what is kept and what
// is folded away costs none.
func TestSteadyStateAllocatesNothingPerAttribute(t *testing.T) {
	for _, kind := range []pmetric.AggregationTemporality{delta, cumulative} {
		t.Run(kind.String(), func(t *testing.T) {
			e := newBench(t, func(*Config) {})
			ctx, sink := context.Background(), consumertest.NewNop()
			md := benchLoad(kind, e.now(), func(i int) string { return fmt.Sprint("user-", i%50) })
			require.NoError(t, e.consume(ctx, md, sink))
			kept := testing.AllocsPerRun(20, func() { _ = e.consume(ctx, md, sink) })
			assert.Less(t, kept, 10.0, "for %d attributes of %d points that are kept", benchAttributes*benchPoints, benchPoints)

			e = newBench(t, func(c *Config) { c.Limits.Attribute = 20 })
			folded := func(times int) float64 {
				var requests []pmetric.Metrics
				for range 24 {
					md := benchLoad(kind, e.now(), func(i int) string { return fmt.Sprint("user-", i) })
					dps := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
					for size := dps.Len(); dps.Len() < times*size; {
						dps.At(dps.Len() - size).CopyTo(dps.AppendEmpty())
					}
					requests = append(requests, md)
				}
				next := 0
				run := func() {
					_ = e.consume(ctx, requests[next], sink)
					next++
				}
				run()
				run()
				return testing.AllocsPerRun(20, run)
			}
			once, fourTimes := folded(1), folded(4)
			figures.Record(t, figures.Figure{
				Table: "cardinality: speed", Row: kind.String() + ", allocations while 980 of 1,000 values are folded",
				Reached: fmt.Sprintf("%.0f a request of 1,000 points, %.0f of 4,000, into 20 output points", once, fourTimes), Wanted: "0 a point folded",
				Command: "go test -run SteadyState -v ./processor/cardinalityprocessor",
			})
			assert.InDelta(t, once, fourTimes, 2, "points that are folded away must not allocate")
			assert.Less(t, once, 60.0)
		})
	}
}

// A million folded cumulative series must be remembered in 150 MB.
func TestMillionFoldedSeriesFitInMemory(t *testing.T) {
	n := cases(t, 1_000_000, 20_000)
	g := newRig(t, func(c *Config) {
		c.Limits.Attribute = 10
		c.Limits.MemoryMiB = 1024
	})
	e := g.proc.engine
	ctx, sink := context.Background(), consumertest.NewNop()
	md := benchLoad(cumulative, e.now(), func(int) string { return "user-0000000000" })
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	users := 0
	for users < n {
		again := pmetric.NewMetrics()
		md.CopyTo(again)
		for _, dp := range again.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().All() {
			users++
			v, _ := dp.Attributes().Get("user.id")
			v.SetStr(fmt.Sprint("user-", users))
		}
		require.NoError(t, e.consume(ctx, again, sink))
	}
	grown := float64(heap()-before) / float64(n)
	t.Logf("%d folded series: %.0f bytes each by the heap, %.0f as accounted", n, grown, float64(e.limiter.Stats().Bytes)/float64(n))
	figures.Record(t, figures.Figure{
		Table: "cardinality: memory", Row: fmt.Sprintf("%d folded cumulative sums", n),
		Reached: fmt.Sprintf("%.0f bytes each", grown), Wanted: "150 bytes each: 150 MB for a million",
		Command: "PITWALL_SCALE=1 go test -v -run MillionFolded ./processor/cardinalityprocessor",
	})
	require.GreaterOrEqual(t, e.limiter.Stats().Streams, n-10)
	assert.LessOrEqual(t, grown, 150.0)
	runtime.KeepAlive(g)
}
