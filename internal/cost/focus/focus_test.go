// SPDX-License-Identifier: Apache-2.0

package focus_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/recordings"
)

const header = "BilledCost,EffectiveCost,ContractedCost,ListCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,BillingAccountId,ProviderName,ServiceName,Tags\n"

func row(cost, day, service, tags string) string {
	return fmt.Sprintf("%s,%s,%s,%s,USD,2026-05-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-%sT00:00:00Z,2026-05-%sT01:00:00Z,acc,AWS,%s,\"%s\"\n",
		cost, cost, cost, cost, day, day, service, strings.ReplaceAll(tags, `"`, `""`))
}

func read(t *testing.T, text string, f func(*focus.Charge) error) (focus.Report, error) {
	t.Helper()
	src, err := focus.OpenCSV(strings.NewReader(text))
	if err != nil {
		return focus.Report{}, err
	}
	if f == nil {
		f = func(*focus.Charge) error { return nil }
	}
	return focus.ReadAll(src, f)
}

func sums(r focus.Report) [4]string {
	var out [4]string
	for i := range r.Totals {
		out[i] = r.Totals[i].String()
	}
	return out
}

func TestTheSamplesControlTotalsAreReproducedToTheLastDigit(t *testing.T) {
	file, err := os.Open(recordings.Path(t, "fixtures", "focus", "focus_sample.csv"))
	require.NoError(t, err)
	defer file.Close()
	src, err := focus.OpenCSV(file)
	require.NoError(t, err)
	g := focus.NewGrouper(focus.GroupSettings{Columns: []string{"Provider", "ServiceName", "tag:org"}, Interval: focus.Daily, Spread: true, MaxCells: 1000})
	r, err := focus.ReadAll(src, g.Add)
	require.NoError(t, err)
	want := [4]string{"20.52022672899", "14.97651418586", "14.97626039326", "20.39090575119"}
	assert.Equal(t, want, sums(r))
	assert.Equal(t, 1000, r.Rows)
	assert.Equal(t, focus.V1_0, r.Version)

	bill := focus.NewBill()
	bill.Commit(bill.Plan(focus.File{Path: "sample"}, g.Portion(), nil))
	total := bill.Totals()
	for i := range total {
		assert.Equal(t, want[i], total[i].String(), "after grouping, spreading and overflow")
	}
	findings := map[string]int{}
	for _, f := range r.Findings {
		findings[f.Rule] = f.Rows
		assert.Positive(t, f.Line)
	}
	assert.Equal(t, 7, findings["ChargeFrequency.allowed_value"], "Usage-based beside Usage-Based")
	assert.Equal(t, 1000, findings["ChargePeriodStart.type"], "times without T and Z")
	assert.NotZero(t, findings["ListCost.product"])
}

func TestGeneratedFilesOfEveryProviderAreRead(t *testing.T) {
	files, err := filepath.Glob(recordings.Path(t, "fixtures", "focus") + "/gen_*/*.csv")
	require.NoError(t, err)
	require.Len(t, files, 6)
	for _, path := range files {
		file, err := os.Open(path)
		require.NoError(t, err)
		src, err := focus.OpenCSV(file)
		require.NoError(t, err)
		r, err := focus.ReadAll(src, func(c *focus.Charge) error {
			assert.NotEmpty(t, c.Provider())
			return nil
		})
		require.NoError(t, file.Close())
		if strings.Contains(path, "contract_commitment") {
			var refused *focus.Refused
			require.ErrorAs(t, err, &refused, path)
			assert.Contains(t, refused.Reason, "Contract Commitment")
			continue
		}
		require.NoError(t, err, path)
		assert.Equal(t, focus.V1_3, r.Version)
		assert.Positive(t, r.Totals[focus.Billed].Sign())
		for _, f := range r.Findings {
			assert.NotContains(t, f.Rule, ".present", path)
		}
	}
}

func TestOtherBillingExportsAreRefusedWithLineColumnAndReason(t *testing.T) {
	files, err := filepath.Glob(recordings.Path(t, "fixtures", "opencost-azure") + "/billingexports/*/*.csv")
	require.NoError(t, err)
	require.Len(t, files, 9)
	for _, path := range files {
		file, err := os.Open(path)
		require.NoError(t, err)
		src, err := focus.OpenCSV(file)
		if err == nil {
			_, err = focus.ReadAll(src, func(*focus.Charge) error { return nil })
		}
		require.NoError(t, file.Close())
		var refused *focus.Refused
		require.ErrorAs(t, err, &refused, path)
		assert.Positive(t, refused.Line, path)
		assert.NotEmpty(t, refused.Reason, path)
	}
}

