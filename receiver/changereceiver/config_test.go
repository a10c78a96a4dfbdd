// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.yaml.in/yaml/v3"
)

func TestAWholeConfigurationIsRead(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	read := func(id string) *Config {
		sub, err := conf.Sub(id)
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, sub.Unmarshal(cfg))
		require.NoError(t, confmap.Validate(cfg))
		return cfg
	}
	want := createDefaultConfig().(*Config)
	assert.Equal(t, want, read("change"))
	assert.Equal(t, "localhost:8801", want.ServerConfig.NetAddr.Endpoint)
	id := component.MustNewIDWithName("file_storage", "changes")
	want.ServerConfig.NetAddr.Endpoint, want.ServerConfig.MaxRequestBodySize = "0.0.0.0:9000", 65536
	want.Sources = []string{sourceGitHub, sourcePlain}
	want.GitHub = GitHubConfig{Secret: "shh", Workflows: []string{"ship"}}
	want.StandardWebhooks = StandardWebhooksConfig{Secret: "whsec_a2tra2tra2tra2tra2tra2tra2tra2tr", Tolerance: time.Minute}
	want.ServiceNames = map[string]string{"octo/mono": "checkout"}
	want.RateLimit = RateLimitConfig{RequestsPerSecond: 1.5, Burst: 3}
	want.MaxAge, want.MaxFuture, want.Remember, want.Storage = 0, 5*time.Minute, 5, &id
	assert.Equal(t, want, read("change/full"))
}

func TestAMisspeltKeyIsRefused(t *testing.T) {
	for _, raw := range []map[string]any{{"sorces": []any{"github"}}, {"github": map[string]any{"secrt": "x"}}, {"tls": map[string]any{"cert_fil": "x"}}} {
		assert.Error(t, confmap.NewFromStringMap(raw).Unmarshal(createDefaultConfig().(*Config)), "%v", raw)
	}
}

func TestEveryWrongValueIsNamed(t *testing.T) {
	for says, change := range map[string]func(*Config){
		"endpoint must not be empty":                   func(c *Config) { c.ServerConfig.NetAddr.Endpoint = "" },
		"max_request_body_size must be between":        func(c *Config) { c.ServerConfig.MaxRequestBodySize = 0 },
		"sources must name":                            func(c *Config) { c.Sources = nil },
		`sources: "gitlab" is`:                         func(c *Config) { c.Sources = []string{"gitlab"} },
		`sources: "github" is there twice`:             func(c *Config) { c.Sources = []string{"github", "github"} },
		"github::workflows: error":                     func(c *Config) { c.GitHub.Workflows = []string{"("} },
		"standard_webhooks::secret: invalid_field":     func(c *Config) { c.StandardWebhooks.Secret = "whsec_hidden" },
		"standard_webhooks::tolerance must":            func(c *Config) { c.StandardWebhooks.Tolerance = 0 },
		"rate_limit::requests_per_second must":         func(c *Config) { c.RateLimit.RequestsPerSecond = math.NaN() },
		"rate_limit::burst must be positive (got 0)":   func(c *Config) { c.RateLimit.Burst = 0 },
		"max_age must not be negative (got -1s)":       func(c *Config) { c.MaxAge = -time.Second },
		"max_future must not be negative (got -1s)":    func(c *Config) { c.MaxFuture = -time.Second },
		"remember must be between 1 and 1000000 (got ": func(c *Config) { c.Remember = 0 },
		`service_names: "a" has no name`:               func(c *Config) { c.ServiceNames = map[string]string{"a": ""} },
	} {
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		err := cfg.Validate()
		require.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "hidden")
	}
}

func TestTheReadmesConfigurationsAreRead(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(readme), "```yaml\nreceivers:")
	require.True(t, ok)
	block, _, _ := strings.Cut("receivers:"+rest, "```")
	var parsed struct {
		Receivers map[string]map[string]any `yaml:"receivers"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(block), &parsed))
	require.Len(t, parsed.Receivers, 2)
	for id, raw := range parsed.Receivers {
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, confmap.NewFromStringMap(raw).Unmarshal(cfg), id)
		require.NoError(t, confmap.Validate(cfg), id)
	}
	for _, key := range []string{"sources", "github::secret", "github::workflows", "standard_webhooks::secret", "standard_webhooks::tolerance", "service_names", "rate_limit::requests_per_second", "max_age", "max_future", "remember", "storage"} {
		assert.Contains(t, string(readme), "| `"+key+"`")
	}
}
