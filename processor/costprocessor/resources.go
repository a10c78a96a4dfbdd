// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/ownership"
	"github.com/pitwall-io/pitwall/internal/cost/price"
	"github.com/pitwall-io/pitwall/internal/cost/usage"
	"github.com/pitwall-io/pitwall/internal/datapoint"
)

// costKind is what an allocated cost is made of.
type costKind int

const (
	kindOwn costKind = iota
	kindIdle
	kindOverhead
	kindShared
	costKinds
)

func (k costKind) String() string { return [...]string{"own", "idle", "overhead", "shared"}[k] }

// idleService is the service that idle cost nobody shares is accounted to.
const idleService = allocation.Idle

// resourceMeter allocates what machines cost to the services that ran on them.
type resourceMeter struct {
	cfg      *ResourcesConfig
	measures map[string]measure
	overhead money.Amount
	// The files of sheets belong to the one who reloads.
	prices    sheetFile[*price.Sheet]
	emissions sheetFile[*price.CarbonSheet]

	mu       sync.Mutex // guards everything below
	sheet    *price.Sheet
	carbon   *carbonMeter // nil without a carbon sheet
	usage    *usage.Meter
	owners   map[usage.Unit]account
	machines map[string]machine
	closed   time.Time
	totals   map[account]*[costKinds]money.Amount
	window   map[account]money.Amount // allocated in the last window
	hours    float64                  // length of the last window
	unused   map[account]money.Amount // of what is own: set aside and not used
	measured map[account]bool         // whose usage is measured
}

// machine is what is known about a pool.
type machine struct {
	region, instanceType, commitment string
	cores, gib                       float64
}

func newResourceMeter(cfg *ResourcesConfig) (*resourceMeter, error) {
	m := &resourceMeter{
		cfg: cfg, measures: cfg.measures(), sheet: &price.Sheet{}, usage: usage.NewMeter(cfg.MaxGap, cfg.MaxUnits),
		owners: map[usage.Unit]account{}, machines: map[string]machine{}, totals: map[account]*[costKinds]money.Amount{},
		unused: map[account]money.Amount{}, measured: map[account]bool{},
	}
	var err error
	if m.overhead, err = money.FromFloat(cfg.OverheadPerHour); err != nil {
		return nil, fmt.Errorf("overhead_per_hour: %w", err)
	}
	m.prices = sheetFile[*price.Sheet]{key: "price_sheet", path: cfg.PriceSheet, csv: price.ReadCSV, yaml: price.ReadYAML}
	m.emissions = sheetFile[*price.CarbonSheet]{key: "carbon_sheet", path: cfg.CarbonSheet, csv: price.ReadCarbonCSV, yaml: price.ReadCarbonYAML}
	if cfg.CarbonSheet != "" {
		m.carbon = &carbonMeter{sheet: &price.CarbonSheet{}, totals: map[account]*[carbonKinds]money.Amount{}, window: map[account]money.Amount{}}
	}
	for _, r := range m.reload() {
		err = errors.Join(err, r.err)
	}
	return m, err
}

// reload is one attempt to read a sheet that changed.
type reload struct {
	table string
	err   error
}

