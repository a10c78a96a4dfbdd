// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var healthy = server{median: 0.05, sigma: 0.5, errors: 0.002}

// run feeds a comparison n slices and lets change say what is special about one.
func run(seed uint64, canary, baseline server, n int64, change func(i int64, canary, baseline *Slice)) *Comparison {
	r := rng(seed)
	c := New(Settings{}, 0)
	for i := range n {
		x, y := canary.requests(r, 30), baseline.requests(r, 60)
		if change != nil {
			change(i, x, y)
		}
		c.Add(i, x, y)
	}
	return c
}

func TestHealthyCanaryPasses(t *testing.T) {
	v := run(1, healthy, healthy, 200, nil).Judge(199)
	assert.Equal(t, Pass, v.Outcome, v)
	assert.Equal(t, ReasonNonInferior, v.Reason)
	assert.Zero(t, v.Needed)
}

func TestWhatIsWorseFailsAndNamesTheMetric(t *testing.T) {
	for name, x := range map[string]struct {
		canary server
		metric string
	}{
		"errors":                      {server{median: 0.05, sigma: 0.5, errors: 0.06}, MetricErrors},
		"all slower":                  {server{median: 0.08, sigma: 0.5, errors: 0.002}, MetricLatency},
		"one request in twenty slow":  {server{median: 0.05, sigma: 0.5, errors: 0.002, slowShare: 0.05, slowBy: 10}, MetricLatency},
		"one request in fifty, later": {server{median: 0.05, sigma: 0.5, errors: 0.002, slowShare: 0.02, slowBy: 30}, MetricLatency},
	} {
		v := run(2, x.canary, healthy, 200, nil).Judge(199)
		assert.Equal(t, Fail, v.Outcome, "%s: %v", name, v)
		assert.Equal(t, x.metric, v.Metric, name)
	}
}

func TestBetterIsNotWorse(t *testing.T) {
	v := run(3, server{median: 0.03, sigma: 0.5}, server{median: 0.05, sigma: 0.5, errors: 0.03}, 200, nil).Judge(199)
	assert.Equal(t, Pass, v.Outcome, v)
}

func TestLoggedErrorsFailThoughEveryRequestSucceeds(t *testing.T) {
	v := run(4, healthy, healthy, 200, func(i int64, canary, _ *Slice) { canary.Logged = uint64(2 + i%2) }).Judge(199)
	assert.Equal(t, Fail, v.Outcome, v)
	assert.Equal(t, MetricLogged, v.Metric)
}

func TestNoiseOfBothArmsIsNotTheCanarys(t *testing.T) {
	// Both arms fail and slow down together in some minutes, and the traffic moves; the canary's share is now small, now large.
	r := rng(5)
	c := New(Settings{}, 0)
	for i := range int64(400) {
		s := healthy
		if i%40 < 6 {
			s.errors, s.median = 0.3, 0.2
		}
		n := 20 + int(i%7)*10
		// The canary has most of the traffic just when all is bad: pooled over time it looks three times as bad.
		share := 0.2
		if i%40 < 6 {
			share = 0.7
		}
		c.Add(i, s.requests(r, int(float64(n)*share)), s.requests(r, int(float64(n)*(1-share))))
	}
	v := c.Judge(399)
	assert.NotEqual(t, Fail, v.Outcome, v)
}

func TestOneBadSliceIsAnIncident(t *testing.T) {
	v := run(6, healthy, healthy, 100, func(i int64, canary, _ *Slice) {
		if i == 20 {
			canary.Errors = canary.Requests
			canary.Latency = [Buckets]uint32{}
		}
	}).Judge(99)
	assert.NotEqual(t, Fail, v.Outcome, v)
}

func TestPersistentlyMoreMemoryFails(t *testing.T) {
	use := func(i int64, canary, baseline *Slice, leak float64) {
		canary.Memory.Observe(1e8*(1+leak*float64(i)/100), 1)
		baseline.Memory.Observe(1e8, 2)
	}
	v := run(7, healthy, healthy, 120, func(i int64, a, b *Slice) { use(i, a, b, 1) }).Judge(119)
	assert.Equal(t, Fail, v.Outcome, v)
	assert.Equal(t, MetricMemory, v.Metric)
	v = run(7, healthy, healthy, 120, func(i int64, a, b *Slice) { use(i, a, b, 0.1) }).Judge(119)
	assert.Equal(t, Pass, v.Outcome, v)
}

func TestCPUFailsOnlyWhenBothAnInstanceAndARequestCostMore(t *testing.T) {
	use := func(canary, baseline *Slice, cores float64) {
		canary.CPU.Observe(cores, 1)
		baseline.CPU.Observe(0.3, 1)
	}
	v := run(8, healthy, healthy, 120, func(_ int64, a, b *Slice) { use(a, b, 0.6) }).Judge(119)
	assert.Equal(t, MetricCPU, v.Metric, v)
	assert.Equal(t, Fail, v.Outcome, v)
	// Half the traffic, the same use: more for a request, not more in all.
	v = run(8, healthy, healthy, 120, func(_ int64, a, b *Slice) { use(a, b, 0.3) }).Judge(119)
	assert.NotEqual(t, Fail, v.Outcome, v)
}

