// SPDX-License-Identifier: Apache-2.0

package allocation_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/figures"
)

type costs map[string]money.Amount

func (c costs) of() allocation.Costs {
	var out allocation.Costs
	for r := range allocation.Resources {
		out[r] = c[r.String()]
	}
	return out
}

type match struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

type asset struct {
	Pool  string `json:"pool"`
	Costs costs  `json:"costs"`
}

type opencost struct {
	Source string `json:"source"`
	// Assets are clusters, NodeAssets the same by node.
	Assets     []asset `json:"assets"`
	NodeAssets []asset `json:"node_assets"`
	Workloads  []struct {
		Labels  map[string]string `json:"labels"`
		Cluster string            `json:"cluster"`
		Node    string            `json:"node"`
		Costs   costs             `json:"costs"`
	} `json:"workloads"`
	Cases []struct {
		ID        string                  `json:"id"`
		By        []string                `json:"by"`
		Idle      allocation.Share        `json:"idle"`
		Split     allocation.Share        `json:"split"`
		SplitIdle bool                    `json:"split_idle"`
		ByNode    bool                    `json:"by_node"`
		Overhead  money.Amount            `json:"overhead"`
		Share     *match                  `json:"share"`
		Keep      *match                  `json:"keep"`
		Results   map[string]money.Amount `json:"results"`
	} `json:"cases"`
}

func TestTheCasesThatOpenCostPublishesComeOutTheSame(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "opencost.json"))
	require.NoError(t, err)
	var data opencost
	require.NoError(t, json.Unmarshal(text, &data))
	require.Len(t, data.Cases, 34)
	t.Cleanup(func() {
		if !t.Failed() {
			figures.Record(t, figures.Figure{
				Table: "Cost", Row: "OpenCost's published allocation cases, within 1e-9", Reached: fmt.Sprintf("%d of %d", len(data.Cases), len(data.Cases)),
				Wanted: "all that have a value", Command: "go test -run OpenCost ./internal/cost/allocation",
			})
		}
	})
	for _, c := range data.Cases {
		t.Run(c.ID, func(t *testing.T) {
			var workloads []allocation.Workload
			for _, w := range data.Workloads {
				pool := w.Cluster
				if c.ByNode {
					pool = w.Node
				}
				workloads = append(workloads, allocation.Workload{
					Labels: w.Labels, Pool: pool, Costs: w.Costs.of(), Shared: c.Share != nil && w.Labels[c.Share.Label] == c.Share.Value,
				})
			}
			var assets []allocation.Asset
			list := data.Assets
			if c.ByNode {
				list = data.NodeAssets
			}
			for _, a := range list {
				assets = append(assets, allocation.Asset{Pool: a.Pool, Costs: a.Costs.of()})
			}
			policy := allocation.Policy{By: c.By, Idle: c.Idle, Split: c.Split, SplitIdle: c.SplitIdle, Overhead: c.Overhead}
			if c.Keep != nil {
				policy.Keep = func(w *allocation.Workload) bool { return w.Labels[c.Keep.Label] == c.Keep.Value }
			}
			got, err := allocation.Allocate(workloads, assets, policy)
			require.NoError(t, err)
			flat := map[string]money.Amount{}
			for _, g := range got.Groups {
				flat[g.Name] = g.Total()
			}
			for pool, a := range got.Idle {
				if pool != "" {
					pool += "/"
				}
				flat[pool+allocation.Idle] = a
			}
			require.Len(t, flat, len(c.Results), "%v", flat)
			for name, want := range c.Results {
				assert.InDelta(t, want.Float64(), flat[name].Float64(), 1e-9, name)
			}
			if c.Keep == nil {
				assert.Equal(t, money.FromInt(112).Plus(c.Overhead).String(), got.Total().String())
			}
		})
	}
}

