// SPDX-License-Identifier: Apache-2.0

package focus_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
)

func cells(t *testing.T, s focus.GroupSettings, text string) (focus.Portion, *focus.Grouper) {
	t.Helper()
	g := focus.NewGrouper(s)
	_, err := read(t, text, g.Add)
	require.NoError(t, err)
	return g.Portion(), g
}

func one(t *testing.T, p focus.Portion) (focus.Statement, focus.Cells) {
	t.Helper()
	require.Len(t, p, 1)
	for s, c := range p {
		return s, c
	}
	return focus.Statement{}, nil
}

func TestRowsAreGroupedByColumnsAndTags(t *testing.T) {
	s := focus.GroupSettings{Columns: []string{"Provider", "ServiceName", "tag:cost center"}, Interval: focus.Daily, MaxCells: 10}
	p, g := cells(t, s, header+row("1", "02", "ec2", `{"CostCenter": "7"}`)+row("2", "02", "ec2", `{" cost-center": "7 "}`)+row("4", "03", "ec2", `{"n": 1, "x": null}`))
	statement, got := one(t, p)
	assert.Equal(t, focus.Statement{Provider: "AWS", Account: "acc", Start: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}, statement)
	require.Len(t, got, 2)
	for _, c := range got {
		if c.Start.Day() == 2 {
			assert.Equal(t, []string{"AWS", "ec2", "7"}, c.Values)
			assert.Equal(t, "3", c.Costs[focus.Effective].String())
		} else {
			assert.Equal(t, []string{"AWS", "ec2", ""}, c.Values)
		}
		assert.Equal(t, 24*time.Hour, c.End.Sub(c.Start))
	}
	assert.Zero(t, g.Overflowed())
}

func TestCellsBeyondTheLimitOverflowWithExactTotals(t *testing.T) {
	var text strings.Builder
	text.WriteString(header)
	for i := range 100 {
		text.WriteString(row("0.1", "02", fmt.Sprintf("s%d", i), `{}`))
	}
	p, g := cells(t, focus.GroupSettings{Columns: []string{"ServiceName"}, Interval: focus.Monthly, MaxCells: 10}, text.String())
	_, got := one(t, p)
	assert.Len(t, got, 11)
	assert.Equal(t, 90, g.Overflowed())
	bill := focus.NewBill()
	bill.Commit(bill.Plan(focus.File{Path: "f"}, p, nil))
	total := bill.Totals()
	assert.Equal(t, "10", total[focus.Billed].String())
}

func TestAMonthlyChargeIsSpreadOverItsDaysExactly(t *testing.T) {
	text := header + strings.Replace(row("100", "01", "plan", `{}`), "2026-05-01T01:00:00Z", "2027-05-01T00:00:00Z", 1)
	s := focus.GroupSettings{Columns: []string{"ServiceName"}, Interval: focus.Daily, Spread: true, MaxCells: 1000}
	p, _ := cells(t, s, text)
	_, got := one(t, p)
	assert.Len(t, got, 31, "a year's purchase stays within the billing period")
	var sum money.Amount
	for _, c := range got {
		sum = sum.Plus(c.Costs[focus.Billed])
		assert.InDelta(t, 100.0/31, c.Costs[focus.Billed].Float64(), 1e-9)
	}
	assert.Equal(t, "100", sum.String())

	s.Spread = false
	p, _ = cells(t, s, text)
	_, got = one(t, p)
	assert.Len(t, got, 1)

	s.Spread, s.Interval = true, focus.Hourly
	p, _ = cells(t, s, header+strings.Replace(row("1", "02", "x", `{}`), "2026-05-02T01:00:00Z", "2026-05-02T02:30:00Z", 1))
	_, got = one(t, p)
	assert.Len(t, got, 3)
}

func at(minute int) time.Time { return time.Date(2026, 6, 1, 0, minute, 0, 0, time.UTC) }

func portion(t *testing.T, rows ...string) focus.Portion {
	t.Helper()
	p, _ := cells(t, focus.GroupSettings{Columns: []string{"ServiceName"}, Interval: focus.Daily, MaxCells: 1000}, header+strings.Join(rows, ""))
	return p
}

func billed(b *focus.Bill) string {
	t := b.Totals()
	return t[focus.Billed].String()
}

