// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/cost/budget"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/report"
)

// board is implemented by the optimization extension: others read there what is published.
type board interface {
	PublishSnapshot(topic, source string, body json.RawMessage) error
}

// findBoard is the board among the extensions of a host, the one whose name sorts first; nil without one.
func findBoard(host component.Host) board {
	extensions := host.GetExtensions()
	for _, id := range slices.SortedFunc(maps.Keys(extensions), func(a, b component.ID) int { return strings.Compare(a.String(), b.String()) }) {
		if b, ok := extensions[id].(board); ok {
			return b
		}
	}
	return nil
}

// publishPrices tells the board what the backend charges.
func (e *engine) publishPrices(ctx context.Context) {
	if e.board == nil || !e.cfg.Telemetry.Enabled || len(e.cfg.Telemetry.Prices) == 0 {
		return
	}
	p := report.Prices{Schema: report.SchemaPrices, Currency: e.cfg.Telemetry.Currency, Signals: map[string]report.Price{}}
	for signal, price := range e.cfg.Telemetry.Prices {
		p.Signals[signal] = report.Price{PerGB: price.PerGB, PerMillion: price.PerMillion, PerSeriesMonth: price.PerSeriesMonth}
	}
	body, err := json.Marshal(p)
	e.publish(ctx, report.TopicPrices, body, err)
}

func (e *engine) publish(ctx context.Context, topic string, body json.RawMessage, err error) {
	if err == nil {
		err = e.board.PublishSnapshot(topic, e.id.String(), body)
	}
	if err != nil {
		e.tel.CostSnapshotFailures.Add(ctx, 1)
		e.set.Logger.Warn("Snapshot cannot be published", zap.String("topic", topic), zap.Error(err))
	}
}

// publishCosts tells the board what was counted and allocated so far.
func (e *engine) publishCosts(ctx context.Context, lines []telemetryLine, allocated *allocatedCosts, started, now time.Time) {
	if e.board == nil {
		return
	}
	c := report.Costs{Since: started.UTC(), At: now.UTC(), Telemetry: e.telemetryReport(lines), Resources: e.resourceReport(allocated)}
	for source := range moneySources {
		if total, suggestions := e.nobodys(source, allocated); !total.IsZero() {
			u := report.Unallocated{Currency: e.currency(source), Total: total.Float64()}
			for _, s := range suggestions {
				u.Resolvable = append(u.Resolvable, report.Resolvable{Attribute: s.Attribute, Values: s.Values, Amount: s.Resolved.Float64()})
			}
			if c.Unallocated == nil {
				c.Unallocated = map[string]report.Unallocated{}
			}
			c.Unallocated[source.String()] = u
		}
	}
	c.Budgets = e.budgets.report(now)
	c.Daily = e.daily.report()
	body, err := c.Marshal()
	e.publish(ctx, report.TopicCosts, body, err)
}

func (a account) report() report.Account {
	return report.Account{Service: a.service, Owner: a.owner, CostCenter: a.costCenter}
}

func (e *engine) telemetryReport(lines []telemetryLine) *report.Telemetry {
	if !e.cfg.Telemetry.Enabled {
		return nil
	}
	t := &report.Telemetry{Stage: e.cfg.Telemetry.Stage, Currency: e.cfg.Telemetry.Currency, Accounts: []report.AccountTelemetry{}}
	var total, totalSaved money.Amount
	for i := range lines {
		l := &lines[i]
		amount, saved := money.Sum(l.amount[:]...), money.Sum(l.saved[:]...)
		total, totalSaved = total.Plus(amount), totalSaved.Plus(saved)
		a := report.AccountTelemetry{
			Account: l.account.report(), Signals: map[string]report.Traffic{}, Series: l.series,
			Amount: amount.Float64(), Saved: saved.Float64(),
		}
		for sig := range signals {
			if u := l.usage[sig]; u != (traffic{}) || !l.amount[sig].IsZero() {
				a.Signals[sig.String()] = report.Traffic{Items: u.items, Bytes: u.bytes, Amount: l.amount[sig].Float64()}
			}
		}
		t.Accounts = append(t.Accounts, a)
		t.Baseline = cmp.Or(t.Baseline, l.baseline)
	}
	t.Amount, t.Saved = total.Float64(), totalSaved.Float64()
	return t
}

func (e *engine) resourceReport(allocated *allocatedCosts) *report.Resources {
	if allocated == nil {
		return nil
	}
	r := &report.Resources{Currency: e.cfg.Resources.Currency, Accounts: []report.AccountResource{}, WindowHours: allocated.hours}
	var total money.Amount
	for _, a := range allocated.accounts {
		t := allocated.totals[a]
		all := money.Sum(t[:]...)
		total = total.Plus(all)
		line := report.AccountResource{
			Account: a.report(), Own: t[kindOwn].Float64(), Idle: t[kindIdle].Float64(), Overhead: t[kindOverhead].Float64(), Shared: t[kindShared].Float64(), Total: all.Float64(),
			UsageKnown: allocated.measured[a], Spoken: e.requests.spoken(a),
		}
		if allocated.hours > 0 {
			line.Hourly = allocated.window[a].Float64() / allocated.hours
			line.UnusedHourly = allocated.unused[a].Float64() / allocated.hours
		}
		if n := allocated.requests.accounts[a]; n != nil && n.all.Count > 0 {
			line.Requests = n.all.Count
			line.PerRequest = allocated.window[a].Float64() / n.all.Count
			line.CarbonPerRequest = allocated.carbon.window[a].Float64() / n.all.Count
		}
		if grams, ok := allocated.carbon.totals[a]; ok {
			line.Carbon = money.Sum(grams[:]...).Float64()
		}
		r.Accounts = append(r.Accounts, line)
	}
	r.Total = total.Float64()
	return r
}

// report is how every budget stands.
func (b *budgets) report(now time.Time) []report.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []report.Budget
	for i := range b.list {
		s := &b.list[i]
		status := s.series.Against(s.limit, now)
		line := report.Budget{
			Name: s.cfg.Name, Match: s.cfg.Match, Currency: s.cfg.Currency, Limit: s.limit.Float64(), Spent: status.Spent.Float64(),
			Expected: status.Expected, Low: status.Low, High: status.High, Burn: status.Burn,
		}
		if !status.Breach.IsZero() {
			line.Breach = status.Breach.Format(time.DateOnly)
		}
		out = append(out, line)
	}
	return out
}

// report is the daily series, each from its first day to its last without a gap.
func (d *daily) report() []report.Series {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]report.Series, 0, len(d.series))
	for key, s := range d.series {
		first, values := dense(s)
		if len(values) == 0 {
			continue
		}
		out = append(out, report.Series{
			Account: key.account.report(), Source: string(key.source), Currency: key.currency, First: first.Format(time.DateOnly), Values: values,
		})
	}
	return out
}

// dense is the days of a series from the first to the last, days without an amount as 0.
func dense(s *budget.Series) (time.Time, []float64) {
	days := s.Days()
	if len(days) == 0 {
		return time.Time{}, nil
	}
	first, last := slices.Min(slices.Collect(maps.Keys(days))), slices.Max(slices.Collect(maps.Keys(days)))
	values := make([]float64, last-first+1)
	for day, amount := range days {
		values[day-first] = amount.Float64()
	}
	return time.Unix(int64(first)*86400, 0).UTC(), values
}
