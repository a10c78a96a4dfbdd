// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pitwall-io/pitwall/internal/limit"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/processor/cardinalityprocessor/internal/metadatatest"
)

// sums makes a request with one sum, of one point per entry of attributes.
func sums(service, name string, temporality pmetric.AggregationTemporality, start, at time.Time, values ...labelled) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", service)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(temporality)
	for _, v := range values {
		dp := sum.DataPoints().AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetIntValue(v.value)
		for k, a := range v.labels {
			dp.Attributes().PutStr(k, a)
		}
	}
	return md
}

type labelled struct {
	value  int64
	labels map[string]string
}

const (
	delta      = pmetric.AggregationTemporalityDelta
	cumulative = pmetric.AggregationTemporalityCumulative
)

func TestSteadyLeakIsHeld(t *testing.T) {
	for _, temporality := range []pmetric.AggregationTemporality{delta, cumulative} {
		g := newRig(t, func(c *Config) {
			c.Limits.Attribute = 10
			c.Window = time.Minute
		})
		started := g.now
		for i := range 600 { // two a second for five minutes
			g.now = g.now.Add(500 * time.Millisecond)
			g.send(sums("shop", "requests", temporality, started, g.now, labelled{1, map[string]string{"request.id": fmt.Sprintf("uuid-%d", i), "route": "/buy"}}))
		}
		assert.LessOrEqual(t, g.out.distinct("request.id"), 11, "%v", temporality)
		folded := g.proc.engine.limiter.Stats().Folded
		assert.GreaterOrEqual(t, folded, uint64(590), "%v", temporality)
		assert.Equal(t, map[string]content{"/buy": {600 * 4}}, g.out.totals(false, "route"), "%v", temporality)
	}
}

func TestRestartedMemberIsNoResetOfTheSum(t *testing.T) {
	g := newRig(t, func(c *Config) {
		c.Rules = []RuleConfig{{Attributes: []string{"pod"}, Action: "drop"}}
	})
	start := g.now
	send := func(second int, a, b int64, startB time.Time) {
		g.now = start.Add(time.Duration(second) * time.Second)
		md := sums("shop", "requests", cumulative, start, g.now, labelled{a, map[string]string{"pod": "a"}})
		sums("shop", "requests", cumulative, startB, g.now, labelled{b, map[string]string{"pod": "b"}}).ResourceMetrics().At(0).ScopeMetrics().At(0).
			Metrics().At(0).Sum().DataPoints().MoveAndAppendTo(md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints())
		g.send(md)
	}
	send(10, 100, 900, start)
	require.Equal(t, map[string]content{"": {1000 * 4}}, g.out.totals(false))
	send(20, 110, 5, start.Add(12*time.Second))
	require.Equal(t, map[string]content{"": {1015 * 4}}, g.out.totals(false), "a true increase of 15, and no reset")
	require.Len(t, g.out.series, 1)
}

func TestHostileRequestsLeaveNoTrace(t *testing.T) {
	dir := recordings.Path(t)
	good := func(g *rig) {
		for i := range 20 {
			g.now = g.now.Add(time.Second)
			g.send(sums("shop", "c", cumulative, time.Unix(1_700_000_000, 0), g.now,
				labelled{int64(i), map[string]string{"id": strconv.Itoa(i % 5)}}, labelled{int64(i), map[string]string{"id": fmt.Sprint("x", i%3)}}))
		}
	}
	limits := func(c *Config) { c.Limits.Attribute, c.Limits.Series = 1, 4 }
	clean, dirty := newRig(t, limits), newRig(t, limits)
	files, err := filepath.Glob(filepath.Join(dir, "fixtures/otlp-badinput/*.jsonl"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 40)
	accepted := 0
	dirty.out = nil
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		for range 3 {
			if md, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(raw); err == nil {
				dirty.send(md)
				accepted++
			}
		}
	}
	require.Greater(t, accepted, 30)
	dirty.out = newLedger()
	good(clean)
	good(dirty)
	assert.Equal(t, clean.out.totals(false, "id"), dirty.out.totals(false, "id"))
	assert.Empty(t, dirty.out.faults)
}

