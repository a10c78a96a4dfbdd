// SPDX-License-Identifier: Apache-2.0

package rollouts

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// keptPages is which part of the front end's pages without an order is sent: they stand for the neighbours that are not rolled out.
const keptPages = 0.1

// resampler makes the telemetry of one rollout out of blocks of the recording.
type resampler struct {
	scenario

	rec   *recording
	r     *rand.Rand
	begin time.Time
	// drift is a slow common change of all durations.
	drift float64
	trace uint64

	td ptrace.Traces
	ld plog.Logs
	md pmetric.Metrics
}

func newResampler(s scenario, rec *recording, begin time.Time, seed uint64) *resampler {
	return &resampler{scenario: s, rec: rec, r: rand.New(rand.NewPCG(seed, 11)), begin: begin, drift: 1}
}

// quiet adds a slice in which nothing is rolled out and nothing else is changed.
func (x *resampler) quiet(since time.Duration, td ptrace.Traces, ld plog.Logs, md pmetric.Metrics) {
	x.td, x.ld, x.md = td, ld, md
	x.traffic(since, 0, x.load, x.wander(), 0)
	x.uses(0, since)
}

// next adds what happens in the slice that begins at since.
func (x *resampler) next(since time.Duration, td ptrace.Traces, ld plog.Logs, md pmetric.Metrics) {
	x.td, x.ld, x.md = td, ld, md
	weight, load, slow, failing := x.weight, x.load, x.wander(), x.noise
	switch {
	case since < aloneFor:
		weight = 0
	case since >= aloneFor+besideFor:
		weight = 1
	}
	if x.surgeAt > 0 && since >= x.surgeAt {
		load, slow = 2*load, 1.3*slow
	}
	if x.incidentAt > 0 && since >= x.incidentAt && since < x.incidentAt+time.Minute {
		slow, failing = 2*slow, failing+0.2
	}
	x.traffic(since, weight, load, slow, failing)
	x.uses(since, since)
	x.changes(since)
}

// wander is the slow common change of all durations.
func (x *resampler) wander() float64 {
	x.drift = min(max(x.drift*math.Exp(0.01*x.r.NormFloat64()), 0.9), 1.1)
	return x.drift
}

// traffic sends a block of the recording: weight is the new version's share, load how many requests come for each, slow by what
// durations are multiplied, failing the share that fails in any version.
func (x *resampler) traffic(since time.Duration, weight, load, slow, failing float64) {
	frontend := x.spans("frontend", "2.0.0", "frontend-0")
	old := [2]ptrace.SpanSlice{x.spans("checkout", oldVersion, "checkout-0"), x.spans("checkout", oldVersion, "checkout-1")}
	fresh := x.spans("checkout", newVersion, "checkout-new")
	errorLogs := x.records("checkout", newVersion)
	for _, p := range x.rec.blocks[x.r.IntN(len(x.rec.blocks))] {
		for copies := x.times(load); copies > 0; copies-- {
			if !p.order() && x.r.Float64() >= keptPages {
				continue
			}
			x.trace++
			at := x.begin.Add(since + p.at%slice)
			rest := time.Duration(slow * float64(p.whole-p.checkout))
			took, failed := time.Duration(slow*float64(p.checkout)), p.failed || x.r.Float64() < failing
			if p.order() {
				if x.r.Float64() < weight {
					var wrong bool
					took, failed, wrong = x.suffer(took, failed)
					trace := x.span(fresh, at, took, failed)
					if wrong {
						rec := errorLogs.AppendEmpty()
						rec.SetTimestamp(pcommon.NewTimestampFromTime(at))
						rec.SetSeverityNumber(plog.SeverityNumberError)
						rec.SetTraceID(trace)
					}
				} else {
					x.span(old[x.r.IntN(2)], at, took, failed)
				}
			}
			x.span(frontend, at, took+rest, failed)
		}
	}
}

// times is how often one recorded request is sent.
func (x *resampler) times(load float64) int {
	n := int(load)
	if x.r.Float64() < load-float64(n) {
		n++
	}
	return n
}

