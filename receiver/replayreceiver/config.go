// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"go.opentelemetry.io/collector/confmap"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/recording"
)

// Values of Config.Rebase that are not a time.
const (
	rebaseOff = "off"
	rebaseNow = "now"
)

// OnError says what a defect in the recording does.
type OnError string

const (
	// OnErrorSkip passes over what is broken, counts it and goes on.
	OnErrorSkip OnError = "skip"
	// OnErrorFatal stops the collector at the first defect.
	OnErrorFatal OnError = "fatal"
)

var errNoFiles = errors.New("at least one of traces, metrics and logs must name a file")

// Config is what a user writes under the `replay` receiver.
type Config struct {
	// Traces, Metrics and Logs are the files of the recording, each a path or a pattern (*, ?, [a-z]) that must match at least one file.
	// Format (JSON lines, length-delimited JSON or protobuf) and compression (gzip, zstd) are seen from the file's first bytes.
	Traces  []string `mapstructure:"traces"`
	Metrics []string `mapstructure:"metrics"`
	Logs    []string `mapstructure:"logs"`

	// Speed is how many seconds of the recording are played in one second: 1 is as recorded, 60 is sixty times faster, 0 is as fast as the
	// pipelines accept.
	Speed float64 `mapstructure:"speed"`

	// Rebase shifts every timestamp of the recording by one constant. `off` leaves them, `now` moves the first event to the moment
	// playing begins, a time (RFC 3339) moves the first event there.
	Rebase string `mapstructure:"rebase"`

	// Loop plays the recording again from the start when it has ended. Unless Rebase is off, each pass is shifted on by the length of the
	// recording plus one second, so that time goes on.
	Loop bool `mapstructure:"loop"`

	// StartAfter is how long to wait after the collector has started.
	StartAfter time.Duration `mapstructure:"start_after"`

	// OnError says what a defect in the recording does: `skip` or `fatal`.
	OnError OnError `mapstructure:"on_error"`

	// MaxGap is the longest stretch of the recording without any request that is waited for, in the recording's own time; a longer one is
	// passed over at once. A request alone by more than this from its neighbours in the file is taken for a wrong clock and played among
	// them. 0 waits for every gap and believes every timestamp.
	MaxGap time.Duration `mapstructure:"max_gap"`

	// MaxRecordBytes is the longest recorded request, uncompressed, that is played. A longer one is skipped without being held in memory.
	MaxRecordBytes int `mapstructure:"max_record_bytes"`

	// MaxWindowBytes is the largest zstd window that is accepted. Each open zstd file holds one.
	MaxWindowBytes int `mapstructure:"max_window_bytes"`

	// ReadAheadBytes is how many uncompressed bytes are read and decoded ahead of the request being played, shared evenly by the files that
	// are open. Each open file may hold one request more.
	ReadAheadBytes int `mapstructure:"read_ahead_bytes"`

	// Decoders is how many requests are decoded at the same time; 0 is one for each CPU the process may use.
	Decoders int `mapstructure:"decoders"`

	// Retry is the back-off after a refusal that is not permanent.
	Retry RetryConfig `mapstructure:"retry"`

	// ProgressInterval is the time between two progress lines in the log; 0 writes none.
	ProgressInterval time.Duration `mapstructure:"progress_interval"`
}

// RetryConfig is the back-off after a refusal that is not permanent. Such a request is offered until it is taken: that is how back-pressure
// reaches the recording.
type RetryConfig struct {
	// InitialInterval is the wait after the first refusal; it doubles with each further one.
	InitialInterval time.Duration `mapstructure:"initial_interval"`
	// MaxInterval is the longest wait.
	MaxInterval time.Duration `mapstructure:"max_interval"`
}

