// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config is what a user writes under connectors: slo.
type Config struct {
	// SLO names the slo extension where there are several.
	SLO *component.ID `mapstructure:"slo"`
	// FlushInterval is how often the book leaves as metrics. Alerts leave at once.
	FlushInterval time.Duration `mapstructure:"flush_interval"`
}

var errFlushInterval = errors.New("flush_interval must be at least 100ms")

// Validate checks the interval.
func (c *Config) Validate() error {
	if c.FlushInterval < 100*time.Millisecond {
		return fmt.Errorf("%w (got %s)", errFlushInterval, c.FlushInterval)
	}
	return nil
}
