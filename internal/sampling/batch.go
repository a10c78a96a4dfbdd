// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// errMalformed is what a request that is not OTLP protobuf gets.
var errMalformed = errors.New("malformed OTLP request")

// Conditions evaluates what the engine cannot: conditions over decoded spans. It is called with positions in the request.
type Conditions interface {
	Match(condition, resource, scope, span int) (matched bool, err error)
}

// Batch is one request, cut into the traces it holds, with the facts that policies need. Its memory is reused; it is read by the engine
// and by Late outputs until the next Parse.
type Batch struct {
	data      []byte
	index     map[TraceID]int32
	fragments []fragment
	count     int
	// first and last are the first fragment that further spans may belong to, and the one that the last span did; last may be -1.
	first    int
	last     int32
	spans    []spanRef
	groups   []group
	contexts []contextBytes
	scratch  []byte
	seen     []bool
	resource facts
	// attributes are those of one span that somebody may ask for, linkFields and eventFields its links and events where they are wanted.
	attributes, linkFields, eventFields [][]byte
	// found is where the spans of one scope lie.
	found []extent
	// more has an entry for each span where details are wanted, and links the IDs that they link to.
	more  []spanMore
	links []TraceID

	// next is the first fragment that the engine has not taken yet.
	next int
	// Errors counts conditions that failed to evaluate.
	Errors int
}

// spanRef is a span in the request's bytes; next is the following one of its group, or -1.
type spanRef struct {
	low, high  uint32
	next       int32
	place      idPlace
	start, end uint64
}

// extent is where a message lies.
type extent struct{ low, high int }

// group is a run of spans of one trace under one resource and scope.
type group struct {
	context     int32
	first, last int32
	spans       int32
	next        int32
}

// contextBytes locates a resource and a scope, as they are interned, in the batch's scratch space.
type contextBytes struct {
	resourceLow, resourceHigh, scopeLow, scopeHigh int
	interned                                       *context
}

// fragment is what one request holds of one trace.
type fragment struct {
	id    TraceID
	facts facts

	firstGroup, lastGroup int32
	spanBytes             int
	groups                int
	// The sizes of the messages under construction, as a request with this trace alone would encode them.
	resourceIndex, scopeIndex int32
	resourceBytes, scopeBytes int
}

// Spans is the number of spans in the request.
func (b *Batch) Spans() int { return len(b.spans) }

// Traces is the number of traces in the request.
func (b *Batch) Traces() int { return b.count }

// Parse takes a request apart. data must stay unchanged until the batch is done with.
func (b *Batch) Parse(data []byte, p *Program, conditions Conditions) error {
	b.reset(data)
	resource := 0
	for pos := 0; pos < len(data); {
		f, next := nextField(data, pos)
		if next < 0 {
			return errMalformed
		}
		if f.num == otlpwire.TracesResourceSpans && f.typ == otlpwire.Bytes {
			if p.splitResources {
				clear(b.index)
				b.first, b.last = b.count, -1
			}
			if err := b.parseResource(next-len(f.data), f.data, resource, p, conditions); err != nil {
				return err
			}
			resource++
		}
		pos = next
	}
	for i := range b.count {
		b.fragments[i].closeResource()
	}
	return nil
}

func (b *Batch) reset(data []byte) {
	b.data = data
	if b.index == nil {
		b.index = make(map[TraceID]int32)
	}
	clear(b.index)
	b.count, b.first, b.next, b.last, b.Errors = 0, 0, 0, -1, 0
	b.spans, b.groups, b.scratch = b.spans[:0], b.groups[:0], b.scratch[:0]
	b.more, b.links = b.more[:0], b.links[:0]
	clear(b.contexts)
	b.contexts = b.contexts[:0]
}

// resourceScope is what the spans under one resource share while a request is parsed.
type resourceScope struct {
	resource, scope         int
	service, version        uint64
	resourceSize, scopeSize int
	context                 int32
	hasVersion              bool
	blobLow, blobHigh       int
}

