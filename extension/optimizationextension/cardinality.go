// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/pitwall-io/pitwall/internal/limit"
)

const schemaCardinality = "pitwall.cardinality/v1"

// topicPrices is where cost processors publish what the backend charges.
const topicPrices = "prices"

type cardinalityAnswer struct {
	Schema string `json:"schema"`
	// Series are sent, NotSent are not, over all limiters.
	Series  int     `json:"series"`
	NotSent float64 `json:"series_not_sent"`
	// Price is absent when nobody says what a series costs.
	Price *seriesPrice `json:"price,omitempty"`
	// SavedPerMonth is the price of the series not sent.
	SavedPerMonth *float64 `json:"saved_per_month,omitempty"`
	// Advice is what dropping an attribute would save, most first; Left counts further ones.
	Advice   []pricedAdvice    `json:"advice"`
	Left     int               `json:"left_out"`
	Limiters map[string]demand `json:"limiters"`
	// Unreadable are limiters of another version.
	Unreadable []string `json:"unreadable,omitempty"`
}

// demand is a limiter's own snapshot.
type demand = limit.Demand

type pricedAdvice struct {
	limit.Advice
	Limiter       string   `json:"limiter"`
	SavesPerMonth *float64 `json:"saves_per_month,omitempty"`
}

type seriesPrice struct {
	PerSeriesMonth float64 `json:"per_series_month"`
	Currency       string  `json:"currency"`
}

// serveCardinality answers what limiters published: demand beside what is let through, and what would help.
func (e *optimizationExtension) serveCardinality(w http.ResponseWriter, r *http.Request) {
	most, err := parseLimit(r.URL.Query())
	if err != nil {
		e.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	out := cardinalityAnswer{Schema: schemaCardinality, Advice: []pricedAdvice{}, Limiters: map[string]demand{}, Price: priceOfSeries(e.store.Snapshots(topicPrices))}
	snapshots := e.store.Snapshots(limit.TopicOffenders)
	for _, source := range slices.Sorted(maps.Keys(snapshots)) {
		d, err := limit.ParseDemand(snapshots[source])
		if err != nil {
			out.Unreadable = append(out.Unreadable, source)
			continue
		}
		out.Limiters[source] = d
		out.Series += d.Series
		out.NotSent += d.NotSent
		for _, a := range d.Advise() {
			out.Advice = append(out.Advice, pricedAdvice{Advice: a, Limiter: source, SavesPerMonth: out.Price.of(a.Saves)})
		}
	}
	out.SavedPerMonth = out.Price.of(out.NotSent)
	slices.SortStableFunc(out.Advice, func(a, b pricedAdvice) int { return cmp.Compare(b.Saves, a.Saves) })
	out.Left = max(len(out.Advice)-most, 0)
	out.Advice = out.Advice[:len(out.Advice)-out.Left]
	e.answer(w, http.StatusOK, out)
}

func parseLimit(values url.Values) (int, error) {
	most := defaultLimit
	for name, given := range values {
		if name != "limit" {
			return 0, fmt.Errorf("%w: the only parameter is limit", errQuery)
		}
		n, err := strconv.Atoi(given[0])
		if err != nil || n < 1 || n > maxLimit {
			return 0, fmt.Errorf("%w: limit must be between 1 and %d", errQuery, maxLimit)
		}
		most = n
	}
	return most, nil
}

// of is the price of so many series; nil without a price.
func (p *seriesPrice) of(series float64) *float64 {
	if p == nil {
		return nil
	}
	amount := series * p.PerSeriesMonth
	return &amount
}

// priceOfSeries reads what cost processors say that a series costs a month: the dearest, and of equals the source that sorts first.
func priceOfSeries(snapshots map[string]json.RawMessage) *seriesPrice {
	var found *seriesPrice
	for _, source := range slices.Sorted(maps.Keys(snapshots)) {
		var said struct {
			Schema   string
			Currency string
			Signals  map[string]struct {
				PerSeriesMonth float64 `json:"per_series_month"`
			}
		}
		if json.Unmarshal(snapshots[source], &said) != nil || said.Schema != "pitwall.prices/v1" {
			continue
		}
		if price := said.Signals["metrics"].PerSeriesMonth; price > 0 && (found == nil || price > found.PerSeriesMonth) {
			found = &seriesPrice{PerSeriesMonth: price, Currency: said.Currency}
		}
	}
	return found
}
