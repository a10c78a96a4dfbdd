// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/internal/limit"
)

// keptAttributes is the most attributes of a point whose memory is used again.
const keptAttributes = 256

// ahead is how many points are looked at together.
const ahead = 16

// batch takes one request through the limiter. It is reused, and guarded by the engine's lock.
type batch struct {
	limiter   *limit.Limiter
	scopeKeys []string
	exempt    []string
	exemplars int

	tally  tally
	points [ahead]limit.Point
	point  *limit.Point // the one at hand

	// of the metric at hand
	metric    *limit.Metric
	kind      limit.Kind
	monotonic bool
	closed    bool
	malformed bool   // a temporality that says nothing
	series    uint64 // identity, with the resource and without
	shared    uint64
	current   pmetric.Metric

	// of the resource at hand
	scope     uint64
	resource  pcommon.Resource
	extra     pmetric.Metrics // points that go on a resource of their own, which carries only the scope
	extraRM   pmetric.ResourceMetrics
	hasExtra  bool
	extraOpen bool

	emission    limit.Emission
	carriers    []carrier
	remove      []bool
	explicit    limit.Explicit
	exponential limit.Exponential
}

type carrier struct {
	at     int
	group  *limit.Group
	shared bool
}

// tally is what became of a batch's points: received + marked + resent = sent + folded away + dropped.
type tally struct {
	received, sent, marked int64
	resent                 int64 // merged gauges and up-down sums sent again because a member left
	merged                 int64 // points that went into another series, output points among them
	folded, foldedWhole    int64
	dropped                [limit.Reasons]int64
}

// ordered tells whether the batch must be delivered before the next one is begun.
func (t *tally) ordered() bool { return t.merged > 0 || t.marked > 0 || t.resent > 0 }

func (b *batch) init(cfg *Config, l *limit.Limiter) {
	b.limiter = l
	b.scopeKeys = cfg.Scope
	b.exempt = append([]string{"slo.*"}, cfg.Exempt...)
	b.exemplars = cfg.Exemplars
}

func (b *batch) run(md pmetric.Metrics) {
	b.tally = tally{}
	before := b.limiter.Stats()
	b.hasExtra = false
	rms := md.ResourceMetrics()
	for i := range rms.Len() {
		b.runResource(rms.At(i))
	}
	for i := range b.points {
		if cap(b.points[i].Attrs) > keptAttributes {
			b.points[i].Attrs = nil
		}
	}
	after := b.limiter.Stats()
	b.tally.folded = int64(after.Folded - before.Folded)
	b.tally.foldedWhole = int64(after.FoldedWhole - before.FoldedWhole)
	if b.tally.ordered() || b.tally.sent != b.tally.received {
		prune(rms)
	}
	if b.hasExtra {
		b.extra.ResourceMetrics().MoveAndAppendTo(rms)
	}
}

// prune takes out what lost its last point.
func prune(rms pmetric.ResourceMetricsSlice) {
	rms.RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		had := rm.ScopeMetrics().Len() > 0
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			hadMetrics := sm.Metrics().Len() > 0
			sm.Metrics().RemoveIf(func(m pmetric.Metric) bool { return m.Type() != pmetric.MetricTypeEmpty && datapoint.Count(m) == 0 })
			return hadMetrics && sm.Metrics().Len() == 0
		})
		return had && rm.ScopeMetrics().Len() == 0
	})
}

func (b *batch) runResource(rm pmetric.ResourceMetrics) {
	b.resource = rm.Resource()
	b.extraOpen = false
	resource := hashMap(b.resource.Attributes())
	b.scope = 0
	for i, key := range b.scopeKeys {
		if v, ok := b.resource.Attributes().Get(key); ok {
			b.scope = limit.Mix(b.scope, limit.Mix(uint64(i), hashValue(v)))
		}
	}
	sms := rm.ScopeMetrics()
	for i := range sms.Len() {
		sm := sms.At(i)
		scope := sm.Scope()
		id := limit.Mix(resource, limit.Mix(limit.HashString(scope.Name()), limit.HashString(scope.Version())))
		if scope.Attributes().Len() > 0 {
			id = limit.Mix(id, hashMap(scope.Attributes()))
		}
		metrics := sm.Metrics()
		for j := range metrics.Len() {
			b.runMetric(id, metrics.At(j))
		}
	}
}

