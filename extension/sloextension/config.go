// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// Config is what a user writes under extensions: slo.
type Config struct {
	// Storage is the storage extension that keeps the book across restarts. Without it the book starts empty.
	Storage *component.ID `mapstructure:"storage"`
	// SnapshotInterval is how often what changed is written to Storage.
	SnapshotInterval time.Duration `mapstructure:"snapshot_interval"`
	// Journal says when a batch is written to Storage: always, before its sender is told that it was taken, or at an interval of a second.
	Journal string `mapstructure:"journal"`
	// AlertProfile names the alert rules: workbook, demo, or custom with the rules of Alerts.
	AlertProfile string `mapstructure:"alert_profile"`
	// Alerts are the rules of the profile custom. Setting them selects it.
	Alerts []AlertConfig `mapstructure:"alerts"`
	// FalseAlerts is how often a service that spends half of its budget may alert by chance, in 30 days, for each objective and group.
	FalseAlerts float64 `mapstructure:"false_alerts"`
	// MinBadEvents is the least number of bad events a firing alert needs in its long window.
	MinBadEvents uint32 `mapstructure:"min_bad_events"`
	// MaxLateness is how far behind its source's latest event an event may be and still count.
	MaxLateness time.Duration `mapstructure:"max_lateness"`
	// MaxFuture is how far ahead of the clock an event may be; 0 accepts any.
	MaxFuture time.Duration `mapstructure:"max_future"`
	// AbsentAfter is how long after the last telemetry time counts as observed; 0 means the shortest alerting window.
	AbsentAfter time.Duration `mapstructure:"absent_after"`
	// Contributors are the attributes whose worst values an alert names.
	Contributors []string `mapstructure:"contributors"`
	// OpenSLO holds documents of OpenSLO v1, in line.
	OpenSLO string `mapstructure:"openslo"`
	// Files are names of files, or globs, with documents of OpenSLO v1, or with a list of objectives.
	Files []string `mapstructure:"files"`
	// ReloadInterval is how often Files are looked at for changes; 0 means never.
	ReloadInterval time.Duration `mapstructure:"reload_interval"`
	// Objectives are the objectives of the book.
	Objectives []ObjectiveConfig `mapstructure:"objectives"`
	// Maintenance is time, announced ahead, in which objectives are frozen.
	Maintenance []MaintenanceConfig `mapstructure:"maintenance"`
}

// AlertConfig is one multi-window burn-rate rule.
type AlertConfig struct {
	// Name appears in every output of the rule.
	Name string `mapstructure:"name"`
	// Severity is page or ticket.
	Severity string `mapstructure:"severity"`
	// Long and Short are the windows that must both burn.
	Long  slo.Duration `mapstructure:"long"`
	Short slo.Duration `mapstructure:"short"`
	// For is how long both must, before the alert fires; at once when 0.
	For slo.Duration `mapstructure:"for"`
	// Budget is the share of the error budget spent within Long that is worth an alert; it scales with the objective's window.
	Budget float64 `mapstructure:"budget"`
	// Burn is a fixed burn rate, instead of Budget.
	Burn float64 `mapstructure:"burn"`
}

// When the journal is written.
const (
	journalAlways   = "always"
	journalInterval = "interval"
)

var (
	errJournal          = errors.New("journal must be always or interval")
	errProfile          = errors.New("alert_profile must be workbook, demo or custom")
	errSnapshotInterval = errors.New("snapshot_interval must be at least 1s")
	errNoObjectives     = errors.New("objectives, openslo or files must define at least one objective")
	errReload           = errors.New("reload_interval must be 0 or at least 1s")
)

// Validate names the first key that makes no sense, and its value.
func (c *Config) Validate() error {
	if c.SnapshotInterval < time.Second {
		return fmt.Errorf("%w (got %s)", errSnapshotInterval, c.SnapshotInterval)
	}
	if c.Journal != journalAlways && c.Journal != journalInterval {
		return fmt.Errorf("%w (got %q)", errJournal, c.Journal)
	}
	if c.ReloadInterval != 0 && c.ReloadInterval < time.Second {
		return fmt.Errorf("%w (got %s)", errReload, c.ReloadInterval)
	}
	settings, objectives, err := c.book()
	if err != nil {
		return err
	}
	if _, err = slo.New(settings, objectives); err != nil {
		return err
	}
	return checkConditions(objectives)
}

// book is what the engine needs of the configuration.
func (c *Config) book() (slo.Settings, []slo.Objective, error) {
	settings, err := c.settings()
	if err != nil {
		return settings, nil, err
	}
	d, err := c.read()
	settings.Maintenance = d.maintenance
	return settings, d.objectives, err
}

func (c *Config) settings() (slo.Settings, error) {
	profile, err := c.profile()
	return slo.Settings{
		Profile: profile, MaxLateness: c.MaxLateness, MaxFuture: c.MaxFuture, AbsentAfter: c.AbsentAfter,
		FalseAlerts: c.FalseAlerts, MinBadEvents: c.MinBadEvents, Contributors: c.Contributors,
	}, err
}

func (c *Config) profile() (slo.Profile, error) {
	custom := c.AlertProfile == slo.ProfileCustom || c.AlertProfile == ""
	switch {
	case custom && len(c.Alerts) > 0:
		rules := make([]slo.Rule, 0, len(c.Alerts))
		for _, a := range c.Alerts {
			rules = append(rules, slo.Rule(a))
		}
		return slo.Custom(rules), nil
	case len(c.Alerts) > 0:
		return slo.Profile{}, fmt.Errorf("alerts needs alert_profile custom or none (got %q)", c.AlertProfile)
	case c.AlertProfile == slo.ProfileWorkbook || c.AlertProfile == "":
		return slo.Workbook(), nil
	case c.AlertProfile == slo.ProfileDemo:
		return slo.Demo(), nil
	case c.AlertProfile == slo.ProfileCustom:
		return slo.Profile{}, errors.New("alert_profile custom needs alerts")
	}
	return slo.Profile{}, fmt.Errorf("%w (got %q)", errProfile, c.AlertProfile)
}
