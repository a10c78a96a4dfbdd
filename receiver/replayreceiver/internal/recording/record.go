// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"errors"
	"fmt"
)

// LongestRecord is the largest bound that may be set on a record, in bytes. Up to it the first byte of a length can be told from text.
const LongestRecord = 128 << 20

// Encoding is how the request inside a record is written.
type Encoding uint8

const (
	// EncodingJSON is OTLP/JSON.
	EncodingJSON Encoding = iota
	// EncodingProto is OTLP protobuf.
	EncodingProto
)

// Position is where a record begins.
type Position struct {
	// Line counts from 1; it is 0 in a file of length-delimited records.
	Line int64
	// Offset is in bytes from the start of the uncompressed content.
	Offset int64
}

// String names the position in words: "line 7" where there are lines, "byte 4096" where there are none.
func (p Position) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("byte %d", p.Offset)
}

// Record is one recorded request.
type Record struct {
	// Data is the request, uncompressed. It lives in the buffer given to Next.
	Data []byte
	// Encoding is what Data is written in.
	Encoding Encoding
	// Position is where the record begins.
	Position Position
	// Unterminated is set on a last line without its line end: if it does not decode, the file was cut there.
	Unterminated bool
}

// What can be wrong with a file. Only ErrTooLong and ErrBrokenRecord leave the rest of the file readable; after the others Next returns io.EOF.
var (
	// ErrTruncated says that the file ends inside a record or inside its compression.
	ErrTruncated = errors.New("the file is cut off")
	// ErrCorrupt says that the file cannot be read or decompressed from here on.
	ErrCorrupt = errors.New("the file cannot be read further")
	// ErrTooLong says that one record is longer than the bound and was passed over without being held in memory.
	ErrTooLong = errors.New("the record is longer than max_record_bytes")
	// ErrBrokenRecord says that one record's own compression is damaged.
	ErrBrokenRecord = errors.New("the record cannot be decompressed")
)

// Error is a defect at a position. errors.Is tells which.
type Error struct {
	Position Position
	Err      error
}

func (e *Error) Error() string { return e.Position.String() + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }
