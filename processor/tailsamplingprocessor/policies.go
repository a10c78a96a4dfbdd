// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/sampling"
)

// kinds maps the types of policies that need no more than their section.
var kinds = map[string]sampling.Kind{
	"always_sample":     sampling.KindAlways,
	"latency":           sampling.KindLatency,
	"numeric_attribute": sampling.KindNumber,
	"probabilistic":     sampling.KindProbabilistic,
	"status_code":       sampling.KindStatus,
	"string_attribute":  sampling.KindString,
	"rate_limiting":     sampling.KindRate,
	"bytes_limiting":    sampling.KindBytes,
	"span_count":        sampling.KindSpanCount,
	"boolean_attribute": sampling.KindBool,
	"ottl_condition":    sampling.KindCondition,
	"trace_state":       sampling.KindTraceState,
	"trace_flags":       sampling.KindTraceFlags,
	"and":               sampling.KindAnd,
	"not":               sampling.KindNot,
	"drop":              sampling.KindDrop,
	"composite":         sampling.KindComposite,
	"slo":               sampling.KindSLO,
	"diversity":         sampling.KindDiversity,
	"slow":              sampling.KindSlow,
	"rare":              sampling.KindRare,
	"change":            sampling.KindChange,
	"dynamic":           sampling.KindDynamic,
	"log_severity":      sampling.KindLogSeverity,
	"rules":             sampling.KindRules,
	"linked":            sampling.KindLinked,
}

// policyCompiler turns configuration into policies of the engine, collecting the conditions on the way.
type policyCompiler struct {
	settings   component.TelemetrySettings
	conditions []*condition
}

// compilePolicies checks all policies and compiles them, those of a dry run as well.
func compilePolicies(cfg *Config, settings component.TelemetrySettings) (*sampling.Program, []*condition, error) {
	c := policyCompiler{settings: settings}
	policies, err := c.all(cfg.Policies)
	if err != nil {
		return nil, nil, fmt.Errorf("policies: %w", err)
	}
	program, err := sampling.Compile(policies)
	if err != nil {
		return nil, nil, fmt.Errorf("policies: %w", err)
	}
	if len(cfg.DryRun.Policies) == 0 {
		return program, c.conditions, nil
	}
	policies, err = c.all(cfg.DryRun.Policies)
	if err == nil {
		err = program.AddTrial(policies)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("dry_run::policies: %w", err)
	}
	return program, c.conditions, nil
}

func (c *policyCompiler) all(configs []PolicyConfig) ([]sampling.Policy, error) {
	policies := make([]sampling.Policy, len(configs))
	for i := range configs {
		cfg := &configs[i]
		p, err := c.one(&cfg.Basic, sections{and: &cfg.And, not: &cfg.Not, drop: &cfg.Drop, composite: &cfg.Composite})
		if err != nil {
			return nil, fmt.Errorf("%q: %w", cfg.Basic.Name, err)
		}
		policies[i] = p
	}
	return policies, nil
}

// sections are those that exist where a policy stands, besides the basic ones.
type sections struct {
	and       *AndConfig
	not       *NotConfig
	drop      *DropConfig
	composite *CompositeConfig
}

func (s sections) has(kind sampling.Kind) bool {
	switch kind {
	case sampling.KindAnd:
		return s.and != nil
	case sampling.KindNot:
		return s.not != nil
	case sampling.KindDrop:
		return s.drop != nil
	case sampling.KindComposite:
		return s.composite != nil
	}
	return true
}

func (c *policyCompiler) parts(configs []PartConfig) ([]sampling.Policy, error) {
	policies := make([]sampling.Policy, len(configs))
	for i := range configs {
		p, err := c.one(&configs[i].Basic, sections{not: &configs[i].Not})
		if err != nil {
			return nil, fmt.Errorf("%q: %w", configs[i].Basic.Name, err)
		}
		policies[i] = p
	}
	return policies, nil
}

func (c *policyCompiler) compositeParts(configs []CompositePartConfig) ([]sampling.Policy, error) {
	policies := make([]sampling.Policy, len(configs))
	for i := range configs {
		p, err := c.one(&configs[i].Basic, sections{and: &configs[i].And})
		if err != nil {
			return nil, fmt.Errorf("%q: %w", configs[i].Basic.Name, err)
		}
		policies[i] = p
	}
	return policies, nil
}

