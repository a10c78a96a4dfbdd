// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/regression"
)

// regressionAdapter reads, for the regression detector, the requests of services and what they use.
type regressionAdapter struct {
	*regression.Detector
	surroundings

	cpu *cpuTimes
}

var (
	_ spanReader  = (*regressionAdapter)(nil)
	_ pointReader = (*regressionAdapter)(nil)
	_ ticker      = (*regressionAdapter)(nil)
)

func newRegressionAdapter(s surroundings) detect.Detector {
	limit := s.cfg.Canary.MaxTargets
	return &regressionAdapter{Detector: regression.New(regression.Settings{MaxTargets: limit}), surroundings: s, cpu: newCPUTimes(2 * limit)}
}

func (r *regressionAdapter) limit() int64 { return r.clock().Add(r.cfg.MaxFuture).UnixNano() }

func regressionKey(id identity) regression.Key {
	return regression.Key{Service: id.key.Service, Namespace: id.key.Namespace, Environment: id.key.Environment}
}

func (r *regressionAdapter) readTraces(td ptrace.Traces) {
	limit := r.limit()
	r.Lock()
	defer r.Unlock()
	for _, rs := range td.ResourceSpans().All() {
		id, _ := identify(rs.Resource().Attributes())
		if id.key.Service == "" {
			continue
		}
		var target *regression.Target
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				if kind := span.Kind(); kind != ptrace.SpanKindServer && kind != ptrace.SpanKindConsumer {
					continue
				}
				end, ok := usable(span.EndTimestamp(), limit)
				if !ok {
					continue
				}
				if target == nil {
					if target = r.Target(regressionKey(id)); target == nil {
						break
					}
				}
				r.Observe(target, end, duration(span), span.Status().Code() == ptrace.StatusCodeError)
			}
		}
	}
}

func (r *regressionAdapter) readMetrics(md pmetric.Metrics) {
	limit := r.limit()
	for _, rm := range md.ResourceMetrics().All() {
		id, _ := identify(rm.Resource().Attributes())
		if id.key.Service == "" {
			continue
		}
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch name := m.Name(); {
				case memoryMetrics[name]:
					r.use(id, regression.Memory, m, limit)
				case cpuMetrics[name]:
					r.use(id, regression.CPU, m, limit)
				case cpuTimeMetrics[name]:
					if at, cores, ok := r.cpu.cores(id, m, limit); ok {
						r.useOne(id, regression.CPU, m, at, cores)
					}
				}
			}
		}
	}
}

func (r *regressionAdapter) use(id identity, what regression.Resource, m pmetric.Metric, limit int64) {
	for i, all := 0, points(m); i < all.Len(); i++ {
		p := all.At(i)
		if at, ok := usable(p.Timestamp(), limit); ok {
			r.useOne(id, what, m, at, datapoint.Value(p))
		}
	}
}

func (r *regressionAdapter) useOne(id identity, what regression.Resource, m pmetric.Metric, at int64, value float64) {
	r.Lock()
	defer r.Unlock()
	if target := r.Target(regressionKey(id)); target.Metric(what, m.Name(), m.Unit()) {
		r.Use(target, what, at, value)
	}
}

// tick reports what was left out since the last one.
func (r *regressionAdapter) tick(time.Time) {
	if n := r.Dropped(); n > 0 {
		r.telemetry.OptimizerComparisonLosses.Add(context.Background(), int64(n), metric.WithAttributes(attribute.String("loss_reason", "regression")))
	}
}
