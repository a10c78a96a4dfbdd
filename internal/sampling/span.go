// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// spanFields is what one pass over a span collects.
type spanFields struct {
	id []byte
	// idAt and idEnd are where the field with the ID lies.
	idAt, idEnd int

	state      []byte
	name       []byte
	kind       uint64
	start, end uint64
	flags      uint64
	status     uint64
	hasParent  bool

	spanID, parentID []byte
}

func (b *Batch) parseSpan(base int, data []byte, rs *resourceScope, index int, p *Program, conditions Conditions) error {
	var s spanFields
	if !b.readFields(data, &s, p) {
		return errMalformed
	}
	var id TraceID
	copy(id[:], s.id)
	frag := b.fragmentOf(id)
	b.startSeen(len(p.keyed))
	for _, kv := range b.attributes {
		b.readAttribute(frag, kv, p)
	}
	b.addSpan(frag, base, data, &s, rs)
	if p.needsMore() {
		b.noteMore(&s, rs)
	}
	if p.needsVersions {
		frag.readVariants(b.attributes, b.eventFields)
	}
	frag.readSpan(&s, rs, p)
	for i := range p.conditions {
		l := &p.conditions[i]
		if frag.facts.bits.has(l.slot) || frag.facts.bits.has(l.slot+1) {
			continue
		}
		matched, err := conditions.Match(l.condition, rs.resource, rs.scope, index)
		switch {
		case err != nil:
			b.Errors++
			frag.facts.bits.set(l.slot + 1)
		case matched:
			frag.facts.bits.set(l.slot)
		}
	}
	return nil
}

// The tags of fields that most spans have, as encoders write them.
const (
	tagTraceID    = otlpwire.SpanTraceID<<3 | otlpwire.Bytes
	tagSpanID     = otlpwire.SpanID<<3 | otlpwire.Bytes
	tagParentID   = otlpwire.SpanParentID<<3 | otlpwire.Bytes
	tagName       = otlpwire.SpanName<<3 | otlpwire.Bytes
	tagKind       = otlpwire.SpanKind<<3 | otlpwire.Varint
	tagStart      = otlpwire.SpanStart<<3 | otlpwire.Fixed64
	tagEnd        = otlpwire.SpanEnd<<3 | otlpwire.Fixed64
	tagAttributes = otlpwire.SpanAttributes<<3 | otlpwire.Bytes
	tagStatus     = otlpwire.SpanStatus<<3 | otlpwire.Bytes
)

// readFields notes where the fields of a span lie, and the attributes that somebody may ask for: they can only be looked at once the trace
// is known, and pdata writes its ID last. It returns false when the span is malformed.
func (b *Batch) readFields(data []byte, s *spanFields, p *Program) bool {
	b.attributes, b.linkFields, b.eventFields = b.attributes[:0], b.linkFields[:0], b.eventFields[:0]
	asked := len(p.keyed) > 0 || p.needsVersions
	for pos := 0; pos < len(data); {
		if n := b.readShort(data[pos:], pos, s, asked); n > 0 {
			pos += n
			continue
		}
		f, next := nextField(data, pos)
		if next < 0 {
			return false
		}
		switch {
		case f.num == otlpwire.SpanAttributes:
			b.attributes = append(b.attributes, f.data)
		case f.num == otlpwire.SpanTraceID && f.typ == otlpwire.Bytes && len(f.data) == 16:
			s.id, s.idAt, s.idEnd = f.data, pos, next
		case f.num == otlpwire.SpanLinks && p.needsLinks:
			b.linkFields = append(b.linkFields, f.data)
		case f.num == otlpwire.SpanEvents && p.needsVersions:
			b.eventFields = append(b.eventFields, f.data)
		default:
			s.take(&f)
		}
		pos = next
	}
	return true
}

// readShort reads the field at the start of data, where it is one of those that most spans are made of, in its usual form. It returns how
// long the field is, or 0.
func (b *Batch) readShort(data []byte, pos int, s *spanFields, asked bool) int {
	if len(data) < 2 {
		return 0
	}
	tag, n := data[0], int(data[1])
	switch tag {
	case tagStart, tagEnd:
		if len(data) < 9 {
			return 0
		}
		if v := binary.LittleEndian.Uint64(data[1:]); tag == tagStart {
			s.start = v
		} else {
			s.end = v
		}
		return 9
	case tagKind:
		if n >= 0x80 {
			return 0
		}
		s.kind = uint64(n)
		return 2
	}
	end := 2 + n
	if n >= 0x80 || end > len(data) {
		return 0
	}
	value := data[2:end]
	switch tag {
	case tagAttributes:
		if asked || isMark(value) {
			b.attributes = append(b.attributes, value)
		}
	case tagTraceID:
		if n != len(TraceID{}) {
			return 0
		}
		s.id, s.idAt, s.idEnd = value, pos, pos+end
	case tagSpanID:
		s.spanID = value
	case tagParentID:
		s.hasParent, s.parentID = n > 0, value
	case tagName:
		s.name = value
	case tagStatus:
		s.status = statusCode(value)
	default:
		return 0
	}
	return end
}

