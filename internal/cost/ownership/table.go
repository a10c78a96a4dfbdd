// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format is how a lookup table is written.
type Format string

// The formats of a lookup table.
const (
	CSV  Format = "csv"
	YAML Format = "yaml"
	JSON Format = "json"
)

// maxTableRows bounds a table: beyond it the table is refused and the one before stays in force.
const maxTableRows = 1_000_000

var (
	errTableFormat = errors.New("unknown table format")
	errTableEmpty  = errors.New("table has no rows")
)

// TableSettings say how a table is read.
type TableSettings struct {
	// Name is how rules refer to the table.
	Name string
	// Format is csv, yaml or json.
	Format Format
	// Key are the columns that identify a row, in the order in which a rule gives their values.
	Key []string
	// Columns renames columns to tags; a column without an entry keeps its name.
	Columns map[string]string
	// FoldCase compares keys without regard to case.
	FoldCase bool
}

// Row is one row of a table: the tags it gives and the line it stands on.
type Row struct {
	Line int
	Tags []Tag
}

// Table is an immutable lookup table. Keys without a wildcard are found by hash; rows whose key holds a * or ? are tried in file order
// after that.
type Table struct {
	name     string
	width    int
	foldCase bool
	exact    map[string]*Row
	patterns []patternRow
}

type patternRow struct {
	key []string
	row *Row
}

// ReadTable reads a table. CSV needs a header line; YAML and JSON are a list of flat objects. A key that occurs twice, a row without its
// key and a broken line are errors that name the line; an error leaves nothing half read.
func ReadTable(r io.Reader, s TableSettings) (*Table, error) {
	t := &Table{name: s.Name, width: len(s.Key), foldCase: s.FoldCase, exact: map[string]*Row{}}
	var err error
	switch s.Format {
	case CSV:
		err = t.readCSV(r, s)
	case YAML, JSON:
		err = t.readObjects(r, s)
	default:
		err = fmt.Errorf("%w %q", errTableFormat, s.Format)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", s.Name, err)
	}
	if t.Len() == 0 {
		return nil, fmt.Errorf("table %s: %w", s.Name, errTableEmpty)
	}
	return t, nil
}

func (t *Table) readCSV(r io.Reader, s TableSettings) error {
	reader := csv.NewReader(r)
	reader.Comment = '#'
	header, err := reader.Read()
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	columns := make([]string, len(header))
	seen := map[string]bool{}
	for i, name := range header {
		columns[i] = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if seen[columns[i]] {
			return fmt.Errorf("line 1: column %q occurs twice", columns[i])
		}
		seen[columns[i]] = true
	}
	for _, key := range s.Key {
		if !seen[key] {
			return fmt.Errorf("line 1: key column %q is missing", key)
		}
	}
	cells := map[string]string{}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := reader.FieldPos(0)
		for i, cell := range record {
			cells[columns[i]] = cell
		}
		if err := t.add(line, columns, cells, s); err != nil {
			return err
		}
	}
}

func (t *Table) readObjects(r io.Reader, s TableSettings) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.Format == JSON {
		if err := jsonSyntax(text); err != nil {
			return err
		}
	}
	// JSON is YAML: one reader gives both the line of every row.
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	if len(doc.Content) == 0 {
		return errTableEmpty
	}
	if doc.Content[0].Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: a table is a list of objects", doc.Content[0].Line)
	}
	for _, node := range doc.Content[0].Content {
		if node.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: a row is an object", node.Line)
		}
		var columns []string
		cells := map[string]string{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			name, value := node.Content[i], node.Content[i+1]
			if value.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: %q is not a plain value", value.Line, name.Value)
			}
			columns = append(columns, name.Value)
			if value.Tag != "!!null" {
				cells[name.Value] = value.Value
			}
		}
		if err := t.add(node.Line, columns, cells, s); err != nil {
			return err
		}
	}
	return nil
}

func jsonSyntax(text []byte) error {
	var rows []json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("line %d: %w", 1+bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n")), err)
		}
		return err
	}
	return nil
}

func (t *Table) add(line int, columns []string, cells map[string]string, s TableSettings) error {
	if t.Len() >= maxTableRows {
		return fmt.Errorf("line %d: more than %d rows", line, maxTableRows)
	}
	key := make([]string, len(s.Key))
	wild := false
	for i, column := range s.Key {
		key[i] = strings.TrimSpace(cells[column])
		if key[i] == "" {
			return fmt.Errorf("line %d: key column %q is empty", line, column)
		}
		if t.foldCase {
			key[i] = strings.ToLower(key[i])
		}
		wild = wild || strings.ContainsAny(key[i], "*?")
	}
	row := &Row{Line: line}
	for _, column := range columns {
		if slices.Contains(s.Key, column) {
			continue
		}
		value := strings.TrimSpace(cells[column])
		if value == "" {
			continue
		}
		tag := column
		if renamed, ok := s.Columns[column]; ok {
			tag = renamed
		}
		row.Tags = append(row.Tags, Tag{Key: tag, Value: value})
	}
	if wild {
		t.patterns = append(t.patterns, patternRow{key: key, row: row})
		return nil
	}
	joined := strings.Join(key, keySeparator)
	if other, ok := t.exact[joined]; ok {
		return fmt.Errorf("line %d: key %q stands on line %d already", line, strings.Join(key, ", "), other.Line)
	}
	t.exact[joined] = row
	return nil
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.exact) + len(t.patterns) }

// keySeparator joins the columns of a key; it cannot occur in text.
const keySeparator = "\x1f"

// Lookup finds the row of a key: one value per key column. It does not allocate.
func (t *Table) Lookup(key ...string) (*Row, bool) {
	if len(key) != t.width {
		return nil, false
	}
	var stack [256]byte
	joined := stack[:0]
	for i, part := range key {
		if i > 0 {
			joined = append(joined, keySeparator...)
		}
		joined = appendFolded(joined, strings.TrimSpace(part), t.foldCase)
	}
	if row, ok := t.exact[string(joined)]; ok {
		return row, true
	}
	for i := range t.patterns {
		if t.patterns[i].matches(key, t.foldCase) {
			return t.patterns[i].row, true
		}
	}
	return nil, false
}

func (p *patternRow) matches(key []string, fold bool) bool {
	for i, pattern := range p.key {
		if !globMatch(pattern, strings.TrimSpace(key[i]), fold) {
			return false
		}
	}
	return true
}

func appendFolded(to []byte, s string, fold bool) []byte {
	if !fold {
		return append(to, s...)
	}
	for i := range len(s) {
		c := s[i]
		if c >= 0x80 {
			return append(to, strings.ToLower(s[i:])...)
		}
		to = append(to, lower(c))
	}
	return to
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Match reports whether s matches a pattern in which * is any run of characters and ? any one.
func Match(pattern, s string) bool { return globMatch(pattern, s, false) }

// globMatch reports whether s matches the pattern, in which * stands for any run of bytes and ? for one. Linear in len(s) for a pattern
// with one *, never worse than len(pattern)·len(s).
func globMatch(pattern, s string, fold bool) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i] || fold && lower(pattern[p]) == lower(s[i])):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
