// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/testdata"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/recording"
)

// written returns a request of each signal in both encodings.
func written(tb testing.TB) map[recording.Encoding]map[signal][]byte {
	tb.Helper()
	traces, metrics, logs := testdata.GenerateTraces(3), testdata.GenerateMetrics(9), testdata.GenerateLogs(4)
	return map[recording.Encoding]map[signal][]byte{
		recording.EncodingJSON: {
			signalTraces:  must(tb, func() ([]byte, error) { return (&ptrace.JSONMarshaler{}).MarshalTraces(traces) }),
			signalMetrics: must(tb, func() ([]byte, error) { return (&pmetric.JSONMarshaler{}).MarshalMetrics(metrics) }),
			signalLogs:    must(tb, func() ([]byte, error) { return (&plog.JSONMarshaler{}).MarshalLogs(logs) }),
		},
		recording.EncodingProto: {
			signalTraces:  must(tb, func() ([]byte, error) { return (&ptrace.ProtoMarshaler{}).MarshalTraces(traces) }),
			signalMetrics: must(tb, func() ([]byte, error) { return (&pmetric.ProtoMarshaler{}).MarshalMetrics(metrics) }),
			signalLogs:    must(tb, func() ([]byte, error) { return (&plog.ProtoMarshaler{}).MarshalLogs(logs) }),
		},
	}
}

func TestEachSignalIsReadInBothEncodingsAndRefusedAsAnother(t *testing.T) {
	for encoding, requests := range written(t) {
		for is, data := range requests {
			for as := range requests {
				b, err := decode(as, encoding, data)
				if as != is {
					require.ErrorIs(t, err, errWrongSignal, "%s as %s, encoding %d", is, as, encoding)
					continue
				}
				require.NoError(t, err)
				assert.Positive(t, b.items)
				assert.Equal(t, is, b.signal)
			}
		}
	}
}

func TestRecordsThatHoldNothing(t *testing.T) {
	for _, s := range signals {
		for _, text := range []string{`{}`, `{"resourceSpans":[],"resourceMetrics":[],"resourceLogs":[]}`, `{"resourceSpans":[{}]}`, `{"unknown":1}`, `null`} {
			_, err := decode(s, recording.EncodingJSON, []byte(text))
			require.ErrorIs(t, err, errEmpty, text)
		}
		_, err := decode(s, recording.EncodingProto, nil)
		assert.ErrorIs(t, err, errEmpty)
	}
}

func TestMoreThanOneRequestInARecordIsRefused(t *testing.T) {
	first, second := testdataLines(t, "logs.jsonl")
	for _, text := range []string{first + second, first + " " + second, first + "," + second, first + "x", first + "}"} {
		_, err := decode(signalLogs, recording.EncodingJSON, []byte(text))
		require.ErrorIs(t, err, errTwoRequests)
	}
	_, err := decode(signalLogs, recording.EncodingJSON, []byte(first+"\n"))
	assert.NoError(t, err)
}

func TestBottomlessNestsAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	const depth = 3_000_000 // enough to overflow the stack of a recursive decoder
	text := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + strings.Repeat(`{"arrayValue":{"values":[`, depth)
	_, err := decode(signalLogs, recording.EncodingJSON, []byte(text))
	require.ErrorIs(t, err, errTooDeep)

	var heads [][]byte
	size := 0
	wrap := func(tag byte) {
		head := binary.AppendUvarint([]byte{tag}, uint64(size))
		heads = append(heads, head)
		size += len(head)
	}
	for range depth {
		wrap(0x2a) // an array in a value
		wrap(0x0a) // a value in an array
	}
	for _, tag := range []byte{0x2a, 0x2a, 0x12, 0x12, 0x0a} { // body, log record, scope, resource
		wrap(tag)
	}
	proto := make([]byte, 0, size)
	for _, head := range slices.Backward(heads) {
		proto = append(proto, head...)
	}
	_, err = decode(signalLogs, recording.EncodingProto, proto)
	require.ErrorIs(t, err, errTooDeep)
}

