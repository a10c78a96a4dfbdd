// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// The shop puts the session on a metric: the demo folds it, says which attribute of which metric of which service it is, and nothing else.
func TestShopUnboundedLabelArrivesAsCloudEvent(t *testing.T) {
	receiver := &cloudEvents{}
	server := httptest.NewServer(receiver)
	defer server.Close()
	at := newEndpoints(t)
	harness.Start(t, harness.Options{
		Binary: harness.Binary(t, "pitwall-sidecar"), Configs: []string{config(t, "demo.yaml")},
		Env: append(at.env, "PITWALL_SIGNALS_ENDPOINT="+server.URL+"/events"), HealthURL: at.healthURL(),
	})
	_, control := startShop(t, at)
	switchFault(t, http.MethodPost, control, "unbounded-label", `{"max_values":8000}`)
	harness.Await(t, 3*time.Minute, "a signal of folding", func() bool {
		return receiver.find(func(e map[string]any) bool { return e["type"] == "optimization.telemetry.cardinality" }) != nil
	})
	other := receiver.find(func(e map[string]any) bool {
		return e["type"] != "optimization.telemetry.cardinality" || data(e, "target", "service") != "frontend" ||
			data(e, "action", "params", "metric") != "shop.page.views" || data(e, "action", "params", "attribute") != "session.id"
	})
	assert.Nil(t, other, "a signal about anything else")

	var answer struct {
		Series   float64 `json:"series"`
		Limiters map[string]struct {
			Metrics []struct {
				Metric, Scope string
				Attributes    []struct {
					Attribute string
					Values    int
				}
			}
		}
	}
	harness.Await(t, time.Minute, "the offender by HTTP", func() bool {
		getJSON(t, at.api, "/api/v1/cardinality", &answer)
		return len(answer.Limiters["cardinality"].Metrics) > 0
	})
	worst := answer.Limiters["cardinality"].Metrics[0]
	require.NotEmpty(t, worst.Attributes)
	assert.Equal(t, "shop.page.views of frontend: session.id", worst.Metric+" of "+worst.Scope+": "+worst.Attributes[0].Attribute)
	assert.Equal(t, 100, worst.Attributes[0].Values)
	assert.Positive(t, answer.Series)
}
