// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/price"
	"github.com/pitwall-io/pitwall/internal/cost/usage"
)

// measure is what a usage metric says.
type measure struct {
	resource allocation.Resource
	kind     usage.Kind
	counter  bool
}

// measures are the metrics that cost is made from, in the names of the kubelet, cluster and host receivers and of the semantic conventions.
// Several names for one thing are fine: the largest counts.
var measures = map[string]measure{
	"container.cpu.usage":          {allocation.CPU, usage.Used, false},
	"container.cpu.time":           {allocation.CPU, usage.Used, true},
	"process.cpu.time":             {allocation.CPU, usage.Used, true},
	"container.memory.working_set": {allocation.RAM, usage.Used, false},
	"container.memory.usage.total": {allocation.RAM, usage.Used, false},
	"process.memory.usage":         {allocation.RAM, usage.Used, false},
	"k8s.container.cpu_request":    {allocation.CPU, usage.Request, false},
	"k8s.container.cpu.request":    {allocation.CPU, usage.Request, false},
	"k8s.container.memory_request": {allocation.RAM, usage.Request, false},
	"k8s.container.memory.request": {allocation.RAM, usage.Request, false},
	"k8s.node.allocatable_cpu":     {allocation.CPU, usage.Capacity, false},
	"k8s.node.cpu.allocatable":     {allocation.CPU, usage.Capacity, false},
	"k8s.node.allocatable_memory":  {allocation.RAM, usage.Capacity, false},
	"k8s.node.memory.allocatable":  {allocation.RAM, usage.Capacity, false},
	"system.cpu.logical.count":     {allocation.CPU, usage.Capacity, false},
	"system.memory.limit":          {allocation.RAM, usage.Capacity, false},
}

// costKind is what an allocated cost is made of.
type costKind int

const (
	kindOwn costKind = iota
	kindIdle
	kindOverhead
	costKinds
)

func (k costKind) String() string { return [...]string{"own", "idle", "overhead"}[k] }

// idleService is the service that idle cost nobody shares is accounted to.
const idleService = allocation.Idle

// resourceMeter allocates what machines cost to the services that ran on them.
type resourceMeter struct {
	cfg      *ResourcesConfig
	sheet    *price.Sheet
	overhead money.Amount

	mu       sync.Mutex // guards everything below
	usage    *usage.Meter
	owners   map[usage.Unit]account
	machines map[string]machine
	closed   time.Time
	totals   map[account]*[costKinds]money.Amount
	window   map[account]money.Amount // allocated in the last window
}

// machine is what is known about a pool.
type machine struct {
	region, instanceType, commitment string
	cores, gib                       float64
}

func newResourceMeter(cfg *ResourcesConfig) (*resourceMeter, error) {
	m := &resourceMeter{
		cfg: cfg, sheet: &price.Sheet{}, usage: usage.NewMeter(cfg.MaxGap, cfg.MaxUnits),
		owners: map[usage.Unit]account{}, machines: map[string]machine{}, totals: map[account]*[costKinds]money.Amount{},
	}
	var err error
	if m.overhead, err = money.FromFloat(cfg.OverheadPerHour); err != nil {
		return nil, fmt.Errorf("overhead_per_hour: %w", err)
	}
	if cfg.PriceSheet == "" {
		return m, nil
	}
	file, err := os.Open(cfg.PriceSheet)
	if err != nil {
		return nil, fmt.Errorf("price_sheet: %w", err)
	}
	read := price.ReadCSV
	if ext := strings.ToLower(filepath.Ext(cfg.PriceSheet)); ext == ".yaml" || ext == ".yml" {
		read = price.ReadYAML
	}
	sheet, err := read(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("price_sheet: %s: %w", cfg.PriceSheet, err)
	}
	m.sheet = sheet
	return m, nil
}

// observe takes the usage metrics of one resource and returns how many points found no room. Points that come twice count once.
func (m *resourceMeter) observe(resource pcommon.Resource, a account, rm pmetric.ResourceMetrics) (refused int64) {
	var unit usage.Unit
	known := false
	for _, sm := range rm.ScopeMetrics().All() {
		for _, metric := range sm.Metrics().All() {
			what, ok := measures[metric.Name()]
			if !ok {
				continue
			}
			if !known {
				m.mu.Lock()
				defer m.mu.Unlock()
				unit = unitOf(resource.Attributes())
				known = true
			}
			refused += m.take(resource.Attributes(), a, unit, metric, what)
		}
	}
	return refused
}

