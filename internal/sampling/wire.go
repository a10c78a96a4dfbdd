// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"
	"math/bits"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

// field is one decoded protobuf field: number holds varints and fixed values, data the bytes of a length-delimited one.
type field struct {
	num    uint64
	typ    uint8
	number uint64
	data   []byte
}

// nextField reads the field at pos and returns the position behind it, or a negative position when the bytes are malformed.
func nextField(b []byte, pos int) (f field, next int) {
	// The common cases: a small field number, and a length below 128 or a fixed number.
	if pos+1 < len(b) && b[pos] < 0x80 {
		switch tag, n := b[pos], b[pos+1]; {
		case tag&7 == otlpwire.Bytes && n < 0x80:
			if end := pos + 2 + int(n); end <= len(b) {
				f.num, f.typ, f.data = uint64(tag>>3), otlpwire.Bytes, b[pos+2:end]
				return f, end
			}
			return f, -1
		case tag&7 == otlpwire.Fixed64 && pos+9 <= len(b):
			f.num, f.typ, f.number = uint64(tag>>3), otlpwire.Fixed64, binary.LittleEndian.Uint64(b[pos+1:])
			return f, pos + 9
		}
	}
	tag, pos := uvarint(b, pos)
	if pos < 0 {
		return f, -1
	}
	f.num, f.typ = tag>>3, uint8(tag&7)
	switch f.typ {
	case otlpwire.Varint:
		f.number, pos = uvarint(b, pos)
	case otlpwire.Fixed64:
		if len(b)-pos < 8 {
			return f, -1
		}
		f.number = binary.LittleEndian.Uint64(b[pos:])
		pos += 8
	case otlpwire.Bytes:
		var n uint64
		n, pos = uvarint(b, pos)
		if pos < 0 || n > uint64(len(b)-pos) {
			return f, -1
		}
		f.data = b[pos : pos+int(n)]
		pos += int(n)
	case otlpwire.Fixed32:
		if len(b)-pos < 4 {
			return f, -1
		}
		f.number = uint64(binary.LittleEndian.Uint32(b[pos:]))
		pos += 4
	default:
		return f, -1
	}
	return f, pos
}

// uvarint reads a varint at pos and returns the position behind it, or a negative position when it is cut short or too long.
func uvarint(b []byte, pos int) (v uint64, next int) {
	if pos < 0 || pos >= len(b) {
		return 0, -1
	}
	if c := b[pos]; c < 0x80 {
		return uint64(c), pos + 1
	}
	v, n := binary.Uvarint(b[pos:])
	if n <= 0 {
		return 0, -1
	}
	return v, pos + n
}

// varintLen is the number of bytes v takes as a varint.
func varintLen(v int) int {
	return (bits.Len64(uint64(v)|1) + 6) / 7
}

// fieldLen is the encoded size of a length-delimited field with a one-byte tag.
func fieldLen(n int) int {
	return 1 + varintLen(n) + n
}

// appendBytesField appends a length-delimited field with a field number below 16.
func appendBytesField(dst []byte, num uint8, data []byte) []byte {
	dst = append(dst, num<<3|otlpwire.Bytes)
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

// attribute reads a KeyValue message. A malformed one yields an empty key.
func attribute(kv []byte) (key, value []byte) {
	// The common case: a short key, then a short value, and nothing else.
	if len(kv) >= 4 && kv[0] == otlpwire.KeyValueKey<<3|otlpwire.Bytes && kv[1] < 0x80 {
		if at := 2 + int(kv[1]); at+2 <= len(kv) && kv[at] == otlpwire.KeyValueValue<<3|otlpwire.Bytes && kv[at+1] < 0x80 && at+2+int(kv[at+1]) == len(kv) {
			return kv[2:at], kv[at+2:]
		}
	}
	for pos := 0; pos < len(kv); {
		f, next := nextField(kv, pos)
		if next < 0 {
			return nil, nil
		}
		pos = next
		if f.typ != otlpwire.Bytes {
			continue
		}
		switch f.num {
		case otlpwire.KeyValueKey:
			key = f.data
		case otlpwire.KeyValueValue:
			value = f.data
		}
	}
	return key, value
}

// anyValue is the part of an AnyValue message that policies compare: exactly one of the kinds, or none of them.
type anyValue struct {
	kind   uint64
	str    []byte
	number uint64
}

// readAny reads an AnyValue message.
func readAny(b []byte) (v anyValue) {
	for pos := 0; pos < len(b); {
		f, next := nextField(b, pos)
		if next < 0 {
			return anyValue{}
		}
		pos = next
		v.kind, v.str, v.number = f.num, f.data, f.number
	}
	return v
}

// text is the string in the value, or nothing when it is of another kind.
func (v anyValue) text() []byte {
	if v.kind == otlpwire.AnyString {
		return v.str
	}
	return nil
}

// integer is the integer in the value, or zero when it is of another kind.
func (v anyValue) integer() int64 {
	if v.kind == otlpwire.AnyInt {
		return int64(v.number)
	}
	return 0
}

// truth is the boolean in the value, or false when it is of another kind.
func (v anyValue) truth() bool {
	return v.kind == otlpwire.AnyBool && v.number != 0
}
