// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/slo"
)

const (
	delta      = pmetric.AggregationTemporalityDelta
	runningSum = pmetric.AggregationTemporalityCumulative
)

// request is one export of a service.
type request struct{ pmetric.Metrics }

func newRequest() request {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "checkout")
	rm.Resource().Attributes().PutStr("service.instance.id", "a")
	rm.ScopeMetrics().AppendEmpty()
	return request{md}
}

func (r request) metric(name string) pmetric.Metric {
	m := r.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	m.SetName(name)
	return m
}

func (r request) sum(name string, temporality pmetric.AggregationTemporality, start, at time.Time, value float64, attributes ...string) pmetric.NumberDataPoint {
	sum := r.metric(name).SetEmptySum()
	sum.SetAggregationTemporality(temporality)
	sum.SetIsMonotonic(true)
	dp := sum.DataPoints().AppendEmpty()
	dp.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
	dp.SetDoubleValue(value)
	for i := 0; i+1 < len(attributes); i += 2 {
		dp.Attributes().PutStr(attributes[i], attributes[i+1])
	}
	return dp
}

func (r request) gauge(name string, at time.Time, value float64) {
	dp := r.metric(name).SetEmptyGauge().DataPoints().AppendEmpty()
	dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
	dp.SetDoubleValue(value)
}

func (r request) histogram(name, unit string, temporality pmetric.AggregationTemporality, at time.Time, bounds []float64, counts ...uint64) pmetric.HistogramDataPoint {
	m := r.metric(name)
	m.SetUnit(unit)
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(temporality)
	dp := h.DataPoints().AppendEmpty()
	dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
	dp.ExplicitBounds().FromRaw(bounds)
	dp.BucketCounts().FromRaw(counts)
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	dp.SetCount(total)
	return dp
}

func ratio(m slo.MetricIndicator) slo.Objective {
	return slo.Objective{Name: "o", Indicator: slo.Indicator{Kind: slo.IndicatorRatio, Metric: &m}}
}

func metricsOver(t testing.TB, objectives ...slo.Objective) (*metricsProcessor, *slo.Engine) {
	engine := testEngine(t, objectives...)
	p := newMetricsProcessor(newTestBase(t, &Config{Mode: ModeCount, MaxStreams: 1000}, engine), consumertest.NewNop())
	p.clock = func() time.Time { return epoch.Add(24 * time.Hour) }
	return p, engine
}

func send(t testing.TB, p *metricsProcessor, requests ...request) {
	t.Helper()
	for _, r := range requests {
		require.NoError(t, p.ConsumeMetrics(t.Context(), r.Metrics))
	}
}

func booked(engine *slo.Engine) (good, bad float64) {
	for _, s := range engine.Statuses() {
		good, bad = good+s.Good, bad+s.Bad
	}
	return good, bad
}

func at(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }

