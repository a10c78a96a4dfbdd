// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Severities of an alert rule.
const (
	SeverityPage   = "page"
	SeverityTicket = "ticket"
)

// Names of the alert profiles.
const (
	ProfileWorkbook = "workbook"
	ProfileDemo     = "demo"
	ProfileCustom   = "custom"
)

var errRule = errors.New("alert rule")

// Rule is a multi-window burn-rate alert: it fires while the burn of both windows is at or above the threshold. Exactly one of
// Budget and Burn is set.
type Rule struct {
	Name     string
	Severity string
	Long     Duration
	// Short is the second window, that ends the alert; the same as Long for a rule of one window.
	Short Duration
	// For is how long the condition must hold before the rule fires.
	For Duration `json:",omitzero"`
	// Budget is the share of the error budget spent within Long that is worth an alert, in (0, 1]. It scales with the
	// objective's window: 2 % in 1 h is a burn of 14.4 for 30 days and of 3.36 for 7.
	Budget float64
	// Burn is a fixed threshold, whatever the objective's window.
	Burn float64
}

// Validate names the first value that makes no sense.
func (r Rule) Validate() error {
	switch {
	case r.Name == "":
		return fmt.Errorf("%w: name must not be empty", errRule)
	case r.Severity != SeverityPage && r.Severity != SeverityTicket:
		return fmt.Errorf("%w %s: severity must be page or ticket (got %q)", errRule, r.Name, r.Severity)
	case r.Short < Duration(6*time.Second):
		return fmt.Errorf("%w %s: short must be at least 6s (got %s)", errRule, r.Name, r.Short)
	case r.Long < r.Short:
		return fmt.Errorf("%w %s: long must not be below short (got %s and %s)", errRule, r.Name, r.Long, r.Short)
	case r.For < 0 || r.For > Duration(Day):
		return fmt.Errorf("%w %s: for must be between 0 and 1d (got %s)", errRule, r.Name, r.For)
	case r.Long > Duration(30*Day):
		return fmt.Errorf("%w %s: long must be at most 30d (got %s)", errRule, r.Name, r.Long)
	case (r.Budget != 0) == (r.Burn != 0):
		return fmt.Errorf("%w %s: exactly one of budget and burn must be set (got %v and %v)", errRule, r.Name, r.Budget, r.Burn)
	case r.Budget < 0 || r.Budget > 1 || r.Budget != r.Budget:
		return fmt.Errorf("%w %s: budget must be in (0, 1] (got %v)", errRule, r.Name, r.Budget)
	case r.Burn != 0 && !(r.Burn >= 1 && r.Burn <= 1e6):
		return fmt.Errorf("%w %s: burn must be in [1, 1000000] (got %v)", errRule, r.Name, r.Burn)
	}
	return nil
}

// maxBurnShare keeps thresholds within reach: with a target of 0.9 nothing burns faster than 10, and a total outage must page.
const maxBurnShare = 0.9

// Threshold is the burn at which the rule fires for an objective. A scaled threshold is never below 1, since a burn under 1
// spends no more than the budget, and never above nine tenths of the burn of a total outage.
func (r Rule) Threshold(window time.Duration, target float64) float64 {
	threshold := r.Burn
	if r.Budget != 0 {
		threshold = max(1, r.Budget*float64(window)/float64(r.Long))
	}
	return min(threshold, maxBurnShare/(1-target))
}

// Profile is a named set of alert rules, and the windows whose burn is reported.
type Profile struct {
	Name    string
	Rules   []Rule
	Windows []Duration
}

// Workbook is the default of the SRE Workbook (Beyer et al., 2018, chapter 5, table 5-8): for 30 days, burns of 14.4 and 6
// page and 1 opens a ticket.
func Workbook() Profile {
	return newProfile(ProfileWorkbook, []Rule{
		{Name: "page-1h", Severity: SeverityPage, Long: Duration(time.Hour), Short: Duration(5 * time.Minute), Budget: 0.02},
		{Name: "page-6h", Severity: SeverityPage, Long: Duration(6 * time.Hour), Short: Duration(30 * time.Minute), Budget: 0.05},
		{Name: "ticket-3d", Severity: SeverityTicket, Long: Duration(3 * Day), Short: Duration(6 * time.Hour), Budget: 0.10},
	}, Duration(2*time.Hour), Duration(Day))
}

// Demo shows a page within minutes. Its one rule has the burn of the workbook's slower page, 6: what a newcomer breaks is
// often broken in part, and within three minutes no budget of 30 days is in danger. It is for demonstrations and recordings, and
// every output says so.
func Demo() Profile {
	return newProfile(ProfileDemo, []Rule{
		{Name: "demo-3m", Severity: SeverityPage, Long: Duration(3 * time.Minute), Short: Duration(30 * time.Second), Burn: 6},
	})
}

// Custom is a profile of the user's own rules.
func Custom(rules []Rule) Profile { return newProfile(ProfileCustom, rules) }

func newProfile(name string, rules []Rule, more ...Duration) Profile {
	p := Profile{Name: name, Rules: rules, Windows: more}
	for _, r := range rules {
		p.Windows = append(p.Windows, r.Short, r.Long)
	}
	slices.Sort(p.Windows)
	p.Windows = slices.Compact(p.Windows)
	return p
}

// Validate checks every rule and that names are unique.
func (p Profile) Validate() error {
	if len(p.Rules) == 0 {
		return fmt.Errorf("profile %s: at least one %w is needed", p.Name, errRule)
	}
	seen := map[string]bool{}
	for _, r := range p.Rules {
		if err := r.Validate(); err != nil {
			return err
		}
		if seen[r.Name] {
			return fmt.Errorf("%w %s: the name is used twice", errRule, r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}

func (p Profile) shortest() time.Duration { return time.Duration(p.Windows[0]) }
