// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// A rollout tool asks for the verdict on a revision of the real shop: pass for the canary that is well, fail for the next one, with a fault.
func TestShopCanaryGetsItsVerdict(t *testing.T) {
	receiver := &cloudEvents{}
	server := httptest.NewServer(receiver)
	defer server.Close()
	at := newEndpoints(t)
	faster := harness.WriteFile(t, "faster.yaml", `
connectors:
  optimizer: {evaluation_interval: 2s, canary: {slice: 5s, lateness: 20s, warm_up: 5s}}
`)
	collector := harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "pitwall-sidecar"),
		Configs:   []string{config(t, "demo.yaml"), faster},
		Env:       append(at.env, "PITWALL_SIGNALS_ENDPOINT="+server.URL+"/events"),
		HealthURL: at.healthURL(),
	})
	addresses := filepath.Join(t.TempDir(), "addresses.json")
	shop := harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "shop"),
		Args:      []string{"-endpoint", at.otlpGRPC, "-port", "0", "-addr-file", addresses, "-seed", "1", "-rate", "300", "-start-hour", "14"},
		ReadyLine: "all services ready",
	})
	control := controlAddress(t, addresses)
	harness.Await(t, time.Minute, "the book to see checkout", func() bool { return goodEvents(t, at, "checkout-availability") > 100 })
	assert.Equal(t, "no_verdict", verdict(t, at, "1.5.0").Data.Reason)

	switchFault(t, http.MethodPost, control, "canary", `{"weight":50,"version":"1.5.0","error_rate":0,"delay":"0s"}`)
	// How soon it is shown to be as good depends on how steady the machine is: some thousand requests do.
	var healthy verdictAnswer
	harness.Await(t, 8*time.Minute, "a pass of 1.5.0", func() bool {
		healthy = verdict(t, at, "1.5.0")
		require.NotEqual(t, "fail", healthy.Data.Verdict, healthy.Data.Summary)
		return healthy.Data.Verdict == "pass"
	})
	t.Log(healthy.Data.Summary)
	switchFault(t, http.MethodDelete, control, "canary", "")

	switchFault(t, http.MethodPost, control, "canary", `{"weight":50,"version":"1.6.0"}`)
	harness.Await(t, 4*time.Minute, "a fail of 1.6.0", func() bool { return verdict(t, at, "1.6.0").Data.Verdict == "fail" })
	told := func(e map[string]any) bool {
		return e["type"] == "optimization.canary.verdict" && data(e, "result", "value") == "fail"
	}
	harness.Await(t, 10*time.Second, "the event", func() bool { return receiver.find(told) != nil })
	event := receiver.find(told)
	assert.Equal(t, "checkout", data(event, "target", "service"))
	assert.Equal(t, "1.6.0", data(event, "target", "revision"))
	assert.Equal(t, "rollback", data(event, "action", "verb"))
	causes, _ := data(event, "caused_by").([]any)
	assert.NotEmpty(t, causes, "the version itself is the change")
	assert.NotEqual(t, "fail", verdict(t, at, "1.5.0").Data.Verdict, "a verdict is about one revision")

	_, err := shop.Stop()
	require.NoError(t, err)
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	assert.Empty(t, receiver.bad)
}

type verdictAnswer struct {
	Data struct {
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
		Summary string `json:"summary"`
	} `json:"data"`
}

func verdict(t *testing.T, at endpoints, revision string) (answer verdictAnswer) {
	t.Helper()
	getJSON(t, at.api, "/api/v1/verdict/checkout?revision="+url.QueryEscape(revision), &answer)
	return answer
}
