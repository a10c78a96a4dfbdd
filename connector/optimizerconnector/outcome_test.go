// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// eventsAt is one slice of an objective's events as the slo connector sends it.
func eventsAt(at time.Time, good, bad float64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "checkout")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("slo.events")
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	for verdict, n := range map[string]float64{"good": good, "bad": bad} {
		dp := sum.DataPoints().AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at.Add(30 * time.Second)))
		dp.SetDoubleValue(n)
		dp.Attributes().PutStr("slo.name", "availability")
		dp.Attributes().PutStr("slo.verdict", verdict)
	}
	return md
}

func TestChangeIsJudgedFromTheEventsOfObjectives(t *testing.T) {
	r := newRig(t, nil, nil)
	for i := range 70 {
		at := t0.Add(time.Duration(i) * 30 * time.Second)
		if i == 30 {
			r.consume(changeLog("d1", "succeeded", at))
		}
		bad := 1.0
		if i >= 30 {
			bad = 100
		}
		require.NoError(t, r.traces.ConsumeMetrics(t.Context(), eventsAt(at, 1000-bad, bad)))
		for _, poison := range []float64{math.NaN(), math.Inf(1), -5, 1e300} {
			require.NoError(t, r.traces.ConsumeMetrics(t.Context(), eventsAt(at, poison, poison)))
		}
	}
	got := r.signals()
	require.Len(t, got, 1)
	assert.Equal(t, signal.KindOutcome, got[0].Kind)
	assert.Equal(t, signal.ResultRefuted, got[0].Result.Value)
	assert.Equal(t, []string{"d1"}, got[0].CausedBy)
	assert.InDelta(t, 0.099, got[0].Evidence.Statistics["difference"], 1e-9)
}
