// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/entity"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// encoder encodes requests as pdata does, but into memory that is used again, and without measuring everything first: the lengths of the
// messages that hold spans are written with zeros to spare, which decoders accept. All other messages are the same to the byte. What it does
// not know, it leaves to pdata's: entities, and values nested so deep that making room for their lengths would take longer than measuring.
type encoder struct {
	buf []byte
	// depth is how many values lie around the one being written; tooDeep is set where one was left out for that.
	depth   int
	tooDeep bool
}

// traces returns the request, encoded. The bytes are good until the next call.
func (e *encoder) traces(td ptrace.Traces) ([]byte, error) {
	if e.all(td) {
		return e.buf, nil
	}
	data, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		return nil, fmt.Errorf("encoding a request: %w", err)
	}
	return data, nil
}

// all tells whether it could encode all of the request.
func (e *encoder) all(td ptrace.Traces) bool {
	e.buf, e.tooDeep = e.buf[:0], false
	for _, rs := range td.ResourceSpans().All() {
		if e.tooDeep || entity.ResourceEntityRefs(rs.Resource()).Len() > 0 {
			return false
		}
		at := e.open(otlpwire.TracesResourceSpans)
		e.resource(rs.Resource())
		for _, ss := range rs.ScopeSpans().All() {
			scope := e.open(otlpwire.ResourceSpansScope)
			e.scope(ss.Scope())
			for _, span := range ss.Spans().All() {
				e.span(span)
			}
			e.text(otlpwire.ScopeSpansSchemaURL, ss.SchemaUrl())
			e.close(scope)
		}
		e.text(otlpwire.ResourceSpansSchemaURL, rs.SchemaUrl())
		e.close(at)
	}
	return !e.tooDeep
}

// longLength is how many bytes the length of a message takes that is not known beforehand: enough for what a request can be.
const longLength = 5

// open starts a message of any length.
func (e *encoder) open(num byte) (at int) {
	e.buf = append(e.buf, num<<3|otlpwire.Bytes, 0, 0, 0, 0, 0)
	return len(e.buf)
}

// close ends it.
func (e *encoder) close(at int) {
	n := len(e.buf) - at
	for i := range longLength - 1 {
		e.buf[at-longLength+i] = byte(n>>(7*i)) | 0x80
	}
	e.buf[at-1] = byte(n >> (7 * (longLength - 1)))
}

// begin starts a message whose length most likely takes room bytes.
func (e *encoder) begin(num byte, room int) (at int) {
	e.buf = append(e.buf, num<<3|otlpwire.Bytes)
	for range room {
		e.buf = append(e.buf, 0)
	}
	return len(e.buf)
}

