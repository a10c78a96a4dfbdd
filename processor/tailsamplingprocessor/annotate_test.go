// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/sampling"
)

func probabilistic(percent float64, salt string) map[string]any {
	return map[string]any{
		"name": "some" + salt, "type": "probabilistic",
		"probabilistic": map[string]any{"sampling_percentage": percent, "hash_salt": salt},
	}
}

// adjusted adds up the adjusted counts of the spans that came out, and checks that none contradicts its own randomness.
func adjusted(t *testing.T, out *sink) (sum float64, spans int) {
	out.each(func(span ptrace.Span) {
		spans++
		ts := sampling.ParseTraceState(span.TraceState().AsRaw())
		weight := 1.0
		if ts.HasThreshold {
			random := sampling.TraceID(span.TraceID()).Randomness()
			if ts.HasRandom {
				random = ts.Random
			}
			require.GreaterOrEqual(t, random, ts.Threshold, "a kept span must be at or above its threshold")
			weight = 1 / sampling.ProbabilityOf(ts.Threshold)
		}
		sum += weight
	})
	return sum, spans
}

func TestAdjustedCountsAreTrue(t *testing.T) {
	not := map[string]any{"name": "not", "type": "not", "not": map[string]any{"not_sub_policy": probabilistic(75, "")}}
	drop := map[string]any{"name": "drop", "type": "drop", "drop": map[string]any{"drop_sub_policy": []any{probabilistic(50, "")}}}
	for name, settings := range map[string]map[string]any{
		"one percentage":          policies(probabilistic(10, "")),
		"two percentages":         policies(probabilistic(10, ""), map[string]any{"name": "b", "type": "probabilistic", "probabilistic": map[string]any{"sampling_percentage": 30}}),
		"two salts":               policies(probabilistic(10, "a"), probabilistic(20, "b")),
		"beside errors":           policies(keepErrors, probabilistic(5, "")),
		"the opposite of a share": policies(not),
		"a share dropped":         policies(keepAll, drop),
	} {
		t.Run(name, func(t *testing.T) {
			const traces = 20_000
			out := &sink{}
			p := startSampler(t, settings, out)
			fill := func(s ptrace.Span) {
				if s.SpanID()[0]%10 == 0 {
					failed(s)
				}
			}
			require.NoError(t, p.ConsumeTraces(t.Context(), request(fill, numbers(0, traces)...)))
			require.NoError(t, p.Shutdown(t.Context()))
			sum, spans := adjusted(t, out)
			require.Less(t, spans, traces*7/10, "the policy must leave something out")
			// Five standard deviations of a Poisson sample.
			assert.InEpsilon(t, traces, sum, 5*math.Sqrt(1/float64(spans)*float64(traces)/float64(spans)), "%d spans", spans)
		})
	}
}

func TestUpstreamHeadSamplingComposes(t *testing.T) {
	const traces = 40_000
	head := sampling.ThresholdOf(0.5)
	out := &sink{}
	p := startSampler(t, policies(probabilistic(20, "")), out)
	for n := range uint64(traces) {
		if sampling.TraceID(traceID(n)).Randomness() < head {
			continue
		}
		fill := func(s ptrace.Span) {
			s.TraceState().FromRaw(sampling.WriteTraceState("vendor=1", sampling.TraceState{Threshold: head, HasThreshold: true}))
		}
		require.NoError(t, p.ConsumeTraces(t.Context(), request(fill, n)))
	}
	require.NoError(t, p.Shutdown(t.Context()))
	sum, spans := adjusted(t, out)
	assert.InEpsilon(t, traces/5, spans, 0.05, "a fifth of all is kept, not a fifth of half")
	assert.InEpsilon(t, traces, sum, 0.05)
	out.each(func(s ptrace.Span) { assert.Contains(t, s.TraceState().AsRaw(), "vendor=1") })
}

func TestTracestateStaysAsItIsWhenAskedTo(t *testing.T) {
	out := &sink{}
	settings := policies(probabilistic(50, ""))
	settings["write_tracestate"] = false
	p := startSampler(t, settings, out)
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, numbers(0, 100)...)))
	require.NoError(t, p.Shutdown(t.Context()))
	out.each(func(s ptrace.Span) { assert.Empty(t, s.TraceState().AsRaw()) })
}

func TestExplainsWhatKeptATrace(t *testing.T) {
	out := &sink{}
	settings := policies(keepErrors, probabilistic(50, ""))
	settings["explain"] = true
	p := startSampler(t, settings, out)
	child := func(s ptrace.Span) { failed(s); s.SetParentSpanID(pcommon.SpanID{7}) }
	require.NoError(t, p.ConsumeTraces(t.Context(), request(child, 1)))
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
	require.NoError(t, p.Shutdown(t.Context()))
	seen := 0
	out.each(func(s ptrace.Span) {
		rule, has := s.Attributes().Get(attrRule)
		require.Equal(t, s.ParentSpanID().IsEmpty(), has)
		if has {
			probability, _ := s.Attributes().Get(attrProbability)
			assert.Equal(t, "errors", rule.Str())
			assert.InDelta(t, 1, probability.Double(), 0)
			seen++
		}
	})
	assert.Equal(t, 1, seen)
}

func TestRecordsThePolicyBehindItsGate(t *testing.T) {
	registry := featuregate.GlobalRegistry()
	require.NoError(t, registry.Set(gateRecordPolicy.ID(), true))
	defer func() { require.NoError(t, registry.Set(gateRecordPolicy.ID(), false)) }()
	composite := map[string]any{
		"name": "composite", "type": "composite", "composite": map[string]any{
			"max_total_spans_per_second": 1000, "composite_sub_policy": []any{keepErrors, keepAll},
		},
	}
	out := &sink{}
	settings := policies(composite)
	settings["decision_wait"] = "10ms"
	p := startSampler(t, settings, out)
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
	require.Eventually(t, func() bool { return len(out.spans(t)) == 1 }, waitFor, pollEvery)
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
	require.NoError(t, p.Shutdown(t.Context()))
	require.Len(t, out.traces, 2)
	for i, td := range out.traces {
		attributes := td.ResourceSpans().At(0).ScopeSpans().At(0).Scope().Attributes()
		policy, _ := attributes.Get(attrPolicy)
		lane, _ := attributes.Get(attrCompositePolicy)
		_, cached := attributes.Get(attrCachedDecision)
		assert.Equal(t, "composite", policy.Str())
		assert.Equal(t, "all", lane.Str())
		assert.Equal(t, i == 1, cached)
	}
}