// TestShiftMovesEveryTimestampThereIs moves requests that hold every kind of timestamp and compares all of them in the JSON form.
func TestShiftMovesEveryTimestampThereIs(t *testing.T) {
	const by = int64(1_000_000_007)
	base := pcommon.Timestamp(1_700_000_000_000_000_000)

	traces := ptrace.NewTraces()
	span := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetStartTimestamp(base)
	span.SetEndTimestamp(base + 1)
	span.Events().AppendEmpty().SetTimestamp(base + 2)

	logs := plog.NewLogs()
	lr := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	lr.SetTimestamp(base)
	lr.SetObservedTimestamp(base + 1)

	metrics := pmetric.NewMetrics()
	ms := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	gauge := ms.AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	sum := ms.AppendEmpty().SetEmptySum().DataPoints().AppendEmpty()
	for _, p := range []pmetric.NumberDataPoint{gauge, sum} {
		p.SetStartTimestamp(base)
		p.SetTimestamp(base + 1)
		p.Exemplars().AppendEmpty().SetTimestamp(base + 2)
	}
	histogram := ms.AppendEmpty().SetEmptyHistogram().DataPoints().AppendEmpty()
	histogram.SetStartTimestamp(base)
	histogram.SetTimestamp(base + 1)
	histogram.Exemplars().AppendEmpty().SetTimestamp(base + 2)
	exponential := ms.AppendEmpty().SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
	exponential.SetStartTimestamp(base)
	exponential.SetTimestamp(base + 1)
	exponential.Exemplars().AppendEmpty().SetTimestamp(base + 2)
	summary := ms.AppendEmpty().SetEmptySummary().DataPoints().AppendEmpty()
	summary.SetStartTimestamp(base)
	summary.SetTimestamp(base + 1)
	ms.AppendEmpty().SetName("nothing")

	for _, b := range []batch{{signal: signalTraces, traces: traces}, {signal: signalMetrics, metrics: metrics}, {signal: signalLogs, logs: logs}} {
		before := b.json(t)
		b.measureAndShift(by)
		after := b.json(t)
		want := before
		for i := int64(2); i >= 0; i-- {
			want = bytes.ReplaceAll(want, fmt.Append(nil, int64(base)+i), fmt.Append(nil, int64(base)+i+by))
		}
		assert.Equal(t, string(want), string(after))
		assert.Positive(t, bytes.Count(after, []byte("UnixNano")))
		assert.NotContains(t, string(after), `UnixNano":"17000000000`, "nothing is left where it was")
		b.measureAndShift(-by)
		assert.Equal(t, string(before), string(b.json(t)))
		assert.Contains(t, []int64{int64(base), int64(base) + 1}, b.span.first-by)
	}
}

func TestUnknownTimesStayUnknown(t *testing.T) {
	traces := ptrace.NewTraces()
	traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().Events().AppendEmpty()
	metrics := pmetric.NewMetrics()
	metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	for _, b := range []batch{{signal: signalTraces, traces: traces}, {signal: signalMetrics, metrics: metrics}, {signal: signalLogs, logs: logs}} {
		before := b.json(t)
		b.measureAndShift(1_000)
		assert.Equal(t, string(before), string(b.json(t)))
		assert.Equal(t, eventSpan{}, b.span)
	}
}

func TestShiftingAllocatesNothing(t *testing.T) {
	b := batch{signal: signalTraces, traces: generated(0, 1000)}
	assert.LessOrEqual(t, testing.AllocsPerRun(10, func() { b.measureAndShift(5) }), 1.0)
	m := batch{signal: signalMetrics, metrics: testdata.GenerateMetrics(100)}
	assert.LessOrEqual(t, testing.AllocsPerRun(10, func() { m.measureAndShift(5) }), 1.0)
}

func (b *batch) json(t *testing.T) []byte {
	t.Helper()
	return must(t, func() ([]byte, error) {
		switch b.signal {
		case signalTraces:
			return (&ptrace.JSONMarshaler{}).MarshalTraces(b.traces)
		case signalMetrics:
			return (&pmetric.JSONMarshaler{}).MarshalMetrics(b.metrics)
		default:
			return (&plog.JSONMarshaler{}).MarshalLogs(b.logs)
		}
	})
}

func FuzzDecodeNeverPanics(f *testing.F) {
	for encoding, requests := range written(f) {
		for s, data := range requests {
			f.Add(uint8(s), uint8(encoding), data)
		}
	}
	f.Fuzz(func(_ *testing.T, s, encoding uint8, data []byte) {
		b, err := decode(signals[int(s)%len(signals)], recording.Encoding(encoding%2), data)
		if err == nil {
			b.measureAndShift(1 << 60)
			b.measureAndShift(-(1 << 60))
		}
	})
}
