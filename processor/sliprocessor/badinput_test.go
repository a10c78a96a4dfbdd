// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/internal/slo"
)

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
