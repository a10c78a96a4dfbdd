// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// stored is a host with a file storage extension, and its ID.
func stored(t *testing.T) (hostWith, component.ID) {
	t.Helper()
	f := filestorage.NewFactory()
	cfg := f.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory = t.TempDir()
	ext, err := f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, ext.Shutdown(context.Background())) })
	id := component.NewID(f.Type())
	return hostWith{id: ext}, id
}

// sums are the cumulative sums that a processor emits: value by metric, resource and attributes; begin is their common start.
func sums(t *testing.T, list []pmetric.Metrics) (values map[string]float64, begin time.Time) {
	t.Helper()
	values = map[string]float64{}
	for _, md := range list {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Type() != pmetric.MetricTypeSum || m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
					continue
				}
				for _, dp := range m.Sum().DataPoints().All() {
					key := []string{m.Name(), first(rm.Resource().Attributes(), "", "service.name")}
					for _, v := range dp.Attributes().All() {
						key = append(key, v.AsString())
					}
					value := dp.DoubleValue()
					if dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
						value = float64(dp.IntValue())
					}
					values[strings.Join(key, " ")] = value
					begin = dp.StartTimestamp().AsTime()
				}
			}
		}
	}
	return values, begin
}

func everything(t *testing.T, id component.ID) func(*Config) {
	t.Helper()
	return func(c *Config) {
		c.Storage = &id
		c.Telemetry.Prices = map[string]TelemetryPrice{"traces": {PerGB: 2}, "metrics": {PerMillion: 5, PerSeriesMonth: 0.73}}
		c.Resources.Enabled, c.Resources.MaxGap = true, time.Hour
		c.Budgets = []BudgetConfig{{Name: "shop", Match: map[string]string{"service.name": "a"}, Monthly: 31, Currency: "USD", Source: FromAllocated}}
	}
}

func TestNoSumFallsOverARestart(t *testing.T) {
	host, id := stored(t)
	r := newRigOn(t, host, everything(t, id))
	r.engine.started = noon.Add(-time.Hour)
	hour(t, r)
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), spansOf(map[string]any{"service.name": "nobody"}, 3)))
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billedPoint("ledger", 12.5, 1)))
	r.metrics.Reset()
	r.engine.emit(t.Context())
	before, began := sums(t, r.metrics.AllMetrics())
	for _, key := range []string{
		"cost.telemetry.items nobody traces received", "cost.telemetry.amount a metrics received USD", "cost.allocated a own USD",
		"cost.allocated __idle__ idle USD", "cost.unallocated  bill", "cost.unallocated  telemetry",
	} {
		require.Positive(t, before[key], "%s in %v", key, before)
	}
	r.stop(t)

	r = newRigOn(t, host, everything(t, id))
	assert.Equal(t, noon.Add(-time.Hour), r.engine.started.UTC(), "the sums still begin when they began")
	r.engine.now = func() time.Time { return noon.Add(2 * time.Hour) }
	r.engine.emit(t.Context())
	after, began2 := sums(t, r.metrics.AllMetrics())
	assert.Equal(t, began.UTC(), began2.UTC())
	for key, v := range before {
		assert.GreaterOrEqual(t, after[key]+1e-12, v, key)
	}
	assert.InDelta(t, before["cost.allocated a own USD"], after["cost.allocated a own USD"], 1e-12, "nothing ran in between")
	assert.Equal(t, "12.5", r.engine.daily.days()[len(r.engine.daily.days())-1].Days[int(noon.Unix()/86400)].String())
	assert.InDelta(t, before["cost.allocated a own USD"], r.engine.budgets.list[0].series.Between(noon, noon.AddDate(0, 0, 1)).Float64(), 1e-12)
	r.stop(t)
}

// billedPoint is one charge of a bill, as the focus receiver emits it.
func billedPoint(service string, amount float64, days int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", service)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(billMetric)
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	for day := range days {
		dp := sum.DataPoints().AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(noon.AddDate(0, 0, day)))
		dp.SetDoubleValue(amount)
		dp.Attributes().PutStr("cost.currency", "USD")
	}
	return md
}

func TestStoredCostsThatAreBrokenOrTooNewStopTheStartWithAReason(t *testing.T) {
	host, id := stored(t)
	newRigOn(t, host, everything(t, id)).stop(t)
	cfg := createDefaultConfig().(*Config)
	cfg.Storage = &id
	e, err := newEngine(processortest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	// swap changes what is stored under a key and returns what stood there.
	swap := func(key string, f func(string) string) string {
		client, err := host[id].(storage.Extension).GetClient(t.Context(), component.KindProcessor, e.id, "")
		require.NoError(t, err)
		text, err := client.Get(t.Context(), key)
		require.NoError(t, err)
		require.NotEmpty(t, text)
		require.NoError(t, client.Set(t.Context(), key, []byte(f(string(text)))))
		require.NoError(t, client.Close(t.Context()))
		return string(text)
	}
	for _, c := range []struct {
		key, says string
		f         func(string) string
	}{
		{stateKey, "checksum", func(s string) string { return strings.Replace(s, "started", "startex", 1) }},
		{stateKey, "cannot be used", func(s string) string { return s[:len(s)/2] }},
		{stateKey, "later release", func(s string) string { return strings.Replace(s, `"version":1`, `"version":2`, 1) }},
		{budgetsKey, "stored budgets", func(string) string { return "{" }},
	} {
		good := swap(c.key, c.f)
		require.ErrorContains(t, e.openStorage(t.Context(), host), c.says)
		require.Nil(t, e.client)
		swap(c.key, func(string) string { return good })
	}
	require.NoError(t, e.openStorage(t.Context(), host))
	require.NoError(t, e.closeStorage(t.Context()))

	none, other := component.MustNewID("none"), component.MustNewID("other")
	cfg.Storage = &none
	require.ErrorIs(t, e.openStorage(t.Context(), host), errNoStorage)
	cfg.Storage = &other
	require.ErrorIs(t, e.openStorage(t.Context(), hostWith{other: nil}), errNotStorage)
}
