// SPDX-License-Identifier: Apache-2.0

package focus

import (
	"errors"
	"strings"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// validate checks a row against FOCUS. What it finds is reported and changes nothing.
func (s *Scanner) validate(row []string, c *Charge) {
	for i := range s.checks {
		k := &s.checks[i]
		value := null(row[k.index])
		what := ""
		switch {
		case value == "":
			if !k.column.Nullable {
				what = "not_null"
			}
		case k.allowed != nil:
			if !k.allowed[value] {
				what = "allowed_value"
			}
		case k.column.Currency:
			if !isCurrency(value) {
				what = "currency"
			}
		case k.column.Type == Decimal:
			if !isDecimal(value) {
				what = "type"
			} else if k.column.NonNegative && value[0] == '-' {
				what = "non_negative"
			}
		case k.column.Type == DateTime:
			if !isFocusTime(value) {
				what = "type"
			}
		case k.column.Type == JSON:
			if !s.isObject(k.column, value) {
				what = "type"
			}
		}
		if what != "" {
			line, column := s.source.Position(k.index)
			s.found(k.column.Name, what, line, column)
		}
	}
	if !c.Start.Before(c.End) {
		s.foundAt("ChargePeriodEnd", "order")
	}
	if !c.BillingStart.Before(c.BillingEnd) {
		s.foundAt("BillingPeriodEnd", "order")
	}
	for i := range s.products {
		p := &s.products[i]
		if !productHolds(null(row[p.cost]), null(row[p.price]), null(row[p.quantity])) {
			line, column := s.source.Position(p.cost)
			name, what, _ := strings.Cut(p.rule, ".")
			s.found(name, what, line, column)
		}
	}
}

func (s *Scanner) foundAt(column, what string) {
	line, at := s.source.Position(s.index[column])
	s.found(column, what, line, at)
}

// productHolds says whether cost is price times quantity, within the rounding of the last digit that the bill shows or a millionth.
func productHolds(cost, price, quantity string) bool {
	if cost == "" || price == "" || quantity == "" || cost == "0" {
		return true
	}
	c, err1 := money.Parse(cost)
	p, err2 := money.Parse(price)
	q, err3 := money.Parse(quantity)
	if err := errors.Join(err1, err2, err3); err != nil || c.IsZero() {
		return true // reported as a wrong type; costs of 0 are discounted or covered
	}
	tolerance := c.Abs().Times(millionth)
	if tolerance.Cmp(tiny) < 0 {
		tolerance = tiny
	}
	return p.Times(q).Minus(c).Abs().Cmp(tolerance) <= 0
}

var millionth, tiny = money.MustParse("1e-6"), money.MustParse("1e-9")
