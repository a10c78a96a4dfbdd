// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/featuregate"
)

const (
	waitFor   = 10 * time.Second
	pollEvery = 5 * time.Millisecond
)

func TestDefaultsAreThoseOfContrib(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	assert.Equal(t, 30*time.Second, cfg.DecisionWait)
	assert.Equal(t, uint64(50_000), cfg.NumTraces)
	assert.Equal(t, uint32(1), cfg.NumShards)
	assert.Equal(t, strategyTraceComplete, cfg.SamplingStrategy)
	assert.False(t, cfg.SampleOnFirstMatch || cfg.BlockOnOverflow || cfg.DropPendingTracesOnShutdown)
	require.NoError(t, cfg.Validate())
}

func TestEveryPolicyIsUnderstood(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub("tail_sampling")
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	seen := make(map[string]bool)
	for i := range cfg.Policies {
		seen[cfg.Policies[i].Basic.Type] = true
	}
	for kind := range kinds {
		assert.True(t, seen[kind], "the example lacks %s", kind)
	}
}

func TestRefusesByName(t *testing.T) {
	one := func(p map[string]any) map[string]any { return policies(p) }
	for want, settings := range map[string]map[string]any{
		`sampling_strategy must be "trace-complete" or "span-ingest" (got "x")`: {"sampling_strategy": "x"},
		"num_shards must be at most 256 (got 257)":                              {"num_shards": 257},
		"tail_storage is not supported":                                         {"tail_storage": "pebble"},
		"num_traces must be positive":                                           {"num_traces": 0},
		"memory_limit_mib must be positive":                                     {"memory_limit_mib": 0},
		"decision_wait must not be negative":                                    {"decision_wait": "-1s"},
		"decision_wait_after_root_received must not be negative":                {"decision_wait_after_root_received": "-1s"},
		"budget::spans_per_second must not be negative (got -1)":                {"budget": map[string]any{"spans_per_second": -1}},
		"budget takes one of":                                                   {"budget": map[string]any{"spans_per_second": 1, "gib_per_month": 1}},
		"policy name cannot be empty":                                           one(map[string]any{"type": "always_sample"}),
		`unknown policy type "my_extension": extension policies are not supported`: one(map[string]any{
			"name": "x", "type": "my_extension", "my_extension": map[string]any{"key": 1},
		}),
		`duplicate policy name "all"`:                         policies(keepAll, keepAll),
		`unknown status code "BAD"`:                           one(map[string]any{"name": "x", "type": "status_code", "status_code": map[string]any{"status_codes": []any{"BAD"}}}),
		"expected at least one status code":                   one(map[string]any{"name": "x", "type": "status_code"}),
		"at least one of min_value and max_value must be set": one(map[string]any{"name": "x", "type": "numeric_attribute", "numeric_attribute": map[string]any{"key": "k"}}),
		"invalid regular expression":                          one(map[string]any{"name": "x", "type": "string_attribute", "string_attribute": map[string]any{"values": []any{"("}, "enabled_regex_matching": true}}),
		"expected at least one OTTL condition":                one(map[string]any{"name": "x", "type": "ottl_condition"}),
		"span conditions: parsing":                            one(map[string]any{"name": "x", "type": "ottl_condition", "ottl_condition": map[string]any{"span": []any{"nonsense("}}}),
		"spanevent conditions: parsing":                       one(map[string]any{"name": "x", "type": "ottl_condition", "ottl_condition": map[string]any{"spanevent": []any{"nonsense("}}}),
		`a policy of type "drop" cannot stand here`:           one(map[string]any{"name": "x", "type": "and", "and": map[string]any{"and_sub_policy": []any{map[string]any{"type": "drop"}}}}),
		`a policy of type "composite" cannot stand here`:      one(map[string]any{"name": "x", "type": "drop", "drop": map[string]any{"drop_sub_policy": []any{map[string]any{"type": "composite"}}}}),
		`a policy of type "not" cannot stand here`:            one(map[string]any{"name": "x", "type": "composite", "composite": map[string]any{"composite_sub_policy": []any{map[string]any{"type": "not"}}}}),
		`unknown policy type "": extension`:                   one(map[string]any{"name": "x", "type": "not"}),
	} {
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
		assert.ErrorContains(t, cfg.Validate(), want)
	}
}

func TestDecidingAtIngestRefusesStatefulPolicies(t *testing.T) {
	settings := policies(map[string]any{"name": "rate", "type": "rate_limiting", "rate_limiting": map[string]any{"spans_per_second": 1}})
	settings["sampling_strategy"] = "span-ingest"
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	assert.ErrorContains(t, cfg.Validate(), `policy "rate" is stateful`)
}

func TestFeatureGatesOfContribExist(t *testing.T) {
	for _, name := range []string{"metricstatcountbytessampled", "metricstatcountspanssampled", "recordpolicy", "tailstorageextension", "usetracestate"} {
		found := false
		featuregate.GlobalRegistry().VisitAll(func(g *featuregate.Gate) {
			found = found || g.ID() == "processor.tailsamplingprocessor."+name
		})
		assert.True(t, found, name)
	}
}
