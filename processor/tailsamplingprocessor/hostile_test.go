// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

func hostileRequests(t *testing.T) (all []ptrace.Traces) {
	files, err := filepath.Glob(filepath.Join(recordings.Path(t), "fixtures", "otlp-badinput", "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(content) {
			if td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line); err == nil {
				all = append(all, td)
			}
		}
	}
	return all
}

func TestHostileRequestsLeaveGoodOnesAlone(t *testing.T) {
	hostile := hostileRequests(t)
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub("tail_sampling")
	require.NoError(t, err)
	for name, settings := range map[string]map[string]any{
		"every policy": func() map[string]any {
			m := sub.ToStringMap()
			delete(m, "block_on_overflow")
			delete(m, "explain")
			delete(m, "budget")
			return m
		}(),
		"keeping all": policies(keepAll),
	} {
		t.Run(name, func(t *testing.T) {
			clean, poisoned := &sink{}, &sink{}
			for _, out := range []*sink{clean, poisoned} {
				p := startSampler(t, settings, out)
				if out == poisoned {
					for _, td := range hostile {
						require.NoError(t, p.ConsumeTraces(t.Context(), td))
					}
				}
				require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, numbers(1000, 1100)...)))
				if out == poisoned {
					for _, td := range hostile {
						require.NoError(t, p.ConsumeTraces(t.Context(), td))
					}
				}
				require.NoError(t, p.Shutdown(t.Context()))
			}
			var good []string
			for _, span := range poisoned.spans(t) {
				if strings.Contains(span, `"checkout"`) && strings.Contains(span, `"GET /"`) && strings.Contains(span, "https://example.com/scope") {
					good = append(good, span)
				}
			}
			assert.Equal(t, clean.spans(t), good)
		})
	}
}

// everything is a configuration with all there is switched on.
func everything() map[string]any {
	settings := policies(
		keepErrors, map[string]any{"name": "linked", "type": "linked"}, map[string]any{"name": "shapes", "type": "diversity"},
		map[string]any{"name": "slow", "type": "slow"}, map[string]any{"name": "rare", "type": "rare"}, map[string]any{"name": "change", "type": "change"},
		byRule(map[string]any{"name": "a", "same_span": []any{`attributes["a"] == "b"`}}, map[string]any{"name": "rest", "sampling_percentage": 10}),
		keepAll,
	)
	settings["decision_wait"], settings["decision_wait_after_complete"], settings["memory_limit_mib"] = "1s", "10ms", 16
	settings["budget"] = map[string]any{"spans_per_second": 1e9}
	settings["dry_run"] = map[string]any{"policies": []any{keepErrors, map[string]any{"name": "shapes", "type": "diversity"}}}
	return settings
}

// Each of these is at odds with what a trace is. All their spans must come out, as they came in.
func TestSpansAtOddsWithWhatATraceIsComeOut(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		requests, spans int
		fill            func(request, i int, s ptrace.Span)
	}{
		"zero IDs": {10, 20, func(_, _ int, s ptrace.Span) {
			s.SetTraceID(pcommon.TraceID{})
			s.SetSpanID(pcommon.SpanID{})
		}},
		"spans that are their own parents": {10, 20, func(_, _ int, s ptrace.Span) { s.SetParentSpanID(s.SpanID()) }},
		"parents in a circle":              {10, 20, func(_, i int, s ptrace.Span) { s.SetParentSpanID(pcommon.SpanID{byte(i%20 + 1), 1}) }},
		"a link to itself and to nothing": {10, 20, func(_, _ int, s ptrace.Span) {
			s.Links().AppendEmpty().SetTraceID(s.TraceID())
			s.Links().AppendEmpty()
		}},
		"an end before the start":   {10, 20, func(_, _ int, s ptrace.Span) { s.SetEndTimestamp(s.StartTimestamp() - 1) }},
		"times at the end of time":  {10, 20, func(_, _ int, s ptrace.Span) { s.SetStartTimestamp(0); s.SetEndTimestamp(1<<64 - 1) }},
		"an attribute of a MiB":     {20, 1, func(_, _ int, s ptrace.Span) { s.Attributes().PutStr("a", huge) }},
		"a trace of 200,000 spans":  {200, 1000, func(_, _ int, s ptrace.Span) { s.SetTraceID(traceID(1)) }},
		"a name and kind of no use": {10, 20, func(_, _ int, s ptrace.Span) { s.SetName(""); s.SetKind(99); s.Status().SetCode(77) }},
	} {
		t.Run(name, func(t *testing.T) {
			out := &counting{}
			p := startSampler(t, everything(), out)
			for n := range c.requests {
				i := 0
				td := request(func(s ptrace.Span) { c.fill(n, i, s); i++ }, numbers(uint64(n*c.spans), uint64((n+1)*c.spans))...)
				require.NoError(t, p.ConsumeTraces(t.Context(), td))
			}
			require.NoError(t, p.Shutdown(t.Context()))
			assert.Equal(t, int64(c.requests*c.spans), out.spans.Load())
		})
	}
}

type counting struct {
	sink
	spans atomic.Int64
}

func (c *counting) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	c.spans.Add(int64(td.SpanCount()))
	return nil
}

// A reload ends a processor while requests come in: what was taken comes out, the rest is refused.
func TestWhatIsTakenDuringAShutdownComesOut(t *testing.T) {
	for range 20 {
		out := &counting{}
		p := startSampler(t, everything(), out)
		var taken atomic.Int64
		var senders sync.WaitGroup
		for worker := range uint64(4) {
			senders.Go(func() {
				for n := worker << 32; ; n += 10 {
					if err := p.ConsumeTraces(t.Context(), request(nil, numbers(n, n+10)...)); err != nil {
						assert.ErrorIs(t, err, errStopped)
						return
					}
					taken.Add(10)
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		require.NoError(t, p.Shutdown(t.Context()))
		senders.Wait()
		require.Equal(t, taken.Load(), out.spans.Load())
	}
}
