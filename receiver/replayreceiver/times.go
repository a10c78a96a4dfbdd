// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/timeline"
)

// eventSpan is the first and last event time of a request, in Unix nanoseconds; both zero when it has no usable one.
type eventSpan struct{ first, last int64 }

// add takes in an event time and reports whether it was usable.
func (e *eventSpan) add(ts pcommon.Timestamp) bool {
	if !timeline.Usable(uint64(ts)) {
		return false
	}
	t := int64(ts)
	if e.first == 0 || t < e.first {
		e.first = t
	}
	e.last = max(e.last, t)
	return true
}

// visitor walks over every timestamp of a request. Event times are the start and end of a span, the time of a data point, and the time or
// else the observed time of a log record. The other timestamps (span events, start of a data point, exemplars) only move.
type visitor struct {
	span eventSpan
	// by is how far every timestamp is moved.
	by int64
}

// measureAndShift finds the event span of a request as it was recorded and moves every timestamp in it by a constant.
func (b *batch) measureAndShift(by int64) {
	v := &visitor{by: by}
	switch b.signal {
	case signalTraces:
		v.traces(b.traces)
	case signalMetrics:
		v.metrics(b.metrics)
	case signalLogs:
		v.logs(b.logs)
	}
	b.span = v.span
}

// dataPoint is what the five kinds of data points have in common.
type dataPoint interface {
	Timestamp() pcommon.Timestamp
	SetTimestamp(pcommon.Timestamp)
	StartTimestamp() pcommon.Timestamp
	SetStartTimestamp(pcommon.Timestamp)
}

func (v *visitor) moved(ts pcommon.Timestamp) pcommon.Timestamp {
	return pcommon.Timestamp(timeline.Shift(uint64(ts), v.by))
}

func (v *visitor) traces(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				v.oneSpan(s)
			}
		}
	}
}

func (v *visitor) oneSpan(s ptrace.Span) {
	v.span.add(s.StartTimestamp())
	v.span.add(s.EndTimestamp())
	if v.by == 0 {
		return
	}
	s.SetStartTimestamp(v.moved(s.StartTimestamp()))
	s.SetEndTimestamp(v.moved(s.EndTimestamp()))
	for _, e := range s.Events().All() {
		e.SetTimestamp(v.moved(e.Timestamp()))
	}
}

func (v *visitor) logs(ld plog.Logs) {
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				if !v.span.add(r.Timestamp()) {
					v.span.add(r.ObservedTimestamp())
				}
				if v.by != 0 {
					r.SetTimestamp(v.moved(r.Timestamp()))
					r.SetObservedTimestamp(v.moved(r.ObservedTimestamp()))
				}
			}
		}
	}
}

func (v *visitor) metrics(md pmetric.Metrics) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				v.metric(m)
			}
		}
	}
}

func (v *visitor) metric(m pmetric.Metric) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		v.numbers(m.Gauge().DataPoints())
	case pmetric.MetricTypeSum:
		v.numbers(m.Sum().DataPoints())
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			point(v, p)
			v.exemplars(p.Exemplars())
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			point(v, p)
			v.exemplars(p.Exemplars())
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			point(v, p)
		}
	case pmetric.MetricTypeEmpty:
	}
}

func (v *visitor) numbers(points pmetric.NumberDataPointSlice) {
	for _, p := range points.All() {
		point(v, p)
		v.exemplars(p.Exemplars())
	}
}

// point is a function with a type parameter, so that no data point is boxed on the way.
func point[P dataPoint](v *visitor, p P) {
	v.span.add(p.Timestamp())
	if v.by != 0 {
		p.SetTimestamp(v.moved(p.Timestamp()))
		p.SetStartTimestamp(v.moved(p.StartTimestamp()))
	}
}

func (v *visitor) exemplars(exemplars pmetric.ExemplarSlice) {
	if v.by == 0 {
		return
	}
	for _, e := range exemplars.All() {
		e.SetTimestamp(v.moved(e.Timestamp()))
	}
}
