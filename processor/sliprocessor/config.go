// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
)

// Mode says what the processor does with what it has judged.
type Mode string

const (
	// ModeCount judges, marks bad events and counts them in the book. Exactly one tier of a fleet counts.
	ModeCount Mode = "count"
	// ModeMark judges and marks.
	ModeMark Mode = "mark"
	// ModeMerge takes slo.events of other collectors into the book and passes them on.
	ModeMerge Mode = "merge"
)

// Config is what a user writes under processors: sli.
type Config struct {
	// SLO names the slo extension where there are several.
	SLO *component.ID `mapstructure:"slo"`
	// Mode is count, mark or merge.
	Mode Mode `mapstructure:"mode"`
	// TrustInbound keeps marks, and event names of alerts and signals, that arrive from outside. By default they are stripped, so that
	// a client can neither mark its own events nor raise alerts.
	TrustInbound bool `mapstructure:"trust_inbound"`
	// MaxStreams bounds the metric streams whose running totals are remembered, each of which takes up to 160 bytes.
	MaxStreams int `mapstructure:"max_streams"`
	// MaxPoints bounds the points of slo.events that mode merge remembers, to count what is sent again once. Each takes up to 40 bytes.
	MaxPoints int `mapstructure:"max_points"`
}

const (
	// defaultMaxStreams keeps what is remembered of metrics within 16 MB.
	defaultMaxStreams = 100_000
	// defaultMaxPoints covers five minutes of 30 collectors with 1,000 groups each.
	defaultMaxPoints = 500_000
)

var (
	errMode       = errors.New("mode must be count, mark or merge")
	errMaxPoints  = errors.New("max_points must be between 1000 and 100000000")
	errMaxStreams = errors.New("max_streams must be between 1 and 10000000")
)

// Validate checks the mode and the bound.
func (c *Config) Validate() error {
	if c.MaxStreams < 1 || c.MaxStreams > 10_000_000 {
		return fmt.Errorf("%w (got %d)", errMaxStreams, c.MaxStreams)
	}
	if c.MaxPoints < 1000 || c.MaxPoints > 100_000_000 {
		return fmt.Errorf("%w (got %d)", errMaxPoints, c.MaxPoints)
	}
	switch c.Mode {
	case ModeCount, ModeMark, ModeMerge:
		return nil
	}
	return fmt.Errorf("%w (got %q)", errMode, c.Mode)
}