// take takes the points of one metric; m.mu is held.
func (m *resourceMeter) take(attrs pcommon.Map, a account, unit usage.Unit, metric pmetric.Metric, what measure) (refused int64) {
	var points pmetric.NumberDataPointSlice
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		points = metric.Gauge().DataPoints()
	case pmetric.MetricTypeSum:
		points = metric.Sum().DataPoints()
		if metric.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
			return 0
		}
	default:
		return 0
	}
	if what.kind == usage.Capacity {
		unit.ID = ""
	} else if unit.ID == "" || strings.HasPrefix(metric.Name(), "process.") && a.service == unknownService {
		return 0 // a process without a service may run in a container that is measured already
	}
	for _, dp := range points.All() {
		if dp.Flags().NoRecordedValue() {
			continue
		}
		value := dp.DoubleValue()
		if dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
			value = float64(dp.IntValue())
		}
		if !m.usage.Observe(&usage.Sample{
			Unit: unit, Resource: what.resource, Kind: what.kind, Source: metric.Name(), Series: seriesOf(dp.Attributes()),
			Counter: what.counter, At: dp.Timestamp().AsTime(), Value: value,
		}) {
			refused++
			continue
		}
		if what.kind == usage.Capacity {
			m.machine(attrs, unit.Pool, what.resource, value)
		} else {
			m.owners[unit] = a
		}
	}
	return refused
}

func (m *resourceMeter) machine(attrs pcommon.Map, pool string, resource allocation.Resource, value float64) {
	machine := m.machines[pool]
	machine.region = first(attrs, machine.region, "cloud.region")
	machine.instanceType = first(attrs, machine.instanceType, "host.type")
	machine.commitment = first(attrs, machine.commitment, "cost.commitment")
	if resource == allocation.CPU {
		machine.cores = value
	} else {
		machine.gib = value / gibibyte
	}
	m.machines[pool] = machine
}

const gibibyte = 1 << 30

// unitOf is where a resource runs and what it is there.
func unitOf(attrs pcommon.Map) usage.Unit {
	u := usage.Unit{Pool: first(attrs, "", "k8s.node.name", "host.name", "host.id")}
	container := first(attrs, "", "k8s.container.name", "container.name")
	switch pod := first(attrs, "", "k8s.pod.uid", "k8s.pod.name"); {
	case pod != "" && container != "":
		u.ID = pod + "/" + container
	case pod == "":
		u.ID = first(attrs, "", "container.id", "process.pid", "service.instance.id")
	}
	return u
}

// seriesOf tells the series of one metric apart.
func seriesOf(attrs pcommon.Map) string {
	if attrs.Len() == 0 {
		return ""
	}
	return string(appendKey(nil, attrs))
}

// first is the first of the attributes that is present and not empty, or the default.
func first(attrs pcommon.Map, otherwise string, names ...string) string {
	for _, name := range names {
		if v, ok := attrs.Get(name); ok {
			if s := text(v); s != "" {
				return s
			}
		}
	}
	return otherwise
}

// close ends a window at now: what ran in it is priced and allocated.
func (m *resourceMeter) close(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.window = map[account]money.Amount{}
	lines := m.usage.Close()
	hours := 0.0
	if !m.closed.IsZero() {
		hours = now.Sub(m.closed).Hours()
	}
	m.closed = now
	workloads, assets, accounts, err := m.priced(lines, now)
	if err != nil {
		return err
	}
	span, err := money.FromFloat(hours)
	if err != nil {
		return err
	}
	result, err := allocation.Allocate(workloads, assets, allocation.Policy{
		By: []string{"account"}, Idle: m.cfg.Idle, Split: allocation.Weighted, Overhead: m.overhead.Times(span).Round(18),
	})
	if err != nil {
		return err
	}
	for i := range result.Groups {
		g := &result.Groups[i]
		m.book(accounts[g.Name], g)
	}
	rest := allocation.Group{Overhead: result.Overhead}
	for _, idle := range result.Idle {
		rest.Idle = rest.Idle.Plus(idle)
	}
	m.book(account{service: idleService}, &rest)
	maps.DeleteFunc(m.owners, func(u usage.Unit, _ account) bool { return !m.usage.Known(u) })
	maps.DeleteFunc(m.machines, func(pool string, _ machine) bool { return !m.usage.Known(usage.Unit{Pool: pool}) })
	return nil
}

