// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// encodedSpan is the span as pdata encodes it in a request.
func encodedSpan(t testing.TB, td ptrace.Traces) (span []byte) {
	data, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	require.NoError(t, err)
	inner := func(message []byte, want protowire.Number) (found []byte) {
		require.True(t, fields(message, func(num protowire.Number, _ uint64, data []byte) bool {
			if num == want {
				found = data
			}
			return true
		}))
		return found
	}
	return inner(inner(inner(data, 1), 2), 2)
}

// oneSpan is a request with a single span.
func oneSpan() (ptrace.Traces, ptrace.Span) {
	td := ptrace.NewTraces()
	return td, td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
}

// wrapped is a request whose only span is the given bytes.
func wrapped(span []byte) []byte {
	field := func(num protowire.Number, data []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), data)
	}
	return field(1, field(2, field(2, span)))
}

// sameAsPdata decodes a span both ways and tells whether the decoder could; if so, both must be the same.
func sameAsPdata(t testing.TB, d *decoder, encoded []byte) bool {
	want, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(wrapped(encoded))
	if err != nil {
		// Such spans do not come from pdata. They must do no harm.
		_, span := oneSpan()
		d.span(encoded, span)
		return false
	}
	got, span := oneSpan()
	if !d.span(encoded, span) {
		return false
	}
	m := ptrace.ProtoMarshaler{}
	a, err := m.MarshalTraces(want)
	require.NoError(t, err)
	b, err := m.MarshalTraces(got)
	require.NoError(t, err)
	assert.Equal(t, a, b, "%x", encoded)
	return true
}

func randomValue(r *rand.Rand, v pcommon.Value, depth int) {
	switch n := r.IntN(9); {
	case n == 0:
		v.SetBool(r.IntN(2) == 0)
	case n == 1:
		v.SetInt(int64(r.Uint64()))
	case n == 2:
		v.SetDouble(r.NormFloat64())
	case n == 3:
		v.SetEmptyBytes().FromRaw([]byte(strings.Repeat("\x00\xff", r.IntN(3))))
	case n == 4 && depth > 0:
		for s := v.SetEmptySlice(); s.Len() < r.IntN(3); {
			randomValue(r, s.AppendEmpty(), depth-1)
		}
	case n == 5 && depth > 0:
		randomAttributes(r, v.SetEmptyMap(), depth-1)
	case n == 6:
	default:
		v.SetStr(strings.Repeat("text", r.IntN(20)))
	}
}

func randomAttributes(r *rand.Rand, m pcommon.Map, depth int) {
	for range r.IntN(6) {
		randomValue(r, m.PutEmpty(strings.Repeat("k", r.IntN(9))), depth)
	}
}

func randomSpan(r *rand.Rand, span ptrace.Span) {
	span.SetTraceID(pcommon.TraceID{1, byte(r.Uint32())})
	span.SetSpanID(pcommon.SpanID{byte(r.Uint32())})
	span.SetParentSpanID(pcommon.SpanID{byte(r.IntN(2))})
	span.TraceState().FromRaw([]string{"", "ot=th:8", "a=b,ot=rv:00000000000001"}[r.IntN(3)])
	span.SetName([]string{"", "GET /", strings.Repeat("long ", 40)}[r.IntN(3)])
	span.SetKind(ptrace.SpanKind(r.IntN(7) - 1))
	span.SetStartTimestamp(pcommon.Timestamp(r.Uint64()))
	span.SetEndTimestamp(pcommon.Timestamp(r.Uint64() * uint64(r.IntN(2))))
	span.SetFlags(r.Uint32())
	span.SetDroppedAttributesCount(r.Uint32())
	span.SetDroppedEventsCount(uint32(r.IntN(2)))
	span.SetDroppedLinksCount(uint32(r.IntN(2)))
	span.Status().SetCode(ptrace.StatusCode(r.IntN(4) - 1))
	span.Status().SetMessage(strings.Repeat("no", r.IntN(2)))
	randomAttributes(r, span.Attributes(), 3)
	for range r.IntN(3) {
		event := span.Events().AppendEmpty()
		event.SetName("exception")
		event.SetTimestamp(pcommon.Timestamp(r.Uint64()))
		event.SetDroppedAttributesCount(uint32(r.IntN(2)))
		randomAttributes(r, event.Attributes(), 1)
	}
	for range r.IntN(3) {
		link := span.Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID{byte(r.Uint32())})
		link.SetSpanID(pcommon.SpanID{byte(r.Uint32())})
		link.TraceState().FromRaw("a=b")
		link.SetFlags(r.Uint32())
		link.SetDroppedAttributesCount(uint32(r.IntN(2)))
		randomAttributes(r, link.Attributes(), 1)
	}
}

func TestSpansAreDecodedAsPdataDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var d decoder
	for range 5000 {
		td, span := oneSpan()
		randomSpan(r, span)
		require.True(t, sameAsPdata(t, &d, encodedSpan(t, td)))
	}
	assert.Empty(t, d.pairs)
}

func TestWhatTheDecoderDoesNotKnowIsLeftToPdata(t *testing.T) {
	pair := func(key string) []byte {
		kv := protowire.AppendString(protowire.AppendTag(nil, otlpwire.KeyValueKey, protowire.BytesType), key)
		return protowire.AppendBytes(protowire.AppendTag(nil, otlpwire.SpanAttributes, protowire.BytesType), kv)
	}
	nested := []byte{}
	for range 40 {
		list := protowire.AppendBytes(protowire.AppendTag(nil, otlpwire.ListValues, protowire.BytesType), nested)
		nested = protowire.AppendBytes(protowire.AppendTag(nil, otlpwire.AnyArray, protowire.BytesType), list)
	}
	deep := protowire.AppendBytes(protowire.AppendTag(nil, otlpwire.KeyValueValue, protowire.BytesType), nested)
	for name, span := range map[string][]byte{
		"a field that is new":    protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1),
		"a key that comes twice": append(pair("a"), pair("a")...),
		"an ID of odd length":    protowire.AppendBytes(protowire.AppendTag(nil, otlpwire.SpanID, protowire.BytesType), []byte("odd")),
		"values deep down":       protowire.AppendBytes(protowire.AppendTag(nil, otlpwire.SpanAttributes, protowire.BytesType), deep),
		"half a field":           {otlpwire.SpanAttributes<<3 | 2, 200},
	} {
		t.Run(name, func(t *testing.T) {
			var d decoder
			assert.False(t, sameAsPdata(t, &d, span))
			assert.Empty(t, d.pairs)
		})
	}
}

func FuzzDecodeSpan(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		td, span := oneSpan()
		randomSpan(r, span)
		f.Add(encodedSpan(f, td))
	}
	var d decoder
	f.Fuzz(func(t *testing.T, encoded []byte) { sameAsPdata(t, &d, encoded) })
}

func TestTextThatComesAgainIsNotAllocatedAgain(t *testing.T) {
	td, span := oneSpan()
	span.SetName("GET /api/v1/items/{id}")
	for _, key := range []string{"http.request.method", "http.route", "server.address", "url.path"} {
		span.Attributes().PutStr(key, "some value of "+key)
	}
	encoded := encodedSpan(t, td)
	var d decoder
	_, first := oneSpan()
	require.True(t, d.span(encoded, first))
	_, again := oneSpan()
	// The list of attributes, and a box for each value.
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		again.Attributes().Clear()
		d.span(encoded, again)
	}), 5.0)
}
