// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"regexp"
	"time"
)

// IndicatorKind says which events an indicator counts.
type IndicatorKind string

// The kinds of indicator, as they appear in `slo.indicator`.
const (
	IndicatorSpans     IndicatorKind = "spans"
	IndicatorLatency   IndicatorKind = "spans.latency"
	IndicatorLogs      IndicatorKind = "logs"
	IndicatorRatio     IndicatorKind = "metrics.ratio"
	IndicatorHistogram IndicatorKind = "metrics.histogram"
	IndicatorGauge     IndicatorKind = "metrics.gauge"
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
	// Latency makes a span longer than it bad (IndicatorLatency), or an observation of a histogram (IndicatorHistogram).
	Latency time.Duration
	// IncludeSynthetic also counts traffic of probes (`user_agent.synthetic.type`).
	IncludeSynthetic bool
	// BadSeverity is the lowest severity number that makes a log record bad.
	BadSeverity int32
	Match       []Match
	// Where is an OTTL condition beside Match, on spans and log records: those for which it does not hold do not count.
	Where string `json:",omitempty"`
	// BadWhen is an OTTL condition that replaces the built-in verdict on spans and log records.
	BadWhen string `json:",omitempty"`
	// Metric is what the indicators over metrics read.
	Metric *MetricIndicator `json:",omitempty"`
}

// MetricIndicator says which metrics hold the events.
type MetricIndicator struct {
	// Good or Bad, and Total, are the counters of IndicatorRatio.
	Good, Bad, Total *MetricSelector `json:",omitempty"`
	// Value is the histogram of IndicatorHistogram or the gauge of IndicatorGauge.
	Value *MetricSelector `json:",omitempty"`
	// Op is how a gauge compares with Threshold while it is good: lt, lte, gt or gte. A histogram's observations are good up to it.
	Op string `json:",omitempty"`
	// Threshold is in the metric's own unit. A histogram has it or Latency.
	Threshold float64
	// Slice is the most time one value of a gauge stands for, and the unit in which its time is counted.
	Slice Duration `json:",omitempty"`
}

// MetricSelector picks data points.
type MetricSelector struct {
	Name  string
	Match []Match
	// Where is an OTTL condition on the data point.
	Where string `json:",omitempty"`
}

// gaugeOps are the comparisons of a gauge.
var gaugeOps = map[string]func(value, threshold float64) bool{
	"lt":  func(v, t float64) bool { return v < t },
	"lte": func(v, t float64) bool { return v <= t },
	"gt":  func(v, t float64) bool { return v > t },
	"gte": func(v, t float64) bool { return v >= t },
}

// GoodGauge reports whether a value of a gauge is good.
func (m *MetricIndicator) GoodGauge(value float64) bool { return gaugeOps[m.Op](value, m.Threshold) }

// Attributes are those the indicator's conditions name.
func (i Indicator) Attributes() []string {
	var names []string
	add := func(matches []Match) {
		for _, m := range matches {
			names = append(names, m.Attribute)
		}
	}
	add(i.Match)
	if i.Metric != nil {
		for _, s := range []*MetricSelector{i.Metric.Good, i.Metric.Bad, i.Metric.Total, i.Metric.Value} {
			if s != nil {
				add(s.Match)
			}
		}
	}
	return names
}

func (i Indicator) validate(name string) error {
	switch i.Kind {
	case IndicatorSpans:
	case IndicatorLatency:
		if i.Latency <= 0 {
			return fmt.Errorf("%w %s: latency must be positive (got %s)", errObjective, name, i.Latency)
		}
		if i.BadWhen != "" {
			return fmt.Errorf("%w %s: bad_when and latency are two verdicts; set one (got %q and %s)", errObjective, name, i.BadWhen, i.Latency)
		}
	case IndicatorLogs:
		if i.BadWhen == "" && (i.BadSeverity < 1 || i.BadSeverity > 24) {
			return fmt.Errorf("%w %s: bad_severity must be a severity between TRACE and FATAL4 (got number %d)", errObjective, name, i.BadSeverity)
		}
	case IndicatorRatio, IndicatorHistogram, IndicatorGauge:
		if err := i.validateMetric(); err != nil {
			return fmt.Errorf("%w %s: %w", errObjective, name, err)
		}
	default:
		return fmt.Errorf("%w %s: indicator must be spans, logs or metrics (got %q)", errObjective, name, i.Kind)
	}
	return validateMatches(errObjectiveName(name), i.Match)
}

func errObjectiveName(name string) error { return fmt.Errorf("%w %s", errObjective, name) }

func (i Indicator) validateMetric() error {
	m := i.Metric
	if m == nil {
		return fmt.Errorf("metrics: %s names no metric", i.Kind)
	}
	if math.IsNaN(m.Threshold) || math.IsInf(m.Threshold, 0) {
		return fmt.Errorf("metrics: threshold must be a finite number (got %v)", m.Threshold)
	}
	var selectors map[string]*MetricSelector
	switch i.Kind {
	case IndicatorRatio:
		if (m.Good == nil) == (m.Bad == nil) || m.Total == nil {
			return fmt.Errorf("metrics: want total and exactly one of good and bad (got good %t, bad %t, total %t)", m.Good != nil, m.Bad != nil, m.Total != nil)
		}
		selectors = map[string]*MetricSelector{"good": m.Good, "bad": m.Bad, "total": m.Total}
	case IndicatorHistogram:
		if i.Latency < 0 {
			return fmt.Errorf("metrics: latency must be positive (got %s)", i.Latency)
		}
		selectors = map[string]*MetricSelector{"histogram": m.Value}
	default:
		if gaugeOps[m.Op] == nil {
			return fmt.Errorf("metrics: op must be lt, lte, gt or gte (got %q)", m.Op)
		}
		if m.Slice < Duration(time.Second) || m.Slice > Duration(time.Hour) {
			return fmt.Errorf("metrics: slice must be between 1s and 1h (got %s)", m.Slice)
		}
		selectors = map[string]*MetricSelector{"gauge": m.Value}
	}
	for _, key := range []string{"good", "bad", "total", "histogram", "gauge"} {
		s, wanted := selectors[key]
		switch {
		case !wanted, s == nil && i.Kind == IndicatorRatio:
			continue
		case s == nil || s.Name == "":
			return fmt.Errorf("metrics: %s: metric must not be empty", key)
		}
		if err := validateMatches(fmt.Errorf("metrics: %s", key), s.Match); err != nil {
			return err
		}
	}
	return nil
}

func validateMatches(where error, matches []Match) error {
	for _, m := range matches {
		switch {
		case m.Attribute == "":
			return fmt.Errorf("%w: match: attribute must not be empty", where)
		case (m.Equals == "") == (m.Regex == ""):
			return fmt.Errorf("%w: match %s: exactly one of equals and regex must be set", where, m.Attribute)
		}
		if _, err := regexp.Compile(m.Regex); err != nil {
			return fmt.Errorf("%w: match %s: regex: %w", where, m.Attribute, err)
		}
	}
	return nil
}
