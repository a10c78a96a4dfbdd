// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/canary"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

// canaryAdapter reads, for the canary detector, the requests a version served, the errors it logged, and its memory and CPU.
type canaryAdapter struct {
	*canary.Detector
	surroundings

	mu sync.Mutex
	// cpu is what each instance's cumulative CPU time was last, by service, version and instance.
	cpu map[cpuSource]cpuReading
}

var (
	_ spanReader   = (*canaryAdapter)(nil)
	_ pointReader  = (*canaryAdapter)(nil)
	_ recordReader = (*canaryAdapter)(nil)
)

type cpuSource struct{ service, namespace, environment, version, instance string }

type cpuReading struct {
	at      int64
	seconds float64
}

// maxCPUSources bounds the instances whose CPU time is remembered; only those of versions that are compared are.
const maxCPUSources = 4096

func newCanaryAdapter(s surroundings) detect.Detector {
	return &canaryAdapter{Detector: canary.New(s.cfg.Canary.settings()), surroundings: s, cpu: map[cpuSource]cpuReading{}}
}

// tick reports what was left out since the last one.
func (c *canaryAdapter) tick(time.Time) {
	tracker := c.Lock()
	lost := tracker.TakeLost()
	c.Unlock()
	for reason, n := range lost {
		if n > 0 {
			c.telemetry.OptimizerComparisonLosses.Add(context.Background(), int64(n),
				metric.WithAttributes(attribute.String("loss_reason", track.Losses[reason])))
		}
	}
}

// identity is what a resource says about who it is.
type identity struct {
	key               track.Key
	version, instance string
}

// identify returns false for a resource without service or version. It allocates nothing.
func identify(resource pcommon.Map) (identity, bool) {
	id := identity{
		key: track.Key{
			Service:     text(resource, "service.name"),
			Namespace:   text(resource, "service.namespace"),
			Environment: text(resource, "deployment.environment.name"),
		},
		version:  text(resource, "service.version"),
		instance: text(resource, "service.instance.id"),
	}
	if id.key.Environment == "" {
		id.key.Environment = text(resource, "deployment.environment")
	}
	return id, id.key.Service != "" && id.version != ""
}

// text returns a string attribute that is short enough to be kept.
func text(m pcommon.Map, name string) string {
	if v, ok := m.Get(name); ok && v.Type() == pcommon.ValueTypeStr && len(v.Str()) <= maxString {
		return v.Str()
	}
	return ""
}

// limit is the latest event time that is believed.
func (c *canaryAdapter) limit() int64 { return c.clock().Add(c.cfg.MaxFuture).UnixNano() }

// usable returns an event time in nanoseconds, false where it is none or too far ahead.
func usable(ts pcommon.Timestamp, limit int64) (int64, bool) {
	at := int64(ts)
	return at, at > 0 && at <= limit
}

func (c *canaryAdapter) readTraces(td ptrace.Traces) {
	limit := c.limit()
	tracker := c.Lock()
	defer c.Unlock()
	for _, rs := range td.ResourceSpans().All() {
		id, ok := identify(rs.Resource().Attributes())
		if !ok {
			continue
		}
		var arm *track.Arm
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				if kind := span.Kind(); kind != ptrace.SpanKindServer && kind != ptrace.SpanKindConsumer {
					continue
				}
				end, ok := usable(span.EndTimestamp(), limit)
				if !ok {
					continue
				}
				if arm == nil {
					if arm = tracker.Arm(id.key, id.version, end); arm == nil {
						break
					}
					arm.From(id.instance, end)
				}
				d := time.Duration(span.EndTimestamp()) - time.Duration(span.StartTimestamp())
				arm.Observe(end, d, span.Status().Code() == ptrace.StatusCodeError, span.TraceID())
			}
		}
	}
}

