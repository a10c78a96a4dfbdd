// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// benchSpans is a request of 10 services with 50 spans each, ten attributes a span, one span in fifty bad.
func benchSpans() ptrace.Traces {
	td := ptrace.NewTraces()
	for s := range 10 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", s))
		rs.Resource().Attributes().PutStr("service.version", "1.2.3")
		rs.Resource().Attributes().PutStr("service.instance.id", fmt.Sprint("pod-", s))
		spans := rs.ScopeSpans().AppendEmpty().Spans()
		for i := range 50 {
			span := spans.AppendEmpty()
			span.SetTraceID(pcommon.TraceID{1, byte(s), byte(i)})
			span.SetSpanID(pcommon.SpanID{1, byte(i)})
			span.SetName("GET /cart")
			span.SetKind(ptrace.SpanKindServer)
			end := epoch.Add(time.Duration(i) * 20 * time.Millisecond)
			span.SetStartTimestamp(pcommon.NewTimestampFromTime(end.Add(-time.Millisecond * time.Duration(i))))
			span.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
			a := span.Attributes()
			a.PutStr("http.request.method", "GET")
			a.PutInt("http.response.status_code", 200)
			a.PutStr("http.route", fmt.Sprint("/cart/", i%5))
			a.PutStr("url.path", "/cart/7")
			a.PutStr("url.scheme", "https")
			a.PutStr("server.address", "shop.example.com")
			a.PutInt("server.port", 443)
			a.PutStr("client.address", "10.0.0.1")
			a.PutStr("network.protocol.version", "1.1")
			a.PutStr("user_agent.original", "Mozilla/5.0")
			if i == 49 {
				span.Status().SetCode(ptrace.StatusCodeError)
			}
		}
	}
	return td
}

// benchEngine has n objectives of which three apply to every span of a service: status, latency, and status by route.
func benchEngine(tb testing.TB, n int) *slo.Engine {
	var objectives []slo.Objective
	for i := range n {
		o := slo.Objective{Name: fmt.Sprint("o", i), Service: fmt.Sprint("service-", i/3)}
		switch i % 3 {
		case 1:
			o.Indicator = slo.Indicator{Kind: slo.IndicatorLatency, Latency: 300 * time.Millisecond}
		case 2:
			o.Indicator.Match = []slo.Match{{Attribute: "http.request.method", Equals: "GET"}}
		}
		objectives = append(objectives, o)
	}
	return testEngine(tb, objectives...)
}

func BenchmarkSpans(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		b.Run(fmt.Sprintf("objectives=%d", n), func(b *testing.B) {
			td := benchSpans()
			p := &tracesProcessor{base: newTestBase(b, &Config{Mode: ModeCount}, benchEngine(b, n)), next: consumertest.NewNop()}
			p.clock = func() time.Time { return epoch }
			require.NoError(b, p.ConsumeTraces(b.Context(), td))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.ConsumeTraces(b.Context(), td); err != nil {
					b.Fatal(err)
				}
			}
			perSpan(b, td.SpanCount())
		})
	}
}

// BenchmarkSpansByRoute groups by an attribute of the span, the dearest case: the group is looked up for every span.
func BenchmarkSpansByRoute(b *testing.B) {
	td := benchSpans()
	engine := testEngine(b, slo.Objective{Name: "o", GroupBy: []string{"service.name", "http.route"}})
	p := &tracesProcessor{base: newTestBase(b, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
	p.clock = func() time.Time { return epoch }
	b.ReportAllocs()
	for b.Loop() {
		if err := p.ConsumeTraces(b.Context(), td); err != nil {
			b.Fatal(err)
		}
	}
	perSpan(b, td.SpanCount())
}

// BenchmarkSpansParallel shows how judging scales over cores.
func BenchmarkSpansParallel(b *testing.B) {
	p := &tracesProcessor{base: newTestBase(b, &Config{Mode: ModeCount}, benchEngine(b, 100)), next: consumertest.NewNop()}
	p.clock = func() time.Time { return epoch }
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		td := benchSpans()
		for pb.Next() {
			if err := p.ConsumeTraces(b.Context(), td); err != nil {
				b.Error(err)
				return
			}
		}
	})
	perSpan(b, 500)
}

func perSpan(b *testing.B, spans int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*spans), "ns/span")
	b.ReportMetric(float64(b.N*spans)/b.Elapsed().Seconds(), "spans/s")
}

func TestJudgingAGoodSpanAllocatesNothing(t *testing.T) {
	td := benchSpans()
	for _, rs := range td.ResourceSpans().All() {
		rs.ScopeSpans().At(0).Spans().At(49).Status().SetCode(ptrace.StatusCodeUnset)
	}
	engine := benchEngine(t, 100)
	p := &tracesProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
	p.clock = func() time.Time { return epoch }
	j := newJudge(p.compiled(), engine)
	batch := func() {
		j.reset()
		p.judgeTraces(t.Context(), j, td)
		engine.Commit(j.tally, epoch)
	}
	batch()
	assert.Zero(t, testing.AllocsPerRun(100, batch), "500 spans, 100 objectives, committed")
}

// maxBadAllocs is what a span costs that is bad for three objectives: the attribute's array, its three names, and the flag, each of which pdata
// keeps in a box of its own.
const maxBadAllocs = 8

func TestABadSpanCostsItsMarkOnly(t *testing.T) {
	td := benchSpans()
	engine := benchEngine(t, 100)
	p := &tracesProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
	p.clock = func() time.Time { return epoch }
	j := newJudge(p.plan.Load(), engine)
	batch := func() {
		j.reset()
		p.judgeTraces(t.Context(), j, td)
		engine.Commit(j.tally, epoch)
	}
	batch()
	assert.LessOrEqual(t, testing.AllocsPerRun(100, batch), float64(10*maxBadAllocs), "10 of 500 spans are bad")
}

// BenchmarkSpansOTTL judges every span by an OTTL condition, instead of by the fast path.
func BenchmarkSpansOTTL(b *testing.B) {
	for name, indicator := range map[string]slo.Indicator{
		"match": {Match: []slo.Match{{Attribute: "http.request.method", Equals: "GET"}}},
		"where": {Where: `span.attributes["http.request.method"] == "GET"`},
	} {
		b.Run(name, func(b *testing.B) {
			td := benchSpans()
			p := &tracesProcessor{base: newTestBase(b, &Config{Mode: ModeCount}, testEngine(b, slo.Objective{Name: "o", Indicator: indicator})), next: consumertest.NewNop()}
			p.clock = func() time.Time { return epoch }
			b.ReportAllocs()
			for b.Loop() {
				if err := p.ConsumeTraces(b.Context(), td); err != nil {
					b.Fatal(err)
				}
			}
			perSpan(b, td.SpanCount())
		})
	}
}
