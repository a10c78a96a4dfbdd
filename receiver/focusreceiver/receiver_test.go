// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver/internal/metadata"
)

const header = "BilledCost,EffectiveCost,ContractedCost,ListCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,BillingAccountId,ProviderName,ServiceName,SubAccountId,Tags\n"

var epoch = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func row(cost, month, day, service string) string {
	return fmt.Sprintf("%[1]s,%[1]s,%[1]s,%[1]s,USD,2026-0%[2]s-01T00:00:00Z,2026-0%[2]s-28T00:00:00Z,2026-0%[2]s-%[3]sT00:00:00Z,2026-0%[2]s-%[3]sT01:00:00Z,acc,AWS,%[4]s,sub,{}\n",
		cost, month, day, service)
}

// sink adds up what it gets, as a backend would, and refuses on demand.
type sink struct {
	consumertest.MetricsSink
	refuse []error
}

func (s *sink) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if len(s.refuse) > 0 {
		err := s.refuse[0]
		s.refuse = s.refuse[1:]
		if err != nil {
			return err
		}
	}
	return s.MetricsSink.ConsumeMetrics(ctx, md)
}

// each calls f for every point.
func (s *sink) each(f func(resource map[string]any, m pmetric.Metric, dp pmetric.NumberDataPoint)) {
	for _, md := range s.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				var points pmetric.NumberDataPointSlice
				if m.Type() == pmetric.MetricTypeGauge {
					points = m.Gauge().DataPoints()
				} else {
					points = m.Sum().DataPoints()
				}
				for _, dp := range points.All() {
					f(rm.Resource().Attributes().AsRaw(), m, dp)
				}
			}
		}
	}
}

// total adds up the points of a metric, in decimal.
func (s *sink) total(t *testing.T, name string) string {
	t.Helper()
	var sum money.Amount
	s.each(func(_ map[string]any, m pmetric.Metric, dp pmetric.NumberDataPoint) {
		if m.Name() == name {
			a, err := money.FromFloat(dp.DoubleValue())
			require.NoError(t, err)
			sum = sum.Plus(a)
		}
	})
	return sum.String()
}

type rig struct {
	*focusReceiver
	t    *testing.T
	dir  string
	sink *sink
	tel  *componenttest.Telemetry
	at   time.Time
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = t.TempDir()
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	g := &rig{t: t, dir: cfg.Directory, sink: &sink{}, tel: componenttest.NewTelemetry(), at: epoch}
	g.open(cfg, componenttest.NewNopHost())
	return g
}

// open makes a receiver that looks only when told to.
func (g *rig) open(cfg *Config, host component.Host) {
	g.t.Helper()
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	set.TelemetrySettings = g.tel.NewTelemetrySettings()
	r, err := newReceiver(set, cfg, g.sink)
	require.NoError(g.t, err)
	r.now = func() time.Time { return g.at }
	r.store, err = openStore(g.t.Context(), host, cfg, set.ID)
	require.NoError(g.t, err)
	r.files, r.bill, err = r.store.load(g.t.Context(), cfg)
	require.NoError(g.t, err)
	g.focusReceiver = r
}

// put writes a file as of now, and lets an hour pass.
func (g *rig) put(name string, text []byte) {
	g.t.Helper()
	g.at = g.at.Add(time.Hour)
	path := filepath.Join(g.dir, name)
	require.NoError(g.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(g.t, os.WriteFile(path, text, 0o600))
	require.NoError(g.t, os.Chtimes(path, g.at, g.at))
	g.at = g.at.Add(time.Minute)
}

func (g *rig) look() { g.scan(g.t.Context()) }

func (g *rig) outcome(name string) string { return g.files[name].Outcome }

func (g *rig) counter(name string, attrs ...attribute.KeyValue) int64 {
	g.t.Helper()
	m, err := g.tel.GetMetric("otelcol_" + name)
	if err != nil {
		return 0
	}
	set := attribute.NewSet(attrs...)
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		if p.Attributes.Equals(&set) {
			return p.Value
		}
	}
	return 0
}

func zipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestTheSampleLeavesAsMetricsWithItsControlTotals(t *testing.T) {
	text, err := os.ReadFile(recordings.Path(t, "fixtures", "focus", "focus_sample.csv"))
	require.NoError(t, err)
	for name, content := range map[string][]byte{"sample.csv": text, "sample.csv.gz": zipped(t, text)} {
		g := newRig(t, func(c *Config) { c.GroupBy = append(c.GroupBy, "tag:business_unit") })
		g.put(name, content)
		g.look()
		g.look()
		assert.Equal(t, outcomeRead, g.outcome(name))
		for metric, want := range map[string]float64{
			"cost.billed": 20.52022672899, "cost.effective": 14.97651418586, "cost.contracted": 14.97626039326, "cost.list": 20.39090575119,
		} {
			got, err := money.Parse(g.sink.total(t, metric))
			require.NoError(t, err)
			assert.InDelta(t, want, got.Float64(), 1e-12, "%s of %s", metric, name)
		}
		totals := g.bill.Totals()
		assert.Equal(t, "20.52022672899", totals[focus.Billed].String(), "in decimal, to the last digit")
		assert.EqualValues(t, 1000, g.counter("focus_rows"))
		assert.EqualValues(t, 7, g.counter("focus_findings", attribute.String("rule", "ChargeFrequency.allowed_value")))
	}
}

func TestPointsCarryAccountRegionServiceAndPeriod(t *testing.T) {
	g := newRig(t, func(c *Config) {
		c.GroupBy = []string{"Provider", "SubAccountId", "ServiceName", "x_Project", "tag:cost center"}
	})
	text := strings.Replace(header, "Tags\n", "x_Project,Tags\n", 1) + strings.Replace(row("1.5", "5", "02", "Amazon EC2"), ",{}", `,lift,"{""CostCenter"": ""7""}"`, 1)
	g.put("bill.csv", []byte(text))
	g.look()
	names := map[string]bool{}
	g.sink.each(func(resource map[string]any, m pmetric.Metric, dp pmetric.NumberDataPoint) {
		assert.Equal(t, map[string]any{
			"cloud.provider": "aws", "cloud.account.id": "sub", "focus.service_name": "Amazon EC2", "focus.x_project": "lift", "focus.tag.cost center": "7",
		}, resource)
		assert.Equal(t, map[string]any{"cost.currency": "USD", "focus.billing_period.start": "2026-05-01T00:00:00Z"}, dp.Attributes().AsRaw())
		assert.Equal(t, time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC), dp.StartTimestamp().AsTime())
		assert.Equal(t, time.Date(2026, 5, 3, 0, 0, 0, 0, time.UTC), dp.Timestamp().AsTime())
		assert.Equal(t, "{USD}", m.Unit())
		assert.Equal(t, pmetric.AggregationTemporalityDelta, m.Sum().AggregationTemporality())
		assert.False(t, m.Sum().IsMonotonic())
		names[m.Name()] = true
	})
	assert.Equal(t, map[string]bool{"cost.billed": true, "cost.effective": true, "cost.contracted": true, "cost.list": true}, names)
}

func TestAFileIsReadOnceAndAgainWhenItChanges(t *testing.T) {
	g := newRig(t, nil)
	g.put("bill.csv", []byte(header+row("1", "5", "02", "a")))
	g.look()
	g.look()
	assert.Equal(t, "1", g.sink.total(t, "cost.billed"))
	requests := len(g.sink.AllMetrics())

	g.put("bill.csv", []byte(header+row("1", "5", "02", "a")))
	g.look()
	assert.Len(t, g.sink.AllMetrics(), requests, "touched, but the same: nothing leaves")

	g.put("bill.csv", []byte(header+row("3.5", "5", "02", "a")+row("2", "5", "03", "b")))
	g.look()
	assert.Equal(t, "5.5", g.sink.total(t, "cost.billed"), "points add up to the bill as it is now")
}

