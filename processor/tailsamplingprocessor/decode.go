// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"math"
	"runtime"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
	"github.com/pitwall-io/pitwall/internal/sampling"
)

// deepest is how far values may be nested that decoder and encoder take on themselves.
const deepest = 16

// decoder decodes kept spans into pdata, as pdata's own decoder would, but with a fraction of its allocations: lists are made in the size
// they need, and text that comes again and again exists once. What it does not know, it leaves to pdata's.
type decoder struct {
	texts texts
	// pairs are the attributes of one message, whose number must be known before they are decoded; a stack, since values nest.
	pairs [][]byte
}

// traces decodes what w was given. It returns false where that takes pdata's own decoder.
func (d *decoder) traces(w *sampling.Writer, shell []byte) (ptrace.Traces, bool) {
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(shell)
	if err != nil {
		return td, false
	}
	var spans ptrace.SpanSlice
	return td, w.Spans(
		func(resource, scope, count int) bool {
			// What comes in goes first.
			runtime.Gosched()
			spans = td.ResourceSpans().At(resource).ScopeSpans().At(scope).Spans()
			spans.EnsureCapacity(count)
			return true
		},
		func(s sampling.Span) bool {
			span := spans.AppendEmpty()
			if !s.HasID {
				span.SetTraceID(pcommon.TraceID(s.TraceID))
			}
			return d.span(s.Data, span)
		})
}

// fields calls each for every field of a message: number holds varints and fixed values, data the bytes of others. It returns false where
// the message is malformed, or each does not know a field.
func fields(message []byte, each func(num protowire.Number, number uint64, data []byte) bool) bool {
	for len(message) > 0 {
		num, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		var number uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(message)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(message)
			number = uint64(v)
		default:
			return false
		}
		if n < 0 || !each(num, number, data) {
			return false
		}
		message = message[n:]
	}
	return true
}

func (d *decoder) span(message []byte, span ptrace.Span) bool {
	base := len(d.pairs)
	defer func() { d.pairs = d.pairs[:base] }()
	return fields(message, func(num protowire.Number, number uint64, data []byte) bool {
		switch num {
		case otlpwire.SpanTraceID:
			return setTraceID(data, span.SetTraceID)
		case otlpwire.SpanID:
			return setSpanID(data, span.SetSpanID)
		case otlpwire.SpanTraceState:
			span.TraceState().FromRaw(d.texts.of(data))
		case otlpwire.SpanParentID:
			return setSpanID(data, span.SetParentSpanID)
		case otlpwire.SpanName:
			span.SetName(d.texts.of(data))
		case otlpwire.SpanKind:
			span.SetKind(ptrace.SpanKind(int32(number)))
		case otlpwire.SpanStart:
			span.SetStartTimestamp(pcommon.Timestamp(number))
		case otlpwire.SpanEnd:
			span.SetEndTimestamp(pcommon.Timestamp(number))
		case otlpwire.SpanAttributes:
			d.pairs = append(d.pairs, data)
		case otlpwire.SpanDroppedAttributes:
			span.SetDroppedAttributesCount(uint32(number))
		case otlpwire.SpanEvents:
			return d.event(data, span.Events().AppendEmpty())
		case otlpwire.SpanDroppedEvents:
			span.SetDroppedEventsCount(uint32(number))
		case otlpwire.SpanLinks:
			return d.link(data, span.Links().AppendEmpty())
		case otlpwire.SpanDroppedLinks:
			span.SetDroppedLinksCount(uint32(number))
		case otlpwire.SpanStatus:
			return d.status(data, span.Status())
		case otlpwire.SpanFlags:
			span.SetFlags(uint32(number))
		default:
			return false
		}
		return true
	}) && d.attributes(base, span.Attributes())
}

func setTraceID(data []byte, set func(pcommon.TraceID)) bool {
	switch len(data) {
	case 0:
		set(pcommon.NewTraceIDEmpty())
	case 16:
		set(pcommon.TraceID(data))
	default:
		return false
	}
	return true
}

func setSpanID(data []byte, set func(pcommon.SpanID)) bool {
	switch len(data) {
	case 0:
		set(pcommon.NewSpanIDEmpty())
	case 8:
		set(pcommon.SpanID(data))
	default:
		return false
	}
	return true
}

func (d *decoder) event(message []byte, event ptrace.SpanEvent) bool {
	base := len(d.pairs)
	defer func() { d.pairs = d.pairs[:base] }()
	return fields(message, func(num protowire.Number, number uint64, data []byte) bool {
		switch num {
		case otlpwire.EventTime:
			event.SetTimestamp(pcommon.Timestamp(number))
		case otlpwire.EventName:
			event.SetName(d.texts.of(data))
		case otlpwire.EventAttributes:
			d.pairs = append(d.pairs, data)
		case otlpwire.EventDroppedAttributes:
			event.SetDroppedAttributesCount(uint32(number))
		default:
			return false
		}
		return true
	}) && d.attributes(base, event.Attributes())
}

