// SPDX-License-Identifier: Apache-2.0

// Package rollouts rolls a service of the shop out, live and resampled from a recording, and counts what the built binary says of it.
package rollouts

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// recordVariable names an OTLP/JSON file of the shop's traces and metrics, as the file exporter writes it, to make testdata of:
// PITWALL_RECORD=out.jsonl go -C tests test -run TestRecord ./rollouts
const recordVariable = "PITWALL_RECORD"

const recordingPath = "testdata/shop.csv.gz"

// page is one request of the front end, and what checkout's part of it took if it was an order.
type page struct {
	at              time.Duration // since the beginning of the recording
	whole, checkout time.Duration
	failed          bool
}

func (p page) order() bool { return p.checkout > 0 }

// recording is some minutes of the shop without any fault.
type recording struct {
	pages []page
	// memory are samples of the process, in bytes.
	memory []float64
	// blocks are the pages by slices of time.
	blocks [][]page
}

func readRecording(t *testing.T) *recording {
	t.Helper()
	file, err := os.Open(recordingPath)
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	rows, err := csv.NewReader(unzipped).ReadAll()
	require.NoError(t, err)
	r := &recording{}
	for _, row := range rows {
		n := make([]int64, len(row))
		for i, text := range row[1:] {
			n[i+1], err = strconv.ParseInt(text, 10, 64)
			require.NoError(t, err)
		}
		switch row[0] {
		case "page":
			r.pages = append(r.pages, page{time.Duration(n[1]) * time.Millisecond, time.Duration(n[2]) * time.Microsecond, time.Duration(n[3]) * time.Microsecond, n[4] == 1})
		case "memory":
			r.memory = append(r.memory, float64(n[2]))
		}
	}
	for _, p := range r.pages {
		for len(r.blocks) <= int(p.at/slice) {
			r.blocks = append(r.blocks, nil)
		}
		r.blocks[p.at/slice] = append(r.blocks[p.at/slice], p)
	}
	r.blocks = r.blocks[1 : len(r.blocks)-1] // whole ones
	return r
}

func TestRecordingIsOfAShopThatIsWell(t *testing.T) {
	r := readRecording(t)
	orders, failed := 0, 0
	for _, p := range r.pages {
		if p.order() {
			orders++
		}
		if p.failed {
			failed++
		}
	}
	assert.Greater(t, len(r.blocks), 20)
	assert.Greater(t, orders, 500)
	assert.Less(t, float64(failed), 0.002*float64(len(r.pages)))
	assert.NotEmpty(t, r.memory)
	t.Logf("%d pages, %d orders, %d failed, %d blocks", len(r.pages), orders, failed, len(r.blocks))
}

func TestRecord(t *testing.T) {
	source := os.Getenv(recordVariable)
	if source == "" {
		t.Skipf("set %s to make a recording", recordVariable)
	}
	file, err := os.Open(filepath.Clean(source))
	require.NoError(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	var rec recorder
	for lines.Scan() {
		rec.line(lines.Bytes())
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, rec.roots)
	require.NoError(t, rec.write(recordingPath))
}

type recorder struct {
	roots    []root
	checkout map[pcommon.TraceID]time.Duration
	memory   [][2]int64 // time, bytes
}

type root struct {
	trace  pcommon.TraceID
	end    time.Time
	took   time.Duration
	failed bool
}

func (r *recorder) line(text []byte) {
	if r.checkout == nil {
		r.checkout = map[pcommon.TraceID]time.Duration{}
	}
	if td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(text); err == nil {
		for _, rs := range td.ResourceSpans().All() {
			service, _ := rs.Resource().Attributes().Get("service.name")
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					took := s.EndTimestamp().AsTime().Sub(s.StartTimestamp().AsTime())
					switch {
					case s.Kind() != ptrace.SpanKindServer:
					case service.Str() == "frontend":
						r.roots = append(r.roots, root{s.TraceID(), s.EndTimestamp().AsTime(), took, s.Status().Code() == ptrace.StatusCodeError})
					case service.Str() == "checkout":
						r.checkout[s.TraceID()] = took
					}
				}
			}
		}
	}
	if md, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(text); err == nil {
		for _, rm := range md.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					if m.Name() != "process.memory.usage" || m.Type() != pmetric.MetricTypeSum {
						continue
					}
					for _, p := range m.Sum().DataPoints().All() {
						r.memory = append(r.memory, [2]int64{int64(p.Timestamp()), p.IntValue()})
					}
				}
			}
		}
	}
}

func (r *recorder) write(path string) error {
	slices.SortFunc(r.roots, func(a, b root) int { return a.end.Compare(b.end) })
	slices.SortFunc(r.memory, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	begin := r.roots[0].end
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	zipped, err := gzip.NewWriterLevel(file, gzip.BestCompression)
	if err != nil {
		return err
	}
	out := csv.NewWriter(zipped)
	put := func(kind string, at time.Duration, n ...int64) {
		row := []string{kind, strconv.FormatInt(at.Milliseconds(), 10)}
		for _, v := range n {
			row = append(row, strconv.FormatInt(v, 10))
		}
		_ = out.Write(row) // the writer keeps the error
	}
	for _, x := range r.roots {
		failed := int64(0)
		if x.failed {
			failed = 1
		}
		put("page", x.end.Sub(begin), x.took.Microseconds(), r.checkout[x.trace].Microseconds(), failed)
	}
	for _, m := range r.memory {
		put("memory", time.Duration(m[0]-begin.UnixNano()), m[1], 0, 0)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return zipped.Close()
}
