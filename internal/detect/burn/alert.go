// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// Alert is one transition of one alert rule of one objective, or a repetition of it. Nil numbers and empty strings are unknown.
// Numbers are finite; whoever fills the struct has seen to it.
type Alert struct {
	// Time is the event time of the transition.
	Time time.Time
	// StartedAt is the event time at which the rule began to fire; with the rule it names the episode.
	StartedAt time.Time
	Firing    bool
	// Rule is the alert rule's name, such as page-1h.
	Rule     string
	Severity signal.Severity
	// Profile names the alerting windows in force: workbook, demo or custom.
	Profile string

	Objective string
	// ObjectiveWindow is the objective's own window; zero when unknown.
	ObjectiveWindow time.Duration
	Service         string
	Namespace       string
	Environment     string
	// Group holds the attributes and values of the objective's group.
	Group     map[string]string
	Indicator string
	Owner     string
	Runbook   string

	LongWindow, ShortWindow        string
	LongBurn, ShortBurn, Threshold *float64
	// Target is in [0, 1).
	Target          *float64
	BudgetRemaining *float64
	Coverage        *float64
	// Good and Bad are the weighted events of the long window.
	Good, Bad *float64

	TraceIDs     []string
	Contributors []signal.Contributor
}

// key identifies the objective, or its group, across rules and reporting collectors.
func (a *Alert) key() string {
	var b strings.Builder
	part := func(s string) {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	part(a.Objective)
	part(a.Service)
	part(a.Namespace)
	part(a.Environment)
	for _, name := range slices.Sorted(maps.Keys(a.Group)) {
		part(name)
		part(a.Group[name])
	}
	return b.String()
}

func rank(s signal.Severity) int {
	switch s {
	case signal.SeverityPage:
		return 2
	case signal.SeverityTicket:
		return 1
	default:
		return 0
	}
}
