// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errRecord is what a record that does not decode gets; only a defect could make one.
var errRecord = errors.New("corrupt record of spans")

// view is a record that outlives its trace: packed segments never change, and what is not packed yet is copied.
type view struct {
	packed   []byte
	size     int
	raw      []byte
	offset   int
	length   int
	contexts []*context
}

func viewOf(r ref) view {
	v := view{offset: int(r.offset), length: int(r.length), contexts: r.segment.contexts}
	if r.segment.packed != nil {
		v.packed, v.size = r.segment.packed, r.segment.size
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
		raw, err := decoder.DecodeAll(v.packed, r.raw[:0])
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

// Writer turns kept traces into OTLP requests.
type Writer struct {
	reader reader
	buf    []byte
	groups []outGroup
	spans  []outSpan
}

type outGroup struct {
	context     *context
	first, last int
	size        int
}

type outSpan struct {
	data     []byte
	stripped bool
	next     int
}

// Append appends the ResourceSpans of a kept trace to an encoded TracesData message: one for each resource, with one ScopeSpans for each
// scope, spans in order of arrival.
func (w *Writer) Append(dst []byte, k *Kept) ([]byte, error) {
	w.groups, w.spans, w.buf = w.groups[:0], w.spans[:0], w.buf[:0]
	for i := range k.views {
		data, err := w.reader.read(&k.views[i])
		if err != nil {
			return dst, err
		}
		if len(k.views) > 1 {
			// The next view may overwrite what the reader holds.
			low := len(w.buf)
			w.buf = append(w.buf, data...)
			data = w.buf[low:]
		}
		if err := w.collect(data, k.views[i].contexts); err != nil {
			return dst, err
		}
	}
	for i := range w.groups {
		if w.groups[i].context == nil {
			continue
		}
		dst = w.appendResource(dst, i, k.ID)
	}
	return dst, nil
}

func (w *Writer) collect(data []byte, contexts []*context) error {
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
			w.addSpan(g, data[at:next], head&1 != 0)
		}
		pos = next
	}
	return nil
}

func (w *Writer) groupOf(c *context) *outGroup {
	for i := range w.groups {
		g := &w.groups[i]
		if g.context == c || (string(g.context.resource.data) == string(c.resource.data) && string(g.context.scope.data) == string(c.scope.data)) {
			return g
		}
	}
	w.groups = append(w.groups, outGroup{context: c, first: -1, size: len(c.scope.data)})
	return &w.groups[len(w.groups)-1]
}

func (w *Writer) addSpan(g *outGroup, data []byte, stripped bool) {
	at := len(w.spans)
	w.spans = append(w.spans, outSpan{data, stripped, -1})
	if g.first < 0 {
		g.first = at
	} else {
		w.spans[g.last].next = at
	}
	g.last = at
	n := len(data)
	if stripped {
		n += tracePrefixLen
	}
	g.size += fieldLen(n)
}

// appendResource writes one ResourceSpans with all groups of the same resource as group i, and marks them as done.
func (w *Writer) appendResource(dst []byte, i int, id TraceID) []byte {
	resource := w.groups[i].context.resource
	size := len(resource.data)
	same := func(g *outGroup) bool {
		return g.context != nil && (g.context.resource == resource || string(g.context.resource.data) == string(resource.data))
	}
	for j := i; j < len(w.groups); j++ {
		if same(&w.groups[j]) {
			size += fieldLen(w.groups[j].size)
		}
	}
	dst = append(dst, fieldTracesResourceSpans<<3|wireBytes)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = append(dst, resource.data...)
	for j := i; j < len(w.groups); j++ {
		if g := &w.groups[j]; same(g) {
			dst = append(dst, fieldResourceSpansScope<<3|wireBytes)
			dst = binary.AppendUvarint(dst, uint64(g.size))
			dst = append(dst, g.context.scope.data...)
			dst = w.appendSpans(dst, g, id)
			g.context = nil
		}
	}
	return dst
}

func (w *Writer) appendSpans(dst []byte, g *outGroup, id TraceID) []byte {
	for s := g.first; s >= 0; s = w.spans[s].next {
		span := &w.spans[s]
		dst = append(dst, fieldScopeSpansSpan<<3|wireBytes)
		if !span.stripped {
			dst = binary.AppendUvarint(dst, uint64(len(span.data)))
			dst = append(dst, span.data...)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(span.data)+tracePrefixLen))
		dst = append(dst, fieldSpanTraceID<<3|wireBytes, 16)
		dst = append(dst, id[:]...)
		dst = append(dst, span.data...)
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
