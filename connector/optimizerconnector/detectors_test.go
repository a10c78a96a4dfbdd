// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// counter is a detector that counts spans and says so at every evaluation.
type counter struct {
	mu       sync.Mutex
	spans    int
	changes  []detect.Change
	advances []time.Time
	seen     []detect.Change
	state    []byte
}

func (*counter) Name() string { return "counter" }

func (c *counter) readTraces(td ptrace.Traces) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans += td.SpanCount()
}

func (c *counter) Advance(now time.Time) []detect.Candidate {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advances = append(c.advances, now)
	if c.spans == 0 {
		return nil
	}
	target := signal.Target{Service: "checkout"}
	start := now.Truncate(time.Hour)
	e := signal.Envelope{
		ID: signal.NewID("optimization.count", target, nil, start), Kind: "optimization.count", Version: signal.Version, State: signal.StateFiring,
		Severity: signal.SeverityInfo, Summary: fmt.Sprint(c.spans, " spans"), Target: target,
		Action: signal.Action{Verb: "investigate", Risk: signal.RiskNone}, Confidence: signal.Confidence{Value: 1, Method: "count"},
		ValidFrom: start, UpdatedAt: now, ExpiresAt: now.Add(time.Minute),
	}
	return []detect.Candidate{{Envelope: e}}
}

func (c *counter) ObserveChange(change detect.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, change)
}

func (c *counter) TakeChanges() []detect.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

func (c *counter) Snapshot() ([]byte, error) { return detect.Seal(1, fmt.Append(nil, c.spans)), nil }

func (c *counter) Restore(data []byte) (err error) {
	c.state, err = detect.Open(1, data)
	return err
}

func (c *counter) Fill() detect.Fill { return detect.Fill{Used: c.spans, Limit: 100} }

// withCounter puts a counter beside the detectors there are.
func withCounter(r *rig) *counter {
	c := &counter{}
	e := r.logs.engine
	e.detectors.all = append(e.detectors.all, c)
	e.detectors.spans = append(e.detectors.spans, c)
	return c
}

func spanAt(at time.Time) ptrace.Traces {
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetEndTimestamp(pcommon.NewTimestampFromTime(at))
	return td
}

func changeLog(id, state string, at time.Time) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	rec := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	rec.SetEventName("change.deployment")
	rec.SetTimestamp(pcommon.NewTimestampFromTime(at))
	rec.Attributes().PutStr("change.id", id)
	rec.Attributes().PutStr("change.state", state)
	rec.Attributes().PutStr("service.version", "2")
	return ld
}

func TestDetectorsAreAskedAtEveryBoundaryOfEventTimeAtAnySpeed(t *testing.T) {
	run := func(pause time.Duration) ([]time.Time, []string) {
		r := newRig(t, nil, nil)
		c := withCounter(r)
		for i := range 30 {
			require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0.Add(time.Duration(i)*3*time.Second))))
			r.clock.advance(pause)
			r.logs.engine.tick(t.Context())
		}
		return c.advances, r.envelopes()
	}
	fast, said := run(0)
	require.Len(t, fast, 8)
	assert.Equal(t, t0.Add(10*time.Second), fast[0])
	assert.Len(t, said, 2, "repeated only when half of its validity has passed")
	slow, same := run(5 * time.Second)
	assert.Equal(t, fast, slow)
	assert.Equal(t, said, same)
}

func TestAGapInEventTimeIsNotMadeUpForStepByStep(t *testing.T) {
	r := newRig(t, nil, nil)
	c := withCounter(r)
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0.AddDate(-10, 0, 0))))
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0)))
	assert.Len(t, c.advances, maxCatchUp+1)
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0.AddDate(10, 0, 0))))
	assert.Len(t, c.advances, maxCatchUp+1, "a time too far ahead moves nothing")
}

func TestChangesReachDetectorsOnce(t *testing.T) {
	r := newRig(t, nil, nil)
	c := withCounter(r)
	r.consume(changeLog("d1", "started", t0))
	r.consume(changeLog("d1", "succeeded", t0.Add(time.Second)))
	r.consume(changeLog("d1", "succeeded", t0.Add(time.Second)))
	r.consume(changeLog("d2", "succeeded", t0.AddDate(1, 0, 0)))
	bad := changeLog("d3", "succeeded", t0)
	bad.ResourceLogs().At(0).Resource().Attributes().Clear()
	r.consume(bad)
	require.Len(t, c.changes, 2)
	assert.Equal(t, detect.Change{
		ID: "d1", Kind: detect.Deployment, Time: t0, State: "started", Service: "checkout", Version: "2",
	}, c.changes[0])
	assert.Equal(t, map[string]int64{"used": 2, "duplicate": 1, "future": 1, "missing_field": 1}, r.counts("otelcol_optimizer_changes"))
}