func TestBrokenRowsRefuseTheFileWithTheirPlace(t *testing.T) {
	good := row("1.5", "02", "ec2", `{}`)
	for name, c := range map[string]struct{ text, says string }{
		"cost":          {header + good + strings.Replace(good, "1.5", "1;5", 1), `line 3, column 1 (BilledCost): not a decimal number: "1;5"`},
		"infinite":      {header + strings.Replace(good, "1.5", "Infinity", 1), "line 2, column 1 (BilledCost)"},
		"huge exponent": {header + strings.Replace(good, "1.5", "1e999999", 1), "not a decimal number"},
		"exponent":      {header + strings.Replace(good, "1.5", "1e30", 1), "out of range"},
		"time":          {header + strings.Replace(good, "2026-05-02T00:00:00Z", "02/05/2026", 1), `line 2, column 63 (ChargePeriodStart): not a date and time: "02/05/2026"`},
		"year":          {header + strings.Replace(good, "2026-05-02T00:00:00Z", "0001-05-02T00:00:00Z", 1), "not a date and time"},
		"currency":      {header + strings.Replace(good, "USD", "dollars", 1), "BillingCurrency"},
		"column twice":  {"BilledCost,BilledCost\n", `line 1, column 12 (BilledCost): column occurs twice`},
		"other file":    {"a,b\n1,2\n", "not a FOCUS Cost and Usage file"},
		"cells":         {header + good + "1,2,3\n" + good, "line 3, column 1: wrong number of fields"},
		"quote":         {header + "\"1\"2,\n" + good, "line 2"},
	} {
		_, err := read(t, c.text, nil)
		var refused *focus.Refused
		require.ErrorAs(t, err, &refused, name)
		assert.Contains(t, err.Error(), c.says, name)
	}
}

func TestAFileThatIsStillBeingWrittenIsIncompleteAndNotWrong(t *testing.T) {
	whole := header + row("1.5", "02", "ec2", `{"a": "b"}`) + row("2", "03", "s3", `{}`)
	cutMidRow := 0
	for cut := range whole {
		_, err := read(t, whole[:cut], nil)
		if cut == 0 {
			require.ErrorIs(t, err, focus.ErrIncomplete)
			continue
		}
		if err == nil {
			continue // a cut between rows, or one that leaves a whole cell: the file's settling time and its next change tell
		}
		var refused *focus.Refused
		if cut > len(header) {
			cutMidRow++
			require.ErrorIs(t, err, focus.ErrIncomplete, "%q", whole[:cut])
		} else if !assert.ErrorAs(t, err, &refused) {
			break
		}
	}
	assert.Greater(t, cutMidRow, 100)
}

