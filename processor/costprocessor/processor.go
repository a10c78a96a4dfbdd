// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

var (
	_ processor.Traces  = (*tracesProcessor)(nil)
	_ processor.Metrics = (*metricsProcessor)(nil)
	_ processor.Logs    = (*logsProcessor)(nil)
)

// base is what the three processors share: the engine of their component ID and the rule that they write to what they get.
type base struct {
	engine *engine
}

func (*base) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (b *base) Start(ctx context.Context, host component.Host) error {
	return b.engine.start(ctx, host)
}

func (b *base) Shutdown(ctx context.Context) error { return b.engine.stop(ctx) }

type tracesProcessor struct {
	base
	next consumer.Traces
}

func (p *tracesProcessor) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	w := p.engine.begin(traces)
	defer w.end()
	td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		items := uint64(0)
		for i := range rs.ScopeSpans().Len() {
			items += uint64(rs.ScopeSpans().At(i).Spans().Len())
		}
		return w.resource(ctx, rs.Resource(), items, func() int { return p.engine.traceSize.ResourceSpansSize(rs) }, func(v *verdict) {
			if p.engine.requests != nil {
				w.requests.observe(v.account, rs)
			}
		})
	})
	if td.ResourceSpans().Len() == 0 {
		w.commit(ctx)
		return nil
	}
	if err := p.next.ConsumeTraces(ctx, td); err != nil {
		return err
	}
	w.commit(ctx)
	return nil
}

type logsProcessor struct {
	base
	next consumer.Logs
}

func (p *logsProcessor) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	w := p.engine.begin(logs)
	defer w.end()
	ld.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		items := uint64(0)
		for i := range rl.ScopeLogs().Len() {
			items += uint64(rl.ScopeLogs().At(i).LogRecords().Len())
		}
		return w.resource(ctx, rl.Resource(), items, func() int { return p.engine.logSize.ResourceLogsSize(rl) }, nil)
	})
	if ld.ResourceLogs().Len() == 0 {
		w.commit(ctx)
		return nil
	}
	if err := p.next.ConsumeLogs(ctx, ld); err != nil {
		return err
	}
	w.commit(ctx)
	return nil
}

type metricsProcessor struct {
	base
	next consumer.Metrics
}

func (p *metricsProcessor) Start(ctx context.Context, host component.Host) error {
	p.engine.addSink(p.next)
	return p.base.Start(ctx, host)
}

func (p *metricsProcessor) Shutdown(ctx context.Context) error {
	p.engine.removeSink(ctx, p.next)
	return p.base.Shutdown(ctx)
}

func (p *metricsProcessor) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	w := p.engine.begin(metrics)
	defer w.end()
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		size := func() int { return p.engine.metricSize.ResourceMetricsSize(rm) }
		if ownMetrics(rm) {
			size = nil
		}
		return w.resource(ctx, rm.Resource(), dataPoints(rm), size, func(v *verdict) {
			if p.engine.series != nil && !ownMetrics(rm) {
				w.series = sightings(w.series, v.account, rm)
			}
			w.spent = p.engine.budgets.bill(v, rm, w.spent)
			eachBilled(rm, func(at time.Time, currency string, amount money.Amount) {
				w.days = append(w.days, dayCost{dailyKey{v.account, FromBill, currency}, at, amount})
				if v.unowned != nil && (currency == "" || currency == p.engine.cfg.Telemetry.Currency) {
					w.unowned = append(w.unowned, unownedCost{v.unowned, billMoney, amount})
				}
			})
			if p.engine.resources == nil {
				return
			}
			if refused := p.engine.resources.observe(rm.Resource(), v.account, rm); refused > 0 {
				p.engine.tel.CostUsageOverflow.Add(ctx, refused)
			}
		})
	})
	if md.ResourceMetrics().Len() == 0 {
		w.commit(ctx)
		return nil
	}
	if err := p.next.ConsumeMetrics(ctx, md); err != nil {
		return err
	}
	w.commit(ctx)
	return nil
}

// ownMetrics says whether these are what a cost processor emitted. They count at no stage: the stage that emits them never receives them,
// and a later one would seem to pass more than it got.
func ownMetrics(rm pmetric.ResourceMetrics) bool {
	scopes := rm.ScopeMetrics()
	return scopes.Len() == 1 && scopes.At(0).Scope().Name() == metadata.ScopeName
}

func dataPoints(rm pmetric.ResourceMetrics) uint64 {
	n := 0
	for i := range rm.ScopeMetrics().Len() {
		list := rm.ScopeMetrics().At(i).Metrics()
		for j := range list.Len() {
			n += datapoint.Count(list.At(j))
		}
	}
	return uint64(n)
}

// work is the account of one request while it passes through.
type work struct {
	engine   *engine
	signal   signal
	shipment *shipment
	requests requestBatch
	spent    []spending
	unowned  []unownedCost
	series   []sighting
	days     []dayCost
	// allocated, unallocated and dropped count the records by outcome.
	allocated, unallocated, dropped int64
}

// resource tags one resource and says whether it is to be dropped. The size is taken before the tags are added: what is accounted is
// what was received. Without size nothing is.
func (w *work) resource(ctx context.Context, resource pcommon.Resource, items uint64, size func() int, observe func(*verdict)) bool {
	v := w.engine.tagger.decide(ctx, resource)
	if w.engine.cfg.Telemetry.Enabled && size != nil {
		u := traffic{items: items, bytes: embedded(size())}
		w.shipment.add(v.account, u)
		if v.unowned != nil {
			if amount, ok := w.engine.prices.amount(w.signal, u); ok {
				w.unowned = append(w.unowned, unownedCost{v.unowned, telemetryMoney, amount})
			}
		}
	}
	if observe != nil {
		observe(v)
	}
	switch n := int64(items); {
	case v.drop:
		w.dropped += n
		return true
	case v.missing:
		w.unallocated += n
	default:
		w.allocated += n
	}
	v.apply(resource)
	return false
}

// embedded is the size of a message of n bytes inside the request: the field's tag, its length and itself (Protocol Buffers encoding,
// length-delimited field with a number below 16). The sizes of a request's resources so taken add up to the size of the request.
func embedded(n int) uint64 {
	size := uint64(n) + 2
	for n >= 0x80 {
		n >>= 7
		size++
	}
	return size
}