func TestAReissueReplacesAndPartsAddUp(t *testing.T) {
	b := focus.NewBill()
	take := func(path, delivery string, minute int, p focus.Portion, gone ...string) *focus.Plan {
		plan := b.Plan(focus.File{Path: path, Delivery: delivery, Modified: at(minute)}, p, func(path string) bool { return slices.Contains(gone, path) })
		b.Commit(plan)
		return plan
	}
	take("a-1", "a", 1, portion(t, row("1", "02", "ec2", `{}`)))
	take("a-2", "a", 2, portion(t, row("2", "02", "ec2", `{}`)))
	assert.Equal(t, "3", billed(b), "two parts of one delivery")

	again := take("a-1", "a", 3, portion(t, row("1", "02", "ec2", `{}`)))
	assert.Empty(t, again.Changes, "the same again changes nothing")

	plan := take("a-1", "a", 4, portion(t, row("5", "02", "ec2", `{}`)))
	assert.Equal(t, "7", billed(b), "a rewritten part replaces itself")
	require.Len(t, plan.Changes, 1)
	assert.Equal(t, "3", plan.Changes[0].Before[focus.Billed].String())
	assert.Equal(t, "7", plan.Changes[0].After[focus.Billed].String())

	take("a-1", "a", 5, portion(t, row("5", "02", "ec2", `{}`)), "a-2")
	assert.Equal(t, "5", billed(b), "a part that a re-run no longer has is given up")

	plan = take("b", "b", 6, portion(t, row("10", "03", "s3", `{}`)))
	assert.Equal(t, "10", billed(b), "a later delivery of the period replaces")
	require.Len(t, plan.Changes, 2)

	plan = take("old", "old", 2, portion(t, row("100", "03", "s3", `{}`)))
	assert.Len(t, plan.Superseded, 1)
	assert.Equal(t, "10", billed(b), "an older delivery that arrives late does not")

	june := strings.NewReplacer("2026-06-01", "2026-07-01", "2026-05-", "2026-06-").Replace(row("1", "02", "ec2", `{}`))
	take("c", "c", 7, portion(t, june))
	assert.Equal(t, "11", billed(b), "another period is another statement")
	assert.Len(t, b.Statements(), 2)

	take("c", "c", 8, portion(t))
	assert.Equal(t, "10", billed(b), "a file that no longer covers a period gives it up")
	assert.Len(t, b.Statements(), 1)
}

func TestTheBillIsWhatItsLatestDeliveriesAddUpToInAnyOrderOfChanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		b := focus.NewBill()
		type file struct {
			focus.File
			cost int
		}
		latest := map[string]file{} // what the oracle knows: path → newest version
		sent := money.Amount{}
		for minute := range 30 {
			delivery := fmt.Sprintf("d%d", rng.IntN(4))
			f := file{focus.File{Path: delivery + "/" + strconv.Itoa(rng.IntN(3)), Delivery: delivery, Modified: at(minute)}, rng.IntN(100)}
			plan := b.Plan(f.File, portion(t, row(strconv.Itoa(f.cost), "02", "s", `{}`)), nil)
			for _, c := range plan.Changes {
				sent = sent.Plus(c.After[focus.Billed]).Minus(c.Before[focus.Billed])
			}
			b.Commit(plan)
			for path, other := range latest {
				if other.Delivery != f.Delivery {
					delete(latest, path)
				}
			}
			latest[f.Path] = f
			want := 0
			for _, f := range latest {
				want += f.cost
			}
			require.Equal(t, strconv.Itoa(want), billed(b))
			require.Equal(t, strconv.Itoa(want), sent.String(), "the changes sent add up to the bill")
		}
	}
}

func TestOldStatementsAreForgotten(t *testing.T) {
	b := focus.NewBill()
	june := strings.NewReplacer("2026-06-01", "2026-07-01", "2026-05-", "2026-06-").Replace(row("1", "02", "ec2", `{}`))
	b.Commit(b.Plan(focus.File{Path: "a"}, portion(t, row("4", "02", "ec2", `{}`), june), nil))
	assert.Empty(t, b.Forget(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)), "a period that ends then is not over before it")
	forgotten := b.Forget(time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC))
	require.Len(t, forgotten, 1)
	assert.Equal(t, time.May, forgotten[0].Start.Month())
	assert.Equal(t, "1", billed(b))
}

func TestABillSurvivesStorage(t *testing.T) {
	b := focus.NewBill()
	b.Commit(b.Plan(focus.File{Path: "a", Delivery: "d", Modified: at(1)}, portion(t, row("1.25", "02", "ec2", `{}`), row("2", "03", "s3", `{}`)), nil))
	restored := focus.NewBill()
	for _, s := range b.Statements() {
		snapshot, ok := b.Snapshot(s)
		require.True(t, ok)
		text, err := json.Marshal(snapshot)
		require.NoError(t, err)
		var back focus.Snapshot
		require.NoError(t, json.Unmarshal(text, &back))
		require.NoError(t, restored.Restore(back, 1))
		require.Error(t, focus.NewBill().Restore(back, 2))
	}
	assert.Equal(t, b.Statements(), restored.Statements())
	assert.Equal(t, billed(b), billed(restored))
	plan := restored.Plan(focus.File{Path: "a", Delivery: "d", Modified: at(2)}, portion(t, row("1.25", "02", "ec2", `{}`), row("2", "03", "s3", `{}`)), nil)
	assert.Empty(t, plan.Changes)
	_, ok := b.Snapshot(focus.Statement{})
	assert.False(t, ok)
}

type parquetRow struct {
	BilledCost         int64             `parquet:"BilledCost,decimal(4:18)"`
	EffectiveCost      string            `parquet:"EffectiveCost"`
	ContractedCost     float64           `parquet:"ContractedCost"`
	ListCost           *float64          `parquet:"ListCost,optional"`
	BillingCurrency    string            `parquet:"BillingCurrency"`
	BillingPeriodStart time.Time         `parquet:"BillingPeriodStart,timestamp(millisecond)"`
	BillingPeriodEnd   time.Time         `parquet:"BillingPeriodEnd,timestamp(microsecond)"`
	ChargePeriodStart  time.Time         `parquet:"ChargePeriodStart,timestamp(nanosecond)"`
	ChargePeriodEnd    string            `parquet:"ChargePeriodEnd"`
	ProviderName       string            `parquet:"ProviderName"`
	Tags               map[string]string `parquet:"Tags"`
	ServiceName        *string           `parquet:"ServiceName,optional"`
}
