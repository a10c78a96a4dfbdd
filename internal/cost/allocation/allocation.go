// SPDX-License-Identifier: Apache-2.0

// Package allocation divides what assets cost among the workloads that ran on them, by the OpenCost model: workloads pay for what they
// reserved or used, whichever is more; what nobody did is idle; shared workloads and overhead are divided among the rest. Every division
// is exact: what goes in comes out, to the last digit.
package allocation

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Resource is a kind of thing that costs.
type Resource int

// The resources of the OpenCost specification.
const (
	CPU Resource = iota
	RAM
	GPU
	Storage
	Network
	LoadBalancer
	Resources
)

var resourceNames = [Resources]string{"cpu", "ram", "gpu", "storage", "network", "load_balancer"}

func (r Resource) String() string { return resourceNames[r] }

// Costs are costs by resource.
type Costs [Resources]money.Amount

// Total is the sum over all resources.
func (c *Costs) Total() money.Amount { return money.Sum(c[:]...) }

func (c *Costs) plus(o *Costs) Costs {
	var sum Costs
	for r := range sum {
		sum[r] = c[r].Plus(o[r])
	}
	return sum
}

// The names of what belongs to nobody, as OpenCost writes them.
const (
	Idle        = "__idle__"
	Unallocated = "__unallocated__"
	Unmounted   = "__unmounted__"
)

// Workload is something that ran: a container, a pod, a process.
type Workload struct {
	// Labels are its dimensions: namespace, service, owner, ….
	Labels map[string]string
	// Pool is where it ran: a node, or a cluster. Idle cost of a pool is shared among the workloads of the pool only.
	Pool string
	// Costs are what it reserved or used, whichever is more.
	Costs Costs
	// Shared workloads are divided among the others, as the policy says.
	Shared bool
	// Unmounted marks storage that no workload mounts.
	Unmounted bool
}

// Asset is something that is paid for, and the resources in it.
type Asset struct {
	// Pool is what the asset belongs to.
	Pool string
	// Costs are what it costs. Costs beyond those of the workloads are idle.
	Costs Costs
}

// Share says how something is divided.
type Share string

// The ways to divide.
const (
	// None leaves it as it is.
	None Share = "none"
	// Even divides it into equal parts.
	Even Share = "even"
	// Weighted divides it by what each costs already.
	Weighted Share = "weighted"
)

// Policy says how costs are grouped and what is divided.
type Policy struct {
	// By are the labels that make a group; a workload without one of them has __unallocated__ in its place.
	By []string
	// Idle says what becomes of idle cost. Weighted divides it by resource within its pool.
	Idle Share
	// SplitIdle keeps idle cost that is not divided apart by pool.
	SplitIdle bool
	// Split says how shared workloads and overhead are divided; None leaves them apart.
	Split Share
	// Overhead is what is paid for beyond the assets: control planes, licences.
	Overhead money.Amount
	// Keep selects workloads; groups show the kept ones, and idle the part that goes with them. Nil keeps all.
	Keep func(*Workload) bool
}

// Group is what one group costs.
type Group struct {
	// Name is the values of the policy's labels, joined by a slash.
	Name string
	// Own is what its workloads cost themselves; Idle, Shared and Overhead are its parts of those.
	Own, Idle, Shared, Overhead money.Amount
}

// Total is all that the group pays.
func (g *Group) Total() money.Amount { return money.Sum(g.Own, g.Idle, g.Shared, g.Overhead) }

// Result is where the money went. Its Total is what came in: assets (or workloads, where they cost more) and overhead.
type Result struct {
	// Groups are sorted by name; __unallocated__ and __unmounted__ are groups.
	Groups []Group
	// Idle is idle cost that was not divided, by pool or under "".
	Idle map[string]money.Amount
	// Shared and Overhead are what could not be divided, because nobody was there or the policy says so.
	Shared, Overhead money.Amount
	// Overrun is by how much workloads cost more than the assets they ran on; part of what groups pay.
	Overrun money.Amount
}

