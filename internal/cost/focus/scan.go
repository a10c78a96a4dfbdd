// SPDX-License-Identifier: Apache-2.0

// Package focus reads bills in the FinOps Open Cost and Usage Specification, checks them against it, and keeps what they add up to.
package focus

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Cost is one of FOCUS's four costs.
type Cost int

// The four costs of FOCUS.
const (
	Billed Cost = iota
	Effective
	Contracted
	List
	Costs
)

var costColumns = [Costs]string{"BilledCost", "EffectiveCost", "ContractedCost", "ListCost"}

func (c Cost) String() string { return [...]string{"billed", "effective", "contracted", "list"}[c] }

// needed are the columns without which a file says nothing about cost.
var needed = []string{"BilledCost", "EffectiveCost", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"}

// Charge is one row of a bill.
type Charge struct {
	// Costs are the four costs; a cost the file does not have is 0.
	Costs [Costs]money.Amount
	// Currency is the billing currency.
	Currency string
	// BillingStart and BillingEnd, Start and End are the billing period and the charge period; ends are exclusive.
	BillingStart, BillingEnd, Start, End time.Time

	scanner *Scanner
	row     []string
}

// Value is the text of a column; "" where it is absent or null.
func (c *Charge) Value(column string) string {
	i, ok := c.scanner.index[column]
	if !ok {
		return ""
	}
	return null(c.row[i])
}

// Provider is who sold the service: ServiceProviderName, or ProviderName in files older than 1.3.
func (c *Charge) Provider() string {
	if v := c.Value("ServiceProviderName"); v != "" {
		return v
	}
	return c.Value("ProviderName")
}

// Tags are the tags of the resource, by key as the provider writes it. The map is shared between rows: do not change it.
func (c *Charge) Tags() map[string]string { return c.tagSet("Tags").raw }

// AllocatedTags are the tags of what a part of a split charge was allocated to. The map is shared between rows: do not change it.
func (c *Charge) AllocatedTags() map[string]string { return c.tagSet("AllocatedTags").raw }

// tag is the value of a tag whose name is given in normalised form. What a part of a split charge was allocated to comes before the
// resource that was split.
func (c *Charge) tag(normalized string) string {
	if value := c.tagSet("AllocatedTags").byName[normalized]; value != "" {
		return value
	}
	return c.tagSet("Tags").byName[normalized]
}

func (c *Charge) tagSet(column string) *tagSet {
	if i, ok := c.scanner.index[column]; ok {
		if tags := c.scanner.tags(null(c.row[i])); tags != nil {
			return tags
		}
	}
	return &noTags
}

// tagSet is the tags of a row by key, and by normalised name: of several spellings the one that sorts first counts.
type tagSet struct {
	raw, byName map[string]string
}

var noTags tagSet

// Finding is a rule of FOCUS that rows of a file break.
type Finding struct {
	// Rule is "<column>.<check>"; checks are present, not_null, type, allowed_value, currency, non_negative and, across columns, order
	// and product.
	Rule string
	// Rows is how many rows break it; 1 for a missing column.
	Rows int
	// Line and Column are where it is broken first.
	Line, Column int
}

// Report is what a file turned out to be.
type Report struct {
	Version Version
	Rows    int
	// Findings are the broken rules, by name.
	Findings []Finding
	// Totals are the sums of the four costs over all rows.
	Totals [Costs]money.Amount
}

// Scanner reads the charges of one file.
type Scanner struct {
	source   Source
	index    map[string]int
	checks   []check
	report   Report
	findings map[string]*Finding
	costs    [Costs]int
	times    map[string]time.Time
	tagCache map[string]*tagSet
	charge   Charge
	products []product
}

// check is what is asked of one column of every row.
type check struct {
	index   int
	column  *Column
	allowed map[string]bool
}

// product is a cost that must be a unit price times the pricing quantity.
type product struct {
	rule                  string
	cost, price, quantity int
}

// maxMemo bounds the memories of times and tags within one file, maxMemoText the texts in them.
const (
	maxMemo     = 10_000
	maxMemoText = 2048
)

// NewScanner looks at the header of a source. A file that is not FOCUS Cost and Usage is refused.
func NewScanner(source Source) (*Scanner, error) {
	s := &Scanner{
		source: source, index: map[string]int{}, findings: map[string]*Finding{},
		times: map[string]time.Time{}, tagCache: map[string]*tagSet{},
	}
	columns := source.Columns()
	for i, name := range columns {
		s.index[name] = i
	}
	for _, name := range needed {
		if _, ok := s.index[name]; ok {
			continue
		}
		reason := fmt.Sprintf("not a FOCUS Cost and Usage file: column %s is missing", name)
		if _, ok := s.index["ContractCommitmentId"]; ok {
			reason = "a FOCUS Contract Commitment file, not Cost and Usage"
		}
		return nil, &Refused{Line: 1, Column: 1, Reason: reason}
	}
	s.report.Version = detect(columns)
	for i := range Columns {
		c := &Columns[i]
		at, ok := s.index[c.Name]
		if !ok {
			if c.Mandatory && c.has(s.report.Version) {
				s.found(c.Name, "present", 1, 0)
			}
			continue
		}
		k := check{index: at, column: c}
		if len(c.Allowed) > 0 {
			k.allowed = map[string]bool{}
			for _, v := range c.Allowed {
				k.allowed[v] = true
			}
		}
		s.checks = append(s.checks, k)
	}
	for cost, name := range costColumns {
		s.costs[cost] = s.at(name)
	}
	for _, p := range [][2]string{{"ContractedCost", "ContractedUnitPrice"}, {"ListCost", "ListUnitPrice"}} {
		k := product{p[0] + ".product", s.at(p[0]), s.at(p[1]), s.at("PricingQuantity")}
		if k.cost >= 0 && k.price >= 0 && k.quantity >= 0 {
			s.products = append(s.products, k)
		}
	}
	s.charge.scanner = s
	return s, nil
}

func (s *Scanner) at(column string) int {
	if i, ok := s.index[column]; ok {
		return i
	}
	return -1
}

func (s *Scanner) found(column, what string, line, at int) {
	rule := column + "." + what
	f, ok := s.findings[rule]
	if !ok {
		f = &Finding{Rule: rule, Line: line, Column: at}
		s.findings[rule] = f
	}
	f.Rows++
}

// Next is the next charge; it stays valid until the call after. io.EOF ends the file. Any other error refuses the file as a whole: half a
// bill is worse than none.
func (s *Scanner) Next() (*Charge, error) {
	row, err := s.source.Next()
	if err != nil {
		return nil, err
	}
	s.report.Rows++
	c := &s.charge
	c.row = row
	for cost, at := range s.costs {
		c.Costs[cost] = money.Amount{}
		if at < 0 {
			continue
		}
		text := null(row[at])
		if text == "" {
			continue
		}
		if c.Costs[cost], err = money.Parse(text); err != nil {
			return nil, s.refuse(at, err.Error())
		}
		s.report.Totals[cost] = s.report.Totals[cost].Plus(c.Costs[cost])
	}
	for _, t := range []struct {
		name string
		to   *time.Time
	}{
		{"BillingPeriodStart", &c.BillingStart},
		{"BillingPeriodEnd", &c.BillingEnd},
		{"ChargePeriodStart", &c.Start},
		{"ChargePeriodEnd", &c.End},
	} {
		at := s.index[t.name]
		if *t.to, err = s.time(row[at]); err != nil {
			return nil, s.refuse(at, err.Error())
		}
	}
	at := s.index["BillingCurrency"]
	if c.Currency = null(row[at]); !isCurrency(c.Currency) {
		return nil, s.refuse(at, fmt.Sprintf("not a currency code: %q", clip(c.Currency)))
	}
	s.validate(row, c)
	return c, nil
}

func (s *Scanner) refuse(at int, reason string) error {
	line, column := s.source.Position(at)
	return &Refused{line, column, s.source.Columns()[at], reason}
}

// Report is what was seen so far; ask for it after the last row.
func (s *Scanner) Report() Report {
	r := s.report
	for _, f := range s.findings {
		r.Findings = append(r.Findings, *f)
	}
	slices.SortFunc(r.Findings, func(a, b Finding) int { return strings.Compare(a.Rule, b.Rule) })
	return r
}

// ReadAll calls f for every charge of a source and reports.
func ReadAll(source Source, f func(*Charge) error) (Report, error) {
	s, err := NewScanner(source)
	if err != nil {
		return Report{}, err
	}
	for {
		c, err := s.Next()
		if errors.Is(err, io.EOF) {
			return s.Report(), nil
		}
		if err != nil {
			return s.Report(), err
		}
		if err := f(c); err != nil {
			return s.Report(), err
		}
	}
}