func (b *Batch) parseResource(base int, data []byte, index int, p *Program, conditions Conditions) error {
	var resource, schema []byte
	for pos := 0; pos < len(data); {
		f, next := nextField(data, pos)
		if next < 0 {
			return errMalformed
		}
		pos = next
		switch {
		case f.num == otlpwire.ResourceSpansResource && f.typ == otlpwire.Bytes:
			resource = f.data
		case f.num == otlpwire.ResourceSpansSchemaURL && f.typ == otlpwire.Bytes:
			schema = f.data
		}
	}
	rs := resourceScope{resource: index, resourceSize: fieldLen(len(resource)), blobLow: len(b.scratch)}
	b.scratch = appendBlob(b.scratch, otlpwire.ResourceSpansResource, otlpwire.ResourceSpansSchemaURL, resource, schema)
	rs.blobHigh = len(b.scratch)
	b.resource.reset()
	if err := b.readResource(resource, &rs, p); err != nil {
		return err
	}
	for pos := 0; pos < len(data); {
		f, next := nextField(data, pos)
		if f.num == otlpwire.ResourceSpansScope && f.typ == otlpwire.Bytes {
			if err := b.parseScope(base+next-len(f.data), f.data, &rs, p, conditions); err != nil {
				return err
			}
			rs.scope++
		}
		pos = next
	}
	return nil
}

// appendBlob appends the shared leading fields of a ResourceSpans or ScopeSpans message.
func appendBlob(dst []byte, num, schemaNum uint8, message, schema []byte) []byte {
	dst = appendBytesField(dst, num, message)
	if len(schema) > 0 {
		dst = appendBytesField(dst, schemaNum, schema)
	}
	return dst
}

func (b *Batch) readResource(resource []byte, rs *resourceScope, p *Program) error {
	b.startSeen(len(p.keyed))
	for pos := 0; pos < len(resource); {
		f, next := nextField(resource, pos)
		if next < 0 {
			return errMalformed
		}
		pos = next
		if f.num != otlpwire.ResourceAttributes || f.typ != otlpwire.Bytes {
			continue
		}
		key, value := attribute(f.data)
		switch string(key) {
		case "service.name":
			rs.service = xxhash.Sum64(readAny(value).text())
		case "service.version":
			rs.version, rs.hasVersion = xxhash.Sum64(readAny(value).text()), true
		}
		b.matchAttribute(p, key, value, &b.resource, true)
	}
	if len(p.slo) > 0 {
		b.resource.services = append(b.resource.services, uint32(rs.service))
	}
	if rs.hasVersion && p.needsVersions {
		b.resource.versions = append(b.resource.versions, uint32(mix(rs.service^mix(rs.version))))
	}
	return nil
}

func (b *Batch) startSeen(n int) {
	if n == 0 {
		return
	}
	for len(b.seen) < n {
		b.seen = append(b.seen, false)
	}
	clear(b.seen)
}

// matchAttribute runs the tests of one attribute. The first of several attributes with the same key counts.
func (b *Batch) matchAttribute(p *Program, key, value []byte, f *facts, resource bool) {
	for i := range p.keyed {
		if p.keyed[i].key != string(key) || b.seen[i] {
			continue
		}
		b.seen[i] = true
		v := readAny(value)
		for j := range p.keyed[i].leaves {
			l := &p.keyed[i].leaves[j]
			if !f.bits.has(l.slot) && l.matchesValue(v, resource) {
				f.bits.set(l.slot)
			}
		}
	}
}

func (l *leaf) matchesValue(v anyValue, resource bool) bool {
	switch l.kind {
	case KindString:
		text := v.text()
		return (resource || len(text) > 0) && l.match.matches(text)
	case KindNumber:
		n := v.integer()
		return n >= l.min && n <= l.max
	default:
		return v.truth() == l.truth
	}
}

func (b *Batch) parseScope(base int, data []byte, rs *resourceScope, p *Program, conditions Conditions) error {
	var scope, schema []byte
	b.found = b.found[:0]
	for pos := 0; pos < len(data); {
		f, next := nextField(data, pos)
		if next < 0 {
			return errMalformed
		}
		pos = next
		switch {
		case f.num == otlpwire.ScopeSpansSpan && f.typ == otlpwire.Bytes:
			b.found = append(b.found, extent{next - len(f.data), next})
		case f.num == otlpwire.ScopeSpansScope && f.typ == otlpwire.Bytes:
			scope = f.data
		case f.num == otlpwire.ScopeSpansSchemaURL && f.typ == otlpwire.Bytes:
			schema = f.data
		}
	}
	low := len(b.scratch)
	b.scratch = appendBlob(b.scratch, otlpwire.ScopeSpansScope, otlpwire.ScopeSpansSchemaURL, scope, schema)
	rs.context = int32(len(b.contexts))
	b.contexts = append(b.contexts, contextBytes{rs.blobLow, rs.blobHigh, low, len(b.scratch), nil})
	rs.scopeSize = fieldLen(len(scope))
	for i, at := range b.found {
		if err := b.parseSpan(base+at.low, data[at.low:at.high], rs, i, p, conditions); err != nil {
			return err
		}
	}
	return nil
}

