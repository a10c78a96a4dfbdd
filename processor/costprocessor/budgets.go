// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/budget"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// BudgetSource is where the spending of a budget is read.
type BudgetSource string

// The sources of spending.
const (
	// FromBill is the points of cost.effective that pass through, as the focus receiver emits them.
	FromBill BudgetSource = "bill"
	// FromAllocated is what the processor allocates itself.
	FromAllocated BudgetSource = "allocated"
)

// billMetric is the cost that budgets of a bill are compared with: amortised, so that a yearly fee does not break a month.
const billMetric = "cost.effective"

// budgets keep the daily spending of every budget.
type budgets struct {
	list []budgetState

	mu sync.Mutex // guards the series
}

type budgetState struct {
	cfg    *BudgetConfig
	limit  money.Amount
	series budget.Series
}

func newBudgets(cfg []BudgetConfig) (*budgets, error) {
	b := &budgets{list: make([]budgetState, len(cfg))}
	for i := range cfg {
		limit, err := money.FromFloat(cfg[i].Monthly)
		if err != nil {
			return nil, fmt.Errorf("budgets[%d].monthly: %w", i, err)
		}
		b.list[i] = budgetState{cfg: &cfg[i], limit: limit}
	}
	return b, nil
}

// restore puts back what days returned. Budgets that are no longer configured are forgotten.
func (b *budgets) restore(stored map[string]map[int]money.Amount) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.list {
		b.list[i].series.Restore(stored[b.list[i].cfg.Name])
	}
}

// days are the days of every budget by its name.
func (b *budgets) days() map[string]map[int]money.Amount {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]map[int]money.Amount{}
	for i := range b.list {
		out[b.list[i].cfg.Name] = b.list[i].series.Days()
	}
	return out
}

// spending is one amount on its way into a budget.
type spending struct {
	budget int
	at     time.Time
	amount money.Amount
}

// bill collects what a resource's bill adds to the budgets it belongs to. It counts once the next component accepted it.
func (b *budgets) bill(v *verdict, rm pmetric.ResourceMetrics, to []spending) []spending {
	for i := range b.list {
		cfg := b.list[i].cfg
		if cfg.Source != FromBill || !v.matches(rm.Resource().Attributes(), cfg.Match) {
			continue
		}
		eachBilled(rm, func(at time.Time, currency string, amount money.Amount) {
			if currency == "" || currency == cfg.Currency {
				to = append(to, spending{i, at, amount})
			}
		})
	}
	return to
}

// eachBilled calls f for every point of effective cost that a resource carries: the day, the currency where the point says it, and the amount.
func eachBilled(rm pmetric.ResourceMetrics, f func(at time.Time, currency string, amount money.Amount)) {
	for _, sm := range rm.ScopeMetrics().All() {
		for _, m := range sm.Metrics().All() {
			if m.Name() != billMetric || m.Type() != pmetric.MetricTypeSum || m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityDelta {
				continue
			}
			for _, dp := range m.Sum().DataPoints().All() {
				if amount, err := money.FromFloat(dp.DoubleValue()); err == nil {
					f(dp.StartTimestamp().AsTime(), first(dp.Attributes(), "", "cost.currency"), amount.Round(18))
				}
			}
		}
	}
}

// matches says whether a resource, with the tags it is about to get, has all these attributes.
func (v *verdict) matches(attrs pcommon.Map, match map[string]string) bool {
	for key, want := range match {
		has := first(attrs, "", key)
		for _, tag := range v.put {
			if tag.Key == key {
				has = tag.Value
			}
		}
		if has != want {
			return false
		}
	}
	return true
}

// commit adds what was collected.
func (b *budgets) commit(list []spending) {
	if len(list) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range list {
		b.list[s.budget].series.Add(s.at, s.amount)
	}
}

// allocated adds what was allocated in the last window.
func (b *budgets) allocated(window map[account]money.Amount, now time.Time) {
	var list []spending
	for i := range b.list {
		cfg := b.list[i].cfg
		if cfg.Source != FromAllocated {
			continue
		}
		for a, amount := range window {
			if a.matches(cfg.Match) {
				list = append(list, spending{i, now, amount})
			}
		}
	}
	b.commit(list)
}

func (a account) matches(match map[string]string) bool {
	for key, want := range match {
		has := map[string]string{"service.name": a.service, attrOwner: a.owner, attrCostCenter: a.costCenter}[key]
		if has != want {
			return false
		}
	}
	return true
}

// metrics are the gauges of every budget.
func (b *budgets) metrics(md pmetric.Metrics, now time.Time, collector string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.list {
		s := &b.list[i]
		status := s.series.Against(s.limit, now)
		rm := md.ResourceMetrics().AppendEmpty()
		for _, key := range slices.Sorted(maps.Keys(s.cfg.Match)) {
			rm.Resource().Attributes().PutStr(key, s.cfg.Match[key])
		}
		if collector != "" {
			rm.Resource().Attributes().PutStr("service.instance.id", collector)
		}
		sm := rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName(metadata.ScopeName)
		unit := "{" + s.cfg.Currency + "}"
		gauge := func(name, unit, description string) func(value float64, attribute, is string) {
			m := sm.Metrics().AppendEmpty()
			m.SetName(name)
			m.SetUnit(unit)
			m.SetDescription(description)
			points := m.SetEmptyGauge().DataPoints()
			return func(value float64, attribute, is string) {
				dp := points.AppendEmpty()
				dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
				dp.SetDoubleValue(value)
				dp.Attributes().PutStr("cost.budget", s.cfg.Name)
				if attribute != "" {
					dp.Attributes().PutStr(attribute, is)
				}
			}
		}
		gauge("cost.budget.limit", unit, "What may be spent in the month.")(s.limit.Float64(), "", "")
		gauge("cost.budget.spent", unit, "What the days of the month that are over cost.")(status.Spent.Float64(), "", "")
		forecast := gauge("cost.budget.forecast", unit, "What the month comes to, with its 90 % prediction interval.")
		forecast(status.Expected, "cost.forecast", "expected")
		forecast(status.Low, "cost.forecast", "low")
		forecast(status.High, "cost.forecast", "high")
		if len(status.Burn) == 0 {
			continue
		}
		burn := gauge("cost.budget.burn_rate", "{burn_rate}", "How many times faster than the limit allows the money went.")
		for _, window := range budget.Windows() {
			if rate, ok := status.Burn[window]; ok {
				burn(rate, "cost.window", window)
			}
		}
	}
}