// withProtection and withBoard stand for the slo and the optimization extension.
type withProtection struct {
	component.StartFunc
	component.ShutdownFunc
}

func (*withProtection) ProtectedAttributes() []string { return []string{"http.response.status_code"} }

type withBoard struct {
	component.StartFunc
	component.ShutdownFunc
	body map[string]json.RawMessage
}

func (w *withBoard) PublishSnapshot(topic, source string, body json.RawMessage) error {
	w.body[topic+" "+source] = body
	return nil
}

func TestWhatObjectivesUseIsNeverFoldedAndOffendersArePublished(t *testing.T) {
	published := &withBoard{body: map[string]json.RawMessage{}}
	host := hostWith{component.MustNewID("slo"): &withProtection{}, component.MustNewID("optimization"): published}
	g := newRigOn(t, host, func(c *Config) { c.Limits.Attribute, c.Limits.Series = 2, 4 })
	for i := range 100 {
		g.now = g.now.Add(time.Second)
		g.send(sums("shop", "requests", delta, g.now.Add(-time.Second), g.now,
			labelled{1, map[string]string{"http.response.status_code": strconv.Itoa(200 + i%10), "user": fmt.Sprint("u", i)}}))
	}
	perStatus := g.out.totals(false, "http.response.status_code")
	assert.Len(t, perStatus, 10)
	for status, v := range perStatus {
		assert.Equal(t, content{10 * 4}, v, status)
	}
	demand, err := limit.ParseDemand(published.body["offenders cardinality"])
	require.NoError(t, err)
	reports := demand.Metrics
	require.Len(t, reports, 1)
	assert.InDelta(t, reports[0].Wanted-float64(reports[0].Series), demand.NotSent, 0)
	assert.Positive(t, demand.NotSent)
	assert.Equal(t, "requests", reports[0].Metric)
	assert.Equal(t, "shop", reports[0].Scope)
	assert.Equal(t, "user", reports[0].Attributes[0].Attribute)
}

func TestSLOExtensionThatIsNamedMustBeThere(t *testing.T) {
	g := newRig(t, func(*Config) {})
	missing := component.MustNewID("slo")
	cfg := *g.cfg
	cfg.SLO = &missing
	assert.ErrorContains(t, newEngine(&cfg, g.proc.set, time.Now).start(t.Context(), g.host), `slo: extension "slo" is not configured`)
}

// realSeries are the label sets of 20,000 real series.
func realSeries(t *testing.T) []map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(recordings.Path(t), "fixtures/prom/20kseries.json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var out []map[string]string
	for d := json.NewDecoder(z); d.More(); {
		labels := map[string]string{}
		require.NoError(t, d.Decode(&labels))
		out = append(out, labels)
	}
	return out
}

