// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"hash/maphash"
	"math"
	"sync"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottldatapoint"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/internal/condition"
	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/internal/slo"
)

var _ processor.Metrics = (*metricsProcessor)(nil)

type metricsProcessor struct {
	*base
	next consumer.Metrics
	seed maphash.Seed

	mu      sync.Mutex // guards what follows; never held across a call to the next consumer
	streams *slo.Streams
	repeats *repeats // of mode merge
}

func newMetricsProcessor(b *base, next consumer.Metrics) *metricsProcessor {
	return &metricsProcessor{base: b, next: next, seed: maphash.MakeSeed(), streams: slo.NewStreams(b.cfg.MaxStreams), repeats: newRepeats(b.cfg.MaxPoints)}
}

// Start finds the book and begins to report how many streams are remembered.
func (p *metricsProcessor) Start(ctx context.Context, host component.Host) error {
	if err := p.base.Start(ctx, host); err != nil {
		return err
	}
	if err := p.telemetry.RegisterProcessorSliPointsRememberedCallback(func(_ context.Context, o metric.Int64Observer) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		o.Observe(int64(p.repeats.len()))
		return nil
	}); err != nil {
		return err
	}
	return p.telemetry.RegisterProcessorSliStreamsCallback(func(_ context.Context, o metric.Int64Observer) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		o.Observe(int64(p.streams.Len()))
		return nil
	})
}

// ConsumeMetrics passes metrics on. In mode count it reads the points that objectives name, in mode merge the slo.events of other books;
// both count once the next consumer has taken them, since a sender that is refused sends the same points again.
func (p *metricsProcessor) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	switch {
	case p.cfg.Mode == ModeMerge:
		j := p.judge()
		p.merge(j, md)
		err := p.next.ConsumeMetrics(ctx, md)
		if err == nil {
			p.applyMerged(j)
		}
		return p.finish(ctx, j, err)
	case !p.counting() || len(p.compiled().metrics) == 0:
		return p.next.ConsumeMetrics(ctx, md)
	}
	j := p.judge()
	p.readMetrics(ctx, j, md)
	err := p.next.ConsumeMetrics(ctx, md)
	if err == nil {
		p.apply(j)
	}
	return p.finish(ctx, j, err)
}

// reading is a data point, checked and waiting for the batch to be delivered.
type reading struct {
	rule   *metricRule
	stream slo.StreamID
	ratio  slo.StreamID
	source uint64
	point  slo.Point
	good   bool // what a gauge, or a point of a counter that holds both, says
	// What the group and the contributors are, as ranges of the judge's arenas.
	values, parts, traces [2]int
}

// place is where the points under a judge's eye stand.
type place struct {
	resource pmetric.ResourceMetrics
	scope    pmetric.ScopeMetrics
	metric   pmetric.Metric
	identity uint64 // of resource and scope
}

func (p *metricsProcessor) readMetrics(ctx context.Context, j *judge, md pmetric.Metrics) {
	now := p.clock()
	for _, rm := range md.ResourceMetrics().All() {
		entered := false
		at := place{resource: rm}
		for _, sm := range rm.ScopeMetrics().All() {
			at.scope = sm
			for _, m := range sm.Metrics().All() {
				rules := j.plan.metrics[m.Name()]
				if len(rules) == 0 {
					j.outcome.ignored += int64(datapoint.Count(m))
					continue
				}
				if !entered {
					entered = true
					j.enter(rm.Resource().Attributes(), &index{}, now, true)
					j.internResource()
				}
				at.metric = m
				j.unit = m.Unit()
				at.identity = p.hashMap(rm.Resource().Attributes()) ^ maphash.String(p.seed, sm.Scope().Name())
				p.readMetric(ctx, j, &at, rules)
			}
		}
		if entered {
			j.leave()
		}
	}
}

// holds evaluates an OTTL condition on a data point; none always holds.
func (at *place) holds(ctx context.Context, c *condition.Point, dp any) (bool, error) {
	if c == nil {
		return true, nil
	}
	tc := ottldatapoint.NewTransformContextPtr(at.resource, at.scope, at.metric, dp)
	defer tc.Close()
	return c.Eval(ctx, tc)
}

