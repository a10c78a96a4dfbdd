// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	costreport "github.com/pitwall-io/pitwall/internal/cost/report"
)

func TestCostsOfAllProcessorsAreServedAndWasteComesFirst(t *testing.T) {
	e, _ := start(t, nil, nil)
	code, empty := get(t, e, "/api/v1/costs")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, map[string]any{"schema": "pitwall.costs.all/v1", "waste": []any{}, "sources": map[string]any{}, "prices": map[string]any{}}, empty)

	for source, service := range map[string]string{"cost": "recommender", "cost/other": "cron"} {
		c := costreport.Costs{Resources: &costreport.Resources{Currency: "USD", Accounts: []costreport.AccountResource{
			{Account: costreport.Account{Service: service}, Hourly: float64(len(service))},
			{Account: costreport.Account{Service: "busy"}, Hourly: 99, Requests: 5},
		}}}
		body, err := c.Marshal()
		require.NoError(t, err)
		require.NoError(t, e.PublishSnapshot(costreport.TopicCosts, source, body))
	}
	require.NoError(t, e.PublishSnapshot(costreport.TopicCosts, "later", json.RawMessage(`{"schema":"pitwall.costs/v9"}`)))
	require.NoError(t, e.PublishSnapshot(costreport.TopicPrices, "cost", json.RawMessage(`{"schema":"pitwall.prices/v1"}`)))

	_, body := request(t, e, http.MethodGet, "/api/v1/costs")
	var got costsAnswer
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Len(t, got.Waste, 2)
	assert.Equal(t, "recommender", got.Waste[0].Service)
	assert.Equal(t, "no_requests", got.Waste[0].Reason)
	assert.Equal(t, "cron", got.Waste[1].Service)
	assert.Len(t, got.Sources, 2)
	assert.Equal(t, []string{"later"}, got.Unreadable)
	assert.Contains(t, got.Prices, "cost")

	code, _ = get(t, e, "/api/v1/costs?service=a")
	assert.Equal(t, http.StatusBadRequest, code)
}