// At a limit of series per metric, exactly those beyond it are folded, and every metric's total stays what it was.
func TestRealSeriesOverflowByExactlyWhatIsOverTheLimit(t *testing.T) {
	series := realSeries(t)
	require.Len(t, series, 20_000)
	for _, c := range []struct{ limit, metrics, folded int }{{100, 25, 10_955}, {500, 14, 4591}, {1000, 1, 48}} {
		g := newRig(t, func(c2 *Config) {
			c2.Limits.Attribute, c2.Limits.Series, c2.Limits.AttributeKeys = 0, c.limit, 0
			c2.Window = time.Hour
		})
		g.out = nil
		truth, got := map[string]int64{}, map[string]int64{}
		distinct := map[string]map[string]bool{}
		overflowing := map[string]bool{}
		g.next = func(md pmetric.Metrics) {
			for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
				for _, dp := range m.Sum().DataPoints().All() {
					if _, over := dp.Attributes().Get(limit.OverflowAttribute); over {
						overflowing[m.Name()] = true
						require.Equal(t, 1, dp.Attributes().Len())
					}
					id := fmt.Sprint(dp.Attributes().AsRaw())
					if distinct[m.Name()] == nil {
						distinct[m.Name()] = map[string]bool{}
					}
					distinct[m.Name()][id] = true
					got[m.Name()] += dp.IntValue()
				}
			}
		}
		for round := range 3 {
			md := pmetric.NewMetrics()
			metrics := map[string]pmetric.NumberDataPointSlice{}
			sm := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
			for i, labels := range series {
				name := labels["__name__"]
				dps, ok := metrics[name]
				if !ok {
					m := sm.Metrics().AppendEmpty()
					m.SetName(name)
					sum := m.SetEmptySum()
					sum.SetAggregationTemporality(delta)
					sum.SetIsMonotonic(true)
					dps = sum.DataPoints()
					metrics[name] = dps
				}
				dp := dps.AppendEmpty()
				dp.SetTimestamp(pcommon.NewTimestampFromTime(g.now))
				dp.SetIntValue(int64(i%7 + round))
				truth[name] += dp.IntValue()
				for k, v := range labels {
					if k != "__name__" {
						dp.Attributes().PutStr(k, v)
					}
				}
			}
			g.now = g.now.Add(time.Minute)
			g.send(md)
		}
		sent := 0
		for _, ids := range distinct {
			sent += len(ids)
		}
		assert.Equal(t, truth, got, "limit %d", c.limit)
		assert.Len(t, overflowing, c.metrics, "limit %d", c.limit)
		assert.Equal(t, 20_000-c.folded+c.metrics, sent, "limit %d: all but %d series, and an overflow series per metric", c.limit, c.folded)
	}
}

// A breakdown by an attribute that does not explode is exact before, during and after an explosion; other services and the values
// admitted before it keep their series.
func TestExplosionTouchesNothingButItself(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Limits.Attribute, c.Limits.Series = 20, 400 })
	truth := newLedger()
	users := 0
	for second := range 600 {
		g.now = g.now.Add(time.Second)
		exploding := second >= 200 && second < 400
		for _, service := range []string{"shop", "quiet"} {
			var values []labelled
			for i := range 10 {
				user := fmt.Sprint("regular-", i)
				if exploding && service == "shop" && i >= 5 {
					users++
					user = fmt.Sprint("rare-", users)
				}
				values = append(values, labelled{int64(i + 1), map[string]string{"user": user, "status": strconv.Itoa(200 + 100*(i%4))}})
			}
			md := sums(service, "requests", delta, g.now.Add(-time.Second), g.now, values...)
			truth.read(md, false)
			g.send(md)
		}
		if second%100 == 99 {
			require.Equal(t, truth.totals(false, "service.name", "status"), g.out.totals(false, "service.name", "status"), "second %d", second)
		}
	}
	require.Equal(t, 1000, users)
	assert.LessOrEqual(t, g.out.distinct("user"), 21)
	want, got := truth.totals(false, "service.name", "user"), g.out.totals(false, "service.name", "user")
	for i := range 10 {
		for _, service := range []string{"shop", "quiet"} {
			key := fmt.Sprintf("%s|regular-%d", service, i)
			assert.Equal(t, want[key], got[key], "%s was admitted and never folded", key)
		}
	}
}

func TestExemplarsKeepTheFoldedValue(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Limits.Attribute, c.Exemplars = 1, 3 })
	var out pmetric.Metrics
	g.next = func(md pmetric.Metrics) {
		out = pmetric.NewMetrics()
		md.CopyTo(out)
	}
	var values []labelled
	for i := range 10 {
		values = append(values, labelled{1, map[string]string{"user": fmt.Sprint("u", i)}})
	}
	md := sums("shop", "requests", delta, g.now, g.now.Add(time.Second), values...)
	dps := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
	for i := range dps.Len() {
		x := dps.At(i).Exemplars().AppendEmpty()
		x.SetTimestamp(pcommon.Timestamp(i + 1))
		x.SetIntValue(1)
	}
	g.send(md)
	dps = out.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
	require.Equal(t, 2, dps.Len())
	merged := dps.At(1).Exemplars()
	require.Equal(t, 3, merged.Len(), "the newest three")
	for i, x := range merged.All() {
		v, ok := x.FilteredAttributes().Get("user")
		require.True(t, ok)
		assert.Equal(t, fmt.Sprint("u", 7+i), v.Str())
	}
}

