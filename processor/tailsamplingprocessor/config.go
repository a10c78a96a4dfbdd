// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"errors"
	"fmt"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/component"
)

// The sampling strategies.
const (
	strategyTraceComplete = "trace-complete"
	strategySpanIngest    = "span-ingest"
)

const (
	maxNumShards = 256
	maxHorizon   = 31 * 24 * time.Hour
)

// Config is contrib's configuration of tail_sampling, and beside it the keys from DecisionWaitAfterComplete on.
type Config struct {
	// DecisionWait is how long a trace waits for its spans, counted from the first.
	DecisionWait time.Duration `mapstructure:"decision_wait"`
	// DecisionWaitAfterRootReceived ends the wait this long after the root span came in; 0 for no such end.
	DecisionWaitAfterRootReceived time.Duration `mapstructure:"decision_wait_after_root_received"`
	// NumTraces bounds the number of waiting traces.
	NumTraces uint64 `mapstructure:"num_traces"`
	// BlockOnOverflow makes senders wait at NumTraces instead of deciding traces early.
	BlockOnOverflow bool `mapstructure:"block_on_overflow"`
	// ExpectedNewTracesPerSec is accepted and has no effect: nothing is allocated ahead of need.
	ExpectedNewTracesPerSec uint64 `mapstructure:"expected_new_traces_per_sec"`
	// Policies decide. Without any, nothing is kept.
	Policies []PolicyConfig `mapstructure:"policies"`
	// DecisionCache raises RememberedDecisions to at least its sizes.
	DecisionCache DecisionCacheConfig `mapstructure:"decision_cache"`
	// TailStorage is refused; Storage does more.
	TailStorage *component.ID `mapstructure:"tail_storage"`
	// SampleOnFirstMatch stops at the first policy that keeps a trace.
	SampleOnFirstMatch bool `mapstructure:"sample_on_first_match"`
	// SamplingStrategy is trace-complete or span-ingest.
	SamplingStrategy string `mapstructure:"sampling_strategy"`
	// DropPendingTracesOnShutdown drops what waits at shutdown instead of deciding it.
	DropPendingTracesOnShutdown bool `mapstructure:"drop_pending_traces_on_shutdown"`
	// MaximumTraceSizeBytes drops traces that grow beyond it; 0 for no bound.
	MaximumTraceSizeBytes uint64 `mapstructure:"maximum_trace_size_bytes"`
	// NumShards is accepted, up to 256, and has no effect: requests are taken apart in parallel anyway, and limits hold as written.
	NumShards uint32 `mapstructure:"num_shards"`

	// DecisionWaitAfterComplete ends the wait this long after the trace took on the structure of a complete one; 0 for no such end.
	DecisionWaitAfterComplete time.Duration `mapstructure:"decision_wait_after_complete"`
	// MemoryLimitMiB bounds the memory of waiting traces, remembered decisions and output on its way.
	MemoryLimitMiB uint64 `mapstructure:"memory_limit_mib"`
	// RememberedDecisions is how many decisions late spans can follow, at some three bytes each.
	RememberedDecisions uint64 `mapstructure:"remembered_decisions"`
	// Budget caps what all policies together keep.
	Budget BudgetConfig `mapstructure:"budget"`
	// WriteTracestate keeps th and rv of kept spans true.
	WriteTracestate bool `mapstructure:"write_tracestate"`
	// Storage names a storage extension that waiting traces survive a crash, a reload and a restart in; none by default.
	Storage *component.ID `mapstructure:"storage"`
	// Logs is for logs pipelines with the same component ID: they keep the log records of kept traces.
	Logs LogsConfig `mapstructure:"logs"`
	// KeepCited keeps traces that alerts of the slo extension and signals on the optimization extension's board name, while they wait.
	KeepCited bool `mapstructure:"keep_cited"`
	// DryRun are policies that decide nothing and are scored beside those in force.
	DryRun DryRunConfig `mapstructure:"dry_run"`
	// Explain adds the attributes sampling.rule and sampling.probability to kept root spans.
	Explain bool `mapstructure:"explain"`
}

