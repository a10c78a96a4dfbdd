// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testLimits = Limits{RecordBytes: 1 << 20, WindowBytes: 8 << 20}

// taken is what a file gave, in order: the data of a record, or the defect in its place.
type taken struct {
	data string
	at   Position
	err  error
}

func readAll(tb testing.TB, r io.Reader, limits Limits) (all []taken) {
	tb.Helper()
	rd, err := NewReader(r, limits)
	if err != nil {
		var broken *Error
		require.ErrorAs(tb, err, &broken)
		return []taken{{err: err}}
	}
	defer rd.Close()
	var buf []byte
	for {
		rec, err := rd.Next(buf)
		if errors.Is(err, io.EOF) {
			_, again := rd.Next(buf)
			require.ErrorIs(tb, again, io.EOF, "the end is the end")
			return all
		}
		if err != nil {
			var broken *Error
			require.ErrorAs(tb, err, &broken)
			all = append(all, taken{err: err, at: broken.Position})
			continue
		}
		require.LessOrEqual(tb, len(rec.Data), limits.RecordBytes)
		all = append(all, taken{data: string(rec.Data), at: rec.Position})
		buf = rec.Data
	}
}

func dataOf(all []taken) (data []string) {
	for _, one := range all {
		if one.err == nil {
			data = append(data, one.data)
		}
	}
	return data
}

func framed(records ...string) (out []byte) {
	for _, r := range records {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(r))), r...)
	}
	return out
}

func gzipped(data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(data)
	z.Close()
	return out.Bytes()
}

func zstandard(data []byte) []byte {
	z, _ := zstd.NewWriter(nil, zstd.WithWindowSize(1<<20))
	defer z.Close()
	return z.EncodeAll(data, nil)
}

func zstandardStream(data []byte) []byte {
	var out bytes.Buffer
	z, _ := zstd.NewWriter(&out)
	z.Write(data)
	z.Close()
	return out.Bytes()
}

func TestFormatsAndCompressionsAreRecognised(t *testing.T) {
	want := []string{`{"a":1}`, `{"b":"` + strings.Repeat("long", 100_000) + `"}`, `{"c":3}`}
	lines := []byte(strings.Join(want, "\n") + "\n")
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'p', 'a', 'd'}
	for name, file := range map[string][]byte{
		"lines":                     lines,
		"lines without a last end":  lines[:len(lines)-1],
		"lines with CR LF":          []byte(strings.Join(want, "\r\n") + "\r\n"),
		"blank lines between":       []byte("\n\n" + strings.Join(want, "\n \t\n") + "\n\n\n"),
		"byte order mark":           append([]byte("\xef\xbb\xbf"), lines...),
		"gzip":                      gzipped(lines),
		"two gzip members":          append(gzipped(lines[:9]), gzipped(lines[9:])...),
		"zstd":                      zstandardStream(lines),
		"two zstd frames":           append(zstandard(lines[:9]), zstandard(lines[9:])...),
		"zstd behind a blank frame": append(skippable, zstandard(lines)...),
		"lengths":                   framed(want...),
		"lengths in gzip":           gzipped(framed(want...)),
		"lengths in zstd":           zstandardStream(framed(want...)),
		"lengths, each zstd":        framed(string(zstandard([]byte(want[0]))), string(zstandard([]byte(want[1]))), string(zstandard([]byte(want[2])))),
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, want, dataOf(readAll(t, bytes.NewReader(file), testLimits)))
			assert.Equal(t, want, dataOf(readAll(t, iotest.OneByteReader(bytes.NewReader(file)), testLimits)))
		})
	}
}

func TestEncodingOfARecordIsSeen(t *testing.T) {
	rd, err := NewReader(bytes.NewReader(framed("{}", "\x0a\x00", "")), testLimits)
	require.NoError(t, err)
	var got []Encoding
	for range 3 {
		rec, err := rd.Next(nil)
		require.NoError(t, err)
		got = append(got, rec.Encoding)
	}
	assert.Equal(t, []Encoding{EncodingJSON, EncodingProto, EncodingProto}, got)
}

