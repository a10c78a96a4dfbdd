// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// sheetOf writes a price sheet and makes a rig that allocates with it.
func sheetOf(t *testing.T, text string, change func(*Config)) (*rig, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prices.csv")
	write(t, path, text)
	return newRig(t, func(c *Config) {
		c.Telemetry.Enabled = false
		c.Resources.Enabled, c.Resources.PriceSheet, c.Resources.MaxGap = true, path, time.Hour
		if change != nil {
			change(c)
		}
	}), path
}

// run feeds the same levels at noon and an hour later, and returns what was allocated in that hour.
func run(t *testing.T, r *rig, list ...func(at time.Time) pmetric.Metrics) map[string]float64 {
	t.Helper()
	r.engine.now = func() time.Time { return noon }
	r.engine.emit(t.Context())
	for _, at := range []time.Time{noon, noon.Add(time.Hour)} {
		for _, md := range list {
			require.NoError(t, r.pm.ConsumeMetrics(t.Context(), md(at)))
		}
	}
	r.metrics.Reset()
	r.engine.now = func() time.Time { return noon.Add(time.Hour) }
	r.engine.emit(t.Context())
	return emitted(r, "cost.allocated", "cost.kind")
}

func levels(attrs map[string]any, values map[string]float64) func(time.Time) pmetric.Metrics {
	return func(at time.Time) pmetric.Metrics { return level(attrs, at, values) }
}

func TestEveryGenerationOfNamesGivesTheSameCost(t *testing.T) {
	for generation, names := range map[string][4]string{
		"receivers":           {"k8s.node.allocatable_cpu", "k8s.node.allocatable_memory", "k8s.container.cpu_request", "k8s.container.memory_request"},
		"earlier conventions": {"k8s.node.allocatable.cpu", "k8s.node.allocatable.memory", "k8s.container.cpu.request", "k8s.container.memory.request"},
		"conventions today":   {"k8s.node.cpu.allocatable", "k8s.node.memory.allocatable", "k8s.container.cpu.request.desired", "k8s.container.memory.request.desired"},
	} {
		t.Run(generation, func(t *testing.T) {
			r, _ := sheetOf(t, "cpu_core_hour,ram_gib_hour\n0.04,0.005\n", nil)
			got := run(t, r,
				levels(map[string]any{"k8s.node.name": "node-1"}, map[string]float64{names[0]: 4, names[1]: 16 << 30}),
				levels(container("a", "pod-a"), map[string]float64{names[2]: 1, names[3]: 4 << 30}),
			)
			assert.InDelta(t, 0.04+4*0.005, got["a own"], 1e-12)
			assert.InDelta(t, 3*0.04+12*0.005, got["__idle__ idle"], 1e-12)
			r.stop(t)
		})
	}
}

// hostMetrics is what the host receiver reports by default: processor time by processor and state, memory by state.
func hostMetrics(at time.Time, cpuName, stateName string) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("host.name", "vm-1")
	list := rm.ScopeMetrics().AppendEmpty().Metrics()
	point := func(m pmetric.Metric, value float64, attrs ...string) {
		dp := m.Sum().DataPoints().AppendEmpty()
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetDoubleValue(value)
		for i := 0; i < len(attrs); i += 2 {
			dp.Attributes().PutStr(attrs[i], attrs[i+1])
		}
	}
	add := func(name string) pmetric.Metric {
		m := list.AppendEmpty()
		m.SetName(name)
		m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		return m
	}
	cpu := add("system.cpu.time")
	for n := range 64 {
		for _, state := range []string{"user", "system", "idle", "wait", "nice", "interrupt", "softirq", "steal"} {
			point(cpu, float64(at.Unix()%1000+int64(n)), cpuName, fmt.Sprintf("cpu%d", n), stateName, state)
		}
	}
	memory := add("system.memory.usage")
	for state, gib := range map[string]float64{"used": 100, "free": 20, "cached": 7, "buffered": 1, "slab_reclaimable": 5, "slab_unreclaimable": 2} {
		point(memory, gib*(1<<30), stateName, state)
	}
	return md
}

