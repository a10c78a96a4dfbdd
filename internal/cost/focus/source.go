// SPDX-License-Identifier: Apache-2.0

package focus

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// ErrIncomplete says that a file ends where it should not: it is still being written, or was cut.
var ErrIncomplete = errors.New("file is incomplete")

// Refused says why a file, or one row of it, cannot be taken, and where. Line and Column count from 1; Column is 0 where the whole line is
// meant, and in Parquet Line is the number of the row.
type Refused struct {
	Line, Column int
	// Name is the column's name, empty where the line as a whole is refused.
	Name   string
	Reason string
}

func (e *Refused) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
	}
	return fmt.Sprintf("line %d, column %d (%s): %s", e.Line, e.Column, e.Name, e.Reason)
}

// Source yields the rows of one file as text.
type Source interface {
	// Columns are the names of the columns.
	Columns() []string
	// Next is the next row; it stays valid until the call after. io.EOF ends it.
	Next() ([]string, error)
	// Position is the line and column of cell i of the row Next returned.
	Position(i int) (line, column int)
}

type csvSource struct {
	reader  *csv.Reader
	tail    *tailReader
	columns []string
	line    int // of the last row
}

// maxRow is how many bytes a row may have. Without a bound a forgotten quote would bring the rest of the file into memory.
const maxRow = 1 << 20

var errRowTooLong = fmt.Errorf("row is longer than %d bytes: is a quote missing?", maxRow)

// tailReader remembers the last byte and whether the end was reached, and ends a row that is too long.
type tailReader struct {
	r    io.Reader
	last byte
	err  error
	row  int // bytes read since the row began
}

func (t *tailReader) Read(p []byte) (int, error) {
	if t.row > maxRow {
		t.err = errRowTooLong
		return 0, errRowTooLong
	}
	n, err := t.r.Read(p)
	t.row += n
	if n > 0 {
		t.last = p[n-1]
	}
	if err != nil {
		t.err = err
	}
	return n, err
}

// OpenCSV reads comma-separated values with a header line; a byte-order mark is accepted.
func OpenCSV(r io.Reader) (Source, error) {
	s := &csvSource{tail: &tailReader{r: r}}
	s.reader = csv.NewReader(s.tail)
	s.reader.ReuseRecord = true
	header, err := s.reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it is empty", ErrIncomplete)
	}
	if err != nil {
		return nil, s.failure(err)
	}
	s.line, _ = s.reader.FieldPos(0)
	seen := map[string]bool{}
	for i, name := range header {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if seen[name] {
			line, column := s.Position(i)
			return nil, &Refused{line, column, name, "column occurs twice"}
		}
		seen[name] = true
		s.columns = append(s.columns, strings.Clone(name))
	}
	return s, nil
}

func (s *csvSource) Columns() []string { return s.columns }

func (s *csvSource) Position(i int) (int, int) { return s.reader.FieldPos(i) }

func (s *csvSource) Next() ([]string, error) {
	s.tail.row = 0
	row, err := s.reader.Read()
	if err != nil {
		return nil, s.failure(err)
	}
	s.line, _ = s.reader.FieldPos(0)
	return row, nil
}

