// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// bufferBytes is the size of the buffer on either side of the decompression.
const bufferBytes = 256 << 10

var (
	magicGzip = []byte{0x1f, 0x8b}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	// A skippable zstd frame begins with 0x184D2A50 to 0x184D2A5F, little-endian.
	magicSkippableZstd = []byte{0x2a, 0x4d, 0x18}
	byteOrderMark      = []byte{0xef, 0xbb, 0xbf}
)

// Limits bound the memory of a Reader.
type Limits struct {
	// RecordBytes is the longest record that is held, in uncompressed bytes.
	RecordBytes int
	// WindowBytes is the largest zstd window that is accepted.
	WindowBytes int
}

// Reader reads records one after the other. It is not safe for concurrent use.
type Reader struct {
	limits Limits

	raw    *counter      // counts what is read from the file
	stored *bufio.Reader // the file as it is stored
	in     *bufio.Reader // the content, uncompressed; the same as stored where nothing is compressed
	next   func(dst []byte) (Record, error)

	streamZstd *zstd.Decoder // decompresses the whole file; nil when it is not zstd
	recordZstd *zstd.Decoder // decompresses single records; made when the first one is met
	framed     []byte        // a record as it stands in the file, before its own decompression

	pos    Position // where the next record begins
	failed bool     // nothing more can be read
}

// NewReader looks at the first bytes of r and returns a Reader for what it finds.
func NewReader(r io.Reader, limits Limits) (*Reader, error) {
	raw := &counter{r: r}
	outer := bufio.NewReaderSize(raw, bufferBytes)
	rd := &Reader{limits: limits, raw: raw, stored: outer}
	magic, err := outer.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &Error{Err: fmt.Errorf("%w: %w", ErrCorrupt, err)}
	}
	switch {
	case bytes.HasPrefix(magic, magicGzip):
		z, err := gzip.NewReader(outer)
		if err != nil {
			return nil, rd.broken(err, Position{})
		}
		rd.in = bufio.NewReaderSize(z, bufferBytes)
	case bytes.HasPrefix(magic, magicZstd), len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], magicSkippableZstd):
		z, err := zstd.NewReader(outer, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(limits.WindowBytes)), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, rd.broken(err, Position{})
		}
		rd.streamZstd = z
		rd.in = bufio.NewReaderSize(z, bufferBytes)
	default:
		rd.in = outer
	}

	first, _ := rd.in.Peek(1) // an error comes back, with its position, from the first read
	if len(first) == 1 && first[0] <= LongestRecord>>24 {
		rd.next = rd.nextFramed
	} else {
		rd.next = rd.nextLine
		rd.pos.Line = 1
	}
	return rd, nil
}

// Next returns the next record, its data appended to dst[:0]; io.EOF at the end; or an *Error.
func (r *Reader) Next(dst []byte) (Record, error) {
	if r.failed {
		return Record{}, io.EOF
	}
	return r.next(dst[:0])
}

// Consumed returns how many bytes of the file, as it is stored, were used. Of a compressed file that is up to a buffer ahead of the records.
func (r *Reader) Consumed() int64 { return r.raw.n - int64(r.stored.Buffered()) }

// Close releases the decompression; the underlying reader is the caller's.
func (r *Reader) Close() {
	r.failed = true
	if r.streamZstd != nil {
		r.streamZstd.Close()
	}
	if r.recordZstd != nil {
		r.recordZstd.Close()
	}
}

// nextLine returns the next line that is not blank.
func (r *Reader) nextLine(dst []byte) (Record, error) {
	for {
		at := r.pos
		line, tooLong, err := r.readLine(dst)
		r.pos.Line++
		if err != nil && !errors.Is(err, io.EOF) {
			return Record{}, r.broken(err, at)
		}
		if tooLong {
			return Record{}, &Error{Position: at, Err: fmt.Errorf("%w (%d)", ErrTooLong, r.limits.RecordBytes)}
		}
		if at.Offset == 0 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return Record{Data: line, Position: at, Unterminated: errors.Is(err, io.EOF)}, nil
		}
		if err != nil {
			r.failed = true
			return Record{}, io.EOF
		}
	}
}

// readLine appends one line to dst. It reads a line that is too long to its end without keeping it. At the end of the file it returns io.EOF
// beside whatever stood there without a line end.
func (r *Reader) readLine(dst []byte) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.in.ReadSlice('\n')
		r.pos.Offset += int64(len(part))
		switch {
		case tooLong:
		case len(dst)+len(part) > r.limits.RecordBytes+1: // one more for the line end
			tooLong, dst = true, dst[:0]
		default:
			dst = append(dst, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return dst, tooLong, err
		}
	}
}

// nextFramed returns the next record behind a length.
func (r *Reader) nextFramed(dst []byte) (Record, error) {
	at := r.pos
	var prefix [4]byte
	if _, err := io.ReadFull(r.in, prefix[:]); err != nil {
		if errors.Is(err, io.EOF) {
			r.failed = true
			return Record{}, io.EOF
		}
		return Record{}, r.broken(err, at)
	}
	length := int64(binary.BigEndian.Uint32(prefix[:]))
	r.pos.Offset += 4 + length
	if length > int64(r.limits.RecordBytes) {
		if _, err := io.CopyN(io.Discard, r.in, length); err != nil {
			return Record{}, r.broken(err, at)
		}
		return Record{}, &Error{Position: at, Err: fmt.Errorf("%w (%d, got %d)", ErrTooLong, r.limits.RecordBytes, length)}
	}
	dst = slices.Grow(dst, int(length))[:length]
	if _, err := io.ReadFull(r.in, dst); err != nil {
		return Record{}, r.broken(err, at)
	}
	if bytes.HasPrefix(dst, magicZstd) {
		var err error
		if dst, err = r.decompressRecord(dst, at); err != nil {
			return Record{}, err
		}
	}
	encoding := EncodingProto
	if len(dst) > 0 && dst[0] == '{' { // as protobuf this would be a group, which OTLP has none of
		encoding = EncodingJSON
	}
	return Record{Data: dst, Encoding: encoding, Position: at}, nil
}

// decompressRecord replaces data by what is compressed in it.
func (r *Reader) decompressRecord(data []byte, at Position) ([]byte, error) {
	if r.recordZstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(r.limits.WindowBytes)),
			zstd.WithDecoderMaxMemory(uint64(r.limits.RecordBytes)), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, r.broken(err, at)
		}
		r.recordZstd = z
	}
	r.framed = append(r.framed[:0], data...)
	plain, err := r.recordZstd.DecodeAll(r.framed, data[:0])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, &Error{Position: at, Err: fmt.Errorf("%w (%d)", ErrTooLong, r.limits.RecordBytes)}
	case err != nil:
		return nil, &Error{Position: at, Err: fmt.Errorf("%w: %w", ErrBrokenRecord, err)}
	}
	return plain, nil
}

// broken turns a read error into the end of this file.
func (r *Reader) broken(err error, at Position) error {
	r.failed = true
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Position: at, Err: ErrTruncated}
	}
	return &Error{Position: at, Err: fmt.Errorf("%w: %w", ErrCorrupt, err)}
}

// counter counts the bytes that pass.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