// priced turns hours into workloads and assets; m.mu is held.
func (m *resourceMeter) priced(lines []usage.Line, now time.Time) ([]allocation.Workload, []allocation.Asset, map[string]account, error) {
	var workloads []allocation.Workload
	var assets []allocation.Asset
	accounts := map[string]account{}
	for i := range lines {
		l := &lines[i]
		rates, err := m.rates(l.Unit.Pool, now)
		if err != nil {
			return nil, nil, nil, err
		}
		var requested, used, capacity allocation.Costs
		for _, r := range []struct {
			resource allocation.Resource
			rate     money.Amount
			unit     float64
		}{{allocation.CPU, rates.CPU, 1}, {allocation.RAM, rates.RAM, gibibyte}} {
			for kind, to := range map[usage.Kind]*allocation.Costs{usage.Request: &requested, usage.Used: &used, usage.Capacity: &capacity} {
				amount, err := money.FromFloat(l.Hours[r.resource][kind] / r.unit)
				if err != nil {
					return nil, nil, nil, err
				}
				to[r.resource] = amount.Times(r.rate).Round(18)
			}
		}
		if l.Unit.ID == "" {
			assets = append(assets, allocation.Asset{Pool: l.Unit.Pool, Costs: capacity})
			continue
		}
		a := m.owners[l.Unit]
		name := a.service + "\x00" + a.owner + "\x00" + a.costCenter
		accounts[name] = a
		w := allocation.Workload{Labels: map[string]string{"account": name}, Pool: l.Unit.Pool}
		for r := range w.Costs {
			w.Costs[r] = allocation.Billable(requested[r], used[r])
		}
		workloads = append(workloads, w)
	}
	return workloads, assets, accounts, nil
}

func (m *resourceMeter) rates(pool string, now time.Time) (price.Rates, error) {
	machine := m.machines[pool]
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	q := price.Query{
		At: now, Region: or(machine.region, m.cfg.Region), InstanceType: or(machine.instanceType, m.cfg.InstanceType),
		Commitment: or(machine.commitment, m.cfg.Commitment),
	}
	var err1, err2 error
	q.Cores, err1 = money.FromFloat(machine.cores)
	q.GiB, err2 = money.FromFloat(machine.gib)
	return m.sheet.Rates(q), errors.Join(err1, err2)
}

// book adds what a group paid; m.mu is held.
func (m *resourceMeter) book(a account, g *allocation.Group) {
	if g.Total().IsZero() {
		return
	}
	t, ok := m.totals[a]
	if !ok {
		if len(m.totals) >= m.cfg.MaxUnits {
			a = account{service: overflow, owner: overflow}
			t = m.totals[a]
		}
		if t == nil {
			t = &[costKinds]money.Amount{}
			m.totals[a] = t
		}
	}
	t[kindOwn] = t[kindOwn].Plus(g.Own)
	t[kindIdle] = t[kindIdle].Plus(g.Idle)
	t[kindOverhead] = t[kindOverhead].Plus(g.Overhead)
	m.window[a] = m.window[a].Plus(g.Total())
}

// allocated are the totals since the start and the amounts of the last window, by account in a stable order.
func (m *resourceMeter) allocated() (accounts []account, totals map[account][costKinds]money.Amount, window map[account]money.Amount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	totals, window = map[account][costKinds]money.Amount{}, map[account]money.Amount{}
	for a, t := range m.totals {
		accounts = append(accounts, a)
		totals[a] = *t
		window[a] = m.window[a]
	}
	slices.SortFunc(accounts, compareAccounts)
	return accounts, totals, window
}

func compareAccounts(a, b account) int {
	if c := strings.Compare(a.service, b.service); c != 0 {
		return c
	}
	if c := strings.Compare(a.owner, b.owner); c != 0 {
		return c
	}
	return strings.Compare(a.costCenter, b.costCenter)
}