func TestRatiosOfCounters(t *testing.T) {
	bad := ratio(slo.MetricIndicator{Bad: &slo.MetricSelector{Name: "errors"}, Total: &slo.MetricSelector{Name: "requests"}})
	good := ratio(slo.MetricIndicator{Good: &slo.MetricSelector{Name: "ok"}, Total: &slo.MetricSelector{Name: "requests"}})
	itself := ratio(slo.MetricIndicator{
		Good:  &slo.MetricSelector{Name: "requests", Match: []slo.Match{{Attribute: "code", Regex: "[123].."}}},
		Total: &slo.MetricSelector{Name: "requests", Where: `attributes["code"] != "ignored"`},
	})
	one := func(build func(r request)) request {
		r := newRequest()
		build(r)
		return r
	}
	pair := func(minute int, temporality pmetric.AggregationTemporality, part string, n, total float64) request {
		return one(func(r request) {
			r.sum(part, temporality, epoch.Add(-time.Hour), at(minute), n)
			r.sum("requests", temporality, epoch.Add(-time.Hour), at(minute), total)
		})
	}
	for name, c := range map[string]struct {
		objective slo.Objective
		requests  []request
		good, bad float64
	}{
		"deltas add up":             {bad, []request{pair(0, delta, "errors", 1, 10), pair(1, delta, "errors", 2, 10)}, 17, 3},
		"good deltas":               {good, []request{pair(0, delta, "ok", 9, 10)}, 9, 1},
		"a running total is a base": {bad, []request{pair(0, runningSum, "errors", 100, 1000)}, 0, 0},
		"its growth counts":         {bad, []request{pair(0, runningSum, "errors", 100, 1000), pair(1, runningSum, "errors", 103, 1020)}, 17, 3},
		"a repeated point does not count twice": {bad, []request{
			pair(0, runningSum, "errors", 0, 0), pair(1, runningSum, "errors", 1, 10), pair(1, runningSum, "errors", 1, 10),
		}, 9, 1},
		"a total that fell was restarted": {bad, []request{
			pair(0, runningSum, "errors", 100, 1000), pair(1, runningSum, "errors", 1, 10), pair(2, runningSum, "errors", 1, 15),
		}, 14, 1},
		"a counter of errors that appears with the first error": {bad, []request{
			one(func(r request) { r.sum("requests", runningSum, epoch.Add(-time.Hour), at(0), 10) }),
			one(func(r request) { r.sum("requests", runningSum, epoch.Add(-time.Hour), at(1), 20) }),
			pair(2, runningSum, "errors", 2, 30),
		}, 18, 2},
		"sides in requests of their own": {bad, []request{
			pair(0, runningSum, "errors", 0, 0),
			one(func(r request) { r.sum("requests", runningSum, epoch.Add(-time.Hour), at(1), 10) }),
			one(func(r request) { r.sum("errors", runningSum, epoch.Add(-time.Hour), at(1), 4) }),
		}, 6, 4},
		"a good side that never came is waited for, and then bad": {good, []request{
			one(func(r request) { r.sum("requests", delta, at(-1), at(0), 10) }),
			one(func(r request) { r.sum("requests", delta, at(0), at(3), 5) }),
		}, 0, 10},
		"a counter judged by its own points": {itself, []request{
			one(func(r request) {
				r.sum("requests", delta, at(-1), at(0), 90, "code", "200")
				r.sum("requests", delta, at(-1), at(0), 10, "code", "500")
				r.sum("requests", delta, at(-1), at(0), 7, "code", "ignored")
			}),
		}, 90, 10},
		"other metrics do not matter": {bad, []request{one(func(r request) { r.sum("x", delta, at(-1), at(0), 5) })}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, engine := metricsOver(t, c.objective)
			send(t, p, c.requests...)
			g, b := booked(engine)
			assert.Equal(t, [2]float64{c.good, c.bad}, [2]float64{g, b})
		})
	}
}

func TestABatchThatWasRefusedCountsOnce(t *testing.T) {
	p, engine := metricsOver(t, ratio(slo.MetricIndicator{Bad: &slo.MetricSelector{Name: "errors"}, Total: &slo.MetricSelector{Name: "requests"}}))
	build := func(minute int, n float64) request {
		r := newRequest()
		r.sum("errors", runningSum, epoch, at(minute), n)
		r.sum("requests", runningSum, epoch, at(minute), 10*n)
		return r
	}
	send(t, p, build(0, 1))
	p.next = consumertest.NewErr(consumererror.NewRetryableError(assert.AnError))
	require.Error(t, p.ConsumeMetrics(t.Context(), build(1, 3).Metrics))
	p.next = consumertest.NewNop()
	send(t, p, build(1, 3))
	good, bad := booked(engine)
	assert.Equal(t, [2]float64{18, 2}, [2]float64{good, bad})
}

