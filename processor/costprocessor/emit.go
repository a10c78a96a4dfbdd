// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// telemetryMetrics are cost.telemetry.items, .bytes, .amount, .series and .saved of every account: sums are cumulative since the start.
func (e *engine) telemetryMetrics(md pmetric.Metrics, lines []telemetryLine, started, now time.Time) {
	stage, currency := e.cfg.Telemetry.Stage, e.cfg.Telemetry.Currency
	for i := range lines {
		l := &lines[i]
		sm := e.resourceOf(md, l.account)
		items := cumulative(sm, "cost.telemetry.items", "{item}", "Spans, data points and log records of the service.")
		bytes := cumulative(sm, "cost.telemetry.bytes", "By", "Bytes of OTLP, in canonical Protocol Buffers encoding, of the service.")
		amounts, saved := pmetric.NewMetric(), pmetric.NewMetric()
		sum(amounts, "cost.telemetry.amount", "{"+currency+"}", "What the service's telemetry costs at the configured prices.")
		sum(saved, "cost.telemetry.saved", "{"+currency+"}", "By how much less the service's telemetry costs here than at the baseline.")
		saved.Sum().SetIsMonotonic(false)
		point := func(m pmetric.Metric, sig signal) pmetric.NumberDataPoint {
			dp := m.Sum().DataPoints().AppendEmpty()
			dp.SetStartTimestamp(pcommon.NewTimestampFromTime(started))
			dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
			dp.Attributes().PutStr("cost.signal", sig.String())
			dp.Attributes().PutStr("cost.stage", stage)
			return dp
		}
		for sig := range signals {
			if u := l.usage[sig]; u != (traffic{}) {
				point(items, sig).SetIntValue(int64(u.items))
				point(bytes, sig).SetIntValue(int64(u.bytes))
			}
			if l.priced[sig] && (l.usage[sig] != (traffic{}) || !l.amount[sig].IsZero()) {
				dp := point(amounts, sig)
				dp.Attributes().PutStr("cost.currency", currency)
				dp.SetDoubleValue(l.amount[sig].Float64())
			}
			if l.compared && l.priced[sig] && !l.saved[sig].IsZero() {
				dp := point(saved, sig)
				dp.Attributes().PutStr("cost.currency", currency)
				dp.Attributes().PutStr("cost.baseline", l.baseline)
				dp.SetDoubleValue(l.saved[sig].Float64())
			}
		}
		if l.series > 0 {
			series := sm.Metrics().AppendEmpty()
			series.SetName("cost.telemetry.series")
			series.SetUnit("{series}")
			series.SetDescription("Active series of the service, as a backend counts them.")
			dp := series.SetEmptyGauge().DataPoints().AppendEmpty()
			dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
			dp.SetIntValue(l.series)
			dp.Attributes().PutStr("cost.stage", stage)
		}
		for _, m := range []pmetric.Metric{amounts, saved} {
			if m.Sum().DataPoints().Len() > 0 {
				m.MoveTo(sm.Metrics().AppendEmpty())
			}
		}
		sm.Metrics().RemoveIf(func(m pmetric.Metric) bool {
			return m.Type() == pmetric.MetricTypeSum && m.Sum().DataPoints().Len() == 0
		})
	}
}

// resourceMetrics are cost.allocated since the start and cost.per_request of the last window. Operations share their service's cost by the
// time it worked for them.
func (e *engine) resourceMetrics(md pmetric.Metrics, costs *allocatedCosts, started, now time.Time) {
	accounts, totals, window, requests := costs.accounts, costs.totals, costs.window, costs.requests
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
		p := newPerRequest(sm, now, "cost.per_request", "{"+currency+"}", "What one request cost in the last window.", currency)
		p.served(window[a], requests.accounts[a])
		p.entered(a, window, &requests)
		p.done()
		e.carbonMetrics(sm, a, costs, started, now)
	}
}

// perRequest is cost.per_request, or cost.carbon.per_request, of one account.
type perRequest struct {
	sm       pmetric.ScopeMetrics
	metric   pmetric.Metric
	now      pcommon.Timestamp
	currency string // empty where it is not about money
}

func newPerRequest(sm pmetric.ScopeMetrics, now time.Time, name, unit, description, currency string) *perRequest {
	m := pmetric.NewMetric()
	m.SetName(name)
	m.SetUnit(unit)
	m.SetDescription(description)
	m.SetEmptyGauge()
	return &perRequest{sm, m, pcommon.NewTimestampFromTime(now), currency}
}

func (p *perRequest) point(scope, operation string, value float64) {
	dp := p.metric.Gauge().DataPoints().AppendEmpty()
	dp.SetTimestamp(p.now)
	dp.SetDoubleValue(value)
	if p.currency != "" {
		dp.Attributes().PutStr("cost.currency", p.currency)
	}
	dp.Attributes().PutStr("cost.scope", scope)
	if operation != "" {
		dp.Attributes().PutStr("cost.operation", operation)
	}
}

// served is what the service itself cost for each request it served, over all and by operation.
func (p *perRequest) served(paid money.Amount, r *requestCount) {
	if r == nil || r.all.Count <= 0 || paid.IsZero() {
		return
	}
	p.point("service", "", paid.Float64()/r.all.Count)
	for _, operation := range slices.Sorted(maps.Keys(r.operations)) {
		o := r.operations[operation]
		if o.Count <= 0 {
			continue
		}
		share := o.Count / r.all.Count
		if r.all.Seconds > 0 {
			share = o.Seconds / r.all.Seconds
		}
		p.point("service", operation, paid.Float64()*share/o.Count)
	}
}

// entered is what all services together cost for each request that entered through this one.
func (p *perRequest) entered(a account, window map[account]money.Amount, requests *requestWindow) {
	for _, key := range slices.SortedFunc(maps.Keys(requests.entries), func(x, y entryKey) int { return strings.Compare(x.operation, y.operation) }) {
		e := requests.entries[key]
		if key.account != a || e.count <= 0 {
			continue
		}
		paid := 0.0
		for _, worker := range slices.SortedFunc(maps.Keys(e.seconds), compareAccounts) {
			if r := requests.accounts[worker]; r != nil && r.seconds > 0 {
				paid += window[worker].Float64() * e.seconds[worker] / r.seconds
			}
		}
		if paid > 0 {
			p.point("trace", key.operation, paid/e.count)
		}
	}
}

func (p *perRequest) done() {
	if p.metric.Gauge().DataPoints().Len() > 0 {
		p.metric.MoveTo(p.sm.Metrics().AppendEmpty())
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
