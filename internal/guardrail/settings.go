// SPDX-License-Identifier: Apache-2.0

package guardrail

import (
	"slices"
	"time"
)

// Settings are the limits of the rules.
type Settings struct {
	// HysteresisFactor is how many times the noise the thresholds of entering and leaving a condition must lie apart.
	HysteresisFactor float64
	// MinInterval is how long after one acting signal another of the same kind may follow for the same target; MinIntervals overrides it
	// for single kinds.
	MinInterval  time.Duration
	MinIntervals map[string]time.Duration
	// MaxStep is the largest relative change of a setting.
	MaxStep float64
	// BudgetAll and BudgetReversible are the shares of the error budget above which every action, and above which reliability and what can
	// be taken back is allowed. Below both, reliability alone is.
	BudgetAll, BudgetReversible float64
	// MinConfidence and MinExposure are the evidence floor.
	MinConfidence, MinExposure float64
	// FlapBudget is how many changes of direction a target and kind may have within FlapWindow.
	FlapBudget int
	FlapWindow time.Duration
	// Freezes are times in which nothing is changed; Windows, if there are any, are the only times in which something is.
	Freezes []Freeze
	Windows []Window
	// ApprovalCriticality are the values of service.criticality, and ApprovalRisk the risks, for which a person has to approve.
	ApprovalCriticality, ApprovalRisk []string
	// MaxRevertRate and MaxRefuted are where the circuit breaker opens: the share of actions that were taken back, once MinActions were
	// judged, and the refuted signals in a row.
	MaxRevertRate float64
	MinActions    int
	MaxRefuted    int
	// MinCoverage is the share of the expected input below which nothing may be concluded.
	MinCoverage float64
}

// Default returns the limits in force when nothing is configured.
func Default() Settings {
	return Settings{
		HysteresisFactor: 2,
		MinInterval:      15 * time.Minute,
		MaxStep:          0.20,
		BudgetAll:        0.50, BudgetReversible: 0.25,
		MinConfidence: 0.90, MinExposure: 100,
		FlapBudget: 2, FlapWindow: time.Hour,
		ApprovalCriticality: []string{"critical"}, ApprovalRisk: []string{"high"},
		MaxRevertRate: 0.01, MinActions: 20, MaxRefuted: 3,
		MinCoverage: 0.95,
	}
}

// Freeze is a span of time in which nothing is changed.
type Freeze struct {
	From, To time.Time
	Reason   string
}

func (f Freeze) holds(now time.Time) bool { return !now.Before(f.From) && now.Before(f.To) }

// Window is a time of day, on some days of the week, in a place.
type Window struct {
	Days []time.Weekday
	// From and To are times since midnight; a window over midnight has To before From and belongs to the day on which it begins.
	From, To time.Duration
	Location *time.Location
}

func (w Window) holds(now time.Time) bool {
	local := now.In(w.Location)
	since := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second
	on := func(day time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, day) }
	today := local.Weekday()
	if w.From <= w.To {
		return on(today) && since >= w.From && since < w.To
	}
	yesterday := (today + 6) % 7
	return on(today) && since >= w.From || on(yesterday) && since < w.To
}