func (c *policyCompiler) one(cfg *BasicPolicyConfig, at sections) (p sampling.Policy, err error) {
	kind, known := kinds[cfg.Type]
	switch {
	case !known:
		return p, fmt.Errorf("unknown policy type %q: extension policies are not supported, express it as ottl_condition", cfg.Type)
	case !at.has(kind):
		return p, fmt.Errorf("a policy of type %q cannot stand here", cfg.Type)
	}
	p = sampling.Policy{Name: cfg.Name, Kind: kind}
	switch kind {
	case sampling.KindLatency:
		p.LatencyAbove, p.LatencyUpTo = cfg.Latency.ThresholdMs, cfg.Latency.UpperThresholdMs
	case sampling.KindNumber:
		s := cfg.NumericAttribute
		p.Key, p.Min, p.Max, p.Invert = s.Key, s.MinValue, s.MaxValue, s.InvertMatch
	case sampling.KindProbabilistic:
		p.Salt, p.Percent = cfg.Probabilistic.HashSalt, cfg.Probabilistic.SamplingPercentage
	case sampling.KindStatus:
		p.Values = cfg.StatusCode.StatusCodes
	case sampling.KindString:
		s := cfg.StringAttribute
		p.Key, p.Values, p.Regex, p.CacheSize, p.Invert = s.Key, s.Values, s.EnabledRegexMatching, s.CacheMaxSize, s.InvertMatch
	case sampling.KindRate:
		p.PerSecond, p.Burst = cfg.RateLimiting.SpansPerSecond, cfg.RateLimiting.BurstCapacity
	case sampling.KindBytes:
		p.PerSecond, p.Burst = cfg.BytesLimiting.BytesPerSecond, cfg.BytesLimiting.BurstCapacity
	case sampling.KindSpanCount:
		p.Min, p.Max = int64(cfg.SpanCount.MinSpans), int64(cfg.SpanCount.MaxSpans)
	case sampling.KindBool:
		s := cfg.BooleanAttribute
		p.Key, p.Bool, p.Invert = s.Key, s.Value, s.InvertMatch
	case sampling.KindTraceState:
		p.Key, p.Values = cfg.TraceState.Key, cfg.TraceState.Values
	case sampling.KindCondition:
		var compiled *condition
		if compiled, err = newCondition(&cfg.OTTLCondition, c.settings); err == nil {
			p.Condition = len(c.conditions)
			c.conditions = append(c.conditions, compiled)
		}
	case sampling.KindRules:
		p.Rules, err = c.rules(cfg.Rules)
	case sampling.KindAnd:
		p.Sub, err = c.parts(at.and.SubPolicies)
	case sampling.KindDrop:
		p.Sub, err = c.parts(at.drop.SubPolicies)
	case sampling.KindNot:
		p.Sub = make([]sampling.Policy, 1)
		p.Sub[0], err = c.one(&at.not.SubPolicy, sections{})
	case sampling.KindComposite:
		p.Sub, err = c.compositeParts(at.composite.SubPolicies)
		p.PerSecond, p.Shares = at.composite.MaxTotalSpansPerSecond, at.composite.shares()
	case sampling.KindLogSeverity:
		if p.Min, known = severities[cfg.LogSeverity.MinSeverity]; !known {
			err = fmt.Errorf("log_severity::min_severity must be TRACE, DEBUG, INFO, WARN, ERROR or FATAL (got %q)", cfg.LogSeverity.MinSeverity)
		}
	default:
		learned(cfg, &p)
	}
	return p, err
}

// rules turns conditions that must hold for one span into one condition.
func (c *policyCompiler) rules(configs []RuleConfig) ([]sampling.Rule, error) {
	rules := make([]sampling.Rule, len(configs))
	for i := range configs {
		cfg := &configs[i]
		rules[i] = sampling.Rule{Name: cfg.Name, Percent: 100}
		if cfg.SamplingPercentage != nil {
			if rules[i].Percent = *cfg.SamplingPercentage; !(rules[i].Percent >= 0 && rules[i].Percent <= 100) {
				return nil, fmt.Errorf("rules[%d]::sampling_percentage must be between 0 and 100 (got %v)", i, rules[i].Percent)
			}
		}
		conditions := slices.Clone(cfg.AnySpan)
		if len(cfg.SameSpan) > 0 {
			conditions = append(conditions, "("+strings.Join(cfg.SameSpan, ") and (")+")")
		}
		for _, text := range conditions {
			compiled, err := newCondition(&OTTLConditionConfig{ErrorMode: ottl.IgnoreError, SpanConditions: []string{text}}, c.settings)
			if err != nil {
				return nil, fmt.Errorf("rules[%d] %q: %w", i, cfg.Name, err)
			}
			rules[i].Conditions = append(rules[i].Conditions, len(c.conditions))
			c.conditions = append(c.conditions, compiled)
		}
	}
	return rules, nil
}

// learned fills in policies that look at more than one trace.
func learned(cfg *BasicPolicyConfig, p *sampling.Policy) {
	switch p.Kind {
	case sampling.KindSLO:
		p.Values = cfg.SLO.Objectives
	case sampling.KindDiversity:
		p.Count, p.Interval, p.Limit = cfg.Diversity.TracesPerShape, cfg.Diversity.Interval, cfg.Diversity.MaxShapes
	case sampling.KindSlow:
		p.Quantile, p.Limit = cfg.Slow.Quantile, cfg.Slow.MaxRoutes
	case sampling.KindRare:
		p.Count, p.Interval, p.Limit = cfg.Rare.TracesPerRoute, cfg.Rare.Interval, cfg.Rare.MaxRoutes
	case sampling.KindChange:
		p.Percent, p.Interval = cfg.Change.SamplingPercentage, cfg.Change.For
		if p.Percent == 0 {
			p.Percent = 100
		}
	case sampling.KindDynamic:
		p.Goal, p.Interval, p.Limit = cfg.Dynamic.SpansPerSecond, cfg.Dynamic.AdjustmentInterval, cfg.Dynamic.MaxRoutes
	}
}

// shares are the spans a second of each sub-policy; one without an allocation gets an equal part of the total.
func (c *CompositeConfig) shares() []int64 {
	total := float64(c.MaxTotalSpansPerSecond)
	shares := make([]int64, len(c.SubPolicies))
	for i := range c.SubPolicies {
		share := total / float64(len(c.SubPolicies))
		for _, a := range c.RateAllocation {
			if a.Policy == c.SubPolicies[i].Basic.Name && a.Percent > 0 {
				share = float64(a.Percent) / 100 * total
			}
		}
		shares[i] = int64(share)
	}
	return shares
}
