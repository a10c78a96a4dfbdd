// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// billed is the cost of some days of one account, as the focus receiver emits it.
func billed(accountID, currency string, from time.Time, perDay ...float64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("cloud.account.id", accountID)
	for _, name := range []string{"cost.effective", "cost.billed"} {
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(name)
		sum := m.SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		for i, v := range perDay {
			dp := sum.DataPoints().AppendEmpty()
			dp.SetStartTimestamp(pcommon.NewTimestampFromTime(from.AddDate(0, 0, i)))
			dp.SetTimestamp(pcommon.NewTimestampFromTime(from.AddDate(0, 0, i+1)))
			dp.SetDoubleValue(v)
			dp.Attributes().PutStr("cost.currency", currency)
		}
	}
	return md
}

func budgeted(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	return newRig(t, func(c *Config) {
		c.Telemetry.Enabled = false
		c.Rules = []RuleConfig{{Name: "account", When: []ConditionConfig{{Attribute: "cloud.account.id", Equals: []string{"1"}}}, Set: map[string]string{attrOwner: "shop"}}}
		c.Budgets = []BudgetConfig{{Name: "shop", Match: map[string]string{attrOwner: "shop"}, Monthly: 310, Currency: "USD", Source: FromBill}}
		if change != nil {
			change(c)
		}
	})
}

var may = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func TestABudgetFollowsTheBillOfItsOwner(t *testing.T) {
	r := budgeted(t, nil)
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billed("1", "USD", may, 20, 20, 20, 20, 20)))
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billed("1", "EUR", may, 1000)), "another currency")
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billed("2", "USD", may, 1000)), "another owner")
	r.pm.(*metricsProcessor).next = refusing{consumertest.NewNop()}
	require.Error(t, r.pm.ConsumeMetrics(t.Context(), billed("1", "USD", may, 1000)), "refused, so sent again")
	r.pm.(*metricsProcessor).next = r.metrics
	r.metrics.Reset()
	r.engine.now = func() time.Time { return may.AddDate(0, 0, 5).Add(time.Hour) }
	r.engine.emit(t.Context())
	assert.Equal(t, 310.0, emittedBudget(r, "cost.budget.limit")[""])
	assert.Equal(t, 100.0, emittedBudget(r, "cost.budget.spent")[""])
	forecast := emittedBudget(r, "cost.budget.forecast", "cost.forecast")
	assert.InDelta(t, 620, forecast["expected"], 1e-9)
	assert.InDelta(t, 620, forecast["low"], 1e-9)
	assert.InDelta(t, 620, forecast["high"], 1e-9)
	burn := emittedBudget(r, "cost.budget.burn_rate", "cost.window")
	assert.Len(t, burn, 2)
	assert.InDelta(t, 2, burn["1d"], 1e-9)
	assert.InDelta(t, 2, burn["3d"], 1e-9)

	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billed("1", "USD", may, -20)), "a correction")
	r.metrics.Reset()
	r.engine.emit(t.Context())
	assert.Equal(t, 80.0, emittedBudget(r, "cost.budget.spent")[""])
	r.stop(t)
}

// emittedBudget are the values of one metric of the budget "shop" by attribute.
func emittedBudget(r *rig, name string, attributes ...string) map[string]float64 {
	out := map[string]float64{}
	for _, md := range r.metrics.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() != name {
					continue
				}
				for _, dp := range m.Gauge().DataPoints().All() {
					if first(dp.Attributes(), "", "cost.budget") == "shop" {
						out[first(dp.Attributes(), "", attributes...)] = dp.DoubleValue()
					}
				}
			}
		}
	}
	return out
}

func TestABudgetCanFollowWhatIsAllocated(t *testing.T) {
	r := allocating(t, nil)
	keeper, err := newBudgets([]BudgetConfig{
		{Name: "shop", Match: map[string]string{"service.name": "a", attrOwner: "team"}, Monthly: 310, Currency: "USD", Source: FromAllocated},
	})
	require.NoError(t, err)
	r.engine.budgets = keeper
	hour(t, r)
	r.engine.emit(t.Context())
	r.metrics.Reset()
	r.engine.now = func() time.Time { return noon.AddDate(0, 0, 1) }
	r.engine.emit(t.Context())
	assert.InDelta(t, 2*0.04, emittedBudget(r, "cost.budget.spent")[""], 1e-12)
	r.stop(t)
}
