// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"strings"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// The event names of our own log records.
const (
	alertEvent   = "slo.alert"
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
	p.judgeLogs(j, ld)
	return p.finish(ctx, j, p.next.ConsumeLogs(ctx, ld))
}

func (p *logsProcessor) judgeLogs(j *judge, ld plog.Logs) {
	now := p.clock()
	for _, rl := range ld.ResourceLogs().All() {
		j.enter(rl.Resource().Attributes(), &p.plan.logs, now, p.counting())
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				p.judgeRecord(j, record)
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

// stripEvent takes off the event name of a record that says it is an alert or a signal of ours: those come from our connectors alone,
// and what the optimizer believes a human is woken for.
func (p *logsProcessor) stripEvent(o *outcome, record plog.LogRecord) {
	if p.cfg.TrustInbound {
		return
	}
	if name := record.EventName(); name == alertEvent || strings.HasPrefix(name, signalEvents) {
		record.SetEventName("")
		o.stripped++
	}
}

func (p *logsProcessor) judgeRecord(j *judge, record plog.LogRecord) {
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
