// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver/internal/metadata"
)

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
