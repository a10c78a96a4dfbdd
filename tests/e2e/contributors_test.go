// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// alertOf finds the first firing alert of an objective in a file of OTLP requests.
func alertOf(t *testing.T, path, objective string) map[string]any {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil // not written yet
	}
	for line := range bytes.Lines(content) {
		ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		if err != nil {
			return nil // its last line is being written
		}
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, record := range sl.LogRecords().All() {
					if a := record.Attributes().AsRaw(); a["slo.name"] == objective && a["slo.alert.state"] == "firing" {
						return a
					}
				}
			}
		}
	}
	return nil
}

// What a fault of the shop breaks is what the alert puts first, with traces to look at.
func TestShopFaultsPageWithTheRightContributor(t *testing.T) {
	for name, c := range map[string]struct {
		fault, parameters    string
		objective, attribute string
		value                string
	}{
		// The front end answers other routes as before.
		"errors of a dependency": {"errors", `{"service":"cart","rate":0.9}`, "frontend-availability", "http.route", "/cart/{user}"},
		// A canary shares the service's name with the version beside it.
		"latency of a canary": {"canary", `{"weight":50,"error_rate":0,"delay":"900ms","version":"1.5.0"}`, "checkout-latency", "service.version", "1.5.0"},
	} {
		t.Run(name, func(t *testing.T) {
			at := newEndpoints(t)
			alerts := filepath.Join(t.TempDir(), "alerts.jsonl")
			record := harness.WriteFile(t, "record.yaml", `
exporters:
  file:
    path: `+alerts+`
    flush_interval: 200ms
service:
  pipelines:
    logs/slo:
      receivers: [slo]
      exporters: [optimizer, file]
`)
			collector := harness.Start(t, harness.Options{
				Binary: harness.Binary(t, "pitwall-sidecar"), Configs: []string{config(t, "demo.yaml"), record},
				Env: append(at.env, "PITWALL_SIGNALS_ENDPOINT=http://"+harness.Address(t)+"/events"), HealthURL: at.healthURL(),
			})
			shop, control := startShop(t, at)
			harness.Await(t, 2*time.Minute, "the book to see checkout", func() bool { return goodEvents(t, at, "checkout-availability") > 100 })
			require.Nil(t, alertOf(t, alerts, c.objective), "an alert without a fault")
			switchFault(t, http.MethodPost, control, c.fault, c.parameters)
			harness.Await(t, 4*time.Minute, "the alert of "+c.objective, func() bool { return alertOf(t, alerts, c.objective) != nil })

			alert := alertOf(t, alerts, c.objective)
			t.Logf("contributors: %v", alert["slo.contributors"])
			traces, ok := alert["slo.exemplar.trace_ids"].([]any)
			require.True(t, ok)
			assert.GreaterOrEqual(t, len(traces), 3)
			contributors, ok := alert["slo.contributors"].([]any)
			require.True(t, ok)
			worst, ok := contributors[0].(map[string]any)
			require.True(t, ok)
			assert.Equal(t, []any{c.attribute, c.value}, []any{worst["attribute"], worst["value"]})
			share, ok := worst["share"].(float64)
			require.True(t, ok)
			assert.Greater(t, share, 0.5, "of the bad events")

			_, err := shop.Stop()
			require.NoError(t, err)
			_, err = collector.Stop()
			require.NoError(t, err)
		})
	}
}