func TestPositionsNameLinesOrBytes(t *testing.T) {
	lines := readAll(t, strings.NewReader("{1}\n\n{22}\n{3}"), testLimits)
	assert.Equal(t, []taken{
		{data: "{1}", at: Position{Line: 1}}, {data: "{22}", at: Position{Line: 3, Offset: 5}}, {data: "{3}", at: Position{Line: 4, Offset: 10}},
	}, lines)
	lengths := readAll(t, bytes.NewReader(framed("{1}", "{22}")), testLimits)
	assert.Equal(t, []taken{{data: "{1}"}, {data: "{22}", at: Position{Offset: 7}}}, lengths)
	assert.Equal(t, "line 3", Position{Line: 3, Offset: 5}.String())
	assert.Equal(t, "byte 7", Position{Offset: 7}.String())
}

func TestAnEmptyFileHoldsNothing(t *testing.T) {
	for _, file := range [][]byte{nil, []byte("\n\n"), gzipped(nil), zstandardStream(nil)} {
		assert.Empty(t, readAll(t, bytes.NewReader(file), testLimits))
	}
}

func TestDefectsAndWhatFollowsThem(t *testing.T) {
	long := strings.Repeat("x", 2000)
	limits := Limits{RecordBytes: 1000, WindowBytes: 1 << 20}
	lines := []byte("{1}\n{2}\n{3}\n")
	for name, tc := range map[string]struct {
		file  []byte
		want  []string
		err   error
		where string
	}{
		"a line too long":            {[]byte("{1}\n" + long + "\n{3}\n"), []string{"{1}", "{3}"}, ErrTooLong, "line 2"},
		"a last line too long":       {[]byte("{1}\n" + long), []string{"{1}"}, ErrTooLong, "line 2"},
		"a record too long":          {framed("{1}", long, "{3}"), []string{"{1}", "{3}"}, ErrTooLong, "byte 7"},
		"a zstd record too long":     {framed("{1}", string(zstandard([]byte(long))), "{3}"), []string{"{1}", "{3}"}, ErrTooLong, "byte 7"},
		"a zstd record broken":       {framed("{1}", string(flip(zstandard([]byte("{2}")), -1)), "{3}"), []string{"{1}", "{3}"}, ErrBrokenRecord, "byte 7"},
		"gzip cut":                   {gzipped(lines)[:12], nil, ErrTruncated, "line 1"},
		"gzip without its checksum":  {gzipped(lines)[:len(gzipped(lines))-8], []string{"{1}", "{2}", "{3}"}, ErrTruncated, "line 4"},
		"gzip with a false checksum": {flip(gzipped(lines), -6), []string{"{1}", "{2}", "{3}"}, ErrCorrupt, "line 4"},
		"gzip header cut":            {gzipped(lines)[:6], nil, ErrTruncated, "byte 0"},
		"gzip with something behind": {append(gzipped(lines), "rest"...), []string{"{1}", "{2}", "{3}"}, ErrTruncated, "line 4"},
		"zstd cut":                   {zstandardStream(lines)[:12], nil, ErrTruncated, "line 1"},
		"zstd window too large":      {windowed(lines), nil, ErrCorrupt, "line 1"},
		"a length cut":               {framed("{1}", "{2}")[:9], []string{"{1}"}, ErrTruncated, "byte 7"},
		"a record cut":               {framed("{1}", "{2}")[:13], []string{"{1}"}, ErrTruncated, "byte 7"},
		"a record too long and cut":  {framed("{1}", long)[:500], []string{"{1}"}, ErrTruncated, "byte 7"},
		"a length that is no length": {append(framed("{1}"), "\xff\xff\xff\xff{2}"...), []string{"{1}"}, ErrTruncated, "byte 7"},
		"a read error in the middle": {[]byte("{1}\n{2}\n!"), []string{"{1}", "{2}"}, ErrCorrupt, "line 3"},
		"a read error at the start":  {[]byte("!"), nil, ErrCorrupt, "byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			var r io.Reader = bytes.NewReader(tc.file)
			if i := bytes.IndexByte(tc.file, '!'); i >= 0 && strings.Contains(name, "read error") {
				r = io.MultiReader(bytes.NewReader(tc.file[:i]), iotest.ErrReader(errors.New("disk on fire")))
			}
			all := readAll(t, r, limits)
			assert.Equal(t, tc.want, dataOf(all))
			var errs []error
			for _, one := range all {
				if one.err != nil {
					errs = append(errs, one.err)
				}
			}
			require.Len(t, errs, 1)
			require.ErrorIs(t, errs[0], tc.err)
			assert.ErrorContains(t, errs[0], tc.where+": ")
		})
	}
}

