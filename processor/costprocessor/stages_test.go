// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/internal/cost/report"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// twoStages are two cost processors with something between them, in a traces and a metrics pipeline each.
type twoStages struct {
	traces  consumer.Traces
	metrics consumer.Metrics
	engines [2]*engine
	sink    *consumertest.MetricsSink
}

// halve keeps half of the spans, and folds the attribute "user" of every point.
type halve struct {
	traces  consumer.Traces
	metrics consumer.Metrics
}

func (*halve) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (h *halve) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	n := 0
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			ss.Spans().RemoveIf(func(ptrace.Span) bool { n++; return n%2 == 0 })
		}
	}
	return h.traces.ConsumeTraces(ctx, td)
}

func (h *halve) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if m.Type() != pmetric.MetricTypeGauge || m.Name() != "queue" {
					continue
				}
				kept := false
				m.Gauge().DataPoints().RemoveIf(func(dp pmetric.NumberDataPoint) bool {
					dp.Attributes().PutStr("user", "otel.cardinality_overflow")
					drop := kept
					kept = true
					return drop
				})
			}
		}
	}
	return h.metrics.ConsumeMetrics(ctx, md)
}

func newTwoStages(t *testing.T, host component.Host, prices map[string]TelemetryPrice) *twoStages {
	t.Helper()
	f := NewFactory()
	s := &twoStages{sink: &consumertest.MetricsSink{}}
	received, sent := component.MustNewID("cost"), component.MustNewIDWithName("cost", "sent")
	make2 := func(id component.ID, change func(*Config), nt consumer.Traces, nm consumer.Metrics) (consumer.Traces, consumer.Metrics, *engine) {
		cfg := createDefaultConfig().(*Config)
		cfg.Telemetry.Prices = prices
		change(cfg)
		require.NoError(t, cfg.Validate())
		set := processortest.NewNopSettings(metadata.Type)
		set.ID = id
		pt, err := f.CreateTraces(t.Context(), set, cfg, nt)
		require.NoError(t, err)
		pm, err := f.CreateMetrics(t.Context(), set, cfg, nm)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, pt.Shutdown(context.Background()))
			require.NoError(t, pm.Shutdown(context.Background()))
		})
		e := pt.(*tracesProcessor).engine
		e.now = func() time.Time { return noon }
		return pt, pm, e
	}
	pt, pm, last := make2(sent, func(c *Config) { c.Telemetry.Stage, c.Telemetry.Baseline = "sent", &received }, consumertest.NewNop(), s.sink)
	between := &halve{traces: pt, metrics: pm}
	pt0, pm0, before := make2(received, func(*Config) {}, between, between)
	s.traces, s.metrics, s.engines = pt0, pm0, [2]*engine{before, last}
	for _, c := range []any{pt, pm, pt0, pm0} {
		require.NoError(t, c.(component.Component).Start(t.Context(), host))
	}
	return s
}

func (s *twoStages) at(t *testing.T, now time.Time) {
	t.Helper()
	for _, e := range s.engines {
		e.now = func() time.Time { return now }
		e.emit(t.Context())
	}
}

// usersOf is points of one gauge by user.
func usersOf(service string, users int) pmetric.Metrics {
	md := gaugeOf(map[string]any{"service.name": service}, users)
	for i, dp := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().All() {
		dp.Attributes().PutStr("user", strconv.Itoa(i))
	}
	return md
}

func TestWhatLimiterAndSamplerSavedIsWhatWasReceivedLessWhatWasSent(t *testing.T) {
	host, board := withBoard()
	s := newTwoStages(t, host, map[string]TelemetryPrice{"traces": {PerMillion: 10}, "metrics": {PerMillion: 1, PerSeriesMonth: 0.73}})
	s.at(t, noon)
	for range 5 {
		require.NoError(t, s.traces.ConsumeTraces(t.Context(), spansOf(map[string]any{"service.name": "cart"}, 100)))
		require.NoError(t, s.metrics.ConsumeMetrics(t.Context(), usersOf("cart", 40)))
	}
	require.NoError(t, s.metrics.ConsumeMetrics(t.Context(), usersOf("quiet", 3)))
	s.at(t, noon.Add(10*time.Minute)) // series are paid for ten minutes

	received, sent := board.costsOf(t, "cost"), board.costsOf(t, "cost/sent")
	require.Equal(t, "received", sent.Telemetry.Baseline)
	cart := func(c report.Costs) report.AccountTelemetry {
		for _, a := range c.Telemetry.Accounts {
			if a.Service == "cart" {
				return a
			}
		}
		return report.AccountTelemetry{}
	}
	month := 10.0 / 60 / report.HoursPerMonth
	assert.EqualValues(t, 500, cart(received).Signals["traces"].Items)
	assert.EqualValues(t, 250, cart(sent).Signals["traces"].Items)
	assert.EqualValues(t, 40, cart(received).Series)
	assert.EqualValues(t, 1, cart(sent).Series, "folded")
	assert.InDelta(t, 500*10e-6+200*1e-6+40*0.73*month, cart(received).Amount, 1e-12)
	assert.InDelta(t, 250*10e-6+195*1e-6+39*0.73*month, cart(sent).Saved, 1e-12)
	assert.InDelta(t, received.Telemetry.Amount-sent.Telemetry.Amount, sent.Telemetry.Saved, 1e-12, "over all services")

	saved := map[string]float64{}
	for _, md := range s.sink.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() == "cost.telemetry.saved" {
					for _, dp := range m.Sum().DataPoints().All() {
						key := first(rm.Resource().Attributes(), "", "service.name") + " " + first(dp.Attributes(), "", "cost.signal") + " since " + first(dp.Attributes(), "", "cost.baseline")
						saved[key] = dp.DoubleValue()
					}
				}
			}
		}
	}
	assert.InDelta(t, 250*10e-6, saved["cart traces since received"], 1e-12)
	assert.InDelta(t, 195*1e-6+39*0.73*month, saved["cart metrics since received"], 1e-12)
}

