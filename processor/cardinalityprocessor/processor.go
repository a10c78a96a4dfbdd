// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
)

var _ processor.Metrics = (*cardinality)(nil)

// cardinality is one pipeline's instance of the processor.
type cardinality struct {
	registry *registry
	set      processor.Settings
	cfg      *Config
	next     consumer.Metrics
	engine   *engine
}

// Start joins the engine that all instances with the same component ID share.
func (c *cardinality) Start(ctx context.Context, host component.Host) error {
	e, err := c.registry.acquire(ctx, host, c.set, c.cfg)
	if err != nil {
		return err
	}
	c.engine = e
	return nil
}

// Shutdown leaves the engine.
func (c *cardinality) Shutdown(ctx context.Context) error {
	if c.engine == nil {
		return nil
	}
	e := c.engine
	c.engine = nil
	return c.registry.release(ctx, e)
}

// Capabilities says that data is rewritten in place.
func (*cardinality) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: true}
}

// ConsumeMetrics folds what is over the limits and hands the rest on.
func (c *cardinality) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	return c.engine.consume(ctx, md, c.next)
}
