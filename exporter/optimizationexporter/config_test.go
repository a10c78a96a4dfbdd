// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func TestConfigIsReadAndChecked(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	load := func(t *testing.T, name string) (*Config, error) {
		sub, err := conf.Sub("optimization/" + name)
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		if err := sub.Unmarshal(cfg); err != nil {
			return nil, err
		}
		return cfg, confmap.Validate(cfg)
	}

	t.Run("one sink leaves the others out", func(t *testing.T) {
		cfg, err := load(t, "cloudevents")
		require.NoError(t, err)
		assert.Equal(t, "http://localhost:8900/events", cfg.CloudEvents.Get().ClientConfig.Endpoint)
		assert.Equal(t, "/pitwall", cfg.CloudEvents.Get().Source)
		assert.False(t, cfg.File.HasValue())
		assert.False(t, cfg.Alertmanager.HasValue())
		assert.Equal(t, 1, cfg.QueueConfig.Get().NumConsumers, "one consumer keeps the order")
		assert.True(t, cfg.RetryConfig.Enabled)
	})
	t.Run("all", func(t *testing.T) {
		cfg, err := load(t, "all")
		require.NoError(t, err)
		assert.Equal(t, "/site/eu-1", cfg.CloudEvents.Get().Source)
		assert.Equal(t, "[REDACTED]", cfg.CloudEvents.Get().Secret.String())
		assert.Equal(t, FileConfig{Path: "/var/log/signals.jsonl", MaxBytes: 1 << 20}, *cfg.File.Get())
		am := cfg.Alertmanager.Get()
		assert.Equal(t, 30*time.Second, am.ResendInterval)
		assert.Equal(t, 4*time.Minute, am.ResolveTimeout)
		assert.Equal(t, 5, am.MaxActive)
		assert.Equal(t, "https://pitwall.example.com", am.GeneratorURL)
		assert.Equal(t, 3*time.Second, cfg.TimeoutConfig.Timeout)
	})
	for name, want := range map[string]string{
		"no_sink":        "at least one of cloudevents, alertmanager and file must be set",
		"no_endpoint":    `cloudevents::endpoint must be an http or https URL (got "")`,
		"bad_scheme":     `cloudevents::endpoint must be an http or https URL (got "ftp://x/")`,
		"no_source":      `cloudevents::source must be a URI reference (got "")`,
		"bad_secret":     `cloudevents::secret: must be "whsec_" followed by 24 to 64 bytes in base64`,
		"short_secret":   `cloudevents::secret: must be "whsec_" followed by 24 to 64 bytes in base64`,
		"no_path":        "file::path must not be empty",
		"small_file":     "file::max_bytes must be at least 65536 (got 10)",
		"am_no_endpoint": `alertmanager::endpoint must be an http or https URL (got "x")`,
		"am_slow":        "alertmanager::resolve_timeout must be above resend_interval (got 5m0s, 10m0s)",
		"am_never":       "alertmanager::resend_interval must be positive (got 0s)",
		"am_none":        "alertmanager::max_active must be positive (got 0)",
		"unknown":        "has invalid keys: secrt",
		"unknown_top":    "has invalid keys: cloudevent",
		"unknown_am":     "has invalid keys: endpont",
		"unknown_file":   "has invalid keys: pth",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, name)
			require.ErrorContains(t, err, want)
			assert.NotContains(t, err.Error(), "c2hvcnQ", "the secret is not repeated")
		})
	}
}
