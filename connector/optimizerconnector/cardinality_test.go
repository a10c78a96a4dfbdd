// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// folds is a request with a folded point of every kind of metric, one of a series folded whole, and points that only look alike.
func folds() pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "frontend")
	metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
	add := func(name string) pmetric.Metric {
		m := metrics.AppendEmpty()
		m.SetName(name)
		return m
	}
	fold := func(a pcommon.Map) { a.PutStr("user", "otel.cardinality_overflow") }
	fold(add("gauge").SetEmptyGauge().DataPoints().AppendEmpty().Attributes())
	fold(add("sum").SetEmptySum().DataPoints().AppendEmpty().Attributes())
	fold(add("histogram").SetEmptyHistogram().DataPoints().AppendEmpty().Attributes())
	fold(add("exponential").SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Attributes())
	fold(add("summary").SetEmptySummary().DataPoints().AppendEmpty().Attributes())
	add("whole").SetEmptySum().DataPoints().AppendEmpty().Attributes().PutBool("otel.metric.overflow", true)
	alike := add("alike").SetEmptySum().DataPoints().AppendEmpty().Attributes()
	alike.PutBool("otel.metric.overflow", false)
	alike.PutStr("user", "otel.cardinality_overflow ")
	alike.PutInt("n", 1)
	add("empty")
	fold(md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptySum().DataPoints().AppendEmpty().Attributes())
	return md
}

func TestFoldedPointsOfEveryKindAreTold(t *testing.T) {
	a := newCardinalityAdapter(surroundings{cfg: createDefaultConfig().(*Config)}).(*cardinalityAdapter)
	md := folds()
	a.readMetrics(md)
	got := map[string]string{}
	for _, c := range a.Advance(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) {
		require.NoError(t, c.Envelope.Validate())
		assert.Equal(t, "optimization.telemetry.cardinality", c.Envelope.Kind)
		assert.Equal(t, "frontend", c.Envelope.Target.Service)
		got[c.Envelope.Action.Params["metric"]] = c.Envelope.Action.Params["attribute"]
	}
	assert.Equal(t, map[string]string{"gauge": "user", "sum": "user", "histogram": "user", "exponential": "user", "summary": "user", "whole": ""}, got)
	assert.Equal(t, 6, a.Fill().Used)
	assert.Zero(t, testing.AllocsPerRun(20, func() { a.readMetrics(md) }))

	data, err := a.Snapshot()
	require.NoError(t, err)
	again := newCardinalityAdapter(surroundings{cfg: createDefaultConfig().(*Config)})
	require.NoError(t, again.Restore(data))
	assert.Equal(t, 6, again.Fill().Used)
}
