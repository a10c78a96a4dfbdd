// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/slo"
)

var (
	errIndicator = errors.New("indicator must hold exactly one of spans and logs")
	errKind      = errors.New("kinds must be of server, consumer, client, producer, internal, unspecified, any")
	errSeverity  = errors.New("bad_severity must be a severity such as WARN or ERROR")
)

// IndicatorConfig holds exactly one kind of indicator.
type IndicatorConfig struct {
	// Spans counts spans.
	Spans *SpansConfig `mapstructure:"spans"`
	// Logs counts log records.
	Logs *LogsConfig `mapstructure:"logs"`
}

// SpansConfig counts spans. Bad is status ERROR, or with Latency a duration above it.
type SpansConfig struct {
	// Kinds are the span kinds that count: server, consumer, client, producer, internal, unspecified or any. Server and consumer when empty.
	Kinds []string `mapstructure:"kinds"`
	// Latency makes this a latency objective: a span that took longer is bad, whatever its status.
	Latency time.Duration `mapstructure:"latency"`
	// IncludeSynthetic also counts traffic marked by user_agent.synthetic.type.
	IncludeSynthetic bool `mapstructure:"include_synthetic"`
	// Match limits the spans to those whose attributes (of the resource or the span) or name (attribute "span.name") match.
	Match []MatchConfig `mapstructure:"match"`
}

// LogsConfig counts log records.
type LogsConfig struct {
	// BadSeverity is the lowest severity that makes a record bad: TRACE, DEBUG, INFO, WARN, ERROR or FATAL, optionally with 2 to 4.
	BadSeverity string `mapstructure:"bad_severity"`
	// Match limits the records to those whose attributes match.
	Match []MatchConfig `mapstructure:"match"`
}

// MatchConfig is a condition on one attribute; exactly one of Equals and Regex is set.
type MatchConfig struct {
	// Attribute is looked for in the resource, then in the span or record.
	Attribute string `mapstructure:"attribute"`
	// Equals is the value wanted.
	Equals string `mapstructure:"equals"`
	// Regex must match the whole value.
	Regex string `mapstructure:"regex"`
}

func (ic IndicatorConfig) indicator() (slo.Indicator, error) {
	switch {
	case ic.Spans != nil && ic.Logs == nil:
		return ic.Spans.indicator()
	case ic.Logs != nil && ic.Spans == nil:
		number, ok := severityNumber(ic.Logs.BadSeverity)
		if !ok {
			return slo.Indicator{}, fmt.Errorf("%w (got %q)", errSeverity, ic.Logs.BadSeverity)
		}
		return slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: number, Match: matches(ic.Logs.Match)}, nil
	}
	return slo.Indicator{}, errIndicator
}

func (sc SpansConfig) indicator() (slo.Indicator, error) {
	for _, kind := range sc.Kinds {
		switch kind {
		case "server", "consumer", "client", "producer", "internal", "unspecified", "any":
		default:
			return slo.Indicator{}, fmt.Errorf("%w (got %q)", errKind, kind)
		}
	}
	i := slo.Indicator{Kind: slo.IndicatorSpans, Kinds: sc.Kinds, IncludeSynthetic: sc.IncludeSynthetic, Match: matches(sc.Match)}
	if sc.Latency != 0 {
		i.Kind, i.Latency = slo.IndicatorLatency, sc.Latency
	}
	return i, nil
}

func matches(configs []MatchConfig) []slo.Match {
	var out []slo.Match
	for _, m := range configs {
		out = append(out, slo.Match(m))
	}
	return out
}

// severityNumber reads a severity name of the log data model: a range name means its first number.
func severityNumber(name string) (int32, bool) {
	ranges := []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
	for i, base := range ranges {
		suffix, ok := strings.CutPrefix(strings.ToUpper(name), base)
		if !ok {
			continue
		}
		switch suffix {
		case "":
			return int32(4*i + 1), true
		case "2", "3", "4":
			return int32(4*i) + int32(suffix[0]-'0'), true
		}
	}
	return 0, false
}
