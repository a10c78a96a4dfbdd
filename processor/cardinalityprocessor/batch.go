// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"math"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// batch takes one request through the limiter. It is reused, and guarded by the engine's lock.
type batch struct {
	limiter   *limit.Limiter
	scopeKeys []string
	exempt    []string
	exemplars int

	tally tally
	point limit.Point

	// of the metric at hand
	metric    *limit.Metric
	kind      limit.Kind
	monotonic bool
	closed    bool
	malformed bool // a temporality that says nothing
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
			sm.Metrics().RemoveIf(func(m pmetric.Metric) bool { return m.Type() != pmetric.MetricTypeEmpty && points(m) == 0 })
			return hadMetrics && sm.Metrics().Len() == 0
		})
		return had && rm.ScopeMetrics().Len() == 0
	})
}

func points(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return m.Summary().DataPoints().Len()
	}
	return 0
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
	n := points(m)
	b.tally.received += int64(n)
	b.tally.sent += int64(n)
	name := m.Name()
	if n == 0 || name == "" || b.exempted(name) {
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
	b.point.Series = limit.Mix(scope, identity)
	b.point.Shared = limit.Mix(b.scope, identity)
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

// fill makes the limiter's view of a point.
func (b *batch) fill(attributes pcommon.Map, start, at pcommon.Timestamp, flags pmetric.DataPointFlags) {
	p := &b.point
	p.Attrs = p.Attrs[:0]
	attributes.Range(func(k string, v pcommon.Value) bool {
		a := limit.Attr{Key: k, KeyHash: limit.HashString(k)}
		if v.Type() == pcommon.ValueTypeStr {
			a.Text, a.IsText = v.Str(), true
			a.ValueHash = limit.HashString(a.Text)
		} else {
			a.ValueHash = hashValue(v)
		}
		p.Attrs = append(p.Attrs, a)
		return true
	})
	p.Start, p.Time = nanoseconds(start), nanoseconds(at)
	p.NoValue = flags.NoRecordedValue()
	p.Malformed = b.malformed
}

func nanoseconds(t pcommon.Timestamp) int64 {
	if t > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(t)
}

func hashMap(m pcommon.Map) uint64 {
	var sum uint64
	for k, v := range m.All() {
		sum += limit.Mix(limit.HashString(k), hashValue(v))
	}
	return sum
}

func hashValue(v pcommon.Value) uint64 {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return limit.HashString(v.Str())
	case pcommon.ValueTypeInt:
		return limit.HashInt(v.Int())
	case pcommon.ValueTypeDouble:
		return limit.HashFloat(math.Float64bits(v.Double()))
	case pcommon.ValueTypeBool:
		return limit.HashBool(v.Bool())
	case pcommon.ValueTypeBytes:
		return limit.Mix(limit.HashString(v.AsString()), 4)
	case pcommon.ValueTypeSlice:
		h := uint64(5)
		for _, e := range v.Slice().All() {
			h = limit.Mix(h, hashValue(e))
		}
		return h
	case pcommon.ValueTypeMap:
		return limit.Mix(hashMap(v.Map()), 6)
	}
	return 7
}

// dataPoint is what the four kinds of points have in common.
type dataPoint[P any] interface {
	Attributes() pcommon.Map
	StartTimestamp() pcommon.Timestamp
	SetStartTimestamp(pcommon.Timestamp)
	Timestamp() pcommon.Timestamp
	SetTimestamp(pcommon.Timestamp)
	Flags() pmetric.DataPointFlags
	SetFlags(pmetric.DataPointFlags)
	MoveTo(P)
}

type dataPoints[P any] interface {
	Len() int
	At(int) P
	AppendEmpty() P
	RemoveIf(func(P) bool)
}

// shape is what sets them apart.
type shape[P any] interface {
	// observe hands the point to the limiter.
	observe(*batch, P) *limit.Outcome
	// restart replaces the content of a series that starts anew.
	restart(P, *limit.Outcome)
	// emit replaces the content by that of a merged series.
	emit(P, *limit.Emission)
	// exemplars are the point's, where it has any.
	exemplars(P) (pmetric.ExemplarSlice, bool)
	// elsewhere appends a point of the same metric to the overflow resource.
	elsewhere(pmetric.Metric, pmetric.Metric) P
}

var noValue = pmetric.DefaultDataPointFlags.WithNoRecordedValue(true)

