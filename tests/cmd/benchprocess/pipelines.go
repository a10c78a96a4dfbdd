// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// pipeline is one thing to measure.
type pipeline struct {
	name string
	// forwards says that spans reach the sink, so that a measurement ends when
	// the last one did.
	forwards bool
	// extensions, processors and connectors are configured beside what all have.
	extensions, processors, connectors string
	// enabled lists the extensions, pipelines is service::pipelines.
	enabled, pipelines string
	// wanted is the goal, in words.
	wanted string
}

const (
	// reference is what the others are compared with.
	reference = "forward: otlp → otlp"

	objectives = `
  slo:
    objectives:
      - {name: availability, group_by: [service.name], target: 0.995, window: 30d, indicator: {spans: {}}}
      - {name: latency, group_by: [service.name], target: 0.95, window: 30d, indicator: {spans: {latency: 300ms}}}
`
	counting = `
  memory_limiter: {check_interval: 1s, limit_mib: 1024, spike_limit_mib: 256}
  sli: {mode: count}
`
)

var pipelines = []pipeline{
	{
		name:      "receive only: otlp → nop",
		pipelines: `    traces: {receivers: [otlp], exporters: [nop]}`,
	},
	{
		name:      reference,
		forwards:  true,
		pipelines: `    traces: {receivers: [otlp], exporters: [otlp_grpc]}`,
	},
	{
		name:       "chain: otlp → memory_limiter → sli → otlp, slo",
		wanted:     "at least 60 % of forward; 75 % is the goal",
		forwards:   true,
		extensions: objectives, enabled: "slo", processors: counting,
		connectors: "  slo: {flush_interval: 10s}\n",
		pipelines: `    traces: {receivers: [otlp], processors: [memory_limiter, sli], exporters: [otlp_grpc, slo]}
    metrics/slo: {receivers: [slo], exporters: [otlp_grpc]}
    logs/slo: {receivers: [slo], exporters: [otlp_grpc]}`,
	},
	{
		name:       "chain with optimizer",
		wanted:     "at most 15 % less than the chain without",
		forwards:   true,
		extensions: objectives + "  optimization: {endpoint: %[3]q}\n", enabled: "slo, optimization", processors: counting,
		connectors: "  slo: {flush_interval: 10s}\n  optimizer:\n",
		pipelines: `    traces: {receivers: [otlp], processors: [memory_limiter, sli], exporters: [otlp_grpc, slo, optimizer]}
    metrics/slo: {receivers: [slo], exporters: [otlp_grpc, optimizer]}
    logs/slo: {receivers: [slo], exporters: [otlp_grpc, optimizer]}
    logs/signals: {receivers: [optimizer], exporters: [optimization]}`,
	},
}

// config is the collector's configuration between two addresses. api is where
// the optimization extension listens, and signals go to a file in dir.
func (p pipeline) config(otlp, sink, api, dir string) string {
	return fmt.Sprintf(`
extensions:
  file_storage: {directory: %[4]q}
`+p.extensions+`
receivers:
  otlp: {protocols: {grpc: {endpoint: %[1]q, max_recv_msg_size_mib: 64}}}
processors:
`+p.processors+`
connectors:
`+p.connectors+`
exporters:
  nop:
  otlp_grpc:
    endpoint: %[2]q
    tls: {insecure: true}
    compression: none
    sending_queue: {queue_size: 100, block_on_overflow: true}
  optimization: {file: {path: %[4]s/signals.jsonl}}
service:
  telemetry: {metrics: {level: none}, logs: {level: info}}
  extensions: [`+p.enabled+`]
  pipelines:
`+p.pipelines+`
`, otlp, sink, api, dir)
}
