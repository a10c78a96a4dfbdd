// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/report"
)

func TestThePriceOfASeriesIsTheDearestThatIsPublished(t *testing.T) {
	price, currency, ok := report.SeriesMonth(map[string]json.RawMessage{
		"cost":       json.RawMessage(`{"schema":"pitwall.prices/v1","currency":"USD","signals":{"metrics":{"per_series_month":0.008},"logs":{"per_gb":0.5}}}`),
		"cost/other": json.RawMessage(`{"schema":"pitwall.prices/v1","currency":"EUR","signals":{"metrics":{"per_series_month":0.01}}}`),
		"later":      json.RawMessage(`{"schema":"pitwall.prices/v9","currency":"EUR","signals":{"metrics":{"per_series_month":1}}}`),
		"broken":     json.RawMessage(`[]`),
	})
	assert.True(t, ok)
	assert.Equal(t, 0.01, price)
	assert.Equal(t, "EUR", currency)
	_, _, ok = report.SeriesMonth(map[string]json.RawMessage{"cost": json.RawMessage(`{"schema":"pitwall.prices/v1","signals":{"logs":{"per_gb":1}}}`)})
	assert.False(t, ok)
}

func TestASnapshotIsCutAtTheCheapEnd(t *testing.T) {
	c := report.Costs{Telemetry: &report.Telemetry{}, Resources: &report.Resources{}}
	for i := range 1000 {
		name := report.Account{Service: fmt.Sprintf("service-%04d", i)}
		c.Telemetry.Accounts = append(c.Telemetry.Accounts, report.AccountTelemetry{Account: name, Amount: float64(i)})
		c.Resources.Accounts = append(c.Resources.Accounts, report.AccountResource{Account: name, Total: float64(i)})
		c.Daily = append(c.Daily, report.Series{Account: name, Values: []float64{float64(i), 1}})
	}
	body, err := c.Marshal()
	require.NoError(t, err)
	var got report.Costs
	require.NoError(t, json.Unmarshal(body, &got))
	assert.Equal(t, report.SchemaCosts, got.Schema)
	assert.Len(t, got.Telemetry.Accounts, 200)
	assert.Equal(t, 800, got.Telemetry.Left)
	assert.Equal(t, "service-0999", got.Telemetry.Accounts[0].Service)
	assert.Equal(t, 800, got.Resources.Left)
	assert.Equal(t, "service-0999", got.Resources.Accounts[0].Service)
	assert.Len(t, got.Daily, 200)
	assert.Equal(t, "service-0999", got.Daily[0].Service)
}

func TestWasteIsWhatIsPaidForAndDoesNothing(t *testing.T) {
	account := func(service, owner string) report.Account { return report.Account{Service: service, Owner: owner} }
	r := report.Resources{Currency: "USD", Accounts: []report.AccountResource{
		{Account: account("busy", "team"), Hourly: 9, Requests: 100, UsageKnown: true, UnusedHourly: 4},
		{Account: account("free", "team"), Hourly: 0},
		{Account: account("nobody", "__unallocated__"), Hourly: 1, Requests: 5},
		{Account: account("lazy", "team"), Hourly: 8, Requests: 1, UsageKnown: true, UnusedHourly: 6},
		{Account: account("idler", "team"), Hourly: 7},
		{Account: account("__idle__", ""), Hourly: 3},
		{Account: account("__unmounted__", "team"), Hourly: 2},
	}}
	var got []string
	for _, w := range r.Waste() {
		assert.Equal(t, "USD", w.Currency)
		got = append(got, fmt.Sprintf("%s %s %v", w.Service, w.Reason, w.Hourly))
	}
	assert.Equal(t, []string{
		"idler no_requests 7", "lazy unused 6", "__idle__ idle 3", "__unmounted__ unmounted 2", "nobody unallocated 1",
	}, got)
}