func TestThresholdsOfHistograms(t *testing.T) {
	bounds := []float64{0.1, 0.3, 1}
	objective := func(latency time.Duration) slo.Objective {
		return slo.Objective{Name: "o", Indicator: slo.Indicator{
			Kind: slo.IndicatorHistogram, Latency: latency, Metric: &slo.MetricIndicator{Value: &slo.MetricSelector{Name: "d"}},
		}}
	}
	r := newRequest()
	dp := r.histogram("d", "s", delta, at(0), bounds, 50, 30, 10, 10)
	for i, x := range []float64{0.2, 5} {
		e := dp.Exemplars().AppendEmpty()
		e.SetDoubleValue(x)
		e.SetTraceID(pcommon.TraceID{byte(i + 1)})
	}

	t.Run("an edge is exact", func(t *testing.T) {
		p, engine := metricsOver(t, objective(300*time.Millisecond))
		send(t, p, r)
		s := engine.Statuses()[0]
		assert.Equal(t, []float64{80, 20, 0}, []float64{s.Good, s.Bad, *s.ThresholdError})
	})
	t.Run("a cut bucket has a bound", func(t *testing.T) {
		p, engine := metricsOver(t, objective(200*time.Millisecond))
		send(t, p, r)
		s := engine.Statuses()[0]
		assert.InDeltaSlice(t, []float64{65, 35, 0.3}, []float64{s.Good, s.Bad, *s.ThresholdError}, 1e-6)
	})
	t.Run("running totals, in milliseconds", func(t *testing.T) {
		p, engine := metricsOver(t, objective(300*time.Millisecond))
		for i := range uint64(3) {
			r := newRequest()
			r.histogram("d", "ms", runningSum, at(int(i)), []float64{100, 300, 1000}, 50*i, 30*i, 10*i, 10*i)
			send(t, p, r)
		}
		good, bad := booked(engine)
		assert.Equal(t, [2]float64{160, 40}, [2]float64{good, bad})
	})
	t.Run("an exponential histogram", func(t *testing.T) {
		p, engine := metricsOver(t, slo.Objective{Name: "o", Indicator: slo.Indicator{
			Kind: slo.IndicatorHistogram, Metric: &slo.MetricIndicator{Value: &slo.MetricSelector{Name: "d"}, Threshold: 4},
		}})
		r := newRequest()
		h := r.metric("d").SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(delta)
		dp := h.DataPoints().AppendEmpty()
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at(0)))
		dp.SetScale(0)
		dp.Positive().BucketCounts().FromRaw([]uint64{1, 2, 4, 8}) // (1,2] (2,4] (4,8] (8,16]
		dp.SetZeroCount(16)
		dp.SetCount(31)
		send(t, p, r)
		s := engine.Statuses()[0]
		assert.Equal(t, []float64{19, 12, 0}, []float64{s.Good, s.Bad, *s.ThresholdError})
	})
}

func TestTheTimeOfAGaugeCounts(t *testing.T) {
	p, engine := metricsOver(t, slo.Objective{Name: "o", Indicator: slo.Indicator{Kind: slo.IndicatorGauge, Metric: &slo.MetricIndicator{
		Value: &slo.MetricSelector{Name: "queue"}, Op: "lt", Threshold: 100, Slice: slo.Duration(time.Minute),
	}}})
	for _, v := range []struct {
		seconds int
		value   float64
	}{{0, 5}, {30, 5}, {60, 200}, {600, 5}} { // one minute, half, half bad, and a gap of which one minute is known
		r := newRequest()
		r.gauge("queue", epoch.Add(time.Duration(v.seconds)*time.Second), v.value)
		send(t, p, r)
	}
	good, bad := booked(engine)
	assert.InDeltaSlice(t, []float64{2.5, 0.5}, []float64{good, bad}, 1e-6)
}

