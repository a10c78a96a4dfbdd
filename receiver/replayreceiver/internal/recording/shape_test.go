// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nested wraps a message n times, each time as field 1 of the one around it.
func nested(n int, inner []byte) []byte {
	var heads [][]byte
	size := len(inner)
	for range n {
		head := binary.AppendUvarint([]byte{0x0a}, uint64(size))
		heads = append(heads, head)
		size += len(head)
	}
	out := make([]byte, 0, size)
	for i := n - 1; i >= 0; i-- {
		out = append(out, heads[i]...)
	}
	return append(out, inner...)
}

func TestDeepRecordsAreSeen(t *testing.T) {
	tooDeep := func(encoding Encoding, data []byte) bool { return Look(encoding, data).TooDeep }
	pad := strings.Repeat(" ", shallowBytes)
	arrays := func(n int) []byte { return []byte(strings.Repeat("[", n) + pad + strings.Repeat("]", n)) }
	// Field 2 is text that could be taken for messages; field 1 after it is the nest.
	text := append(binary.AppendUvarint([]byte{0x12}, shallowBytes), bytes.Repeat([]byte("\n\x12*2."), shallowBytes/5+1)[:shallowBytes]...)
	proto := func(n int) []byte { return append(bytes.Clone(text), nested(n, []byte{0x08, 0x01})...) }

	assert.False(t, tooDeep(EncodingJSON, arrays(DeepestNesting)))
	assert.True(t, tooDeep(EncodingJSON, arrays(DeepestNesting+1)))
	assert.False(t, tooDeep(EncodingProto, proto(DeepestNesting)))
	assert.True(t, tooDeep(EncodingProto, proto(DeepestNesting+1)))

	assert.False(t, tooDeep(EncodingJSON, []byte(`{"a":"`+strings.Repeat("[", 2*shallowBytes)+`"}`)), "text is not a nest")
	assert.False(t, tooDeep(EncodingJSON, []byte(`{"a":"\"`+strings.Repeat("[", 2*shallowBytes)+`"}`)), "nor behind an escaped quote")
	assert.False(t, tooDeep(EncodingJSON, bytes.Repeat([]byte("{}"), shallowBytes)), "many beside each other are not deep")
	assert.False(t, tooDeep(EncodingProto, nested(DeepestNesting+1, nil)), "small protobuf is not looked into")
}

func TestNestingProtoCountsEveryWireType(t *testing.T) {
	inner := []byte{0x08, 0x96, 0x01} // varint
	inner = append(inner, 0x11, 1, 2, 3, 4, 5, 6, 7, 8)
	inner = append(inner, 0x1d, 1, 2, 3, 4)
	inner = append(inner, 0x23, 0x24) // an empty group
	inner = append(inner, nested(3, []byte{0x08, 0x01})...)
	assert.Equal(t, 3, nestingProto(inner))
	assert.Equal(t, 8, nestingProto(nested(5, inner)))
	for _, broken := range [][]byte{{0x0a}, {0x0a, 5, 1}, {0x0f}, {0x08}, {0x80}, {0x11, 1}, {0x1d, 1}} {
		assert.Equal(t, 1, nestingProto(append(nested(1, []byte{0x08, 0x01}), broken...)))
	}
}

// FuzzNestingProto compares with a recursive walk that enters whatever has a length.
func FuzzNestingProto(f *testing.F) {
	f.Add(nested(4, []byte{0x08, 0x01}))
	f.Add([]byte("\n\x05hello\x12\x03\n\x01x"))
	var walk func(data []byte) int
	walk = func(data []byte) (deepest int) {
		for len(data) > 0 {
			next, length, ok := fieldProto(data)
			if !ok {
				return deepest
			}
			if length > 0 {
				deepest = max(deepest, 1+walk(data[next:next+length]))
			}
			data = data[next+length:]
		}
		return deepest
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		assert.Equal(t, walk(data), nestingProto(data))
	})
}

// FuzzMoreFollows compares with the standard library's decoder wherever the first value is a valid object.
func FuzzMoreFollows(f *testing.F) {
	for _, seed := range []string{`{}`, `{}{}`, `{} {}`, `{"a":"}{"}`, `{"a":{}}`, `{"a":[{},{}]} `, `{}x`, `{"\"":"} {"}`, "{}\n{}", `{},`, `{}}`, `{"a\\\\":"\\\"}{"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		decoder := json.NewDecoder(strings.NewReader(text))
		var first map[string]json.RawMessage
		if err := decoder.Decode(&first); err != nil || first == nil || !strings.HasPrefix(text, "{") {
			t.Skip()
		}
		rest, err := io.ReadAll(io.MultiReader(decoder.Buffered()))
		require.NoError(t, err)
		assert.Equal(t, len(bytes.TrimSpace(rest)) == 0, !Look(EncodingJSON, []byte(text)).MoreFollows)
	})
}
