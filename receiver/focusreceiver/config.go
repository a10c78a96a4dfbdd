// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
)

// Delivery says which files add up and which replace each other.
type Delivery string

// What a delivery is.
const (
	// Auto takes files of one folder whose names differ only in a part number for one delivery, and every other file for one of its own.
	Auto Delivery = "auto"
	// PerFile takes every file for a delivery of its own.
	PerFile Delivery = "file"
	// PerFolder takes all files of a folder for one delivery.
	PerFolder Delivery = "folder"
)

// Output is the form in which costs are emitted.
type Output string

// The forms of output.
const (
	// Delta emits what changed: the points of a cell add up to its cost, whatever was corrected.
	Delta Output = "delta"
	// Gauge emits the cost of every cell that changed as it is now.
	Gauge Output = "gauge"
)

// Config is what a user writes under `focus`.
type Config struct {
	// Directory holds the exports.
	Directory string `mapstructure:"directory"`
	// Include are patterns of file names.
	Include []string `mapstructure:"include"`
	// Recursive looks into folders of the directory too.
	Recursive bool `mapstructure:"recursive"`
	// PollInterval is how often the directory is looked at.
	PollInterval time.Duration `mapstructure:"poll_interval"`
	// Settle is how long a file must be unchanged before it is read.
	Settle time.Duration `mapstructure:"settle"`
	// GiveUp is how long an incomplete file is waited for before it is refused.
	GiveUp time.Duration `mapstructure:"give_up"`
	// Storage is the storage extension that remembers what was read. Without it a restart reads and emits everything again.
	Storage *component.ID `mapstructure:"storage"`
	// Retention is how long after its end a billing period can be corrected; older periods are forgotten and their files not read.
	Retention time.Duration `mapstructure:"retention"`
	// Delivery is auto, file or folder: which files add up; deliveries of one billing period replace each other.
	Delivery Delivery `mapstructure:"delivery"`
	// GroupBy are the dimensions: FOCUS columns, "Provider", and "tag:<name>".
	GroupBy []string `mapstructure:"group_by"`
	// Interval is hour, day or month.
	Interval focus.Interval `mapstructure:"interval"`
	// Spread divides charges over the intervals of their charge period.
	Spread bool `mapstructure:"spread"`
	// Costs are the costs to emit: billed, effective, contracted, list.
	Costs []string `mapstructure:"costs"`
	// Output is delta or gauge.
	Output Output `mapstructure:"output"`
	// MaxCells bounds the combinations of dimensions and interval of one file.
	MaxCells int `mapstructure:"max_cells"`
	// MaxPoints bounds the data points of one request.
	MaxPoints int `mapstructure:"max_points"`
	// MaxFileMiB bounds the size of a file, after decompression, in MiB.
	MaxFileMiB int `mapstructure:"max_file_mib"`
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		Include:      []string{"*.csv", "*.csv.gz", "*.parquet"},
		Recursive:    true,
		PollInterval: time.Minute,
		Settle:       30 * time.Second,
		GiveUp:       time.Hour,
		Retention:    3 * 365 * 24 * time.Hour,
		Delivery:     Auto,
		GroupBy:      []string{"Provider", "BillingAccountId", "SubAccountId", "SubAccountName", "RegionId", "ServiceName", "ServiceCategory", "ChargeCategory"},
		Interval:     focus.Daily,
		Spread:       true,
		Costs:        []string{"billed", "effective", "contracted", "list"},
		Output:       Delta,
		MaxCells:     100_000,
		MaxPoints:    5000,
		MaxFileMiB:   4096,
	}
}

// Validate checks the configuration and names the key that is wrong.
func (c *Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Directory == "" {
		fail("directory must be set")
	}
	if len(c.Include) == 0 {
		fail("include must name at least one pattern")
	}
	for _, pattern := range c.Include {
		if _, err := filepath.Match(pattern, ""); err != nil {
			fail("include: %q: %w", pattern, err)
		}
	}
	for key, d := range map[string]time.Duration{"poll_interval": c.PollInterval, "give_up": c.GiveUp, "retention": c.Retention} {
		if d <= 0 {
			fail("%s must be positive (got %s)", key, d)
		}
	}
	if c.Settle < 0 {
		fail("settle must not be negative (got %s)", c.Settle)
	}
	if !slices.Contains([]Delivery{Auto, PerFile, PerFolder}, c.Delivery) {
		fail("delivery must be auto, file or folder (got %q)", c.Delivery)
	}
	if !slices.Contains([]focus.Interval{focus.Hourly, focus.Daily, focus.Monthly}, c.Interval) {
		fail("interval must be hour, day or month (got %q)", c.Interval)
	}
	if c.Output != Delta && c.Output != Gauge {
		fail("output must be delta or gauge (got %q)", c.Output)
	}
	if len(c.Costs) == 0 {
		fail("costs must name at least one of billed, effective, contracted, list")
	}
	for _, name := range c.Costs {
		if _, ok := costByName(name); !ok {
			fail("costs: %q is not billed, effective, contracted or list", name)
		}
	}
	seen := map[string]bool{}
	for _, column := range c.GroupBy {
		if column == "" || column == "tag:" || seen[column] {
			fail("group_by: %q is empty or stands twice", column)
		}
		seen[column] = true
	}
	for key, n := range map[string]int{"max_cells": c.MaxCells, "max_points": c.MaxPoints, "max_file_mib": c.MaxFileMiB} {
		if n <= 0 {
			fail("%s must be positive (got %d)", key, n)
		}
	}
	return errors.Join(errs...)
}

func costByName(name string) (focus.Cost, bool) {
	for cost := range focus.Costs {
		if cost.String() == name {
			return cost, true
		}
	}
	return 0, false
}
