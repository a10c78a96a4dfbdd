// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/condition"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// IndicatorConfig holds exactly one kind of indicator.
type IndicatorConfig struct {
	// Spans counts spans.
	Spans *SpansConfig `mapstructure:"spans"`
	// Logs counts log records.
	Logs *LogsConfig `mapstructure:"logs"`
	// Metrics counts what counters, histograms and gauges say.
	Metrics *MetricsConfig `mapstructure:"metrics"`
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
	// Where is an OTTL condition: spans for which it does not hold do not count.
	Where string `mapstructure:"where"`
	// BadWhen is an OTTL condition that says which spans are bad, instead of their status.
	BadWhen string `mapstructure:"bad_when"`
}

// LogsConfig counts log records.
type LogsConfig struct {
	// BadSeverity is the lowest severity that makes a record bad: TRACE, DEBUG, INFO, WARN, ERROR or FATAL, optionally with 2 to 4.
	BadSeverity string `mapstructure:"bad_severity"`
	// Match limits the records to those whose attributes, or body (attribute "log.body"), match.
	Match []MatchConfig `mapstructure:"match"`
	// Where is an OTTL condition: records for which it does not hold do not count.
	Where string `mapstructure:"where"`
	// BadWhen is an OTTL condition that says which records are bad, instead of their severity.
	BadWhen string `mapstructure:"bad_when"`
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

// MetricsConfig holds a ratio of counters (total, and good or bad), a histogram with a threshold, or a gauge with a comparison.
type MetricsConfig struct {
	// Good counts good events, a counter. It or Bad stands beside Total.
	Good *MetricConfig `mapstructure:"good"`
	// Bad counts bad events.
	Bad *MetricConfig `mapstructure:"bad"`
	// Total counts all events.
	Total *MetricConfig `mapstructure:"total"`
	// Histogram holds observations, good up to Latency or Threshold.
	Histogram *MetricConfig `mapstructure:"histogram"`
	// Gauge holds values, whose time is good while they compare with Threshold by Op.
	Gauge *MetricConfig `mapstructure:"gauge"`
	// Latency is the threshold of a histogram of durations, whatever its unit.
	Latency time.Duration `mapstructure:"latency"`
	// Threshold is in the metric's own unit.
	Threshold *float64 `mapstructure:"threshold"`
	// Op is lt, lte, gt or gte.
	Op string `mapstructure:"op"`
	// Slice is the most time one value of a gauge stands for; 1m when empty.
	Slice slo.Duration `mapstructure:"slice"`
}

// MetricConfig picks data points.
type MetricConfig struct {
	// Metric is the name.
	Metric string `mapstructure:"metric"`
	// Match limits the points to those whose attributes (of the resource or the point) match.
	Match []MatchConfig `mapstructure:"match"`
	// Where is an OTTL condition on the data point.
	Where string `mapstructure:"where"`
}

var (
	errIndicator = errors.New("indicator must hold exactly one of spans, logs and metrics")
	errKind      = errors.New("kinds must be of server, consumer, client, producer, internal, unspecified, any")
	errSeverity  = errors.New("bad_severity must be a severity such as WARN or ERROR")
	errMetrics   = errors.New("metrics must hold exactly one of a ratio (total, and good or bad), histogram and gauge")
)

// defaultSlice is the most time one value of a gauge stands for where the user gives none.
const defaultSlice = slo.Duration(time.Minute)

// indicator makes the engine's form. Without any kind it is all requests of the objective's service: spans, good by their status.
func (ic IndicatorConfig) indicator() (slo.Indicator, error) {
	kinds := 0
	for _, set := range []bool{ic.Spans != nil, ic.Logs != nil, ic.Metrics != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return SpansConfig{}.indicator()
	case kinds > 1:
		return slo.Indicator{}, errIndicator
	case ic.Spans != nil:
		return ic.Spans.indicator()
	case ic.Logs != nil:
		return ic.Logs.indicator()
	}
	return ic.Metrics.indicator()
}

// checkConditions compiles the OTTL conditions of objectives, so that a wrong one is found before anything starts.
func checkConditions(objectives []slo.Objective) error {
	quiet := component.TelemetrySettings{Logger: zap.NewNop()}
	for _, o := range objectives {
		i := o.Indicator
		var errs []error
		switch {
		case i.Metric != nil:
			for _, s := range []*slo.MetricSelector{i.Metric.Good, i.Metric.Bad, i.Metric.Total, i.Metric.Value} {
				if s != nil {
					_, err := condition.ForPoints(s.Where, quiet)
					errs = append(errs, err)
				}
			}
		case i.Kind == slo.IndicatorLogs:
			_, where := condition.ForLogs(i.Where, quiet)
			_, bad := condition.ForLogs(i.BadWhen, quiet)
			errs = append(errs, where, bad)
		default:
			_, where := condition.ForSpans(i.Where, quiet)
			_, bad := condition.ForSpans(i.BadWhen, quiet)
			errs = append(errs, where, bad)
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("objective %s: %w", o.Name, err)
		}
	}
	return nil
}

func (lc LogsConfig) indicator() (slo.Indicator, error) {
	i := slo.Indicator{Kind: slo.IndicatorLogs, Match: matches(lc.Match), Where: lc.Where, BadWhen: lc.BadWhen}
	if lc.BadSeverity == "" {
		if lc.BadWhen == "" {
			return slo.Indicator{}, fmt.Errorf("%w (got %q)", errSeverity, lc.BadSeverity)
		}
		return i, nil
	}
	number, ok := severityNumber(lc.BadSeverity)
	switch {
	case !ok:
		return slo.Indicator{}, fmt.Errorf("%w (got %q)", errSeverity, lc.BadSeverity)
	case lc.BadWhen != "":
		return slo.Indicator{}, fmt.Errorf("bad_severity and bad_when are two verdicts; set one (got %q and %q)", lc.BadSeverity, lc.BadWhen)
	}
	i.BadSeverity = number
	return i, nil
}

func (mc MetricsConfig) indicator() (slo.Indicator, error) {
	ratio := mc.Good != nil || mc.Bad != nil || mc.Total != nil
	switch {
	case ratio && mc.Histogram == nil && mc.Gauge == nil:
		if mc.Latency != 0 || mc.Threshold != nil || mc.Op != "" || mc.Slice != 0 {
			return slo.Indicator{}, errors.New("metrics: latency, threshold, op and slice do not belong to a ratio of counters")
		}
		return slo.Indicator{Kind: slo.IndicatorRatio, Metric: &slo.MetricIndicator{
			Good: mc.Good.selector(), Bad: mc.Bad.selector(), Total: mc.Total.selector(),
		}}, nil
	case mc.Histogram != nil && !ratio && mc.Gauge == nil:
		return mc.histogram()
	case mc.Gauge != nil && !ratio && mc.Histogram == nil:
		return mc.gauge()
	}
	return slo.Indicator{}, errMetrics
}

func (mc MetricsConfig) histogram() (slo.Indicator, error) {
	switch {
	case (mc.Latency == 0) == (mc.Threshold == nil):
		return slo.Indicator{}, fmt.Errorf("metrics: histogram needs exactly one of latency and threshold (got latency %s)", mc.Latency)
	case mc.Op != "" || mc.Slice != 0:
		return slo.Indicator{}, fmt.Errorf("metrics: op and slice belong to a gauge (got op %q and slice %s)", mc.Op, mc.Slice)
	}
	i := slo.Indicator{Kind: slo.IndicatorHistogram, Latency: mc.Latency, Metric: &slo.MetricIndicator{Value: mc.Histogram.selector()}}
	if mc.Threshold != nil {
		i.Metric.Threshold = *mc.Threshold
	}
	return i, nil
}

func (mc MetricsConfig) gauge() (slo.Indicator, error) {
	if mc.Threshold == nil || mc.Latency != 0 {
		return slo.Indicator{}, fmt.Errorf("metrics: gauge needs threshold, and no latency (got latency %s)", mc.Latency)
	}
	m := &slo.MetricIndicator{Value: mc.Gauge.selector(), Op: mc.Op, Threshold: *mc.Threshold, Slice: mc.Slice}
	if m.Slice == 0 {
		m.Slice = defaultSlice
	}
	return slo.Indicator{Kind: slo.IndicatorGauge, Metric: m}, nil
}

func (m *MetricConfig) selector() *slo.MetricSelector {
	if m == nil {
		return nil
	}
	return &slo.MetricSelector{Name: m.Metric, Match: matches(m.Match), Where: m.Where}
}

func (sc SpansConfig) indicator() (slo.Indicator, error) {
	for _, kind := range sc.Kinds {
		switch kind {
		case "server", "consumer", "client", "producer", "internal", "unspecified", "any":
		default:
			return slo.Indicator{}, fmt.Errorf("%w (got %q)", errKind, kind)
		}
	}
	i := slo.Indicator{
		Kind: slo.IndicatorSpans, Kinds: sc.Kinds, IncludeSynthetic: sc.IncludeSynthetic,
		Match: matches(sc.Match), Where: sc.Where, BadWhen: sc.BadWhen,
	}
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