func TestNullsAreReadHoweverTheyAreWritten(t *testing.T) {
	for _, null := range []string{"", "NULL", "null"} {
		r, err := read(t, header+strings.Replace(row("1", "02", null, null), "1,1,1,1", "1,1,"+null+",1", 1), func(c *focus.Charge) error {
			assert.Empty(t, c.Value("ServiceName"))
			assert.Empty(t, c.Tags())
			assert.Empty(t, c.Value("NoSuchColumn"))
			assert.Equal(t, "AWS", c.Provider())
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, [4]string{"1", "1", "0", "1"}, sums(r))
		rules := []string{}
		for _, f := range r.Findings {
			rules = append(rules, f.Rule)
		}
		assert.Contains(t, rules, "ContractedCost.not_null")
		assert.Contains(t, rules, "ServiceName.not_null")
	}
}

func TestFindingsNameTheRuleAndItsFirstPlace(t *testing.T) {
	text := header + row("1", "02", "ec2", `{}`) + strings.Replace(row("2", "03", "s3", `"no": "braces"`), "2026-05-03T01:00:00Z", "2026-05-03T00:00:00Z", 1)
	tags := []string{}
	r, err := read(t, text, func(c *focus.Charge) error { tags = append(tags, c.Tags()["no"]); return nil })
	require.NoError(t, err)
	assert.Equal(t, []string{"", "braces"}, tags)
	assert.Contains(t, r.Findings, focus.Finding{Rule: "ChargePeriodEnd.order", Rows: 1, Line: 3, Column: 76})
	assert.Contains(t, r.Findings, focus.Finding{Rule: "InvoiceIssuerName.present", Rows: 1, Line: 1})
	found := false
	for _, f := range r.Findings {
		found = found || f.Rule == "Tags.type" && f.Line == 3
	}
	assert.True(t, found)
}

func TestVersionsAreToldByTheirColumns(t *testing.T) {
	for version, extra := range map[focus.Version]string{
		focus.V1_0: "ResourceId", focus.V1_1: "SkuMeter", focus.V1_2: "InvoiceId", focus.V1_3: "HostProviderName,AllocatedMethodId", focus.V1_4: "InvoiceDetailId",
	} {
		r, err := read(t, strings.TrimSpace(header)+","+extra+"\n", nil)
		require.NoError(t, err)
		assert.Equal(t, version, r.Version, version.String())
	}
	r, err := read(t, strings.Replace(header, "ProviderName", "ServiceProviderName,HostProviderName", 1), nil)
	require.NoError(t, err)
	assert.Equal(t, focus.V1_4, r.Version)
}

func parquetFile(t testing.TB, rows []parquetRow) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[parquetRow](&b, parquet.Compression(&parquet.Zstd))
	_, err := w.Write(rows)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func parquetRows(n int) []parquetRow {
	service := "ec2"
	rows := make([]parquetRow, n)
	for i := range rows {
		rows[i] = parquetRow{
			BilledCost: -15001, EffectiveCost: "0.1", ContractedCost: 0.25, BillingCurrency: "EUR",
			BillingPeriodStart: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), BillingPeriodEnd: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
			ChargePeriodStart: time.Date(2026, 5, 2, 3, 0, 0, 0, time.UTC), ChargePeriodEnd: "2026-05-02T04:00:00Z",
			ProviderName: "AWS", ServiceName: &service,
			Tags: map[string]string{"org": "shop", "n": strconv.Itoa(i), "empty": ""},
		}
	}
	rows[0].Tags, rows[0].ServiceName = nil, nil
	return rows
}

func TestParquetIsReadLikeText(t *testing.T) {
	file := parquetFile(t, parquetRows(200))
	src, err := focus.OpenParquet(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	n := 0
	r, err := focus.ReadAll(src, func(c *focus.Charge) error {
		if n == 0 {
			assert.Empty(t, c.Tags())
			assert.Empty(t, c.Value("ServiceName"))
		} else {
			assert.Equal(t, map[string]string{"org": "shop", "n": strconv.Itoa(n), "empty": ""}, c.Tags())
			assert.Equal(t, "ec2", c.Value("ServiceName"))
		}
		assert.Equal(t, time.Date(2026, 5, 2, 3, 0, 0, 0, time.UTC), c.Start)
		assert.Equal(t, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), c.BillingEnd)
		n++
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, [4]string{"-300.02", "20", "50", "0"}, sums(r))
	for _, f := range r.Findings {
		assert.NotContains(t, []string{"BilledCost.type", "ChargePeriodStart.type", "Tags.type"}, f.Rule)
	}
}

func TestABrokenParquetFileIsIncompleteOrRefusedAndNeverPanics(t *testing.T) {
	file := parquetFile(t, parquetRows(20))
	for cut := 0; cut < len(file); cut += 37 {
		_, err := focus.OpenParquet(bytes.NewReader(file[:cut]), int64(cut))
		require.ErrorIs(t, err, focus.ErrIncomplete)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		broken := bytes.Clone(file)
		for range 1 + rng.IntN(8) {
			broken[rng.IntN(len(broken)-4)] ^= byte(1 << rng.IntN(8))
		}
		src, err := focus.OpenParquet(bytes.NewReader(broken), int64(len(broken)))
		if err != nil {
			continue
		}
		_, _ = focus.ReadAll(src, func(*focus.Charge) error { return nil })
	}
}

func FuzzCSV(f *testing.F) {
	f.Add(header + row("1.5", "02", "ec2", `{"a": "b"}`))
	f.Add(header + "\"")
	f.Add("\ufeff" + header + row("NULL", "31", "", `"a": 1`))
	f.Fuzz(func(t *testing.T, text string) {
		src, err := focus.OpenCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		g := focus.NewGrouper(focus.GroupSettings{Columns: []string{"ServiceName", "tag:a"}, Interval: focus.Daily, Spread: true, MaxCells: 100})
		r, err := focus.ReadAll(src, g.Add)
		if err != nil {
			return
		}
		b := focus.NewBill()
		b.Commit(b.Plan(focus.File{Path: "f"}, g.Portion(), nil))
		total := b.Totals()
		for i := range total {
			require.Zero(t, total[i].Cmp(r.Totals[i]))
		}
	})
}
