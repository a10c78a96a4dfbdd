// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// said returns the envelopes of a kind that left, oldest first.
func (x *rollout) said(kind string) (all []signal.Envelope) {
	for _, ld := range x.out.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, rec := range sl.LogRecords().All() {
					if rec.EventName() == kind {
						e, err := signal.Decode([]byte(rec.Body().AsString()))
						require.NoError(x.t, err)
						all = append(all, e)
					}
				}
			}
		}
	}
	return all
}

// A version takes the place of the other at once, so that there is nothing to compare it with: what is left is before and after.
func TestARegressionNamesTheVersionThatTookOver(t *testing.T) {
	for name, bad := range map[string]*revision{
		"error_ratio":  {version: "2", perSlice: 40, errors: 0.2, cpu: 0.2},
		"memory_bytes": {version: "2", perSlice: 40, cpu: 0.2, heap: 1e8},
		"cpu_cores":    {version: "2", perSlice: 40, cpu: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			x := newRollout(t)
			x.run(40*time.Minute, &revision{version: "1", perSlice: 40, cpu: 0.2})
			x.run(25*time.Minute, bad)
			said := x.said(signal.KindChangeRegression)
			require.NotEmpty(t, said)
			e := said[0]
			assert.Equal(t, "2", e.Target.Revision, e.Summary)
			assert.Equal(t, "rollback", e.Action.Verb)
			assert.Contains(t, e.Evidence.Statistics, name+".before", e.Summary)
			require.Len(t, e.CausedBy, 1, "the version that was seen in telemetry")
		})
	}
	x := newRollout(t)
	x.run(40*time.Minute, &revision{version: "1", perSlice: 40, errors: 0.02, cpu: 0.2})
	x.run(40*time.Minute, &revision{version: "2", perSlice: 40, errors: 0.02, cpu: 0.2})
	assert.Empty(t, x.said(signal.KindChangeRegression), "a version that is as good as the one before")
}

func TestAUnitThatChangesIsNoRegression(t *testing.T) {
	x := newRollout(t)
	send := func(unit string, v float64) {
		md := pmetric.NewMetrics()
		rm := md.ResourceMetrics().AppendEmpty()
		resource(rm.Resource().Attributes(), "1")
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("process.memory.usage")
		m.SetUnit(unit)
		for _, v := range []float64{v, math.NaN(), math.Inf(1), -1} {
			p := m.SetEmptySum().DataPoints().AppendEmpty()
			p.SetTimestamp(pcommon.NewTimestampFromTime(x.clock.read()))
			p.SetDoubleValue(v)
			require.NoError(t, x.c.ConsumeMetrics(t.Context(), md))
		}
	}
	for minute := range 60 {
		switch {
		case minute < 30:
			send("MiBy", 100+float64(minute%3))
		default:
			send("By", 104857600+float64(minute%3)*1048576)
		}
		if minute == 30 {
			require.NoError(t, x.c.ConsumeLogs(t.Context(), changeLog("d", "succeeded", x.clock.read())))
		}
		x.clock.advance(time.Minute)
	}
	assert.Empty(t, x.said(signal.KindChangeRegression))
}

// evaluate sends a request of the front end and the evaluation that belongs to it.
func (x *rollout) evaluate(n int, variant string, failed, inSpan bool) {
	at := pcommon.NewTimestampFromTime(x.clock.read())
	var trace pcommon.TraceID
	binary.BigEndian.PutUint64(trace[:], uint64(n))
	fill := func(m pcommon.Map) {
		m.PutStr("feature_flag.key", "discounts")
		if variant == "true" || variant == "false" {
			m.PutBool("feature_flag.result.value", variant == "true")
		} else {
			m.PutStr("feature_flag.result.variant", variant)
		}
	}
	td, ld := ptrace.NewTraces(), plog.NewLogs()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "frontend")
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(trace)
	s.SetKind(ptrace.SpanKindServer)
	s.SetStartTimestamp(at - 30e6)
	s.SetEndTimestamp(at)
	if failed {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	if inSpan {
		event := s.Events().AppendEmpty()
		event.SetName("feature_flag.evaluation")
		fill(event.Attributes())
	} else {
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", "frontend")
		rec := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		rec.SetEventName("feature_flag.evaluation")
		rec.SetTimestamp(at)
		rec.SetTraceID(trace)
		fill(rec.Attributes())
	}
	require.NoError(x.t, x.c.ConsumeLogs(x.t.Context(), ld))
	require.NoError(x.t, x.c.ConsumeTraces(x.t.Context(), td))
}

func TestABadVariantOfAFlagIsNamedAndItsFlipBecomesAChange(t *testing.T) {
	for name, c := range map[string]struct {
		variants [2]string
		inSpan   bool
	}{
		"log records": {[2]string{"control", "on"}, false}, "span events": {[2]string{"control", "on"}, true}, "values": {[2]string{"false", "true"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := newRollout(t)
			for n := 1; n < 6000; n++ {
				variant := c.variants[0]
				if n > 1000 && n%2 == 0 {
					variant = c.variants[1]
				}
				x.evaluate(n, variant, variant == c.variants[1] && n%6 == 0, c.inSpan)
				x.clock.advance(250 * time.Millisecond)
			}
			said := x.said(signal.KindFlagImpact)
			require.NotEmpty(t, said)
			e := said[len(said)-1]
			assert.Equal(t, signal.ResultFail, e.Result.Value, e.Summary)
			assert.Equal(t, "disable_flag", e.Action.Verb)
			assert.Equal(t, c.variants[1], e.Target.Attributes["feature_flag.result.variant"])
			require.Len(t, e.CausedBy, 1)
			var flips []string
			for _, ld := range x.out.AllLogs() {
				for _, rl := range ld.ResourceLogs().All() {
					if rec := rl.ScopeLogs().At(0).LogRecords().At(0); rec.EventName() == "change.feature_flag" {
						id, _ := rec.Attributes().Get("change.id")
						flips = append(flips, id.Str())
					}
				}
			}
			assert.Equal(t, e.CausedBy, flips)
		})
	}
}
