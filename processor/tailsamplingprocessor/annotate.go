// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"

	"go.opentelemetry.io/collector/pdata/ptrace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/pitwall-io/pitwall/internal/sampling"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

// The attributes that say how a trace came to be kept.
const (
	attrPolicy          = "tailsampling.policy"
	attrCompositePolicy = "tailsampling.composite_policy"
	attrCachedDecision  = "tailsampling.cached_decision"
	attrRule            = "sampling.rule"
	attrProbability     = "sampling.probability"
)

// annotator writes decisions into kept spans.
type annotator struct {
	names []string
	// lanes are the names of the parts of composites, rules those of rules.
	lanes     map[string][]string
	rules     map[string][]string
	telemetry *metadata.TelemetryBuilder
	state     bool
	explain   bool
	last      written
}

// written is the tracestate last written. The spans of a trace mostly have the same, and share it.
type written struct {
	kept     *sampling.Kept
	raw, now string
}

func newAnnotator(cfg *Config, names []string, telemetry *metadata.TelemetryBuilder) annotator {
	a := annotator{names: names, lanes: make(map[string][]string), rules: make(map[string][]string), telemetry: telemetry, state: cfg.WriteTracestate, explain: cfg.Explain}
	for i := range cfg.Policies {
		p := &cfg.Policies[i]
		for j := range p.Basic.Rules {
			a.rules[p.Basic.Name] = append(a.rules[p.Basic.Name], p.Basic.Rules[j].Name)
		}
		for j := range p.Composite.SubPolicies {
			a.lanes[p.Basic.Name] = append(a.lanes[p.Basic.Name], p.Composite.SubPolicies[j].Basic.Name)
		}
	}
	return a
}

// traces annotates what kept was decoded to.
func (a *annotator) traces(td ptrace.Traces, kept []sampling.Kept) {
	record := gateRecordPolicy.IsEnabled()
	if !record && !a.explain && !a.state && !gateTraceState.IsEnabled() {
		return
	}
	a.last = written{}
	byID := make(map[sampling.TraceID]*sampling.Kept, len(kept))
	for i := range kept {
		byID[kept[i].ID] = &kept[i]
	}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			if record && ss.Spans().Len() > 0 {
				a.scope(ss, byID[sampling.TraceID(ss.Spans().At(0).TraceID())])
			}
			for _, span := range ss.Spans().All() {
				a.span(span, byID[sampling.TraceID(span.TraceID())])
			}
		}
	}
}

func (a *annotator) span(span ptrace.Span, k *sampling.Kept) {
	if k == nil {
		return
	}
	if a.state || gateTraceState.IsEnabled() {
		a.tracestate(span, k)
	}
	if a.explain && span.ParentSpanID().IsEmpty() {
		a.root(span, k)
	}
}

// scope records the policy on a scope that holds spans of one trace.
func (a *annotator) scope(ss ptrace.ScopeSpans, k *sampling.Kept) {
	if k == nil {
		return
	}
	attributes := ss.Scope().Attributes()
	if k.Policy >= 0 {
		attributes.PutStr(attrPolicy, a.names[k.Policy])
		if lanes := a.lanes[a.names[k.Policy]]; k.Lane >= 0 && k.Lane < len(lanes) {
			attributes.PutStr(attrCompositePolicy, lanes[k.Lane])
		}
	}
	if k.Cached {
		attributes.PutBool(attrCachedDecision, true)
	}
}

func (a *annotator) root(span ptrace.Span, k *sampling.Kept) {
	if k.Policy >= 0 {
		name := a.names[k.Policy]
		if rules := a.rules[name]; k.Lane >= 0 && k.Lane < len(rules) && rules[k.Lane] != "" {
			name += "/" + rules[k.Lane]
		}
		span.Attributes().PutStr(attrRule, name)
	}
	if k.Chance.Known {
		span.Attributes().PutDouble(attrProbability, sampling.ProbabilityOf(k.Chance.Threshold))
	}
}

// tracestate makes th the stricter of what the span came with and what was decided here. A th that cannot be stated, or that the span's
// randomness contradicts, is taken away, as the specification demands.
func (a *annotator) tracestate(span ptrace.Span, k *sampling.Kept) {
	raw := span.TraceState().AsRaw()
	if a.last.kept == k && a.last.raw == raw {
		span.TraceState().FromRaw(a.last.now)
		return
	}
	if raw == "" && (!k.Chance.Known || (k.Chance.Threshold == 0 && !k.SetRandom && !gateTraceState.IsEnabled())) {
		return
	}
	if raw != "" {
		if _, err := oteltrace.ParseTraceState(raw); err != nil {
			a.telemetry.ProcessorTailSamplingCountSpansWithUnparseableTracestate.Add(context.Background(), 1)
			return
		}
	}
	ts := sampling.ParseTraceState(raw)
	before := ts
	switch {
	case !k.Chance.Known:
		ts.HasThreshold = false
	case k.Chance.Threshold > ts.Threshold || (!ts.HasThreshold && (k.Chance.Threshold > 0 || gateTraceState.IsEnabled())):
		ts.Threshold, ts.HasThreshold = k.Chance.Threshold, true
	}
	if k.SetRandom && !ts.HasRandom {
		ts.Random, ts.HasRandom = k.Random, true
	}
	random := k.Random
	if ts.HasRandom {
		random = ts.Random
	}
	if ts.HasThreshold && random < ts.Threshold {
		ts.HasThreshold = false
	}
	if ts != before {
		a.last = written{k, raw, sampling.WriteTraceState(raw, ts)}
		span.TraceState().FromRaw(a.last.now)
	}
}
