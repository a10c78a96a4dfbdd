// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// describe copies what names a metric.
func describe(to, from pmetric.Metric) {
	to.SetName(from.Name())
	to.SetDescription(from.Description())
	to.SetUnit(from.Unit())
}

// numbers are the points of gauges and sums.
type numbers struct{}

func (numbers) observe(b *batch, dp pmetric.NumberDataPoint) *limit.Outcome {
	v := limit.Int(dp.IntValue())
	switch dp.ValueType() {
	case pmetric.NumberDataPointValueTypeDouble:
		v = limit.Float(dp.DoubleValue())
	case pmetric.NumberDataPointValueTypeEmpty:
		b.point.Malformed = true
	}
	return b.metric.Number(b.point, b.kind, v, b.monotonic, b.closed)
}

func setNumber(dp pmetric.NumberDataPoint, n limit.Number) {
	if n.IsFloat() {
		dp.SetDoubleValue(n.Float64())
	} else {
		dp.SetIntValue(n.Int64())
	}
}

func (numbers) restart(dp pmetric.NumberDataPoint, out *limit.Outcome) { setNumber(dp, out.Number) }
func (numbers) emit(dp pmetric.NumberDataPoint, e *limit.Emission)     { setNumber(dp, e.Number) }

func (numbers) exemplars(dp pmetric.NumberDataPoint) (pmetric.ExemplarSlice, bool) {
	return dp.Exemplars(), true
}

func (numbers) elsewhere(to, like pmetric.Metric) pmetric.NumberDataPoint {
	describe(to, like)
	if like.Type() == pmetric.MetricTypeGauge {
		return to.SetEmptyGauge().DataPoints().AppendEmpty()
	}
	sum := to.SetEmptySum()
	sum.SetIsMonotonic(like.Sum().IsMonotonic())
	sum.SetAggregationTemporality(like.Sum().AggregationTemporality())
	return sum.DataPoints().AppendEmpty()
}

// explicits are the points of histograms with explicit bounds.
type explicits struct{}

func (explicits) observe(b *batch, dp pmetric.HistogramDataPoint) *limit.Outcome {
	e := &b.explicit
	*e = limit.Explicit{Bounds: e.Bounds[:0], Counts: e.Counts[:0], Count: dp.Count()}
	for _, v := range dp.ExplicitBounds().All() {
		e.Bounds = append(e.Bounds, v)
	}
	for _, v := range dp.BucketCounts().All() {
		e.Counts = append(e.Counts, v)
	}
	e.Sum, e.HasSum = dp.Sum(), dp.HasSum()
	e.Min, e.HasMin = dp.Min(), dp.HasMin()
	e.Max, e.HasMax = dp.Max(), dp.HasMax()
	return b.metric.Explicit(b.point, b.kind, e, b.closed)
}

func setExplicit(dp pmetric.HistogramDataPoint, e *limit.Explicit) {
	dp.ExplicitBounds().FromRaw(e.Bounds)
	dp.BucketCounts().FromRaw(e.Counts)
	dp.SetCount(e.Count)
	dp.RemoveSum()
	dp.RemoveMin()
	dp.RemoveMax()
	if e.HasSum {
		dp.SetSum(e.Total())
	}
	if e.HasMin {
		dp.SetMin(e.Min)
	}
	if e.HasMax {
		dp.SetMax(e.Max)
	}
}

func (explicits) restart(dp pmetric.HistogramDataPoint, out *limit.Outcome) {
	setExplicit(dp, out.Explicit)
}
func (explicits) emit(dp pmetric.HistogramDataPoint, e *limit.Emission) { setExplicit(dp, e.Explicit) }

func (explicits) exemplars(dp pmetric.HistogramDataPoint) (pmetric.ExemplarSlice, bool) {
	return dp.Exemplars(), true
}

func (explicits) elsewhere(to, like pmetric.Metric) pmetric.HistogramDataPoint {
	describe(to, like)
	h := to.SetEmptyHistogram()
	h.SetAggregationTemporality(like.Histogram().AggregationTemporality())
	return h.DataPoints().AppendEmpty()
}

// exponentials are the points of exponential histograms.
type exponentials struct{}