// DryRunConfig is a candidate: what it would keep is compared with what is kept.
type DryRunConfig struct {
	// Policies are on trial; without any, there is no dry run.
	Policies []PolicyConfig `mapstructure:"policies"`
	// SampleOnFirstMatch and Budget are those of the candidate.
	SampleOnFirstMatch bool         `mapstructure:"sample_on_first_match"`
	Budget             BudgetConfig `mapstructure:"budget"`
}

// LogsConfig bounds the log records that wait for decisions.
type LogsConfig struct {
	// MemoryLimitMiB bounds their memory; as much again may be on its way to the next component.
	MemoryLimitMiB uint64 `mapstructure:"memory_limit_mib"`
	// Wait is how long records wait for the decision on their trace; 0 for DecisionWait and ten seconds.
	Wait time.Duration `mapstructure:"wait"`
	// Undecided says what becomes of records whose trace was not decided on by then, or for which there was no room: keep or drop.
	Undecided string `mapstructure:"undecided"`
}

// What becomes of undecided log records.
const (
	undecidedKeep = "keep"
	undecidedDrop = "drop"
)

func (l *LogsConfig) validate() error {
	switch {
	case l.MemoryLimitMiB == 0:
		return errors.New("logs::memory_limit_mib must be positive (got 0)")
	case l.Wait < 0:
		return fmt.Errorf("logs::wait must not be negative (got %v)", l.Wait)
	case l.Undecided != undecidedKeep && l.Undecided != undecidedDrop:
		return fmt.Errorf("logs::undecided must be %q or %q (got %q)", undecidedKeep, undecidedDrop, l.Undecided)
	}
	return nil
}

// BudgetConfig caps what is kept. At most one of its keys is set.
type BudgetConfig struct {
	// SpansPerSecond caps spans, TracesPerSecond traces and BytesPerSecond the protobuf size.
	SpansPerSecond  float64 `mapstructure:"spans_per_second"`
	TracesPerSecond float64 `mapstructure:"traces_per_second"`
	BytesPerSecond  float64 `mapstructure:"bytes_per_second"`
	// GiBPerMonth is BytesPerSecond for those who are billed by the month, of 30 days.
	GiBPerMonth float64 `mapstructure:"gib_per_month"`
	// Horizon is the time over which the rate holds: what is not used may be used later within it. 0 is as short as the size of traces
	// allows; a day for GiBPerMonth.
	Horizon time.Duration `mapstructure:"horizon"`
}

// DecisionCacheConfig sizes contrib's two caches.
type DecisionCacheConfig struct {
	SampledCacheSize    int `mapstructure:"sampled_cache_size"`
	NonSampledCacheSize int `mapstructure:"non_sampled_cache_size"`
}

// PolicyConfig is a policy of the top level: a name, a type, and the section named like the type.
type PolicyConfig struct {
	// Basic holds the keys of policies without parts.
	Basic BasicPolicyConfig `mapstructure:",squash"`

	Composite CompositeConfig `mapstructure:"composite"`
	And       AndConfig       `mapstructure:"and"`
	Not       NotConfig       `mapstructure:"not"`
	Drop      DropConfig      `mapstructure:"drop"`
}

// PartConfig is a policy inside and, or inside drop.
type PartConfig struct {
	Basic BasicPolicyConfig `mapstructure:",squash"`
	Not   NotConfig         `mapstructure:"not"`
}

// CompositePartConfig is a policy inside composite.
type CompositePartConfig struct {
	Basic BasicPolicyConfig `mapstructure:",squash"`
	And   AndConfig         `mapstructure:"and"`
}