func TestAReissuedPeriodReplacesWhatItReplaces(t *testing.T) {
	g := newRig(t, nil)
	g.put("2026-05-v1.csv", []byte(header+row("10", "5", "02", "a")+row("4", "4", "02", "a")))
	g.put("2026-05-v2.csv", []byte(header+row("9", "5", "02", "a")+row("1", "5", "03", "credit")))
	g.look()
	assert.Equal(t, "14", g.sink.total(t, "cost.billed"), "April stays, May is the later one")

	g.put("parts/may-00001.csv", []byte(header+row("5", "5", "02", "a")))
	g.put("parts/may-00002.csv", []byte(header+row("6", "5", "02", "a")))
	g.look()
	assert.Equal(t, "15", g.sink.total(t, "cost.billed"), "parts of one delivery add up, and replace the one before")

	old := g.at
	g.at = epoch.Add(-48 * time.Hour)
	g.put("late.csv", []byte(header+row("100", "5", "02", "a")))
	g.at = old
	g.look()
	assert.Equal(t, "15", g.sink.total(t, "cost.billed"))
	assert.Equal(t, outcomeSuperseded, g.outcome("late.csv"))

	require.NoError(t, os.Remove(filepath.Join(g.dir, "parts/may-00001.csv")))
	g.look()
	assert.Equal(t, "15", g.sink.total(t, "cost.billed"), "an archived file stays counted")
	g.put("parts/may-00002.csv", []byte(header+row("7", "5", "02", "a")))
	g.look()
	assert.Equal(t, "11", g.sink.total(t, "cost.billed"), "a re-run with fewer parts gives up the missing ones")
}

func TestPeriodsBeyondTheRetentionAreForgottenAndNotReadAgain(t *testing.T) {
	h, id := storageHost(t)
	g := newRig(t, nil)
	cfg := *g.cfg
	cfg.Storage = &id
	g.open(&cfg, h)
	g.put("april.csv", []byte(header+row("4", "4", "02", "a")))
	g.look()
	require.Len(t, g.bill.Statements(), 1)
	g.at = g.at.Add(cfg.Retention)
	g.put("may.csv", []byte(header+row("5", "9", "02", "a")+row("100", "4", "02", "a")))
	g.put("april-again.csv", []byte(header+row("100", "4", "02", "a")))
	g.look()
	assert.Equal(t, "9", g.sink.total(t, "cost.billed"))
	assert.Equal(t, outcomeExpired, g.outcome("april-again.csv"))
	require.NoError(t, os.Remove(filepath.Join(g.dir, "april.csv")))
	g.put("june.csv", []byte(header+row("1", "8", "02", "a")))
	g.look()
	assert.NotContains(t, g.files, "april.csv")
	require.NoError(t, g.store.close(t.Context()))
	g.open(&cfg, h)
	assert.Len(t, g.bill.Statements(), 2, "forgotten in storage too")
	require.NoError(t, g.store.close(t.Context()))
}

func TestGaugesSayWhatACellCostsNow(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Output = Gauge; c.Costs = []string{"effective"} })
	g.put("a.csv", []byte(header+row("10", "5", "02", "a")+row("2", "5", "03", "a")+row("3", "5", "04", "a")))
	g.put("b.csv", []byte(header+row("11", "5", "02", "a")+row("2", "5", "03", "a")))
	g.look()
	last := map[int]float64{}
	points := 0
	g.sink.each(func(_ map[string]any, m pmetric.Metric, dp pmetric.NumberDataPoint) {
		assert.Equal(t, "cost.effective", m.Name())
		assert.Equal(t, pmetric.MetricTypeGauge, m.Type())
		last[dp.StartTimestamp().AsTime().Day()] = dp.DoubleValue()
		points++
	})
	assert.Equal(t, map[int]float64{2: 11, 3: 2, 4: 0}, last, "a cell that vanished becomes 0")
	assert.Equal(t, 5, points, "a cell that did not change is not sent again")
}

