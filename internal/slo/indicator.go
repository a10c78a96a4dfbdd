// SPDX-License-Identifier: Apache-2.0

package slo

import (
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