// Cases that OpenCost names and gives no value for (7a to 7d): nothing to group by, nothing kept, everything shared, the shared kept only.
func TestEdgeCasesKeepTheMoney(t *testing.T) {
	workloads := []allocation.Workload{
		{Labels: map[string]string{"ns": "a"}, Pool: "p", Costs: one(allocation.CPU, "3")},
		{Labels: map[string]string{"ns": "b"}, Pool: "p", Costs: one(allocation.CPU, "4")},
	}
	assets := []allocation.Asset{{Pool: "p", Costs: one(allocation.CPU, "10")}}
	run := func(p allocation.Policy, shared ...int) *allocation.Result {
		list := slices.Clone(workloads)
		for _, i := range shared {
			list[i].Shared = true
		}
		got, err := allocation.Allocate(list, assets, p)
		require.NoError(t, err)
		return got
	}
	got := run(allocation.Policy{})
	require.Len(t, got.Groups, 1)
	assert.Equal(t, "7", got.Groups[0].Total().String(), "one group of all")
	assert.Equal(t, "10", got.Total().String())

	got = run(allocation.Policy{By: []string{"ns"}, Keep: func(*allocation.Workload) bool { return false }})
	assert.True(t, got.Total().IsZero(), "nothing is shown, and nothing made up")

	for _, split := range []allocation.Share{allocation.Even, allocation.Weighted} {
		got = run(allocation.Policy{By: []string{"ns"}, Split: split}, 0, 1)
		assert.Empty(t, got.Groups)
		assert.Equal(t, "7", got.Shared.String(), "nobody is left to share with")
		assert.Equal(t, "10", got.Total().String())

		got = run(allocation.Policy{By: []string{"ns"}, Split: split, Keep: func(w *allocation.Workload) bool { return w.Labels["ns"] == "a" }}, 0)
		assert.Empty(t, got.Groups, "what is shared is with those who are not kept")
	}
}

func TestAWorkloadPaysForTheMoreOfRequestAndUsage(t *testing.T) {
	for _, c := range [][3]string{{"1", "2", "2"}, {"2", "1", "2"}, {"0", "0", "0"}, {"1.5", "1.5", "1.5"}} {
		got := allocation.Billable(money.MustParse(c[0]), money.MustParse(c[1]))
		assert.Equal(t, c[2], got.String())
	}
}

func one(r allocation.Resource, s string) allocation.Costs {
	var c allocation.Costs
	c[r] = money.MustParse(s)
	return c
}

func TestIdleCostOfAPoolWithoutWorkloadsStaysIdle(t *testing.T) {
	for _, share := range []allocation.Share{allocation.None, allocation.Even, allocation.Weighted} {
		got, err := allocation.Allocate(nil, []allocation.Asset{{Pool: "a", Costs: one(allocation.CPU, "5")}}, allocation.Policy{Idle: share, Split: share, Overhead: money.FromInt(2)})
		require.NoError(t, err)
		assert.Empty(t, got.Groups)
		assert.Equal(t, "5", got.Idle[""].String())
		assert.Equal(t, "2", got.Overhead.String())
		assert.Equal(t, "7", got.Total().String())
	}
}

func TestIdleCanBeSharedEvenlyWithinItsPool(t *testing.T) {
	w := []allocation.Workload{
		{Labels: map[string]string{"s": "a"}, Pool: "1", Costs: one(allocation.CPU, "3")},
		{Labels: map[string]string{"s": "b"}, Pool: "1", Costs: one(allocation.CPU, "1")},
		{Labels: map[string]string{"s": "c"}, Pool: "2", Costs: one(allocation.CPU, "1")},
	}
	got, err := allocation.Allocate(w, []allocation.Asset{{Pool: "1", Costs: one(allocation.CPU, "10")}}, allocation.Policy{By: []string{"s"}, Idle: allocation.Even})
	require.NoError(t, err)
	require.Len(t, got.Groups, 3)
	assert.Equal(t, "3", got.Groups[0].Idle.String())
	assert.Equal(t, "3", got.Groups[1].Idle.String())
	assert.Equal(t, "0", got.Groups[2].Idle.String())
	assert.Equal(t, "1", got.Overrun.String(), "pool 2 has no asset: what its workload costs is more than is paid for")
}

func TestUnmountedStorageAndSharedWorkloadsWithNobodyElse(t *testing.T) {
	w := []allocation.Workload{
		{Pool: "1", Unmounted: true, Shared: true, Costs: one(allocation.Storage, "3")},
		{Pool: "1", Shared: true, Costs: one(allocation.CPU, "2")},
	}
	got, err := allocation.Allocate(w, nil, allocation.Policy{By: []string{"s"}, Split: allocation.Weighted})
	require.NoError(t, err)
	assert.Empty(t, got.Groups)
	assert.Equal(t, "5", got.Shared.String())

	got, err = allocation.Allocate(w, nil, allocation.Policy{By: []string{"s"}})
	require.NoError(t, err)
	assert.Equal(t, allocation.Unallocated, got.Groups[0].Name)
	assert.Equal(t, allocation.Unmounted, got.Groups[1].Name)
}

func TestNegativeCostsAreRefused(t *testing.T) {
	_, err := allocation.Allocate([]allocation.Workload{{Costs: one(allocation.RAM, "-1")}}, nil, allocation.Policy{})
	require.ErrorContains(t, err, "ram")
	_, err = allocation.Allocate(nil, []allocation.Asset{{Costs: one(allocation.GPU, "-1")}}, allocation.Policy{})
	require.ErrorContains(t, err, "gpu")
}

