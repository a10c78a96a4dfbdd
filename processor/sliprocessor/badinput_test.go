// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// Of points of metrics TestBadPointsHaveAReason says the same.
func TestBadSpansAndRecordsHaveAReason(t *testing.T) {
	year2100 := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	ends := func(at pcommon.Timestamp) spanOption { return func(s ptrace.Span) { s.SetEndTimestamp(at) } }
	spans := map[string]struct {
		change spanOption
		why    reason
	}{
		"end before start":  {took(-time.Nanosecond), endBeforeStart},
		"the year 2100":     {endsAt(year2100), future},
		"beyond 2262":       {ends(math.MaxUint64), badTime},
		"no end":            {ends(0), noTime},
		"no start":          {func(s ptrace.Span) { s.SetStartTimestamp(0) }, noTime},
		"a zero trace id":   {func(s ptrace.Span) { s.SetTraceID(pcommon.TraceID{}) }, zeroID},
		"a zero span id":    {func(s ptrace.Span) { s.SetSpanID(pcommon.SpanID{}) }, zeroID},
		"an hour too late":  {endsAt(epoch.Add(-time.Hour)), late},
		"end at the origin": {func(s ptrace.Span) { s.SetStartTimestamp(1); s.SetEndTimestamp(2) }, late},
	}
	for name, c := range spans {
		t.Run(name, func(t *testing.T) {
			engine := testEngine(t, slo.Objective{Name: "o", Indicator: slo.Indicator{Kinds: []string{"any"}}})
			p := &tracesProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
			first := ptrace.NewTraces()
			newSpan(first, "x") // there has to be something to be late behind
			require.NoError(t, p.ConsumeTraces(t.Context(), first))
			td := ptrace.NewTraces()
			newSpan(td, "x", c.change)
			j := p.judge()
			p.judgeTraces(t.Context(), j, td)
			assertRefused(t, j, c.why)
			p.commit(t.Context(), j.tally, p.clock())
			s := engine.Statuses()[0]
			assert.Equal(t, []float64{1, 0}, []float64{s.Good, s.Bad})
		})
	}
	for name, c := range map[string]struct {
		at  pcommon.Timestamp
		why reason
	}{
		"a record of 2100":        {pcommon.NewTimestampFromTime(year2100), future},
		"a record beyond 2262":    {math.MaxUint64, badTime},
		"a record without a time": {0, noTime},
	} {
		t.Run(name, func(t *testing.T) {
			engine := testEngine(t, slo.Objective{Name: "o", Indicator: slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: 17}})
			p := &logsProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
			ld := plog.NewLogs()
			newRecord(ld, 17, "").SetTimestamp(c.at)
			j := p.judge()
			p.judgeLogs(t.Context(), j, ld)
			assertRefused(t, j, c.why)
			p.commit(t.Context(), j.tally, p.clock())
			s := engine.Statuses()[0]
			assert.Equal(t, []float64{0, 0}, []float64{s.Good, s.Bad})
		})
	}
}

func assertRefused(t *testing.T, j *judge, why reason) {
	t.Helper()
	var want [reasons]int64
	want[why] = 1
	assert.Equal(t, want, j.outcome.refused, reasonNames[why])
	assert.Equal(t, int64(1), j.outcome.items())
}

// TestHostileInputLeavesNoTrace sends each hostile request before good data: the good data must give the same result as alone.
func TestHostileInputLeavesNoTrace(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings.Path(t, "fixtures", "otlp-badinput"), "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, files, 40)
	run := func(t *testing.T, hostile []byte, name string) slo.Status {
		engine := testEngine(t,
			slo.Objective{Name: "good", Service: "good"},
			slo.Objective{Name: "all", GroupBy: []string{"service.name"}, Indicator: slo.Indicator{Kinds: []string{"any"}}},
			slo.Objective{Name: "logs", Indicator: slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: 17}},
		)
		b := newTestBase(t, &Config{Mode: ModeCount}, engine)
		b.clock = func() time.Time { return epoch.AddDate(1, 0, 0) }
		merging := newTestBase(t, &Config{Mode: ModeMerge}, engine)
		traces := &tracesProcessor{base: b, next: consumertest.NewNop()}
		logs := &logsProcessor{base: b, next: consumertest.NewNop()}
		metrics := newMetricsProcessor(merging, consumertest.NewNop())
		for line := range bytes.Lines(hostile) {
			switch {
			case strings.HasPrefix(name, "trace_"):
				if td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line); err == nil {
					require.NoError(t, traces.ConsumeTraces(t.Context(), td))
				}
			case strings.HasPrefix(name, "log_"):
				if ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line); err == nil {
					require.NoError(t, logs.ConsumeLogs(t.Context(), ld))
				}
			case strings.HasPrefix(name, "metric_"):
				if md, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line); err == nil {
					require.NoError(t, metrics.ConsumeMetrics(t.Context(), md))
				}
			default:
				t.Fatalf("what is %s?", name)
			}
		}
		for i := range 200 {
			td := ptrace.NewTraces()
			options := []spanOption{endsAt(epoch.Add(time.Duration(i) * time.Second))}
			if i%3 == 0 {
				options = append(options, failed)
			}
			newSpan(td, "good", options...)
			require.NoError(t, traces.ConsumeTraces(t.Context(), td))
		}
		return engine.Statuses()[0]
	}
	want := run(t, nil, "trace_none")
	require.NotZero(t, want.Bad)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			hostile, err := os.ReadFile(file)
			require.NoError(t, err)
			got := run(t, hostile, filepath.Base(file))
			assert.Equal(t, []any{want.Good, want.Bad, want.Alerts, want.State}, []any{got.Good, got.Bad, got.Alerts, got.State})
		})
	}
}
