// SPDX-License-Identifier: Apache-2.0

// Package report is what components that know prices and costs publish on the board of the optimization extension, in JSON, for those who
// read it: the limiter that says what a series costs, the API that answers "who pays", detectors of anomalies.
package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// The topics on the board. The source of a snapshot is the ID of the component that says it.
const (
	// TopicPrices holds Prices: what the backend charges for telemetry.
	TopicPrices = "prices"
	// TopicCosts holds Costs: what was counted and allocated so far.
	TopicCosts = "costs"
)

// The values of Schema.
const (
	SchemaPrices = "pitwall.prices/v1"
	SchemaCosts  = "pitwall.costs/v1"
)

// HoursPerMonth is the month that prices by the month mean: a twelfth of 8,760 hours.
const HoursPerMonth = 730

// Prices is what the backend charges, by signal: traces, metrics, logs.
type Prices struct {
	Schema   string           `json:"schema"`
	Currency string           `json:"currency"`
	Signals  map[string]Price `json:"signals"`
}

// Price of one signal. A price that is not charged is 0.
type Price struct {
	// PerGB is the price of 10⁹ bytes of OTLP, PerMillion of a million spans, data points or log records.
	PerGB      float64 `json:"per_gb,omitempty"`
	PerMillion float64 `json:"per_million,omitempty"`
	// PerSeriesMonth is the price of one series that is active for a month of 730 hours.
	PerSeriesMonth float64 `json:"per_series_month,omitempty"`
}

var errPrices = errors.New("not a snapshot of prices")

// ParsePrices reads a snapshot of TopicPrices.
func ParsePrices(body json.RawMessage) (Prices, error) {
	var p Prices
	if err := json.Unmarshal(body, &p); err != nil {
		return Prices{}, fmt.Errorf("%w: %w", errPrices, err)
	}
	if p.Schema != SchemaPrices {
		return Prices{}, fmt.Errorf("%w: schema %q", errPrices, p.Schema)
	}
	return p, nil
}

// SeriesMonth is the price of an active series for a month and its currency, from the snapshots of TopicPrices by source. Of several
// sources the dearest counts, and of equals the one whose name sorts first; false when none has a price.
func SeriesMonth(snapshots map[string]json.RawMessage) (price float64, currency string, ok bool) {
	for _, source := range slices.Sorted(maps.Keys(snapshots)) {
		p, err := ParsePrices(snapshots[source])
		if err != nil {
			continue
		}
		if v := p.Signals["metrics"].PerSeriesMonth; v > price {
			price, currency, ok = v, p.Currency, true
		}
	}
	return price, currency, ok
}

// Costs is what one cost processor knows.
type Costs struct {
	Schema string `json:"schema"`
	// Since is when the totals began, At when they were read.
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
	// Telemetry is what the telemetry at this place of the pipeline costs.
	Telemetry *Telemetry `json:"telemetry,omitempty"`
	// Resources is what machines, volumes and traffic cost.
	Resources *Resources `json:"resources,omitempty"`
	// Unallocated is what nobody owns, by source of the money: bill, telemetry, allocated.
	Unallocated map[string]Unallocated `json:"unallocated,omitempty"`
	// Budgets are the budgets as they stand.
	Budgets []Budget `json:"budgets,omitempty"`
	// Daily are series of what services cost a day, purchases spread over what they bought and corrections applied.
	Daily []Series `json:"daily,omitempty"`
}

// Account is whom something is accounted to.
type Account struct {
	Service    string `json:"service"`
	Owner      string `json:"owner,omitempty"`
	CostCenter string `json:"cost_center,omitempty"`
}

func (a Account) compare(b Account) int {
	return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Owner, b.Owner), strings.Compare(a.CostCenter, b.CostCenter))
}

// Telemetry is the telemetry of all accounts at one stage.
type Telemetry struct {
	Stage    string `json:"stage"`
	Currency string `json:"currency"`
	// Baseline is the earlier stage that Saved compares with; empty without one.
	Baseline string             `json:"baseline,omitempty"`
	Accounts []AccountTelemetry `json:"accounts"`
	// Left is how many further accounts there are.
	Left   int     `json:"left,omitempty"`
	Amount float64 `json:"amount"`
	// Saved is by how much less passed here than at the baseline, at one list of prices. It holds what is on its way between the two.
	Saved float64 `json:"saved,omitempty"`
}

// AccountTelemetry is the telemetry of one account since the beginning.
type AccountTelemetry struct {
	Account
	Signals map[string]Traffic `json:"signals"`
	// Series are the active series.
	Series int64   `json:"series,omitempty"`
	Amount float64 `json:"amount"`
	Saved  float64 `json:"saved,omitempty"`
}

// Traffic is items, bytes and their price.
type Traffic struct {
	Items  uint64  `json:"items"`
	Bytes  uint64  `json:"bytes"`
	Amount float64 `json:"amount,omitempty"`
}

// Resources is the allocated cost of all accounts.
type Resources struct {
	Currency string            `json:"currency"`
	Accounts []AccountResource `json:"accounts"`
	Left     int               `json:"left,omitempty"`
	Total    float64           `json:"total"`
	// WindowHours is the length of the last window: Hourly and PerRequest are about it.
	WindowHours float64 `json:"window_hours"`
}

