// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"fmt"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/guardrail"
	"github.com/pitwall-io/pitwall/internal/plan"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// PlannerConfig says what benefits are worth, relative to one another.
type PlannerConfig struct {
	// MoneyWeight is the worth of one unit of the currency, saved in a month.
	MoneyWeight float64 `mapstructure:"money_weight"`
	// BudgetWeight is the worth of a whole error budget.
	BudgetWeight float64 `mapstructure:"budget_weight"`
	// LatencyWeight is the worth of a second off each request.
	LatencyWeight float64 `mapstructure:"latency_weight"`
}

// GuardrailsConfig bounds what an automaton may do.
type GuardrailsConfig struct {
	// HysteresisFactor is how many times the noise the thresholds of entering and leaving a condition must lie apart.
	HysteresisFactor float64 `mapstructure:"hysteresis_factor"`
	// MinInterval is how long after one acting signal another of the same kind may follow for the same target.
	MinInterval time.Duration `mapstructure:"min_interval"`
	// MinIntervals overrides MinInterval for single kinds.
	MinIntervals map[string]time.Duration `mapstructure:"min_intervals"`
	// MaxStep is the largest relative change of a setting.
	MaxStep float64 `mapstructure:"max_step"`
	// BudgetAll and BudgetReversible are the shares of the error budget above which everything, and above which reliability and what is
	// reversible, may be done; below both, reliability alone.
	BudgetAll        float64 `mapstructure:"budget_all"`
	BudgetReversible float64 `mapstructure:"budget_reversible"`
	// MinConfidence and MinExposure are the evidence floor.
	MinConfidence float64 `mapstructure:"min_confidence"`
	MinExposure   float64 `mapstructure:"min_exposure"`
	// FlapBudget is how many changes of direction a target and kind may have within FlapWindow.
	FlapBudget int           `mapstructure:"flap_budget"`
	FlapWindow time.Duration `mapstructure:"flap_window"`
	// Freezes are times in which nothing is changed but to take back harm.
	Freezes []FreezeConfig `mapstructure:"freezes"`
	// ChangeWindows, if there are any, are the only times in which something is changed but to take back harm.
	ChangeWindows []WindowConfig `mapstructure:"change_windows"`
	// ApprovalCriticality and ApprovalRisk are the values for which a person has to approve.
	ApprovalCriticality []string `mapstructure:"approval_criticality"`
	ApprovalRisk        []string `mapstructure:"approval_risk"`
	// MaxRevertRate, once MinActions were judged, and MaxRefuted in a row are where the circuit breaker opens.
	MaxRevertRate float64 `mapstructure:"max_revert_rate"`
	MinActions    int     `mapstructure:"min_actions"`
	MaxRefuted    int     `mapstructure:"max_refuted"`
	// MinCoverage is the share of the expected input below which nothing is concluded.
	MinCoverage float64 `mapstructure:"min_coverage"`
}

// FreezeConfig is a span of time.
type FreezeConfig struct {
	// From and To are RFC 3339 times.
	From   string `mapstructure:"from"`
	To     string `mapstructure:"to"`
	Reason string `mapstructure:"reason"`
}

// WindowConfig is a time of day on days of the week.
type WindowConfig struct {
	// Days are mon to sun; none means all.
	Days []string `mapstructure:"days"`
	// From and To are times of day, such as 09:00; To before From goes over midnight.
	From string `mapstructure:"from"`
	To   string `mapstructure:"to"`
	// Timezone is a name of the IANA database.
	Timezone string `mapstructure:"timezone"`
}

func defaultPlanner() PlannerConfig {
	w := plan.DefaultWeights()
	return PlannerConfig{MoneyWeight: w.Money, BudgetWeight: w.Budget, LatencyWeight: w.Latency}
}

func (c PlannerConfig) weights() plan.Weights {
	return plan.Weights{Money: c.MoneyWeight, Budget: c.BudgetWeight, Latency: c.LatencyWeight}
}

func (c PlannerConfig) validate() error {
	for _, v := range []struct {
		name  string
		value float64
	}{{"money_weight", c.MoneyWeight}, {"budget_weight", c.BudgetWeight}, {"latency_weight", c.LatencyWeight}} {
		if !(v.value >= 0 && v.value <= 1e12) {
			return fmt.Errorf("%w: planner::%s must be between 0 and 1e12 (got %v)", errConfig, v.name, v.value)
		}
	}
	return nil
}

func defaultGuardrails() GuardrailsConfig {
	s := guardrail.Default()
	return GuardrailsConfig{
		HysteresisFactor: s.HysteresisFactor, MinInterval: s.MinInterval, MaxStep: s.MaxStep,
		BudgetAll: s.BudgetAll, BudgetReversible: s.BudgetReversible, MinConfidence: s.MinConfidence, MinExposure: s.MinExposure,
		FlapBudget: s.FlapBudget, FlapWindow: s.FlapWindow, ApprovalCriticality: s.ApprovalCriticality, ApprovalRisk: s.ApprovalRisk,
		MaxRevertRate: s.MaxRevertRate, MinActions: s.MinActions, MaxRefuted: s.MaxRefuted, MinCoverage: s.MinCoverage,
	}
}

