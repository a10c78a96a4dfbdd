// SPDX-License-Identifier: Apache-2.0

package tailsampling

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
)

// traceSizes are the span counts of the traces in a request, in turn: contrib's own benchmark shape.
var traceSizes = []int{1, 2, 4, 8, 16, 48}

const tracesPerRequest = 128

// benchmarkRequest has the shape of contrib's benchmarks: four services with the resource attributes of Kubernetes, two scopes each,
// seven or so attributes a span, traces of mixed sizes spread over the services. One trace in ten is slow, one in twenty fails.
func benchmarkRequest() ptrace.Traces {
	const services = 4
	td := ptrace.NewTraces()
	var slots [services][2]ptrace.SpanSlice
	for s := range services {
		rs := td.ResourceSpans().AppendEmpty()
		a := rs.Resource().Attributes()
		for _, kv := range [][2]string{
			{"service.name", fmt.Sprint("service-", s)},
			{"service.namespace", "shop"},
			{"service.version", "1.2.3"},
			{"service.instance.id", fmt.Sprintf("service-%d-7d9f8b6c5-x2k4p", s)},
			{"deployment.environment.name", "production"},
			{"telemetry.sdk.name", "opentelemetry"},
			{"telemetry.sdk.language", "go"},
			{"telemetry.sdk.version", "1.38.0"},
			{"host.name", fmt.Sprintf("ip-10-0-0-%d.eu-west-1.compute.internal", s)},
			{"cloud.region", "eu-west-1"},
			{"k8s.cluster.name", "prod-eu-west-1"},
			{"k8s.namespace.name", "shop"},
			{"k8s.deployment.name", fmt.Sprint("service-", s)},
			{"k8s.pod.name", fmt.Sprintf("service-%d-7d9f8b6c5-x2k4p", s)},
		} {
			a.PutStr(kv[0], kv[1])
		}
		for i, name := range []string{"net/http", "database/sql"} {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(name)
			ss.Scope().SetVersion("0.63.0")
			slots[s][i] = ss.Spans()
		}
	}
	start := time.Unix(1_700_000_000, 0)
	var number uint64
	for i := range tracesPerRequest {
		var id pcommon.TraceID
		binary.BigEndian.PutUint64(id[8:], uint64(i))
		length := 500 * time.Microsecond
		if i%10 == 0 {
			length = 5 * time.Millisecond
		}
		size := traceSizes[i%len(traceSizes)]
		root := number + 1
		for j := range size {
			number++
			span := slots[(i+j)%services][j%2].AppendEmpty()
			span.SetTraceID(id)
			span.SetSpanID(spanID(number))
			if j > 0 {
				span.SetParentSpanID(spanID(root))
			}
			span.SetName("GET /api/v1/items/{id}")
			span.SetKind(ptrace.SpanKindServer)
			span.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
			span.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(length)))
			a := span.Attributes()
			a.PutStr("http.request.method", "GET")
			a.PutStr("http.route", "/api/v1/items/{id}")
			a.PutInt("http.response.status_code", 200)
			a.PutStr("server.address", "items.shop.svc.cluster.local")
			a.PutInt("server.port", 8080)
			a.PutStr("url.path", fmt.Sprintf("/api/v1/items/%d", i))
			a.PutStr("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)")
			if i%20 == 7 && j == size-1 {
				span.Status().SetCode(ptrace.StatusCodeError)
			}
		}
	}
	return td
}

func spanID(n uint64) (id pcommon.SpanID) {
	binary.BigEndian.PutUint64(id[:], n*0x9e3779b97f4a7c15)
	return id
}

// renumber gives each trace of the request an ID never seen before.
func renumber(td ptrace.Traces, round uint64) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				id := span.TraceID()
				binary.BigEndian.PutUint64(id[:8], round*0x9e3779b97f4a7c15)
				low := binary.BigEndian.Uint64(id[8:])
				binary.BigEndian.PutUint64(id[8:], round<<32|low&0xffffffff)
				span.SetTraceID(id)
			}
		}
	}
}

// benchmarkPolicies keep one trace in seven or so.
var benchmarkPolicies = []any{
	map[string]any{"name": "latency", "type": "latency", "latency": map[string]any{"threshold_ms": 1}},
	map[string]any{"name": "errors", "type": "status_code", "status_code": map[string]any{"status_codes": []any{"ERROR"}}},
	map[string]any{"name": "some", "type": "probabilistic", "probabilistic": map[string]any{"sampling_percentage": 2}},
}

type counter struct{ spans atomic.Int64 }

func (*counter) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (c *counter) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	c.spans.Add(int64(td.SpanCount()))
	return nil
}