func TestAHalfWrittenFileIsWaitedForAndRefusedInTheEnd(t *testing.T) {
	whole := []byte(header + row("1", "5", "02", "a") + row("2", "5", "03", "b"))
	packed := zipped(t, whole)
	for name, half := range map[string][]byte{
		"a.csv": whole[:len(whole)-20], "b.csv": {}, "c.csv.gz": packed[:len(packed)/2], "d.csv.gz": {}, "e.csv.gz": packed[:len(packed)-4], "f.parquet": []byte("PAR1 half"),
	} {
		g := newRig(t, func(c *Config) { c.GiveUp = 2 * time.Hour })
		g.put(name, half)
		g.look()
		assert.Empty(t, g.outcome(name), name)
		assert.EqualValues(t, 1, g.waiting.Load())
		g.at = g.at.Add(3 * time.Hour)
		g.look()
		assert.Equal(t, outcomeRefused, g.outcome(name), name)
		assert.Zero(t, g.waiting.Load())
		assert.Empty(t, g.sink.AllMetrics(), name)
		if strings.HasSuffix(name, ".parquet") {
			continue
		}
		full := whole
		if strings.HasSuffix(name, ".gz") {
			full = packed
		}
		g.put(name, full)
		g.look()
		assert.Equal(t, outcomeRead, g.outcome(name), name)
		assert.Equal(t, "3", g.sink.total(t, "cost.billed"), name)
	}
}

func TestAFileIsNotReadBeforeItSettles(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Settle = time.Hour })
	g.put("a.csv", []byte(header+row("1", "5", "02", "a")))
	g.look()
	assert.Empty(t, g.outcome("a.csv"))
	g.at = g.at.Add(time.Hour)
	g.look()
	assert.Equal(t, outcomeRead, g.outcome("a.csv"))

	g.put("b.csv", []byte(header+row("1", "4", "02", "a")))
	g.at = g.at.Add(-24 * time.Hour) // the file is from the future
	g.look()
	assert.Empty(t, g.outcome("b.csv"))
	g.at = g.at.Add(time.Hour)
	g.look()
	assert.Equal(t, outcomeRead, g.outcome("b.csv"))
}

func TestDirtyFilesAreRefusedAndGoodOnesAfterThemCount(t *testing.T) {
	clean, dirty := newRig(t, nil), newRig(t, nil)
	for i, path := range dirtyFiles(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		name := fmt.Sprintf("%03d-%s", i, filepath.Base(path))
		dirty.put(name, text)
		dirty.look()
		dirty.at = dirty.at.Add(2 * time.Hour)
		dirty.look()
		assert.Equal(t, outcomeRefused, dirty.outcome(name), path)
	}
	require.Empty(t, dirty.sink.AllMetrics())
	good := []byte(header + row("1.25", "5", "02", "a") + row("2", "5", "03", "b"))
	for _, g := range []*rig{clean, dirty} {
		g.put("good.csv", good)
		g.look()
	}
	assert.Equal(t, clean.sink.AllMetrics(), dirty.sink.AllMetrics())
}

// dirtyFiles are billing exports of other shapes and, as files, hostile telemetry requests.
func dirtyFiles(t *testing.T) []string {
	t.Helper()
	azure, err := filepath.Glob(recordings.Path(t, "fixtures", "opencost-azure") + "/billingexports/*/*.csv")
	require.NoError(t, err)
	require.Len(t, azure, 9)
	commitments, err := filepath.Glob(recordings.Path(t, "fixtures", "focus") + "/gen_*/*contract_commitment*.csv")
	require.NoError(t, err)
	require.Len(t, commitments, 3)
	hostile, err := filepath.Glob(recordings.Path(t, "fixtures", "otlp-badinput") + "/*.jsonl")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(hostile), 38)
	var files []string
	for i, path := range hostile {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		copied := filepath.Join(t.TempDir(), fmt.Sprintf("%d.csv", i))
		require.NoError(t, os.WriteFile(copied, text, 0o600))
		files = append(files, copied)
	}
	return append(append(files, azure...), commitments...)
}

