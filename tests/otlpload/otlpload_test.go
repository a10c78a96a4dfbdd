// SPDX-License-Identifier: Apache-2.0

package otlpload

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

func generate(t *testing.T, s Synthetic) *Recording {
	t.Helper()
	recording, err := s.Generate()
	require.NoError(t, err)
	return recording
}

func listen(t *testing.T) *Sink {
	t.Helper()
	sink, err := Listen("127.0.0.1:0", true)
	require.NoError(t, err)
	t.Cleanup(sink.Close)
	return sink
}

func spanIDSet(recording *Recording) map[pcommon.SpanID]bool {
	ids := map[pcommon.SpanID]bool{}
	for _, request := range recording.Requests {
		forEachSpan(request, func(span ptrace.Span) { ids[span.SpanID()] = true })
	}
	return ids
}

func TestGeneratedSpansAreUniqueAndRepeatable(t *testing.T) {
	a, b := generate(t, Synthetic{Traces: 300, Seed: 1}), generate(t, Synthetic{Traces: 300, Seed: 1})
	assert.Equal(t, a, b)
	assert.Equal(t, 3000, a.Spans)
	assert.Len(t, spanIDSet(a), 3000)

	other := spanIDSet(generate(t, Synthetic{Traces: 300, Seed: 2}))
	for id := range spanIDSet(a) {
		require.NotContains(t, other, id)
	}
}

func TestGeneratedErrorsAreAtTheAskedRatio(t *testing.T) {
	bad, servers := 0, 0
	for _, request := range generate(t, Synthetic{Traces: 5000, ErrorRatio: 0.1}).Requests {
		forEachSpan(request, func(span ptrace.Span) {
			if span.Kind() != ptrace.SpanKindServer {
				return
			}
			servers++
			if span.Status().Code() == ptrace.StatusCodeError {
				bad++
			}
		})
	}
	assert.InDelta(t, 0.1, float64(bad)/float64(servers), 0.02)
}

func TestRequestsAreFullAndHoldEverySpan(t *testing.T) {
	for _, size := range []int{1, 7, 10, 512, 100_000} {
		recording := generate(t, Synthetic{Traces: 100, SpansPerRequest: size})
		total := 0
		for i, request := range recording.Requests {
			n := request.SpanCount()
			total += n
			if i < len(recording.Requests)-1 {
				assert.Equal(t, size, n)
			}
			assert.LessOrEqual(t, n, size)
			for _, resource := range request.ResourceSpans().All() {
				_, named := resource.Resource().Attributes().Get("service.name")
				assert.True(t, named, "the resource goes along")
			}
		}
		assert.Equal(t, recording.Spans, total)
	}
}

func TestReadTakesWhatWasWritten(t *testing.T) {
	want := generate(t, Synthetic{Traces: 40, SpansPerRequest: 100})
	var lines bytes.Buffer
	for _, request := range want.Requests {
		line, err := (&ptrace.JSONMarshaler{}).MarshalTraces(request)
		require.NoError(t, err)
		lines.Write(line)
		lines.WriteString("\n\n")
	}
	plain := filepath.Join(t.TempDir(), "traces.jsonl")
	require.NoError(t, os.WriteFile(plain, lines.Bytes(), 0o600))
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, err := writer.Write(lines.Bytes())
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	zipped := plain + ".gz"
	require.NoError(t, os.WriteFile(zipped, packed.Bytes(), 0o600))

	for _, path := range []string{plain, zipped} {
		got, err := Read(path, 100)
		require.NoError(t, err)
		assert.Equal(t, want.Spans, got.Spans)
		assert.Equal(t, want.Length, got.Length)
		assert.Equal(t, spanIDSet(want), spanIDSet(got))
	}
}