// Total is the sum of everything in the result.
func (r *Result) Total() money.Amount {
	sum := r.Shared.Plus(r.Overhead)
	for i := range r.Groups {
		sum = sum.Plus(r.Groups[i].Total())
	}
	for _, a := range r.Idle {
		sum = sum.Plus(a)
	}
	return sum
}

var errNegative = errors.New("costs must not be negative")

// bucket is the workloads of one group in one pool.
type bucket struct {
	group, pool string
	shared      bool
	costs       Costs
	idle        money.Amount
	kept        bool
}

// Allocate divides the cost of assets among workloads.
func Allocate(workloads []Workload, assets []Asset, p Policy) (*Result, error) {
	buckets, err := collect(workloads, &p)
	if err != nil {
		return nil, err
	}
	idle, overrun, err := idleCosts(buckets, assets)
	if err != nil {
		return nil, err
	}
	out := &Result{Idle: map[string]money.Amount{}, Overrun: overrun}
	left, err := shareIdle(buckets, idle, p.Idle)
	if err != nil {
		return nil, err
	}
	groups := map[string]*Group{}
	before := map[string]money.Amount{} // what a group costs before anything is divided, whether kept or not
	var shared money.Amount
	for _, b := range buckets {
		total := b.costs.Total()
		dividedIdle := b.idle
		if p.Idle != Weighted && p.Idle != Even {
			dividedIdle = money.Amount{}
		}
		if b.shared && p.Split != None && p.Split != "" {
			shared = shared.Plus(total).Plus(dividedIdle)
		} else {
			before[b.group] = before[b.group].Plus(total)
			if g := groupOf(groups, b.group, b.kept); g != nil {
				g.Own = g.Own.Plus(total)
				g.Idle = g.Idle.Plus(dividedIdle)
			}
		}
		if b.kept && dividedIdle.IsZero() && !b.idle.IsZero() {
			out.addIdle(b.pool, b.idle, p.SplitIdle)
		}
	}
	for pool, a := range left {
		if p.Keep == nil {
			out.addIdle(pool, a, p.SplitIdle)
		}
	}
	if out.Shared, err = divide(shared, before, groups, p.Split, p.Keep == nil, func(g *Group, a money.Amount) { g.Shared = g.Shared.Plus(a) }); err != nil {
		return nil, err
	}
	if out.Overhead, err = divide(p.Overhead, before, groups, p.Split, p.Keep == nil, func(g *Group, a money.Amount) { g.Overhead = g.Overhead.Plus(a) }); err != nil {
		return nil, err
	}
	for _, g := range groups {
		out.Groups = append(out.Groups, *g)
	}
	slices.SortFunc(out.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (r *Result) addIdle(pool string, a money.Amount, split bool) {
	if a.IsZero() {
		return
	}
	if !split {
		pool = ""
	}
	r.Idle[pool] = r.Idle[pool].Plus(a)
}

// groupOf is the group of a kept bucket.
func groupOf(groups map[string]*Group, name string, kept bool) *Group {
	if !kept {
		return nil
	}
	g, ok := groups[name]
	if !ok {
		g = &Group{Name: name}
		groups[name] = g
	}
	return g
}

// collect adds workloads up by group, pool and whether they are shared or kept, in a stable order.
func collect(workloads []Workload, p *Policy) ([]*bucket, error) {
	type key struct {
		group, pool  string
		shared, kept bool
	}
	byKey := map[key]*bucket{}
	var out []*bucket
	for i := range workloads {
		w := &workloads[i]
		for r := range w.Costs {
			if w.Costs[r].Sign() < 0 {
				return nil, fmt.Errorf("%w: %s of a workload in %s", errNegative, Resource(r), w.Pool)
			}
		}
		k := key{groupName(w, p.By), w.Pool, w.Shared, p.Keep == nil || p.Keep(w)}
		b, ok := byKey[k]
		if !ok {
			b = &bucket{group: k.group, pool: k.pool, shared: k.shared, kept: k.kept}
			byKey[k] = b
			out = append(out, b)
		}
		b.costs = b.costs.plus(&w.Costs)
	}
	slices.SortStableFunc(out, func(a, b *bucket) int {
		if c := strings.Compare(a.pool, b.pool); c != 0 {
			return c
		}
		return strings.Compare(a.group, b.group)
	})
	return out, nil
}

func groupName(w *Workload, by []string) string {
	if w.Unmounted {
		return Unmounted
	}
	values := make([]string, len(by))
	for i, label := range by {
		if values[i] = w.Labels[label]; values[i] == "" {
			values[i] = Unallocated
		}
	}
	return strings.Join(values, "/")
}

// idleCosts are what assets cost beyond their workloads, by pool and resource. A pool without assets has none.
func idleCosts(buckets []*bucket, assets []Asset) (map[string]*Costs, money.Amount, error) {
	idle := map[string]*Costs{}
	for _, a := range assets {
		for r := range a.Costs {
			if a.Costs[r].Sign() < 0 {
				return nil, money.Amount{}, fmt.Errorf("%w: %s of an asset in %s", errNegative, Resource(r), a.Pool)
			}
		}
		c, ok := idle[a.Pool]
		if !ok {
			c = &Costs{}
			idle[a.Pool] = c
		}
		*c = c.plus(&a.Costs)
	}
	for _, b := range buckets {
		c, ok := idle[b.pool]
		if !ok {
			c = &Costs{}
			idle[b.pool] = c
		}
		for r := range c {
			c[r] = c[r].Minus(b.costs[r])
		}
	}
	var overrun money.Amount
	for _, c := range idle {
		for r := range c {
			if c[r].Sign() < 0 {
				overrun = overrun.Minus(c[r])
				c[r] = money.Amount{}
			}
		}
	}
	return idle, overrun, nil
}

// shareIdle works out which part of the idle cost goes with which bucket, and returns by pool what goes with none.
func shareIdle(buckets []*bucket, idle map[string]*Costs, share Share) (map[string]money.Amount, error) {
	byPool := map[string][]*bucket{}
	for _, b := range buckets {
		byPool[b.pool] = append(byPool[b.pool], b)
	}
	left := map[string]money.Amount{}
	for pool, costs := range idle {
		for r := range costs {
			if costs[r].IsZero() {
				continue
			}
			weights := make([]money.Amount, len(byPool[pool]))
			some := false
			for i, b := range byPool[pool] {
				weights[i] = b.costs[r]
				if share == Even {
					weights[i] = money.FromInt(1)
				}
				some = some || !weights[i].IsZero()
			}
			if !some {
				left[pool] = left[pool].Plus(costs[r])
				continue
			}
			parts, err := money.Split(costs[r], weights)
			if err != nil {
				return nil, err
			}
			for i, b := range byPool[pool] {
				b.idle = b.idle.Plus(parts[i])
			}
		}
	}
	return left, nil
}

// divide divides an amount among groups by what they cost before, and returns what nobody took. Groups that are not kept take their part
// with them.
func divide(amount money.Amount, before map[string]money.Amount, groups map[string]*Group, split Share, all bool, give func(*Group, money.Amount)) (money.Amount, error) {
	if amount.IsZero() || split == None || split == "" {
		return amount, nil
	}
	names := make([]string, 0, len(before))
	for name := range before {
		names = append(names, name)
	}
	slices.Sort(names)
	weights := make([]money.Amount, len(names))
	some := false
	for i, name := range names {
		weights[i] = before[name]
		if split == Even {
			weights[i] = money.FromInt(1)
		}
		some = some || !weights[i].IsZero()
	}
	if !some {
		return amount, nil
	}
	parts, err := money.Split(amount, weights)
	if err != nil {
		return money.Amount{}, err
	}
	for i, name := range names {
		if g := groupOf(groups, name, all || groups[name] != nil); g != nil {
			give(g, parts[i])
		}
	}
	return money.Amount{}, nil
}

// Billable is what a workload pays for: the more of what it reserved and what it used (OpenCost specification, workload costs).
func Billable(request, usage money.Amount) money.Amount {
	if usage.Cmp(request) > 0 {
		return usage
	}
	return request
}