// BasicPolicyConfig is a policy that has no parts.
type BasicPolicyConfig struct {
	// Name tells policies apart in metrics and attributes; required and unique at the top level.
	Name string `mapstructure:"name"`
	// Type names the section that counts.
	Type string `mapstructure:"type"`

	Latency          LatencyConfig          `mapstructure:"latency"`
	NumericAttribute NumericAttributeConfig `mapstructure:"numeric_attribute"`
	Probabilistic    ProbabilisticConfig    `mapstructure:"probabilistic"`
	StatusCode       StatusCodeConfig       `mapstructure:"status_code"`
	StringAttribute  StringAttributeConfig  `mapstructure:"string_attribute"`
	RateLimiting     RateLimitingConfig     `mapstructure:"rate_limiting"`
	BytesLimiting    BytesLimitingConfig    `mapstructure:"bytes_limiting"`
	SpanCount        SpanCountConfig        `mapstructure:"span_count"`
	TraceState       TraceStateConfig       `mapstructure:"trace_state"`
	BooleanAttribute BooleanAttributeConfig `mapstructure:"boolean_attribute"`
	OTTLCondition    OTTLConditionConfig    `mapstructure:"ottl_condition"`

	SLO       SLOConfig       `mapstructure:"slo"`
	Diversity DiversityConfig `mapstructure:"diversity"`
	Slow      SlowConfig      `mapstructure:"slow"`
	Rare      RareConfig      `mapstructure:"rare"`
	Change    ChangeConfig    `mapstructure:"change"`
	Dynamic   DynamicConfig   `mapstructure:"dynamic"`

	LogSeverity LogSeverityConfig `mapstructure:"log_severity"`
	Rules       []RuleConfig      `mapstructure:"rules"`

	// Extension holds the sections of extension policies, which are refused by type.
	Extension map[string]map[string]any `mapstructure:",remain"`
}

// LatencyConfig keeps traces by their duration.
type LatencyConfig struct {
	// ThresholdMs is exclusive, UpperThresholdMs inclusive; 0 for no upper bound. Milliseconds.
	ThresholdMs      int64 `mapstructure:"threshold_ms"`
	UpperThresholdMs int64 `mapstructure:"upper_threshold_ms"`
}

// NumericAttributeConfig keeps traces by an integer attribute of a span or resource.
type NumericAttributeConfig struct {
	Key string `mapstructure:"key"`
	// MinValue and MaxValue are inclusive; 0 for no bound, but one of them must be set.
	MinValue int64 `mapstructure:"min_value"`
	MaxValue int64 `mapstructure:"max_value"`
	// InvertMatch keeps traces in which no value lies between the bounds.
	InvertMatch bool `mapstructure:"invert_match"`
}

// ProbabilisticConfig keeps a share of all traces.
type ProbabilisticConfig struct {
	// HashSalt goes into the hash of the trace ID.
	HashSalt string `mapstructure:"hash_salt"`
	// SamplingPercentage is 0 to 100.
	SamplingPercentage float64 `mapstructure:"sampling_percentage"`
}

// StatusCodeConfig keeps traces by the status of their spans.
type StatusCodeConfig struct {
	// StatusCodes are among OK, ERROR and UNSET.
	StatusCodes []string `mapstructure:"status_codes"`
}

// StringAttributeConfig keeps traces by a string attribute of a span or resource.
type StringAttributeConfig struct {
	Key    string   `mapstructure:"key"`
	Values []string `mapstructure:"values"`
	// EnabledRegexMatching takes Values as regular expressions, which need not match from end to end.
	EnabledRegexMatching bool `mapstructure:"enabled_regex_matching"`
	// CacheMaxSize bounds the attribute values whose match is remembered; 0 for 128.
	CacheMaxSize int `mapstructure:"cache_max_size"`
	// InvertMatch keeps traces in which no value matches.
	InvertMatch bool `mapstructure:"invert_match"`
}

// RateLimitingConfig keeps traces up to a number of spans a second.
type RateLimitingConfig struct {
	SpansPerSecond int64 `mapstructure:"spans_per_second"`
	// BurstCapacity bounds what may be kept at once; 0 for two seconds' worth. A larger trace is never kept.
	BurstCapacity int64 `mapstructure:"burst_capacity"`
}

// BytesLimitingConfig keeps traces up to a number of bytes a second.
type BytesLimitingConfig struct {
	BytesPerSecond int64 `mapstructure:"bytes_per_second"`
	// BurstCapacity bounds what may be kept at once; 0 for two seconds' worth. A larger trace is never kept.
	BurstCapacity int64 `mapstructure:"burst_capacity"`
}

// SpanCountConfig keeps traces by their number of spans, inclusive; MaxSpans 0 for no upper bound.
type SpanCountConfig struct {
	MinSpans int32 `mapstructure:"min_spans"`
	MaxSpans int32 `mapstructure:"max_spans"`
}

// TraceStateConfig keeps traces by a member of their tracestate.
type TraceStateConfig struct {
	Key    string   `mapstructure:"key"`
	Values []string `mapstructure:"values"`
}

