// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// hostile makes requests that no instrumentation makes.
func hostile(now time.Time) map[string]pmetric.Metrics {
	all := map[string]pmetric.Metrics{}
	in := func(name, metric string) pmetric.Metric {
		md := pmetric.NewMetrics()
		rm := md.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", "hostile\xff")
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(metric)
		all[name] = md
		return m
	}
	counter := func(name, metric string, kind pmetric.AggregationTemporality) pmetric.NumberDataPointSlice {
		sum := in(name, metric).SetEmptySum()
		sum.SetIsMonotonic(true)
		sum.SetAggregationTemporality(kind)
		return sum.DataPoints()
	}
	stamp := func(dp interface {
		SetStartTimestamp(pcommon.Timestamp)
		SetTimestamp(pcommon.Timestamp)
	},
	) {
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Second)))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
	}
	for _, kind := range []pmetric.AggregationTemporality{delta, cumulative, pmetric.AggregationTemporalityUnspecified, 7} {
		points := func(name string, n int, fill func(int, pmetric.NumberDataPoint)) {
			dps := counter(name+" "+kind.String()+strconv.Itoa(int(kind)), "m", kind)
			for i := range n {
				dp := dps.AppendEmpty()
				stamp(dp)
				dp.SetIntValue(int64(i))
				dp.Attributes().PutStr("id", strconv.Itoa(i))
				fill(i, dp)
			}
		}
		points("5,000 attributes", 2, func(_ int, dp pmetric.NumberDataPoint) {
			for k := range 5_000 {
				dp.Attributes().PutInt("k"+strconv.Itoa(k), 1)
			}
		})
		points("1 MB values and keys", 20, func(i int, dp pmetric.NumberDataPoint) {
			dp.Attributes().PutStr("id", strings.Repeat(strconv.Itoa(i), 1<<20))
			dp.Attributes().PutStr(strings.Repeat(strconv.Itoa(i), 1<<18), "")
		})
		points("no UTF-8", 50, func(i int, dp pmetric.NumberDataPoint) {
			dp.Attributes().PutStr("id", string([]byte{0xff, byte(i), 0xc3}))
			dp.Attributes().PutStr("\xfe", "\xff\xfe"+strconv.Itoa(i))
			dp.Attributes().PutStr("", strconv.Itoa(i))
		})
		points("nested values", 50, func(i int, dp pmetric.NumberDataPoint) {
			v := dp.Attributes().PutEmpty("id")
			for range 200 {
				v = v.SetEmptySlice().AppendEmpty()
			}
			v.SetInt(int64(i))
			dp.Attributes().PutEmpty("nothing")
			dp.Attributes().PutDouble("nan", math.NaN())
		})
		points("numbers", 50, func(i int, dp pmetric.NumberDataPoint) {
			dp.SetDoubleValue([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, math.MaxFloat64, math.SmallestNonzeroFloat64}[i%6])
		})
		points("integers", 50, func(i int, dp pmetric.NumberDataPoint) {
			dp.SetIntValue([]int64{math.MaxInt64, math.MinInt64, -1}[i%3])
		})
		points("no values", 50, func(_ int, dp pmetric.NumberDataPoint) {
			pmetric.NewNumberDataPoint().CopyTo(dp)
		})
		points("times", 60, func(i int, dp pmetric.NumberDataPoint) {
			times := []pcommon.Timestamp{0, 1, math.MaxInt64, math.MaxUint64, pcommon.NewTimestampFromTime(now.Add(24 * time.Hour))}
			dp.SetTimestamp(times[i%5])
			dp.SetStartTimestamp(times[i/5%5])
		})
		points("the same point again", 60, func(i int, dp pmetric.NumberDataPoint) {
			dp.Attributes().PutStr("id", strconv.Itoa(i%3))
			dp.SetIntValue(5)
		})
		points("other flags", 60, func(_ int, dp pmetric.NumberDataPoint) { dp.SetFlags(math.MaxUint32) })

		h := in("histograms "+kind.String()+strconv.Itoa(int(kind)), "h").SetEmptyHistogram()
		h.SetAggregationTemporality(kind)
		x := in("exponential "+kind.String()+strconv.Itoa(int(kind)), "x").SetEmptyExponentialHistogram()
		x.SetAggregationTemporality(kind)
		for i := range 200 {
			hp, xp := h.DataPoints().AppendEmpty(), x.DataPoints().AppendEmpty()
			stamp(hp)
			stamp(xp)
			hp.Attributes().PutStr("id", strconv.Itoa(i%9))
			xp.Attributes().PutStr("id", strconv.Itoa(i%9))
			hp.ExplicitBounds().FromRaw([][]float64{nil, {1}, {2, 1}, {math.NaN()}, {math.Inf(-1), 0, math.Inf(1)}, make([]float64, 1000)}[i%6])
			hp.BucketCounts().FromRaw([][]uint64{nil, {1, 2}, {math.MaxUint64, 1, 1}, {5}, make([]uint64, 1001)}[i%5])
			hp.SetCount([]uint64{0, 3, math.MaxUint64}[i%3])
			hp.SetSum([]float64{math.NaN(), math.Inf(1), -1, 3, math.MaxFloat64}[i%5])
			hp.SetMin(math.NaN())
			hp.SetMax(math.Inf(-1))
			xp.SetScale([]int32{20, -10, -11, 21, math.MaxInt32, math.MinInt32, 0}[i%7])
			offsets := []int32{0, math.MaxInt32, math.MinInt32, -1075, 1024, 1 << 30, -1 << 30}
			xp.Positive().SetOffset(offsets[i/7%7])
			xp.Negative().SetOffset(offsets[i/3%7])
			xp.Positive().BucketCounts().FromRaw([][]uint64{nil, {1}, {0, 0, 1}, {math.MaxUint64}, make([]uint64, 5000)}[i%5])
			xp.Negative().BucketCounts().FromRaw([][]uint64{nil, {1}, {1, 0, 1}}[i%3])
			count := uint64(0)
			for _, side := range []pcommon.UInt64Slice{xp.Positive().BucketCounts(), xp.Negative().BucketCounts()} {
				for _, n := range side.All() {
					count += n
				}
			}
			xp.SetCount(count + uint64(i%2))
			xp.SetZeroCount(uint64(i % 2))
			xp.SetZeroThreshold([]float64{0, math.NaN(), 1e300, -1, math.Inf(1)}[i/2%5])
			xp.SetSum([]float64{math.NaN(), 1, math.MaxFloat64}[i%3])
		}
	}
	names := pmetric.NewMetrics()
	for i := range 500 {
		rm := names.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", strings.Repeat("s", i*100))
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(strings.Repeat("n", i*100))
		for k := range 5 {
			dp := m.SetEmptyGauge().DataPoints().AppendEmpty()
			dp.SetDoubleValue(float64(k))
			dp.Attributes().PutInt("id", int64(k))
		}
	}
	all["names"] = names
	summary := in("summaries", "s").SetEmptySummary().DataPoints()
	for i := range 100 {
		dp := summary.AppendEmpty()
		stamp(dp)
		dp.Attributes().PutInt("id", int64(i))
		dp.SetCount(math.MaxUint64)
		dp.SetSum([]float64{math.NaN(), math.Inf(1), 1}[i%3])
		dp.QuantileValues().AppendEmpty().SetQuantile(math.NaN())
	}
	all["a metric without points"] = pmetric.NewMetrics()
	all["a metric without points"].ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	return all
}