func TestSeriesAreActiveForAWhileAndNoLonger(t *testing.T) {
	host, board := withBoard()
	r := newRigOn(t, host, func(c *Config) {
		c.Telemetry.Prices = map[string]TelemetryPrice{"metrics": {PerSeriesMonth: 73}}
		c.Telemetry.MaxSeries = 5
	})
	r.engine.now = func() time.Time { return noon }
	r.engine.emit(t.Context())
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), usersOf("cart", 4)))
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), usersOf("cart", 4)), "the same again")
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), usersOf("flood", 4)), "one has room")
	series := func(minutes int) map[string]int64 {
		r.engine.now = func() time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
		r.engine.emit(t.Context())
		out := map[string]int64{}
		for _, a := range board.costsOf(t, "cost").Telemetry.Accounts {
			out[a.Service] = a.Series
		}
		return out
	}
	assert.Equal(t, map[string]int64{"cart": 4, "flood": 1}, series(1))
	assert.EqualValues(t, 3, r.counter(t, "cost_series_overflow"))
	assert.EqualValues(t, 5, r.counter(t, "cost_series_active"))
	assert.Equal(t, map[string]int64{"cart": 4, "flood": 1}, series(15))
	assert.Equal(t, map[string]int64{"cart": 0, "flood": 0}, series(16), "their last points are older than active_for")
	before := board.costsOf(t, "cost").Telemetry.Amount
	assert.InDelta(t, 5*73*16.0/60/report.HoursPerMonth, before, 1e-12)
	series(30)
	assert.InDelta(t, before, board.costsOf(t, "cost").Telemetry.Amount, 1e-15, "what is not active costs nothing")
	r.stop(t)
}

func TestHistogramsCountAsTheSeriesABackendMakesOfThem(t *testing.T) {
	md := pmetric.NewMetrics()
	list := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	h := list.AppendEmpty()
	h.SetName("h")
	h.SetEmptyHistogram().DataPoints().AppendEmpty().BucketCounts().FromRaw([]uint64{1, 2, 3})
	e := list.AppendEmpty()
	e.SetName("e")
	e.SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
	q := list.AppendEmpty()
	q.SetName("q")
	q.SetEmptySummary().DataPoints().AppendEmpty().QuantileValues().AppendEmpty()
	c := list.AppendEmpty()
	c.SetName("c")
	c.SetEmptySum().DataPoints().AppendEmpty()
	var weights []uint32
	for _, s := range sightings(nil, account{}, md.ResourceMetrics().At(0)) {
		weights = append(weights, s.weight)
	}
	assert.Equal(t, []uint32{5, 1, 3, 1}, weights)
}

func TestPricesAreOnTheBoardFromTheStart(t *testing.T) {
	host, board := withBoard()
	r := newRigOn(t, host, func(c *Config) {
		c.Telemetry.Prices = map[string]TelemetryPrice{"metrics": {PerSeriesMonth: 0.008}, "logs": {PerGB: 0.5}}
	})
	prices, err := report.ParsePrices(board.snapshots["prices cost"])
	require.NoError(t, err)
	assert.Equal(t, report.Prices{
		Schema: report.SchemaPrices, Currency: "USD", Signals: map[string]report.Price{"metrics": {PerSeriesMonth: 0.008}, "logs": {PerGB: 0.5}},
	}, prices)
	board.fail = errors.New("full")
	r.engine.emit(t.Context())
	assert.EqualValues(t, 1, r.counter(t, "cost_snapshot_failures"))
	r.stop(t)
}

func TestABaselineThatIsNotThereStopsTheStart(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	id := component.MustNewIDWithName("cost", "received")
	cfg.Telemetry.Baseline = &id
	p, err := NewFactory().CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, p.Start(t.Context(), componenttest.NewNopHost()), `telemetry.baseline: "cost/received" is not in any pipeline`)
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestDailySeriesOfABillAreOnTheBoard(t *testing.T) {
	host, board := withBoard()
	r := newRigOn(t, host, nil)
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billedPoint("ledger", 10, 3)))
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billedPoint("ledger", -4, 1)), "a correction of the first day")
	r.engine.emit(t.Context())
	assert.Equal(t, []report.Series{{
		Account: report.Account{Service: "ledger", Owner: "__unallocated__"}, Source: "bill", Currency: "USD", First: "2026-05-01", Values: []float64{6, 10, 10},
	}}, board.costsOf(t, "cost").Daily)
	r.stop(t)
}