func (d *decoder) link(message []byte, link ptrace.SpanLink) bool {
	base := len(d.pairs)
	defer func() { d.pairs = d.pairs[:base] }()
	return fields(message, func(num protowire.Number, number uint64, data []byte) bool {
		switch num {
		case otlpwire.LinkTraceID:
			return setTraceID(data, link.SetTraceID)
		case otlpwire.LinkSpanID:
			return setSpanID(data, link.SetSpanID)
		case otlpwire.LinkTraceState:
			link.TraceState().FromRaw(d.texts.of(data))
		case otlpwire.LinkAttributes:
			d.pairs = append(d.pairs, data)
		case otlpwire.LinkDroppedAttributes:
			link.SetDroppedAttributesCount(uint32(number))
		case otlpwire.LinkFlags:
			link.SetFlags(uint32(number))
		default:
			return false
		}
		return true
	}) && d.attributes(base, link.Attributes())
}

func (d *decoder) status(message []byte, status ptrace.Status) bool {
	return fields(message, func(num protowire.Number, number uint64, data []byte) bool {
		switch num {
		case otlpwire.StatusMessage:
			status.SetMessage(d.texts.of(data))
		case otlpwire.StatusCode:
			status.SetCode(ptrace.StatusCode(int32(number)))
		default:
			return false
		}
		return true
	})
}

// attributes decodes the pairs from base on. A key that comes twice, which only pdata's decoder can give back, makes it return false.
func (d *decoder) attributes(base int, m pcommon.Map) bool {
	return d.pairsInto(base, m, 0)
}

func (d *decoder) pairsInto(base int, m pcommon.Map, depth int) bool {
	end := len(d.pairs)
	if end == base {
		return true
	}
	m.EnsureCapacity(end - base)
	for i := base; i < end; i++ {
		var key, value []byte
		ok := fields(d.pairs[i], func(num protowire.Number, _ uint64, data []byte) bool {
			switch num {
			case otlpwire.KeyValueKey:
				key = data
			case otlpwire.KeyValueValue:
				// A second value would have to be merged into the first.
				again := value != nil
				value = data
				return !again
			default:
				return false
			}
			return true
		})
		if !ok || !d.value(value, m.PutEmpty(d.texts.of(key)), depth) || m.Len() != i-base+1 {
			return false
		}
	}
	return true
}

func (d *decoder) value(message []byte, value pcommon.Value, depth int) bool {
	return fields(message, func(num protowire.Number, number uint64, data []byte) bool {
		switch num {
		case otlpwire.AnyString:
			value.SetStr(d.texts.of(data))
		case otlpwire.AnyBool:
			value.SetBool(protowire.DecodeBool(number))
		case otlpwire.AnyInt:
			value.SetInt(int64(number))
		case otlpwire.AnyDouble:
			value.SetDouble(math.Float64frombits(number))
		case otlpwire.AnyArray:
			return depth < deepest && d.list(data, value.SetEmptySlice(), depth+1)
		case otlpwire.AnyMap:
			return depth < deepest && d.pairsOf(data, value.SetEmptyMap(), depth+1)
		case otlpwire.AnyBytes:
			value.SetEmptyBytes().FromRaw(data)
		default:
			return false
		}
		return true
	})
}

func (d *decoder) list(message []byte, list pcommon.Slice, depth int) bool {
	return fields(message, func(num protowire.Number, _ uint64, data []byte) bool {
		return num == otlpwire.ListValues && d.value(data, list.AppendEmpty(), depth)
	})
}

func (d *decoder) pairsOf(message []byte, m pcommon.Map, depth int) bool {
	base := len(d.pairs)
	defer func() { d.pairs = d.pairs[:base] }()
	return fields(message, func(num protowire.Number, _ uint64, data []byte) bool {
		d.pairs = append(d.pairs, data)
		return num == otlpwire.ListValues
	}) && d.pairsInto(base, m, depth)
}

// texts remembers the text it was asked for last, by hash: what is asked for again is there already. It takes up to 160 KiB.
type texts [2048]string

// longestText is the longest text that is remembered.
const longestText = 64

func (t *texts) of(data []byte) string {
	if len(data) == 0 || len(data) > longestText {
		return string(data)
	}
	slot := &t[xxhash.Sum64(data)%uint64(len(t))]
	if *slot != string(data) {
		*slot = string(data)
	}
	return *slot
}
