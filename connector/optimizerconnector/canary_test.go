// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// rollout sends the telemetry of versions of a service through a connector.
type rollout struct {
	t     *testing.T
	c     *instance
	clock *fakeClock
	out   *consumertest.LogsSink
	r     *rand.Rand
	// bend changes what is about to be sent of a version.
	bend func(version string, td ptrace.Traces, md pmetric.Metrics)
}

func newRollout(t *testing.T) *rollout {
	t.Helper()
	x := &rollout{t: t, clock: &fakeClock{now: t0}, out: &consumertest.LogsSink{}, r: rand.New(rand.NewPCG(1, 1))}
	c, err := newRegistry(x.clock.read).instance(metadatatest.NewSettings(componenttest.NewTelemetry()), createDefaultConfig().(*Config), x.out)
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, c.Shutdown(t.Context())) })
	x.c = c
	return x
}

// revision is what one version does.
type revision struct {
	version   string
	perSlice  int
	errors    float64
	logged    float64
	leak      float64 // of memory, a slice
	heap      float64
	cpu, used float64 // cores, seconds so far
}

func resource(m pcommon.Map, version string) {
	m.PutStr("service.name", "checkout")
	m.PutStr("service.namespace", "shop")
	m.PutStr("service.version", version)
	m.PutStr("service.instance.id", "pod-"+version)
}

func (x *rollout) run(d time.Duration, revisions ...*revision) {
	for end := x.clock.read().Add(d); x.clock.read().Before(end); {
		for _, v := range revisions {
			x.slice(v)
		}
		x.clock.advance(10 * time.Second)
	}
}

func (x *rollout) slice(v *revision) {
	now := x.clock.read()
	td, ld := ptrace.NewTraces(), plog.NewLogs()
	rs, rl := td.ResourceSpans().AppendEmpty(), ld.ResourceLogs().AppendEmpty()
	resource(rs.Resource().Attributes(), v.version)
	resource(rl.Resource().Attributes(), v.version)
	spans, logs := rs.ScopeSpans().AppendEmpty().Spans(), rl.ScopeLogs().AppendEmpty().LogRecords()
	for i := range v.perSlice {
		at := now.Add(time.Duration(i) * 10 * time.Second / time.Duration(v.perSlice))
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID{byte(x.r.IntN(255) + 1), byte(x.r.IntN(256)), byte(x.r.IntN(256))})
		s.SetKind(ptrace.SpanKindServer)
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at))
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(-time.Duration(40e6 * math.Exp(0.4*x.r.NormFloat64())))))
		if x.r.Float64() < v.errors {
			s.Status().SetCode(ptrace.StatusCodeError)
		}
		if x.r.Float64() < v.logged {
			for range 2 { // one request may log more than one error
				rec := logs.AppendEmpty()
				rec.SetTimestamp(pcommon.NewTimestampFromTime(at))
				rec.SetSeverityNumber(plog.SeverityNumberError)
				rec.SetTraceID(s.TraceID())
			}
		}
	}
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	resource(rm.Resource().Attributes(), v.version)
	metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
	v.heap += v.leak
	v.used += v.cpu * 10
	memory := metrics.AppendEmpty()
	memory.SetName("process.memory.usage")
	memory.SetUnit("By")
	p := memory.SetEmptySum().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(now))
	p.SetDoubleValue(1e8 + v.heap)
	cpu := metrics.AppendEmpty()
	cpu.SetName("process.cpu.time")
	cpu.SetUnit("s")
	cpu.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p = cpu.Sum().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(now))
	p.SetDoubleValue(v.used)
	if x.bend != nil {
		x.bend(v.version, td, md)
	}
	require.NoError(x.t, x.c.ConsumeTraces(x.t.Context(), td))
	require.NoError(x.t, x.c.ConsumeLogs(x.t.Context(), ld))
	require.NoError(x.t, x.c.ConsumeMetrics(x.t.Context(), md))
}

// verdicts are the canary verdicts that left, newest last, and the versions that became changes.
func (x *rollout) verdicts() (verdicts []signal.Envelope, changes []string) {
	for _, ld := range x.out.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, rec := range sl.LogRecords().All() {
					switch rec.EventName() {
					case signal.KindCanaryVerdict:
						e, err := signal.Decode([]byte(rec.Body().AsString()))
						require.NoError(x.t, err)
						verdicts = append(verdicts, e)
					case "change.deployment":
						v, _ := rec.Attributes().Get("service.version")
						changes = append(changes, v.Str())
					}
				}
			}
		}
	}
	return verdicts, changes
}

func (x *rollout) last() signal.Envelope {
	verdicts, _ := x.verdicts()
	require.NotEmpty(x.t, verdicts)
	return verdicts[len(verdicts)-1]
}

func TestOneVersionIsNoRollout(t *testing.T) {
	x := newRollout(t)
	x.run(time.Hour, &revision{version: "1", perSlice: 30, errors: 0.1})
	verdicts, changes := x.verdicts()
	assert.Empty(t, verdicts)
	assert.Empty(t, changes)
}