// AccountResource is the allocated cost of one account. __idle__ is what nobody used, __unmounted__ volumes that nobody mounts.
type AccountResource struct {
	Account
	Own      float64 `json:"own"`
	Idle     float64 `json:"idle,omitempty"`
	Overhead float64 `json:"overhead,omitempty"`
	Shared   float64 `json:"shared,omitempty"`
	Total    float64 `json:"total"`
	// Hourly is what an hour costs, in the last window.
	Hourly float64 `json:"hourly"`
	// UnusedHourly is the part of Hourly that was set aside and not used. UsageKnown says whether both were measured.
	UnusedHourly float64 `json:"unused_hourly,omitempty"`
	UsageKnown   bool    `json:"usage_known"`
	// Requests is how many it served in the last window, PerRequest what one of them cost.
	Requests   float64 `json:"requests"`
	PerRequest float64 `json:"per_request,omitempty"`
	// Carbon is what it emitted, in grams of CO2 equivalent; CarbonPerRequest that of one request in the last window.
	Carbon           float64 `json:"carbon_g,omitempty"`
	CarbonPerRequest float64 `json:"carbon_g_per_request,omitempty"`
	// Spoken says whether spans of the service were seen at all since the beginning.
	Spoken bool `json:"spans_seen"`
}

// Unallocated is what nobody owns.
type Unallocated struct {
	Currency string  `json:"currency"`
	Total    float64 `json:"total"`
	// Resolvable says by which attribute a table of ten lines would find owners, the best first.
	Resolvable []Resolvable `json:"resolvable,omitempty"`
}

// Resolvable is one attribute.
type Resolvable struct {
	Attribute string  `json:"attribute"`
	Values    int     `json:"values"`
	Amount    float64 `json:"amount"`
}

// Budget is a budget as it stands.
type Budget struct {
	Name     string             `json:"name"`
	Match    map[string]string  `json:"match"`
	Currency string             `json:"currency"`
	Limit    float64            `json:"limit"`
	Spent    float64            `json:"spent"`
	Expected float64            `json:"expected"`
	Low      float64            `json:"low"`
	High     float64            `json:"high"`
	Burn     map[string]float64 `json:"burn,omitempty"`
	// Breach is the day on which the limit is or will be crossed, YYYY-MM-DD; empty when it is not.
	Breach string `json:"breach,omitempty"`
}

// Series is what one account costs a day.
type Series struct {
	Account
	// Source is bill or allocated.
	Source   string `json:"source"`
	Currency string `json:"currency"`
	// First is the day of the first value, YYYY-MM-DD in UTC; the others follow day by day. The last day may be incomplete.
	First  string    `json:"first"`
	Values []float64 `json:"values"`
}

// maxListed bounds each list of a snapshot, so that a snapshot stays small.
const maxListed = 200

// Marshal writes a snapshot: lists in order of cost, the largest first, and cut.
func (c *Costs) Marshal() (json.RawMessage, error) {
	c.Schema = SchemaCosts
	if t := c.Telemetry; t != nil {
		slices.SortFunc(t.Accounts, func(a, b AccountTelemetry) int {
			return cmp.Or(cmp.Compare(b.Amount, a.Amount), cmp.Compare(bytesOf(&b), bytesOf(&a)), a.compare(b.Account))
		})
		t.Left = max(0, len(t.Accounts)-maxListed)
		t.Accounts = t.Accounts[:len(t.Accounts)-t.Left]
	}
	if r := c.Resources; r != nil {
		slices.SortFunc(r.Accounts, func(a, b AccountResource) int { return cmp.Or(cmp.Compare(b.Total, a.Total), a.compare(b.Account)) })
		r.Left = max(0, len(r.Accounts)-maxListed)
		r.Accounts = r.Accounts[:len(r.Accounts)-r.Left]
	}
	slices.SortFunc(c.Daily, func(a, b Series) int {
		return cmp.Or(cmp.Compare(sum(b.Values), sum(a.Values)), a.compare(b.Account), strings.Compare(a.Source, b.Source), strings.Compare(a.Currency, b.Currency))
	})
	c.Daily = c.Daily[:min(len(c.Daily), maxListed)]
	return json.Marshal(c)
}

func bytesOf(a *AccountTelemetry) (n uint64) {
	for _, t := range a.Signals {
		n += t.Bytes
	}
	return n
}

func sum(values []float64) (s float64) {
	for _, v := range values {
		s += v
	}
	return s
}

// Wasted is a service that costs money and does nothing for it.
type Wasted struct {
	Account
	// Hourly is what it costs an hour.
	Hourly   float64 `json:"hourly"`
	Currency string  `json:"currency"`
	// Reason is no_requests (it is paid for and served nothing in the last window), unused (it uses less than half of what is set aside
	// for it; Hourly is the unused part), unmounted, idle (machines nobody uses) or unallocated (nobody owns it).
	Reason string `json:"reason"`
}

// Waste lists what is paid for nothing, the dearest first: services without requests, whatever is set aside and unused, and what belongs
// to nobody. A service about which no span was ever seen is no_requests too: then its spans do not come this way, or it has none.
func (r *Resources) Waste() []Wasted {
	var out []Wasted
	for i := range r.Accounts {
		a := &r.Accounts[i]
		w := Wasted{Account: a.Account, Hourly: a.Hourly, Currency: r.Currency}
		switch {
		case a.Hourly <= 0 || math.IsNaN(a.Hourly):
			continue
		case a.Service == "__idle__":
			w.Reason = "idle"
		case a.Service == "__unmounted__":
			w.Reason = "unmounted"
		case a.Requests == 0:
			w.Reason = "no_requests"
		case a.UsageKnown && a.UnusedHourly > a.Hourly/2:
			w.Reason, w.Hourly = "unused", a.UnusedHourly
		case strings.HasPrefix(a.Owner, "__"):
			w.Reason = "unallocated"
		default:
			continue
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Wasted) int { return cmp.Or(cmp.Compare(b.Hourly, a.Hourly), a.compare(b.Account)) })
	return out
}