func TestReadNamesTheBrokenLine(t *testing.T) {
	_, err := decode(strings.NewReader("{}\nnot json\n"), 0)
	require.ErrorContains(t, err, "line 2")
	_, err = decode(strings.NewReader("{}\n"), 0)
	require.ErrorIs(t, err, errEmptyRecording)
	_, err = Read("/no/such/file", 0)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestRepetitionsAreNewTracesLaterInTime(t *testing.T) {
	recording := generate(t, Synthetic{Traces: 10})
	ids := map[pcommon.TraceID]bool{}
	var latest pcommon.Timestamp
	for repetition := range 3 {
		var first pcommon.Timestamp
		forEachSpan(recording.renewed(recording.Requests[0], repetition), func(span ptrace.Span) {
			ids[span.TraceID()] = true
			if first == 0 {
				first = span.StartTimestamp()
			}
			assert.Positive(t, span.EndTimestamp()-span.StartTimestamp())
		})
		assert.Greater(t, first, latest)
		latest = first
	}
	assert.Len(t, ids, 30)
}

func TestWhatIsAckedIsInTheSink(t *testing.T) {
	sink := listen(t)
	recording := generate(t, Synthetic{Traces: 500})
	var acked []ptrace.Traces
	var mu sync.Mutex
	result, err := Sender{Endpoint: sink.Address(), Repeat: 2, OnAck: func(traces ptrace.Traces) {
		mu.Lock()
		defer mu.Unlock()
		acked = append(acked, traces)
	}}.Send(t.Context(), recording)
	require.NoError(t, err)

	assert.Equal(t, int64(10_000), result.Acked)
	assert.Zero(t, result.Failed)
	assert.Equal(t, int64(10_000), sink.Counts().Spans)
	assert.Equal(t, 10_000, sink.Distinct())
	for _, traces := range acked {
		assert.Zero(t, sink.Missing(traces))
	}
	assert.Equal(t, 1, sink.Missing(generate(t, Synthetic{Traces: 1, Seed: 99, SpansPerRequest: 1}).Requests[0]))

	var ids bytes.Buffer
	require.NoError(t, sink.WriteIDs(&ids))
	assert.Len(t, strings.Split(strings.TrimSpace(ids.String()), "\n"), 1000)
	assert.Contains(t, ids.String(), " 10\n")
}

func TestRefusedSpansAreFailedNotAcked(t *testing.T) {
	sink := listen(t)
	sink.Answer(codes.Unavailable)
	var told atomic.Int64
	result, err := Sender{Endpoint: sink.Address(), OnFail: func(traces ptrace.Traces, _ error) { told.Add(int64(traces.SpanCount())) }}.
		Send(t.Context(), generate(t, Synthetic{Traces: 100}))
	require.NoError(t, err)
	assert.Equal(t, int64(1000), told.Load())
	assert.Zero(t, result.Acked)
	assert.Equal(t, int64(1000), result.Failed)
	assert.ErrorContains(t, result.LastError, "refused on demand")
	assert.Contains(t, result.String(), "failed 1000")
	assert.Zero(t, sink.Counts().Spans)
	assert.Equal(t, int64(2), sink.Counts().Refused)

	sink.Answer(codes.OK)
	result, err = Sender{Endpoint: sink.Address()}.Send(t.Context(), generate(t, Synthetic{Traces: 100}))
	require.NoError(t, err)
	assert.Equal(t, int64(1000), result.Acked)
}

func TestASlowSinkTimesTheSenderOut(t *testing.T) {
	sink := listen(t)
	sink.Delay(time.Minute)
	result, err := Sender{Endpoint: sink.Address(), Timeout: 20 * time.Millisecond}.Send(t.Context(), generate(t, Synthetic{Traces: 1}))
	require.NoError(t, err)
	assert.Equal(t, int64(10), result.Failed)
}

func TestACancelledSenderStopsAndStillCounts(t *testing.T) {
	sink := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	result, err := Sender{Endpoint: sink.Address(), Repeat: 1 << 30, Rate: 1e6, OnAck: func(ptrace.Traces) { once.Do(cancel) }}.
		Send(ctx, generate(t, Synthetic{Traces: 100}))
	require.NoError(t, err)
	assert.Positive(t, result.Acked)
	assert.Equal(t, result.Sent, result.Acked+result.Failed)
	assert.Equal(t, sink.Counts().Spans, result.Acked)
}

func TestRecordedTracesCanBeRead(t *testing.T) {
	recording, err := Read(recordings.Path(t, "trainticket", "traces.jsonl.gz"), DefaultSpansPerRequest)
	require.NoError(t, err)
	assert.Greater(t, recording.Spans, 100_000)
	assert.Greater(t, recording.Length, time.Hour)
}