// end ends it, and sees to it that its length is written as short as it can be.
func (e *encoder) end(at, room int) {
	n := len(e.buf) - at
	if room == 1 && n < 0x80 {
		e.buf[at-1] = byte(n)
		return
	}
	if need := uvarintLen(uint64(n)); need != room {
		for range need - room {
			e.buf = append(e.buf, 0)
		}
		copy(e.buf[at-room+need:], e.buf[at:at+n])
		e.buf = e.buf[:at-room+need+n]
	}
	binary.PutUvarint(e.buf[at-room:], uint64(n))
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func (e *encoder) uvarint(v uint64) {
	if v < 0x80 {
		e.buf = append(e.buf, byte(v))
		return
	}
	e.buf = binary.AppendUvarint(e.buf, v)
}

func (e *encoder) text(num byte, v string) {
	if v == "" {
		return
	}
	e.buf = append(e.buf, num<<3|otlpwire.Bytes)
	e.uvarint(uint64(len(v)))
	e.buf = append(e.buf, v...)
}

func (e *encoder) number(num byte, v uint64) {
	if v == 0 {
		return
	}
	e.buf = append(e.buf, num<<3|otlpwire.Varint)
	e.uvarint(v)
}

func (e *encoder) fixed64(num byte, v uint64) {
	if v != 0 {
		e.buf = binary.LittleEndian.AppendUint64(append(e.buf, num<<3|otlpwire.Fixed64), v)
	}
}

func (e *encoder) resource(r pcommon.Resource) {
	at := e.begin(otlpwire.ResourceSpansResource, 2)
	e.number(otlpwire.ResourceDroppedAttributes, uint64(r.DroppedAttributesCount()))
	e.attributes(otlpwire.ResourceAttributes, r.Attributes())
	e.end(at, 2)
}

func (e *encoder) scope(s pcommon.InstrumentationScope) {
	at := e.begin(otlpwire.ScopeSpansScope, 1)
	e.number(otlpwire.ScopeDroppedAttributes, uint64(s.DroppedAttributesCount()))
	e.attributes(otlpwire.ScopeAttributes, s.Attributes())
	e.text(otlpwire.ScopeVersion, s.Version())
	e.text(otlpwire.ScopeName, s.Name())
	e.end(at, 1)
}

// id writes an ID, or, as pdata does for one that is empty, a field of no length.
func (e *encoder) id(num byte, id []byte, empty bool) {
	if empty {
		id = nil
	}
	e.buf = append(append(e.buf, num<<3|otlpwire.Bytes, byte(len(id))), id...)
}

func (e *encoder) traceID(num byte, id pcommon.TraceID) { e.id(num, id[:], id.IsEmpty()) }

func (e *encoder) spanID(num byte, id pcommon.SpanID) { e.id(num, id[:], id.IsEmpty()) }

// flags takes the number of a field, whose tag may take two bytes.
func (e *encoder) flags(num int, v uint32) {
	if v != 0 {
		e.uvarint(uint64(num)<<3 | otlpwire.Fixed32)
		e.buf = binary.LittleEndian.AppendUint32(e.buf, v)
	}
}

// span writes the same bytes as pdata, which writes messages from their end on: last fields first.
func (e *encoder) span(s ptrace.Span) {
	at := e.begin(otlpwire.ScopeSpansSpan, 2)
	e.status(s.Status())
	e.number(otlpwire.SpanDroppedLinks, uint64(s.DroppedLinksCount()))
	for _, link := range s.Links().All() {
		e.link(link)
	}
	e.number(otlpwire.SpanDroppedEvents, uint64(s.DroppedEventsCount()))
	for _, event := range s.Events().All() {
		e.event(event)
	}
	e.number(otlpwire.SpanDroppedAttributes, uint64(s.DroppedAttributesCount()))
	e.attributes(otlpwire.SpanAttributes, s.Attributes())
	e.fixed64(otlpwire.SpanEnd, uint64(s.EndTimestamp()))
	e.fixed64(otlpwire.SpanStart, uint64(s.StartTimestamp()))
	e.number(otlpwire.SpanKind, uint64(s.Kind()))
	e.text(otlpwire.SpanName, s.Name())
	e.flags(otlpwire.SpanFlags, s.Flags())
	e.spanID(otlpwire.SpanParentID, s.ParentSpanID())
	e.text(otlpwire.SpanTraceState, s.TraceState().AsRaw())
	e.spanID(otlpwire.SpanID, s.SpanID())
	e.traceID(otlpwire.SpanTraceID, s.TraceID())
	e.end(at, 2)
}

func (e *encoder) status(status ptrace.Status) {
	at := e.begin(otlpwire.SpanStatus, 1)
	e.number(otlpwire.StatusCode, uint64(status.Code()))
	e.text(otlpwire.StatusMessage, status.Message())
	e.end(at, 1)
}

func (e *encoder) event(event ptrace.SpanEvent) {
	at := e.begin(otlpwire.SpanEvents, 2)
	e.number(otlpwire.EventDroppedAttributes, uint64(event.DroppedAttributesCount()))
	e.attributes(otlpwire.EventAttributes, event.Attributes())
	e.text(otlpwire.EventName, event.Name())
	e.fixed64(otlpwire.EventTime, uint64(event.Timestamp()))
	e.end(at, 2)
}

func (e *encoder) link(link ptrace.SpanLink) {
	at := e.begin(otlpwire.SpanLinks, 1)
	e.flags(otlpwire.LinkFlags, link.Flags())
	e.number(otlpwire.LinkDroppedAttributes, uint64(link.DroppedAttributesCount()))
	e.attributes(otlpwire.LinkAttributes, link.Attributes())
	e.text(otlpwire.LinkTraceState, link.TraceState().AsRaw())
	e.spanID(otlpwire.LinkSpanID, link.SpanID())
	e.traceID(otlpwire.LinkTraceID, link.TraceID())
	e.end(at, 1)
}

func (e *encoder) attributes(num byte, m pcommon.Map) {
	for key, value := range m.All() {
		at := e.begin(num, 1)
		in := e.begin(otlpwire.KeyValueValue, 1)
		e.value(value)
		e.end(in, 1)
		e.text(otlpwire.KeyValueKey, key)
		e.end(at, 1)
	}
}

// value writes even what is zero: a value that is not there is none.
func (e *encoder) value(v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		text := v.Str()
		e.buf = append(e.buf, otlpwire.AnyString<<3|otlpwire.Bytes)
		e.uvarint(uint64(len(text)))
		e.buf = append(e.buf, text...)
	case pcommon.ValueTypeBool:
		yes := byte(0)
		if v.Bool() {
			yes = 1
		}
		e.buf = append(e.buf, otlpwire.AnyBool<<3|otlpwire.Varint, yes)
	case pcommon.ValueTypeInt:
		e.buf = append(e.buf, otlpwire.AnyInt<<3|otlpwire.Varint)
		e.uvarint(uint64(v.Int()))
	case pcommon.ValueTypeDouble:
		e.buf = binary.LittleEndian.AppendUint64(append(e.buf, otlpwire.AnyDouble<<3|otlpwire.Fixed64), math.Float64bits(v.Double()))
	case pcommon.ValueTypeSlice, pcommon.ValueTypeMap:
		e.nested(v)
	case pcommon.ValueTypeBytes:
		e.buf = append(e.buf, otlpwire.AnyBytes<<3|otlpwire.Bytes)
		e.uvarint(uint64(v.Bytes().Len()))
		for _, b := range v.Bytes().All() {
			e.buf = append(e.buf, b)
		}
	}
}

// nested writes a list or map, unless it lies too deep.
func (e *encoder) nested(v pcommon.Value) {
	if e.depth == deepest || e.tooDeep {
		e.tooDeep = true
		return
	}
	e.depth++
	defer func() { e.depth-- }()
	if v.Type() == pcommon.ValueTypeMap {
		at := e.begin(otlpwire.AnyMap, 1)
		e.attributes(otlpwire.ListValues, v.Map())
		e.end(at, 1)
		return
	}
	at := e.begin(otlpwire.AnyArray, 1)
	for _, item := range v.Slice().All() {
		in := e.begin(otlpwire.ListValues, 1)
		e.value(item)
		e.end(in, 1)
	}
	e.end(at, 1)
}