func (p *metricsProcessor) readMetric(ctx context.Context, j *judge, at *place, rules []*metricRule) {
	service, _ := j.resource.get(slotService)
	first := len(j.rules)
	for _, r := range rules {
		if r.service == "" || r.service == service {
			j.rules = append(j.rules, r)
		}
	}
	wanted := j.rules[first:]
	j.rules = j.rules[:first]
	if len(wanted) == 0 {
		j.outcome.ignored += int64(datapoint.Count(at.metric))
		return
	}
	switch m := at.metric; m.Type() {
	case pmetric.MetricTypeGauge:
		for _, dp := range m.Gauge().DataPoints().All() {
			p.readNumber(ctx, j, at, wanted, dp, pmetric.AggregationTemporalityUnspecified, false, true)
		}
	case pmetric.MetricTypeSum:
		for _, dp := range m.Sum().DataPoints().All() {
			p.readNumber(ctx, j, at, wanted, dp, m.Sum().AggregationTemporality(), m.Sum().IsMonotonic(), false)
		}
	case pmetric.MetricTypeHistogram:
		for _, dp := range m.Histogram().DataPoints().All() {
			p.readHistogram(ctx, j, at, wanted, explicit{dp}, m.Histogram().AggregationTemporality())
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, dp := range m.ExponentialHistogram().DataPoints().All() {
			p.readHistogram(ctx, j, at, wanted, exponential{dp}, m.ExponentialHistogram().AggregationTemporality())
		}
	default:
		for range datapoint.Count(m) {
			j.settle(wrongType, false)
		}
	}
}

// readNumber judges a point of a gauge or a sum.
func (p *metricsProcessor) readNumber(
	ctx context.Context, j *judge, at *place, rules []*metricRule, dp pmetric.NumberDataPoint,
	temporality pmetric.AggregationTemporality, monotonic, gauge bool,
) {
	j.readEvent(dp.Attributes())
	value := datapoint.Value(dp)
	read := func(r *metricRule) (slo.Point, reason) {
		point := slo.Point{Cumulative: temporality == pmetric.AggregationTemporalityCumulative}
		switch {
		case r.part == partGauge && !gauge && (monotonic || temporality != pmetric.AggregationTemporalityCumulative):
			return point, wrongType
		case r.part == partHistogram, r.part != partGauge && (gauge || !monotonic):
			return point, wrongType
		case r.part != partGauge && temporality == pmetric.AggregationTemporalityUnspecified:
			return point, unknownTemporality
		case dp.Flags().NoRecordedValue():
			return point, noRecordedValue
		case math.IsNaN(value) || math.IsInf(value, 0):
			return point, notANumber
		case r.part != partGauge && value < 0:
			return point, negative
		}
		point.Total = value
		return point, accepted
	}
	p.readPoint(ctx, j, at, rules, dp, dp.StartTimestamp(), dp.Timestamp(), dp.Attributes(), value, dp.Exemplars(), read)
}

// readPoint judges a data point for each of the rules its metric has.
func (p *metricsProcessor) readPoint(
	ctx context.Context, j *judge, at *place, rules []*metricRule, dp any, start, end pcommon.Timestamp, attributes pcommon.Map,
	value float64, exemplars pmetric.ExemplarSlice, read func(*metricRule) (slo.Point, reason),
) {
	why := accepted
	applied := false
	identity := uint64(0)
	for _, r := range rules {
		if !j.matchesAll(r.matchers) {
			continue
		}
		holds, err := at.holds(ctx, r.where, dp)
		if err != nil {
			why = conditionError
			continue
		}
		if !holds {
			continue
		}
		point, refused := read(r)
		if refused == accepted && !point.Cumulative && r.part != partGauge && start != 0 && end < start || point.Cumulative && end < start {
			refused = endBeforeStart
		}
		if refused == accepted {
			refused = j.admit(end)
		}
		if identity == 0 {
			identity = at.identity ^ maphash.String(p.seed, at.metric.Name()) ^ p.hashMap(attributes)*3
		}
		if refused != accepted {
			why = refused
			if refused == noRecordedValue && r.part == partGauge {
				j.ended = append(j.ended, streamOf(identity, r))
			}
			continue
		}
		good := false
		switch r.part {
		case partGauge:
			good = r.metric.GoodGauge(value)
		case partCounter:
			is := j.matchesAll(r.partMatchers)
			if is {
				if is, err = at.holds(ctx, r.partWhere, dp); err != nil {
					why = conditionError
					continue
				}
			}
			good = is == (r.metric.Good != nil)
		}
		applied = true
		point.Start, point.At = int64(start), int64(end)
		j.readings = append(j.readings, reading{
			rule: r, stream: streamOf(identity, r), source: at.identity, point: point, good: good,
			values: j.keepGroup(r.groupBy), parts: j.keepParts(), traces: j.keepTraces(r, exemplars),
		})
		last := &j.readings[len(j.readings)-1]
		if r.part == partOfRatio || r.part == partTotal {
			last.ratio = p.ratioOf(at.identity, r, j.arena[last.values[0]:last.values[1]])
		}
	}
	j.settle(why, applied)
}

// streamOf tells apart what several objectives, or both sides of a ratio, make of one series.
func streamOf(identity uint64, r *metricRule) slo.StreamID {
	return slo.StreamID(identity + (uint64(r.objective)<<3|uint64(r.part))*0x9e3779b97f4a7c15)
}

// ratioOf names what the two counters of a ratio have in common: the objective, the source and the group.
func (p *metricsProcessor) ratioOf(source uint64, r *metricRule, group []string) slo.StreamID {
	id := source + uint64(r.objective)*0x9e3779b97f4a7c15
	for _, value := range group {
		id = id*31 + maphash.String(p.seed, value)
	}
	return slo.StreamID(id)
}

// hashMap does not depend on the order of the attributes: exporters do not keep one.
func (p *metricsProcessor) hashMap(attributes pcommon.Map) uint64 {
	sum := uint64(0)
	for name, value := range attributes.All() {
		var h maphash.Hash
		h.SetSeed(p.seed)
		h.WriteString(name)
		h.WriteByte(0)
		if value.Type() == pcommon.ValueTypeStr {
			h.WriteString(value.Str())
		} else {
			h.WriteByte(byte(value.Type()))
			h.WriteString(value.AsString())
		}
		sum += h.Sum64()
	}
	return sum
}
