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
	// Significance is the chance, for a service that burns its budget at rate 1, to show as many bad events as a firing alert needs.
	Significance float64 `mapstructure:"significance"`
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
	// Objectives are the objectives of the book.
	Objectives []ObjectiveConfig `mapstructure:"objectives"`
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
	// Budget is the share of the error budget spent within Long that is worth an alert; it scales with the objective's window.
	Budget float64 `mapstructure:"budget"`
	// Burn is a fixed burn rate, instead of Budget.
	Burn float64 `mapstructure:"burn"`
}

// ObjectiveConfig is one objective.
type ObjectiveConfig struct {
	// Name is unique in the book; that of the service when empty.
	Name string `mapstructure:"name"`
	// Description says for humans what is promised.
	Description string `mapstructure:"description"`
	// Service limits the objective to one service.name; all services when empty.
	Service string `mapstructure:"service"`
	// Target is the share of events that must be good, in [0, 1).
	Target float64 `mapstructure:"target"`
	// Window is the rolling window of the error budget; 30d when empty.
	Window slo.Duration `mapstructure:"window"`
	// Owner and Runbook travel into every alert and signal.
	Owner   string `mapstructure:"owner"`
	Runbook string `mapstructure:"runbook"`
	// GroupBy makes one objective per combination of values of these attributes.
	GroupBy []string `mapstructure:"group_by"`
	// MaxGroups bounds them; 1000 when 0. What exceeds it shares one overflow group.
	MaxGroups int `mapstructure:"max_groups"`
	// Indicator says which events count and which of them are good.
	Indicator IndicatorConfig `mapstructure:"indicator"`
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
	errNoObjectives     = errors.New("objectives must name at least one objective")
)

// Validate names the first key that makes no sense, and its value.
func (c *Config) Validate() error {
	if c.SnapshotInterval < time.Second {
		return fmt.Errorf("%w (got %s)", errSnapshotInterval, c.SnapshotInterval)
	}
	if c.Journal != journalAlways && c.Journal != journalInterval {
		return fmt.Errorf("%w (got %q)", errJournal, c.Journal)
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
	profile, err := c.profile()
	if err != nil {
		return slo.Settings{}, nil, err
	}
	settings := slo.Settings{
		Profile: profile, MaxLateness: c.MaxLateness, MaxFuture: c.MaxFuture, AbsentAfter: c.AbsentAfter,
		Significance: c.Significance, MinBadEvents: c.MinBadEvents, Contributors: c.Contributors,
	}
	if len(c.Objectives) == 0 {
		return slo.Settings{}, nil, errNoObjectives
	}
	objectives := make([]slo.Objective, 0, len(c.Objectives))
	for i, oc := range c.Objectives {
		o, err := oc.objective()
		if err != nil {
			return slo.Settings{}, nil, fmt.Errorf("objectives[%d] %s: %w", i, oc.Name, err)
		}
		objectives = append(objectives, o)
	}
	return settings, objectives, nil
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

func (oc ObjectiveConfig) objective() (slo.Objective, error) {
	o := slo.Objective{
		Name: oc.Name, Description: oc.Description, Service: oc.Service, Target: oc.Target, Window: oc.Window, Owner: oc.Owner, Runbook: oc.Runbook,
		GroupBy: oc.GroupBy, MaxGroups: oc.MaxGroups,
	}
	if o.Name == "" {
		o.Name = o.Service
	}
	if o.Window == 0 {
		o.Window = slo.Duration(30 * slo.Day)
	}
	if o.MaxGroups == 0 {
		o.MaxGroups = slo.DefaultMaxGroups
	}
	var err error
	o.Indicator, err = oc.Indicator.indicator()
	return o, err
}
