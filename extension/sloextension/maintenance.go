// SPDX-License-Identifier: Apache-2.0

package sloextension

import "github.com/pitwall-io/pitwall/internal/slo"

// MaintenanceConfig is time, announced ahead, in which objectives are frozen.
type MaintenanceConfig struct {
	// Name is unique, and appears in the state of what is frozen.
	Name string `mapstructure:"name"`
	// Objectives and Services say what is frozen, by either; everything when both are empty.
	Objectives []string `mapstructure:"objectives"`
	Services   []string `mapstructure:"services"`
	// Start is when it begins, or begins first, as the clocks of Zone show it.
	Start string `mapstructure:"start"`
	// Zone is a name of the IANA time zone database; UTC when empty.
	Zone string `mapstructure:"zone"`
	// Length is how long it lasts.
	Length slo.Duration `mapstructure:"length"`
	// Every repeats it: 1d, 1w, 1M, 1Q, 1Y or a multiple. Once when empty.
	Every string `mapstructure:"every"`
	// Until ends the repetition, as the clocks of Zone show it: none begins then or later.
	Until string `mapstructure:"until"`
	// Effect is exclude, which leaves the events out of the budget, or mute, which counts them and holds the alerts; exclude when empty.
	Effect string `mapstructure:"effect"`
}

func (mc MaintenanceConfig) maintenance() (slo.Maintenance, error) {
	m := slo.Maintenance{
		Name: mc.Name, Objectives: mc.Objectives, Services: mc.Services, Start: mc.Start, Zone: mc.Zone, Length: mc.Length, Until: mc.Until, Effect: mc.Effect,
	}
	var err error
	if mc.Every != "" {
		m.Every, m.Unit, err = slo.ParsePeriod(mc.Every)
	}
	if err == nil {
		err = m.Validate()
	}
	return m, err
}