// reload reads the sheets that changed since the last attempt. One that cannot be read leaves the one before in force.
func (m *resourceMeter) reload() (tried []reload) {
	sheet, changed, err := m.prices.load()
	if changed {
		tried = append(tried, reload{"price_sheet", err})
	}
	emissions, emissionsChanged, emissionsErr := m.emissions.load()
	if emissionsChanged {
		tried = append(tried, reload{"carbon_sheet", emissionsErr})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if changed && err == nil {
		m.sheet = sheet
	}
	if emissionsChanged && emissionsErr == nil {
		m.carbon.sheet = emissions
	}
	return tried
}

// observe takes the usage metrics of one resource and returns how many points found no room. Points that come twice count once.
func (m *resourceMeter) observe(resource pcommon.Resource, a account, rm pmetric.ResourceMetrics) (refused int64) {
	var unit usage.Unit
	known := false
	for _, sm := range rm.ScopeMetrics().All() {
		for _, metric := range sm.Metrics().All() {
			what, ok := m.measures[metric.Name()]
			if !ok {
				continue
			}
			if !known {
				m.mu.Lock()
				defer m.mu.Unlock()
				unit = unitOf(resource.Attributes())
				known = true
			}
			of, ok := what.unit(resource.Attributes(), unit)
			if ok {
				refused += m.take(resource.Attributes(), a, of, metric, what)
			}
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
	if what.process && a.service == unknownService {
		return 0 // a process without a service may run in a container that is measured already
	}
	sample := usage.Sample{Unit: unit, Resource: what.resource, Kind: what.kind, Source: metric.Name(), Counter: what.counter}
	observe := func() {
		if !m.usage.Observe(&sample) {
			refused++
			return
		}
		m.owners[unit] = a
		if what.kind == usage.Capacity {
			m.machine(attrs, unit.Pool, what.resource, sample.Value)
		}
	}
	if what.distinct != nil || what.states != nil {
		var ok bool
		if sample.Value, sample.At, ok = what.whole(points); ok {
			observe()
		}
		return refused
	}
	for _, dp := range points.All() {
		if dp.Flags().NoRecordedValue() || what.sent && !isSent(dp.Attributes()) {
			continue
		}
		sample.Series, sample.At, sample.Value = seriesOf(dp.Attributes()), dp.Timestamp().AsTime(), datapoint.Value(dp)
		observe()
	}
	return refused
}

func (m *resourceMeter) machine(attrs pcommon.Map, pool string, resource allocation.Resource, value float64) {
	machine := m.machines[pool]
	machine.region = first(attrs, machine.region, "cloud.region")
	machine.instanceType = first(attrs, machine.instanceType, "host.type")
	machine.commitment = first(attrs, machine.commitment, "cost.commitment")
	switch resource {
	case allocation.CPU:
		machine.cores = value
	case allocation.RAM:
		machine.gib = value / gibibyte
	default:
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
	m.closed, m.hours = now, hours
	list, err := m.priced(lines, now)
	if err != nil {
		return err
	}
	span, err := money.FromFloat(hours)
	if err != nil {
		return err
	}
	policy := m.policy()
	policy.Overhead = m.overhead.Times(span).Round(18)
	result, err := allocation.Allocate(list.workloads, list.assets, policy)
	if err != nil {
		return err
	}
	for i := range result.Groups {
		g := &result.Groups[i]
		m.book(list.accounts[g.Name], g)
	}
	rest := allocation.Group{Overhead: result.Overhead, Shared: result.Shared}
	for _, idle := range result.Idle {
		rest.Idle = rest.Idle.Plus(idle)
	}
	m.book(account{service: idleService}, &rest)
	if m.carbon != nil {
		if err := m.emitted(lines, now); err != nil {
			return fmt.Errorf("carbon: %w", err)
		}
	}
	maps.DeleteFunc(m.owners, func(u usage.Unit, _ account) bool { return !m.usage.Known(u) })
	maps.DeleteFunc(m.machines, func(pool string, _ machine) bool { return !m.usage.Known(usage.Unit{Pool: pool}) })
	return nil
}

// policy is how idle cost and what is shared are divided.
func (m *resourceMeter) policy() allocation.Policy {
	return allocation.Policy{By: []string{"account"}, Idle: m.cfg.Idle, Split: m.cfg.Split}
}

// shared says whether an account runs for the others.
func (m *resourceMeter) shared(a account) bool {
	return slices.ContainsFunc(m.cfg.Shared, func(pattern string) bool { return ownership.Match(pattern, a.service) })
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
	t[kindShared] = t[kindShared].Plus(g.Shared)
	m.window[a] = m.window[a].Plus(g.Total())
}

// allocatedCosts are the totals since the start and the amounts of the last window, accounts in a stable order.
type allocatedCosts struct {
	accounts       []account
	totals         map[account][costKinds]money.Amount
	window, unused map[account]money.Amount
	measured       map[account]bool
	hours          float64
	requests       requestWindow
	carbon         allocatedCarbon
}

func (m *resourceMeter) allocated() *allocatedCosts {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &allocatedCosts{
		totals: map[account][costKinds]money.Amount{}, window: map[account]money.Amount{}, unused: maps.Clone(m.unused),
		measured: maps.Clone(m.measured), hours: m.hours, carbon: m.carbon.allocated(),
	}
	for a, t := range m.totals {
		out.accounts = append(out.accounts, a)
		out.totals[a] = *t
		out.window[a] = m.window[a]
	}
	for a := range out.carbon.totals {
		if m.totals[a] == nil {
			out.accounts = append(out.accounts, a) // what costs nothing may emit all the same
		}
	}
	slices.SortFunc(out.accounts, compareAccounts)
	return out
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