func TestAFileTooLargeIsRefused(t *testing.T) {
	g := newRig(t, func(c *Config) { c.MaxFileMiB = 1 })
	var text strings.Builder
	text.WriteString(header)
	for range 12_000 {
		text.WriteString(row("1", "5", "02", "a"))
	}
	g.put("a.csv", []byte(text.String()))
	g.put("b.csv.gz", zipped(t, []byte(text.String())))
	g.put("c.parquet", append(make([]byte, 2<<20), "PAR1"...))
	g.put("d.csv.gz", []byte("this is no gzip file at all"))
	g.look()
	for name := range maps.Keys(g.files) {
		assert.Equal(t, outcomeRefused, g.outcome(name), name)
	}
	assert.Len(t, g.files, 4)
	assert.EqualValues(t, 4, g.counter("focus_files", attribute.String("outcome", "refused")))
	assert.Empty(t, g.sink.AllMetrics())
}

var errFull = errors.New("full")

func TestWhatIsRefusedIsSentAgainAndNothingTwice(t *testing.T) {
	g := newRig(t, func(c *Config) { c.MaxPoints = 1; c.Costs = []string{"billed"} })
	g.put("a.csv", []byte(header+row("1", "5", "02", "a")+row("2", "5", "03", "a")+row("4", "5", "04", "a")))
	g.put("b.csv", []byte(header+row("8", "4", "04", "a")))
	g.sink.refuse = []error{nil, errFull, nil, errFull}
	g.look()
	assert.Equal(t, "1", g.sink.total(t, "cost.billed"))
	assert.Empty(t, g.outcome("a.csv"))
	assert.EqualValues(t, 1, g.waiting.Load())
	g.look()
	g.look()
	g.look()
	assert.Equal(t, "15", g.sink.total(t, "cost.billed"))
	assert.Equal(t, outcomeRead, g.outcome("b.csv"))
	assert.EqualValues(t, 2, g.counter("focus_send_failures"))
	assert.EqualValues(t, 4, g.counter("focus_points"))
}

func TestWhatIsRefusedForGoodIsCountedAsLost(t *testing.T) {
	g := newRig(t, func(c *Config) { c.MaxPoints = 1; c.Costs = []string{"billed"} })
	g.put("a.csv", []byte(header+row("1", "5", "02", "a")+row("2", "5", "03", "a")))
	g.sink.refuse = []error{consumererror.NewPermanent(errFull)}
	g.look()
	assert.Equal(t, "2", g.sink.total(t, "cost.billed"))
	assert.EqualValues(t, 1, g.counter("focus_dropped_points", attribute.String("reason", "refused")))
	assert.EqualValues(t, 1, g.counter("focus_points"))
}

// host has a file storage.
type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func storageHost(t *testing.T) (host, component.ID) {
	t.Helper()
	f := filestorage.NewFactory()
	cfg := f.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory = t.TempDir()
	set := extensiontest.NewNopSettings(f.Type())
	ext, err := f.Create(t.Context(), set, cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, ext.Shutdown(context.Background())) })
	id := component.NewID(f.Type())
	return host{componenttest.NewNopHost(), map[component.ID]component.Component{id: ext, component.MustNewID("other"): nopComponent{}}}, id
}

type nopComponent struct{ component.Component }

