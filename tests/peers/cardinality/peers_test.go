// SPDX-License-Identifier: Apache-2.0

package cardinality

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/processor/metricstransformprocessor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/internal/figures"
	ours "github.com/pitwall-io/pitwall/processor/cardinalityprocessor"
)

// peers both take the attribute user off the metric requests and keep route.
var peers = []struct {
	name    string
	factory func() processor.Factory // instances of one factory and ID share their state
	config  map[string]any
}{
	{"contrib", contrib.NewFactory, map[string]any{"transforms": []any{map[string]any{
		"include": "requests", "action": "update",
		"operations": []any{map[string]any{"action": "aggregate_labels", "label_set": []any{"route"}, "aggregation_type": "sum"}},
	}}}},
	{"pitwall", ours.NewFactory, map[string]any{
		"initial_value": "count",
		"rules":         []any{map[string]any{"attributes": []any{"user"}, "action": "drop"}},
	}},
}

func scale() float64 {
	if v, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64); err == nil && v > 0 {
		return v
	}
	return 0.01
}

func start(t *testing.T, newFactory func() processor.Factory, config map[string]any, next consumer.Metrics) processor.Metrics {
	t.Helper()
	factory := newFactory()
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(config).Unmarshal(cfg))
	set := processortest.NewNopSettings(factory.Type())
	set.ID = component.NewIDWithName(factory.Type(), "peer")
	p, err := factory.CreateMetrics(t.Context(), set, cfg, next)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, p.Shutdown(context.Background())) })
	return p
}

// reader counts what a backend makes of the output: deltas add up, and a cumulative stream that falls has been reset.
type reader struct {
	totals map[string]float64
	last   map[string]float64
}

func newReader() *reader { return &reader{totals: map[string]float64{}, last: map[string]float64{}} }

func (*reader) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (r *reader) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				r.metric(m)
			}
		}
	}
	return nil
}

func (r *reader) metric(m pmetric.Metric) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, dp := range m.Sum().DataPoints().All() {
			r.point(dp.Attributes(), float64(dp.IntValue()), m.Sum().AggregationTemporality())
		}
	case pmetric.MetricTypeHistogram:
		for _, dp := range m.Histogram().DataPoints().All() {
			r.point(dp.Attributes(), float64(dp.Count()), m.Histogram().AggregationTemporality())
		}
	default:
	}
}

func (r *reader) point(attributes pcommon.Map, v float64, temporality pmetric.AggregationTemporality) {
	route, _ := attributes.Get("route")
	key := fmt.Sprint(attributes.AsRaw())
	if temporality == pmetric.AggregationTemporalityDelta {
		r.totals[route.Str()] += v
		return
	}
	before := r.last[key]
	if v < before {
		before = 0
	}
	r.totals[route.Str()] += v - before
	r.last[key] = v
}

// member is one series of the input.
type member struct {
	user, route string
	start       time.Time
	value       int64
}

// trial sends the same random stream through both: members report in requests of their own, as pods do, and some restart.
func trial(t *testing.T, seed uint64, histogram bool, temporality pmetric.AggregationTemporality) (wrong map[string]bool) {
	t.Helper()
	wrong = map[string]bool{}
	for _, peer := range peers {
		r := rand.New(rand.NewPCG(seed, 17))
		out, truth := newReader(), map[string]float64{}
		p := start(t, peer.factory, peer.config, out)
		now := time.Now().Add(-time.Hour)
		var members []*member
		for i := range 4 + r.IntN(8) {
			members = append(members, &member{user: fmt.Sprint("u", i), route: fmt.Sprint("/", i%2), start: now})
		}
		for range 20 {
			now = now.Add(10 * time.Second)
			md := pmetric.NewMetrics()
			for _, m := range members {
				if r.IntN(20) == 0 && temporality == pmetric.AggregationTemporalityCumulative {
					m.start, m.value = now.Add(-time.Second), 0
				}
				grown := r.Int64N(50)
				truth[m.route] += float64(grown)
				if m.value += grown; temporality == pmetric.AggregationTemporalityDelta {
					m.value = grown
				}
				if r.IntN(3) == 0 { // the others go in the next request
					require.NoError(t, p.ConsumeMetrics(t.Context(), md))
					md = pmetric.NewMetrics()
				}
				write(md, m, now, histogram, temporality)
			}
			require.NoError(t, p.ConsumeMetrics(t.Context(), md))
		}
		for route, want := range truth {
			if out.totals[route] != want {
				wrong[peer.name] = true
			}
		}
	}
	return wrong
}

func write(md pmetric.Metrics, m *member, now time.Time, histogram bool, temporality pmetric.AggregationTemporality) {
	if md.ResourceMetrics().Len() == 0 {
		metric := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		metric.SetName("requests")
		if histogram {
			metric.SetEmptyHistogram().SetAggregationTemporality(temporality)
		} else {
			metric.SetEmptySum().SetIsMonotonic(true)
			metric.Sum().SetAggregationTemporality(temporality)
		}
	}
	metric := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	from := m.start
	if temporality == pmetric.AggregationTemporalityDelta {
		from = now.Add(-10 * time.Second)
	}
	if histogram {
		dp := metric.Histogram().DataPoints().AppendEmpty()
		dp.ExplicitBounds().FromRaw([]float64{1, 2})
		dp.BucketCounts().FromRaw([]uint64{uint64(m.value), 0, 0})
		dp.SetCount(uint64(m.value))
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(from))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
		dp.Attributes().PutStr("user", m.user)
		dp.Attributes().PutStr("route", m.route)
		return
	}
	dp := metric.Sum().DataPoints().AppendEmpty()
	dp.SetIntValue(m.value)
	dp.SetStartTimestamp(pcommon.NewTimestampFromTime(from))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
	dp.Attributes().PutStr("user", m.user)
	dp.Attributes().PutStr("route", m.route)
}