// plainRequest has the shape of the throughput benchmark in contrib v0.160: 128 traces of 1 to 128 spans with nothing but their IDs.
func plainRequest() ptrace.Traces {
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	var number uint64
	for i := range tracesPerRequest {
		var id pcommon.TraceID
		binary.BigEndian.PutUint64(id[8:], uint64(i))
		for range i + 1 {
			number++
			span := ss.Spans().AppendEmpty()
			span.SetTraceID(id)
			span.SetSpanID(spanID(number))
		}
	}
	return td
}

// shapes are the requests that throughput is measured with.
var shapes = []struct {
	name string
	make func() ptrace.Traces
}{
	{"attributes", benchmarkRequest},
	{"plain", plainRequest},
}

// BenchmarkThroughput brings requests from as many goroutines as there are processors, with decisions falling all the while.
func BenchmarkThroughput(b *testing.B) {
	for _, shape := range shapes {
		for _, peer := range peers {
			b.Run("shape="+shape.name+"/"+peer.name, func(b *testing.B) { throughput(b, shape.make, peer.factory) })
		}
	}
}

func throughput(b *testing.B, makeRequest func() ptrace.Traces, factory processor.Factory) {
	out := &counter{}
	p := create(b, factory, map[string]any{
		"decision_wait": "1s", "num_traces": 200_000, "policies": benchmarkPolicies,
		"decision_cache": map[string]any{"sampled_cache_size": 8192, "non_sampled_cache_size": 8192},
	}, out)
	spans := makeRequest().SpanCount()
	var round atomic.Uint64
	var calls latencies
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		td := makeRequest()
		for pb.Next() {
			renumber(td, round.Add(1))
			began := time.Now()
			if err := p.ConsumeTraces(context.Background(), td); err != nil {
				b.Error(err)
			}
			calls.add(time.Since(began))
		}
	})
	if err := p.Shutdown(context.Background()); err != nil {
		b.Error(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N*spans)/b.Elapsed().Seconds()/1e6, "Mspans/s")
	b.ReportMetric(float64(b.N*spans)/(cpuTime(b)-used).Seconds()/1e6, "Mspans/cpu-s")
	b.ReportMetric(calls.quantile(0.99).Seconds()*1000, "p99-ms")
	b.ReportMetric(float64(out.spans.Load())/float64(b.N*spans)*100, "%kept")
}

// BenchmarkWaiting reports the heap that waiting spans hold.
func BenchmarkWaiting(b *testing.B) {
	const requests = 30
	for _, peer := range peers {
		b.Run(peer.name, func(b *testing.B) {
			td := benchmarkRequest()
			var held int64
			for b.Loop() {
				p := create(b, peer.factory, map[string]any{
					"decision_wait": "10m", "policies": benchmarkPolicies, "drop_pending_traces_on_shutdown": true,
				}, consumertest.NewNop())
				before := heap()
				for i := range uint64(requests) {
					renumber(td, i+1)
					if err := p.ConsumeTraces(context.Background(), td); err != nil {
						b.Error(err)
					}
				}
				held += heap() - before
				if err := p.Shutdown(context.Background()); err != nil {
					b.Error(err)
				}
			}
			m := ptrace.ProtoMarshaler{}
			b.ReportMetric(float64(held)/float64(b.N)/float64(requests*td.SpanCount()), "B/span")
			b.ReportMetric(float64(m.TracesSize(td))/float64(td.SpanCount()), "wire-B/span")
		})
	}
}

// cpuTime is what the process has used so far: on a machine that others share, it says more than the clock does.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() int64 {
	// Twice, so that what pools hold is given up.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestASpanTakesNoMoreThanTwoAllocations(t *testing.T) {
	const requests, most = 100, 2
	out := &counter{}
	p := create(t, peers[1].factory, map[string]any{"decision_wait": "100ms", "policies": benchmarkPolicies}, out)
	td := benchmarkRequest()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range uint64(requests) {
		renumber(td, i+1)
		require.NoError(t, p.ConsumeTraces(t.Context(), td))
	}
	require.NoError(t, p.Shutdown(context.Background()))
	runtime.ReadMemStats(&after)
	spans := float64(requests * td.SpanCount())
	require.InDelta(t, 0.14, float64(out.spans.Load())/spans, 0.02, "a share is kept, and decoded")
	require.LessOrEqual(t, float64(after.Mallocs-before.Mallocs)/spans, float64(most))
}

func TestWaitingSpansTakeNoMoreThan120Bytes(t *testing.T) {
	const requests, most = 30, 120
	td := benchmarkRequest()
	p := create(t, peers[1].factory, map[string]any{
		"decision_wait": "10m", "policies": benchmarkPolicies, "drop_pending_traces_on_shutdown": true,
	}, consumertest.NewNop())
	before := heap()
	for i := range uint64(requests) {
		renumber(td, i+1)
		require.NoError(t, p.ConsumeTraces(t.Context(), td))
	}
	held := heap() - before
	require.NoError(t, p.Shutdown(context.Background()))
	require.LessOrEqual(t, held/int64(requests*td.SpanCount()), int64(most))
}
