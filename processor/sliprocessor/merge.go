// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// eventsMetric is what the books of other collectors send.
const eventsMetric = "slo.events"

// merged is a point of another book, checked and waiting for the batch to be delivered.
type merged struct {
	objective      int
	at             int64
	counts         slo.Counts
	id             uint64
	known          bool   // id is one
	values, traces [2]int // ranges of the judge's arenas
}

func (p *metricsProcessor) merge(j *judge, md pmetric.Metrics) {
	now := p.clock()
	for _, rm := range md.ResourceMetrics().All() {
		// Our own book must not come back into itself.
		id := text(rm.Resource().Attributes(), otelattr.ServiceInstanceID)
		if id != "" && id == p.instance {
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
				p.mergeMetric(j, id, m)
			}
		}
		if entered {
			j.leave()
		}
	}
}

func (p *metricsProcessor) mergeMetric(j *judge, instance string, m pmetric.Metric) {
	if m.Type() != pmetric.MetricTypeSum {
		j.settle(badPoint, false)
		return
	}
	deltas := m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityDelta
	for _, dp := range m.Sum().DataPoints().All() {
		why := cumulative
		if deltas {
			why = p.mergePoint(j, instance, dp)
		}
		j.settle(why, true)
	}
}

func (p *metricsProcessor) mergePoint(j *judge, instance string, dp pmetric.NumberDataPoint) reason {
	name := text(dp.Attributes(), otelattr.SLOName)
	if name == "" {
		return badPoint
	}
	index, known := p.engine.Objective(name)
	if !known || index >= len(j.plan.objectives) {
		return unknownObjective
	}
	weight, ok := slo.WeightOf(datapoint.Value(dp))
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
	m := merged{objective: index, at: int64(at), counts: counts}
	m.id, m.known = p.identify(instance, dp)
	m.values[0] = len(j.arena)
	for _, attribute := range j.plan.objectives[index].GroupBy {
		j.arena = append(j.arena, text(dp.Attributes(), otelattr.SLOGroup+attribute))
	}
	m.values[1] = len(j.arena)
	m.traces[0] = len(j.traces)
	for _, x := range dp.Exemplars().All() {
		if counts.Bad > 0 && !x.TraceID().IsEmpty() && len(j.traces)-m.traces[0] < slo.AlertExemplars {
			j.traces = append(j.traces, slo.TraceID(x.TraceID()))
		}
	}
	m.traces[1] = len(j.traces)
	j.merges = append(j.merges, m)
	return accepted
}

// applyMerged counts the points of a delivered batch, each once: a sender that got no answer sends them again.
func (p *metricsProcessor) applyMerged(j *judge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range j.merges {
		m := &j.merges[i]
		if m.known && !p.freshen(m) {
			j.outcome.counted--
			j.outcome.refused[repeated]++
			continue
		}
		entry := j.tally.Entry(m.objective, j.arena[m.values[0]:m.values[1]])
		if !entry.AddCounts(j.tally.Slice(m.at), m.at, m.counts) {
			j.outcome.counted--
			j.outcome.refused[spread]++
			continue
		}
		for _, trace := range j.traces[m.traces[0]:m.traces[1]] {
			entry.AddExemplar(m.at, trace)
		}
		j.outcome.good += int64(m.counts.GoodN)
		j.outcome.bad += int64(m.counts.BadN)
	}
}

// freshen takes out of a point what was counted before, and reports whether anything is left.
func (p *metricsProcessor) freshen(m *merged) bool {
	fresh := p.repeats.fresh(m.id, m.counts.Total())
	if m.counts.Bad > 0 {
		m.counts.Bad, m.counts.BadN = fresh, min(m.counts.BadN, seen(fresh))
	} else {
		m.counts.Good, m.counts.GoodN = fresh, min(m.counts.GoodN, seen(fresh))
	}
	return fresh > 0
}

// text is an attribute's value as text; empty when it is absent.
func text(attributes pcommon.Map, name string) string {
	value, ok := attributes.Get(name)
	if !ok {
		return ""
	}
	return value.AsString()
}

// seen is how many events a weight stands for at least: the sender does not say how many it saw.
func seen(w slo.Weight) uint32 { return uint32(min((w+slo.One-1)/slo.One, 1<<32-1)) }
