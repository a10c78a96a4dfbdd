// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/metadata"
)

// with returns the default configuration with changes.
func with(change func(*Config)) *Config {
	cfg := createDefaultConfig()
	change(cfg)
	return cfg
}

func TestConfigIsReadAsWritten(t *testing.T) {
	file, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	for name, want := range map[string]*Config{
		"": with(func(c *Config) { c.Traces = []string{"testdata/traces.jsonl"} }),
		"all": {
			Traces:           []string{"testdata/traces*.jsonl", "other.jsonl.gz"},
			Metrics:          []string{"testdata/metrics.jsonl"},
			Logs:             []string{"testdata/logs.jsonl"},
			Speed:            60,
			Rebase:           rebaseNow,
			Loop:             true,
			StartAfter:       30 * time.Second,
			OnError:          OnErrorFatal,
			MaxGap:           time.Hour,
			MaxRecordBytes:   1 << 20,
			MaxWindowBytes:   8 << 20,
			ReadAheadBytes:   2 << 20,
			Decoders:         3,
			Retry:            RetryConfig{InitialInterval: time.Second, MaxInterval: 2 * time.Second},
			ProgressInterval: time.Minute,
		},
		"off": with(func(c *Config) { c.Logs = []string{"testdata/logs.jsonl"} }),
		"time": with(func(c *Config) {
			c.Logs = []string{"testdata/logs.jsonl"}
			c.Rebase = "2023-01-29T08:00:00Z"
		}),
		"quoted": with(func(c *Config) {
			c.Logs = []string{"testdata/logs.jsonl"}
			c.Rebase = "2023-01-29T10:00:00.5+02:00"
		}),
	} {
		t.Run(name, func(t *testing.T) {
			section, err := file.Sub(component.NewIDWithName(metadata.Type, name).String())
			require.NoError(t, err)
			cfg := NewFactory().CreateDefaultConfig()
			require.NoError(t, section.Unmarshal(cfg))
			require.NoError(t, confmap.Validate(cfg))
			assert.Equal(t, want, cfg)
		})
	}
}

func TestConfigIsRefusedWithKeyAndValue(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"at least one of traces, metrics and logs must name a file":                          func(c *Config) { c.Logs = nil },
		`logs must be paths or patterns (got "")`:                                            func(c *Config) { c.Logs = []string{""} },
		`traces must be paths or patterns (got "[a")`:                                        func(c *Config) { c.Traces = []string{"[a"} },
		`metrics must be paths or patterns (got "x[")`:                                       func(c *Config) { c.Metrics = []string{"x["} },
		"speed must be 0 or more (got -1)":                                                   func(c *Config) { c.Speed = -1 },
		"speed must be 0 or more (got NaN)":                                                  func(c *Config) { c.Speed = math.NaN() },
		"speed must be 0 or more (got +Inf)":                                                 func(c *Config) { c.Speed = math.Inf(1) },
		`rebase must be off, now or a time as in 2023-01-29T08:00:00Z (got "yesterday")`:     func(c *Config) { c.Rebase = "yesterday" },
		`rebase must be off, now or a time as in 2023-01-29T08:00:00Z (got "")`:              func(c *Config) { c.Rebase = "" },
		`rebase must be a time from 2000 to 2200 (got "1969-01-29T08:00:00Z")`:               func(c *Config) { c.Rebase = "1969-01-29T08:00:00Z" },
		`rebase must be a time from 2000 to 2200 (got "2300-01-29T08:00:00Z")`:               func(c *Config) { c.Rebase = "2300-01-29T08:00:00Z" },
		"start_after must not be negative (got -1s)":                                         func(c *Config) { c.StartAfter = -time.Second },
		`on_error must be skip or fatal (got "ignore")`:                                      func(c *Config) { c.OnError = "ignore" },
		"max_gap must not be negative (got -1s)":                                             func(c *Config) { c.MaxGap = -time.Second },
		"max_record_bytes must be from 1 to 134217728 (got 0)":                               func(c *Config) { c.MaxRecordBytes = 0 },
		"max_record_bytes must be from 1 to 134217728 (got 134217729)":                       func(c *Config) { c.MaxRecordBytes = 128<<20 + 1 },
		"max_window_bytes must be from 1024 to 1073741824 (got 1023)":                        func(c *Config) { c.MaxWindowBytes = 1023 },
		"max_window_bytes must be from 1024 to 1073741824 (got 1073741825)":                  func(c *Config) { c.MaxWindowBytes = 1<<30 + 1 },
		"read_ahead_bytes must be positive (got 0)":                                          func(c *Config) { c.ReadAheadBytes = 0 },
		"decoders must be from 0 to 256 (got -1)":                                            func(c *Config) { c.Decoders = -1 },
		"decoders must be from 0 to 256 (got 257)":                                           func(c *Config) { c.Decoders = 257 },
		"retry::initial_interval must be positive (got 0s)":                                  func(c *Config) { c.Retry.InitialInterval = 0 },
		"retry::max_interval must be at least retry::initial_interval 100ms (got 50ms)":      func(c *Config) { c.Retry.MaxInterval = 50 * time.Millisecond },
		"progress_interval must not be negative (got -1s)":                                   func(c *Config) { c.ProgressInterval = -time.Second },
		"speed must be 0 or more (got -2)\nprogress_interval must not be negative (got -1s)": func(c *Config) { c.Speed, c.ProgressInterval = -2, -time.Second },
	} {
		t.Run(want, func(t *testing.T) {
			cfg := with(func(c *Config) { c.Logs = []string{"testdata/logs.jsonl"} })
			require.NoError(t, cfg.Validate())
			change(cfg)
			assert.EqualError(t, cfg.Validate(), want)
		})
	}
}

func TestDefaultConfigIsSound(t *testing.T) {
	require.NoError(t, componenttest.CheckConfigStruct(createDefaultConfig()))
	require.ErrorIs(t, createDefaultConfig().Validate(), errNoFiles, "only the files are missing")
}
