// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"

	"go.opentelemetry.io/collector/consumer"
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
	p.judgeTraces(j, td)
	return p.finish(ctx, j, p.next.ConsumeTraces(ctx, td))
}

func (p *tracesProcessor) judgeTraces(j *judge, td ptrace.Traces) {
	now := p.clock()
	for _, rs := range td.ResourceSpans().All() {
		j.enter(rs.Resource().Attributes(), &p.plan.spans, now, p.counting())
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				p.judgeSpan(j, span)
			}
		}
		j.leave()
	}
}

func (p *tracesProcessor) judgeSpan(j *judge, span ptrace.Span) {
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
		failed   = span.Status().Code() == ptrace.StatusCodeError
		kind     = kindBit(span.Kind())
		weight   = slo.AdjustedCount(span.TraceState().AsRaw())
		applied  = false
	)
	_, synthetic := j.event.get(slotSynthetic)
	for i := range j.active {
		a := &j.active[i]
		if a.rule.kinds&kind == 0 || synthetic && !a.rule.synthetic || len(a.matchers) > 0 && !j.matches(a) {
			continue
		}
		bad := failed
		if a.rule.latency > 0 {
			bad = duration > a.rule.latency
		}
		if p.counting() && !j.count(a, at, bad, weight, span.TraceID()) {
			why = spread
			continue
		}
		applied = true
		if bad {
			j.badNames = append(j.badNames, a.rule.name)
		}
	}
	j.settle(why, applied)
	j.mark(span.Attributes())
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
