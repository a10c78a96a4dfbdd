// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func TestConfigIsReadAndChecked(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	id := component.MustNewID("file_storage")
	for name, want := range map[string]struct {
		config *Config
		err    string
	}{
		"defaults": {config: createDefaultConfig().(*Config)},
		"all": {config: &Config{
			Storage: &id, MaxActiveSignals: 50, SignalTTL: 2 * time.Hour, MaxFuture: 5 * time.Second, EvaluationInterval: 30 * time.Second,
			OutboxSize: 10, EvidenceAttributes: []string{"tenant.id"},
			Canary: CanaryConfig{
				Alpha: 0.01, Slice: time.Minute, Lateness: 2 * time.Minute, WarmUp: 0, RetireAfter: time.Hour, TTL: 5 * time.Minute,
				MinRequests: 500, MaxTargets: 100, MaxComparisons: 7,
			},
			Planner: PlannerConfig{MoneyWeight: 2, BudgetWeight: 1000, LatencyWeight: 100},
			Guardrails: func() GuardrailsConfig {
				g := defaultGuardrails()
				g.MaxStep = 0.1
				g.MinIntervals = map[string]time.Duration{"optimization.rightsize.container": 24 * time.Hour}
				g.Freezes = []FreezeConfig{{From: "2026-11-26T00:00:00Z", To: "2026-11-30T00:00:00Z", Reason: "sale"}}
				g.ChangeWindows = []WindowConfig{{Days: []string{"mon"}, From: "09:00", To: "17:00", Timezone: "UTC"}}
				return g
			}(),
			Coverage:      CoverageConfig{Enabled: true, MinServices: 0.9, MinWholeTraces: 0.8},
			Policies:      []PolicyConfig{{Name: "no_friday", When: "now.getDayOfWeek() == 5", Decision: "deny"}},
			PolicyDefault: "require_approval",
		}},
		"no_active":       {err: "max_active_signals must be between 1 and 1000000 (got 0)"},
		"short_ttl":       {err: "signal_ttl must be at least 1m (got 1s)"},
		"negative_future": {err: "max_future must not be negative (got -1s)"},
		"short_interval":  {err: "evaluation_interval must be between 1s and 1h (got 1ms)"},
		"bad_alpha":       {err: "canary::alpha must be in (0, 0.5] (got 1)"},
		"bad_slice":       {err: "canary::slice must be between 1s and 10m (got 1ms)"},
		"bad_lateness":    {err: "canary::lateness must be between 0s and 64 slices (got 1h0m0s)"},
		"bad_warm_up":     {err: "canary::warm_up must be between 0s and 24h (got -1s)"},
		"bad_retire":      {err: "canary::retire_after must be at least two slices (got 1s)"},
		"bad_canary_ttl":  {err: "canary::ttl must be at least 1m (got 1s)"},
		"bad_requests":    {err: "canary::min_requests must be positive (got 0)"},
		"bad_targets":     {err: "canary::max_targets must be between 1 and 1000000 (got 0)"},
		"bad_comparisons": {err: "canary::max_comparisons must be between 1 and 10000 (got 0)"},
		"bad_weight":      {err: "planner::money_weight must be between 0 and 1e12 (got -1)"},
		"bad_share":       {err: "guardrails::min_coverage must be between 0 and 1 (got 2)"},
		"bad_budget":      {err: "guardrails::budget_reversible must be at most budget_all (got 0.6)"},
		"bad_step":        {err: "guardrails::max_step must be above 0 and at most 10 (got 0)"},
		"bad_freeze":      {err: "guardrails::freezes[0]::to must be after from"},
		"bad_day":         {err: "guardrails::change_windows[0]::days must be mon, tue"},
		"bad_time":        {err: "guardrails::change_windows[0]::from must be a time of day"},
		"bad_zone":        {err: "guardrails::change_windows[0]::timezone must be a name"},
		"bad_coverage":    {err: "coverage::min_services must be between 0 and 1 (got 1.5)"},
		"bad_whole":       {err: "coverage::min_whole_traces must be between 0 and 1 (got -1)"},
		"bad_policy":      {err: "policies: invalid policy: x: when: ERROR"},
		"bad_default":     {err: "the default must be allow, require_approval or deny (got \"maybe\")"},
		"no_outbox":       {err: "outbox_size must be positive (got 0)"},
		"empty_attribute": {err: "evidence_attributes[1] must not be empty"},
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := conf.Sub("optimizer/" + name)
			require.NoError(t, err)
			cfg := createDefaultConfig().(*Config)
			require.NoError(t, sub.Unmarshal(cfg))
			if want.err != "" {
				require.ErrorContains(t, cfg.Validate(), want.err)
				return
			}
			require.NoError(t, cfg.Validate())
			assert.Equal(t, want.config, cfg)
		})
	}
}