func TestARestartReadsNothingTwiceAndStillKnowsWhatACorrectionReplaces(t *testing.T) {
	h, id := storageHost(t)
	g := newRig(t, nil)
	cfg := *g.cfg
	cfg.Storage = &id
	g.open(&cfg, h)
	g.put("a.csv", []byte(header+row("10", "5", "02", "a")+row("1", "4", "02", "a")))
	g.put("bad.csv", []byte("a,b\n1,2\n"))
	g.look()
	assert.Equal(t, "11", g.sink.total(t, "cost.billed"))
	require.NoError(t, g.store.close(t.Context()))

	g.open(&cfg, h)
	requests := len(g.sink.AllMetrics())
	g.look()
	assert.Len(t, g.sink.AllMetrics(), requests)
	assert.Equal(t, outcomeRefused, g.outcome("bad.csv"))
	g.put("b.csv", []byte(header+row("9", "5", "02", "a")))
	g.look()
	assert.Equal(t, "10", g.sink.total(t, "cost.billed"), "11 − 10 + 9")
	require.NoError(t, g.store.close(t.Context()))

	other := cfg
	other.GroupBy = []string{"ServiceName"}
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	r, err := newReceiver(set, &other, g.sink)
	require.NoError(t, err)
	require.ErrorIs(t, r.Start(t.Context(), h), errGrouping)
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestStateThatCannotBeReadStopsTheStart(t *testing.T) {
	h, id := storageHost(t)
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = t.TempDir()
	cfg.Storage = &id
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	client, err := openStore(t.Context(), h, cfg, set.ID)
	require.NoError(t, err)
	good, err := encode(index{Grouping: grouping(cfg), Statements: []focus.Statement{{Account: "a"}}})
	require.NoError(t, err)
	for says, stored := range map[string][]byte{
		"newer version": {9, 1}, "EOF": {stateVersion}, "gzip": {stateVersion, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
		"is missing": good, "checksum": append(bytes.Clone(good[:len(good)-8]), 1, 2, 3, 4, 5, 6, 7, 8),
	} {
		require.NoError(t, client.client.Set(t.Context(), indexKey, stored))
		_, _, err := client.load(t.Context(), cfg)
		require.ErrorContains(t, err, says)
	}
	require.NoError(t, client.close(t.Context()))

	for _, name := range []string{"none", "other"} {
		missing := component.MustNewID(name)
		cfg.Storage = &missing
		r, err := newReceiver(set, cfg, &sink{})
		require.NoError(t, err)
		require.ErrorContains(t, r.Start(t.Context(), h), "storage")
	}
}

func TestStateThatCouldNotBeStoredIsStoredWithTheNextFile(t *testing.T) {
	h, id := storageHost(t)
	g := newRig(t, nil)
	cfg := *g.cfg
	cfg.Storage = &id
	g.open(&cfg, h)
	require.NoError(t, g.store.close(t.Context())) // a closed client fails
	g.put("a.csv", []byte(header+row("10", "5", "02", "a")))
	g.look()
	assert.EqualValues(t, 1, g.counter("focus_state_failures"))
	var err error
	g.store, err = openStore(t.Context(), h, &cfg, component.NewID(metadata.Type))
	require.NoError(t, err)
	g.put("b.csv", []byte(header+row("1", "4", "02", "a")))
	g.look()
	require.NoError(t, g.store.close(t.Context()))
	g.open(&cfg, h)
	assert.Len(t, g.bill.Statements(), 2)
	require.NoError(t, g.store.close(t.Context()))
}

func TestItLooksAtTheDirectoryAtStartAndThenAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := createDefaultConfig().(*Config)
		cfg.Directory = t.TempDir()
		cfg.Settle = 0
		s := &sink{}
		r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, s)
		require.NoError(t, err)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		synctest.Wait()
		path := filepath.Join(cfg.Directory, "a.csv")
		require.NoError(t, os.WriteFile(path, []byte(header+row("1", "5", "02", "a")), 0o600))
		require.NoError(t, os.Chtimes(path, time.Now(), time.Now()))
		time.Sleep(cfg.PollInterval + time.Second)
		synctest.Wait()
		assert.Equal(t, "1", s.total(t, "cost.billed"))
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, r.Shutdown(t.Context()))
	})
}

