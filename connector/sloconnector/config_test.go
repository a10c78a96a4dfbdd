// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func load(t *testing.T, key string) *Config {
	t.Helper()
	all, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	part, err := all.Sub(key)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, part.Unmarshal(cfg))
	return cfg
}

func TestConfigurations(t *testing.T) {
	cfg := load(t, "slo")
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, &Config{FlushInterval: 10 * time.Second}, cfg)

	id := component.MustNewIDWithName("slo", "shop")
	cfg = load(t, "slo/all")
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, &Config{SLO: &id, FlushInterval: time.Second}, cfg)

	assert.EqualError(t, confmap.Validate(load(t, "slo/wrong")), "flush_interval must be at least 100ms (got 1ms)")
}
