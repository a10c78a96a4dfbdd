// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"context"
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// histogram is a data point of either kind of histogram.
type histogram interface {
	split(threshold float64) (slo.Split, bool)
	Count() uint64
	StartTimestamp() pcommon.Timestamp
	Timestamp() pcommon.Timestamp
	Attributes() pcommon.Map
	Flags() pmetric.DataPointFlags
	Exemplars() pmetric.ExemplarSlice
	point() any
}

type (
	explicit    struct{ pmetric.HistogramDataPoint }
	exponential struct {
		pmetric.ExponentialHistogramDataPoint
	}
)

func (h explicit) point() any    { return h.HistogramDataPoint }
func (h exponential) point() any { return h.ExponentialHistogramDataPoint }

func (h explicit) split(threshold float64) (slo.Split, bool) {
	return slo.SplitExplicit(h.ExplicitBounds().AsRaw(), h.BucketCounts().AsRaw(), threshold)
}

func (h exponential) split(threshold float64) (slo.Split, bool) {
	return slo.SplitExponential(h.Scale(),
		slo.ExponentialBuckets{Offset: h.Positive().Offset(), Counts: h.Positive().BucketCounts().AsRaw()},
		slo.ExponentialBuckets{Offset: h.Negative().Offset(), Counts: h.Negative().BucketCounts().AsRaw()},
		h.ZeroCount(), h.ZeroThreshold(), threshold)
}

func (p *metricsProcessor) readHistogram(
	ctx context.Context, j *judge, at *place, rules []*metricRule, dp histogram, temporality pmetric.AggregationTemporality,
) {
	j.readEvent(dp.Attributes())
	read := func(r *metricRule) (slo.Point, reason) {
		point := slo.Point{Cumulative: temporality == pmetric.AggregationTemporalityCumulative}
		switch {
		case r.part != partHistogram:
			return point, wrongType
		case temporality == pmetric.AggregationTemporalityUnspecified:
			return point, unknownTemporality
		case dp.Flags().NoRecordedValue():
			return point, noRecordedValue
		}
		threshold, known := r.thresholdIn(at.metric.Unit())
		if !known {
			return point, unknownUnit
		}
		split, ok := dp.split(threshold)
		if !ok || split.Total != float64(dp.Count()) {
			return point, badHistogram
		}
		point.Split = split
		return point, accepted
	}
	p.readPoint(ctx, j, at, rules, dp.point(), dp.StartTimestamp(), dp.Timestamp(), dp.Attributes(), math.NaN(), dp.Exemplars(), read)
}

// units are those of durations in the semantic conventions, in seconds.
var units = map[string]float64{"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60, "h": 3600}

// thresholdIn is the rule's threshold in the unit of a metric. A threshold without a unit is in the metric's, whatever that is.
func (r *metricRule) thresholdIn(unit string) (float64, bool) {
	if r.latency == 0 {
		return r.metric.Threshold, true
	}
	seconds, known := units[unit]
	return float64(r.latency) / 1e9 / seconds, known
}

// keepTraces keeps the traces of the exemplars that a histogram's threshold, or a counter of bad events, says are bad.
func (j *judge) keepTraces(r *metricRule, exemplars pmetric.ExemplarSlice) [2]int {
	from := len(j.traces)
	for _, x := range exemplars.All() {
		bad := r.part == partOfRatio && r.metric.Bad != nil
		if r.part == partHistogram {
			value := x.DoubleValue()
			if x.ValueType() == pmetric.ExemplarValueTypeInt {
				value = float64(x.IntValue())
			}
			threshold, _ := r.thresholdIn(j.unit)
			bad = value > threshold
		}
		if bad && !x.TraceID().IsEmpty() {
			j.traces = append(j.traces, slo.TraceID(x.TraceID()))
		}
	}
	return [2]int{from, len(j.traces)}
}
