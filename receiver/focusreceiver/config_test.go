// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver/internal/metadata"
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
	want.Directory = "/var/lib/billing"
	assert.Equal(t, want, read("focus"))
	id := component.MustNewIDWithName("file_storage", "bills")
	assert.Equal(t, &Config{
		Directory: "/var/lib/billing", Include: []string{"*.csv.gz"}, PollInterval: 10 * time.Minute, Settle: time.Minute, GiveUp: 2 * time.Hour, Retention: 48 * time.Hour,
		Storage: &id, Delivery: PerFolder, GroupBy: []string{"Provider", "SubAccountId", "tag:cost center", "x_Project"}, Interval: focus.Hourly,
		Costs: []string{"effective"}, Output: Gauge, MaxCells: 1000, MaxPoints: 100, MaxFileMiB: 10,
	}, read("focus/full"))
	assert.Equal(t, "focus", metadata.Type.String())
}

func TestEveryWrongValueIsNamed(t *testing.T) {
	for says, change := range map[string]func(*Config){
		"directory must be set":          func(c *Config) { c.Directory = "" },
		"include must name":              func(c *Config) { c.Include = nil },
		`include: "["`:                   func(c *Config) { c.Include = []string{"["} },
		"poll_interval must be positive": func(c *Config) { c.PollInterval = 0 },
		"give_up must be positive":       func(c *Config) { c.GiveUp = 0 },
		"retention must be positive":     func(c *Config) { c.Retention = 0 },
		"settle must not be negative":    func(c *Config) { c.Settle = -1 },
		"delivery must be auto":          func(c *Config) { c.Delivery = "x" },
		"interval must be hour":          func(c *Config) { c.Interval = "week" },
		"output must be delta":           func(c *Config) { c.Output = "x" },
		"costs must name":                func(c *Config) { c.Costs = nil },
		`costs: "blended" is not`:        func(c *Config) { c.Costs = []string{"blended"} },
		`group_by: "a" is empty or`:      func(c *Config) { c.GroupBy = []string{"a", "a"} },
		`group_by: "tag:" is empty`:      func(c *Config) { c.GroupBy = []string{"tag:"} },
		"max_cells must be positive":     func(c *Config) { c.MaxCells = 0 },
		"max_points must be positive":    func(c *Config) { c.MaxPoints = 0 },
		"max_file_mib must be positive":  func(c *Config) { c.MaxFileMiB = 0 },
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.Directory = "x"
		change(cfg)
		assert.ErrorContains(t, cfg.Validate(), says)
	}
}
