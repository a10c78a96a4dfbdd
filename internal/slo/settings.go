// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"time"
)

// Settings are those of the whole book.
type Settings struct {
	Profile Profile
	// MaxLateness is how far behind its source's watermark an event may be and still count.
	MaxLateness time.Duration
	// MaxFuture is how far ahead of the clock an event may be; 0 turns the check off, for recordings moved into the future.
	MaxFuture time.Duration
	// AbsentAfter is how long after the last telemetry time counts as observed; the shortest alerting window when 0.
	AbsentAfter time.Duration
	// FalseAlerts is how often a service that spends half of its budget may alert by chance, in 30 days, for each objective and group.
	FalseAlerts float64
	// MinBadEvents is the least number of bad events, as seen, in the long window of a firing rule.
	MinBadEvents uint32
	// Maintenance is when objectives are frozen.
	Maintenance []Maintenance
	// Contributors are the attributes whose worst values an alert names.
	Contributors []string
}

// DefaultSettings are the book's settings where the user gives none.
func DefaultSettings() Settings {
	return Settings{
		Profile: Workbook(), MaxLateness: 5 * time.Minute, MaxFuture: time.Minute, FalseAlerts: 0.05, MinBadEvents: 2,
		Contributors: []string{"http.route", "service.version", "service.instance.id", "k8s.pod.name"},
	}
}

var errSettings = errors.New("slo settings")

// Validate names the first setting that makes no sense.
func (s Settings) Validate() error {
	if err := s.Profile.Validate(); err != nil {
		return err
	}
	switch {
	case s.MaxLateness < 0 || s.MaxLateness > time.Hour:
		return fmt.Errorf("%w: max_lateness must be between 0 and 1h (got %s)", errSettings, s.MaxLateness)
	case s.MaxFuture < 0:
		return fmt.Errorf("%w: max_future must not be negative (got %s)", errSettings, s.MaxFuture)
	case s.AbsentAfter < 0 || s.AbsentAfter > time.Hour:
		return fmt.Errorf("%w: absent_after must be between 0 and 1h (got %s)", errSettings, s.AbsentAfter)
	case !(s.FalseAlerts > 0 && s.FalseAlerts <= 1000):
		return fmt.Errorf("%w: false_alerts must be in (0, 1000] (got %v)", errSettings, s.FalseAlerts)
	case len(s.Contributors) > 16:
		return fmt.Errorf("%w: contributors takes at most 16 attributes (got %d)", errSettings, len(s.Contributors))
	}
	_, err := compileMaintenance(s.Maintenance)
	return err
}