// settings reads the texts and checks all values.
func (c GuardrailsConfig) settings() (guardrail.Settings, error) {
	bad := func(key, want string, got any) (guardrail.Settings, error) {
		return guardrail.Settings{}, fmt.Errorf("%w: guardrails::%s must be %s (got %v)", errConfig, key, want, got)
	}
	for _, v := range []struct {
		key   string
		value float64
	}{
		{"budget_all", c.BudgetAll},
		{"budget_reversible", c.BudgetReversible},
		{"min_confidence", c.MinConfidence},
		{"max_revert_rate", c.MaxRevertRate},
		{"min_coverage", c.MinCoverage},
	} {
		if !(v.value >= 0 && v.value <= 1) {
			return bad(v.key, "between 0 and 1", v.value)
		}
	}
	switch {
	case !(c.HysteresisFactor >= 1 && c.HysteresisFactor <= 1000):
		return bad("hysteresis_factor", "between 1 and 1000", c.HysteresisFactor)
	case c.MinInterval < 0:
		return bad("min_interval", "positive or 0", c.MinInterval)
	case !(c.MaxStep > 0 && c.MaxStep <= 10):
		return bad("max_step", "above 0 and at most 10", c.MaxStep)
	case c.BudgetReversible > c.BudgetAll:
		return bad("budget_reversible", "at most budget_all", c.BudgetReversible)
	case !(c.MinExposure >= 0 && c.MinExposure <= 1e15):
		return bad("min_exposure", "between 0 and 1e15", c.MinExposure)
	case c.FlapBudget < 1 || c.FlapBudget > 16:
		return bad("flap_budget", "between 1 and 16", c.FlapBudget)
	case c.FlapWindow <= 0:
		return bad("flap_window", "positive", c.FlapWindow)
	case c.MinActions < 1:
		return bad("min_actions", "positive", c.MinActions)
	case c.MaxRefuted < 1:
		return bad("max_refuted", "positive", c.MaxRefuted)
	}
	s := guardrail.Settings{
		HysteresisFactor: c.HysteresisFactor, MinInterval: c.MinInterval, MinIntervals: c.MinIntervals, MaxStep: c.MaxStep,
		BudgetAll: c.BudgetAll, BudgetReversible: c.BudgetReversible, MinConfidence: c.MinConfidence, MinExposure: c.MinExposure,
		FlapBudget: c.FlapBudget, FlapWindow: c.FlapWindow, ApprovalCriticality: c.ApprovalCriticality, ApprovalRisk: c.ApprovalRisk,
		MaxRevertRate: c.MaxRevertRate, MinActions: c.MinActions, MaxRefuted: c.MaxRefuted, MinCoverage: c.MinCoverage,
	}
	for kind, least := range c.MinIntervals {
		if least < 0 {
			return bad("min_intervals::"+kind, "positive or 0", least)
		}
	}
	for i, f := range c.Freezes {
		from, errFrom := time.Parse(time.RFC3339, f.From)
		to, errTo := time.Parse(time.RFC3339, f.To)
		switch {
		case errFrom != nil:
			return bad(fmt.Sprintf("freezes[%d]::from", i), "an RFC 3339 time", f.From)
		case errTo != nil:
			return bad(fmt.Sprintf("freezes[%d]::to", i), "an RFC 3339 time", f.To)
		case !to.After(from):
			return bad(fmt.Sprintf("freezes[%d]::to", i), "after from", f.To)
		case len(f.Reason) > signal.MaxText:
			return bad(fmt.Sprintf("freezes[%d]::reason", i), fmt.Sprintf("at most %d bytes", signal.MaxText), len(f.Reason))
		}
		s.Freezes = append(s.Freezes, guardrail.Freeze{From: from, To: to, Reason: f.Reason})
	}
	for i, w := range c.ChangeWindows {
		window, key, err := w.window()
		if err != "" {
			return bad(fmt.Sprintf("change_windows[%d]::%s", i, key), err, fmt.Sprintf("%+v", w))
		}
		s.Windows = append(s.Windows, window)
	}
	return s, nil
}

var days = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// window reads the texts; want says what the key should have been.
func (c WindowConfig) window() (w guardrail.Window, key, want string) {
	for _, name := range c.Days {
		day, ok := days[strings.ToLower(name)]
		if !ok {
			return w, "days", "mon, tue, wed, thu, fri, sat or sun"
		}
		w.Days = append(w.Days, day)
	}
	for _, end := range []struct {
		key, text string
		to        *time.Duration
	}{{"from", c.From, &w.From}, {"to", c.To, &w.To}} {
		at, err := time.Parse("15:04", end.text)
		if err != nil {
			return w, end.key, "a time of day such as 09:00"
		}
		*end.to = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}
	var err error
	if w.Location, err = time.LoadLocation(c.Timezone); err != nil {
		return w, "timezone", "a name of the IANA time zone database"
	}
	return w, "", ""
}

// budgets returns the lowest error budget left of each service, as far as it is known.
func budgets(statuses []slo.Status) map[string]float64 {
	lowest := map[string]float64{}
	for _, s := range statuses {
		if s.BudgetRemaining == nil || s.State == slo.StateInsufficientData {
			continue
		}
		if old, ok := lowest[s.Service]; !ok || *s.BudgetRemaining < old {
			lowest[s.Service] = *s.BudgetRemaining
		}
	}
	return lowest
}