// readLogs counts errors logged by versions that are compared. None of them is urgent.
func (c *canaryAdapter) readLogs(ld plog.Logs) bool {
	limit := c.limit()
	tracker := c.Lock()
	defer c.Unlock()
	for _, rl := range ld.ResourceLogs().All() {
		id, ok := identify(rl.Resource().Attributes())
		if !ok {
			continue
		}
		arm := tracker.Find(id.key, id.version)
		if !arm.Compared() {
			continue
		}
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if rec.SeverityNumber() < plog.SeverityNumberError {
					continue
				}
				if at, ok := usable(rec.Timestamp(), limit); ok {
					arm.Logged(at, rec.TraceID())
				}
			}
		}
	}
	return false
}

// The metrics that say what an instance uses, where a resource reports several the first one seen counts.
var (
	memoryMetrics = map[string]bool{
		"container.memory.working_set": true, "k8s.pod.memory.working_set": true, "container.memory.usage": true,
		"k8s.pod.memory.usage": true, "process.memory.usage": true,
	}
	cpuMetrics     = map[string]bool{"container.cpu.usage": true, "k8s.pod.cpu.usage": true, "k8s.container.cpu.usage": true}
	cpuTimeMetrics = map[string]bool{"container.cpu.time": true, "k8s.pod.cpu.time": true, "process.cpu.time": true}
)

func (c *canaryAdapter) readMetrics(md pmetric.Metrics) {
	limit := c.limit()
	for _, rm := range md.ResourceMetrics().All() {
		id, ok := identify(rm.Resource().Attributes())
		if !ok {
			continue
		}
		c.readResource(id, rm, limit)
	}
}

func (c *canaryAdapter) readResource(id identity, rm pmetric.ResourceMetrics, limit int64) {
	tracker := c.Lock()
	defer c.Unlock()
	arm := tracker.Find(id.key, id.version)
	if !arm.Compared() {
		return
	}
	for _, sm := range rm.ScopeMetrics().All() {
		for _, m := range sm.Metrics().All() {
			switch name := m.Name(); {
			case memoryMetrics[name]:
				use(arm, track.Memory, m, limit)
			case cpuMetrics[name]:
				use(arm, track.CPU, m, limit)
			case cpuTimeMetrics[name]:
				c.useTime(id, arm, m, limit)
			}
		}
	}
}

// use takes each point's value: one for an instance.
func use(arm *track.Arm, resource track.Resource, m pmetric.Metric, limit int64) {
	for _, p := range points(m) {
		if at, ok := usable(p.Timestamp(), limit); ok && arm.Unit(resource, m.Name(), m.Unit(), at) {
			arm.Use(resource, at, value(p))
		}
	}
}

// useTime makes cores of cumulative CPU seconds: the difference to the reading before, over the time between.
func (c *canaryAdapter) useTime(id identity, arm *track.Arm, m pmetric.Metric, limit int64) {
	if m.Type() != pmetric.MetricTypeSum || m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
		return
	}
	var now cpuReading
	for _, p := range points(m) { // user and system time, each a point
		at, ok := usable(p.Timestamp(), limit)
		if !ok {
			return
		}
		now.at = max(now.at, at)
		now.seconds += value(p)
	}
	if now.at == 0 || !arm.Unit(track.CPU, m.Name(), m.Unit(), now.at) {
		return
	}
	source := cpuSource{id.key.Service, id.key.Namespace, id.key.Environment, id.version, id.instance}
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.cpu[source]
	if !known {
		if len(c.cpu) >= maxCPUSources {
			clear(c.cpu)
		}
		source = cpuSource{
			strings.Clone(source.service), strings.Clone(source.namespace), strings.Clone(source.environment),
			strings.Clone(source.version), strings.Clone(source.instance),
		}
	}
	c.cpu[source] = now
	// Less than before is a restart: there is no difference to take.
	if known && now.at > last.at && !(now.seconds < last.seconds) {
		arm.Use(track.CPU, now.at, (now.seconds-last.seconds)/time.Duration(now.at-last.at).Seconds())
	}
}

// points returns the number points of a gauge or a sum.
func points(m pmetric.Metric) func(func(int, pmetric.NumberDataPoint) bool) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().All()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().All()
	}
	return func(func(int, pmetric.NumberDataPoint) bool) {}
}

func value(p pmetric.NumberDataPoint) float64 {
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(p.IntValue())
	}
	return p.DoubleValue()
}