func (b *batch) runMetric(scope uint64, m pmetric.Metric) {
	n := datapoint.Count(m)
	b.tally.received += int64(n)
	b.tally.sent += int64(n)
	name := m.Name()
	if n == 0 || b.exempted(name) {
		return
	}
	b.current = m
	b.malformed = false
	b.monotonic = false
	temporality := pmetric.AggregationTemporalityCumulative
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		b.kind = limit.KindGauge
	case pmetric.MetricTypeSum:
		temporality, b.monotonic = m.Sum().AggregationTemporality(), m.Sum().IsMonotonic()
		switch {
		case temporality == pmetric.AggregationTemporalityDelta:
			b.kind = limit.KindDelta
		case b.monotonic:
			b.kind = limit.KindCumulative
		default:
			b.kind = limit.KindLevel
		}
	case pmetric.MetricTypeHistogram:
		temporality = m.Histogram().AggregationTemporality()
		b.kind = distributionKind(temporality)
	case pmetric.MetricTypeExponentialHistogram:
		temporality = m.ExponentialHistogram().AggregationTemporality()
		b.kind = distributionKind(temporality)
	case pmetric.MetricTypeSummary:
		b.kind = limit.KindCumulativeDistribution
	}
	b.malformed = temporality == pmetric.AggregationTemporalityUnspecified
	b.metric, b.closed = b.limiter.Metric(b.scope, name)
	if b.metric == nil {
		b.tally.sent -= int64(n)
		b.tally.dropped[limit.ReasonMetricLimit] += int64(n)
		removeAll(m)
		return
	}
	if !b.metric.Labelled() {
		b.metric.Label(b.scopeLabel())
	}
	identity := limit.Mix(uint64(m.Type())<<8|uint64(temporality)<<1|asBit(b.monotonic), limit.HashString(m.Unit()))
	b.series, b.shared = limit.Mix(scope, identity), limit.Mix(b.scope, identity)
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		runPoints[pmetric.NumberDataPoint](b, m.Gauge().DataPoints(), numbers{})
	case pmetric.MetricTypeSum:
		runPoints[pmetric.NumberDataPoint](b, m.Sum().DataPoints(), numbers{})
	case pmetric.MetricTypeHistogram:
		runPoints[pmetric.HistogramDataPoint](b, m.Histogram().DataPoints(), explicits{})
	case pmetric.MetricTypeExponentialHistogram:
		runPoints[pmetric.ExponentialHistogramDataPoint](b, m.ExponentialHistogram().DataPoints(), exponentials{})
	case pmetric.MetricTypeSummary:
		runPoints[pmetric.SummaryDataPoint](b, m.Summary().DataPoints(), summaries{})
	}
	b.limiter.Flush()
}

func distributionKind(t pmetric.AggregationTemporality) limit.Kind {
	if t == pmetric.AggregationTemporalityDelta {
		return limit.KindDeltaDistribution
	}
	return limit.KindCumulativeDistribution
}

func asBit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}

func removeAll(m pmetric.Metric) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return true })
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return true })
	case pmetric.MetricTypeHistogram:
		m.Histogram().DataPoints().RemoveIf(func(pmetric.HistogramDataPoint) bool { return true })
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().DataPoints().RemoveIf(func(pmetric.ExponentialHistogramDataPoint) bool { return true })
	case pmetric.MetricTypeSummary:
		m.Summary().DataPoints().RemoveIf(func(pmetric.SummaryDataPoint) bool { return true })
	}
}

func (b *batch) exempted(name string) bool {
	for _, pattern := range b.exempt {
		if limit.Match(pattern, name) {
			return true
		}
	}
	return false
}

func (b *batch) scopeLabel() string {
	if b.closed {
		return limit.OverflowValue
	}
	values := make([]string, 0, len(b.scopeKeys))
	for _, key := range b.scopeKeys {
		if v, ok := b.resource.Attributes().Get(key); ok {
			values = append(values, v.AsString())
		}
	}
	return strings.Join(values, ",")
}

// overflowMetric appends a metric like the current one to the resource that carries only the scope.
func (b *batch) overflowMetric() pmetric.Metric {
	if !b.hasExtra {
		b.extra = pmetric.NewMetrics()
		b.hasExtra = true
		b.extraOpen = false
	}
	if !b.extraOpen {
		b.extraOpen = true
		b.extraRM = b.extra.ResourceMetrics().AppendEmpty()
		b.extraRM.ScopeMetrics().AppendEmpty()
		for _, key := range b.scopeKeys {
			if v, ok := b.resource.Attributes().Get(key); ok && !b.closed {
				v.CopyTo(b.extraRM.Resource().Attributes().PutEmpty(key))
			}
		}
	}
	return b.extraRM.ScopeMetrics().At(0).Metrics().AppendEmpty()
}
