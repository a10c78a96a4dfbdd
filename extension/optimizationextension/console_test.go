// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"

	costreport "github.com/pitwall-io/pitwall/internal/cost/report"
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/limit"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// TestHostileNamesAreTextInTheBrowser loads the console in a real browser and looks at the page it built.
func TestHostileNamesAreTextInTheBrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing, and CI must have it")
		}
		t.Skip("SKIPPED: no chromium on this machine; the console was not tested in a browser")
	}
	const hostile = `<img src=x onerror="document.title='owned'">`
	statuses := &fakeStatuses{statuses: []slo.Status{{
		Name: hostile, Service: hostile, Owner: hostile, Group: map[string]string{hostile: hostile}, AlertProfile: "demo", Window: "30d",
		State: slo.State(hostile), BurnRates: []slo.BurnRate{{Window: hostile}}, Alerts: []slo.FiringAlert{{Name: hostile, Severity: hostile}}, AsOf: t0,
	}}}
	e, _ := start(t, host{component.MustNewID("slo"): statuses}, nil)
	s := envelope(1, signal.StateFiring)
	s.Summary, s.Owner, s.Target.Service, s.Runbook = hostile, hostile, hostile, "javascript:document.title='owned'"
	s.Evidence.Windows = []signal.Window{{Rule: hostile, Window: hostile}}
	s.Evidence.Contributors = []signal.Contributor{{Attribute: hostile, Value: hostile}}
	s.Evidence.Profile = "demo"
	_, err = e.PublishSignal(t.Context(), s)
	require.NoError(t, err)
	for topic, body := range map[string]any{
		"changes": []detect.Change{{ID: hostile, Kind: hostile, Time: t0, Action: hostile, State: hostile, Service: hostile, Version: hostile, Flag: hostile, Tool: hostile}},
		costreport.TopicCosts: costreport.Costs{
			Schema: costreport.SchemaCosts, Budgets: []costreport.Budget{{Name: hostile, Currency: hostile, Limit: 10, Spent: 9, Breach: hostile}},
			Resources: &costreport.Resources{Currency: hostile, Accounts: []costreport.AccountResource{
				{Account: costreport.Account{Service: hostile, Owner: hostile}, Hourly: 2},
				{Account: costreport.Account{Service: "checkout", Owner: hostile}, Hourly: 3, Requests: 1500, PerRequest: 0.002},
			}},
		},
		limit.TopicOffenders: limit.Demand{Schema: limit.SchemaOffenders, Series: 40, NotSent: 960, Metrics: []limit.Report{{
			Metric: hostile, Scope: hostile, Series: 40, Wanted: 1000,
			Attributes: []limit.AttributeReport{{Attribute: hostile, Saves: 30}},
		}}},
	} {
		text, err := json.Marshal(body)
		require.NoError(t, err)
		require.NoError(t, e.PublishSnapshot(topic, "test", text))
	}

	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=3000", "--dump-dom", "http://"+e.listener.Addr().String()+"/")
	out, err := cmd.Output()
	require.NoError(t, err)
	page := string(out)
	require.Contains(t, page, "1 firing of 1", "the page was built")
	assert.Contains(t, page, `id="demo" class="badge demo">`, "demo windows are labelled")
	assert.GreaterOrEqual(t, strings.Count(page, "&lt;img src=x"), 20)
	for _, line := range []string{"40 of 1K series", "served nothing", "0.002 &lt;img", "a request", "9 of 10", "budget", "30 series", "40 series sent, 960 not"} {
		assert.Contains(t, page, line)
	}
	assert.NotContains(t, page, "<img", "no value became markup")
	assert.NotContains(t, page, `href="javascript`)
	assert.Contains(t, page, "<title>Pitwall</title>")
}