func (b *Batch) fragmentOf(id TraceID) *fragment {
	if b.last >= 0 {
		if last := &b.fragments[b.last]; last.id == id {
			return last
		}
	}
	// Scopes often hold the same traces in the same order.
	if next := int(b.last) + 1; next >= b.first && next < b.count && b.fragments[next].id == id {
		b.last = int32(next)
		return &b.fragments[next]
	}
	if i, ok := b.index[id]; ok {
		b.last = i
		return &b.fragments[i]
	}
	b.last = int32(b.count)
	b.index[id] = b.last
	if b.count == len(b.fragments) {
		b.fragments = append(b.fragments, fragment{})
	}
	frag := &b.fragments[b.count]
	b.count++
	frag.facts.reset()
	*frag = fragment{id: id, facts: frag.facts, firstGroup: -1, lastGroup: -1, resourceIndex: -1, scopeIndex: -1}
	return frag
}

// addSpan files the span under its trace and keeps count of its size.
func (b *Batch) addSpan(frag *fragment, base int, data []byte, s *spanFields, rs *resourceScope) {
	at := int32(len(b.spans))
	b.spans = append(b.spans, spanRef{low: uint32(base), high: uint32(base + len(data)), next: -1, place: placeOf(s, len(data)), start: s.start, end: s.end})
	if frag.resourceIndex != int32(rs.resource) {
		frag.closeResource()
		frag.resourceIndex, frag.resourceBytes = int32(rs.resource), rs.resourceSize
		frag.facts.bits.merge(&b.resource.bits)
		frag.facts.services = union(frag.facts.services, b.resource.services, maxServices)
		frag.facts.versions = union(frag.facts.versions, b.resource.versions, maxVersions)
	}
	if frag.scopeIndex != rs.context {
		frag.closeScope()
		frag.scopeIndex, frag.scopeBytes = rs.context, rs.scopeSize
		g := int32(len(b.groups))
		b.groups = append(b.groups, group{context: rs.context, first: at, last: at, next: -1})
		if frag.lastGroup < 0 {
			frag.firstGroup = g
		} else {
			b.groups[frag.lastGroup].next = g
		}
		frag.lastGroup = g
		frag.groups++
	} else {
		b.spans[b.groups[frag.lastGroup].last].next = at
		b.groups[frag.lastGroup].last = at
	}
	b.groups[frag.lastGroup].spans++
	frag.scopeBytes += fieldLen(len(data))
	frag.spanBytes += len(data)
	frag.facts.spans++
}

func (f *fragment) closeScope() {
	if f.scopeIndex >= 0 {
		f.resourceBytes += fieldLen(f.scopeBytes)
		f.scopeIndex = -1
	}
}

func (f *fragment) closeResource() {
	f.closeScope()
	if f.resourceIndex >= 0 {
		f.facts.size += uint64(f.resourceBytes)
		f.facts.wireBytes += uint64(fieldLen(f.resourceBytes))
		f.resourceIndex = -1
	}
}

// record writes a fragment's spans as the store keeps them.
func (b *Batch) record(dst []byte, frag *fragment, number func(context int32) int) []byte {
	for g := frag.firstGroup; g >= 0; g = b.groups[g].next {
		dst = binary.AppendUvarint(dst, uint64(number(b.groups[g].context)))
		dst = binary.AppendUvarint(dst, uint64(b.groups[g].spans))
		for i := b.groups[g].first; i >= 0; i = b.spans[i].next {
			dst = appendSpan(dst, b.data[b.spans[i].low:b.spans[i].high], b.spans[i].place)
		}
	}
	return dst
}
