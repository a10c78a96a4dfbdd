// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/entity"
)

// randomRequest has spans of all kinds under some resources and scopes.
func randomRequest(r *rand.Rand) ptrace.Traces {
	td := ptrace.NewTraces()
	for range r.IntN(3) {
		rs := td.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl(strings.Repeat("u", r.IntN(2)))
		rs.Resource().SetDroppedAttributesCount(uint32(r.IntN(2)))
		randomAttributes(r, rs.Resource().Attributes(), 2)
		for range r.IntN(3) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.SetSchemaUrl(strings.Repeat("v", r.IntN(2)))
			ss.Scope().SetName(strings.Repeat("name", r.IntN(50)))
			ss.Scope().SetVersion(strings.Repeat("1", r.IntN(2)))
			ss.Scope().SetDroppedAttributesCount(uint32(r.IntN(2)))
			randomAttributes(r, ss.Scope().Attributes(), 2)
			for range r.IntN(4) {
				span := ss.Spans().AppendEmpty()
				randomSpan(r, span)
				if r.IntN(20) == 0 {
					span.SetName(strings.Repeat("very long ", 1<<r.IntN(14)))
				}
			}
		}
	}
	return td
}

func TestRequestsAreEncodedAsPdataDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var e encoder
	m := ptrace.ProtoMarshaler{}
	for range 3000 {
		td := randomRequest(r)
		got, err := e.traces(td)
		require.NoError(t, err)
		again, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(got)
		require.NoError(t, err)
		want, err := m.MarshalTraces(td)
		require.NoError(t, err)
		back, err := m.MarshalTraces(again)
		require.NoError(t, err)
		require.Equal(t, want, back)
	}
}

// What a trace weighs is told by the bytes of its spans, so they must be those that pdata writes.
func TestSpansAreEncodedToTheByteAsPdataDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var e encoder
	for range 3000 {
		td, span := oneSpan()
		randomSpan(r, span)
		if r.IntN(10) == 0 {
			span.Attributes().PutStr("long", strings.Repeat("x", 1<<r.IntN(18)))
		}
		want := encodedSpan(t, td)
		e.buf = e.buf[:0]
		e.span(span)
		require.Equal(t, want, e.buf[len(e.buf)-len(want):])
		require.Len(t, e.buf, 1+uvarintLen(uint64(len(want)))+len(want), "the length is written without zeros")
	}
}

func TestEntitiesOfResourcesStay(t *testing.T) {
	td, _ := oneSpan()
	ref := entity.ResourceEntityRefs(td.ResourceSpans().At(0).Resource()).AppendEmpty()
	ref.SetType("service")
	var e encoder
	data, err := e.traces(td)
	require.NoError(t, err)
	back, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(data)
	require.NoError(t, err)
	refs := entity.ResourceEntityRefs(back.ResourceSpans().At(0).Resource())
	require.Equal(t, 1, refs.Len())
	assert.Equal(t, "service", refs.At(0).Type())
}

// Making room for the length of each of a million values in turn would take minutes.
func TestValuesDeepDownAreLeftToPdata(t *testing.T) {
	m := ptrace.ProtoMarshaler{}
	for depth, own := range map[int]bool{deepest: true, deepest + 1: false, 100_000: false} {
		td, span := oneSpan()
		v := span.Attributes().PutEmpty("deep")
		for range depth {
			v = v.SetEmptySlice().AppendEmpty()
		}
		v.SetStr("bottom")
		var e encoder
		require.Equal(t, own, e.all(td))
		assert.Less(t, len(e.buf), 1000, "it stops on the way down")
		assert.Zero(t, e.depth)
		got, err := e.traces(td)
		require.NoError(t, err)
		want, err := m.MarshalTraces(td)
		require.NoError(t, err)
		if own {
			again, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(got)
			require.NoError(t, err)
			got, err = m.MarshalTraces(again)
			require.NoError(t, err)
		}
		assert.Equal(t, want, got)
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	td, span := oneSpan()
	randomSpan(rand.New(rand.NewPCG(9, 10)), span)
	require.Positive(t, span.Attributes().Len())
	var e encoder
	_, err := e.traces(td)
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = e.traces(td) }))
}
