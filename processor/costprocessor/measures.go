// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/usage"
	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/internal/otelattr"
)

// measure is what a usage metric says.
type measure struct {
	resource allocation.Resource
	kind     usage.Kind
	// counter marks running totals.
	counter bool
	// process marks metrics of a process, which may run in a container that is measured too.
	process bool
	// volume marks metrics of a volume: what is mounted, or the claim itself when the kind is capacity.
	volume bool
	// sent marks metrics of which only the points about what was sent count.
	sent bool
	// distinct metrics have a point for each part: the level is how many values one of these attributes has.
	distinct []string
	// states metrics have a point for each state: the level is the sum over these.
	states []string
}

// known are the metrics that cost is made from, by the names of today; their older names count too. Several names for one thing are fine:
// the largest counts.
var known = map[string]measure{
	otelattr.ContainerCPURequest:    {resource: allocation.CPU, kind: usage.Request},
	otelattr.ContainerCPUAllocated:  {resource: allocation.CPU, kind: usage.Request},
	otelattr.ContainerMemoryRequest: {resource: allocation.RAM, kind: usage.Request},
	otelattr.ContainerMemoryGranted: {resource: allocation.RAM, kind: usage.Request},
	otelattr.ContainerCPUUsage:      {resource: allocation.CPU, kind: usage.Used},
	otelattr.ContainerCPUTime:       {resource: allocation.CPU, kind: usage.Used, counter: true},
	otelattr.ContainerMemoryWorking: {resource: allocation.RAM, kind: usage.Used},
	otelattr.ProcessCPUTime:         {resource: allocation.CPU, kind: usage.Used, counter: true, process: true},
	otelattr.ProcessMemoryUsage:     {resource: allocation.RAM, kind: usage.Used, process: true},
	otelattr.NodeCPUAllocatable:     {resource: allocation.CPU, kind: usage.Capacity},
	otelattr.NodeMemoryAllocatable:  {resource: allocation.RAM, kind: usage.Capacity},
	otelattr.SystemCPULogicalCount:  {resource: allocation.CPU, kind: usage.Capacity},
	otelattr.SystemMemoryLimit:      {resource: allocation.RAM, kind: usage.Capacity},
	// What the host receiver says when it is not asked for more: time by processor, memory by state. Slabs are part of what is cached.
	otelattr.SystemCPUTime:        {resource: allocation.CPU, kind: usage.Capacity, distinct: []string{"cpu.logical_number", "cpu"}},
	otelattr.SystemMemoryUsage:    {resource: allocation.RAM, kind: usage.Capacity, states: []string{"used", "free", "cached", "buffered"}},
	otelattr.PodNetworkIO:         {resource: allocation.Network, kind: usage.Used, counter: true, sent: true},
	otelattr.ContainerNetworkIO:   {resource: allocation.Network, kind: usage.Used, counter: true, sent: true},
	otelattr.PodVolumeCapacity:    {resource: allocation.Storage, kind: usage.Request, volume: true},
	otelattr.ClaimStorageCapacity: {resource: allocation.Storage, kind: usage.Capacity, volume: true},
	otelattr.ClaimStorageRequest:  {resource: allocation.Storage, kind: usage.Capacity, volume: true},
	// What container runtimes report where there is no working set.
	"container.memory.usage.total": {resource: allocation.RAM, kind: usage.Used},
	// The cluster receiver names what it is told to report by the resource's own name.
	"k8s.node.allocatable_nvidia_com/gpu": {resource: allocation.GPU, kind: usage.Capacity},
	"k8s.node.allocatable_nvidia_com_gpu": {resource: allocation.GPU, kind: usage.Capacity},
}

// resourceNames and kindNames are the words of resources.metrics.
var (
	resourceNames = map[string]allocation.Resource{
		"cpu": allocation.CPU, "ram": allocation.RAM, "gpu": allocation.GPU, "storage": allocation.Storage, "network": allocation.Network,
	}
	kindNames = map[string]usage.Kind{"request": usage.Request, "usage": usage.Used, "capacity": usage.Capacity}
)

// measures are the metrics that are read, by all of their names.
func (r *ResourcesConfig) measures() map[string]measure {
	out := map[string]measure{}
	for name, m := range known {
		out[name] = m
		for _, older := range otelattr.MetricAliases(name) {
			out[older] = m
		}
	}
	for name, m := range r.Metrics {
		out[name] = measure{
			resource: resourceNames[m.Resource], kind: kindNames[m.Kind], counter: m.Counter, volume: m.Resource == "storage",
		}
	}
	return out
}

// volumePrefix begins the pool of a volume: each is an asset of its own, shared by who mounts it.
const volumePrefix = "volume/"

// unit is what a metric of this measure is about, given the machine and the container or process that the resource names; false when it
// is about nothing that can be told apart.
func (m *measure) unit(attrs pcommon.Map, u usage.Unit) (usage.Unit, bool) {
	switch {
	case m.volume:
		claim := first(attrs, "", "k8s.persistentvolumeclaim.name")
		if claim == "" {
			return u, false // a directory of the machine, a secret, a configuration
		}
		u.Pool = volumePrefix + first(attrs, "", "k8s.namespace.name") + "/" + claim
		if m.kind == usage.Capacity {
			u.ID = ""
			return u, true
		}
		u.ID = first(attrs, "", "k8s.pod.uid", "k8s.pod.name")
	case m.kind == usage.Capacity:
		u.ID = ""
		return u, true
	case m.sent && u.ID == "":
		if pod := first(attrs, "", "k8s.pod.uid", "k8s.pod.name"); pod != "" {
			u.ID = pod + "/"
		}
	}
	return u, u.ID != ""
}

// whole is the level that all points of a metric make together, and when: for metrics by part or by state.
func (m *measure) whole(points pmetric.NumberDataPointSlice) (value float64, at time.Time, ok bool) {
	seen := map[string]bool{}
	for _, dp := range points.All() {
		if dp.Flags().NoRecordedValue() {
			continue
		}
		when := dp.Timestamp().AsTime()
		if when.Before(at) {
			continue
		}
		if when.After(at) {
			value, at = 0, when
			clear(seen)
		}
		if part := first(dp.Attributes(), "", m.distinct...); part != "" && !seen[part] {
			seen[part], ok = true, true
			value++
		}
		if slices.Contains(m.states, first(dp.Attributes(), "", "system.memory.state", "state")) {
			value += datapoint.Value(dp)
			ok = true
		}
	}
	return value, at, ok
}

// isSent says whether a point of network traffic is about what was sent, by the names of the conventions and of the older receivers.
func isSent(attrs pcommon.Map) bool {
	switch first(attrs, "transmit", "network.io.direction", "direction") {
	case "transmit", "egress", "tx":
		return true
	}
	return false
}
