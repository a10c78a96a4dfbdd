// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func counterValue(t *testing.T, tel *componenttest.Telemetry, name string, attrs ...string) int64 {
	t.Helper()
	got, err := tel.GetMetric("otelcol_" + name)
	if err != nil {
		return 0
	}
	want := make([]attribute.KeyValue, 0, len(attrs)/2)
	for i := 0; i+1 < len(attrs); i += 2 {
		want = append(want, attribute.String(attrs[i], attrs[i+1]))
	}
	set := attribute.NewSet(want...)
	var points []metricdata.DataPoint[int64]
	switch d := got.Data.(type) {
	case metricdata.Sum[int64]:
		points = d.DataPoints
	case metricdata.Gauge[int64]:
		points = d.DataPoints
	default:
		require.Fail(t, "unexpected kind of metric", name)
	}
	for _, p := range points {
		if p.Attributes.Equals(&set) {
			return p.Value
		}
	}
	return 0
}