func TestAHostIsAsLargeAsItsProcessorsAndItsMemory(t *testing.T) {
	for _, names := range [][2]string{{"cpu", "state"}, {"cpu.logical_number", "system.memory.state"}} {
		r, _ := sheetOf(t, "cpu_core_hour,ram_gib_hour\n0.04,0.005\n", nil)
		got := run(t, r, func(at time.Time) pmetric.Metrics { return hostMetrics(at, names[0], names[1]) },
			levels(map[string]any{"service.name": "a", "host.name": "vm-1", "process.pid": 1, attrOwner: "x"}, map[string]float64{"process.memory.physical_usage": 8 << 30}))
		assert.InDelta(t, 8*0.005, got["a own"], 1e-9)
		assert.InDelta(t, 64*0.04+(128-8)*0.005, got["__idle__ idle"], 1e-9, "64 cores, 128 GiB")
		assert.Zero(t, r.counter(t, "cost_usage_overflow"), "parts of one machine are not series each")
		r.stop(t)
	}
}

func TestVolumesArePaidForByWhoMountsThem(t *testing.T) {
	r, _ := sheetOf(t, "storage_gb_hour\n0.001\n", nil)
	mounted := func(service, pod, claim string) map[string]any {
		return map[string]any{"service.name": service, "k8s.pod.uid": pod, "k8s.namespace.name": "shop", "k8s.volume.name": "v", "k8s.persistentvolumeclaim.name": claim, attrOwner: "team"}
	}
	claim := func(name string) map[string]any {
		return map[string]any{"k8s.namespace.name": "shop", "k8s.persistentvolumeclaim.name": name, attrOwner: "team-data"}
	}
	got := run(t, r,
		levels(mounted("a", "pod-a", "shared"), map[string]float64{"k8s.volume.capacity": 100 << 30}),
		levels(mounted("b", "pod-b", "shared"), map[string]float64{"k8s.volume.capacity": 100 << 30}),
		levels(claim("shared"), map[string]float64{"k8s.persistentvolumeclaim.storage.capacity": 100 << 30}),
		levels(mounted("c", "pod-c", "own"), map[string]float64{"k8s.pod.volume.capacity": 10 << 30}), // nobody reports the claim
		levels(claim("forgotten"), map[string]float64{"k8s.persistentvolumeclaim.storage.request": 30 << 30}),
		levels(map[string]any{"service.name": "a", "k8s.pod.uid": "pod-a", "k8s.volume.name": "secret"}, map[string]float64{"k8s.volume.capacity": 900 << 30}),
	)
	assert.Equal(t, map[string]float64{"a own": 0.05, "b own": 0.05, "c own": 0.01, "__unmounted__ own": 0.03}, rounded(got))
	for _, a := range r.engine.resources.allocated().accounts {
		if a.service == "__unmounted__" {
			assert.Equal(t, "team-data", a.owner, "somebody owns what nobody mounts")
		}
	}
	r.stop(t)
}

func rounded(values map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for key, v := range values {
		out[key] = float64(int64(v*1e9+0.5)) / 1e9
	}
	return out
}

// podTraffic is a running total of bytes of a pod in both directions.
func podTraffic(service, name, direction string, sentGiB, receivedGiB float64) func(time.Time) pmetric.Metrics {
	return func(at time.Time) pmetric.Metrics {
		md := pmetric.NewMetrics()
		rm := md.ResourceMetrics().AppendEmpty()
		fill(rm.Resource().Attributes(), map[string]any{"service.name": service, "k8s.pod.uid": service, "k8s.node.name": "node-1", attrOwner: "team"})
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(name)
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(true)
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		for which, gib := range map[string]float64{"transmit": sentGiB, "receive": receivedGiB} {
			dp := sum.DataPoints().AppendEmpty()
			dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
			dp.Attributes().PutStr(direction, which)
			dp.SetIntValue(int64(at.Sub(noon).Hours() * gib * (1 << 30)))
		}
		return md
	}
}

func TestTrafficCostsWhatWasSent(t *testing.T) {
	r, _ := sheetOf(t, "network_gib\n0.12\n", nil)
	got := run(t, r,
		podTraffic("a", "k8s.pod.network.io", "direction", 5, 100),
		podTraffic("b", "container.network.io", "network.io.direction", 2, 7),
	)
	assert.Equal(t, map[string]float64{"a own": 0.6, "b own": 0.24}, rounded(got))
	r.stop(t)
}