// The book has the growth of the counters since the first point and nothing else, whatever is lost, repeated or restarted. What a lost point
// before a restart held is gone for every reader of running totals, and so not in the oracle either.
func TestCountersAgainstAnOracle(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, engine := metricsOver(t, ratio(slo.MetricIndicator{Bad: &slo.MetricSelector{Name: "errors"}, Total: &slo.MetricSelector{Name: "requests"}}))
		var errors, total float64    // the counters
		var openBad, openAll float64 // grown since the last point that arrived
		var wantBad, wantAll float64 // grown up to the last point that arrived
		start := at(-10)
		for minute := range 60 {
			if minute > 0 && r.IntN(15) == 0 {
				errors, total, openBad, openAll = 0, 0, 0, 0
				start = at(minute - 1).Add(time.Second)
			}
			n := r.IntN(50)
			b := float64(r.IntN(n + 1))
			errors, total, openBad, openAll = errors+b, total+float64(n), openBad+b, openAll+float64(n)
			if minute > 0 && r.IntN(10) == 0 {
				continue
			}
			if minute > 0 {
				wantBad, wantAll = wantBad+openBad, wantAll+openAll
			}
			openBad, openAll = 0, 0
			req := newRequest()
			req.sum("errors", runningSum, start, at(minute), errors)
			req.sum("requests", runningSum, start, at(minute), total)
			send(t, p, req)
			if r.IntN(5) == 0 {
				send(t, p, req)
			}
		}
		good, bad := booked(engine)
		require.Equal(t, [2]float64{wantAll - wantBad, wantBad}, [2]float64{good, bad}, "seed %d", seed)
	}
}

func TestGapsAreNoBursts(t *testing.T) {
	p, engine := metricsOver(t, ratio(slo.MetricIndicator{
		Bad: &slo.MetricSelector{Name: "requests", Match: []slo.Match{{Attribute: "code", Equals: "500"}}}, Total: &slo.MetricSelector{Name: "requests"},
	}))
	build := func(minute int, n float64) request {
		r := newRequest()
		r.sum("requests", runningSum, epoch, at(minute), n, "code", "500")
		r.sum("requests", runningSum, epoch, at(minute), 1000*n, "code", "200")
		return r
	}
	send(t, p, build(0, 0), build(1, 1), build(61, 61))
	good, bad := booked(engine)
	assert.InDeltaSlice(t, []float64{61000, 61}, []float64{good, bad}, 1e-3, "all of it counts")
	rates := engine.Statuses()[0].BurnRates
	require.NotNil(t, rates[0].Rate)
	assert.InDelta(t, 1.0/1001/0.1, *rates[0].Rate, 1e-3)
	assert.Empty(t, engine.TakeEvents(), "nobody claimed them")
}

func TestBadPointsHaveAReason(t *testing.T) {
	counter := ratio(slo.MetricIndicator{Bad: &slo.MetricSelector{Name: "errors"}, Total: &slo.MetricSelector{Name: "requests"}})
	histogram := slo.Objective{Name: "h", Indicator: slo.Indicator{
		Kind: slo.IndicatorHistogram, Latency: time.Second, Metric: &slo.MetricIndicator{Value: &slo.MetricSelector{Name: "d"}},
	}}
	gauge := slo.Objective{Name: "g", Indicator: slo.Indicator{Kind: slo.IndicatorGauge, Metric: &slo.MetricIndicator{
		Value: &slo.MetricSelector{Name: "queue"}, Op: "lt", Slice: slo.Duration(time.Minute),
	}}}
	for name, c := range map[string]struct {
		build func(r request)
		why   reason
	}{
		"end before start":     {func(r request) { r.sum("errors", delta, at(1), at(0), 1) }, endBeforeStart},
		"the year 2100":        {func(r request) { r.sum("errors", delta, at(0), epoch.AddDate(74, 0, 0), 1) }, future},
		"no time":              {func(r request) { r.sum("errors", delta, at(0), at(0), 1).SetTimestamp(0); r.metric("x") }, endBeforeStart},
		"not a number":         {func(r request) { r.sum("errors", delta, at(0), at(0), math.NaN()) }, notANumber},
		"infinite":             {func(r request) { r.sum("errors", delta, at(0), at(0), math.Inf(1)) }, notANumber},
		"a negative counter":   {func(r request) { r.sum("errors", runningSum, at(0), at(0), -1) }, negative},
		"a gauge":              {func(r request) { r.gauge("errors", at(0), 1) }, wrongType},
		"a sum that may fall":  {func(r request) { r.sum("errors", runningSum, at(0), at(0), 1); r.setMonotonic(false) }, wrongType},
		"unknown temporality":  {func(r request) { r.sum("errors", pmetric.AggregationTemporalityUnspecified, at(0), at(0), 1) }, unknownTemporality},
		"no recorded value":    {func(r request) { r.sum("errors", delta, at(0), at(0), 1).SetFlags(1) }, noRecordedValue},
		"a counter as a gauge": {func(r request) { r.sum("queue", runningSum, at(0), at(0), 1) }, wrongType},
		"a sum as a histogram": {func(r request) { r.sum("d", delta, at(0), at(0), 1) }, wrongType},
		"a histogram as a sum": {func(r request) { r.histogram("errors", "s", delta, at(0), nil, 1) }, wrongType},
		"bounds that fall":     {func(r request) { r.histogram("d", "s", delta, at(0), []float64{2, 1}, 1, 1, 1) }, badHistogram},
		"too few buckets":      {func(r request) { r.histogram("d", "s", delta, at(0), []float64{1, 2}, 1, 1) }, badHistogram},
		"a wrong count":        {func(r request) { r.histogram("d", "s", delta, at(0), []float64{1}, 1, 1).SetCount(7) }, badHistogram},
		"an unknown unit":      {func(r request) { r.histogram("d", "By", delta, at(0), []float64{1}, 1, 1) }, unknownUnit},
		"a summary":            {func(r request) { r.metric("d").SetEmptySummary().DataPoints().AppendEmpty() }, wrongType},
	} {
		t.Run(name, func(t *testing.T) {
			p, engine := metricsOver(t, counter, histogram, gauge)
			r := newRequest()
			c.build(r)
			j := p.judge()
			p.readMetrics(t.Context(), j, r.Metrics)
			p.apply(j)
			p.commit(t.Context(), j.tally, p.clock())
			var want [reasons]int64
			want[c.why] = 1
			assert.Equal(t, want, j.outcome.refused)
			assert.Equal(t, int64(1), j.outcome.items())
			good, bad := booked(engine)
			assert.Equal(t, [2]float64{}, [2]float64{good, bad})
		})
	}
}

func (r request) setMonotonic(is bool) {
	metrics := r.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	metrics.At(metrics.Len() - 1).Sum().SetIsMonotonic(is)
}

func TestStreamsAreBounded(t *testing.T) {
	p, engine := metricsOver(t, ratio(slo.MetricIndicator{
		Bad: &slo.MetricSelector{Name: "requests", Match: []slo.Match{{Attribute: "code", Equals: "500"}}}, Total: &slo.MetricSelector{Name: "requests"},
	}))
	for i := range 5000 {
		r := newRequest()
		r.sum("requests", runningSum, at(0), at(1), 10, "user", strconv.Itoa(i))
		j := p.judge()
		p.readMetrics(t.Context(), j, r.Metrics)
		p.apply(j)
		if i >= 1000 {
			require.Equal(t, int64(1), j.outcome.refused[streamLimit])
		}
	}
	assert.Equal(t, 1000, p.streams.Len())
	r := newRequest() // two hours later the streams that fell silent make room
	r.sum("requests", runningSum, at(121), at(122), 10, "user", "new")
	send(t, p, r)
	assert.Equal(t, 1, p.streams.Len())
	good, _ := booked(engine)
	assert.InDelta(t, 10, good, 0)
}
