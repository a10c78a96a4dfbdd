// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/connector/sloconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

const auditEvent = "slo.audit"

// sendFindingsLocked delivers what the book's self-audit found. What is refused goes back and is sent again with the next flush.
func (e *emitter) sendFindingsLocked(ctx context.Context, to *instance) {
	findings := e.engine.TakeFindings()
	if len(findings) == 0 {
		return
	}
	if err := to.logs.ConsumeLogs(ctx, e.writer.findings(findings, e.clock())); err != nil {
		e.engine.ReturnFindings(findings)
		e.failed(ctx, "logs", err)
	}
}

// findings writes one record a finding.
func (w *writer) findings(findings []slo.Finding, now time.Time) plog.Logs {
	ld := plog.NewLogs()
	for i := range findings {
		f := &findings[i]
		rl := ld.ResourceLogs().AppendEmpty()
		w.resource(rl.Resource().Attributes(), f.Service, nil)
		sl := rl.ScopeLogs().AppendEmpty()
		sl.Scope().SetName(metadata.ScopeName)
		sl.Scope().SetVersion(w.version)
		record := sl.LogRecords().AppendEmpty()
		record.SetEventName(auditEvent)
		record.SetTimestamp(pcommon.NewTimestampFromTime(f.At))
		record.SetObservedTimestamp(pcommon.NewTimestampFromTime(now))
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText("violation")
		state := "open"
		if f.Ended {
			record.SetSeverityNumber(plog.SeverityNumberInfo)
			record.SetSeverityText("ended")
			state = "ended"
		}
		record.Body().SetStr(findingSentence(f))
		a := record.Attributes()
		a.PutStr("slo.audit.check", string(f.Check))
		a.PutStr("slo.audit.state", state)
		putString(a, otelattr.SLOName, f.Objective)
		putString(a, "slo.audit.instance", f.Instance)
	}
	return ld
}

func findingSentence(f *slo.Finding) string {
	subject := "Telemetry"
	if f.Service != "" {
		subject = "Service " + f.Service
	}
	if f.Objective != "" {
		subject = "Objective " + f.Objective
	}
	if f.Instance != "" {
		subject += " (" + f.Instance + ")"
	}
	return fmt.Sprintf("%s: %s.", subject, f.Reason)
}
