// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadatatest"
)

func byRule(rules ...map[string]any) map[string]any {
	list := make([]any, len(rules))
	for i := range rules {
		list[i] = rules[i]
	}
	return map[string]any{"name": "rules", "type": "rules", "rules": list}
}

func TestTheFirstRuleATraceMeetsDecides(t *testing.T) {
	settings := policies(byRule(
		map[string]any{"name": "same", "same_span": []any{`attributes["route"] == "/pay"`, "status.code == STATUS_CODE_ERROR"}},
		map[string]any{"name": "health", "any_span": []any{`attributes["route"] == "/health"`}, "sampling_percentage": 0},
		map[string]any{"name": "any", "any_span": []any{`attributes["route"] == "/pay"`, "status.code == STATUS_CODE_ERROR"}},
	))
	settings["explain"] = true
	out := &sink{}
	p := startSampler(t, settings, out)
	route := func(route string, bad bool) func(ptrace.Span) {
		return func(s ptrace.Span) {
			s.Attributes().PutStr("route", route)
			if bad {
				failed(s)
			}
		}
	}
	for _, td := range []ptrace.Traces{
		request(route("/pay", true), 1),
		request(route("/pay", false), 2), request(route("/cart", true), 2),
		request(route("/pay", false), 3),
		request(route("/health", true), 4), request(route("/pay", false), 4),
		request(route("/health", true), 5), request(route("/pay", true), 5),
		request(route("/cart", false), 6),
	} {
		require.NoError(t, p.ConsumeTraces(t.Context(), td))
	}
	require.NoError(t, p.Shutdown(t.Context()))
	rules := map[pcommon.TraceID]string{}
	out.each(func(s ptrace.Span) {
		rule, _ := s.Attributes().Get(attrRule)
		rules[s.TraceID()] = rule.Str()
	})
	assert.Equal(t, map[pcommon.TraceID]string{traceID(1): "rules/same", traceID(2): "rules/any", traceID(5): "rules/same"}, rules)
}

func TestRulesAndDryRunsAreRefusedByName(t *testing.T) {
	dry := func(list ...any) map[string]any { return map[string]any{"dry_run": map[string]any{"policies": list}} }
	ingest := dry(keepAll)
	ingest["sampling_strategy"] = strategySpanIngest
	for want, settings := range map[string]map[string]any{
		"expected at least one rule":                                        policies(byRule()),
		`rules[0] "a": span conditions: parsing`:                            policies(byRule(map[string]any{"name": "a", "any_span": []any{"nonsense("}})),
		"rules[0]::sampling_percentage must be between 0 and 100 (got 101)": policies(byRule(map[string]any{"sampling_percentage": 101})),
		`dry_run::policies: duplicate policy name "all"`:                    dry(keepAll, keepAll),
		`dry_run::policies: "x": unknown policy type "y"`:                   dry(map[string]any{"name": "x", "type": "y"}),
		"dry_run::budget::spans_per_second must not be negative (got -1)":   {"dry_run": map[string]any{"budget": map[string]any{"spans_per_second": -1}}},
		`dry_run needs sampling_strategy "trace-complete"`:                  ingest,
		"decision_wait_after_complete must not be negative (got -1s)":       {"decision_wait_after_complete": "-1s"},
	} {
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
		assert.ErrorContains(t, cfg.Validate(), want)
	}
}

func TestADryRunIsScoredBesideWhatIsKept(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	settings := policies(keepErrors)
	slow := map[string]any{"name": "slow", "type": "latency", "latency": map[string]any{"threshold_ms": 50}}
	settings["dry_run"] = map[string]any{"policies": []any{slow}}
	out := &sink{}
	p, err := NewFactory().CreateTraces(t.Context(), metadatatest.NewSettings(tel), configOf(t, settings), out)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	fast := func(s ptrace.Span) { s.SetEndTimestamp(s.StartTimestamp()) }
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1, 2, 3)))
	require.NoError(t, p.ConsumeTraces(t.Context(), request(fast, numbers(10, 20)...)))
	require.NoError(t, p.ConsumeTraces(t.Context(), request(func(s ptrace.Span) { fast(s); failed(s) }, 30)))
	require.NoError(t, p.ConsumeTraces(t.Context(), request(failed, 40, 41)))
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Len(t, out.spans(t), 3, "only what is in force decides")

	got, err := tel.GetMetric("otelcol_processor_tail_sampling_dry_run_traces")
	require.NoError(t, err)
	counts := map[string]int64{}
	for _, point := range got.Data.(metricdata.Sum[int64]).DataPoints {
		live, _ := point.Attributes.Value("sampled")
		candidate, _ := point.Attributes.Value("candidate")
		counts[fmt.Sprintf("live %s, candidate %s", live.AsString(), candidate.AsString())] += point.Value
	}
	assert.Equal(t, map[string]int64{
		"live false, candidate true": 3, "live false, candidate false": 10, "live true, candidate false": 1, "live true, candidate true": 2,
	}, counts)
	_, err = tel.GetMetric("otelcol_processor_tail_sampling_dry_run_policy_traces")
	require.NoError(t, err)
}

// cites is an extension that names traces.
type cites struct {
	component.StartFunc
	component.ShutdownFunc
	ids [][16]byte
}

func (c *cites) CitedTraces(time.Time) [][16]byte { return c.ids }
func (c *cites) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("slo"): c}
}

func TestCitedTracesAreKept(t *testing.T) {
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			out := &sink{}
			settings := policies(keepErrors)
			settings["decision_wait"], settings["keep_cited"] = "10s", on
			c := &cites{ids: [][16]byte{traceID(3), traceID(5)}}
			p, err := NewFactory().CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), configOf(t, settings), out)
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context(), c))
			require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1, 2, 3, 4)))
			time.Sleep(5 * time.Second)
			require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 5)))
			time.Sleep(20 * time.Second)
			require.NoError(t, p.Shutdown(t.Context()))
			if on {
				assert.Len(t, out.spans(t), 2)
			} else {
				assert.Empty(t, out.spans(t))
			}
		})
	}
}

func TestCompleteTracesGoEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		settings := policies(keepAll)
		settings["decision_wait"], settings["decision_wait_after_complete"] = "20s", "1s"
		p := startSampler(t, settings, out)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, numbers(0, 200)...)))
		time.Sleep(25 * time.Second)
		synctest.Wait()
		require.Len(t, out.spans(t), 200)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, numbers(1000, 1200)...)))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		early := len(out.spans(t)) - 200
		assert.Greater(t, early, 150)
		assert.Less(t, early, 200, "some wait to find out whether it still holds")
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestPipelinesWithOneIDDecideAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFactory()
		set := processortest.NewNopSettings(metadata.Type)
		settings := policies(probabilistic(50, ""), map[string]any{"name": "rate", "type": "rate_limiting", "rate_limiting": map[string]any{"spans_per_second": 20}})
		settings["decision_wait"] = "5s"
		cfg := configOf(t, settings)
		outs := [2]*sink{{}, {}}
		var stop []func()
		for i := range outs {
			p, err := f.CreateTraces(t.Context(), set, cfg, outs[i])
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
			stop = append(stop, func() { require.NoError(t, p.Shutdown(t.Context())) })
			require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, numbers(0, 400)...)))
			time.Sleep(2 * time.Second)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, outs[0].spans(t), outs[1].spans(t))
		assert.Greater(t, len(outs[0].spans(t)), 150)
		for _, s := range stop {
			s()
		}
	})
}
