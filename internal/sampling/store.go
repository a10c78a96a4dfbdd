// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

const (
	// segmentSize is how many bytes of spans are compressed together.
	segmentSize = 256 << 10
	// Overheads that no slice length shows: what the runtime keeps for a segment, a context and a trace, maps included.
	segmentOverhead = 192
	contextOverhead = 160
	traceOverhead   = 352
	// mapSlot is what an empty place in the map of traces takes.
	mapSlot = 32
)

// store keeps spans in the order they arrive, in segments that are compressed once full. A segment goes when the last trace in it goes.
type store struct {
	// open takes what arrives, aside what is moved out of the way of an eviction, so that what is kept longer lies together.
	open, aside *segment
	sealed      []*segment
	blobs       map[string]*blob
	contexts    map[contextKey]*context
	spare       [][]byte
	bytes       int64
}

// blob is a resource or scope as the leading fields of the message that holds it, shared by all spans under it.
type blob struct {
	data []byte
	refs int
}

type contextKey struct{ resource, scope *blob }

// context is a resource and a scope. Each segment that uses it holds one reference.
type context struct {
	contextKey
	refs int
	// segment and index are where it was used last.
	segment *segment
	index   int
}

// segment holds records of spans. raw is append-only while it is set; packed never changes. busy marks a segment being compressed,
// whose raw bytes somebody else reads. live counts the bytes of records in use and is negative once the segment is gone.
type segment struct {
	busy   bool
	raw    []byte
	packed []byte
	// tight tells that packed is zstd, and not S2.
	tight    bool
	size     int
	live     int
	contexts []*context
}

// ref is where a record of a trace lies.
type ref struct {
	segment *segment
	offset  uint32
	length  uint32
}

// memory is about what a record takes, of a packed segment its part.
func (r ref) memory() int64 {
	if r.segment.packed != nil {
		return int64(r.length) * int64(len(r.segment.packed)) / int64(max(r.segment.size, 1))
	}
	return int64(r.length)
}

func newStore() *store {
	return &store{blobs: make(map[string]*blob), contexts: make(map[contextKey]*context)}
}

// reserve returns an open segment with room for n more bytes.
func (s *store) reserve(open **segment, n int) *segment {
	if seg := *open; seg != nil && cap(seg.raw)-len(seg.raw) >= n {
		return seg
	}
	s.seal(open)
	var buf []byte
	if n <= segmentSize && len(s.spare) > 0 {
		buf = s.spare[len(s.spare)-1]
		s.spare = s.spare[:len(s.spare)-1]
	} else {
		buf = make([]byte, 0, max(n, segmentSize))
		s.bytes += int64(cap(buf))
	}
	*open = &segment{raw: buf}
	s.bytes += segmentOverhead
	return *open
}

// seal closes an open segment; what wants compressing is handed out by TakeSealed.
func (s *store) seal(open **segment) {
	seg := *open
	if seg == nil {
		return
	}
	*open = nil
	seg.size = len(seg.raw)
	if seg.live == 0 {
		s.free(seg)
		return
	}
	s.sealed = append(s.sealed, seg)
}

// recycle takes back the buffer of a segment that no longer needs it.
func (s *store) recycle(seg *segment) {
	buf := seg.raw
	seg.raw = nil
	if buf == nil {
		return
	}
	if cap(buf) == segmentSize && len(s.spare) < 2 && !seg.busy {
		s.spare = append(s.spare, buf[:0])
		return
	}
	s.bytes -= int64(cap(buf))
}

func (s *store) free(seg *segment) {
	s.recycle(seg)
	s.bytes -= segmentOverhead + int64(cap(seg.packed)) + int64(cap(seg.contexts))*8
	for _, c := range seg.contexts {
		if c.segment == seg {
			c.segment = nil
		}
		if c.refs--; c.refs == 0 {
			delete(s.contexts, c.contextKey)
			s.bytes -= contextOverhead
			s.releaseBlob(c.resource)
			s.releaseBlob(c.scope)
		}
	}
	seg.contexts = nil
	seg.live = -1
}

func (s *store) releaseBlob(b *blob) {
	if b.refs--; b.refs == 0 {
		delete(s.blobs, string(b.data))
		s.bytes -= contextOverhead + 2*int64(len(b.data))
	}
}

func (s *store) blob(data []byte) *blob {
	if b, ok := s.blobs[string(data)]; ok {
		return b
	}
	b := &blob{data: append(make([]byte, 0, len(data)), data...)}
	s.blobs[string(b.data)] = b
	s.bytes += contextOverhead + 2*int64(len(data))
	return b
}

