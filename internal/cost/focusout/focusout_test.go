// SPDX-License-Identifier: Apache-2.0

package focusout_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/focusout"
	"github.com/pitwall-io/pitwall/internal/cost/money"
)

var exported = focusout.Export{
	Account: "cluster-a", Currency: "EUR", Issuer: "pitwall", Service: "Infrastructure", Method: "opencost", Details: map[string]string{"x_Idle": "none"},
}

func TestWhatIsExportedPassesOurOwnChecksWithoutAFinding(t *testing.T) {
	may := time.Date(2026, 5, 31, 0, 0, 0, 0, time.UTC)
	rows := []focusout.Allocated{
		{Day: may, Resource: "cart", Tags: map[string]string{"service.owner.name": `team "a", <b>`}, Cost: money.MustParse("1.000000000000000001")},
		{Day: may.AddDate(0, 0, 1), Description: "Idle", Cost: money.MustParse("0.5")},
		{Day: may, Resource: "line\nbreak", Cost: money.MustParse("1e-15")},
		{Day: may, Resource: "third", Cost: money.MustParse("2")},
		{Day: may, Resource: "costs nothing"},
	}
	var text bytes.Buffer
	require.NoError(t, focusout.WriteCSV(&text, &exported, rows))
	src, err := focus.OpenCSV(&text)
	require.NoError(t, err)
	var sum money.Amount
	ratios := map[time.Time]money.Amount{}
	var resources, owners []string
	rep, err := focus.ReadAll(src, func(c *focus.Charge) error {
		sum = sum.Plus(c.Costs[focus.Effective])
		resources = append(resources, c.Value("AllocatedResourceId"))
		owners = append(owners, c.AllocatedTags()["service.owner.name"])
		assert.Equal(t, "opencost", c.Value("AllocatedMethodId"))
		assert.Equal(t, "Infrastructure", c.Value("ServiceName"))
		assert.Empty(t, c.Tags(), "tags of what was split, not of what took a part")
		assert.True(t, !c.Start.Before(c.BillingStart) && !c.End.After(c.BillingEnd))
		var details struct {
			Elements []struct{ AllocatedRatio json.Number }
			Idle     string `json:"x_Idle"`
		}
		require.NoError(t, json.Unmarshal([]byte(c.Value("AllocatedMethodDetails")), &details))
		require.Len(t, details.Elements, 1)
		assert.Equal(t, "none", details.Idle)
		ratios[c.Start] = ratios[c.Start].Plus(money.MustParse(details.Elements[0].AllocatedRatio.String()))
		return nil
	})
	require.NoError(t, err)
	assert.Empty(t, rep.Findings)
	assert.Equal(t, focus.V1_3, rep.Version)
	assert.Equal(t, "3.500000000000001001", sum.String(), "to the last digit")
	assert.Equal(t, []string{"cart", "", "line\nbreak", "third"}, resources)
	assert.Equal(t, []string{`team "a", <b>`, "", "", ""}, owners)
	require.Len(t, ratios, 2)
	for day, ratio := range ratios {
		assert.Zero(t, ratio.Cmp(money.FromInt(1)), "%s: the ratios of an origin charge add up to 1, not %s", day, ratio)
	}
}

func TestAnExportOfCostsBelowZeroIsAnError(t *testing.T) {
	err := focusout.WriteCSV(&bytes.Buffer{}, &exported, []focusout.Allocated{{Resource: "a", Cost: money.MustParse("-1")}})
	require.Error(t, err)
}

func TestAChangedExportReplacesTheOneBefore(t *testing.T) {
	bill := focus.NewBill()
	day := time.Date(2026, 5, 3, 0, 0, 0, 0, time.UTC)
	for i, cost := range []string{"10", "12.5"} {
		var text strings.Builder
		require.NoError(t, focusout.WriteCSV(&text, &exported, []focusout.Allocated{{Day: day, Resource: "cart", Cost: money.MustParse(cost)}}))
		src, err := focus.OpenCSV(strings.NewReader(text.String()))
		require.NoError(t, err)
		g := focus.NewGrouper(focus.GroupSettings{Columns: []string{"AllocatedResourceId"}, Interval: focus.Daily, MaxCells: 100})
		_, err = focus.ReadAll(src, g.Add)
		require.NoError(t, err)
		file := focus.File{Path: "allocated-2026-05.csv", Delivery: "allocated-2026-05.csv", Modified: day.Add(time.Duration(i) * time.Hour)}
		bill.Commit(bill.Plan(file, g.Portion(), nil))
		totals := bill.Totals()
		assert.Equal(t, cost, totals[focus.Effective].String())
	}
}
