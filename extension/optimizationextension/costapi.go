// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	costreport "github.com/pitwall-io/pitwall/internal/cost/report"
)

const schemaCosts = "pitwall.costs.all/v1"

// costsAnswer is what all cost processors of this collector know.
type costsAnswer struct {
	Schema string `json:"schema"`
	// Waste is what is paid for nothing, the dearest first.
	Waste []costreport.Wasted `json:"waste"`
	// Sources are the snapshots of the cost processors, by component ID; Prices are what the backend charges, likewise.
	Sources map[string]costreport.Costs `json:"sources"`
	Prices  map[string]json.RawMessage  `json:"prices"`
	// Unreadable are sources whose snapshot is of another version.
	Unreadable []string `json:"unreadable,omitempty"`
}

// serveCosts answers what services cost, from the snapshots that cost processors publish.
func (e *optimizationExtension) serveCosts(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		e.fail(w, http.StatusBadRequest, errQuery.Error()+": costs have no filters")
		return
	}
	out := costsAnswer{
		Schema: schemaCosts, Waste: []costreport.Wasted{}, Sources: map[string]costreport.Costs{}, Prices: e.store.Snapshots(costreport.TopicPrices),
	}
	for source, body := range e.store.Snapshots(costreport.TopicCosts) {
		var c costreport.Costs
		if err := json.Unmarshal(body, &c); err != nil || c.Schema != costreport.SchemaCosts {
			out.Unreadable = append(out.Unreadable, source)
			continue
		}
		out.Sources[source] = c
		if c.Resources != nil {
			out.Waste = append(out.Waste, c.Resources.Waste()...)
		}
	}
	slices.Sort(out.Unreadable)
	slices.SortStableFunc(out.Waste, func(a, b costreport.Wasted) int {
		return cmp.Or(cmp.Compare(b.Hourly, a.Hourly), strings.Compare(a.Service, b.Service), strings.Compare(a.Owner, b.Owner))
	})
	e.answer(w, http.StatusOK, out)
}
