// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

// pair is a traces and a logs pipeline with one component ID.
type pair struct {
	traces processor.Traces
	logs   processor.Logs
}

func startPair(t *testing.T, settings map[string]any, next consumer.Logs) pair {
	f := NewFactory()
	cfg := f.CreateDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	set := processortest.NewNopSettings(metadata.Type)
	// Pipelines may be made, started and ended in either order.
	logs, err := f.CreateLogs(t.Context(), set, cfg, next)
	require.NoError(t, err)
	traces, err := f.CreateTraces(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, logs.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, traces.Start(t.Context(), componenttest.NewNopHost()))
	return pair{traces, logs}
}

func (p pair) stop(t *testing.T) {
	require.NoError(t, p.traces.Shutdown(context.Background()))
	require.NoError(t, p.logs.Shutdown(context.Background()))
}

// logOf is a request with a record of each of the given traces; an empty ID is for a record without one.
func logOf(severity plog.SeverityNumber, ids ...pcommon.TraceID) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "shop")
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("scope")
	for _, id := range ids {
		record := sl.LogRecords().AppendEmpty()
		record.SetTraceID(id)
		record.SetSeverityNumber(severity)
		record.Body().SetStr(id.String())
	}
	return ld
}

func spanOf(id pcommon.TraceID, failed bool) ptrace.Traces {
	td := ptrace.NewTraces()
	span := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(id)
	if failed {
		span.Status().SetCode(ptrace.StatusCodeError)
	}
	return td
}

// bodies are the texts of what arrived, with how often they did.
func bodies(sink *consumertest.LogsSink) map[string]int {
	seen := make(map[string]int)
	for _, ld := range sink.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, record := range sl.LogRecords().All() {
					seen[record.Body().Str()]++
				}
			}
		}
	}
	return seen
}

func TestTheLogsOfKeptTracesAreKept(t *testing.T) {
	sink := &consumertest.LogsSink{}
	settings := policies(keepErrors)
	settings["decision_wait"] = "10ms"
	p := startPair(t, settings, sink)
	bad, good := pcommon.TraceID{1}, pcommon.TraceID{2}
	require.NoError(t, p.logs.ConsumeLogs(t.Context(), logOf(plog.SeverityNumberInfo, bad, good, pcommon.TraceID{})))
	assert.Equal(t, 1, sink.LogRecordCount(), "a record without a trace does not wait")
	require.NoError(t, p.traces.ConsumeTraces(t.Context(), spanOf(bad, true)))
	require.NoError(t, p.traces.ConsumeTraces(t.Context(), spanOf(good, false)))
	require.Eventually(t, func() bool { return sink.LogRecordCount() == 2 }, 10*time.Second, 10*time.Millisecond)
	// After the decision they need not wait.
	require.Eventually(t, func() bool {
		require.NoError(t, p.logs.ConsumeLogs(t.Context(), logOf(plog.SeverityNumberInfo, good)))
		require.NoError(t, p.logs.ConsumeLogs(t.Context(), logOf(plog.SeverityNumberInfo, bad)))
		return sink.LogRecordCount() == 3
	}, 10*time.Second, 10*time.Millisecond)
	p.stop(t)
	assert.Equal(t, map[string]int{"": 1, bad.String(): 2}, bodies(sink))
	first := sink.AllLogs()[0].ResourceLogs().At(0)
	service, _ := first.Resource().Attributes().Get("service.name")
	assert.Equal(t, "shop", service.Str())
	assert.Equal(t, "scope", first.ScopeLogs().At(0).Scope().Name())
}

func TestTracesAreKeptForTheirLogs(t *testing.T) {
	sink := &consumertest.LogsSink{}
	settings := policies(map[string]any{"name": "failing", "type": "log_severity", "log_severity": map[string]any{"min_severity": "WARN"}})
	settings["decision_wait"] = "300ms"
	p := startPair(t, settings, sink)
	bad, good := pcommon.TraceID{1}, pcommon.TraceID{2}
	for _, id := range []pcommon.TraceID{bad, good} {
		require.NoError(t, p.traces.ConsumeTraces(t.Context(), spanOf(id, false)))
	}
	require.NoError(t, p.logs.ConsumeLogs(t.Context(), logOf(plog.SeverityNumberError, bad)))
	require.NoError(t, p.logs.ConsumeLogs(t.Context(), logOf(plog.SeverityNumberInfo, good)))
	require.NoError(t, p.traces.Shutdown(context.Background()))
	require.NoError(t, p.logs.Shutdown(context.Background()))
	assert.Equal(t, map[string]int{bad.String(): 1}, bodies(sink))
}

func TestWithoutATracesPipelineAllLogsPass(t *testing.T) {
	f := NewFactory()
	sink := &consumertest.LogsSink{}
	logs, err := f.CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), f.CreateDefaultConfig(), sink)
	require.NoError(t, err)
	require.NoError(t, logs.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, logs.ConsumeLogs(t.Context(), logOf(plog.SeverityNumberInfo, pcommon.TraceID{1})))
	assert.Equal(t, 1, sink.LogRecordCount())
	require.NoError(t, logs.Shutdown(t.Context()))
}

// reluctant refuses for a while, and records afterwards.
type reluctant struct {
	consumertest.LogsSink
	refusals atomic.Int32
}

func (r *reluctant) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	if r.refusals.Add(-1) >= 0 {
		return errors.New("not now")
	}
	return r.LogsSink.ConsumeLogs(ctx, ld)
}

func TestKeptLogsAreOfferedAgain(t *testing.T) {
	sink := &reluctant{}
	settings := policies(keepErrors)
	settings["decision_wait"] = "10ms"
	p := startPair(t, settings, sink)
	sink.refusals.Store(3)
	require.NoError(t, p.logs.ConsumeLogs(t.Context(), logOf(plog.SeverityNumberInfo, pcommon.TraceID{1})))
	require.NoError(t, p.traces.ConsumeTraces(t.Context(), spanOf(pcommon.TraceID{1}, true)))
	require.Eventually(t, func() bool { return sink.LogRecordCount() == 1 }, 10*time.Second, 10*time.Millisecond)
	// What goes on at once is refused to the sender, and nothing of the request waits then.
	sink.refusals.Store(1)
	request := logOf(plog.SeverityNumberInfo, pcommon.TraceID{1}, pcommon.TraceID{3})
	require.Error(t, p.logs.ConsumeLogs(t.Context(), request))
	require.NoError(t, p.logs.ConsumeLogs(t.Context(), request))
	p.stop(t)
	assert.Equal(t, map[string]int{pcommon.TraceID{1}.String(): 2, pcommon.TraceID{3}.String(): 1}, bodies(&sink.LogsSink))
}

func TestLogSettingsAreChecked(t *testing.T) {
	for key, values := range map[string][]any{"memory_limit_mib": {0}, "wait": {"-1s"}, "undecided": {"", "maybe"}} {
		for _, value := range values {
			cfg := createDefaultConfig().(*Config)
			require.NoError(t, confmap.NewFromStringMap(map[string]any{"logs": map[string]any{key: value}}).Unmarshal(cfg))
			assert.ErrorContains(t, cfg.Validate(), "logs::"+key)
		}
	}
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(policies(map[string]any{"name": "x", "type": "log_severity", "log_severity": map[string]any{"min_severity": "LOUD"}})).Unmarshal(cfg))
	require.ErrorContains(t, cfg.Validate(), "LOUD")
	cfg = createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"budget": map[string]any{"horizon": "9000h"}}).Unmarshal(cfg))
	require.ErrorContains(t, cfg.Validate(), "budget::horizon")
}