// Totals after the attribute is gone, as a backend reads them, against the sum of what the members counted.
func TestTotalsAreRightWherePodsReportOnTheirOwn(t *testing.T) {
	trials := max(int(1000*scale()), 20)
	for _, histogram := range []bool{false, true} {
		for _, temporality := range []pmetric.AggregationTemporality{pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityDelta} {
			wrong := map[string]int{}
			for seed := range uint64(trials) {
				for name := range trial(t, seed, histogram, temporality) {
					wrong[name]++
				}
			}
			kind := map[bool]string{false: "sums", true: "histograms"}[histogram]
			assert.Zero(t, wrong["pitwall"], "%s %s", temporality, kind)
			figures.Record(t, figures.Figure{
				Table: "cardinality: against contrib's metricstransform", Row: fmt.Sprintf("%s %s, wrong totals of %d random systems", temporality, kind, trials),
				Reached: fmt.Sprintf("pitwall %d, contrib %d", wrong["pitwall"], wrong["contrib"]), Wanted: "0",
				Command: "PITWALL_SCALE=1 go -C tests/peers/cardinality test -v -run Totals .",
			})
		}
	}
}

func exponential(offset int32, counts ...uint64) func(pmetric.ExponentialHistogramDataPoint) {
	return func(dp pmetric.ExponentialHistogramDataPoint) {
		dp.Positive().SetOffset(offset)
		dp.Positive().BucketCounts().FromRaw(counts)
		for _, c := range counts {
			dp.SetCount(dp.Count() + c)
		}
		dp.Attributes().PutStr("route", "/")
	}
}

type keeper struct{ md pmetric.Metrics }

func (*keeper) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (k *keeper) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	k.md = md
	return nil
}

// Two exponential histograms of the same scale, whose buckets begin at different offsets.
func TestExponentialHistogramsAreAddedBucketByBucket(t *testing.T) {
	got := map[string]string{}
	for _, peer := range peers {
		out := &keeper{}
		p := start(t, peer.factory, peer.config, out)
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("requests")
		h := m.SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		now := time.Now()
		for i, fill := range []func(pmetric.ExponentialHistogramDataPoint){exponential(5, 10), exponential(4, 1, 2)} {
			dp := h.DataPoints().AppendEmpty()
			fill(dp)
			dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
			dp.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Second)))
			dp.Attributes().PutStr("user", strconv.Itoa(i))
		}
		require.NoError(t, p.ConsumeMetrics(t.Context(), md))
		dp := out.md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).ExponentialHistogram().DataPoints().At(0)
		got[peer.name] = fmt.Sprintf("%d:%v", dp.Positive().Offset(), dp.Positive().BucketCounts().AsRaw())
	}
	assert.Equal(t, "4:[1 12]", got["pitwall"])
	figures.Record(t, figures.Figure{
		Table: "cardinality: against contrib's metricstransform", Row: "exponential histograms 5:[10] + 4:[1 2]",
		Reached: fmt.Sprintf("pitwall %s, contrib %s", got["pitwall"], got["contrib"]), Wanted: "4:[1 12]",
		Command: "go -C tests/peers/cardinality test -v -run Exponential .",
	})
}

type nop struct{}

func (nop) Capabilities() consumer.Capabilities                   { return consumer.Capabilities{} }
func (nop) ConsumeMetrics(context.Context, pmetric.Metrics) error { return nil }

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(1, &u) != nil { // RUSAGE_THREAD
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The same requests in turns through contrib, through ours with the same rule, and through ours with limits alone, in one thread. It
// asserts no time.
func TestSpeedBesideContrib(t *testing.T) {
	const points, users = 1000, 50_000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	rounds := max(int(1000*scale()), 20)
	type runner struct {
		name  string
		p     processor.Metrics
		spent []float64
	}
	runners := []*runner{
		{name: "contrib, aggregate_labels", p: start(t, peers[0].factory, peers[0].config, nop{})},
		{name: "pitwall, drop", p: start(t, peers[1].factory, peers[1].config, nop{})},
		{name: "pitwall, limits", p: start(t, ours.NewFactory, map[string]any{}, nop{})},
	}
	const batch = 10 // requests a reading: the kernel's clock of a thread is coarse
	for round := range rounds {
		for _, r := range runners {
			var requests []pmetric.Metrics
			for n := range batch {
				md := pmetric.NewMetrics()
				for i := range points {
					id := (round*batch + n) * points % users
					write(md, &member{user: fmt.Sprint("u", id+i), route: fmt.Sprint("/", i%20), value: int64(i), start: time.Now()}, time.Now(), false, pmetric.AggregationTemporalityDelta)
				}
				requests = append(requests, md)
			}
			runtime.GC()
			before := cpu()
			for _, md := range requests {
				require.NoError(t, r.p.ConsumeMetrics(t.Context(), md))
			}
			r.spent = append(r.spent, float64((cpu()-before).Nanoseconds())/points/batch)
		}
	}
	for _, r := range runners {
		slices.Sort(r.spent)
		figures.Record(t, figures.Figure{
			Table: "cardinality: against contrib's metricstransform", Row: "processor time a point, 50,000 users folded, delta sums: " + r.name,
			Reached: fmt.Sprintf("%.0f ns", r.spent[len(r.spent)/2]),
			Command: "PITWALL_SCALE=1 taskset -c 1 go -C tests/peers/cardinality test -v -run Speed .",
		})
	}
}
