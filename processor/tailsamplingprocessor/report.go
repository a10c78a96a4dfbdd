// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/internal/sampling"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

// reporter turns the engine's counts into metrics under contrib's names.
type reporter struct {
	telemetry *metadata.TelemetryBuilder
	policies  []metric.MeasurementOption
	// trial are the policies of a dry run.
	trial []string
}

var (
	decisions  = [...]sampling.Decision{sampling.NotSampled, sampling.Sampled, sampling.Dropped}
	byDecision = map[sampling.Decision]metric.MeasurementOption{
		sampling.Sampled:    decisionAttributes("true", sampling.Sampled),
		sampling.NotSampled: decisionAttributes("false", sampling.NotSampled),
		sampling.Dropped:    decisionAttributes("false", sampling.Dropped),
	}
	sampledTrue  = metric.WithAttributeSet(attribute.NewSet(attribute.String("sampled", "true")))
	sampledFalse = metric.WithAttributeSet(attribute.NewSet(attribute.String("sampled", "false")))
)

func decisionAttributes(sampled string, d sampling.Decision) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("sampled", sampled), attribute.String("decision", d.String())))
}

// newReporter names policies after the component's own name, when it has one, as contrib does.
func newReporter(telemetry *metadata.TelemetryBuilder, id component.ID, p *sampling.Program) *reporter {
	r := &reporter{telemetry: telemetry, trial: p.TrialNames()}
	for _, name := range p.Names() {
		if id.Name() != "" {
			name = id.Name() + "." + name
		}
		r.policies = append(r.policies, metric.WithAttributeSet(attribute.NewSet(attribute.String("policy", name))))
	}
	return r
}

func (r *reporter) record(stats *sampling.Stats, took time.Duration, waiting int, bytes, pending int64) {
	ctx, t := context.Background(), r.telemetry
	t.ProcessorTailSamplingSamplingDecisionTimerLatency.Record(ctx, took.Milliseconds())
	t.ProcessorTailSamplingSamplingTracesOnMemory.Record(ctx, int64(waiting))
	t.ProcessorTailSamplingMemoryBytes.Record(ctx, bytes)
	t.ProcessorTailSamplingPendingBytes.Record(ctx, pending)
	t.ProcessorTailSamplingSamplingTraceDroppedTooEarly.Add(ctx, 0)
	t.ProcessorTailSamplingNewTraceIDReceived.Add(ctx, stats.New)
	t.ProcessorTailSamplingTracesDroppedTooLarge.Add(ctx, stats.TooLarge)
	t.ProcessorTailSamplingTracesDecidedEarly.Add(ctx, stats.Evicted)
	t.ProcessorTailSamplingTracesOverBudget.Add(ctx, stats.OverBudget)
	t.ProcessorTailSamplingEarlyReleasesFromCacheDecision.Add(ctx, stats.LateKept, sampledTrue)
	t.ProcessorTailSamplingEarlyReleasesFromCacheDecision.Add(ctx, stats.LateDropped, sampledFalse)
	for _, d := range decisions {
		if n := stats.Decisions[d]; n > 0 {
			t.ProcessorTailSamplingGlobalCountTracesSampled.Add(ctx, n, byDecision[d])
		}
	}
	recordAges(ctx, t.ProcessorTailSamplingSamplingLateSpanAge, &stats.LateAges)
	recordAges(ctx, t.ProcessorTailSamplingSamplingTraceRemovalAge, &stats.RemovalAges)
	t.ProcessorTailSamplingTracesDecidedComplete.Add(ctx, stats.EarlyComplete)
	r.recordPolicies(ctx, stats, took)
	r.recordTrial(ctx, stats)
}

// recordTrial tells what a dry run made of the traces beside what became of them.
func (r *reporter) recordTrial(ctx context.Context, stats *sampling.Stats) {
	t := r.telemetry
	for i := range stats.Trial {
		for _, d := range decisions {
			if n := stats.Trial[i].Decisions[d].Traces; n > 0 {
				t.ProcessorTailSamplingDryRunPolicyTraces.Add(ctx, n, metric.WithAttributes(
					attribute.String("policy", r.trial[i]), attribute.String("decision", d.String())))
			}
		}
	}
	for worth := range sampling.NumWorths {
		for live, kept := range [2]string{"false", "true"} {
			for trial, candidate := range [2]string{"false", "true"} {
				tally := stats.Scores[worth][live][trial]
				if tally.Traces == 0 {
					continue
				}
				set := metric.WithAttributeSet(attribute.NewSet(
					attribute.String("sampled", kept), attribute.String("candidate", candidate), attribute.String("worth", worth.String())))
				t.ProcessorTailSamplingDryRunTraces.Add(ctx, tally.Traces, set)
				t.ProcessorTailSamplingDryRunSpans.Add(ctx, tally.Spans, set)
				t.ProcessorTailSamplingDryRunBytes.Add(ctx, tally.Bytes, set)
			}
		}
	}
}

func recordAges(ctx context.Context, h metric.Int64Histogram, ages *sampling.Ages) {
	for seconds, n := range ages {
		for range n {
			h.Record(ctx, int64(seconds))
		}
	}
}

func (r *reporter) recordPolicies(ctx context.Context, stats *sampling.Stats, took time.Duration) {
	t := r.telemetry
	var executions int64
	for i := range stats.Policies {
		executions += stats.Policies[i].Executions()
	}
	for i := range stats.Policies {
		p := &stats.Policies[i]
		for _, d := range decisions {
			tally := p.Decisions[d]
			if tally.Traces == 0 {
				continue
			}
			t.ProcessorTailSamplingCountTracesSampled.Add(ctx, tally.Traces, r.policies[i], byDecision[d])
			if gateCountSpans.IsEnabled() {
				t.ProcessorTailSamplingCountSpansSampled.Add(ctx, tally.Spans, r.policies[i], byDecision[d])
			}
			if gateCountBytes.IsEnabled() {
				t.ProcessorTailSamplingCountBytesSampled.Add(ctx, tally.Bytes, r.policies[i], byDecision[d])
			}
		}
		if n := p.Executions(); n > 0 {
			t.ProcessorTailSamplingSamplingPolicyExecutionCount.Add(ctx, n, r.policies[i])
			t.ProcessorTailSamplingSamplingPolicyExecutionTimeSum.Add(ctx, took.Microseconds()*n/executions, r.policies[i])
		}
	}
}