func (exponentials) observe(b *batch, dp pmetric.ExponentialHistogramDataPoint) *limit.Outcome {
	e := &b.exponential
	*e = limit.Exponential{
		Positive: limit.Buckets{Counts: e.Positive.Counts[:0], Offset: dp.Positive().Offset()},
		Negative: limit.Buckets{Counts: e.Negative.Counts[:0], Offset: dp.Negative().Offset()},
		Scale:    dp.Scale(), ZeroCount: dp.ZeroCount(), ZeroThreshold: dp.ZeroThreshold(), Count: dp.Count(),
	}
	for _, v := range dp.Positive().BucketCounts().All() {
		e.Positive.Counts = append(e.Positive.Counts, v)
	}
	for _, v := range dp.Negative().BucketCounts().All() {
		e.Negative.Counts = append(e.Negative.Counts, v)
	}
	e.Sum, e.HasSum = dp.Sum(), dp.HasSum()
	e.Min, e.HasMin = dp.Min(), dp.HasMin()
	e.Max, e.HasMax = dp.Max(), dp.HasMax()
	return b.metric.Exponential(b.point, b.kind, e, b.closed)
}

func setExponential(dp pmetric.ExponentialHistogramDataPoint, e *limit.Exponential) {
	dp.SetScale(e.Scale)
	dp.SetZeroCount(e.ZeroCount)
	dp.SetZeroThreshold(e.ZeroThreshold)
	dp.SetCount(e.Count)
	dp.Positive().SetOffset(e.Positive.Offset)
	dp.Positive().BucketCounts().FromRaw(e.Positive.Counts)
	dp.Negative().SetOffset(e.Negative.Offset)
	dp.Negative().BucketCounts().FromRaw(e.Negative.Counts)
	dp.RemoveSum()
	dp.RemoveMin()
	dp.RemoveMax()
	if e.HasSum {
		dp.SetSum(e.Total())
	}
	if e.HasMin {
		dp.SetMin(e.Min)
	}
	if e.HasMax {
		dp.SetMax(e.Max)
	}
}

func (exponentials) restart(dp pmetric.ExponentialHistogramDataPoint, out *limit.Outcome) {
	setExponential(dp, out.Exponential)
}

func (exponentials) emit(dp pmetric.ExponentialHistogramDataPoint, e *limit.Emission) {
	setExponential(dp, e.Exponential)
}

func (exponentials) exemplars(dp pmetric.ExponentialHistogramDataPoint) (pmetric.ExemplarSlice, bool) {
	return dp.Exemplars(), true
}

func (exponentials) elsewhere(to, like pmetric.Metric) pmetric.ExponentialHistogramDataPoint {
	describe(to, like)
	h := to.SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(like.ExponentialHistogram().AggregationTemporality())
	return h.DataPoints().AppendEmpty()
}

// summaries are the points of summaries: count and sum add up, quantiles do not.
type summaries struct{}

func (summaries) observe(b *batch, dp pmetric.SummaryDataPoint) *limit.Outcome {
	e := &b.explicit
	*e = limit.Explicit{Bounds: e.Bounds[:0], Counts: e.Counts[:0], Count: dp.Count(), Sum: dp.Sum(), HasSum: true}
	return b.metric.Explicit(b.point, b.kind, e, b.closed)
}

func (summaries) restart(dp pmetric.SummaryDataPoint, out *limit.Outcome) {
	dp.SetCount(out.Explicit.Count)
	dp.SetSum(out.Explicit.Total())
}

func (summaries) emit(dp pmetric.SummaryDataPoint, e *limit.Emission) {
	dp.SetCount(e.Explicit.Count)
	dp.SetSum(e.Explicit.Total())
	dp.QuantileValues().RemoveIf(func(pmetric.SummaryDataPointValueAtQuantile) bool { return true })
}

func (summaries) exemplars(pmetric.SummaryDataPoint) (pmetric.ExemplarSlice, bool) {
	return pmetric.ExemplarSlice{}, false
}

func (summaries) elsewhere(to, like pmetric.Metric) pmetric.SummaryDataPoint {
	describe(to, like)
	return to.SetEmptySummary().DataPoints().AppendEmpty()
}
