// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
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
	t.Run("defaults", func(t *testing.T) {
		cfg, err := load(t, "defaults")
		require.NoError(t, err)
		assert.Equal(t, createDefaultConfig(), cfg)
		assert.Equal(t, "localhost:8800", cfg.ServerConfig.NetAddr.Endpoint)
	})
	t.Run("all", func(t *testing.T) {
		cfg, err := load(t, "all")
		require.NoError(t, err)
		id := component.MustNewID("file_storage")
		assert.Equal(t, "0.0.0.0:8801", cfg.ServerConfig.NetAddr.Endpoint)
		assert.Equal(t, &id, cfg.Storage)
		assert.Equal(t, BoardConfig{MaxBytes: 1 << 20}, cfg.Board)
		assert.Equal(t, LedgerConfig{MaxRecords: 7}, cfg.Ledger)
		assert.False(t, cfg.Console)
	})
	for name, want := range map[string]string{
		"no_endpoint": "endpoint must not be empty",
		"small_board": "board::max_bytes must be at least 80000 (got 1)",
		"no_ledger":   "ledger::max_records must be between 1 and 1000000 (got 0)",
		"unknown":     "has invalid keys: board::max_byte, storge",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, name)
			require.ErrorContains(t, err, want)
		})
	}
}
