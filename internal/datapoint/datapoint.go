// SPDX-License-Identifier: Apache-2.0

// Package datapoint reads what the adapters of all kinds read of a metric's data points.
package datapoint

import "go.opentelemetry.io/collector/pdata/pmetric"

// Count returns how many data points a metric has, whatever its type; 0 when it has none.
func Count(m pmetric.Metric) int {
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
	case pmetric.MetricTypeEmpty:
	}
	return 0
}

// Value returns the number of a point of a gauge or a sum. It may be NaN or infinite; a point without a value has 0.
func Value(dp pmetric.NumberDataPoint) float64 {
	if dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(dp.IntValue())
	}
	return dp.DoubleValue()
}