func TestFaultyCanaryFailsAndNamesRevisionAndChange(t *testing.T) {
	for name, bad := range map[string]*revision{
		"errors":        {version: "2", perSlice: 20, errors: 0.2},
		"logged_errors": {version: "2", perSlice: 20, logged: 0.2},
		"memory":        {version: "2", perSlice: 20, leak: 1e6},
		"cpu":           {version: "2", perSlice: 20, cpu: 0.9},
	} {
		t.Run(name, func(t *testing.T) {
			x := newRollout(t)
			old := &revision{version: "1", perSlice: 40, cpu: 0.2}
			if bad.cpu == 0 {
				bad.cpu = 0.1
			}
			x.run(5*time.Minute, old)
			x.run(20*time.Minute, old, bad)
			e := x.last()
			require.Equal(t, signal.ResultFail, e.Result.Value, e.Summary)
			assert.Equal(t, "worse", e.Result.Reason)
			assert.Equal(t, "2", e.Target.Revision)
			assert.Equal(t, "checkout", e.Target.Service)
			assert.Equal(t, "rollback", e.Action.Verb)
			assert.Equal(t, signal.SeverityPage, e.Severity)
			assert.Contains(t, e.Evidence.Statistics, name+".log10_e")
			require.Len(t, e.CausedBy, 1, "the version's first request is the change")
			_, changes := x.verdicts()
			assert.Equal(t, []string{"2"}, changes)
		})
	}
}

func TestHealthyCanaryPassesAndEndsWhenTheOldVersionIsGone(t *testing.T) {
	x := newRollout(t)
	old, fresh := &revision{version: "1", perSlice: 40, cpu: 0.2}, &revision{version: "2", perSlice: 30, cpu: 0.15}
	x.run(5*time.Minute, old)
	x.run(30*time.Minute, old, fresh)
	verdicts, _ := x.verdicts()
	assert.Equal(t, signal.StatePending, verdicts[0].State)
	assert.Equal(t, "needs_more_data", verdicts[0].Result.Reason)
	assert.NotZero(t, verdicts[0].Evidence.Statistics["requests.needed"])
	e := x.last()
	assert.Equal(t, signal.ResultPass, e.Result.Value, e.Summary)
	assert.Equal(t, "promote", e.Action.Verb)
	x.run(20*time.Minute, fresh)
	assert.Equal(t, signal.StateResolved, x.last().State)
}

func TestSpansThatSayNothingAboutVersionsAreLeftOut(t *testing.T) {
	x := newRollout(t)
	td := ptrace.NewTraces()
	for i, change := range []func(m pcommon.Map){
		func(m pcommon.Map) { m.Remove("service.name") },
		func(m pcommon.Map) { m.Remove("service.version") },
		func(m pcommon.Map) { m.PutInt("service.version", 7) },
		func(m pcommon.Map) { m.PutStr("service.version", strings.Repeat("7", 2000)) },
		func(pcommon.Map) {},
	} {
		rs := td.ResourceSpans().AppendEmpty()
		resource(rs.Resource().Attributes(), "1")
		change(rs.Resource().Attributes())
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetKind(ptrace.SpanKindServer)
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(t0))
		if i == 4 { // no time, a time beyond int64, and one far ahead
			s.SetEndTimestamp(0)
			s.CopyTo(rs.ScopeSpans().At(0).Spans().AppendEmpty())
			rs.ScopeSpans().At(0).Spans().At(1).SetEndTimestamp(math.MaxUint64)
			s.CopyTo(rs.ScopeSpans().At(0).Spans().AppendEmpty())
			rs.ScopeSpans().At(0).Spans().At(2).SetEndTimestamp(pcommon.NewTimestampFromTime(t0.Add(time.Hour)))
		}
	}
	require.NoError(t, x.c.ConsumeTraces(t.Context(), td))
	for _, d := range x.c.engine.detectors.all {
		if d.Name() == "canary" {
			assert.Zero(t, d.Fill().Used)
		}
	}
}

// fleet is a request of spans of many services, each a resource with some SERVER spans.
func fleet(services, spansEach int, at time.Time) []ptrace.Traces {
	var all []ptrace.Traces
	for from := 0; from < services; from += 100 {
		td := ptrace.NewTraces()
		for i := from; i < min(from+100, services); i++ {
			rs := td.ResourceSpans().AppendEmpty()
			m := rs.Resource().Attributes()
			m.PutStr("service.name", fmt.Sprintf("service-%05d", i))
			m.PutStr("service.namespace", "prod")
			m.PutStr("service.version", "1.2.3")
			m.PutStr("service.instance.id", "pod")
			spans := rs.ScopeSpans().AppendEmpty().Spans()
			for range spansEach {
				s := spans.AppendEmpty()
				s.SetKind(ptrace.SpanKindServer)
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(-30 * time.Millisecond)))
				s.SetEndTimestamp(pcommon.NewTimestampFromTime(at))
			}
		}
		all = append(all, td)
	}
	return all
}

func TestRequestsWithoutAUsableTimeAreCounted(t *testing.T) {
	clock := &fakeClock{now: t0}
	m := newMember(t, clock, nil, func(*Config) {})
	for _, td := range requests(rand.New(rand.NewPCG(1, 1)), t0.Add(time.Hour)) {
		require.NoError(t, m.ConsumeTraces(t.Context(), td))
	}
	for _, td := range requests(rand.New(rand.NewPCG(1, 1)), t0) {
		td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).SetEndTimestamp(0)
		require.NoError(t, m.ConsumeTraces(t.Context(), td))
	}
	m.engine.tick(t.Context())
	assert.Equal(t, map[string]int64{"future": 120, "no_time": 120}, losses(t, m))
	require.NoError(t, m.Shutdown(t.Context()))
}
