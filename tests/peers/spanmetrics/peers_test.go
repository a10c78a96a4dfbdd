// SPDX-License-Identifier: Apache-2.0

package spanmetrics

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/extension/sloextension"
	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/sliprocessor"
)

// spans is a request of 10 services with 50 spans each, ten attributes a span, one span in fifty bad.
func spans() ptrace.Traces {
	td := ptrace.NewTraces()
	now := time.Now()
	for s := range 10 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", s))
		rs.Resource().Attributes().PutStr("service.instance.id", fmt.Sprint("pod-", s))
		list := rs.ScopeSpans().AppendEmpty().Spans()
		for i := range 50 {
			span := list.AppendEmpty()
			span.SetTraceID(pcommon.TraceID{1, byte(s), byte(i)})
			span.SetSpanID(pcommon.SpanID{1, byte(i)})
			span.SetName("GET /cart")
			span.SetKind(ptrace.SpanKindServer)
			span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Duration(i) * time.Millisecond)))
			span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
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

type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

// sli is the processor with a book of n objectives, of which three apply to every span.
func sli(tb testing.TB, n int) consumer.Traces {
	tb.Helper()
	factory := sloextension.NewFactory()
	cfg := factory.CreateDefaultConfig().(*sloextension.Config)
	for i := range n {
		o := sloextension.ObjectiveConfig{Name: fmt.Sprint("o", i), Service: fmt.Sprint("service-", i/3), Target: 0.99, Window: slo.Duration(30 * slo.Day)}
		switch i % 3 {
		case 1:
			o.Indicator.Spans = &sloextension.SpansConfig{Latency: 300 * time.Millisecond}
		case 2:
			o.Indicator.Spans = &sloextension.SpansConfig{Match: []sloextension.MatchConfig{{Attribute: "http.request.method", Equals: "GET"}}}
		}
		cfg.Objectives = append(cfg.Objectives, o)
	}
	id := component.NewID(factory.Type())
	x, err := factory.Create(tb.Context(), extension.Settings{ID: id, TelemetrySettings: componenttest.NewNopTelemetrySettings()}, cfg)
	require.NoError(tb, err)
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{id: x}}
	require.NoError(tb, x.Start(tb.Context(), h))
	pf := sliprocessor.NewFactory()
	p, err := pf.CreateTraces(tb.Context(), processor.Settings{ID: component.NewID(pf.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}, pf.CreateDefaultConfig(), consumertest.NewNop())
	require.NoError(tb, err)
	require.NoError(tb, p.Start(tb.Context(), h))
	tb.Cleanup(func() {
		assert.NoError(tb, p.Shutdown(tb.Context()))
		assert.NoError(tb, x.Shutdown(tb.Context()))
	})
	return p
}

// spanmetrics is the connector with its default configuration.
func spanmetrics(tb testing.TB) consumer.Traces {
	tb.Helper()
	factory := spanmetricsconnector.NewFactory()
	router := connector.NewMetricsRouter(map[pipeline.ID]consumer.Metrics{pipeline.NewID(pipeline.SignalMetrics): consumertest.NewNop()})
	c, err := factory.CreateTracesToMetrics(tb.Context(), connector.Settings{
		ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings(),
	}, factory.CreateDefaultConfig(), router)
	require.NoError(tb, err)
	require.NoError(tb, c.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { assert.NoError(tb, c.Shutdown(tb.Context())) })
	return c
}

func BenchmarkSpans(b *testing.B) {
	for name, c := range map[string]consumer.Traces{"sli-100": sli(b, 100), "sli-1000": sli(b, 1000), "spanmetrics": spanmetrics(b)} {
		b.Run(name, func(b *testing.B) {
			td := spans()
			b.ReportAllocs()
			for b.Loop() {
				if err := c.ConsumeTraces(b.Context(), td); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*td.SpanCount()), "ns/span")
		})
	}
}

// cpu is the processor time of this process.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBesideSpanmetrics sends the same request to both in turn and compares processor time and allocations.
func TestBesideSpanmetrics(t *testing.T) {
	const rounds, batches = 15, 40
	names := []string{"sli, 100 objectives", "sli, 1,000 objectives", "spanmetrics"}
	peers := []consumer.Traces{sli(t, 100), sli(t, 1000), spanmetrics(t)}
	times := make([][]float64, len(peers))
	allocs := make([]float64, len(peers))
	requests := make([]ptrace.Traces, len(peers))
	for i, p := range peers {
		requests[i] = spans()
		require.NoError(t, p.ConsumeTraces(t.Context(), requests[i]))
	}
	for range rounds {
		for i, p := range peers {
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := cpu(t)
			for range batches {
				require.NoError(t, p.ConsumeTraces(t.Context(), requests[i]))
			}
			n := float64(batches * requests[i].SpanCount())
			times[i] = append(times[i], float64(cpu(t)-start)/n)
			runtime.ReadMemStats(&after)
			allocs[i] = float64(after.Mallocs-before.Mallocs) / n
		}
	}
	for i, name := range names {
		slices.Sort(times[i])
		figures.Record(t, figures.Figure{
			Table: "judging spans beside spanmetrics v0.162.0: the same requests of 500 spans, one in fifty bad, three objectives a span", Row: name,
			Reached: fmt.Sprintf("%.0f ns of processor time and %.2f allocations a span", times[i][rounds/2], allocs[i]),
			Wanted:  []string{"300 ns, 0 a good span", "1 µs", ""}[i],
			Command: "go -C tests/peers/spanmetrics test -v -run BesideSpanmetrics .",
		})
	}
	assert.Less(t, allocs[0], 0.5, "a good span costs none, and one in fifty is bad")
	assert.Less(t, allocs[0], allocs[2])
}
