// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// errRecord is what a record that does not decode gets; only a defect could make one.
var errRecord = errors.New("corrupt record of spans")

// view is a record that outlives its trace: packed segments never change, and what is not packed yet is copied.
type view struct {
	packed   []byte
	tight    bool
	size     int
	raw      []byte
	offset   int
	length   int
	contexts []*context
}

func viewOf(r ref) view {
	v := view{offset: int(r.offset), length: int(r.length), contexts: r.segment.contexts}
	if r.segment.packed != nil {
		v.packed, v.tight, v.size = r.segment.packed, r.segment.tight, r.segment.size
		return v
	}
	v.raw = append(make([]byte, 0, r.length), r.segment.raw[r.offset:r.offset+r.length]...)
	v.offset = 0
	return v
}

// reader reads views and remembers the last segment it unpacked.
type reader struct {
	packed []byte
	raw    []byte
}

func (r *reader) read(v *view) ([]byte, error) {
	if v.packed == nil {
		return v.raw[v.offset : v.offset+v.length], nil
	}
	if len(r.packed) == 0 || &r.packed[0] != &v.packed[0] {
		raw, err := r.unpack(v)
		if err != nil {
			r.packed = nil
			return nil, fmt.Errorf("unpacking spans: %w", err)
		}
		r.packed, r.raw = v.packed, raw
	}
	if v.offset+v.length > len(r.raw) {
		return nil, errRecord
	}
	return r.raw[v.offset : v.offset+v.length], nil
}

func (r *reader) unpack(v *view) ([]byte, error) {
	if v.tight {
		return decoder.DecodeAll(v.packed, r.raw[:0])
	}
	return s2.Decode(r.raw[:cap(r.raw)], v.packed)
}

// segmentReaders remember the last few segments they unpacked, for traces whose spans lie in several. The zero value is ready.
type segmentReaders struct {
	readers [4]reader
	oldest  int
}

func (s *segmentReaders) read(v *view) ([]byte, error) {
	if v.packed != nil {
		for i := range s.readers {
			if r := &s.readers[i]; len(r.packed) > 0 && &r.packed[0] == &v.packed[0] {
				return r.read(v)
			}
		}
	}
	s.oldest = (s.oldest + 1) % len(s.readers)
	return s.readers[s.oldest].read(v)
}

// Writer turns kept traces into an OTLP request.
type Writer struct {
	// Apart gives each trace ResourceSpans of its own; otherwise traces share them.
	Apart bool

	reader reader
	buf    []byte
	groups []outGroup
	index  map[*context]int
	spans  []outSpan
}

type outGroup struct {
	context     *context
	first, last int
	count, size int
	// resource and scope are where the group lies in the request; negative while it is in none.
	resource, scope int
}

type outSpan struct {
	id       TraceID
	data     []byte
	stripped bool
	next     int
}

// Add takes a kept trace up. What it fails on is left out whole.
func (w *Writer) Add(k *Kept) error {
	if w.index == nil {
		w.index = make(map[*context]int)
	}
	if w.Apart {
		clear(w.index)
	}
	groups, spans := len(w.groups), len(w.spans)
	for i := range k.views {
		data, err := w.reader.read(&k.views[i])
		if err == nil {
			// The reader's next segment overwrites this one.
			low := len(w.buf)
			w.buf = append(w.buf, data...)
			err = w.collect(w.buf[low:], k.views[i].contexts, k.ID)
		}
		if err != nil {
			w.undo(groups, spans)
			return err
		}
	}
	return nil
}

// undo takes back the groups and spans after the given numbers.
func (w *Writer) undo(groups, spans int) {
	for i := range w.groups {
		g := &w.groups[i]
		before := -1
		for s := g.first; s >= 0; s = w.spans[s].next {
			if s >= spans {
				g.size -= w.spans[s].fieldSize()
				g.count--
				continue
			}
			before = s
		}
		if g.last = before; before >= 0 {
			w.spans[before].next = -1
		} else {
			g.first = -1
		}
	}
	w.groups, w.spans = w.groups[:groups], w.spans[:spans]
	clear(w.index)
	for i := range w.groups {
		w.index[w.groups[i].context] = i
	}
}

func (w *Writer) collect(data []byte, contexts []*context, id TraceID) error {
	for pos := 0; pos < len(data); {
		index, next := uvarint(data, pos)
		count, next := uvarint(data, next)
		if next < 0 || index >= uint64(len(contexts)) {
			return errRecord
		}
		g := w.groupOf(contexts[index])
		for range count {
			head, at := uvarint(data, next)
			if at < 0 || head>>1 > uint64(len(data)-at) {
				return errRecord
			}
			next = at + int(head>>1)
			w.addSpan(g, outSpan{id, data[at:next], head&1 != 0, -1})
		}
		pos = next
	}
	return nil
}

func (w *Writer) groupOf(c *context) *outGroup {
	i, ok := w.index[c]
	if !ok {
		i = len(w.groups)
		w.index[c] = i
		w.groups = append(w.groups, outGroup{context: c, first: -1, last: -1})
	}
	return &w.groups[i]
}

