// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/internal/cost/report"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// rig is one component ID in a pipeline of each signal.
type rig struct {
	tel     *componenttest.Telemetry
	traces  *consumertest.TracesSink
	metrics *consumertest.MetricsSink
	logs    *consumertest.LogsSink
	pt      processor.Traces
	pm      processor.Metrics
	pl      processor.Logs
	engine  *engine
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	return newRigOn(t, componenttest.NewNopHost(), change)
}

func newRigOn(t *testing.T, host component.Host, change func(*Config)) *rig {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	r := &rig{tel: componenttest.NewTelemetry(), traces: &consumertest.TracesSink{}, metrics: &consumertest.MetricsSink{}, logs: &consumertest.LogsSink{}}
	set := processortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = r.tel.NewTelemetrySettings()
	set.Resource.Attributes().PutStr("service.instance.id", "collector-1")
	f := NewFactory()
	var err error
	r.pt, err = f.CreateTraces(t.Context(), set, cfg, r.traces)
	require.NoError(t, err)
	r.pm, err = f.CreateMetrics(t.Context(), set, cfg, r.metrics)
	require.NoError(t, err)
	r.pl, err = f.CreateLogs(t.Context(), set, cfg, r.logs)
	require.NoError(t, err)
	r.engine = r.pt.(*tracesProcessor).engine
	for _, c := range []component.Component{r.pt, r.pm, r.pl} {
		require.NoError(t, c.Start(t.Context(), host))
	}
	return r
}

func (r *rig) stop(t *testing.T) {
	t.Helper()
	for _, c := range []component.Component{r.pt, r.pm, r.pl} {
		require.NoError(t, c.Shutdown(t.Context()))
	}
}

// counter is the value of one of our own counters at one set of attributes given as key, value, ….
func (r *rig) counter(t *testing.T, name string, attrs ...string) int64 {
	t.Helper()
	return counterValue(t, r.tel, name, attrs...)
}

// fill writes attributes in the order of their names.
func fill(to pcommon.Map, attrs map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		_ = to.PutEmpty(key).FromRaw(attrs[key])
	}
}

func spansOf(attrs map[string]any, n int) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	fill(rs.Resource().Attributes(), attrs)
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetName("op")
		s.SetTraceID(pcommon.TraceID{1, byte(i)})
		s.SetSpanID(pcommon.SpanID{2, byte(i)})
		s.Attributes().PutStr("http.route", "/cart")
	}
	return td
}

func gaugeOf(attrs map[string]any, n int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	fill(rm.Resource().Attributes(), attrs)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("queue")
	points := m.SetEmptyGauge().DataPoints()
	for i := range n {
		points.AppendEmpty().SetIntValue(int64(i))
	}
	return md
}

func logsOf(attrs map[string]any, n int) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	fill(rl.Resource().Attributes(), attrs)
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for range n {
		records.AppendEmpty().Body().SetStr("hello")
	}
	return ld
}

func resourceOf(td ptrace.Traces) map[string]any {
	return td.ResourceSpans().At(0).Resource().Attributes().AsRaw()
}

// hostWith is a host with extensions.
type hostWith map[component.ID]component.Component

func (h hostWith) GetExtensions() map[component.ID]component.Component { return h }

// heldBoard stands for the optimization extension: it keeps what is published, by topic and source.
type heldBoard struct {
	component.StartFunc
	component.ShutdownFunc
	fail      error
	snapshots map[string]json.RawMessage
}

func (b *heldBoard) PublishSnapshot(topic, source string, body json.RawMessage) error {
	if b.fail == nil {
		b.snapshots[topic+" "+source] = body
	}
	return b.fail
}

// withBoard is a host with a board.
func withBoard() (hostWith, *heldBoard) {
	b := &heldBoard{snapshots: map[string]json.RawMessage{}}
	return hostWith{component.MustNewID("optimization"): b}, b
}

// costsOf is the last snapshot of costs that a component published.
func (b *heldBoard) costsOf(t *testing.T, source string) report.Costs {
	t.Helper()
	var c report.Costs
	require.NoError(t, json.Unmarshal(b.snapshots[report.TopicCosts+" "+source], &c))
	require.Equal(t, report.SchemaCosts, c.Schema)
	return c
}