func createDefaultConfig() *Config {
	return &Config{
		Speed:            1,
		Rebase:           rebaseOff,
		OnError:          OnErrorSkip,
		MaxGap:           24 * time.Hour,
		MaxRecordBytes:   32 << 20,
		MaxWindowBytes:   32 << 20,
		ReadAheadBytes:   32 << 20,
		Retry:            RetryConfig{InitialInterval: 100 * time.Millisecond, MaxInterval: 5 * time.Second},
		ProgressInterval: 10 * time.Second,
	}
}

// Unmarshal reads the configuration. YAML takes an unquoted time for more than text; it is text again here.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if at, ok := conf.Get("rebase").(time.Time); ok {
		text := confmap.NewFromStringMap(map[string]any{"rebase": at.Format(time.RFC3339Nano)})
		if err := conf.Merge(text); err != nil {
			return err
		}
	}
	return conf.Unmarshal(c)
}

// Validate reports every value that cannot work, each with its key.
func (c *Config) Validate() error {
	var errs []error
	refuse := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if len(c.Traces)+len(c.Metrics)+len(c.Logs) == 0 {
		errs = append(errs, errNoFiles)
	}
	for _, s := range signals {
		for _, pattern := range c.patterns(s) {
			_, err := filepath.Match(pattern, "")
			refuse(pattern == "" || err != nil, "%s must be paths or patterns (got %q)", s, pattern)
		}
	}
	refuse(c.Speed < 0 || math.IsNaN(c.Speed) || math.IsInf(c.Speed, 0), "speed must be 0 or more (got %g)", c.Speed)
	if c.Rebase != rebaseOff && c.Rebase != rebaseNow {
		at, err := time.Parse(time.RFC3339Nano, c.Rebase)
		refuse(err != nil, "rebase must be off, now or a time as in 2023-01-29T08:00:00Z (got %q)", c.Rebase)
		refuse(err == nil && (at.Year() < 2000 || at.Year() > 2200), "rebase must be a time from 2000 to 2200 (got %q)", c.Rebase)
	}
	refuse(c.StartAfter < 0, "start_after must not be negative (got %s)", c.StartAfter)
	refuse(c.OnError != OnErrorSkip && c.OnError != OnErrorFatal, "on_error must be skip or fatal (got %q)", c.OnError)
	refuse(c.MaxGap < 0, "max_gap must not be negative (got %s)", c.MaxGap)
	refuse(c.MaxRecordBytes <= 0 || c.MaxRecordBytes > recording.LongestRecord,
		"max_record_bytes must be from 1 to %d (got %d)", recording.LongestRecord, c.MaxRecordBytes)
	refuse(c.MaxWindowBytes < 1<<10 || c.MaxWindowBytes > 1<<30, "max_window_bytes must be from %d to %d (got %d)", 1<<10, 1<<30, c.MaxWindowBytes)
	refuse(c.ReadAheadBytes <= 0, "read_ahead_bytes must be positive (got %d)", c.ReadAheadBytes)
	refuse(c.Decoders < 0 || c.Decoders > 256, "decoders must be from 0 to 256 (got %d)", c.Decoders)
	refuse(c.Retry.InitialInterval <= 0, "retry::initial_interval must be positive (got %s)", c.Retry.InitialInterval)
	refuse(c.Retry.MaxInterval < c.Retry.InitialInterval,
		"retry::max_interval must be at least retry::initial_interval %s (got %s)", c.Retry.InitialInterval, c.Retry.MaxInterval)
	refuse(c.ProgressInterval < 0, "progress_interval must not be negative (got %s)", c.ProgressInterval)
	return errors.Join(errs...)
}

// patterns returns the configured files of one signal.
func (c *Config) patterns(s signal) []string {
	return [...][]string{signalTraces: c.Traces, signalMetrics: c.Metrics, signalLogs: c.Logs}[s]
}

// limits returns the bounds on reading one file.
func (c *Config) limits() recording.Limits {
	return recording.Limits{RecordBytes: c.MaxRecordBytes, WindowBytes: c.MaxWindowBytes}
}
