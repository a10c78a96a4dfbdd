// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Unowned is a resource without an owner, and what it costs.
type Unowned struct {
	Attributes []Tag
	Cost       money.Amount
}

// Suggestion is an attribute by which owners could be named.
type Suggestion struct {
	Attribute string
	// Values is how many values it has among the resources without an owner.
	Values int
	// Resolved is the cost that would have an owner if the costliest ten of its values got one: a table of ten lines.
	Resolved money.Amount
}

// tableLines is how many values a suggestion counts on being named.
const tableLines = 10

// Suggest says by which attributes most of the cost that nobody owns would find an owner, the best first; of equals the one with fewer
// values.
func Suggest(list []Unowned) []Suggestion {
	costs := map[string]map[string]money.Amount{}
	for i := range list {
		for _, tag := range list[i].Attributes {
			values, ok := costs[tag.Key]
			if !ok {
				values = map[string]money.Amount{}
				costs[tag.Key] = values
			}
			values[tag.Value] = values[tag.Value].Plus(list[i].Cost)
		}
	}
	out := make([]Suggestion, 0, len(costs))
	for attribute, values := range costs {
		amounts := make([]money.Amount, 0, len(values))
		for _, a := range values {
			amounts = append(amounts, a)
		}
		slices.SortFunc(amounts, func(a, b money.Amount) int { return b.Cmp(a) })
		s := Suggestion{Attribute: attribute, Values: len(values), Resolved: money.Sum(amounts[:min(len(amounts), tableLines)]...)}
		if s.Resolved.Sign() > 0 {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Suggestion) int {
		return cmp.Or(b.Resolved.Cmp(a.Resolved), cmp.Compare(a.Values, b.Values), strings.Compare(a.Attribute, b.Attribute))
	})
	return out
}
