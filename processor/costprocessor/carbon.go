// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/price"
	"github.com/pitwall-io/pitwall/internal/cost/usage"
)

// carbonKind is what emissions come from, as the Software Carbon Intensity specification takes them apart.
type carbonKind int

const (
	carbonOperational carbonKind = iota
	carbonEmbodied
	carbonKinds
)

func (k carbonKind) String() string { return [...]string{"operational", "embodied"}[k] }

// carbonMeter divides what machines emit among those for whom they run, in grams, by the rules by which their cost is divided. It is
// guarded by the lock of its resourceMeter.
type carbonMeter struct {
	sheet  *price.CarbonSheet
	totals map[account]*[carbonKinds]money.Amount
	window map[account]money.Amount
}

// busyPool is a name that no machine has.
const busyPool = "\x00busy"

// emitted closes a window of emissions: m.mu is held.
func (m *resourceMeter) emitted(lines []usage.Line, now time.Time) error {
	c := m.carbon
	c.window = map[account]money.Amount{}
	emissions := map[string]price.Emissions{}
	of := func(pool string) (price.Emissions, error) {
		e, ok := emissions[pool]
		if !ok {
			q, err := m.query(pool, now)
			if err != nil {
				return e, err
			}
			e = c.sheet.Emissions(q)
			emissions[pool] = e
		}
		return e, nil
	}
	for kind := range carbonKinds {
		busy := map[account]money.Amount{}
		list, err := m.price(lines, pricing{
			rates: func(pool string) (allocation.Costs, error) {
				e, err := of(pool)
				if kind == carbonEmbodied {
					return allocation.Costs{allocation.CPU: e.Embodied}, err
				}
				return allocation.Costs{
					allocation.CPU: e.CPU, allocation.RAM: e.RAM, allocation.GPU: e.GPU, allocation.Storage: e.Storage, allocation.Network: e.Network,
				}, err
			},
			note: func(a account, l *usage.Line, _ *[3]allocation.Costs) error {
				if kind != carbonOperational {
					return nil
				}
				e, err := of(l.Unit.Pool)
				if err != nil || e.Busy.IsZero() {
					return err
				}
				hours, err := money.FromFloat(l.Hours[allocation.CPU][usage.Used])
				busy[a] = busy[a].Plus(hours.Times(e.Busy).Round(18))
				return err
			},
		})
		if err != nil {
			return err
		}
		// What cores add when they work is nobody's to leave idle: a pool of its own.
		var added allocation.Costs
		for a, grams := range busy {
			list.add(a, busyPool, allocation.Costs{allocation.CPU: grams})
			added[allocation.CPU] = added[allocation.CPU].Plus(grams)
		}
		list.assets = append(list.assets, allocation.Asset{Pool: busyPool, Costs: added})
		result, err := allocation.Allocate(list.workloads, list.assets, m.policy())
		if err != nil {
			return err
		}
		for i := range result.Groups {
			c.book(list.accounts[result.Groups[i].Name], kind, result.Groups[i].Total(), m.cfg.MaxUnits)
		}
		for _, idle := range result.Idle {
			c.book(account{service: idleService}, kind, idle, m.cfg.MaxUnits)
		}
		c.book(account{service: idleService}, kind, result.Shared, m.cfg.MaxUnits)
	}
	return nil
}

func (c *carbonMeter) book(a account, kind carbonKind, grams money.Amount, limit int) {
	if grams.IsZero() {
		return
	}
	t, ok := c.totals[a]
	if !ok {
		if len(c.totals) >= limit {
			a = account{service: overflow, owner: overflow}
			t = c.totals[a]
		}
		if t == nil {
			t = &[carbonKinds]money.Amount{}
			c.totals[a] = t
		}
	}
	t[kind] = t[kind].Plus(grams)
	c.window[a] = c.window[a].Plus(grams)
}

// allocatedCarbon is what every account emitted, since the start and in the last window.
type allocatedCarbon struct {
	totals map[account][carbonKinds]money.Amount
	window map[account]money.Amount
}

func (c *carbonMeter) allocated() allocatedCarbon {
	out := allocatedCarbon{totals: map[account][carbonKinds]money.Amount{}, window: map[account]money.Amount{}}
	if c == nil {
		return out
	}
	for a, t := range c.totals {
		out.totals[a] = *t
		out.window[a] = c.window[a]
	}
	return out
}

// carbonMetrics are cost.carbon of an account since the start and cost.carbon.per_request, its Software Carbon Intensity with requests as
// the functional unit, of the last window.
func (e *engine) carbonMetrics(sm pmetric.ScopeMetrics, a account, costs *allocatedCosts, started, now time.Time) {
	totals, ok := costs.carbon.totals[a]
	if !ok {
		return
	}
	carbon := cumulative(sm, "cost.carbon", "g", "CO2 equivalent of what the service reserved or used, and its part of what is idle.")
	for kind := range carbonKinds {
		if totals[kind].IsZero() {
			continue
		}
		dp := carbon.Sum().DataPoints().AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(started))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
		dp.SetDoubleValue(totals[kind].Float64())
		dp.Attributes().PutStr("cost.kind", kind.String())
	}
	p := newPerRequest(sm, now, "cost.carbon.per_request", "g", "CO2 equivalent of one request in the last window.", "")
	p.served(costs.carbon.window[a], costs.requests.accounts[a])
	p.entered(a, costs.carbon.window, &costs.requests)
	p.done()
}
