// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"encoding/binary"
)

// DeepestNesting is how many messages or values may lie inside each other in a record. Decoders recurse, and a Go stack that overflows ends
// the process.
const DeepestNesting = 10_000

// shallowBytes is the size up to which protobuf is not looked into: what could lie in it is not deep enough to matter.
const shallowBytes = 1 << 20

// Shape is what a look at a record's outside tells, before it is decoded.
type Shape struct {
	// TooDeep is set on a record that is nested deeper than DeepestNesting.
	TooDeep bool
	// MoreFollows is set where something follows the JSON object that the record begins with. It is meaningful when that object is valid.
	MoreFollows bool
}

// Look returns the shape of a record.
func Look(encoding Encoding, data []byte) Shape {
	if encoding == EncodingJSON {
		deepest, first := nestingJSON(data)
		return Shape{TooDeep: deepest > DeepestNesting, MoreFollows: len(bytes.TrimSpace(data[first:])) > 0}
	}
	return Shape{TooDeep: len(data) > shallowBytes && nestingProto(data) > DeepestNesting}
}

// nestingJSON returns how deep objects and arrays lie in data and where the first one ends; 0 when it does not.
func nestingJSON(data []byte) (deepest, first int) {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = endOfString(data, i+1)
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			if depth--; depth == 0 && first == 0 {
				first = i + 1
			}
		}
	}
	return deepest, first
}

// endOfString returns where the string that begins at from has its closing quote.
func endOfString(data []byte, from int) int {
	for i := from; ; i++ {
		quote := bytes.IndexByte(data[i:], '"')
		if quote < 0 {
			return len(data)
		}
		i += quote
		backslashes := 0
		for backslashes < i-from && data[i-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return i
		}
	}
}

// nestingProto returns a bound on how deep messages lie in data, without their schema: whatever has a length is entered as if it were a
// message, and left at its end or at the first thing in it that no message could hold. Each byte is looked at once.
func nestingProto(data []byte) (deepest int) {
	ends := []int{len(data)} // of the messages around pos, the innermost last
	for pos := 0; ; {
		for len(ends) > 0 && pos >= ends[len(ends)-1] {
			pos = ends[len(ends)-1]
			ends = ends[:len(ends)-1]
		}
		if len(ends) == 0 {
			return deepest
		}
		end := ends[len(ends)-1]
		next, length, ok := fieldProto(data[pos:end])
		switch {
		case !ok:
			pos = end
		case length > 0:
			pos += next
			ends = append(ends, pos+length)
			deepest = max(deepest, len(ends)-1)
		default:
			pos += next
		}
	}
}

// fieldProto reads the field at the start of data: how many bytes until its content or, where that has no length, until the field after it.
func fieldProto(data []byte) (next, length int, ok bool) {
	tag, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, 0, false
	}
	switch tag & 7 {
	case 0:
		_, m := binary.Uvarint(data[n:])
		return n + m, 0, m > 0
	case 1:
		return n + 8, 0, len(data) >= n+8
	case 2:
		size, m := binary.Uvarint(data[n:])
		if m <= 0 || size > uint64(len(data)-n-m) {
			return 0, 0, false
		}
		return n + m, int(size), true
	case 3, 4: // a group has no length: its fields are read as if they stood here
		return n, 0, true
	case 5:
		return n + 4, 0, len(data) >= n+4
	default:
		return 0, 0, false
	}
}