func TestBadInputIsNamedAndNeverPasses(t *testing.T) {
	for name, x := range map[string]struct {
		reason Reason
		change func(i int64, canary, baseline *Slice)
	}{
		"two versions in one instance": {ReasonMixedInstance, func(_ int64, c, _ *Slice) { c.Faults |= MixedInstance }},
		"clock skew":                   {ReasonClockSkew, func(_ int64, c, _ *Slice) { c.Faults |= ClockSkew }},
		"unit changes":                 {ReasonUnitChanged, func(i int64, _, b *Slice) { b.Faults |= Faults(i/195) * UnitChanged }},
		"NaN":                          {ReasonNotFinite, func(i int64, c, _ *Slice) { c.Faults |= Faults(i/195) * NotFinite }},
		"no traffic at all":            {ReasonNoTraffic, func(_ int64, c, _ *Slice) { *c = Slice{} }},
		"traffic vanishes": {ReasonNoTraffic, func(i int64, c, _ *Slice) {
			if i >= 180 {
				*c = Slice{}
			}
		}},
		"the baseline vanishes": {ReasonBaselineGone, func(i int64, _, b *Slice) {
			if i >= 180 {
				*b = Slice{}
			}
		}},
		"metrics stop": {ReasonMetricsStopped, func(i int64, c, b *Slice) {
			if i < 150 {
				c.Memory.Observe(1e8, 1)
				b.Memory.Observe(1e8, 1)
			}
		}},
	} {
		v := run(9, healthy, healthy, 200, x.change).Judge(199)
		assert.Equal(t, Inconclusive, v.Outcome, "%s: %v", name, v)
		assert.Equal(t, x.reason, v.Reason, name)
	}
}

func TestTooLittleIsNeverAPass(t *testing.T) {
	for n := int64(1); n < 6; n++ {
		v := run(10, healthy, healthy, n, nil).Judge(n)
		assert.Equal(t, Inconclusive, v.Outcome, v)
		assert.NotZero(t, v.Needed)
	}
}

func TestShareThatIsNotThePromisedOneIsInconclusive(t *testing.T) {
	judge := func(promised float64) Verdict {
		r := rng(11)
		flawless := server{median: 0.05, sigma: 0.5}
		c := New(Settings{}, 0)
		c.Promise(promised)
		for i := range int64(200) {
			c.Add(i, flawless.requests(r, 20), flawless.requests(r, 80))
		}
		return c.Judge(199)
	}
	kept := judge(0.2)
	assert.Equal(t, Pass, kept.Outcome, "%+v", kept)
	v := judge(0.3)
	assert.Equal(t, Inconclusive, v.Outcome)
	assert.Equal(t, ReasonShareMismatch, v.Reason)
}

func TestAFailStays(t *testing.T) {
	r := rng(12)
	c := New(Settings{}, 0)
	bad := healthy
	bad.errors = 0.3
	for i := range int64(600) {
		canary := healthy
		if i < 20 {
			canary = bad
		}
		c.Add(i, canary.requests(r, 30), healthy.requests(r, 30))
	}
	assert.Equal(t, Fail, c.Judge(599).Outcome)
	assert.Equal(t, MetricErrors, c.Judge(10_000).Metric, "also when both versions are long gone")
}

// Three collectors that each see a third of the requests say what one says that sees all.
func TestSlicesOfReplicasAddUp(t *testing.T) {
	one, merged := New(Settings{}, 0), New(Settings{}, 0)
	apart := []*Comparison{New(Settings{}, 0), New(Settings{}, 0), New(Settings{}, 0)}
	r := rng(13)
	worse := server{median: 0.06, sigma: 0.5, errors: 0.01}
	for i := range int64(100) {
		var sums, whole [2]Slice
		for k := range apart {
			a, b := worse.requests(r, 40), healthy.requests(r, 60)
			apart[k].Add(i, a, b)
			sums[0].Add(a)
			sums[1].Add(b)
		}
		whole = sums
		merged.Add(i, &sums[0], &sums[1])
		one.Add(i, &whole[0], &whole[1])
	}
	a, b := one.Judge(99), merged.Judge(99)
	assert.Equal(t, a, b)

	total := New(Settings{}, 0)
	for _, c := range apart {
		total.Merge(c)
	}
	v := total.Judge(99)
	assert.Equal(t, a.Outcome, v.Outcome)
	assert.Equal(t, a.Canary, v.Canary)
	for i := range v.Metrics {
		// Strata by replica tell a little less than strata of all, never more than chance would.
		assert.InEpsilon(t, a.Metrics[i].LogE+20, v.Metrics[i].LogE+20, 0.1, v.Metrics[i].Metric)
	}
}

