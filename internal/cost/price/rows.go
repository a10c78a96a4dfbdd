// SPDX-License-Identifier: Apache-2.0

package price

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// scope is what a row of a sheet is about. Empty texts and times match everything.
type scope struct {
	line                             int
	from, to                         time.Time
	region, instanceType, commitment string
}

// scopeColumns are the columns that every sheet has.
var scopeColumns = []string{"from", "to", "region", "instance_type", "commitment"}

func scopeOf(line int, cell func(string) string) (scope, error) {
	s := scope{line: line, region: cell("region"), instanceType: cell("instance_type"), commitment: cell("commitment")}
	for name, to := range map[string]*time.Time{"from": &s.from, "to": &s.to} {
		if cell(name) == "" {
			continue
		}
		t, err := time.Parse(time.DateOnly, cell(name))
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
		*to = t
	}
	if !s.from.IsZero() && !s.to.IsZero() && !s.from.Before(s.to) {
		return s, fmt.Errorf("to must be after from (got %s and %s)", s.from.Format(time.DateOnly), s.to.Format(time.DateOnly))
	}
	return s, nil
}

func (s *scope) matches(q *Query) bool {
	return (s.from.IsZero() || !q.At.Before(s.from)) && (s.to.IsZero() || q.At.Before(s.to)) &&
		(s.region == "" || strings.EqualFold(s.region, q.Region)) &&
		(s.instanceType == "" || strings.EqualFold(s.instanceType, q.InstanceType)) &&
		(s.commitment == "" || strings.EqualFold(s.commitment, q.Commitment))
}

// beats says whether a row is to be preferred to another: the one that names more, first instance type, then region, then commitment; of
// equals the one that begins later, then the later line.
func (s *scope) beats(other *scope) bool {
	if n, m := s.score(), other.score(); n != m {
		return n > m
	}
	return !s.from.Before(other.from)
}

func (s *scope) score() int {
	n := 0
	for i, text := range []string{s.commitment, s.region, s.instanceType} {
		if text != "" {
			n += 1 << i
		}
	}
	return n
}

// parseAmounts reads the cells that have a value; none of them may be below 0. It says whether there was any.
func parseAmounts(cell func(string) string, to map[string]**money.Amount) (bool, error) {
	some := false
	for name, p := range to {
		if cell(name) == "" {
			continue
		}
		a, err := money.Parse(cell(name))
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		if a.Sign() < 0 {
			return false, fmt.Errorf("%s must not be negative (got %s)", name, a)
		}
		*p, some = &a, true
	}
	return some, nil
}

var errNoRows = errors.New("sheet has no rows")

// whole is a sheet that was read without an error and says something: a file that is just being written may be empty.
func whole[S interface {
	*Sheet | *CarbonSheet
	Len() int
}](s S, err error) (S, error) {
	if err == nil && s.Len() == 0 {
		err = errNoRows
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// reader reads the rows of one kind of sheet.
type reader struct {
	kind    string
	columns []string
	add     func(line int, cell func(string) string) error
}

func (s *reader) row(line int, cells map[string]string) error {
	if err := s.add(line, func(name string) string { return strings.TrimSpace(cells[name]) }); err != nil {
		return fmt.Errorf("%s: line %d: %w", s.kind, line, err)
	}
	return nil
}

func (s *reader) csv(r io.Reader) error {
	reader := csv.NewReader(r)
	reader.Comment = '#'
	header, err := reader.Read()
	if err != nil {
		return fmt.Errorf("%s: header: %w", s.kind, err)
	}
	for i, name := range header {
		header[i] = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if !slices.Contains(s.columns, header[i]) {
			return fmt.Errorf("%s: line 1: unknown column %q", s.kind, header[i])
		}
		if slices.Contains(header[:i], header[i]) {
			return fmt.Errorf("%s: line 1: column %q occurs twice", s.kind, header[i])
		}
	}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.kind, err)
		}
		cells := map[string]string{}
		for i, cell := range record {
			cells[header[i]] = cell
		}
		line, _ := reader.FieldPos(0)
		if err := s.row(line, cells); err != nil {
			return err
		}
	}
}

func (s *reader) yaml(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var nodes []yaml.Node
	if err := yaml.Unmarshal(text, &nodes); err != nil {
		return fmt.Errorf("%s: %w", s.kind, err)
	}
	for i := range nodes {
		cells := map[string]string{}
		if err := nodes[i].Decode(&cells); err != nil {
			return fmt.Errorf("%s: line %d: %w", s.kind, nodes[i].Line, err)
		}
		for name := range cells {
			if !slices.Contains(s.columns, name) {
				return fmt.Errorf("%s: line %d: unknown key %q", s.kind, nodes[i].Line, name)
			}
		}
		if err := s.row(nodes[i].Line, cells); err != nil {
			return err
		}
	}
	return nil
}