func TestOverflowGoesToASharedSeriesWhenThereAreTooManyResources(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Limits.Series, c.Limits.OverflowSeries = 2, 3 })
	truth := newLedger()
	for i := range 50 {
		g.now = g.now.Add(time.Second)
		md := sums("shop", "requests", cumulative, g.now.Add(-time.Second), g.now, labelled{int64(i), map[string]string{"user": fmt.Sprint("u", i)}})
		md.ResourceMetrics().At(0).Resource().Attributes().PutStr("pod", fmt.Sprint("p", i))
		truth.read(md, false)
		g.send(md)
	}
	assert.Equal(t, truth.totals(false, "service.name"), g.out.totals(false, "service.name"))
	assert.Len(t, g.out.series, 2+3+1)
	assert.Empty(t, g.out.faults)
}

func TestOwnTelemetryAccountsForEveryPoint(t *testing.T) {
	tt := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tt.Shutdown(context.Background())) })
	g := newRig(t, func(c *Config) { c.Limits.Attribute = 1 })
	require.NoError(t, g.proc.Shutdown(t.Context()))
	set := metadatatest.NewSettings(tt)
	g.proc.set = set
	require.NoError(t, g.proc.Start(t.Context(), g.host))
	for i := range 10 {
		g.now = g.now.Add(10 * time.Second)
		g.send(sums("shop", "requests", cumulative, g.now.Add(-time.Hour), g.now,
			labelled{int64(i), map[string]string{"id": "a"}}, labelled{int64(i), map[string]string{"id": "b"}}, labelled{-1, map[string]string{"id": "c"}}))
	}
	value := func(name string) int64 {
		m, err := tt.GetMetric("otelcol_processor_cardinality_" + name)
		require.NoError(t, err)
		total := int64(0)
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, dp := range d.DataPoints {
				total += dp.Value
			}
		case metricdata.Gauge[int64]:
			for _, dp := range d.DataPoints {
				total += dp.Value
			}
		}
		return total
	}
	assert.Equal(t, int64(30), value("points_received"))
	assert.Equal(t, int64(20), value("points_sent"), "a, and the overflow of b")
	assert.Equal(t, int64(10), value("points_folded"))
	assert.Equal(t, int64(10), value("points_dropped"), "c is negative")
	assert.Positive(t, value("state_bytes"))
	assert.Equal(t, int64(256<<20), value("state_bytes_limit"))
	assert.Positive(t, value("series_wanted"))
	assert.Positive(t, value("values_wanted"))
}

func TestInstancesOfOneIDShareTheirState(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Limits.Attribute = 1 })
	p, err := g.reg.createMetrics(t.Context(), g.proc.set, g.cfg, g)
	require.NoError(t, err)
	require.NoError(t, p.Shutdown(t.Context()), "one that was never started")
	require.NoError(t, p.Start(t.Context(), g.host))
	assert.Same(t, g.proc.engine, p.(*cardinality).engine)
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Len(t, g.reg.engines, 1)
}

func TestConcurrentSendersLoseNothing(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Limits.Attribute = 3 })
	g.out = nil
	var total atomic.Int64
	g.next = func(md pmetric.Metrics) {
		for _, rm := range md.ResourceMetrics().All() {
			for _, dp := range rm.ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().All() {
				total.Add(dp.IntValue())
			}
		}
	}
	var senders sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			for i := range 200 {
				md := sums("shop", "requests", delta, time.Unix(0, 1), time.Unix(1_700_000_000, int64(i)), labelled{1, map[string]string{"id": strconv.Itoa(s * i % 17)}})
				assert.NoError(t, g.proc.ConsumeMetrics(context.Background(), md))
			}
		})
	}
	senders.Wait()
	assert.Equal(t, int64(800), total.Load())
}