func (s *outSpan) size() int {
	if s.stripped {
		return len(s.data) + tracePrefixLen
	}
	return len(s.data)
}

func (s *outSpan) fieldSize() int { return fieldLen(s.size()) }

func (w *Writer) addSpan(g *outGroup, s outSpan) {
	at := len(w.spans)
	w.spans = append(w.spans, s)
	if g.first < 0 {
		g.first = at
	} else {
		w.spans[g.last].next = at
	}
	g.last = at
	g.count++
	g.size += s.fieldSize()
}

// AppendTo appends what was added as an encoded TracesData message. There is one ResourceSpans for each resource, with one ScopeSpans for
// each scope; spans of a trace stay in order of arrival within it.
func (w *Writer) AppendTo(dst []byte) []byte { return w.append(dst, true) }

// AppendShell is AppendTo without the spans, which Spans tells.
func (w *Writer) AppendShell(dst []byte) []byte { return w.append(dst, false) }

// Reset starts anew.
func (w *Writer) Reset() {
	clear(w.groups)
	clear(w.spans)
	clear(w.index)
	w.groups, w.spans, w.buf = w.groups[:0], w.spans[:0], w.buf[:0]
}

// Span is an encoded span. Where HasID is not set, its trace ID is left out.
type Span struct {
	TraceID TraceID
	HasID   bool
	Data    []byte
}

// Spans goes through the spans of the request that was appended last: for each scope, group is told where it lies and how many there are,
// and then span each of them. Either stops it by returning false, which is returned.
func (w *Writer) Spans(group func(resource, scope, spans int) bool, span func(Span) bool) bool {
	for i := range w.groups {
		g := &w.groups[i]
		if g.count == 0 {
			continue
		}
		if !group(g.resource, g.scope, g.count) {
			return false
		}
		for s := g.first; s >= 0; s = w.spans[s].next {
			if !span(Span{w.spans[s].id, !w.spans[s].stripped, w.spans[s].data}) {
				return false
			}
		}
	}
	return true
}

func (w *Writer) append(dst []byte, spans bool) []byte {
	for i := range w.groups {
		w.groups[i].resource = -1
	}
	resources := 0
	for i := range w.groups {
		if w.groups[i].resource < 0 {
			dst = w.appendResource(dst, i, resources, spans)
			resources++
		}
	}
	return dst
}

// appendResource writes one ResourceSpans, with group i and the groups of the same resource that follow. With Apart it is group i alone,
// since a group that follows may be of another trace.
func (w *Writer) appendResource(dst []byte, i, number int, spans bool) []byte {
	resource := w.groups[i].context.resource
	end := len(w.groups)
	if w.Apart {
		end = i + 1
	}
	size, scopes := len(resource.data), 0
	for j := i; j < end; j++ {
		g := &w.groups[j]
		if g.resource >= 0 || g.context.resource != resource {
			continue
		}
		if g.resource = number; g.count > 0 {
			g.scope = scopes
			scopes++
			size += fieldLen(g.scopeSize(spans))
		}
	}
	dst = append(dst, otlpwire.TracesResourceSpans<<3|otlpwire.Bytes)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = append(dst, resource.data...)
	for j := i; j < end; j++ {
		g := &w.groups[j]
		if g.resource != number || g.count == 0 {
			continue
		}
		dst = append(dst, otlpwire.ResourceSpansScope<<3|otlpwire.Bytes)
		dst = binary.AppendUvarint(dst, uint64(g.scopeSize(spans)))
		dst = append(dst, g.context.scope.data...)
		if spans {
			dst = w.appendSpans(dst, g)
		}
	}
	return dst
}

// scopeSize is the size of the group's ScopeSpans message, with or without its spans.
func (g *outGroup) scopeSize(spans bool) int {
	if spans {
		return len(g.context.scope.data) + g.size
	}
	return len(g.context.scope.data)
}

func (w *Writer) appendSpans(dst []byte, g *outGroup) []byte {
	for i := g.first; i >= 0; i = w.spans[i].next {
		s := &w.spans[i]
		dst = append(dst, otlpwire.ScopeSpansSpan<<3|otlpwire.Bytes)
		dst = binary.AppendUvarint(dst, uint64(s.size()))
		if s.stripped {
			dst = append(dst, otlpwire.SpanTraceID<<3|otlpwire.Bytes, 16)
			dst = append(dst, s.id[:]...)
		}
		dst = append(dst, s.data...)
	}
	return dst
}

// rewrite copies a record and renumbers its contexts.
func rewrite(dst, data []byte, number func(int) int) []byte {
	for pos := 0; pos < len(data); {
		index, next := uvarint(data, pos)
		count, next := uvarint(data, next)
		if next < 0 {
			return dst
		}
		dst = binary.AppendUvarint(dst, uint64(number(int(index))))
		dst = binary.AppendUvarint(dst, count)
		start := next
		for range count {
			head, at := uvarint(data, next)
			if at < 0 || head>>1 > uint64(len(data)-at) {
				return dst
			}
			next = at + int(head>>1)
		}
		dst = append(dst, data[start:next]...)
		pos = next
	}
	return dst
}