func (s *spanFields) take(f *field) {
	switch f.num {
	case otlpwire.SpanTraceState:
		s.state = f.data
	case otlpwire.SpanID:
		s.spanID = f.data
	case otlpwire.SpanParentID:
		s.hasParent, s.parentID = len(f.data) > 0, f.data
	case otlpwire.SpanName:
		s.name = f.data
	case otlpwire.SpanKind:
		s.kind = f.number
	case otlpwire.SpanStart:
		s.start = f.number
	case otlpwire.SpanEnd:
		s.end = f.number
	case otlpwire.SpanFlags:
		s.flags = f.number
	case otlpwire.SpanStatus:
		s.status = statusCode(f.data)
	}
}

// markPrefix is how the names of the attributes begin that mark a bad event.
const markPrefix = "slo.bad"

func isMark(kv []byte) bool {
	return len(kv) > 2+len(markPrefix) && kv[2] == markPrefix[0] && string(kv[2:2+len(markPrefix)]) == markPrefix
}

// readAttribute looks at an attribute only as far as somebody asks for it.
func (b *Batch) readAttribute(frag *fragment, kv []byte, p *Program) {
	mark := isMark(kv)
	if !mark && len(p.keyed) == 0 {
		return
	}
	key, value := attribute(kv)
	if mark {
		frag.readMark(key, value, p)
	}
	b.matchAttribute(p, key, value, &frag.facts, false)
}

func statusCode(status []byte) uint64 {
	for pos := 0; pos < len(status); {
		f, next := nextField(status, pos)
		if next < 0 {
			return 0
		}
		if pos = next; f.num == otlpwire.StatusCode {
			return f.number
		}
	}
	return 0
}

// readSpan draws the facts that do not depend on attributes.
func (f *fragment) readSpan(s *spanFields, rs *resourceScope, p *Program) {
	facts := &f.facts
	name := xxhash.Sum64(s.name)
	if facts.spans == 1 || (!s.hasParent && !facts.has(factRoot)) {
		facts.route = mix(name ^ mix(rs.service))
	}
	if !s.hasParent {
		facts.flags |= factRoot
	}
	if s.status == 2 {
		facts.flags |= factError
	}
	key := operationOf(name, rs.service, s)
	facts.operations = addOperation(facts.operations, key)
	if p.durations != nil {
		facts.slowness = max(facts.slowness, p.durations.slowness(key, s.start, s.end))
	}
	for i := range p.statuses {
		if s.status < 3 && p.statuses[i].statuses>>s.status&1 != 0 {
			facts.bits.set(p.statuses[i].slot)
		}
	}
	for i := range p.flags {
		if s.flags&1 != 0 {
			facts.bits.set(p.flags[i].slot)
		}
	}
	if len(s.state) == 0 {
		return
	}
	for i := range p.states {
		if l := &p.states[i]; !facts.bits.has(l.slot) && traceStateMatches(s.state, l.key, l.match) {
			facts.bits.set(l.slot)
		}
	}
	ts := ParseTraceState(string(s.state))
	if ts.HasRandom && !facts.has(factRandom) {
		facts.random = ts.Random
		facts.flags |= factRandom
	}
	if ts.HasThreshold {
		facts.flags |= factThreshold
	}
}

// operationOf identifies an operation: service, span name, kind, failed or not.
func operationOf(name, service uint64, s *spanFields) uint32 {
	operation := name ^ service*31 ^ s.kind<<32
	if s.status == 2 {
		operation = ^operation
	}
	return uint32(mix(operation))
}

// readMark notes that an objective counted the span as bad.
func (f *fragment) readMark(key, value []byte, p *Program) {
	v := readAny(value)
	switch string(key) {
	case "slo.bad":
		if !v.truth() {
			return
		}
		f.facts.flags |= factSLOBad
		for i := range p.slo {
			if p.slo[i].match == nil {
				f.facts.bits.set(p.slo[i].slot)
			}
		}
	case "slo.bad.names":
		for pos := 0; pos < len(v.str); {
			item, next := nextField(v.str, pos)
			if next < 0 {
				return
			}
			pos = next
			name := readAny(item.data).text()
			for i := range p.slo {
				if m := p.slo[i].match; m != nil && m.matches(name) {
					f.facts.bits.set(p.slo[i].slot)
				}
			}
		}
	}
}