func TestMergingDoesNotDependOnTheOrder(t *testing.T) {
	x, y := run(14, healthy, healthy, 50, nil), run(15, healthy, healthy, 50, nil)
	ab, ba := run(14, healthy, healthy, 50, nil), run(15, healthy, healthy, 50, nil)
	ab.Merge(y)
	ba.Merge(x)
	assert.Equal(t, ab.Judge(49), ba.Judge(49))
}

func TestSnapshotGoesOnWhereItWas(t *testing.T) {
	whole := run(16, healthy, healthy, 80, nil)
	r := rng(16)
	c := New(Settings{}, 0)
	for i := range int64(80) {
		if i == 40 {
			data, err := c.Snapshot()
			require.NoError(t, err)
			c, err = Restore(Settings{}, data)
			require.NoError(t, err)
		}
		c.Add(i, healthy.requests(r, 30), healthy.requests(r, 60))
	}
	a, err := json.Marshal(whole.Judge(79))
	require.NoError(t, err)
	b, err := json.Marshal(c.Judge(79))
	require.NoError(t, err)
	assert.Equal(t, string(a), string(b))
	_, err = Restore(Settings{}, []byte("{"))
	require.Error(t, err)
}

func TestSlicesOutOfOrderAreRefused(t *testing.T) {
	c := New(Settings{}, 10)
	r := rng(17)
	assert.False(t, c.Add(9, healthy.requests(r, 1), healthy.requests(r, 1)))
	assert.True(t, c.Add(10, healthy.requests(r, 1), healthy.requests(r, 1)))
	assert.False(t, c.Add(10, healthy.requests(r, 1), healthy.requests(r, 1)))
	assert.EqualValues(t, 1, c.Exposure(Canary))
}

func TestGaugesRefuseWhatIsNoNumber(t *testing.T) {
	var g Gauge
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		assert.False(t, g.Observe(v, 1))
	}
	assert.Zero(t, g)
	assert.True(t, g.Observe(3, 2))
	assert.InDelta(t, 3, g.mean(), 0)
}

func TestBucketsGrowByTheFourthRootOfTwo(t *testing.T) {
	for b := 1; b < Buckets-1; b++ {
		bound := BucketBound(b)
		assert.Equal(t, b, Bucket(bound+time.Nanosecond), "bucket %d from %s", b, bound)
		assert.Equal(t, b-1, Bucket(bound-time.Nanosecond), "bucket %d from %s", b, bound)
	}
	assert.Equal(t, 0, Bucket(-time.Second))
	assert.Equal(t, Buckets-1, Bucket(time.Hour))
}

// The e-process against a coin that is no more often above than below never exceeds 1/alpha more often than alpha.
func TestExcessOfAFairCoinIsSeldomCalled(t *testing.T) {
	r := rng(18)
	runs, called := scale(2000), 0
	for range runs {
		var x Excess
		for range 500 {
			x.add(1, 1, r.Float64() < 0.5)
			if x.logE() >= -math.Log(0.05) {
				called++
				break
			}
		}
	}
	assert.LessOrEqual(t, float64(called)/float64(runs), 0.05+4*math.Sqrt(0.05/float64(runs)))
}

func TestObservingARequestAllocatesNothing(t *testing.T) {
	s := &Slice{}
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Observe(30*time.Millisecond, false) }))
}

func BenchmarkObserve(b *testing.B) {
	s := &Slice{}
	b.ReportAllocs()
	for i := range b.N {
		s.Observe(time.Duration(i&0xffffff)*time.Microsecond, i&63 == 0)
	}
}

func BenchmarkAddSlice(b *testing.B) {
	r := rng(19)
	x, y := healthy.requests(r, 1000), healthy.requests(r, 10_000)
	c := New(Settings{}, 0)
	b.ReportAllocs()
	for i := range b.N {
		c.Add(int64(i), x, y)
	}
}

func BenchmarkJudge(b *testing.B) {
	c := run(20, healthy, healthy, 100, nil)
	b.ReportAllocs()
	for b.Loop() {
		c.Judge(99)
	}
}

// A handler that always takes as long, in whatever bucket, or less than the first bound, is no reason never to pass.
func TestDurationsThatAreAllAlikePass(t *testing.T) {
	for _, d := range []time.Duration{0, 20 * time.Microsecond, 20 * time.Millisecond, 24 * time.Millisecond, 28 * time.Millisecond, 34 * time.Millisecond, time.Minute} {
		c := New(Settings{}, 0)
		slow := New(Settings{}, 0)
		for i := range int64(60) {
			s, worse := &Slice{}, &Slice{}
			for range 40 {
				s.Observe(d, false)
				worse.Observe(2*d+300*time.Microsecond, false)
			}
			c.Add(i, s, s)
			slow.Add(i, worse, s)
		}
		assert.Equal(t, Pass, c.Judge(59).Outcome, "%s: %s", d, c.Judge(59))
		assert.NotEqual(t, Pass, slow.Judge(59).Outcome, "%s: %s", d, slow.Judge(59))
	}
}