// BooleanAttributeConfig keeps traces by a boolean attribute of a span or resource.
type BooleanAttributeConfig struct {
	Key   string `mapstructure:"key"`
	Value bool   `mapstructure:"value"`
	// InvertMatch keeps traces in which no value matches.
	InvertMatch bool `mapstructure:"invert_match"`
}

// OTTLConditionConfig keeps traces with a span, or span event, that one of the conditions holds for.
type OTTLConditionConfig struct {
	ErrorMode           ottl.ErrorMode `mapstructure:"error_mode"`
	SpanConditions      []string       `mapstructure:"span"`
	SpanEventConditions []string       `mapstructure:"spanevent"`
}

// CompositeConfig shares a rate out among policies.
type CompositeConfig struct {
	MaxTotalSpansPerSecond int64 `mapstructure:"max_total_spans_per_second"`
	// PolicyOrder is accepted; as in contrib, the order is that of SubPolicies.
	PolicyOrder    []string               `mapstructure:"policy_order"`
	SubPolicies    []CompositePartConfig  `mapstructure:"composite_sub_policy"`
	RateAllocation []RateAllocationConfig `mapstructure:"rate_allocation"`
}

// RateAllocationConfig is the share of one policy in a composite, in percent.
type RateAllocationConfig struct {
	Policy  string `mapstructure:"policy"`
	Percent int64  `mapstructure:"percent"`
}

// AndConfig keeps traces that all sub-policies keep.
type AndConfig struct {
	SubPolicies []PartConfig `mapstructure:"and_sub_policy"`
}

// NotConfig keeps traces that the sub-policy does not.
type NotConfig struct {
	SubPolicy BasicPolicyConfig `mapstructure:"not_sub_policy"`
}

// DropConfig drops traces that all sub-policies keep, whatever other policies say.
type DropConfig struct {
	SubPolicies []PartConfig `mapstructure:"drop_sub_policy"`
}

// SLOConfig keeps traces with a span that the sli processor marked slo.bad, and, while an objective of the slo extension burns, the
// traces through its service.
type SLOConfig struct {
	// Objectives names the objectives that count; empty for all.
	Objectives []string `mapstructure:"objectives"`
}

// DiversityConfig keeps some traces of each shape. A shape is the set of operations in a trace: service, span name, kind, failed or not.
type DiversityConfig struct {
	// TracesPerShape are kept in each Interval; default 1 in 5m.
	TracesPerShape int           `mapstructure:"traces_per_shape"`
	Interval       time.Duration `mapstructure:"interval"`
	// MaxShapes bounds the shapes remembered; default 10000. More are not kept for their shape.
	MaxShapes int `mapstructure:"max_shapes"`
}

// SlowConfig keeps traces that are slow for their route, the service and name of the root span.
type SlowConfig struct {
	// Quantile is the share of traces that counts as fast; default 0.99.
	Quantile float64 `mapstructure:"quantile"`
	// MaxRoutes bounds the routes watched; default 1000.
	MaxRoutes int `mapstructure:"max_routes"`
}

// RareConfig keeps the first traces of each route in an interval.
type RareConfig struct {
	// TracesPerRoute are kept in each Interval; default 1 in 5m.
	TracesPerRoute int           `mapstructure:"traces_per_route"`
	Interval       time.Duration `mapstructure:"interval"`
	// MaxRoutes bounds the routes remembered; default 10000.
	MaxRoutes int `mapstructure:"max_routes"`
}

// ChangeConfig keeps more traces through a service.version that is new to its service.
type ChangeConfig struct {
	// SamplingPercentage of those traces are kept; default 100.
	SamplingPercentage float64 `mapstructure:"sampling_percentage"`
	// For is how long a version counts as new; default 10m.
	For time.Duration `mapstructure:"for"`
}

// DynamicConfig keeps spans at a goal, rare routes more often than common ones.
type DynamicConfig struct {
	// SpansPerSecond is the goal; required.
	SpansPerSecond float64 `mapstructure:"spans_per_second"`
	// AdjustmentInterval is how often rates follow the traffic; default 15s.
	AdjustmentInterval time.Duration `mapstructure:"adjustment_interval"`
	// MaxRoutes bounds the routes with a rate of their own; default 500. The others share one.
	MaxRoutes int `mapstructure:"max_routes"`
}