func TestChangesSeenInTelemetryAreToldToAllAndSent(t *testing.T) {
	r := newRig(t, nil, nil)
	c := withCounter(r)
	c.seen = []detect.Change{{ID: "seen-1", Kind: detect.Deployment, Time: t0, Action: "deploy", State: "succeeded", Service: "checkout", Version: "3", Tool: detect.ToolTelemetry}}
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0)))
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0.Add(10*time.Second))))
	require.Len(t, c.changes, 1)
	sent := r.next.AllLogs()[0]
	rec := sent.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	again, refused := readChange(sent.ResourceLogs().At(0).Resource().Attributes(), rec)
	assert.Empty(t, refused)
	assert.Equal(t, c.changes[0], again, "what is sent reads as what was seen")
}

func TestStateOfEveryDetectorIsKept(t *testing.T) {
	store := &fakeStorage{values: map[string][]byte{}}
	id := component.MustNewID("file_storage")
	r := newRig(t, host{id: store}, func(c *Config) { c.Storage = &id })
	c := withCounter(r)
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0)))
	r.consume(changeLog("d1", "succeeded", t0))
	r.stop()
	assert.Equal(t, detect.Seal(1, []byte("1")), store.values["optimizer//detector/counter"])

	e, err := newEngine(r.settings, createDefaultConfig().(*Config), r.clock.read)
	require.NoError(t, err)
	e.cfg.Storage = &id
	e.detectors.all = append(e.detectors.all, c)
	require.NoError(t, e.openStorage(t.Context(), host{id: store}))
	assert.Equal(t, "1", string(c.state))
	assert.Equal(t, t0, e.now.watermark)
	assert.False(t, e.changes.add(detect.Change{ID: "d1", State: "succeeded"}), "a change told before the restart is known")
}

func TestLatestTimeIsFoundInEveryKindOfPoint(t *testing.T) {
	at := pcommon.NewTimestampFromTime(t0)
	for name, add := range map[string]func(pmetric.Metric){
		"gauge":       func(m pmetric.Metric) { m.SetEmptyGauge().DataPoints().AppendEmpty().SetTimestamp(at) },
		"sum":         func(m pmetric.Metric) { m.SetEmptySum().DataPoints().AppendEmpty().SetTimestamp(at) },
		"histogram":   func(m pmetric.Metric) { m.SetEmptyHistogram().DataPoints().AppendEmpty().SetTimestamp(at) },
		"exponential": func(m pmetric.Metric) { m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().SetTimestamp(at) },
		"summary":     func(m pmetric.Metric) { m.SetEmptySummary().DataPoints().AppendEmpty().SetTimestamp(at) },
	} {
		md := pmetric.NewMetrics()
		add(md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty())
		assert.Equal(t, at, latestPoint(md), name)
	}
	assert.Zero(t, latestPoint(pmetric.NewMetrics()))
}

func TestChangeMemoryForgetsTheOldest(t *testing.T) {
	m := newChangeMemory(3)
	for i := range 5 {
		require.True(t, m.add(detect.Change{ID: strconv.Itoa(i)}))
	}
	assert.True(t, m.add(detect.Change{ID: "0"}), "forgotten")
	assert.False(t, m.add(detect.Change{ID: "4"}))
	var ids []string
	for _, c := range m.list() {
		ids = append(ids, c.ID)
	}
	assert.Equal(t, []string{"3", "4", "0"}, ids)
	assert.Len(t, m.seen, 3)
}

func TestBoardIsToldWhoDecidesAndWhatChanged(t *testing.T) {
	board := &fakeBoard{}
	r := newRig(t, host{component.MustNewID("optimization"): board}, nil)
	r.consume(changeLog("d1", "succeeded", t0))
	r.logs.engine.tick(t.Context())
	assert.JSONEq(t, `{"decider":true,"event_time":"2026-03-01T12:00:00Z","at":"2026-03-01T13:00:00Z"}`, board.snapshots["optimizer optimizer"])
	assert.JSONEq(t, `[{"id":"d1","kind":"change.deployment","time":"2026-03-01T12:00:00Z","state":"succeeded","service":"checkout","version":"2"}]`, board.snapshots["changes optimizer"])
}
