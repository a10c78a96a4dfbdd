// SPDX-License-Identifier: Apache-2.0

package focus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Statement is what a re-issue replaces: the bill of one account for one period.
type Statement struct {
	Provider string    `json:"provider"`
	Account  string    `json:"account"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
}

// Cell is the cost of one combination of dimensions in one interval.
type Cell struct {
	Start    time.Time           `json:"start"`
	End      time.Time           `json:"end"`
	Currency string              `json:"currency"`
	Values   []string            `json:"values"`
	Costs    [Costs]money.Amount `json:"costs"`
}

// Cells are cells by key.
type Cells map[string]*Cell

// Portion is what one file adds to the statements it covers.
type Portion map[Statement]Cells

// File is one file of a delivery.
type File struct {
	// Path identifies the file.
	Path string `json:"path"`
	// Delivery is what the file is a part of; the files of one delivery add up.
	Delivery string `json:"delivery"`
	// Modified orders deliveries: the later one of a statement replaces the earlier.
	Modified time.Time `json:"modified"`
}

// Bill keeps, for every statement, what the files of its latest delivery add up to.
type Bill struct {
	statements map[Statement]map[string]*part
}

// part is what one file adds to one statement.
type part struct {
	file  File
	cells Cells
}

// NewBill is an empty bill.
func NewBill() *Bill { return &Bill{statements: map[Statement]map[string]*part{}} }

// Change is a cell whose costs changed.
type Change struct {
	Statement Statement
	Cell      *Cell
	// Before are the costs until now, After from now on; a cell that vanished is 0 after.
	Before, After [Costs]money.Amount
}

// Plan is what taking a file would change. It does nothing until it is committed.
type Plan struct {
	Changes []Change
	// Superseded are the statements of the file for which a later delivery is there already.
	Superseded []Statement
	// Touched are the statements that the commit changes.
	Touched []Statement
	next    map[Statement]map[string]*part
}

// Plan works out what taking the file would change. Parts of the same delivery that gone says are no longer there, and that are older
// than the file, are given up: a re-run of an export may have fewer parts.
func (b *Bill) Plan(f File, portion Portion, gone func(path string) bool) *Plan {
	p := &Plan{next: map[Statement]map[string]*part{}}
	affected := map[Statement]bool{}
	for s := range portion {
		affected[s] = true
	}
	for s, parts := range b.statements {
		if _, ok := parts[f.Path]; ok {
			affected[s] = true
		}
	}
	for s := range affected {
		now := b.statements[s]
		cells, covers := portion[s]
		if covers && superseded(now, f) {
			p.Superseded = append(p.Superseded, s)
			continue
		}
		next := map[string]*part{}
		for path, other := range now {
			same := other.file.Delivery == f.Delivery
			left := same && other.file.Modified.Before(f.Modified) && gone != nil && gone(path)
			if path != f.Path && !left && (same || !covers) {
				next[path] = other
			}
		}
		if covers {
			next[f.Path] = &part{file: f, cells: cells}
		}
		p.next[s] = next
		p.Touched = append(p.Touched, s)
		p.Changes = append(p.Changes, compare(s, now, next)...)
	}
	slices.SortFunc(p.Touched, compareStatements)
	slices.SortFunc(p.Superseded, compareStatements)
	slices.SortFunc(p.Changes, func(x, y Change) int {
		if c := compareStatements(x.Statement, y.Statement); c != 0 {
			return c
		}
		return strings.Compare(x.Cell.Key(), y.Cell.Key())
	})
	return p
}

// superseded says whether parts hold a delivery that is later than f's.
func superseded(parts map[string]*part, f File) bool {
	for path, p := range parts {
		if p.file.Delivery != f.Delivery && path != f.Path && p.file.Modified.After(f.Modified) {
			return true
		}
	}
	return false
}

func compareStatements(a, b Statement) int {
	if c := a.Start.Compare(b.Start); c != 0 {
		return c
	}
	if c := strings.Compare(a.Provider, b.Provider); c != 0 {
		return c
	}
	if c := strings.Compare(a.Account, b.Account); c != 0 {
		return c
	}
	return a.End.Compare(b.End)
}

func compare(s Statement, before, after map[string]*part) []Change {
	old, now := total(before), total(after)
	var out []Change
	for key, cell := range now {
		change := Change{Statement: s, Cell: cell, After: cell.Costs}
		if was, ok := old[key]; ok {
			change.Before = was.Costs
		}
		if differ(&change.Before, &change.After) {
			out = append(out, change)
		}
	}
	for key, cell := range old {
		if _, ok := now[key]; !ok && differ(&cell.Costs, &[Costs]money.Amount{}) {
			out = append(out, Change{Statement: s, Cell: cell, Before: cell.Costs})
		}
	}
	return out
}

func differ(a, b *[Costs]money.Amount) bool {
	for i := range a {
		if a[i].Cmp(b[i]) != 0 {
			return true
		}
	}
	return false
}

// total adds up the parts of a statement.
func total(parts map[string]*part) Cells {
	if len(parts) == 1 {
		for _, p := range parts {
			return p.cells
		}
	}
	sum := Cells{}
	for _, p := range parts {
		for key, cell := range p.cells {
			to, ok := sum[key]
			if !ok {
				copied := *cell
				sum[key] = &copied
				continue
			}
			for i := range cell.Costs {
				to.Costs[i] = to.Costs[i].Plus(cell.Costs[i])
			}
		}
	}
	return sum
}

// Commit makes a plan the state of the bill. The plan must come from this bill, with no commit in between.
func (b *Bill) Commit(p *Plan) {
	for s, parts := range p.next {
		if len(parts) == 0 {
			delete(b.statements, s)
			continue
		}
		b.statements[s] = parts
	}
}

// Forget drops the statements that ended before t and returns them. What was sent of them stays sent.
func (b *Bill) Forget(t time.Time) []Statement {
	var out []Statement
	for s := range b.statements {
		if s.End.Before(t) {
			out = append(out, s)
			delete(b.statements, s)
		}
	}
	slices.SortFunc(out, compareStatements)
	return out
}

// Statements are the statements of the bill, oldest first.
func (b *Bill) Statements() []Statement {
	out := make([]Statement, 0, len(b.statements))
	for s := range b.statements {
		out = append(out, s)
	}
	slices.SortFunc(out, compareStatements)
	return out
}

// Totals are the four costs over the whole bill.
func (b *Bill) Totals() [Costs]money.Amount {
	var sum [Costs]money.Amount
	for _, parts := range b.statements {
		for _, cell := range total(parts) {
			for i := range sum {
				sum[i] = sum[i].Plus(cell.Costs[i])
			}
		}
	}
	return sum
}

// Snapshot is one statement in the form it is stored in.
type Snapshot struct {
	Statement Statement      `json:"statement"`
	Parts     []PartSnapshot `json:"parts"`
}

// PartSnapshot is what one file adds to a statement.
type PartSnapshot struct {
	File  File    `json:"file"`
	Cells []*Cell `json:"cells"`
}

// Snapshot is the stored form of a statement; false when the bill does not have it.
func (b *Bill) Snapshot(s Statement) (Snapshot, bool) {
	parts, ok := b.statements[s]
	if !ok {
		return Snapshot{}, false
	}
	out := Snapshot{Statement: s}
	for _, p := range parts {
		part := PartSnapshot{File: p.file}
		for _, cell := range p.cells {
			part.Cells = append(part.Cells, cell)
		}
		slices.SortFunc(part.Cells, func(x, y *Cell) int { return strings.Compare(x.Key(), y.Key()) })
		out.Parts = append(out.Parts, part)
	}
	slices.SortFunc(out.Parts, func(x, y PartSnapshot) int { return strings.Compare(x.File.Path, y.File.Path) })
	return out, true
}

var errDimensions = errors.New("stored cells have other dimensions")

// Restore puts a stored statement into the bill. Cells must have the given number of dimensions.
func (b *Bill) Restore(s Snapshot, dimensions int) error {
	parts := map[string]*part{}
	for _, ps := range s.Parts {
		p := &part{file: ps.File, cells: make(Cells, len(ps.Cells))}
		for _, cell := range ps.Cells {
			if len(cell.Values) != dimensions {
				return fmt.Errorf("%w: %d, not %d", errDimensions, len(cell.Values), dimensions)
			}
			p.cells[cell.Key()] = cell
		}
		parts[ps.File.Path] = p
	}
	b.statements[s.Statement] = parts
	return nil
}