// cases is how many random cases run: 10,000 at PITWALL_SCALE=1, at least 100.
func cases(t *testing.T) int {
	t.Helper()
	scale := 0.01
	if s := os.Getenv("PITWALL_SCALE"); s != "" {
		v, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err, "PITWALL_SCALE")
		scale = v
	}
	return max(100, int(10_000*scale))
}

func TestWhateverTheRulesNoMoneyIsLostOrMade(t *testing.T) {
	n := cases(t)
	for seed := range n {
		rng := rand.New(rand.NewPCG(uint64(seed), 42))
		amount := func() money.Amount {
			return money.MustParse(fmt.Sprintf("%d.%011d", rng.IntN(1000), rng.Int64N(100_000_000_000)))
		}
		random := func() allocation.Costs {
			var c allocation.Costs
			for r := range c {
				if rng.IntN(3) > 0 {
					c[r] = amount()
				}
			}
			return c
		}
		pools := 1 + rng.IntN(4)
		workloads := make([]allocation.Workload, rng.IntN(30))
		paid := money.Amount{}
		used := map[string]*allocation.Costs{}
		for i := range workloads {
			w := &workloads[i]
			*w = allocation.Workload{Labels: map[string]string{}, Pool: strconv.Itoa(rng.IntN(pools)), Costs: random(), Shared: rng.IntN(5) == 0, Unmounted: rng.IntN(20) == 0}
			for _, label := range []string{"service", "owner"} {
				if rng.IntN(4) > 0 {
					w.Labels[label] = strconv.Itoa(rng.IntN(5))
				}
			}
			if used[w.Pool] == nil {
				used[w.Pool] = &allocation.Costs{}
			}
			for r := range w.Costs {
				used[w.Pool][r] = used[w.Pool][r].Plus(w.Costs[r])
			}
		}
		var assets []allocation.Asset
		for pool := range pools {
			a := allocation.Asset{Pool: strconv.Itoa(pool), Costs: random()}
			if u := used[a.Pool]; u != nil && rng.IntN(4) > 0 { // mostly assets that hold their workloads
				for r := range a.Costs {
					a.Costs[r] = a.Costs[r].Plus(u[r])
				}
			}
			paid = paid.Plus(a.Costs.Total())
			assets = append(assets, a)
		}
		shares := []allocation.Share{allocation.None, allocation.Even, allocation.Weighted}
		p := allocation.Policy{
			By: [][]string{nil, {"service"}, {"owner"}, {"service", "owner"}}[rng.IntN(4)], Idle: shares[rng.IntN(3)], Split: shares[rng.IntN(3)],
			SplitIdle: rng.IntN(2) == 0, Overhead: amount(),
		}
		got, err := allocation.Allocate(workloads, assets, p)
		require.NoError(t, err)
		want := paid.Plus(p.Overhead).Plus(got.Overrun)
		require.Equal(t, want.String(), got.Total().String(), "seed %d, policy %+v", seed, p)
		for _, g := range got.Groups {
			require.GreaterOrEqual(t, g.Total().Sign(), 0)
		}
		again, err := allocation.Allocate(workloads, assets, p)
		require.NoError(t, err)
		require.Equal(t, got, again, "the same case comes out the same")
	}
	t.Logf("%d random cases", n)
	figures.Record(t, figures.Figure{
		Table: "Cost", Row: "Conservation: allocated, idle, shared, overhead and unallocated are the bill, for random rules", Reached: fmt.Sprintf("%d of %d cases, exactly", n, n),
		Wanted: "10,000, exactly", Command: "PITWALL_SCALE=1 go test -run NoMoney ./internal/cost/allocation",
	})
}

func BenchmarkAllocate(b *testing.B) {
	workloads := make([]allocation.Workload, 1000)
	for i := range workloads {
		workloads[i] = allocation.Workload{Labels: map[string]string{"service": strconv.Itoa(i % 50)}, Pool: strconv.Itoa(i % 20)}
		for r := range workloads[i].Costs {
			workloads[i].Costs[r] = money.MustParse("0.0123")
		}
	}
	var assets []allocation.Asset
	for i := range 20 {
		assets = append(assets, allocation.Asset{Pool: strconv.Itoa(i), Costs: one(allocation.CPU, "3")})
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := allocation.Allocate(workloads, assets, allocation.Policy{By: []string{"service"}, Idle: allocation.Weighted})
		require.NoError(b, err)
	}
}