func TestAMissingDirectoryIsNotFatal(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Directory = filepath.Join(c.Directory, "later") })
	g.look()
	g.put("a.csv", []byte(header+row("1", "5", "02", "a")))
	g.look()
	assert.Equal(t, "1", g.sink.total(t, "cost.billed"))
}

func TestOnlyMatchingFilesAreListedOldestFirst(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Recursive = false })
	g.put("z.csv", []byte("1"))
	g.put("a.parquet", []byte("1"))
	g.put("b.json", []byte("1"))
	g.put("sub/c.csv", []byte("1"))
	g.put(".hidden/c.csv", []byte("1"))
	names := func(recursive bool) []string {
		cfg := *g.cfg
		cfg.Recursive = recursive
		files, err := list(&cfg)
		require.NoError(t, err)
		var out []string
		for _, f := range files {
			out = append(out, f.name)
		}
		return out
	}
	assert.Equal(t, []string{"z.csv", "a.parquet"}, names(false))
	assert.Equal(t, []string{"z.csv", "a.parquet", "sub/c.csv"}, names(true))
}

func TestPartsOfOneDeliveryAreToldByTheirNumbers(t *testing.T) {
	for _, same := range [][2]string{
		{"x/cost-00001.csv.gz", "x/cost-00002.csv.gz"},
		{"part_0_0001.csv", "part_1_0001.csv"},
		{"000000000000.csv.gz", "000000000001.csv.gz"},
		{"part-00000-a1b2.snappy.parquet", "part-00001-a1b2.snappy.parquet"},
	} {
		assert.Equal(t, Auto.of(same[0]), Auto.of(same[1]), same)
	}
	for _, other := range [][2]string{
		{"bill-v1.csv", "bill-v2.csv"}, {"x/cost-00001.csv", "y/cost-00001.csv"}, {"export-20260901.csv", "export-20260902.csv"}, {"a.csv", "b.csv"}, {"2026-05.csv", "2026-06.csv"},
	} {
		assert.NotEqual(t, Auto.of(other[0]), Auto.of(other[1]), other)
	}
	assert.Equal(t, PerFolder.of("x/a.csv"), PerFolder.of("x/b.csv"))
	assert.NotEqual(t, PerFile.of("x/c-00001.csv"), PerFile.of("x/c-00002.csv"))
}

func TestParquetFilesAreRead(t *testing.T) {
	type record struct {
		BilledCost, EffectiveCost                                                float64
		BillingCurrency, ProviderName, ServiceName                               string
		BillingPeriodStart, BillingPeriodEnd, ChargePeriodStart, ChargePeriodEnd time.Time
	}
	day := func(d int) time.Time { return time.Date(2026, 5, d, 0, 0, 0, 0, time.UTC) }
	var b bytes.Buffer
	w := parquet.NewGenericWriter[record](&b)
	_, err := w.Write([]record{{1.5, 1.25, "USD", "Google Cloud", "GCE", day(1), day(31), day(2), day(3)}})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	g := newRig(t, nil)
	g.put("a.parquet", b.Bytes())
	g.look()
	assert.Equal(t, "1.5", g.sink.total(t, "cost.billed"))
	assert.Equal(t, "0", g.sink.total(t, "cost.list"))
	g.sink.each(func(resource map[string]any, _ pmetric.Metric, _ pmetric.NumberDataPoint) {
		assert.Equal(t, map[string]any{"cloud.provider": "gcp", "focus.service_name": "GCE"}, resource)
	})
}

func TestAttributeNames(t *testing.T) {
	for column, want := range map[string]string{
		"Provider": "cloud.provider", "RegionId": "cloud.region", "ServiceName": "focus.service_name", "x_CostCategory": "focus.x_cost_category", "tag:org": "focus.tag.org",
	} {
		assert.Equal(t, want, attributeName(column))
	}
	assert.Equal(t, "Hetzner", attributeValue("Provider", "Hetzner"))
	assert.Equal(t, "AWS", attributeValue("ServiceName", "AWS"))
}
