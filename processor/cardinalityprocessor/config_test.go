// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/pitwall-io/pitwall/internal/limit"
	"github.com/pitwall-io/pitwall/processor/cardinalityprocessor/internal/metadata"
)

func load(t *testing.T, conf *confmap.Conf, key string) (*Config, error) {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	sub, err := conf.Sub(key)
	require.NoError(t, err)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg, cfg.Validate()
}

func TestConfigIsReadInFull(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	cfg, err := load(t, conf, "cardinality/full")
	require.NoError(t, err)
	fifty, five, storage, slo := 50, 500, component.MustNewID("file_storage"), component.MustNewID("slo")
	assert.Equal(t, &Config{
		Scope:  []string{"service.name", "service.namespace"},
		Window: time.Minute,
		Limits: LimitsConfig{Attribute: 100, Series: 1000, Total: 50_000, OverflowSeries: 10, Metrics: 5000, AttributeKeys: 32, MemoryMiB: 64},
		Overrides: []OverrideConfig{
			{Metrics: []string{"http.*"}, Attributes: []string{"url.*"}, Attribute: &fifty},
			{Metrics: []string{"jvm.*"}, Series: &five},
		},
		Protect: []string{"http.response.status_code"},
		Exempt:  []string{"up"},
		Gauges:  []GaugeConfig{{Metrics: []string{"queue.*"}, Merge: "sum"}},
		Rules: []RuleConfig{
			{Attributes: []string{"user.id"}, Action: "drop"},
			{Attributes: []string{"session.id"}, Action: "hash", Buckets: 16, DryRun: true},
			{Metrics: []string{"http.*"}, Attributes: []string{"url.path"}, Action: "template"},
			{Attributes: []string{"route"}, Action: "rename", To: "http.route"},
		},
		Displacement: 3, InitialValue: "count", WarmUp: time.Second, MaxStale: 2 * time.Minute, Retention: 30 * time.Minute, MaxFuture: 2 * time.Second,
		Exemplars: 4, MaxBuckets: 80, Offenders: 5, Storage: &storage, SLO: &slo,
	}, cfg)
	s := cfg.settings()
	assert.Equal(t, int64(64<<20), s.Limits.Memory)
	assert.Equal(t, limit.ActionTemplate, s.Rules[2].Action)
	assert.Equal(t, limit.MergeSum, s.Gauges[0].Merge)
}

func TestWrongConfigIsRefusedByKeyAndValue(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "wrong.yaml"))
	require.NoError(t, err)
	for key, want := range map[string]string{
		"window":       "window must be at least 1s (got 10ms)",
		"attribute":    "limits.attribute must not be negative (got -3)",
		"memory":       "limits.memory_mib must be at least 1 (got 0)",
		"displacement": "displacement must be at least 1 (got 0.5)",
		"buckets":      "max_buckets must be at least 2 (got 1)",
		"warm_up":      "warm_up must not be negative (got -1s)",
		"initial":      `initial_value must be auto, count or baseline (got "first")`,
		"scope":        "scope must not hold an empty attribute name",
		"override":     "overrides[0] must set attribute or series",
		"override_mix": "overrides[0].series must not be combined with attributes",
		"override_low": "overrides[0].attribute must be positive (got 0)",
		"gauge":        `gauges[0].merge must be mean, sum, min, max or last (got "median")`,
		"action":       `rules[0].action must be keep, drop, rename, hash, template or fold (got "crop")`,
		"no_attribute": "rules[0].attributes must name at least one attribute or pattern",
		"rename":       `rules[0].to must be set for rename, and only for it (got "")`,
		"hash":         "rules[0].buckets must lie between 1 and 65536 (got 0)",
		"drop":         "rules[0].buckets must be set for hash only (got 3)",
	} {
		t.Run(key, func(t *testing.T) {
			_, err := load(t, conf, key)
			require.ErrorContains(t, err, want)
		})
	}
}

func TestDefaultsAreValid(t *testing.T) {
	require.NoError(t, createDefaultConfig().(*Config).Validate())
	assert.Equal(t, "cardinality", metadata.Type.String())
}

// Every block of configuration in the README is loaded, and every key is in its table.
func TestReadmeShowsWhatTheConfigurationIs(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(readme, -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		retrieved, err := confmap.NewRetrievedFromYAML(b[1])
		require.NoError(t, err)
		whole, err := retrieved.AsConf()
		require.NoError(t, err)
		_, err = load(t, whole, "processors::cardinality")
		require.NoError(t, err, "%s", b[1])
	}
	for _, key := range regexp.MustCompile(`mapstructure:"([a-z_]+)"`).FindAllStringSubmatch(source(t), -1) {
		assert.Regexp(t, "\n\\|.*[`.]"+key[1]+"[`.\\[]", string(readme), "key %s is not in the table", key[1])
	}
}

func source(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("config.go")
	require.NoError(t, err)
	return string(raw)
}