// contextOf interns a resource and a scope. It must be used in a segment before the next call, or it leaks.
func (s *store) contextOf(resource, scope []byte) *context {
	key := contextKey{s.blob(resource), s.blob(scope)}
	c, ok := s.contexts[key]
	if !ok {
		c = &context{contextKey: key}
		s.contexts[key] = c
		s.bytes += contextOverhead
		key.resource.refs++
		key.scope.refs++
	}
	return c
}

// use makes a context known to a segment and gives its number there.
func (s *store) use(seg *segment, c *context) int {
	if c.segment == seg {
		return c.index
	}
	before := cap(seg.contexts)
	c.segment, c.index = seg, len(seg.contexts)
	c.refs++
	seg.contexts = append(seg.contexts, c)
	s.bytes += int64(cap(seg.contexts)-before) * 8
	return c.index
}

// release gives up a record.
func (s *store) release(r ref) {
	r.segment.live -= int(r.length)
	if r.segment.live > 0 || r.segment == s.open || r.segment == s.aside {
		return
	}
	for i, seg := range s.sealed {
		if seg == r.segment {
			s.sealed = append(s.sealed[:i], s.sealed[i+1:]...)
			break
		}
	}
	s.free(r.segment)
}

// tracePrefixLen is the size of the field with the trace ID, which a record need not repeat.
const tracePrefixLen = 18

// idPlace is where in a span the field with its trace ID lies: encoders that write forwards have it first, pdata has it last.
type idPlace uint8

const (
	idElsewhere idPlace = iota
	idFirst
	idLast
)

func placeOf(s *spanFields, length int) idPlace {
	switch {
	case s.idEnd-s.idAt != tracePrefixLen:
	case s.idAt == 0:
		return idFirst
	case s.idEnd == length:
		return idLast
	}
	return idElsewhere
}

// maxRecord is an upper bound of the bytes a record of spans takes.
func maxRecord(groups, spans int, bytes int) int {
	return groups*2*binary.MaxVarintLen32 + spans*binary.MaxVarintLen32 + bytes
}

// appendSpan appends a span to a record, without its trace ID where that is easily left out.
func appendSpan(dst, span []byte, place idPlace) []byte {
	switch place {
	case idFirst:
		span = span[tracePrefixLen:]
	case idLast:
		span = span[:len(span)-tracePrefixLen]
	default:
		dst = binary.AppendUvarint(dst, uint64(len(span))<<1)
		return append(dst, span...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(span))<<1|1)
	return append(dst, span...)
}

// Sealed is a full segment whose compression may be done away from the engine's owner.
type Sealed struct {
	segment *segment
	raw     []byte
	packed  []byte
	tight   bool
}

// roomy is the part of the memory limit below which segments are packed fast instead of tight: S2 takes a third of the time of zstd and
// leaves a third more bytes.
const roomy = 2

// The coders are shared: EncodeAll and DecodeAll are safe for concurrent use. Their options are constants, so no error can come of them.
var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(segmentSize), zstd.WithLowerEncoderMem(true))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.IgnoreChecksum(true))
)

// Compress does the work. buf is scratch space that may be handed in again.
func (s *Sealed) Compress(buf []byte) []byte {
	if s.tight {
		buf = encoder.EncodeAll(s.raw, buf[:0])
	} else {
		buf = s2.Encode(buf[:cap(buf)], s.raw)
	}
	s.packed = make([]byte, len(buf))
	copy(s.packed, buf)
	return buf
}

// TakeSealed hands out the segments that are full. Each must come back through PutSealed. Their buffers stay untouched until then.
func (e *Engine) TakeSealed() []*Sealed {
	if len(e.store.sealed) == 0 {
		return nil
	}
	out := make([]*Sealed, len(e.store.sealed))
	tight := e.Bytes() > e.settings.MemoryLimit/roomy
	for i, seg := range e.store.sealed {
		seg.busy = true
		out[i] = &Sealed{segment: seg, raw: seg.raw, tight: tight}
	}
	clear(e.store.sealed)
	e.store.sealed = e.store.sealed[:0]
	return out
}

// PutSealed swaps the compressed form in.
func (e *Engine) PutSealed(s *Sealed) {
	seg := s.segment
	seg.busy = false
	if seg.live < 0 {
		// Everything in it was decided meanwhile; its buffer was given up then and must not be shared.
		return
	}
	seg.packed, seg.tight = s.packed, s.tight
	e.store.bytes += int64(cap(seg.packed))
	e.store.recycle(seg)
}
