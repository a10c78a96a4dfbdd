// SPDX-License-Identifier: Apache-2.0

package focus_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
)

// bigRows is the size of the file that the benchmark reads.
const bigRows = 50_000

// bigFile is a FOCUS 1.3 file of at least n rows and 65 columns: the generated sample over and over.
func bigFile(t testing.TB, n int) *repeated {
	t.Helper()
	text, err := os.ReadFile(recordings.Path(t, "fixtures", "focus", "gen_aws", "focus_1_3_cost_and_usage_aws.csv"))
	require.NoError(t, err)
	head, body, ok := bytes.Cut(text, []byte("\n"))
	require.True(t, ok)
	rows := bytes.Count(body, []byte("\n"))
	require.NotZero(t, rows)
	times := (n + rows - 1) / rows
	return &repeated{head: append(head, '\n'), body: body, times: times, rows: rows * times}
}

// repeated reads as head, then body a number of times.
type repeated struct {
	head, body []byte
	times      int
	rows       int
	at         []byte
	done       int
}

func (r *repeated) size() int64 { return int64(len(r.head) + r.times*len(r.body)) }

func (r *repeated) reset() { r.at, r.done = r.head, 0 }

func (r *repeated) Read(p []byte) (int, error) {
	for len(r.at) == 0 {
		if r.done == r.times {
			return 0, io.EOF
		}
		r.at, r.done = r.body, r.done+1
	}
	n := copy(p, r.at)
	r.at = r.at[n:]
	return n, nil
}

func readBig(t testing.TB, file *repeated) (focus.Report, *focus.Bill) {
	t.Helper()
	file.reset()
	src, err := focus.OpenCSV(file)
	require.NoError(t, err)
	g := focus.NewGrouper(focus.GroupSettings{
		Columns:  []string{"Provider", "SubAccountId", "SubAccountName", "RegionId", "ServiceName", "ServiceCategory", "ChargeCategory", "tag:team", "tag:cost_center"},
		Interval: focus.Daily, Spread: true, MaxCells: 100_000,
	})
	r, err := focus.ReadAll(src, g.Add)
	require.NoError(t, err)
	bill := focus.NewBill()
	bill.Commit(bill.Plan(focus.File{Path: "big"}, g.Portion(), nil))
	return r, bill
}

// bigScale is the share of the 50,000 rows that is read: a tenth, or PITWALL_SCALE if that is more.
func bigScale(t *testing.T) float64 {
	t.Helper()
	scale := 0.1
	if s := os.Getenv("PITWALL_SCALE"); s != "" {
		v, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err, "PITWALL_SCALE")
		scale = max(scale, v)
	}
	return scale
}

// peak is the most memory that this process ever had resident, in MB of 10^6 bytes; 0 where the system does not say.
func peak() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0
	}
	return kib * 1024 / 1e6
}

func TestALargeFileIsReadInLittleMemory(t *testing.T) {
	file := bigFile(t, int(bigRows*bigScale(t)))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	r, bill := readBig(t, file)
	took := time.Since(began)
	figures.Record(t, figures.Figure{
		Table: "Cost", Row: fmt.Sprintf("A FOCUS 1.3 file of %d rows (%d MB) read, checked, grouped, added up", r.Rows, file.size()/1e6),
		Reached: fmt.Sprintf("%.1f s, peak of the whole test process %.0f MB", took.Seconds(), peak()), Wanted: "at most 2 s and 100 MB for 50,000 rows",
		Command: "PITWALL_SCALE=1 go test -run LargeFile ./internal/cost/focus",
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Equal(t, file.rows, r.Rows)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(20<<20), "what stays is the cells, not the rows")
	total := bill.Totals()
	assert.Zero(t, total[focus.Billed].Cmp(r.Totals[focus.Billed]))
}

// BenchmarkReadFOCUS reads, checks, groups and adds up a FOCUS 1.3 file of 50,000 rows.
func BenchmarkReadFOCUS(b *testing.B) {
	file := bigFile(b, bigRows)
	b.SetBytes(file.size())
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		readBig(b, file)
		n++
	}
	b.ReportMetric(float64(n*file.rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(b.Elapsed().Seconds()/float64(n)*bigRows/float64(file.rows), "s/50k-rows")
}

func BenchmarkReadParquet(b *testing.B) {
	file := parquetFile(b, parquetRows(10_000))
	b.ReportAllocs()
	for b.Loop() {
		src, err := focus.OpenParquet(bytes.NewReader(file), int64(len(file)))
		require.NoError(b, err)
		_, err = focus.ReadAll(src, func(*focus.Charge) error { return nil })
		require.NoError(b, err)
	}
}
