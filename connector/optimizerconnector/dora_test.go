// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadatatest"
)

func TestDeploymentsAreScoredFromChangesAndPages(t *testing.T) {
	r := newRig(t, nil, nil)
	r.consume(changeLog("d1", "succeeded", t0))
	ticket := func(_, attrs pcommon.Map, _ plog.LogRecord) {
		attrs.PutStr("slo.alert.severity", "ticket")
		attrs.PutStr("slo.alert", "ticket-6h")
	}
	r.consume(alertLog("firing", t0.Add(time.Minute), ticket))
	r.consume(alertLog("firing", t0.Add(2*time.Minute), nil))
	r.consume(alertLog("firing", t0.Add(3*time.Minute), nil))
	r.consume(alertLog("resolved", t0.Add(12*time.Minute), nil))
	back := changeLog("d2", "succeeded", t0.Add(20*time.Minute))
	attrs := back.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes()
	attrs.PutStr("change.action", "rollback")
	attrs.PutStr("service.version", "1")
	r.consume(back)
	r.consume(changeLog("d3", "failed", t0.Add(30*time.Minute)))
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), spanAt(t0.Add(31*time.Minute))))

	assert.Equal(t, map[string]int64{"failed": 2, "reverted": 1}, r.counts("otelcol_optimizer_deployments"))
	ignore := metricdatatest.IgnoreTimestamp()
	metadatatest.AssertEqualOptimizerDeploymentFailureRate(t, r.tel, []metricdata.DataPoint[float64]{{Value: 1}}, ignore)
	metadatatest.AssertEqualOptimizerDeploymentRevertRate(t, r.tel, []metricdata.DataPoint[float64]{{Value: 0.5}}, ignore)
	for name, want := range map[string]float64{"otelcol_optimizer_time_to_detect": 120, "otelcol_optimizer_time_to_mitigate": 600} {
		m, err := r.tel.GetMetric(name)
		require.NoError(t, err)
		points := m.Data.(metricdata.Histogram[float64]).DataPoints
		require.Len(t, points, 1)
		assert.EqualValues(t, 1, points[0].Count, name)
		assert.InDelta(t, want, points[0].Sum, 0, name)
	}
}
