// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/ownership"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// moneySource is which money is meant.
type moneySource int

const (
	billMoney moneySource = iota
	telemetryMoney
	allocatedMoney // what machines cost that run for nobody; it is kept by the resourceMeter, not by the ledger
	moneySources
)

func (s moneySource) String() string { return [...]string{"bill", "telemetry", "allocated"}[s] }

// maxSuggestions is how many attributes are suggested.
const maxSuggestions = 5

// unowned is what one resource without an owner cost since the start; guarded by the ledger's lock.
type unowned struct {
	attributes []ownership.Tag
	costs      [moneySources]money.Amount
}

// unownedLedger holds the resources without an owner. Those beyond the limit share one entry, which suggests nothing.
type unownedLedger struct {
	max int

	mu    sync.Mutex // guards everything below
	byKey map[string]*unowned
	rest  unowned
}

func newUnownedLedger(limit int) *unownedLedger {
	return &unownedLedger{max: limit, byKey: map[string]*unowned{}}
}

// entry is the entry of a resource, by its cache key.
func (l *unownedLedger) entry(key []byte, resource pcommon.Resource) *unowned {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, ok := l.byKey[string(key)]
	if ok {
		return u
	}
	if len(l.byKey) >= l.max || len(key) > 1<<14 {
		return &l.rest
	}
	u = &unowned{}
	resourceAttributes{resource}.Range(func(k, v string) bool {
		u.attributes = append(u.attributes, ownership.Tag{Key: k, Value: v})
		return true
	})
	l.byKey[string(key)] = u
	return u
}

// unownedCost is one cost on its way to its entry.
type unownedCost struct {
	entry  *unowned
	source moneySource
	amount money.Amount
}

func (l *unownedLedger) commit(list []unownedCost) {
	if len(list) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range list {
		c.entry.costs[c.source] = c.entry.costs[c.source].Plus(c.amount)
	}
}

// report is the total that nobody owns, and by which attributes it would find owners.
func (l *unownedLedger) report(source moneySource) (money.Amount, []ownership.Suggestion) {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := l.rest.costs[source]
	list := make([]ownership.Unowned, 0, len(l.byKey))
	for _, u := range l.byKey {
		total = total.Plus(u.costs[source])
		list = append(list, ownership.Unowned{Attributes: u.attributes, Cost: u.costs[source]})
	}
	suggestions := ownership.Suggest(list)
	return total, suggestions[:min(len(suggestions), maxSuggestions)]
}

// nobodys is the total that nobody owns, and by which attributes it would find owners.
func (e *engine) nobodys(source moneySource, allocated *allocatedCosts) (total money.Amount, suggestions []ownership.Suggestion) {
	if source != allocatedMoney || allocated == nil {
		return e.tagger.unowned.report(source)
	}
	var list []ownership.Unowned
	for _, a := range allocated.accounts {
		if a.owner != e.cfg.MissingValue || a.owner == "" {
			continue
		}
		totals := allocated.totals[a]
		cost := money.Sum(totals[:]...)
		total = total.Plus(cost)
		list = append(list, ownership.Unowned{Attributes: []ownership.Tag{{Key: "service.name", Value: a.service}}, Cost: cost})
	}
	return total, ownership.Suggest(list)
}

// currency is what amounts of a source are in.
func (e *engine) currency(source moneySource) string {
	if source == allocatedMoney {
		return e.cfg.Resources.Currency
	}
	return e.cfg.Telemetry.Currency
}

// restore puts back totals of an earlier run. By which attributes they would find owners is not known any more.
func (l *unownedLedger) restore(totals map[string]money.Amount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for source := range moneySources {
		l.rest.costs[source] = l.rest.costs[source].Plus(totals[source.String()])
	}
}

// unallocatedMetrics are cost.unallocated since the start and cost.unallocated.resolvable.
func (e *engine) unallocatedMetrics(md pmetric.Metrics, allocated *allocatedCosts, started, now time.Time) {
	for source := range moneySources {
		total, suggestions := e.nobodys(source, allocated)
		if total.IsZero() {
			continue
		}
		rm := md.ResourceMetrics().AppendEmpty()
		if e.collector != "" {
			rm.Resource().Attributes().PutStr("service.instance.id", e.collector)
		}
		sm := rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName(metadata.ScopeName)
		unit := "{" + e.currency(source) + "}"
		unallocated := cumulative(sm, "cost.unallocated", unit, "What resources without a required tag cost.")
		unallocated.Sum().SetIsMonotonic(false)
		dp := unallocated.Sum().DataPoints().AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(started))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
		dp.SetDoubleValue(total.Float64())
		dp.Attributes().PutStr("cost.source", source.String())
		if len(suggestions) == 0 {
			continue
		}
		resolvable := sm.Metrics().AppendEmpty()
		resolvable.SetName("cost.unallocated.resolvable")
		resolvable.SetUnit(unit)
		resolvable.SetDescription("How much of it would find an owner by a table of ten lines over this attribute.")
		points := resolvable.SetEmptyGauge().DataPoints()
		for _, s := range suggestions {
			dp := points.AppendEmpty()
			dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
			dp.SetDoubleValue(s.Resolved.Float64())
			dp.Attributes().PutStr("cost.source", source.String())
			dp.Attributes().PutStr("cost.attribute", s.Attribute)
			dp.Attributes().PutInt("cost.attribute.values", int64(s.Values))
		}
	}
}
