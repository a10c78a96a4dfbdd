// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// Config of the cardinality processor.
type Config struct {
	// Scope names the resource attributes whose values get limits of their own, so that one service cannot use up another's.
	Scope []string `mapstructure:"scope"`
	// Window is how long an admission holds. At its edge the heaviest of those who wait may take a place.
	Window time.Duration `mapstructure:"window"`
	// Limits bound what is kept.
	Limits LimitsConfig `mapstructure:"limits"`
	// Overrides change the limits of some metrics and attributes. The first that matches and sets a limit wins.
	Overrides []OverrideConfig `mapstructure:"overrides"`
	// Protect are patterns of attributes that are never folded on their own and stay on a series that is folded whole.
	Protect []string `mapstructure:"protect"`
	// Exempt are patterns of metrics that pass untouched, beside slo.*.
	Exempt []string `mapstructure:"exempt"`
	// Gauges choose how gauges merge. The first that matches wins; without one it is the mean.
	Gauges []GaugeConfig `mapstructure:"gauges"`
	// Rules rewrite attributes before the limits look at them. The first that matches an attribute wins.
	Rules []RuleConfig `mapstructure:"rules"`
	// Displacement is how many times heavier than the lightest admitted value one must be to take its place (at least 1).
	Displacement float64 `mapstructure:"displacement"`
	// InitialValue says whether the first value of a merged cumulative series counts: auto, count or baseline.
	InitialValue string `mapstructure:"initial_value"`
	// WarmUp is how long after a start without restored state the first values of series older than the processor are baselines.
	WarmUp time.Duration `mapstructure:"warm_up"`
	// MaxStale is how long a member of a merged gauge or up-down sum counts after its last point.
	MaxStale time.Duration `mapstructure:"max_stale"`
	// Retention is how long the last value of a cumulative series is remembered after its last point.
	Retention time.Duration `mapstructure:"retention"`
	// MaxFuture is how far ahead of the clock a point may lie before it is taken to be from now.
	MaxFuture time.Duration `mapstructure:"max_future"`
	// Exemplars is how many exemplars a merged point keeps.
	Exemplars int `mapstructure:"exemplars"`
	// MaxBuckets bounds each side of a merged exponential histogram.
	MaxBuckets int `mapstructure:"max_buckets"`
	// Offenders is how many metrics the processor reports on.
	Offenders int `mapstructure:"offenders"`
	// Storage is the storage extension that holds the state across restarts.
	Storage *component.ID `mapstructure:"storage"`
	// SLO is the slo extension to ask for attributes in use; where there is one only, it is found without this.
	SLO *component.ID `mapstructure:"slo"`
}

// LimitsConfig bounds what is kept; 0 lifts a limit.
type LimitsConfig struct {
	// Attribute is the number of values of one attribute of one metric in one scope.
	Attribute int `mapstructure:"attribute"`
	// Series is the number of series of one metric in one scope.
	Series int `mapstructure:"series"`
	// Total is the number of series of this instance.
	Total int `mapstructure:"total"`
	// OverflowSeries is the number of whole-series overflow series of one metric in one scope.
	OverflowSeries int `mapstructure:"overflow_series"`
	// Metrics is the number of metrics, counted per scope.
	Metrics int `mapstructure:"metrics"`
	// AttributeKeys is the number of attribute keys of one metric in one scope.
	AttributeKeys int `mapstructure:"attribute_keys"`
	// MemoryMiB bounds the whole state.
	MemoryMiB int `mapstructure:"memory_mib"`
}

// OverrideConfig changes limits for the metrics and attributes it matches.
type OverrideConfig struct {
	// Metrics and Attributes are patterns with * and ?; without any, all match.
	Metrics    []string `mapstructure:"metrics"`
	Attributes []string `mapstructure:"attributes"`
	// Attribute and Series replace the limits of the same name.
	Attribute *int `mapstructure:"attribute"`
	Series    *int `mapstructure:"series"`
}

// GaugeConfig chooses how the gauges it matches merge.
type GaugeConfig struct {
	// Metrics are patterns with * and ?; without any, all match.
	Metrics []string `mapstructure:"metrics"`
	// Merge is mean, sum, min, max or last.
	Merge string `mapstructure:"merge"`
}

// RuleConfig rewrites the attributes it matches.
type RuleConfig struct {
	// Metrics and Attributes are patterns with * and ?; without metrics, all match.
	Metrics    []string `mapstructure:"metrics"`
	Attributes []string `mapstructure:"attributes"`
	// Action is keep, drop, rename, hash, template or fold.
	Action string `mapstructure:"action"`
	// To is the new key of a rename.
	To string `mapstructure:"to"`
	// Buckets is the number of values that a hash leaves.
	Buckets int `mapstructure:"buckets"`
	// DryRun counts what the rule would do and does nothing.
	DryRun bool `mapstructure:"dry_run"`
}

var (
	merges   = map[string]limit.Merge{"mean": limit.MergeMean, "sum": limit.MergeSum, "min": limit.MergeMin, "max": limit.MergeMax, "last": limit.MergeLast}
	initials = map[string]limit.Initial{"auto": limit.InitialAuto, "count": limit.InitialCount, "baseline": limit.InitialBaseline}
	actions  = map[string]limit.Action{
		"keep": limit.ActionKeep, "drop": limit.ActionDrop, "rename": limit.ActionRename,
		"hash": limit.ActionHash, "template": limit.ActionTemplate, "fold": limit.ActionFold,
	}
)

