// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"strconv"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/internal/slo"
)

var _ processor.Traces = (*tracesProcessor)(nil)

type tracesProcessor struct {
	*base
	next consumer.Traces
}

// ConsumeTraces judges and marks a batch, passes it on, and counts it once it was taken.
func (p *tracesProcessor) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	if p.cfg.Mode == ModeMerge {
		return p.next.ConsumeTraces(ctx, td)
	}
	j := p.judge()
	p.judgeTraces(ctx, j, td)
	return p.finish(ctx, j, p.next.ConsumeTraces(ctx, td))
}

func (p *tracesProcessor) judgeTraces(ctx context.Context, j *judge, td ptrace.Traces) {
	now := p.clock()
	for _, rs := range td.ResourceSpans().All() {
		j.enter(rs.Resource().Attributes(), &j.plan.spans, now, p.counting())
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				p.judgeSpan(ctx, j, rs, ss, span)
			}
		}
		j.leave()
	}
}

func (p *tracesProcessor) judgeSpan(ctx context.Context, j *judge, rs ptrace.ResourceSpans, ss ptrace.ScopeSpans, span ptrace.Span) {
	j.readEvent(span.Attributes())
	if !p.cfg.TrustInbound {
		j.strip(span.Attributes())
	}
	why := j.admitSpan(span)
	if why != accepted || len(j.active) == 0 {
		j.settle(why, false)
		return
	}
	j.spanName = span.Name()
	var (
		at       = int64(span.EndTimestamp())
		duration = at - int64(span.StartTimestamp())
		failed   = j.failed(span)
		kind     = kindBit(span.Kind())
		weight   = slo.AdjustedCount(span.TraceState().AsRaw())
		applied  = false
	)
	synthetic := j.event.has(slotSynthetic)
	for i := range j.active {
		a := &j.active[i]
		if a.rule.kinds&kind == 0 || synthetic && !a.rule.synthetic || len(a.matchers) > 0 && !j.matches(a) {
			continue
		}
		bad := failed
		if a.rule.latency > 0 {
			bad = duration > a.rule.latency
		}
		if a.rule.spanWhere != nil || a.rule.spanBad != nil {
			counts, verdict, err := a.rule.judgeSpan(ctx, rs, ss, span, bad)
			if err != nil {
				why = conditionError
			}
			if !counts {
				continue
			}
			bad = verdict
		}
		if p.counting() && !j.count(a, at, bad, weight, span.TraceID()) {
			why = spread
			continue
		}
		if a.rule.latency > 0 && p.counting() {
			a.entry.AddDuration(j.tally.Slice(at), slo.BucketOf(duration), weight)
		}
		applied = true
		if bad {
			j.badNames = append(j.badNames, a.rule.name)
		}
	}
	j.settle(why, applied)
	j.mark(span.Attributes())
}

// judgeSpan evaluates the rule's OTTL conditions: whether the span counts, and whether it is bad.
func (r *rule) judgeSpan(ctx context.Context, rs ptrace.ResourceSpans, ss ptrace.ScopeSpans, span ptrace.Span, bad bool) (counts, verdict bool, err error) {
	tc := ottlspan.NewTransformContextPtr(rs, ss, span)
	defer tc.Close()
	if r.spanWhere != nil {
		if counts, err = r.spanWhere.Eval(ctx, tc); err != nil || !counts {
			return false, false, err
		}
	}
	if r.spanBad != nil {
		if bad, err = r.spanBad.Eval(ctx, tc); err != nil {
			return false, false, err
		}
	}
	return true, bad, nil
}

// failed is the built-in verdict, after the semantic conventions. A status that was set decides, except that a SERVER is not to blame for a
// request its client got wrong (4xx), as older instrumentation has it. Without a status, error.type or the response's code do.
func (j *judge) failed(span ptrace.Span) bool {
	status := span.Status().Code()
	if status == ptrace.StatusCodeOk {
		return false
	}
	code, known := j.httpStatus()
	if known && code >= 400 && code < 500 && span.Kind() == ptrace.SpanKindServer {
		return false
	}
	if status == ptrace.StatusCodeError {
		return true
	}
	if j.event.has(slotErrorType) {
		return true
	}
	return known && (code >= 500 && code < 600 || code >= 400 && code < 500 && span.Kind() == ptrace.SpanKindClient)
}

// httpStatus is the response's code, an integer by the conventions and a string in some older data.
func (j *judge) httpStatus() (int64, bool) {
	if !j.event.has(slotHTTPStatus) {
		return 0, false
	}
	value := j.event.values[slotHTTPStatus]
	switch value.Type() {
	case pcommon.ValueTypeInt:
		return value.Int(), true
	case pcommon.ValueTypeStr:
		code, err := strconv.ParseInt(value.Str(), 10, 32)
		return code, err == nil
	}
	return 0, false
}

// kindBit is the bit of a span kind; none for a kind that does not exist.
func kindBit(kind ptrace.SpanKind) uint8 {
	if kind < ptrace.SpanKindUnspecified || kind > ptrace.SpanKindConsumer {
		return 0
	}
	return 1 << kind
}

// admitSpan refuses what cannot be a span. Its event time is its end: only then is the verdict known.
func (j *judge) admitSpan(span ptrace.Span) reason {
	start, end := span.StartTimestamp(), span.EndTimestamp()
	switch {
	case start == 0 || end == 0:
		return noTime
	case end < start:
		return endBeforeStart
	case span.TraceID().IsEmpty() || span.SpanID().IsEmpty():
		return zeroID
	}
	why := j.admit(end)
	if why == accepted {
		j.tally.Slice(int64(end))
	}
	return why
}
