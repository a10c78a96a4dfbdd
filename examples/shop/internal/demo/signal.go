// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Signal is what the demo reads of a signal's envelope; the whole of it is described by docs/signal.schema.json.
type Signal struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	State    string `json:"state"`
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Target   struct {
		Service   string `json:"service"`
		Objective string `json:"objective"`
	} `json:"target"`
	Action struct {
		Verb       string `json:"verb"`
		Reversible bool   `json:"reversible"`
		Risk       string `json:"risk"`
	} `json:"action"`
	Evidence struct {
		Profile string `json:"profile"`
		Windows []struct {
			Window   string   `json:"window"`
			BurnRate *float64 `json:"burn_rate"`
		} `json:"windows"`
		Exemplars []struct {
			TraceID string `json:"trace_id"`
		} `json:"exemplars"`
	} `json:"evidence"`
	Budget *struct {
		Remaining *float64 `json:"remaining"`
		Burn      *float64 `json:"burn"`
	} `json:"budget"`
	Runbook string `json:"runbook"`
}

// Firing is the state of a signal whose condition holds.
const Firing = "firing"

// parseSignal reads the envelope in an event.
func parseSignal(e event) (Signal, error) {
	if !strings.HasPrefix(e.Type, "optimization.") {
		return Signal{}, fmt.Errorf("attribute type must begin with optimization. (got %q)", e.Type)
	}
	var s Signal
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return Signal{}, fmt.Errorf("data must be a signal: %w", err)
	}
	switch {
	case s.Kind != e.Type:
		return Signal{}, fmt.Errorf("data.kind must be the event's type %q (got %q)", e.Type, s.Kind)
	case s.State == "":
		return Signal{}, errors.New("data.state must not be empty")
	case s.ID == "":
		return Signal{}, errors.New("data.id must not be empty")
	}
	return s, nil
}

// plain says in plain words what a signal says, a few lines.
func (s Signal) plain() []string {
	who := s.Target.Service
	if who == "" {
		who = "no service in particular"
	}
	head := fmt.Sprintf("%s %s for %s", strings.ToUpper(s.State), s.Kind, who)
	if s.Target.Objective != "" {
		head += ", objective " + s.Target.Objective
	}
	if s.Severity != "" {
		head += " (" + s.Severity + ")"
	}
	lines := []string{head}
	if s.Summary != "" {
		lines = append(lines, s.Summary)
	}
	if line := s.plainBurn(); line != "" {
		lines = append(lines, line)
	}
	if s.Action.Verb != "" {
		words := "recommended: " + s.Action.Verb
		if s.Action.Reversible {
			words += ", can be undone"
		}
		if s.Action.Risk != "" {
			words += ", risk " + s.Action.Risk
		}
		lines = append(lines, words)
	}
	if ids := s.traceIDs(); len(ids) > 0 {
		lines = append(lines, "traces that show it: "+strings.Join(ids, " "))
	}
	return lines
}

func (s Signal) plainBurn() string {
	var parts []string
	if s.Budget != nil && s.Budget.Burn != nil {
		parts = append(parts, fmt.Sprintf("burning %.1f times too fast", *s.Budget.Burn))
	}
	if s.Budget != nil && s.Budget.Remaining != nil {
		parts = append(parts, fmt.Sprintf("%.1f %% of the error budget left", *s.Budget.Remaining*100))
	}
	for _, w := range s.Evidence.Windows {
		if w.BurnRate != nil {
			parts = append(parts, fmt.Sprintf("%s: %.1f", w.Window, *w.BurnRate))
		}
	}
	if s.Evidence.Profile == "demo" {
		parts = append(parts, "demo windows, far too short for production")
	}
	return strings.Join(parts, "; ")
}

func (s Signal) traceIDs() []string {
	ids := make([]string, 0, len(s.Evidence.Exemplars))
	for _, e := range s.Evidence.Exemplars {
		ids = append(ids, e.TraceID)
	}
	return ids
}
