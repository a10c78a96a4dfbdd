// SPDX-License-Identifier: Apache-2.0

package datapoint

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// one is a metric with a single data point of each type there is.
var one = map[pmetric.MetricType]func(m pmetric.Metric){
	pmetric.MetricTypeGauge:                func(m pmetric.Metric) { m.SetEmptyGauge().DataPoints().AppendEmpty() },
	pmetric.MetricTypeSum:                  func(m pmetric.Metric) { m.SetEmptySum().DataPoints().AppendEmpty() },
	pmetric.MetricTypeHistogram:            func(m pmetric.Metric) { m.SetEmptyHistogram().DataPoints().AppendEmpty() },
	pmetric.MetricTypeExponentialHistogram: func(m pmetric.Metric) { m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty() },
	pmetric.MetricTypeSummary:              func(m pmetric.Metric) { m.SetEmptySummary().DataPoints().AppendEmpty() },
}

func TestCountIsThatOfTheMetricsType(t *testing.T) {
	all := pmetric.NewMetrics()
	metrics := all.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	assert.Zero(t, Count(metrics.AppendEmpty()), "a metric without data")
	for kind, add := range one {
		m := metrics.AppendEmpty()
		add(m)
		require.Equal(t, kind, m.Type())
		assert.Equal(t, 1, Count(m), kind.String())
	}
	sum := 0
	for _, m := range metrics.All() {
		sum += Count(m)
	}
	assert.Equal(t, all.DataPointCount(), sum, "every type is counted that pdata counts")
}

func TestValueIsANumberOfEitherType(t *testing.T) {
	dp := pmetric.NewNumberDataPoint()
	assert.Zero(t, Value(dp), "no value")
	dp.SetIntValue(-3)
	assert.Equal(t, -3.0, Value(dp))
	dp.SetDoubleValue(0.5)
	assert.Equal(t, 0.5, Value(dp))
	dp.SetDoubleValue(math.Inf(1))
	assert.True(t, math.IsInf(Value(dp), 1))
}

func TestReadingAllocatesNothing(t *testing.T) {
	m := pmetric.NewMetric()
	m.SetEmptySum().DataPoints().AppendEmpty().SetIntValue(1)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if Count(m) != 1 || Value(m.Sum().DataPoints().At(0)) != 1 {
			t.Error("wrong")
		}
	}))
}
