// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkReader reads records without decoding them; MB/s is of the uncompressed content.
func BenchmarkReader(b *testing.B) {
	line := `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Repeat(`{"name":"HTTP GET","attributes":[]},`, 3000) + `{}]}]}]}`
	records := strings.Split(strings.TrimSpace(strings.Repeat(line+"\n", 100)), "\n")
	lines := []byte(strings.Join(records, "\n"))
	for name, file := range map[string][]byte{
		"lines": lines, "lines_gzip": gzipped(lines), "lines_zstd": zstandardStream(lines), "lengths": framed(records...), "lengths_zstd": zstandardStream(framed(records...)),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(lines)))
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				rd, err := NewReader(bytes.NewReader(file), testLimits)
				require.NoError(b, err)
				for {
					rec, err := rd.Next(buf)
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(b, err)
					buf = rec.Data
				}
				rd.Close()
			}
		})
	}
}

// BenchmarkLook is the look at a line before it is decoded, against the standard library's check of the whole text.
func BenchmarkLook(b *testing.B) {
	line := []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Repeat(`{"name":"HTTP GET","attributes":[]},`, 3000) + `{}]}]}]}`)
	for name, check := range map[string]func([]byte) bool{
		"ours":          func(data []byte) bool { return !Look(EncodingJSON, data).MoreFollows },
		"encoding_json": json.Valid,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				require.True(b, check(line))
			}
		})
	}
}