// suffer is what the new version does to a request.
func (x *resampler) suffer(took time.Duration, failed bool) (time.Duration, bool, bool) {
	hit := x.r.Float64() < x.share
	switch {
	case x.fault == errors && hit:
		return took, true, false
	case x.fault == logged && hit:
		return took, failed, true
	case (x.fault == latency || x.fault == tail) && hit:
		return time.Duration(x.factor * float64(took)), failed, false
	}
	return took, failed, false
}

func (x *resampler) resource(m pcommon.Map, service, version, instance string) {
	m.PutStr("service.name", service)
	m.PutStr("service.namespace", x.name)
	m.PutStr("service.version", version)
	m.PutStr("service.instance.id", instance)
}

func (x *resampler) spans(service, version, instance string) ptrace.SpanSlice {
	rs := x.td.ResourceSpans().AppendEmpty()
	x.resource(rs.Resource().Attributes(), service, version, instance)
	return rs.ScopeSpans().AppendEmpty().Spans()
}

func (x *resampler) records(service, version string) plog.LogRecordSlice {
	rl := x.ld.ResourceLogs().AppendEmpty()
	x.resource(rl.Resource().Attributes(), service, version, "checkout-new")
	return rl.ScopeLogs().AppendEmpty().LogRecords()
}

func (x *resampler) span(to ptrace.SpanSlice, end time.Time, took time.Duration, failed bool) pcommon.TraceID {
	s := to.AppendEmpty()
	var trace pcommon.TraceID
	binary.BigEndian.PutUint64(trace[8:], x.trace)
	s.SetTraceID(trace)
	s.SetSpanID(pcommon.SpanID(trace[8:]))
	s.SetKind(ptrace.SpanKindServer)
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(end.Add(-took)))
	if failed {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	return trace
}

// uses sends, each half minute, what each instance that is there at stage uses of memory: a recorded sample, grown by the leak.
func (x *resampler) uses(stage, since time.Duration) {
	if since%(30*time.Second) != 0 {
		return
	}
	send := func(version, instance string, bytes float64) {
		rm := x.md.ResourceMetrics().AppendEmpty()
		x.resource(rm.Resource().Attributes(), "checkout", version, instance)
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("process.memory.usage")
		m.SetUnit("By")
		p := m.SetEmptySum().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(x.begin.Add(since)))
		p.SetIntValue(int64(bytes))
	}
	sample := func() float64 { return x.rec.memory[x.r.IntN(len(x.rec.memory))] }
	if stage < aloneFor+besideFor {
		send(oldVersion, "checkout-0", sample())
		send(oldVersion, "checkout-1", sample())
	}
	if stage >= aloneFor {
		send(newVersion, "checkout-new", sample()*(1+x.growth*(stage-aloneFor).Minutes()))
	}
}

// changes tells what is changed in this slice.
func (x *resampler) changes(since time.Duration) {
	tell := func(at time.Duration, event, id, service string, attributes ...string) {
		if at < since || at >= since+slice {
			return
		}
		rl := x.ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", service)
		rl.Resource().Attributes().PutStr("service.namespace", x.name)
		rec := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		rec.SetEventName(event)
		rec.SetTimestamp(pcommon.NewTimestampFromTime(x.begin.Add(at)))
		rec.Attributes().PutStr("change.id", x.name+"-"+id)
		for i := 0; i < len(attributes); i += 2 {
			rec.Attributes().PutStr(attributes[i], attributes[i+1])
		}
	}
	tell(x.decoys[0], "change.deployment", "decoy-cart", "cart", "service.version", "3.3.3", "change.state", "succeeded")
	tell(x.decoys[1], "change.feature_flag", "decoy-flag", "frontend", "feature_flag.key", "banner", "feature_flag.result.variant", "on")
	tell(x.decoys[2], "change.configuration", "decoy-payment", "payment", "change.action", "modify")
	if x.told {
		version := []string{"service.version", newVersion, "change.action", "upgrade", "change.state"}
		tell(aloneFor, "change.deployment", "rollout", "checkout", append(version, "started")...)
		tell(aloneFor+besideFor, "change.deployment", "rollout", "checkout", append(version, "succeeded")...)
	}
}
