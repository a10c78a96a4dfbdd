// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/price"
	"github.com/pitwall-io/pitwall/internal/cost/usage"
)

// resourceUnits are how much of what is measured one unit of a price is: hours of a core or a device, of 2^30 bytes, or 2^30 bytes sent
// (a running total counts in hours too: the meter divides it by 3,600 seconds).
var resourceUnits = [allocation.Resources]float64{
	allocation.CPU: 1, allocation.RAM: gibibyte, allocation.GPU: 1, allocation.Storage: gibibyte, allocation.Network: gibibyte / 3600.0,
	allocation.LoadBalancer: 1,
}

func ratesOf(r *price.Rates) allocation.Costs {
	return allocation.Costs{
		allocation.CPU: r.CPU, allocation.RAM: r.RAM, allocation.GPU: r.GPU, allocation.Storage: r.Storage, allocation.Network: r.Network,
	}
}

// priceList is the workloads and assets of one window.
type priceList struct {
	workloads []allocation.Workload
	assets    []allocation.Asset
	accounts  map[string]account
	shared    func(account) bool
	// volumes are the workloads and the asset of each volume.
	volumes map[string]*volume
	order   []string // of volumes
}

type volume struct {
	asset  money.Amount
	owner  account
	mounts []mount
}

type mount struct {
	account  account
	capacity money.Amount
}

// pricing says what things cost, in money or in grams.
type pricing struct {
	rates func(pool string) (allocation.Costs, error)
	// note looks at every workload that is not a volume, with its costs by kind.
	note func(a account, l *usage.Line, costs *[3]allocation.Costs) error
}

// priced turns hours into what workloads and assets cost; m.mu is held.
func (m *resourceMeter) priced(lines []usage.Line, now time.Time) (*priceList, error) {
	m.unused, m.measured = map[account]money.Amount{}, map[account]bool{}
	return m.price(lines, pricing{
		rates: func(pool string) (allocation.Costs, error) {
			rates, err := m.rates(pool, now)
			return ratesOf(&rates), err
		},
		note: func(a account, _ *usage.Line, costs *[3]allocation.Costs) error {
			for r := range allocation.Resources {
				requested, used := costs[usage.Request][r], costs[usage.Used][r]
				if !used.IsZero() && !requested.IsZero() {
					m.measured[a] = true
					m.unused[a] = m.unused[a].Plus(allocation.Billable(requested, used).Minus(used))
				}
			}
			return nil
		},
	})
}

// price turns hours into workloads and assets; m.mu is held.
func (m *resourceMeter) price(lines []usage.Line, p pricing) (*priceList, error) {
	list := &priceList{accounts: map[string]account{}, volumes: map[string]*volume{}, shared: m.shared}
	for i := range lines {
		if err := m.line(list, &lines[i], &p); err != nil {
			return nil, err
		}
	}
	for _, pool := range list.order {
		if err := list.mounted(pool); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// line prices one unit; m.mu is held.
func (m *resourceMeter) line(list *priceList, l *usage.Line, p *pricing) error {
	rates, err := p.rates(l.Unit.Pool)
	if err != nil {
		return err
	}
	var costs [3]allocation.Costs // by kind
	for r, rate := range rates {
		if rate.IsZero() {
			continue
		}
		for kind := range costs {
			amount, err := money.FromFloat(l.Hours[r][kind] / resourceUnits[r])
			if err != nil {
				return err
			}
			costs[kind][r] = amount.Times(rate).Round(18)
		}
	}
	requested, used, capacity := &costs[usage.Request], &costs[usage.Used], &costs[usage.Capacity]
	a := m.owners[l.Unit]
	if strings.HasPrefix(l.Unit.Pool, volumePrefix) {
		v, ok := list.volumes[l.Unit.Pool]
		if !ok {
			v = &volume{}
			list.volumes[l.Unit.Pool] = v
			list.order = append(list.order, l.Unit.Pool)
		}
		if l.Unit.ID == "" {
			v.asset, v.owner = capacity[allocation.Storage], a
		} else {
			v.mounts = append(v.mounts, mount{a, requested[allocation.Storage]})
		}
		return nil
	}
	if l.Unit.ID == "" {
		list.assets = append(list.assets, allocation.Asset{Pool: l.Unit.Pool, Costs: *capacity})
		return nil
	}
	var billable allocation.Costs
	for r := range billable {
		billable[r] = allocation.Billable(requested[r], used[r])
	}
	list.add(a, l.Unit.Pool, billable)
	return p.note(a, l, &costs)
}

func (p *priceList) add(a account, pool string, costs allocation.Costs) {
	name := a.service + "\x00" + a.owner + "\x00" + a.costCenter
	p.accounts[name] = a
	p.workloads = append(p.workloads, allocation.Workload{Labels: map[string]string{"account": name}, Pool: pool, Costs: costs, Shared: p.shared(a)})
}

// mounted divides a volume evenly among those who mount it; one that nobody mounts is accounted to __unmounted__, with its own owner. What
// is paid for is the claim, or where it is not reported the largest capacity that a mount shows.
func (p *priceList) mounted(pool string) error {
	v := p.volumes[pool]
	whole := v.asset
	for _, mount := range v.mounts {
		if whole.IsZero() || v.asset.IsZero() && mount.capacity.Cmp(whole) > 0 {
			whole = mount.capacity
		}
	}
	if whole.IsZero() {
		return nil
	}
	if len(v.mounts) == 0 {
		v.mounts = []mount{{account: account{service: allocation.Unmounted, owner: v.owner.owner, costCenter: v.owner.costCenter}}}
	}
	weights := make([]money.Amount, len(v.mounts))
	for i := range weights {
		weights[i] = money.FromInt(1)
	}
	parts, err := money.Split(whole, weights)
	if err != nil {
		return err
	}
	var asset allocation.Costs
	asset[allocation.Storage] = whole
	p.assets = append(p.assets, allocation.Asset{Pool: pool, Costs: asset})
	for i, mount := range v.mounts {
		var costs allocation.Costs
		costs[allocation.Storage] = parts[i]
		p.add(mount.account, pool, costs)
	}
	return nil
}

func (m *resourceMeter) rates(pool string, now time.Time) (price.Rates, error) {
	q, err := m.query(pool, now)
	return m.sheet.Rates(q), err
}

// query asks a sheet about a machine; m.mu is held.
func (m *resourceMeter) query(pool string, now time.Time) (price.Query, error) {
	machine := m.machines[pool]
	q := price.Query{
		At: now, Region: cmp.Or(machine.region, m.cfg.Region), InstanceType: cmp.Or(machine.instanceType, m.cfg.InstanceType),
		Commitment: cmp.Or(machine.commitment, m.cfg.Commitment),
	}
	var err1, err2 error
	q.Cores, err1 = money.FromFloat(machine.cores)
	q.GiB, err2 = money.FromFloat(machine.gib)
	return q, errors.Join(err1, err2)
}
