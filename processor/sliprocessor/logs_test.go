// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/slo"
)

func newRecord(ld plog.Logs, severity plog.SeverityNumber, text string) plog.LogRecord {
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	lr := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	lr.SetTimestamp(pcommon.NewTimestampFromTime(epoch))
	lr.SetSeverityNumber(severity)
	lr.SetSeverityText(text)
	return lr
}

func TestLogSeverityDecides(t *testing.T) {
	objective := slo.Objective{Name: "o", Indicator: slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: 17}}
	for name, c := range map[string]struct {
		number    plog.SeverityNumber
		text      string
		good, bad float64
	}{
		"info":                          {9, "INFO", 1, 0},
		"warn":                          {16, "", 1, 0},
		"error":                         {17, "", 0, 1},
		"fatal":                         {24, "", 0, 1},
		"the number wins over the text": {9, "ERROR", 1, 0},
		"the text speaks where there is no number": {0, "error", 0, 1},
		"a text that says nothing is good":         {0, "?", 1, 0},
		"critical is fatal":                        {0, "Critical", 0, 1},
		"out of range above is bad":                {99, "", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			engine := testEngine(t, objective)
			sink := new(consumertest.LogsSink)
			p := &logsProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: sink}
			ld := plog.NewLogs()
			newRecord(ld, c.number, c.text)
			require.NoError(t, p.ConsumeLogs(t.Context(), ld))
			s := engine.Statuses()[0]
			assert.InDelta(t, c.good, s.Good, 0)
			assert.InDelta(t, c.bad, s.Bad, 0)
			_, marked := sink.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get("slo.bad")
			assert.Equal(t, c.bad > 0, marked)
		})
	}
}

func TestRecordsWithoutTimeUseTheObservedTime(t *testing.T) {
	objective := slo.Objective{Name: "o", Indicator: slo.Indicator{
		Kind: slo.IndicatorLogs, BadSeverity: 17, Match: []slo.Match{{Attribute: "event.domain", Equals: "shop"}},
	}}
	engine := testEngine(t, objective)
	p := &logsProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
	ld := plog.NewLogs()
	observed := newRecord(ld, 17, "")
	observed.SetTimestamp(0)
	observed.SetObservedTimestamp(pcommon.NewTimestampFromTime(epoch))
	observed.Attributes().PutStr("event.domain", "shop")
	newRecord(ld, 17, "").SetTimestamp(0)
	newRecord(ld, 17, "").Attributes().PutStr("event.domain", "other")
	newRecord(ld, 9, "").Attributes().PutStr("slo.bad", "forged")
	require.NoError(t, p.ConsumeLogs(t.Context(), ld))
	s := engine.Statuses()[0]
	assert.InDelta(t, 1, s.Bad, 0)
	assert.InDelta(t, 0, s.Good, 0)
}