// LogSeverityConfig keeps traces with a log record of some severity.
type LogSeverityConfig struct {
	// MinSeverity is TRACE, DEBUG, INFO, WARN, ERROR (the default) or FATAL.
	MinSeverity string `mapstructure:"min_severity"`
}

// RuleConfig is one rule of a policy of type rules: the first that a trace meets decides.
type RuleConfig struct {
	// Name is what the attribute sampling.rule says after the name of the policy.
	Name string `mapstructure:"name"`
	// AnySpan are OTTL conditions each of which must hold for some span of the trace; SameSpan are conditions that must hold together for
	// one span. A rule without either is met by every trace.
	AnySpan  []string `mapstructure:"any_span"`
	SameSpan []string `mapstructure:"same_span"`
	// SamplingPercentage of the traces that meet the rule are kept; unset: 100.
	SamplingPercentage *float64 `mapstructure:"sampling_percentage"`
}

// severities are the first severity numbers of OpenTelemetry's ranges.
var severities = map[string]int64{"": 17, "TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}

var errTailStorage = errors.New("tail_storage is not supported: waiting spans are kept in memory, compressed, within memory_limit_mib; remove the key, and set storage to a storage extension if they are to survive a restart")

// Validate names the first key that cannot be honoured.
func (c *Config) Validate() error {
	switch {
	case c.SamplingStrategy != strategyTraceComplete && c.SamplingStrategy != strategySpanIngest:
		return fmt.Errorf("sampling_strategy must be %q or %q (got %q)", strategyTraceComplete, strategySpanIngest, c.SamplingStrategy)
	case c.NumShards > maxNumShards:
		return fmt.Errorf("num_shards must be at most %d (got %d)", maxNumShards, c.NumShards)
	case c.TailStorage != nil:
		return errTailStorage
	case c.DecisionWait < 0:
		return fmt.Errorf("decision_wait must not be negative (got %v)", c.DecisionWait)
	case c.DecisionWaitAfterRootReceived < 0:
		return fmt.Errorf("decision_wait_after_root_received must not be negative (got %v)", c.DecisionWaitAfterRootReceived)
	case c.DecisionWaitAfterComplete < 0:
		return fmt.Errorf("decision_wait_after_complete must not be negative (got %v)", c.DecisionWaitAfterComplete)
	case len(c.DryRun.Policies) > 0 && c.SamplingStrategy == strategySpanIngest:
		return fmt.Errorf("dry_run needs sampling_strategy %q (got %q)", strategyTraceComplete, c.SamplingStrategy)
	case c.NumTraces == 0:
		return errors.New("num_traces must be positive (got 0)")
	case c.MemoryLimitMiB == 0:
		return errors.New("memory_limit_mib must be positive (got 0)")
	}
	if err := errors.Join(c.Budget.validate("budget"), c.DryRun.Budget.validate("dry_run::budget"), c.Logs.validate()); err != nil {
		return err
	}
	program, _, err := compilePolicies(c, componentSettings())
	if err != nil {
		return err
	}
	if stateful := program.Stateful(); c.SamplingStrategy == strategySpanIngest && len(stateful) > 0 {
		return fmt.Errorf("sampling_strategy %q needs stateless policies, but policy %q is stateful", strategySpanIngest, stateful[0])
	}
	return nil
}

func (b *BudgetConfig) validate(key string) error {
	if b.Horizon < 0 || b.Horizon > maxHorizon {
		return fmt.Errorf("%s::horizon must be between 0s and %v (got %v)", key, maxHorizon, b.Horizon)
	}
	set := 0
	for rate, v := range map[string]float64{
		"spans_per_second": b.SpansPerSecond, "traces_per_second": b.TracesPerSecond,
		"bytes_per_second": b.BytesPerSecond, "gib_per_month": b.GiBPerMonth,
	} {
		if v < 0 || v != v {
			return fmt.Errorf("%s::%s must not be negative (got %v)", key, rate, v)
		}
		if v > 0 {
			set++
		}
	}
	if set > 1 {
		return fmt.Errorf("%s takes one of spans_per_second, traces_per_second, bytes_per_second and gib_per_month (got %d of them)", key, set)
	}
	return nil
}
