// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var (
	_ connector.Traces  = (*instance)(nil)
	_ connector.Metrics = (*instance)(nil)
	_ connector.Logs    = (*instance)(nil)
)

// instance is the connector between one pair of signals. It never returns an error to its sender: what the optimizer makes of the
// data must not hold up the data.
type instance struct {
	id       component.ID
	registry *registry
	engine   *engine
	next     consumer.Logs
	started  bool
	stopped  bool
}

// Capabilities says that the data is only read.
func (*instance) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start opens the shared engine if this is its first instance.
func (c *instance) Start(ctx context.Context, host component.Host) error {
	if err := c.registry.start(ctx, c.id, host, c.next); err != nil {
		return err
	}
	c.started = true
	return nil
}

// Shutdown closes the shared engine if this is its last instance.
func (c *instance) Shutdown(ctx context.Context) error {
	if c.stopped {
		return nil
	}
	c.stopped = true
	return c.registry.shutdown(ctx, c.id, c.started)
}

// ConsumeTraces shows the spans to the detectors that read spans.
func (c *instance) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	c.engine.countItems(ctx, "traces", td.SpanCount())
	for _, r := range c.engine.detectors.spans {
		r.readTraces(td)
	}
	c.engine.consumed(ctx, latestSpan(td), false)
	return nil
}

// ConsumeMetrics shows the data points to the detectors that read them.
func (c *instance) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	c.engine.countItems(ctx, "metrics", md.DataPointCount())
	for _, r := range c.engine.detectors.points {
		r.readMetrics(md)
	}
	c.engine.consumed(ctx, latestPoint(md), false)
	return nil
}

// ConsumeLogs takes changes and statistics, and shows the records to the detectors that read them.
func (c *instance) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	c.engine.countItems(ctx, "logs", ld.LogRecordCount())
	c.engine.consumeEvents(ctx, ld)
	urgent := false
	for _, r := range c.engine.detectors.records {
		urgent = r.readLogs(ld) || urgent
	}
	c.engine.consumed(ctx, latestRecord(ld), urgent)
	return nil
}
