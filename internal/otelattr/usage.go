// SPDX-License-Identifier: Apache-2.0

package otelattr

// Names of the metrics that say what is set aside, used and there, from the semantic conventions.
const (
	ContainerCPURequest    = "k8s.container.cpu.request.desired"
	ContainerCPUAllocated  = "k8s.container.cpu.request.current"
	ContainerMemoryRequest = "k8s.container.memory.request.desired"
	ContainerMemoryGranted = "k8s.container.memory.request.current"
	ContainerCPUUsage      = "container.cpu.usage"
	ContainerCPUTime       = "container.cpu.time"
	ContainerMemoryWorking = "container.memory.working_set"
	ProcessCPUTime         = "process.cpu.time"
	ProcessMemoryUsage     = "process.memory.usage"
	NodeCPUAllocatable     = "k8s.node.cpu.allocatable"
	NodeMemoryAllocatable  = "k8s.node.memory.allocatable"
	SystemCPULogicalCount  = "system.cpu.logical.count"
	SystemMemoryLimit      = "system.memory.limit"
	SystemCPUTime          = "system.cpu.time"
	SystemMemoryUsage      = "system.memory.usage"
	PodNetworkIO           = "k8s.pod.network.io"
	ContainerNetworkIO     = "container.network.io"
	PodVolumeCapacity      = "k8s.pod.volume.capacity"
	ClaimStorageCapacity   = "k8s.persistentvolumeclaim.storage.capacity"
	ClaimStorageRequest    = "k8s.persistentvolumeclaim.storage.request"
)

// metricAliases lists, for a current metric name, the names it had before, newest first: those of earlier semantic conventions, and those
// of the kubelet, cluster and host receivers, which came before any convention.
var metricAliases = map[string][]string{
	ContainerCPURequest:    {"k8s.container.cpu.request", "k8s.container.cpu_request"},
	ContainerMemoryRequest: {"k8s.container.memory.request", "k8s.container.memory_request"},
	NodeCPUAllocatable:     {"k8s.node.allocatable.cpu", "k8s.node.allocatable_cpu"},
	NodeMemoryAllocatable:  {"k8s.node.allocatable.memory", "k8s.node.allocatable_memory"},
	ContainerCPUUsage:      {"container.cpu.usage.total"},
	ProcessMemoryUsage:     {"process.memory.physical_usage"},
	ContainerNetworkIO:     {"container.network.io.usage.tx_bytes"},
	PodVolumeCapacity:      {"k8s.volume.capacity"},
}

// MetricAliases returns the older names of a metric, newest first; nil when it has none. The caller must not change the slice.
func MetricAliases(name string) []string { return metricAliases[name] }
