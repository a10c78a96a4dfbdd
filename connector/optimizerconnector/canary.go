// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/canary"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

// canaryAdapter reads, for the canary detector, the requests a version served, the errors it logged, and its memory and CPU.
type canaryAdapter struct {
	*canary.Detector
	surroundings

	// cpu is of those versions alone that are compared.
	cpu *cpuTimes
	// ahead and untimed count requests whose time cannot be used; the detector's lock guards them.
	ahead, untimed uint64
}

var (
	_ spanReader   = (*canaryAdapter)(nil)
	_ pointReader  = (*canaryAdapter)(nil)
	_ recordReader = (*canaryAdapter)(nil)
)

func newCanaryAdapter(s surroundings) detect.Detector {
	settings := s.cfg.Canary.settings()
	settings.Collect = !s.cfg.Decider
	return &canaryAdapter{Detector: canary.New(settings), surroundings: s, cpu: newCPUTimes(4096)}
}

// tick reports what was left out since the last one.
func (c *canaryAdapter) tick(time.Time) {
	tracker := c.Lock()
	lost := tracker.TakeLost()
	lost[track.LossFuture] += c.ahead
	untimed := c.untimed
	c.ahead, c.untimed = 0, 0
	c.Unlock()
	reportLosses(c.telemetry, lost[:])
	if untimed > 0 {
		c.telemetry.OptimizerComparisonLosses.Add(context.Background(), int64(untimed), metric.WithAttributes(attribute.String("loss_reason", "no_time")))
	}
}

func reportLosses(telemetry *metadata.TelemetryBuilder, lost []uint64) {
	for reason, n := range lost {
		if n > 0 {
			telemetry.OptimizerComparisonLosses.Add(context.Background(), int64(n),
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

// refuse counts a request whose time is not usable; the tracker is locked.
func (c *canaryAdapter) refuse(end int64) {
	if end > 0 {
		c.ahead++
	} else {
		c.untimed++
	}
}

// duration is negative for a span that ends before it starts; it counts as the shortest there is.
func duration(span ptrace.Span) time.Duration {
	return time.Duration(span.EndTimestamp()) - time.Duration(span.StartTimestamp())
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
					c.refuse(end)
					continue
				}
				if arm == nil {
					if arm = tracker.Arm(id.key, id.version, end); arm == nil {
						break
					}
					arm.From(id.instance, end)
				}
				arm.Observe(end, duration(span), span.Status().Code() == ptrace.StatusCodeError, span.TraceID())
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
	for i, all := 0, points(m); i < all.Len(); i++ {
		p := all.At(i)
		if at, ok := usable(p.Timestamp(), limit); ok && arm.Unit(resource, m.Name(), m.Unit(), at) {
			arm.Use(resource, at, datapoint.Value(p))
		}
	}
}

func (c *canaryAdapter) useTime(id identity, arm *track.Arm, m pmetric.Metric, limit int64) {
	at, cores, ok := c.cpu.cores(id, m, limit)
	if at != 0 && arm.Unit(track.CPU, m.Name(), m.Unit(), at) && ok {
		arm.Use(track.CPU, at, cores)
	}
}
