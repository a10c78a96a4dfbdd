// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// IndicatorKind says which events an indicator counts.
type IndicatorKind string

// The kinds of indicator, as they appear in `slo.indicator`.
const (
	IndicatorSpans   IndicatorKind = "spans"
	IndicatorLatency IndicatorKind = "spans.latency"
	IndicatorLogs    IndicatorKind = "logs"
)

// maxWindow is the longest window an objective may have.
const maxWindow = 366 * Day

// serviceName is the attribute that names a service.
const serviceName = "service.name"

// Match is a condition on one attribute of the resource or of the event itself. All conditions of an indicator must hold.
type Match struct {
	Attribute string
	// Equals or Regex, one of them. Regex must match the whole value.
	Equals string
	Regex  string
}

// Indicator says which events count and which of those are bad. It is the union of all kinds; Kind tells which fields apply.
type Indicator struct {
	Kind IndicatorKind
	// Kinds are the span kinds that count ("server", "consumer", ... or "any"); SERVER and CONSUMER when empty.
	Kinds []string
	// Latency makes a span longer than it bad (IndicatorLatency).
	Latency time.Duration
	// IncludeSynthetic also counts traffic of probes (`user_agent.synthetic.type`).
	IncludeSynthetic bool
	// BadSeverity is the lowest severity number that makes a log record bad.
	BadSeverity int32
	Match       []Match
}

// Objective is an indicator with a target and a window.
type Objective struct {
	Name string
	// Description says for humans what is promised.
	Description string
	Service     string
	Target      float64
	Window      Duration
	Owner       string
	Runbook     string
	GroupBy     []string
	MaxGroups   int
	Indicator   Indicator
}

// DefaultMaxGroups bounds the groups of one objective; what does not fit shares one overflow group.
const DefaultMaxGroups = 1000

var errObjective = errors.New("objective")

// Validate names the first value that makes no sense.
func (o Objective) Validate() error {
	switch {
	case o.Name == "":
		return fmt.Errorf("%w: name must not be empty", errObjective)
	case !(o.Target >= 0 && o.Target < 1):
		return fmt.Errorf("%w %s: target must be in [0, 1) (got %v)", errObjective, o.Name, o.Target)
	case o.Window < Duration(time.Hour) || o.Window > Duration(maxWindow):
		return fmt.Errorf("%w %s: window must be between 1h and 366d (got %s)", errObjective, o.Name, o.Window)
	case o.MaxGroups < 1 || o.MaxGroups > 100_000:
		return fmt.Errorf("%w %s: max_groups must be between 1 and 100000 (got %d)", errObjective, o.Name, o.MaxGroups)
	case len(o.GroupBy) > 8:
		return fmt.Errorf("%w %s: group_by takes at most 8 attributes (got %d)", errObjective, o.Name, len(o.GroupBy))
	}
	seen := map[string]bool{}
	for _, attribute := range o.GroupBy {
		if attribute == "" || seen[attribute] {
			return fmt.Errorf("%w %s: group_by must name distinct attributes (got %q)", errObjective, o.Name, o.GroupBy)
		}
		seen[attribute] = true
	}
	return o.Indicator.validate(o.Name)
}

func (i Indicator) validate(name string) error {
	switch i.Kind {
	case IndicatorSpans:
	case IndicatorLatency:
		if i.Latency <= 0 {
			return fmt.Errorf("%w %s: latency must be positive (got %s)", errObjective, name, i.Latency)
		}
	case IndicatorLogs:
		if i.BadSeverity < 1 || i.BadSeverity > 24 {
			return fmt.Errorf("%w %s: bad_severity must be a severity between TRACE and FATAL4 (got number %d)", errObjective, name, i.BadSeverity)
		}
	default:
		return fmt.Errorf("%w %s: indicator must be spans or logs (got %q)", errObjective, name, i.Kind)
	}
	for _, m := range i.Match {
		switch {
		case m.Attribute == "":
			return fmt.Errorf("%w %s: match: attribute must not be empty", errObjective, name)
		case (m.Equals == "") == (m.Regex == ""):
			return fmt.Errorf("%w %s: match %s: exactly one of equals and regex must be set", errObjective, name, m.Attribute)
		}
		if _, err := regexp.Compile(m.Regex); err != nil {
			return fmt.Errorf("%w %s: match %s: regex: %w", errObjective, name, m.Attribute, err)
		}
	}
	return nil
}

// Digest identifies the state that belongs to an objective: it changes when the name, the service, the indicator, the grouping or
// the window changes, and stays when target, owner or runbook do.
func (o Objective) Digest() string {
	text, err := json.Marshal(struct {
		Name, Service string
		Window        Duration
		GroupBy       []string
		Indicator     Indicator
	}{o.Name, o.Service, o.Window, o.GroupBy, o.Indicator})
	if err != nil {
		return o.Name // a struct of strings and numbers always encodes
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}
