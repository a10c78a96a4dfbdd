// SPDX-License-Identifier: Apache-2.0

package focus

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Interval is how finely costs are kept over time.
type Interval string

// The intervals of a bill.
const (
	Hourly  Interval = "hour"
	Daily   Interval = "day"
	Monthly Interval = "month"
)

func (i Interval) floor(t time.Time) time.Time {
	switch i {
	case Hourly:
		return t.Truncate(time.Hour)
	case Monthly:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	default:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	}
}

func (i Interval) next(t time.Time) time.Time {
	switch i {
	case Hourly:
		return t.Add(time.Hour)
	case Monthly:
		return t.AddDate(0, 1, 0)
	default:
		return t.AddDate(0, 0, 1)
	}
}

// Overflow is the value of every dimension of a cell that takes what is beyond the limit.
const Overflow = "__overflow__"

// GroupSettings say how rows become cells.
type GroupSettings struct {
	// Columns are the dimensions: names of columns, "Provider" for whichever provider column the file has, and "tag:<name>" for a tag,
	// whose name is compared without case, white space, '-', '_', '.', ':' and '/'.
	Columns []string
	// Interval is how finely time is kept.
	Interval Interval
	// Spread divides a charge over the intervals of its charge period, within the billing period. Otherwise it counts where it starts.
	Spread bool
	// MaxCells bounds the cells of one file; rows beyond it are added to overflow cells.
	MaxCells int
}

// Grouper turns the charges of one file into cells.
type Grouper struct {
	s        GroupSettings
	tags     []string // normalised tag names, "" for columns
	portion  Portion
	cells    int
	overflow int
	key      []byte
	values   []string
	last     Statement
	current  Cells
}

// maxSpread bounds the intervals of one charge, maxStatements the statements of one file, maxValue the bytes of a dimension.
const (
	maxSpread     = 24 * 366
	maxStatements = 10_000
	maxValue      = 1024
)

// NewGrouper groups the charges of one file.
func NewGrouper(s GroupSettings) *Grouper {
	g := &Grouper{s: s, portion: Portion{}, values: make([]string, len(s.Columns)), tags: make([]string, len(s.Columns))}
	for i, column := range s.Columns {
		if name, ok := strings.CutPrefix(column, "tag:"); ok {
			g.tags[i] = normalizeTag(name)
		}
	}
	return g
}

// Add adds one charge.
func (g *Grouper) Add(c *Charge) error {
	statement := Statement{Provider: c.Provider(), Account: c.Value("BillingAccountId"), Start: c.BillingStart, End: c.BillingEnd}
	if g.current == nil || statement != g.last {
		cells, ok := g.portion[statement]
		if !ok {
			if len(g.portion) >= maxStatements {
				return c.scanner.refuse(c.scanner.index["BillingPeriodStart"], fmt.Sprintf("more than %d billing accounts and periods in one file", maxStatements))
			}
			cells = Cells{}
			statement.Provider, statement.Account = strings.Clone(statement.Provider), strings.Clone(statement.Account)
			g.portion[statement] = cells
		}
		g.last, g.current = statement, cells
	}
	for i, column := range g.s.Columns {
		switch {
		case g.tags[i] != "":
			g.values[i] = c.tag(g.tags[i])
		case column == "Provider":
			g.values[i] = c.Provider()
		default:
			g.values[i] = c.Value(column)
		}
		g.values[i] = tidy(g.values[i])
	}
	start := g.s.Interval.floor(c.Start)
	if !g.s.Spread || !g.s.Interval.next(start).Before(c.End) {
		g.add(c, start, &c.Costs)
		return nil
	}
	return g.spread(c)
}

// tidy is a value as it may leave: valid UTF-8, and not longer than a dimension may be.
func tidy(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue]
	}
	return strings.ToValidUTF8(s, "")
}

// spread divides a charge over its intervals by the time that falls into each, exactly.
func (g *Grouper) spread(c *Charge) error {
	end := c.End
	if c.BillingEnd.After(c.Start) && c.BillingEnd.Before(end) {
		end = c.BillingEnd
	}
	var starts []time.Time
	var weights []money.Amount
	for t := g.s.Interval.floor(c.Start); t.Before(end) && len(starts) < maxSpread; t = g.s.Interval.next(t) {
		from, to := t, g.s.Interval.next(t)
		if from.Before(c.Start) {
			from = c.Start
		}
		if to.After(end) {
			to = end
		}
		starts = append(starts, t)
		weights = append(weights, money.FromInt(int64(to.Sub(from)/time.Second)))
	}
	var parts [Costs][]money.Amount
	for cost := range Costs {
		split, err := money.Split(c.Costs[cost], weights)
		if err != nil {
			return fmt.Errorf("spreading a charge from %s to %s: %w", c.Start, end, err)
		}
		parts[cost] = split
	}
	for i, start := range starts {
		var costs [Costs]money.Amount
		for cost := range Costs {
			costs[cost] = parts[cost][i]
		}
		g.add(c, start, &costs)
	}
	return nil
}

func (g *Grouper) add(c *Charge, start time.Time, costs *[Costs]money.Amount) {
	g.key = appendKey(g.key[:0], start, c.Currency, g.values)
	cell, ok := g.current[string(g.key)]
	if !ok {
		values := g.values
		if g.cells >= g.s.MaxCells {
			g.overflow++
			values = slices.Repeat([]string{Overflow}, len(g.values))
			g.key = appendKey(g.key[:0], start, c.Currency, values)
			cell, ok = g.current[string(g.key)]
		}
		if !ok {
			cell = &Cell{Start: start, End: g.s.Interval.next(start), Currency: strings.Clone(c.Currency), Values: make([]string, len(values))}
			for i, v := range values {
				cell.Values[i] = strings.Clone(v)
			}
			g.current[string(g.key)] = cell
			g.cells++
		}
	}
	for i := range costs {
		if !costs[i].IsZero() {
			cell.Costs[i] = cell.Costs[i].Plus(costs[i])
		}
	}
}

// Portion is what the file adds up to.
func (g *Grouper) Portion() Portion { return g.portion }

// Overflowed is how many rows, or parts of spread rows, went to overflow cells.
func (g *Grouper) Overflowed() int { return g.overflow }

func appendKey(key []byte, start time.Time, currency string, values []string) []byte {
	key = binary.BigEndian.AppendUint64(key, uint64(start.Unix()))
	key = append(key, currency...)
	for _, v := range values {
		key = binary.AppendUvarint(key, uint64(len(v)))
		key = append(key, v...)
	}
	return key
}

// Key is the key of a cell within its statement.
func (c *Cell) Key() string { return string(appendKey(nil, c.Start, c.Currency, c.Values)) }

func normalizeTag(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '-', '_', '.', ':', '/':
			return -1
		}
		return r
	}, strings.ToLower(s))
}
