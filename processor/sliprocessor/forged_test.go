// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// Whoever may send logs must not be able to page a human or to make the optimizer act.
func TestEventNamesOfOurOwnAreStrippedFromWhatComesFromOutside(t *testing.T) {
	for name, c := range map[string]struct {
		event string
		trust bool
		want  string
	}{
		"alert":           {event: "slo.alert"},
		"audit":           {event: "slo.audit"},
		"signal":          {event: "optimization.slo.burn"},
		"alert, trusted":  {event: "slo.alert", trust: true, want: "slo.alert"},
		"signal, trusted": {event: "optimization.slo.burn", trust: true, want: "optimization.slo.burn"},
		"of the user":     {event: "order.placed", want: "order.placed"},
		"none":            {},
	} {
		for _, mode := range []Mode{ModeCount, ModeMark, ModeMerge} {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				engine := testEngine(t, slo.Objective{Name: "o", Indicator: slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: 17}})
				sink := new(consumertest.LogsSink)
				tel := componenttest.NewTelemetry()
				t.Cleanup(func() { assert.NoError(t, tel.Shutdown(context.Background())) })
				p := &logsProcessor{base: newTestBaseWith(t, &Config{Mode: mode, TrustInbound: c.trust}, engine, tel), next: sink}
				ld := plog.NewLogs()
				newRecord(ld, plog.SeverityNumberInfo, "").SetEventName(c.event)

				require.NoError(t, p.ConsumeLogs(t.Context(), ld))

				record := sink.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
				assert.Equal(t, c.want, record.EventName())
				stripped, err := tel.GetMetric("otelcol_processor_sli_marks_stripped")
				assert.Equal(t, c.want != c.event, err == nil && stripped.Name != "")
			})
		}
	}
}
