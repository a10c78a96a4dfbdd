// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadatatest"
)

func benchInstance(tb testing.TB) *instance { return benchInstanceWith(tb, func(*Config) {}) }

func benchInstanceWith(tb testing.TB, change func(*Config)) *instance {
	tb.Helper()
	reg := newRegistry(func() time.Time { return t0.Add(time.Hour) })
	cfg := createDefaultConfig().(*Config)
	change(cfg)
	c, err := reg.instance(metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, consumertest.NewNop())
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

// BenchmarkTraces reads the spans of ten thousand services as a decider does, as one that also looks at whole traces does, and as a replica.
func BenchmarkTraces(b *testing.B) {
	for name, change := range map[string]func(*Config){
		"decider": func(*Config) {}, "coverage": func(c *Config) { c.Coverage.Enabled = true }, "replica": func(c *Config) { c.Decider = false },
	} {
		b.Run(name, func(b *testing.B) {
			c, all := benchInstanceWith(b, change), fleet(targets, 5, t0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = c.ConsumeTraces(b.Context(), all[i%len(all)])
			}
			b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "spans/s")
		})
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
