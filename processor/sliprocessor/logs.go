// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// The event names of our own log records.
const (
	alertEvent   = "slo.alert"
	auditEvent   = "slo.audit"
	signalEvents = "optimization."
)

var _ processor.Logs = (*logsProcessor)(nil)

type logsProcessor struct {
	*base
	next consumer.Logs
}

// ConsumeLogs judges and marks a batch, passes it on, and counts it once it was taken.
func (p *logsProcessor) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	if p.cfg.Mode == ModeMerge {
		return p.passOn(ctx, ld)
	}
	j := p.judge()
	p.judgeLogs(ctx, j, ld)
	return p.finish(ctx, j, p.next.ConsumeLogs(ctx, ld))
}

func (p *logsProcessor) judgeLogs(ctx context.Context, j *judge, ld plog.Logs) {
	now := p.clock()
	for _, rl := range ld.ResourceLogs().All() {
		j.enter(rl.Resource().Attributes(), &j.plan.logs, now, p.counting())
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				p.judgeRecord(ctx, j, rl, sl, record)
			}
		}
		j.leave()
	}
}

// passOn takes our own event names off a batch that is not judged.
func (p *logsProcessor) passOn(ctx context.Context, ld plog.Logs) error {
	var o outcome
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				p.stripEvent(&o, record)
			}
		}
	}
	err := p.next.ConsumeLogs(ctx, ld)
	if err == nil {
		p.record(ctx, &o)
	}
	return err
}

// stripEvent takes off the event name of a record that says it is an alert, an audit or a signal of ours: those come from our connectors alone,
// and what the optimizer believes a human is woken for.
func (p *logsProcessor) stripEvent(o *outcome, record plog.LogRecord) {
	if p.cfg.TrustInbound {
		return
	}
	if name := record.EventName(); name == alertEvent || name == auditEvent || strings.HasPrefix(name, signalEvents) {
		record.SetEventName("")
		o.stripped++
	}
}

func (p *logsProcessor) judgeRecord(ctx context.Context, j *judge, rl plog.ResourceLogs, sl plog.ScopeLogs, record plog.LogRecord) {
	j.readEvent(record.Attributes())
	if !p.cfg.TrustInbound {
		j.strip(record.Attributes())
	}
	p.stripEvent(&j.outcome, record)
	at := record.Timestamp()
	if at == 0 {
		at = record.ObservedTimestamp()
	}
	why := j.admit(at)
	if why == accepted {
		j.tally.Slice(int64(at))
	}
	if why != accepted || len(j.active) == 0 {
		j.settle(why, false)
		return
	}
	j.logBody = record.Body()
	severity := int32(record.SeverityNumber())
	if severity == 0 {
		severity = severityOf(record.SeverityText())
	}
	applied := false
	for i := range j.active {
		a := &j.active[i]
		if len(a.matchers) > 0 && !j.matches(a) {
			continue
		}
		bad := severity >= a.rule.badSeverity
		if a.rule.logWhere != nil || a.rule.logBad != nil {
			counts, verdict, err := a.rule.judgeRecord(ctx, rl, sl, record, bad)
			if err != nil {
				why = conditionError
			}
			if !counts {
				continue
			}
			bad = verdict
		}
		if p.counting() && !j.count(a, int64(at), bad, slo.One, record.TraceID()) {
			why = spread
			continue
		}
		applied = true
		if bad {
			j.badNames = append(j.badNames, a.rule.name)
		}
	}
	j.settle(why, applied)
	j.mark(record.Attributes())
}

// judgeRecord evaluates the rule's OTTL conditions: whether the record counts, and whether it is bad.
func (r *rule) judgeRecord(
	ctx context.Context, rl plog.ResourceLogs, sl plog.ScopeLogs, record plog.LogRecord, bad bool,
) (counts, verdict bool, err error) {
	tc := ottllog.NewTransformContextPtr(rl, sl, record)
	defer tc.Close()
	if r.logWhere != nil {
		if counts, err = r.logWhere.Eval(ctx, tc); err != nil || !counts {
			return false, false, err
		}
	}
	if r.logBad != nil {
		if bad, err = r.logBad.Eval(ctx, tc); err != nil {
			return false, false, err
		}
	}
	return true, bad, nil
}

// severityOf reads the severity of records that carry only its text; 0 when the text says nothing.
func severityOf(text string) int32 {
	for _, s := range []struct {
		prefix string
		number plog.SeverityNumber
	}{
		{"TRACE", plog.SeverityNumberTrace},
		{"DEBUG", plog.SeverityNumberDebug},
		{"INFO", plog.SeverityNumberInfo},
		{"WARN", plog.SeverityNumberWarn},
		{"ERR", plog.SeverityNumberError},
		{"CRIT", plog.SeverityNumberFatal},
		{"FATAL", plog.SeverityNumberFatal},
	} {
		if len(text) >= len(s.prefix) && strings.EqualFold(text[:len(s.prefix)], s.prefix) {
			return int32(s.number)
		}
	}
	return 0
}