// Whatever one service sends, in whatever order and with a clock that wanders: nothing fails, every point is accounted for, what leaves are
// numbers, and another service's totals are what they would have been.
func TestNothingThatIsSentHarmsOthers(t *testing.T) {
	limits := func(c *Config) {
		c.Window, c.Limits.Attribute, c.Limits.Series, c.Limits.MemoryMiB = 5*time.Minute, 3, 8, 64
	}
	clean, dirty := newRig(t, limits), newRig(t, limits)
	good := func(g *rig, n int) {
		for range n {
			g.now = g.now.Add(time.Second)
			g.send(sums("shop", "m", cumulative, time.Unix(1_700_000_000, 0), g.now,
				labelled{g.now.Unix() % 1e6, map[string]string{"id": "a", "route": "/"}}, labelled{g.now.Unix() % 1e6, map[string]string{"id": fmt.Sprint("x", g.now.Unix()%7), "route": "/"}}))
		}
	}
	good(clean, 10)
	good(dirty, 10)
	now, ledger := dirty.now, dirty.out
	dirty.out = nil
	all := hostile(now)
	t.Logf("%d kinds of requests", len(all))
	for name, md := range all {
		for round, at := range []time.Duration{0, 30 * time.Second, 2 * time.Minute, 0} {
			dirty.now = now.Add(at)
			again := pmetric.NewMetrics()
			md.CopyTo(again)
			received := again.DataPointCount()
			require.NoError(t, dirty.proc.engine.consume(t.Context(), again, consumertest.NewNop()), "%s, round %d", name, round)
			tally := dirty.proc.engine.batch.tally
			assert.Equal(t, int64(received), tally.received, name)
			require.Equal(t, tally.sent, int64(again.DataPointCount()), name)
			mergedAreNumbers(t, name, again)
		}
	}
	stats := dirty.proc.engine.limiter.Stats()
	assert.LessOrEqual(t, stats.Bytes, int64(64<<20))
	dirty.now, dirty.out = now, ledger
	good(clean, 50)
	good(dirty, 50)
	assert.Equal(t, clean.out.totals(false, "route"), dirty.out.totals(false, "route"))
	assert.Empty(t, dirty.out.faults)
}

// mergedAreNumbers tells whether every point that the limiter wrote holds finite numbers.
func mergedAreNumbers(t *testing.T, name string, md pmetric.Metrics) {
	t.Helper()
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeSum:
					for _, dp := range m.Sum().DataPoints().All() {
						if v, ok := dp.Attributes().Get("id"); ok && v.AsString() == "otel.cardinality_overflow" && !dp.Flags().NoRecordedValue() {
							require.False(t, math.IsNaN(dp.DoubleValue()) || math.IsInf(dp.DoubleValue(), 0), name)
						}
					}
				case pmetric.MetricTypeExponentialHistogram:
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						if v, ok := dp.Attributes().Get("id"); ok && v.AsString() == "otel.cardinality_overflow" && !dp.Flags().NoRecordedValue() {
							require.LessOrEqual(t, dp.Positive().BucketCounts().Len(), 5000, name)
							require.False(t, math.IsNaN(dp.Sum()), name)
						}
					}
				}
			}
		}
	}
}
