// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"cmp"
	"errors"
	"fmt"
	_ "time/tzdata" // calendars need zones where the machine has none

	"github.com/pitwall-io/pitwall/internal/slo"
)

var errWindows = errors.New("window and calendar exclude each other")

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
	// Calendar makes the budget one of calendar periods, instead of Window.
	Calendar *CalendarConfig `mapstructure:"calendar"`
	// Method is what the budget is counted in: occurrences, timeslices or ratio_timeslices; occurrences when empty.
	Method slo.Method `mapstructure:"method"`
	// TimeSliceWindow is the length of a time slice, in whole minutes.
	TimeSliceWindow slo.Duration `mapstructure:"time_slice_window"`
	// TimeSliceTarget is the share of good events that makes a time slice good.
	TimeSliceTarget float64 `mapstructure:"time_slice_target"`
	// Owner and Runbook travel into every alert and signal.
	Owner   string `mapstructure:"owner"`
	Runbook string `mapstructure:"runbook"`
	// GroupBy makes one objective per combination of values of these attributes.
	GroupBy []string `mapstructure:"group_by"`
	// MaxGroups bounds them; 1000 when 0. What exceeds it shares one overflow group.
	MaxGroups int `mapstructure:"max_groups"`
	// Indicator says which events count and which of them are good.
	Indicator IndicatorConfig `mapstructure:"indicator"`
	// Composite makes an objective of others, instead of Indicator.
	Composite []ComponentConfig `mapstructure:"composite"`
}

// CalendarConfig is a sequence of calendar periods.
type CalendarConfig struct {
	// Every is the length of a period: 1d, 1w, 1M, 1Q, 1Y or a multiple.
	Every string `mapstructure:"every"`
	// Start is a boundary, as the clocks of Zone show it; 1970-01-05, a Monday, for weeks and 1970-01-01 otherwise when empty.
	Start string `mapstructure:"start"`
	// Zone is a name of the IANA time zone database; UTC when empty.
	Zone string `mapstructure:"zone"`
}

// ComponentConfig is one objective of a composite.
type ComponentConfig struct {
	// Objective is its name.
	Objective string `mapstructure:"objective"`
	// Weight multiplies what it spends; 1 when 0.
	Weight float64 `mapstructure:"weight"`
}

func (oc ObjectiveConfig) objective() (slo.Objective, error) {
	o := slo.Objective{
		Name: oc.Name, Description: oc.Description, Service: oc.Service, Target: oc.Target, Window: oc.Window, Owner: oc.Owner, Runbook: oc.Runbook,
		GroupBy: oc.GroupBy, MaxGroups: oc.MaxGroups, Method: oc.Method, TimeSliceWindow: oc.TimeSliceWindow, TimeSliceTarget: oc.TimeSliceTarget,
	}
	if o.Name == "" {
		o.Name = o.Service
	}
	if oc.Calendar != nil {
		if oc.Window != 0 {
			return o, fmt.Errorf("%w (got %s and %s)", errWindows, oc.Window, oc.Calendar.Every)
		}
		c, err := oc.Calendar.calendar()
		if err != nil {
			return o, err
		}
		o.Calendar = &c
	} else if o.Window == 0 {
		o.Window = slo.Duration(30 * slo.Day)
	}
	if o.MaxGroups == 0 {
		o.MaxGroups = slo.DefaultMaxGroups
	}
	for _, c := range oc.Composite {
		o.Composite = append(o.Composite, slo.Component{Objective: c.Objective, Weight: cmp.Or(c.Weight, 1)})
	}
	if len(o.Composite) > 0 && oc.Indicator == (IndicatorConfig{}) {
		return o, nil
	}
	var err error
	o.Indicator, err = oc.Indicator.indicator()
	return o, err
}

func (cc CalendarConfig) calendar() (slo.Calendar, error) {
	every, unit, err := slo.ParsePeriod(cc.Every)
	start := cc.Start
	if start == "" {
		start = "1970-01-01"
		if unit == slo.UnitWeek {
			start = "1970-01-05"
		}
	}
	return slo.Calendar{Start: start, Zone: cc.Zone, Every: every, Unit: unit}, err
}