const maxHashBuckets = 65536

// Validate names the key and the value of everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Window < time.Second {
		bad("window must be at least 1s (got %v)", c.Window)
	}
	for _, l := range []struct {
		key   string
		value int
	}{
		{"limits.attribute", c.Limits.Attribute},
		{"limits.series", c.Limits.Series},
		{"limits.total", c.Limits.Total},
		{"limits.overflow_series", c.Limits.OverflowSeries},
		{"limits.metrics", c.Limits.Metrics},
		{"limits.attribute_keys", c.Limits.AttributeKeys},
		{"exemplars", c.Exemplars},
		{"offenders", c.Offenders},
	} {
		if l.value < 0 {
			bad("%s must not be negative (got %d)", l.key, l.value)
		}
	}
	if c.Limits.MemoryMiB < 1 {
		bad("limits.memory_mib must be at least 1 (got %d)", c.Limits.MemoryMiB)
	}
	if c.Displacement < 1 {
		bad("displacement must be at least 1 (got %v)", c.Displacement)
	}
	if c.MaxBuckets < 2 {
		bad("max_buckets must be at least 2 (got %d)", c.MaxBuckets)
	}
	for key, d := range map[string]time.Duration{"warm_up": c.WarmUp, "max_stale": c.MaxStale, "retention": c.Retention, "max_future": c.MaxFuture} {
		if d < 0 {
			bad("%s must not be negative (got %v)", key, d)
		}
	}
	if _, ok := initials[c.InitialValue]; !ok {
		bad("initial_value must be auto, count or baseline (got %q)", c.InitialValue)
	}
	if slices.Contains(c.Scope, "") {
		bad("scope must not hold an empty attribute name")
	}
	for i, o := range c.Overrides {
		if o.Attribute == nil && o.Series == nil {
			bad("overrides[%d] must set attribute or series", i)
		}
		if o.Series != nil && len(o.Attributes) > 0 {
			bad("overrides[%d].series must not be combined with attributes", i)
		}
		for key, v := range map[string]*int{"attribute": o.Attribute, "series": o.Series} {
			if v != nil && *v < 1 {
				bad("overrides[%d].%s must be positive (got %d)", i, key, *v)
			}
		}
	}
	for i, g := range c.Gauges {
		if _, ok := merges[g.Merge]; !ok {
			bad("gauges[%d].merge must be mean, sum, min, max or last (got %q)", i, g.Merge)
		}
	}
	for i, r := range c.Rules {
		errs = append(errs, r.validate(i))
	}
	return errors.Join(errs...)
}

func (r *RuleConfig) validate(i int) error {
	action, ok := actions[r.Action]
	switch {
	case !ok:
		return fmt.Errorf("rules[%d].action must be keep, drop, rename, hash, template or fold (got %q)", i, r.Action)
	case len(r.Attributes) == 0:
		return fmt.Errorf("rules[%d].attributes must name at least one attribute or pattern", i)
	case (action == limit.ActionRename) != (r.To != ""):
		return fmt.Errorf("rules[%d].to must be set for rename, and only for it (got %q)", i, r.To)
	case action == limit.ActionHash && (r.Buckets < 1 || r.Buckets > maxHashBuckets):
		return fmt.Errorf("rules[%d].buckets must lie between 1 and %d (got %d)", i, maxHashBuckets, r.Buckets)
	case action != limit.ActionHash && r.Buckets != 0:
		return fmt.Errorf("rules[%d].buckets must be set for hash only (got %d)", i, r.Buckets)
	}
	return nil
}

// settings is what the engine needs of the configuration.
func (c *Config) settings() limit.Settings {
	s := limit.Settings{
		Limits: limit.Limits{
			Attribute: c.Limits.Attribute, Series: c.Limits.Series, Total: c.Limits.Total, OverflowSeries: c.Limits.OverflowSeries,
			Metrics: c.Limits.Metrics, Keys: c.Limits.AttributeKeys, Memory: int64(c.Limits.MemoryMiB) << 20,
		},
		Protect:      c.Protect,
		Window:       c.Window,
		Displacement: c.Displacement,
		MaxStale:     c.MaxStale,
		Retention:    c.Retention,
		MaxFuture:    c.MaxFuture,
		WarmUp:       c.WarmUp,
		Initial:      initials[c.InitialValue],
		MaxBuckets:   c.MaxBuckets,
	}
	for _, o := range c.Overrides {
		s.Overrides = append(s.Overrides, limit.Override(o))
	}
	for _, g := range c.Gauges {
		s.Gauges = append(s.Gauges, limit.GaugeRule{Metrics: g.Metrics, Merge: merges[g.Merge]})
	}
	for _, r := range c.Rules {
		s.Rules = append(s.Rules, limit.Rule{
			Metrics: r.Metrics, Attributes: r.Attributes, Action: actions[r.Action], To: r.To, Buckets: r.Buckets, DryRun: r.DryRun,
		})
	}
	return s
}