// failure tells a file that is cut from one that is wrong: a cut one breaks in its last line, which has no end.
func (s *csvSource) failure(err error) error {
	if errors.Is(s.tail.err, errRowTooLong) {
		return &Refused{Line: s.line + 1, Column: 1, Reason: errRowTooLong.Error()}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	if s.tail.err != nil && s.tail.last != '\n' {
		return fmt.Errorf("%w: line %d: %w", ErrIncomplete, parse.Line, parse.Err)
	}
	return &Refused{Line: parse.Line, Column: parse.Column, Reason: parse.Err.Error()}
}

type parquetSource struct {
	rows    parquet.RowReader
	columns []string
	fields  []parquetField
	leaves  []int // leaf column → index in columns
	buffer  []parquet.Row
	held    []parquet.Row
	row     []string
	number  int
}

// parquetField is how the values of one top-level field become text.
type parquetField struct {
	isMap bool
	text  func(parquet.Value) string
}

var parquetMagic = []byte("PAR1")

// OpenParquet reads a Parquet file with flat columns; a map of text to text, as exports write tags, becomes a JSON object.
func OpenParquet(r io.ReaderAt, size int64) (src Source, err error) {
	// The library trusts the metadata of a file in places; a hostile one must not take the collector down.
	defer func() {
		if p := recover(); p != nil {
			src, err = nil, &Refused{Line: 1, Reason: fmt.Sprintf("broken Parquet metadata: %v", p)}
		}
	}()
	foot := make([]byte, len(parquetMagic))
	if size < 12 {
		return nil, fmt.Errorf("%w: %d bytes are no Parquet file", ErrIncomplete, size)
	}
	if _, err := r.ReadAt(foot, size-int64(len(foot))); err != nil || !bytes.Equal(foot, parquetMagic) {
		return nil, fmt.Errorf("%w: the Parquet footer is missing", ErrIncomplete)
	}
	file, err := parquet.OpenFile(r, size)
	if err != nil {
		return nil, &Refused{Line: 1, Reason: err.Error()}
	}
	s := &parquetSource{buffer: make([]parquet.Row, 64)}
	for _, field := range file.Schema().Fields() {
		index := len(s.columns)
		f := parquetField{}
		switch leaves := leafCount(field); {
		case field.Leaf() && !field.Repeated():
			f.text = textOf(field.Type())
			s.leaves = append(s.leaves, index)
		case leaves == 2 && !field.Leaf():
			f.isMap = true
			f.text = func(v parquet.Value) string { return string(v.ByteArray()) }
			s.leaves = append(s.leaves, index, index)
		default:
			return nil, &Refused{Line: 1, Column: index + 1, Name: field.Name(), Reason: "nested column is neither flat nor a map of text"}
		}
		s.columns = append(s.columns, field.Name())
		s.fields = append(s.fields, f)
	}
	s.row = make([]string, len(s.columns))
	s.rows = parquet.MultiRowGroup(file.RowGroups()...).Rows()
	return s, nil
}

func leafCount(n parquet.Node) int {
	if n.Leaf() {
		return 1
	}
	count := 0
	for _, f := range n.Fields() {
		count += leafCount(f)
	}
	return count
}

// textOf writes values of a type as FOCUS writes them in text: decimals plain, times in RFC 3339.
func textOf(t parquet.Type) func(parquet.Value) string {
	if l := t.LogicalType(); l != nil {
		switch l := l.Value.(type) {
		case *format.DecimalType:
			scale := money.MustParse(fmt.Sprintf("1e-%d", min(max(l.Scale, 0), 36)))
			return func(v parquet.Value) string { return unscaled(v).Times(scale).String() }
		case *format.TimestampType:
			return timestampText(l.Unit.Value)
		case *format.DateType:
			return func(v parquet.Value) string { return time.Unix(86400*int64(v.Int32()), 0).UTC().Format(time.RFC3339) }
		}
	}
	if t.Kind() == parquet.Int96 {
		return func(v parquet.Value) string { return int96Time(v.Int96()).Format(time.RFC3339Nano) }
	}
	if t.Kind() == parquet.ByteArray || t.Kind() == parquet.FixedLenByteArray {
		return func(v parquet.Value) string { return string(v.ByteArray()) }
	}
	return func(v parquet.Value) string { return v.String() }
}

func timestampText(unit format.TimeUnitValue) func(parquet.Value) string {
	at := func(n int64) time.Time { return time.Unix(0, n) }
	switch unit.(type) {
	case *format.MilliSeconds:
		at = time.UnixMilli
	case *format.MicroSeconds:
		at = time.UnixMicro
	}
	return func(v parquet.Value) string { return at(v.Int64()).UTC().Format(time.RFC3339Nano) }
}

// int96Time is the old timestamp of Impala and Spark: nanoseconds of the day, then the Julian day.
func int96Time(v deprecated.Int96) time.Time {
	const julianUnixEpoch = 2440588
	nanos := int64(uint64(v[0]) | uint64(v[1])<<32)
	return time.Unix((int64(v[2])-julianUnixEpoch)*86400, nanos).UTC()
}

// unscaled is the whole number behind a decimal: an integer, or its big-endian two's complement.
func unscaled(v parquet.Value) money.Amount {
	switch v.Kind() {
	case parquet.Int32:
		return money.FromInt(int64(v.Int32()))
	case parquet.Int64:
		return money.FromInt(v.Int64())
	default:
		return money.FromTwosComplement(v.ByteArray())
	}
}

func (s *parquetSource) Columns() []string { return s.columns }

func (s *parquetSource) Position(i int) (int, int) { return s.number, i + 1 }

func (s *parquetSource) Next() (row []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			row, err = nil, &Refused{Line: s.number, Reason: fmt.Sprintf("broken Parquet data: %v", p)}
		}
	}()
	if len(s.held) == 0 {
		n, err := s.rows.ReadRows(s.buffer)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, &Refused{Line: s.number + 1, Reason: err.Error()}
		}
		s.held = s.buffer[:n]
	}
	values := s.held[0]
	s.held = s.held[1:]
	s.number++
	clear(s.row)
	for i := range values {
		v := values[i]
		leaf := v.Column()
		if leaf < 0 || leaf >= len(s.leaves) || v.IsNull() {
			continue
		}
		if column := s.leaves[leaf]; !s.fields[column].isMap {
			s.row[column] = s.fields[column].text(v)
		}
	}
	for column, f := range s.fields {
		if f.isMap {
			s.row[column] = s.mapText(values, column)
		}
	}
	return s.row, nil
}

// mapText joins the keys and values of a map column, which stand in a row as a run of keys and a run of values.
func (s *parquetSource) mapText(values parquet.Row, column int) string {
	var keys, texts []string
	for i := range values {
		v := values[i]
		leaf := v.Column()
		if leaf < 0 || leaf >= len(s.leaves) || s.leaves[leaf] != column {
			continue
		}
		text := s.fields[column].text(v)
		if leaf == 0 || s.leaves[leaf-1] != column {
			if !v.IsNull() {
				keys = append(keys, text)
			}
		} else {
			texts = append(texts, text)
		}
	}
	if len(keys) == 0 {
		return ""
	}
	tags := make(map[string]string, len(keys))
	for i, key := range keys {
		if i < len(texts) {
			tags[key] = texts[i]
		}
	}
	text, err := json.Marshal(tags)
	if err != nil {
		return ""
	}
	return string(text)
}
