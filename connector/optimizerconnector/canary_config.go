// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"fmt"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect/canary"
	"github.com/pitwall-io/pitwall/internal/verdict"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

// CanaryConfig is what a user writes under `canary:`.
type CanaryConfig struct {
	// Alpha is the probability of a false fail over the whole life of a comparison.
	Alpha float64 `mapstructure:"alpha"`
	// Slice is the length of the slices of event time in which the versions are compared.
	Slice time.Duration `mapstructure:"slice"`
	// Lateness is how long after its end a slice is judged; what comes later is left out and counted.
	Lateness time.Duration `mapstructure:"lateness"`
	// WarmUp is how long after its first request a version is not judged.
	WarmUp time.Duration `mapstructure:"warm_up"`
	// RetireAfter is how long a version may be silent before its comparisons end.
	RetireAfter time.Duration `mapstructure:"retire_after"`
	// TTL is how long a verdict is valid.
	TTL time.Duration `mapstructure:"ttl"`
	// MinRequests is how many requests of each version come before a pass.
	MinRequests int `mapstructure:"min_requests"`
	// MaxTargets bounds the services whose versions are remembered.
	MaxTargets int `mapstructure:"max_targets"`
	// MaxComparisons bounds the comparisons that run at once.
	MaxComparisons int `mapstructure:"max_comparisons"`
}

func defaultCanaryConfig() CanaryConfig {
	return CanaryConfig{
		Alpha: 0.05, Slice: 10 * time.Second, Lateness: 30 * time.Second, WarmUp: 30 * time.Second, RetireAfter: 10 * time.Minute,
		TTL: 10 * time.Minute, MinRequests: 100, MaxTargets: 10_000, MaxComparisons: 256,
	}
}

func (c *CanaryConfig) validate() error {
	switch {
	case !(c.Alpha > 0 && c.Alpha <= 0.5): // NaN too
		return fmt.Errorf("%w: canary::alpha must be in (0, 0.5] (got %g)", errConfig, c.Alpha)
	case c.Slice < time.Second || c.Slice > 10*time.Minute:
		return fmt.Errorf("%w: canary::slice must be between 1s and 10m (got %s)", errConfig, c.Slice)
	case c.Lateness < 0 || c.Lateness > 64*c.Slice:
		return fmt.Errorf("%w: canary::lateness must be between 0s and 64 slices (got %s)", errConfig, c.Lateness)
	case c.WarmUp < 0 || c.WarmUp > 24*time.Hour:
		return fmt.Errorf("%w: canary::warm_up must be between 0s and 24h (got %s)", errConfig, c.WarmUp)
	case c.RetireAfter < 2*c.Slice:
		return fmt.Errorf("%w: canary::retire_after must be at least two slices (got %s)", errConfig, c.RetireAfter)
	case c.TTL < time.Minute:
		return fmt.Errorf("%w: canary::ttl must be at least 1m (got %s)", errConfig, c.TTL)
	case c.MinRequests <= 0:
		return fmt.Errorf("%w: canary::min_requests must be positive (got %d)", errConfig, c.MinRequests)
	case c.MaxTargets <= 0 || c.MaxTargets > 1_000_000:
		return fmt.Errorf("%w: canary::max_targets must be between 1 and 1000000 (got %d)", errConfig, c.MaxTargets)
	case c.MaxComparisons <= 0 || c.MaxComparisons > 10_000:
		return fmt.Errorf("%w: canary::max_comparisons must be between 1 and 10000 (got %d)", errConfig, c.MaxComparisons)
	}
	return nil
}

// settings returns the settings of the engine. A warm-up of nothing is one nanosecond there, since zero stands for the default.
func (c *CanaryConfig) settings() canary.Settings {
	return canary.Settings{
		Settings: track.Settings{
			Slice: c.Slice, Lateness: max(c.Lateness, 1), WarmUp: max(c.WarmUp, 1), Retire: c.RetireAfter,
			MaxTargets: c.MaxTargets, MaxPairs: c.MaxComparisons,
			Verdict: verdict.Settings{Alpha: c.Alpha, MinRequests: uint64(c.MinRequests)},
		},
		TTL: c.TTL,
	}
}