func runPoints[P dataPoint[P], S dataPoints[P], T shape[P]](b *batch, dps S, t T) {
	n := dps.Len()
	b.carriers = b.carriers[:0]
	b.remove = slices.Grow(b.remove[:0], n)[:n]
	removed := 0
	for i := range n {
		dp := dps.At(i)
		b.remove[i] = false
		b.fill(dp.Attributes(), dp.StartTimestamp(), dp.Timestamp(), dp.Flags())
		out := t.observe(b, dp)
		if out.Verdict == limit.Pass {
			continue
		}
		if out.Mark != limit.MarkNone {
			b.tally.marked++
			b.tally.sent++
			mark(b, dps.AppendEmpty(), dp, out)
		}
		switch out.Verdict {
		case limit.Restarted:
			dp.SetStartTimestamp(pcommon.Timestamp(out.Start))
			t.restart(dp, out)
		case limit.Merged:
			b.tally.merged++
			if out.Carrier {
				out.Group.Slot = i
				b.carriers = append(b.carriers, carrier{i, out.Group, out.Shared})
			}
			if examples, ok := t.exemplars(dp); ok && examples.Len() > 0 {
				b.keepExemplars(out, examples, dp.Attributes(), func() pmetric.ExemplarSlice {
					target, _ := t.exemplars(dps.At(out.Group.Slot))
					return target
				})
			}
			if out.Carrier {
				b.rewrite(dp.Attributes())
				if out.Group.Attributes == nil && out.Group.IsLevel() {
					out.Group.Attributes = pack(dp.Attributes())
				}
			} else {
				b.remove[i] = true
				removed++
			}
		case limit.Dropped:
			b.tally.dropped[out.Reason]++
			b.remove[i] = true
			removed++
		}
	}
	for _, c := range b.carriers {
		dp := dps.At(c.at)
		emit(b, dp, t, c.group)
		if c.shared {
			dp.MoveTo(t.elsewhere(b.overflowMetric(), b.current))
			b.remove[c.at] = true
			removed++
			b.tally.sent++ // it leaves on the other resource
		}
	}
	for _, g := range b.metric.Stirred(&b.point) {
		var dp P
		if g.IsShared() {
			dp = t.elsewhere(b.overflowMetric(), b.current)
		} else {
			dp = dps.AppendEmpty()
		}
		unpack(g.Attributes, dp.Attributes())
		emit(b, dp, t, g)
		b.tally.resent++
		b.tally.sent++
	}
	if removed > 0 {
		b.tally.sent -= int64(removed)
		at := -1
		dps.RemoveIf(func(P) bool {
			at++
			return at < n && b.remove[at]
		})
	}
}

// pack and unpack keep attributes with the limiter's state, as the attributes of an empty request's resource.
func pack(attributes pcommon.Map) []byte {
	md := pmetric.NewMetrics()
	attributes.CopyTo(md.ResourceMetrics().AppendEmpty().Resource().Attributes())
	packed, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		return nil
	}
	return packed
}

func unpack(packed []byte, attributes pcommon.Map) {
	md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(packed)
	if err == nil && md.ResourceMetrics().Len() == 1 {
		md.ResourceMetrics().At(0).Resource().Attributes().CopyTo(attributes)
	}
}

// emit gives a point the content of a merged series.
func emit[P dataPoint[P], T shape[P]](b *batch, dp P, t T, g *limit.Group) {
	b.emission = b.limiter.Emit(b.metric, g)
	e := &b.emission
	dp.SetStartTimestamp(pcommon.Timestamp(e.Start))
	dp.SetTimestamp(pcommon.Timestamp(e.Time))
	dp.SetFlags(dp.Flags().WithNoRecordedValue(e.Gone))
	t.emit(dp, e)
}

// mark writes the end of a series that is folded from now on.
func mark[P dataPoint[P]](b *batch, end, dp P, out *limit.Outcome) {
	dp.Attributes().CopyTo(end.Attributes())
	end.SetStartTimestamp(dp.StartTimestamp())
	end.SetTimestamp(pcommon.Timestamp(out.MarkTime))
	end.SetFlags(noValue)
	if out.Mark != limit.MarkFolded {
		return
	}
	b.metric.FoldedChanges(&b.point)
	b.rewrite(end.Attributes())
	if out.Carrier {
		b.metric.Rewrite(&b.point, out.Group)
	}
}

// rewrite gives attributes the changes that the limiter worked out for the point at hand.
func (b *batch) rewrite(attributes pcommon.Map) {
	p := &b.point
	i := -1
	renamed := false
	attributes.RemoveIf(func(_ string, v pcommon.Value) bool {
		i++
		switch c := &p.Changes[i]; c.Action {
		case limit.ActionDrop:
			return true
		case limit.ActionFold, limit.ActionHash, limit.ActionTemplate:
			v.SetStr(c.Text)
		case limit.ActionRename:
			renamed = true
		}
		return false
	})
	if renamed {
		for i, c := range p.Changes {
			if c.Action != limit.ActionRename {
				continue
			}
			if v, ok := attributes.Get(p.Attrs[i].Key); ok {
				value := pcommon.NewValueEmpty()
				v.CopyTo(value)
				attributes.Remove(p.Attrs[i].Key)
				value.CopyTo(attributes.PutEmpty(c.Text))
			}
		}
	}
	if p.Whole {
		attributes.PutBool(limit.OverflowAttribute, true)
	}
}

// keepExemplars moves a merged point's exemplars to its group's output point, the newest up to the cap. What was folded away
// goes into each exemplar's filtered attributes: the rare value keeps its trace.
func (b *batch) keepExemplars(out *limit.Outcome, from pmetric.ExemplarSlice, attributes pcommon.Map, target func() pmetric.ExemplarSlice) {
	if !out.Carrier {
		b.metric.Rewrite(&b.point, out.Group)
	}
	for _, x := range from.All() {
		i := -1
		for k, v := range attributes.All() {
			i++
			if a := b.point.Changes[i].Action; a == limit.ActionNone || a == limit.ActionRename {
				continue
			}
			if _, has := x.FilteredAttributes().Get(k); !has {
				v.CopyTo(x.FilteredAttributes().PutEmpty(k))
			}
		}
	}
	to := target()
	if !out.Carrier {
		from.MoveAndAppendTo(to)
	}
	for to.Len() > b.exemplars {
		oldest := 0
		for i := range to.Len() {
			if to.At(i).Timestamp() < to.At(oldest).Timestamp() {
				oldest = i
			}
		}
		i := -1
		to.RemoveIf(func(pmetric.Exemplar) bool {
			i++
			return i == oldest
		})
	}
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
