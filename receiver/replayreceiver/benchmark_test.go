// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/metadata"
)

// benchmarkTraces returns recorded traces as gzipped JSON lines: TrainTicket where it is present, generated ones otherwise.
func benchmarkTraces(b *testing.B) string {
	b.Helper()
	if path, err := recordings.Find("trainticket", "traces.jsonl.gz"); err == nil {
		return path
	}
	b.Log("REAL DATA IS ABSENT: generated traces are played instead")
	path := filepath.Join(b.TempDir(), "traces.jsonl.gz")
	f, err := os.Create(path)
	require.NoError(b, err)
	defer f.Close()
	z := gzip.NewWriter(f)
	for request := range 100 {
		line, err := (&ptrace.JSONMarshaler{}).MarshalTraces(generated(request, 1000))
		require.NoError(b, err)
		_, err = z.Write(append(line, '\n'))
		require.NoError(b, err)
	}
	require.NoError(b, z.Close())
	return path
}

// generated returns a request of spans like those of a small shop.
func generated(request, spans int) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", fmt.Sprintf("service-%d", request%28))
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Spans().EnsureCapacity(spans)
	begin := time.Date(2024, 5, 1, 8, 0, request, 0, time.UTC)
	for i := range spans {
		s := ss.Spans().AppendEmpty()
		var traceID [16]byte
		binary.BigEndian.PutUint64(traceID[:], uint64(request*spans+i)+1)
		s.SetTraceID(traceID)
		s.SetSpanID([8]byte(traceID[:8]))
		s.SetName("HTTP GET")
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(begin.Add(time.Duration(i) * time.Microsecond)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(begin.Add(time.Duration(i) * time.Millisecond)))
		s.Attributes().PutStr("http.request.method", "GET")
		s.Attributes().PutStr("url.path", "/orders")
	}
	return td
}

// small returns generated traces as JSON lines of one span each.
func small(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "small.jsonl")
	f, err := os.Create(path)
	require.NoError(b, err)
	defer f.Close()
	w := bufio.NewWriter(f)
	for request := range 100_000 {
		line, err := (&ptrace.JSONMarshaler{}).MarshalTraces(generated(request, 1))
		require.NoError(b, err)
		_, err = w.Write(append(line, '\n'))
		require.NoError(b, err)
	}
	require.NoError(b, w.Flush())
	return path
}

// asProto writes gzipped JSON lines of traces again as the file exporter's length-delimited protobuf.
func asProto(b *testing.B, path string, compressed bool) string {
	b.Helper()
	in, err := os.Open(path)
	require.NoError(b, err)
	defer in.Close()
	z, err := gzip.NewReader(in)
	require.NoError(b, err)
	out := filepath.Join(b.TempDir(), "traces.pb")
	f, err := os.Create(out)
	require.NoError(b, err)
	defer f.Close()
	w, err := zstd.NewWriter(f)
	require.NoError(b, err)
	write := f.Write
	if compressed {
		write = w.Write
	}
	lines := bufio.NewReader(z)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		require.NoError(b, err)
		data, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		require.NoError(b, err)
		_, err = write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
		require.NoError(b, err)
	}
	if compressed {
		require.NoError(b, w.Close())
	}
	return out
}

// endOfReplay is a host that waits for the end of a recording.
type endOfReplay struct {
	component.Host
	end chan *componentstatus.Event
}

func (h endOfReplay) Report(ev *componentstatus.Event) { h.end <- ev }

// BenchmarkReplay plays recorded traces into a pipeline that takes everything. It reports spans per second of the wall clock and of CPU time.
func BenchmarkReplay(b *testing.B) {
	path := benchmarkTraces(b)
	for _, bm := range []struct {
		name, path string
		rebase     string
	}{
		{"json_gzip", path, rebaseOff},
		{"json_gzip_rebased", path, rebaseNow},
		{"json_one_span_a_line", small(b), rebaseOff},
		{"proto", asProto(b, path, false), rebaseOff},
		{"proto_zstd", asProto(b, path, true), rebaseOff},
		{"proto_rebased", asProto(b, path, false), rebaseNow},
	} {
		b.Run(bm.name, func(b *testing.B) {
			cfg := testConfig()
			cfg.Traces = []string{bm.path}
			cfg.Rebase = bm.rebase
			factory := NewFactory()
			var spans int64
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				rcv, err := factory.CreateTraces(b.Context(), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
				require.NoError(b, err)
				host := endOfReplay{componenttest.NewNopHost(), make(chan *componentstatus.Event, 1)}
				require.NoError(b, rcv.Start(b.Context(), host))
				ev := <-host.end
				require.NoError(b, ev.Err())
				played, _ := ev.Attributes().Get("replay.spans")
				spans += played.Int()
				require.NoError(b, rcv.Shutdown(b.Context()))
			}
			b.ReportMetric(float64(spans)/b.Elapsed().Seconds(), "spans/s")
			b.ReportMetric(float64(spans)/(cpuTime(b)-cpu).Seconds(), "spans/cpu-s")
			b.ReportMetric(float64(spans)/float64(b.N), "spans/op")
		})
	}
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