// flip changes one bit, counted from the end.
func flip(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[len(data)+at] ^= 1
	return data
}

// windowed compresses with a window larger than the test allows.
func windowed(data []byte) []byte {
	var out bytes.Buffer
	z, _ := zstd.NewWriter(&out, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false))
	for range 1 << 20 {
		z.Write(data)
	}
	z.Close()
	return out.Bytes()
}

func TestMemoryStaysConstantOnAnEndlessLine(t *testing.T) {
	const size = 512 << 20
	endless := io.MultiReader(strings.NewReader("{1}\n"), io.LimitReader(repeat{}, size), strings.NewReader("\n{3}\n"))
	rd, err := NewReader(endless, testLimits)
	require.NoError(t, err)
	var buf []byte
	rec, err := rd.Next(buf)
	require.NoError(t, err)
	assert.Equal(t, "{1}", string(rec.Data))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = rd.Next(buf)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrTooLong)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8*testLimits.RecordBytes))
	rec, err = rd.Next(buf)
	require.NoError(t, err)
	assert.Equal(t, "{3}", string(rec.Data))
}

// repeat is an endless run of one letter.
type repeat struct{}

func (repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestConsumedIsTheWholeFileAtTheEnd(t *testing.T) {
	for _, file := range [][]byte{[]byte("{1}\n{2}"), gzipped([]byte("{1}\n{2}")), zstandardStream(framed("{1}", "{2}"))} {
		rd, err := NewReader(bytes.NewReader(file), testLimits)
		require.NoError(t, err)
		for err == nil {
			_, err = rd.Next(nil)
		}
		assert.Equal(t, int64(len(file)), rd.Consumed())
	}
}

// TestRandomLinesAgreeWithSplit compares with a plain split of the whole text, over sizes around the buffer's.
func TestRandomLinesAgreeWithSplit(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		limits := Limits{RecordBytes: 1 + rnd.IntN(3*bufferBytes), WindowBytes: 8 << 20}
		var text strings.Builder
		var want []string
		for n := range rnd.IntN(12) {
			line := fmt.Sprintf("{%d}%s", n, strings.Repeat("y", rnd.IntN(2*bufferBytes)*rnd.IntN(2)))
			text.WriteString(line + "\n")
			if len(line) <= limits.RecordBytes {
				want = append(want, line)
			} else {
				want = append(want, "")
			}
		}
		var got []string
		for _, one := range readAll(t, strings.NewReader(text.String()), limits) {
			got = append(got, one.data)
			if one.err != nil {
				require.ErrorIs(t, one.err, ErrTooLong)
			}
		}
		assert.Equal(t, want, got, "seed %d", seed)
	}
}

func FuzzReaderEndsAndStaysWithinItsLimits(f *testing.F) {
	f.Add([]byte("{1}\n{2}\n"))
	f.Add(framed("{1}", "{2}"))
	f.Add(gzipped([]byte("{1}\n")))
	f.Add(zstandard(framed("{1}")))
	f.Add(framed(string(zstandard([]byte("{1}")))))
	f.Fuzz(func(t *testing.T, file []byte) {
		limits := Limits{RecordBytes: 1000, WindowBytes: 1 << 20}
		whole := readAll(t, bytes.NewReader(file), limits)
		bytewise := readAll(t, iotest.OneByteReader(bytes.NewReader(file)), limits)
		assert.Equal(t, dataOf(whole), dataOf(bytewise))
	})
}
