// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/cardinality"
	"github.com/pitwall-io/pitwall/internal/limit"
	"github.com/pitwall-io/pitwall/internal/otelattr"
)

// cardinalityAdapter looks for the marks of folding in metrics. Its lock is taken for folded points only.
type cardinalityAdapter struct {
	mu       sync.Mutex
	detector *cardinality.Detector
	limit    int
}

func newCardinalityAdapter(s surroundings) detect.Detector {
	return &cardinalityAdapter{detector: cardinality.New(cardinality.Default(s.cfg.MaxActiveSignals)), limit: s.cfg.MaxActiveSignals}
}

func (*cardinalityAdapter) Name() string { return "cardinality" }

func (c *cardinalityAdapter) readMetrics(md pmetric.Metrics) {
	for _, rm := range md.ResourceMetrics().All() {
		service := boundedText(rm.Resource().Attributes(), otelattr.ServiceName)
		if service == "" {
			continue
		}
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if len(m.Name()) <= maxString {
					c.readMetric(service, m)
				}
			}
		}
	}
}

func (c *cardinalityAdapter) readMetric(service string, m pmetric.Metric) {
	target := cardinality.Target{Service: service, Metric: m.Name()}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, dp := range m.Gauge().DataPoints().All() {
			c.read(target, dp.Attributes())
		}
	case pmetric.MetricTypeSum:
		for _, dp := range m.Sum().DataPoints().All() {
			c.read(target, dp.Attributes())
		}
	case pmetric.MetricTypeHistogram:
		for _, dp := range m.Histogram().DataPoints().All() {
			c.read(target, dp.Attributes())
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, dp := range m.ExponentialHistogram().DataPoints().All() {
			c.read(target, dp.Attributes())
		}
	case pmetric.MetricTypeSummary:
		for _, dp := range m.Summary().DataPoints().All() {
			c.read(target, dp.Attributes())
		}
	case pmetric.MetricTypeEmpty:
	}
}

func (c *cardinalityAdapter) read(target cardinality.Target, attributes pcommon.Map) {
	for key, v := range attributes.All() {
		switch v.Type() {
		case pcommon.ValueTypeStr:
			if v.Str() != limit.OverflowValue || len(key) > maxString {
				continue
			}
			target.Attribute = key
		case pcommon.ValueTypeBool:
			if key != limit.OverflowAttribute || !v.Bool() {
				continue
			}
			target.Attribute = ""
		default:
			continue
		}
		c.mu.Lock()
		c.detector.Folded(target, 1)
		c.mu.Unlock()
	}
}

func (c *cardinalityAdapter) Fill() detect.Fill {
	c.mu.Lock()
	defer c.mu.Unlock()
	return detect.Fill{Used: c.detector.Targets(), Limit: c.limit}
}

func (c *cardinalityAdapter) Advance(now time.Time) []detect.Candidate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Advance(now)
}

func (c *cardinalityAdapter) Snapshot() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Snapshot()
}

func (c *cardinalityAdapter) Restore(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Restore(data)
}

func (c *cardinalityAdapter) Export(now time.Time) ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Export(now)
}

func (c *cardinalityAdapter) Merge(part []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Merge(part)
}
