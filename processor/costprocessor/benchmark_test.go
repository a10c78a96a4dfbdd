// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

const benchRows = 10_000

// tableConfig is a configuration with a table of 10,000 services.
func tableConfig(tb testing.TB) *Config {
	tb.Helper()
	var text strings.Builder
	text.WriteString("service,service.owner.name,service.instance.cost_center.id\n")
	for i := range benchRows {
		fmt.Fprintf(&text, "service-%d,team-%d,cc-%d\n", i, i%100, i%40)
	}
	path := filepath.Join(tb.TempDir(), "owners.csv")
	require.NoError(tb, os.WriteFile(path, []byte(text.String()), 0o600))
	cfg := createDefaultConfig().(*Config)
	cfg.Tables = map[string]TableConfig{"owners": {Path: path, Key: []string{"service"}}}
	cfg.Rules = []RuleConfig{{Name: "owners", Lookup: &LookupConfig{Table: "owners", Key: []string{"service.name"}}}}
	return cfg
}

func startTraces(tb testing.TB, cfg *Config) processor.Traces {
	tb.Helper()
	p, err := NewFactory().CreateTraces(tb.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(tb, err)
	require.NoError(tb, p.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, component.Component(p).Shutdown(context.Background())) })
	return p
}

func cachedResource(i int) map[string]any {
	return map[string]any{
		"service.name": fmt.Sprintf("service-%d", i), "service.namespace": "shop", "service.version": "1.2.3", "host.name": "node-7",
		"k8s.pod.name": "service-7-5d9c", "k8s.namespace.name": "shop", "deployment.environment.name": "production", "telemetry.sdk.language": "go",
	}
}

func TestACachedResourceCostsNoAllocationPerRecord(t *testing.T) {
	p := startTraces(t, tableConfig(t))
	allocations := func(records int) float64 {
		td := spansOf(cachedResource(7), records)
		require.NoError(t, p.ConsumeTraces(t.Context(), td)) // decided, and tagged: what is left is looking it up
		return testing.AllocsPerRun(50, func() { _ = p.ConsumeTraces(t.Context(), td) })
	}
	one := allocations(1)
	// The race detector lets pools forget now and then.
	assert.InDelta(t, one, allocations(1000), 3, "1,000 records of one resource allocate what 1 does")

	decided := spansOf(cachedResource(8), 1).ResourceSpans().At(0).Resource()
	tagger := p.(*tracesProcessor).engine.tagger
	tagger.decide(t.Context(), decided)
	assert.Zero(t, testing.AllocsPerRun(50, func() { tagger.decide(t.Context(), decided) }))
}

// BenchmarkDecideCached is the decision about one resource of 8 attributes that was seen before, a 10,000-row table behind it: at the
// front, and as the cache behind the front gives it.
func BenchmarkDecideCached(b *testing.B) {
	tagger := startTraces(b, tableConfig(b)).(*tracesProcessor).engine.tagger
	var resources [64]pcommon.Resource
	for i := range resources {
		resources[i] = spansOf(cachedResource(i), 1).ResourceSpans().At(0).Resource()
		tagger.decide(b.Context(), resources[i])
	}
	b.Run("front", func(b *testing.B) {
		b.ReportAllocs()
		began, n := cpuTime(), 0
		for b.Loop() {
			tagger.decide(b.Context(), resources[n%len(resources)])
			n++
		}
		b.ReportMetric(float64(cpuTime()-began)/float64(n), "cpu-ns/op")
	})
	g := tagger.now.Load()
	b.Run("cache", func(b *testing.B) {
		b.ReportAllocs()
		began, n := cpuTime(), 0
		for b.Loop() {
			tagger.remembered(b.Context(), g, resources[n%len(resources)])
			n++
		}
		b.ReportMetric(float64(cpuTime()-began)/float64(n), "cpu-ns/op")
	})
}

// BenchmarkOneRecordPerResource is the worst request there is: 512 resources with one record each, of 10,000 services in turn. Tags are
// there already, or have to be written.
func BenchmarkOneRecordPerResource(b *testing.B) {
	const resources = 512
	for _, tagged := range []bool{true, false} {
		b.Run(fmt.Sprintf("tagged=%t", tagged), func(b *testing.B) {
			cfg := tableConfig(b)
			cfg.Telemetry.Enabled, cfg.Provenance = false, false
			p := startTraces(b, cfg)
			master := ptrace.NewTraces()
			for i := range resources {
				spansOf(cachedResource(i*19), 1).ResourceSpans().MoveAndAppendTo(master.ResourceSpans())
			}
			work := ptrace.NewTraces()
			master.CopyTo(work)
			require.NoError(b, p.ConsumeTraces(b.Context(), work))
			b.ReportAllocs()
			n, spent := 0, time.Duration(0)
			for b.Loop() {
				if !tagged {
					b.StopTimer()
					master.CopyTo(work)
					b.StartTimer()
				}
				began := cpuTime()
				_ = p.ConsumeTraces(b.Context(), work)
				spent += cpuTime() - began
				n++
			}
			b.ReportMetric(float64(spent)/float64(n*resources), "cpu-ns/record")
		})
	}
}

// BenchmarkDecideUncached is the decision about a resource that is not.
func BenchmarkDecideUncached(b *testing.B) {
	tagger := startTraces(b, tableConfig(b)).(*tracesProcessor).engine.tagger
	resource := spansOf(cachedResource(7), 1).ResourceSpans().At(0).Resource()
	g := tagger.now.Load()
	b.ReportAllocs()
	for b.Loop() {
		tagger.judge(b.Context(), g.resolver.Resolve(resourceAttributes{resource}), resource)
	}
}

// BenchmarkConsumeTraces is a request of 512 spans of 4 services, tags written and bytes accounted, reported per span.
func BenchmarkConsumeTraces(b *testing.B) {
	for _, accounting := range []bool{true, false} {
		b.Run(fmt.Sprintf("accounting=%t", accounting), func(b *testing.B) {
			cfg := tableConfig(b)
			cfg.Telemetry.Enabled = accounting
			p := startTraces(b, cfg)
			master := ptrace.NewTraces()
			for i := range 4 {
				spansOf(cachedResource(i), 128).ResourceSpans().MoveAndAppendTo(master.ResourceSpans())
			}
			spans := master.SpanCount()
			work := ptrace.NewTraces()
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%16 == 0 { // the tags of one request are written once in sixteen rounds
					b.StopTimer()
					master.CopyTo(work)
					b.StartTimer()
				}
				n++
				_ = p.ConsumeTraces(b.Context(), work)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*spans), "ns/span")
			b.ReportMetric(float64(n*spans)/b.Elapsed().Seconds(), "spans/s")
		})
	}
}

// BenchmarkReceive is what reading the same request off the wire costs, to compare accounting with.
func BenchmarkReceive(b *testing.B) {
	master := ptrace.NewTraces()
	for i := range 4 {
		spansOf(cachedResource(i), 128).ResourceSpans().MoveAndAppendTo(master.ResourceSpans())
	}
	wire, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(master)
	require.NoError(b, err)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		_, _ = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(wire)
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*master.SpanCount()), "ns/span")
}

// BenchmarkReloadTable is a reload of a changed 10,000-row table, while nobody waits.
func BenchmarkReloadTable(b *testing.B) {
	tagger := startTraces(b, tableConfig(b)).(*tracesProcessor).engine.tagger
	b.ReportAllocs()
	for b.Loop() {
		tagger.mu.Lock()
		clear(tagger.files)
		tagger.mu.Unlock()
		tagger.reload(b.Context())
	}
}
