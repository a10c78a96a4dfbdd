// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// telemetryMetrics are cost.telemetry.items, .bytes and .amount of every account: cumulative since the processor started.
func (e *engine) telemetryMetrics(md pmetric.Metrics, started, now time.Time) {
	stage, currency := e.cfg.Telemetry.Stage, e.cfg.Telemetry.Currency
	for _, s := range e.meter.statements() {
		sm := e.resourceOf(md, s.account)
		items := cumulative(sm, "cost.telemetry.items", "{item}", "Spans, data points and log records of the service.")
		bytes := cumulative(sm, "cost.telemetry.bytes", "By", "Bytes of OTLP, in canonical Protocol Buffers encoding, of the service.")
		amounts := pmetric.NewMetric()
		sum(amounts, "cost.telemetry.amount", "{"+currency+"}", "What the service's telemetry costs at the configured prices.")
		for sig := range signals {
			u := s.usage[sig]
			if u == (traffic{}) {
				continue
			}
			point := func(m pmetric.Metric) pmetric.NumberDataPoint {
				dp := m.Sum().DataPoints().AppendEmpty()
				dp.SetStartTimestamp(pcommon.NewTimestampFromTime(started))
				dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
				dp.Attributes().PutStr("cost.signal", sig.String())
				dp.Attributes().PutStr("cost.stage", stage)
				return dp
			}
			point(items).SetIntValue(int64(u.items)) //nolint:gosec // a count
			point(bytes).SetIntValue(int64(u.bytes)) //nolint:gosec // a count
			if amount, ok := e.prices.amount(sig, u); ok {
				dp := point(amounts)
				dp.Attributes().PutStr("cost.currency", currency)
				dp.SetDoubleValue(amount.Float64())
			}
		}
		if amounts.Sum().DataPoints().Len() > 0 {
			amounts.MoveTo(sm.Metrics().AppendEmpty())
		}
	}
}

// resourceMetrics are cost.allocated since the start and cost.per_request of the last window. Operations share their service's cost by the
// time they kept it busy.
func (e *engine) resourceMetrics(md pmetric.Metrics, started, now time.Time) {
	accounts, totals, window := e.resources.allocated()
	requests := e.requests.take()
	currency := e.cfg.Resources.Currency
	for _, a := range accounts {
		sm := e.resourceOf(md, a)
		allocated := cumulative(sm, "cost.allocated", "{"+currency+"}", "What the resources that the service reserved or used cost, and its part of idle resources and overhead.")
		for kind := range costKinds {
			if totals[a][kind].IsZero() {
				continue
			}
			dp := allocated.Sum().DataPoints().AppendEmpty()
			dp.SetStartTimestamp(pcommon.NewTimestampFromTime(started))
			dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
			dp.SetDoubleValue(totals[a][kind].Float64())
			dp.Attributes().PutStr("cost.kind", kind.String())
			dp.Attributes().PutStr("cost.currency", currency)
		}
		perRequest(sm, now, currency, window[a], requests[a])
	}
}

// perRequest appends cost.per_request of one account, over all and by operation.
func perRequest(sm pmetric.ScopeMetrics, now time.Time, currency string, paid money.Amount, r *requestCount) {
	if r == nil || r.all.count <= 0 || paid.IsZero() {
		return
	}
	m := sm.Metrics().AppendEmpty()
	m.SetName("cost.per_request")
	m.SetUnit("{" + currency + "}")
	m.SetDescription("What one request cost in the last window: allocated cost over requests served.")
	points := m.SetEmptyGauge().DataPoints()
	point := func(operation string, value float64) {
		dp := points.AppendEmpty()
		dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
		dp.SetDoubleValue(value)
		dp.Attributes().PutStr("cost.currency", currency)
		if operation != "" {
			dp.Attributes().PutStr("cost.operation", operation)
		}
	}
	point("", paid.Float64()/r.all.count)
	for _, operation := range slices.Sorted(maps.Keys(r.operations)) {
		o := r.operations[operation]
		share := o.count / r.all.count
		if r.all.busy > 0 {
			share = o.busy / r.all.busy
		}
		point(operation, paid.Float64()*share/o.count)
	}
}

// resourceOf appends the resource of an account: the service, its owner and cost centre, and the collector that counted.
func (e *engine) resourceOf(md pmetric.Metrics, a account) pmetric.ScopeMetrics {
	rm := md.ResourceMetrics().AppendEmpty()
	attrs := rm.Resource().Attributes()
	attrs.PutStr("service.name", a.service)
	if a.owner != "" {
		attrs.PutStr(attrOwner, a.owner)
	}
	if a.costCenter != "" {
		attrs.PutStr(attrCostCenter, a.costCenter)
	}
	if e.collector != "" {
		attrs.PutStr("service.instance.id", e.collector)
	}
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(metadata.ScopeName)
	return sm
}

func cumulative(sm pmetric.ScopeMetrics, name, unit, description string) pmetric.Metric {
	m := sm.Metrics().AppendEmpty()
	sum(m, name, unit, description)
	return m
}

func sum(m pmetric.Metric, name, unit, description string) {
	m.SetName(name)
	m.SetUnit(unit)
	m.SetDescription(description)
	s := m.SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
}
