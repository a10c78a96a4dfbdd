// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// eventsMetric is what the books of other collectors send.
const eventsMetric = "slo.events"

func (p *metricsProcessor) merge(j *judge, md pmetric.Metrics) {
	now := p.clock()
	for _, rm := range md.ResourceMetrics().All() {
		// Our own book must not come back into itself.
		if id := text(rm.Resource().Attributes(), otelattr.ServiceInstanceID); id != "" && id == p.instance {
			continue
		}
		entered := false
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if m.Name() != eventsMetric {
					continue
				}
				if !entered {
					entered = true
					j.enter(rm.Resource().Attributes(), &index{}, now, true)
				}
				p.mergeMetric(j, m)
			}
		}
		if entered {
			j.leave()
		}
	}
}

func (p *metricsProcessor) mergeMetric(j *judge, m pmetric.Metric) {
	if m.Type() != pmetric.MetricTypeSum {
		j.settle(badPoint, false)
		return
	}
	deltas := m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityDelta
	for _, dp := range m.Sum().DataPoints().All() {
		why := cumulative
		if deltas {
			why = p.mergePoint(j, dp)
		}
		j.settle(why, true)
	}
}

func (p *metricsProcessor) mergePoint(j *judge, dp pmetric.NumberDataPoint) reason {
	name := text(dp.Attributes(), otelattr.SLOName)
	if name == "" {
		return badPoint
	}
	index, known := p.engine.Objective(name)
	if !known {
		return unknownObjective
	}
	weight, ok := slo.WeightOf(pointValue(dp))
	if !ok || dp.Flags().NoRecordedValue() {
		return badPoint
	}
	counts := slo.Counts{}
	switch n := seen(weight); text(dp.Attributes(), otelattr.SLOVerdict) {
	case "good":
		counts.Good, counts.GoodN = weight, n
	case "bad":
		counts.Bad, counts.BadN = weight, n
	default:
		return badPoint
	}
	// A slice's events lie before its end.
	at := dp.StartTimestamp()
	if why := j.admit(at); why != accepted {
		return why
	}
	j.values = j.values[:0]
	for _, attribute := range j.plan.objectives[index].GroupBy {
		j.values = append(j.values, text(dp.Attributes(), otelattr.SLOGroup+attribute))
	}
	if !j.tally.Entry(index, j.values).AddCounts(j.tally.Slice(int64(at)), int64(at), counts) {
		return spread
	}
	j.outcome.good += int64(counts.GoodN)
	j.outcome.bad += int64(counts.BadN)
	return accepted
}

// text is an attribute's value as text; empty when it is absent.
func text(attributes pcommon.Map, name string) string {
	value, ok := attributes.Get(name)
	if !ok {
		return ""
	}
	return value.AsString()
}

func pointValue(dp pmetric.NumberDataPoint) float64 {
	if dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(dp.IntValue())
	}
	return dp.DoubleValue()
}

// seen is how many events a weight stands for at least: the sender does not say how many it saw.
func seen(w slo.Weight) uint32 { return uint32(min((w+slo.One-1)/slo.One, 1<<32-1)) }