func TestDevicesAreReadFromMetricsThatTheUserNames(t *testing.T) {
	r, _ := sheetOf(t, "gpu_hour\n2.5\n", func(c *Config) {
		c.Resources.Metrics = map[string]MeasureConfig{"gpu.requested": {Resource: "gpu", Kind: "request"}}
	})
	got := run(t, r,
		levels(map[string]any{"k8s.node.name": "node-1"}, map[string]float64{"k8s.node.allocatable_nvidia_com/gpu": 4}),
		levels(container("model", "pod-m"), map[string]float64{"gpu.requested": 1}),
	)
	assert.Equal(t, map[string]float64{"model own": 2.5, "__idle__ idle": 7.5}, rounded(got))
	r.stop(t)
}

func TestAChangedPriceSheetIsReadAndABrokenOneRefusedWithItsLine(t *testing.T) {
	r, path := sheetOf(t, "cpu_core_hour\n1\n", nil)
	rate := func() string {
		rates, err := r.engine.resources.rates("", noon)
		require.NoError(t, err)
		return rates.CPU.String()
	}
	change := func(text string) error {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		later := time.Now().Add(time.Duration(len(text)) * time.Minute)
		require.NoError(t, os.Chtimes(path, later, later))
		tried := r.engine.resources.reload()
		require.Len(t, tried, 1)
		return tried[0].err
	}
	assert.Equal(t, "1", rate())
	require.NoError(t, change("cpu_core_hour\n22\n"))
	assert.Equal(t, "22", rate())
	err := change("cpu_core_hour\n3\n-444\n")
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "line 3")
	assert.Equal(t, "22", rate(), "the one before stays in force")
	r.engine.reloadPrices(t.Context())
	assert.Zero(t, r.counter(t, "cost_table_reloads", "table", "price_sheet", "outcome", "failure"), "an attempt is not repeated before the file changes")
	require.NoError(t, os.Remove(path))
	r.engine.reloadPrices(t.Context())
	r.engine.reloadPrices(t.Context())
	assert.EqualValues(t, 1, r.counter(t, "cost_table_reloads", "table", "price_sheet", "outcome", "failure"), "a file that vanished is reported once")
	assert.Equal(t, "22", rate())
	write(t, path, "cpu_core_hour\n5\n")
	r.engine.reloadPrices(t.Context())
	assert.EqualValues(t, 1, r.counter(t, "cost_table_reloads", "table", "price_sheet", "outcome", "success"))
	assert.Equal(t, "5", rate())
	r.stop(t)
}

func TestWasteListsTheIdleExpensiveServiceFirst(t *testing.T) {
	host, board := withBoard()
	r := newRigOn(t, host, func(c *Config) {
		c.Resources.Enabled, c.Resources.MaxGap = true, time.Hour
	})
	// busy and lazy serve requests; recommender has resources set aside and serves none.
	requests := func(at time.Time) pmetric.Metrics {
		if at.Equal(noon) {
			require.NoError(t, r.pt.ConsumeTraces(t.Context(), served(container("busy", "pod-b"), "", "/a", "/b")))
			require.NoError(t, r.pt.ConsumeTraces(t.Context(), served(container("lazy", "pod-l"), "", "/c")))
		}
		return pmetric.NewMetrics()
	}
	run(t, r, requests,
		levels(container("busy", "pod-b"), map[string]float64{"k8s.container.cpu.request.desired": 8, "container.cpu.usage": 7}),
		levels(container("lazy", "pod-l"), map[string]float64{"k8s.container.cpu.request.desired": 1, "container.cpu.usage": 0.1}),
		levels(container("recommender", "pod-r"), map[string]float64{"k8s.container.cpu.request.desired": 2}),
	)
	resources := board.costsOf(t, "cost").Resources
	var names []string
	for _, w := range resources.Waste() {
		names = append(names, w.Service+" "+w.Reason)
	}
	assert.Equal(t, []string{"recommender no_requests", "lazy unused"}, names)
	assert.InDelta(t, 2*0.031611, resources.Waste()[0].Hourly, 1e-9, "OpenCost's default price")
	for _, a := range resources.Accounts {
		if a.Service == "busy" {
			assert.InDelta(t, 8*0.031611/2, a.PerRequest, 1e-9)
			assert.True(t, a.Spoken)
		}
	}
	r.stop(t)
}
