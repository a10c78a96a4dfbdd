// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/ownership"
)

var (
	errRuleGivesNothing = errors.New("needs set, copy or lookup")
	currencyCode        = regexp.MustCompile(`^[A-Z]{3}$`)
)

// Validate checks the configuration and names the key that is wrong.
func (c *Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	names := map[string]bool{}
	for i := range c.Rules {
		rule := &c.Rules[i]
		at := fmt.Sprintf("rules[%d]", i)
		if rule.Name == "" {
			fail("%s.name must be set", at)
		} else if names[rule.Name] {
			fail("%s.name %q is used twice", at, rule.Name)
		}
		names[rule.Name] = true
		if err := rule.validate(c.Tables); err != nil {
			fail("%s (%s): %w", at, rule.Name, err)
		}
	}
	for name, table := range c.Tables {
		if table.Path == "" {
			fail("tables.%s.path must be set", name)
		}
		if len(table.Key) == 0 {
			fail("tables.%s.key must name at least one column", name)
		}
		if !slices.Contains([]ownership.Format{ownership.CSV, ownership.YAML, ownership.JSON}, table.format()) {
			fail("tables.%s.format must be csv, yaml or json (got %q)", name, table.format())
		}
	}
	if !validExisting(c.Existing) {
		fail("existing must be keep, overwrite or check (got %q)", c.Existing)
	}
	switch c.OnMissing {
	case Tag, Drop, Route:
	default:
		fail("on_missing must be tag, drop or route (got %q)", c.OnMissing)
	}
	if c.OnMissing == Tag && c.MissingValue == "" {
		fail("missing_value must be set under on_missing: tag")
	}
	for key, d := range map[string]time.Duration{"reload_interval": c.ReloadInterval, "emit_interval": c.EmitInterval} {
		if d <= 0 {
			fail("%s must be positive (got %s)", key, d)
		}
	}
	for key, n := range map[string]int{"cache.max_resources": c.Cache.MaxResources, "cache.max_mib": c.Cache.MaxMiB, "max_accounts": c.MaxAccounts} {
		if n <= 0 {
			fail("%s must be positive (got %d)", key, n)
		}
	}
	if err := c.FocusOut.validate(c); err != nil {
		errs = append(errs, err)
	}
	if err := c.Telemetry.validate(); err != nil {
		errs = append(errs, err)
	}
	budgetNames := map[string]bool{}
	for i := range c.Budgets {
		b := &c.Budgets[i]
		if b.Name == "" || budgetNames[b.Name] {
			fail("budgets[%d].name must be set and unique (got %q)", i, b.Name)
		}
		budgetNames[b.Name] = true
		if err := b.validate(c.Resources.Enabled); err != nil {
			fail("budgets[%d] (%s): %w", i, b.Name, err)
		}
	}
	if err := c.Resources.validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (b *BudgetConfig) validate(allocating bool) error {
	if !(b.Monthly > 0) || b.Monthly > 1e15 {
		return fmt.Errorf("monthly must be between 0 and 1e15 (got %v)", b.Monthly)
	}
	if len(b.Match) == 0 {
		return errors.New("match must name at least one attribute")
	}
	if !currencyCode.MatchString(b.Currency) {
		return fmt.Errorf("currency must be an ISO 4217 code (got %q)", b.Currency)
	}
	switch b.Source {
	case FromBill:
	case FromAllocated:
		if !allocating {
			return errors.New("source allocated needs resources.enabled")
		}
		for key := range b.Match {
			if key != "service.name" && key != attrOwner && key != attrCostCenter {
				return fmt.Errorf("match: source allocated knows service.name, %s and %s (got %q)", attrOwner, attrCostCenter, key)
			}
		}
	default:
		return fmt.Errorf("source must be bill or allocated (got %q)", b.Source)
	}
	return nil
}

func (f *FocusConfig) validate(c *Config) error {
	switch {
	case f.Directory == "":
		return nil
	case !c.Resources.Enabled:
		return fmt.Errorf("focus_out.directory needs resources.enabled (got %q)", f.Directory)
	case c.Storage == nil:
		return fmt.Errorf("focus_out.directory needs storage: after a restart the files would lack the days before it (got %q)", f.Directory)
	case f.BillingAccount == "":
		return errors.New("focus_out.billing_account must be set")
	case f.Interval <= 0:
		return fmt.Errorf("focus_out.interval must be positive (got %s)", f.Interval)
	}
	return nil
}

func (r *ResourcesConfig) validate() error {
	if !r.Enabled {
		return nil
	}
	if !currencyCode.MatchString(r.Currency) {
		return fmt.Errorf("resources.currency must be an ISO 4217 code (got %q)", r.Currency)
	}
	if !slices.Contains([]allocation.Share{allocation.None, allocation.Even, allocation.Weighted}, r.Idle) {
		return fmt.Errorf("resources.idle must be none, even or weighted (got %q)", r.Idle)
	}
	if !slices.Contains([]allocation.Share{allocation.None, allocation.Even, allocation.Weighted}, r.Split) {
		return fmt.Errorf("resources.split must be none, even or weighted (got %q)", r.Split)
	}
	if i := slices.Index(r.Shared, ""); i >= 0 {
		return fmt.Errorf("resources.shared[%d] must name a service", i)
	}
	if r.OverheadPerHour < 0 || math.IsNaN(r.OverheadPerHour) || r.OverheadPerHour > 1e9 {
		return fmt.Errorf("resources.overhead_per_hour must be between 0 and 1e9 (got %v)", r.OverheadPerHour)
	}
	if r.MaxGap <= 0 {
		return fmt.Errorf("resources.max_gap must be positive (got %s)", r.MaxGap)
	}
	for name, m := range r.Metrics {
		if _, ok := resourceNames[m.Resource]; !ok {
			return fmt.Errorf("resources.metrics.%s.resource must be cpu, ram, gpu, storage or network (got %q)", name, m.Resource)
		}
		if _, ok := kindNames[m.Kind]; !ok {
			return fmt.Errorf("resources.metrics.%s.kind must be request, usage or capacity (got %q)", name, m.Kind)
		}
		if m.Counter && m.Kind != "usage" {
			return fmt.Errorf("resources.metrics.%s.counter: only usage is counted (kind is %q)", name, m.Kind)
		}
	}
	for key, n := range map[string]int{"max_units": r.MaxUnits, "max_operations": r.MaxOperations} {
		if n <= 0 {
			return fmt.Errorf("resources.%s must be positive (got %d)", key, n)
		}
	}
	return nil
}

func (r *RuleConfig) validate(tables map[string]TableConfig) error {
	if len(r.Set) == 0 && len(r.Copy) == 0 && r.Lookup == nil {
		return errRuleGivesNothing
	}
	if r.Existing != "" && !validExisting(r.Existing) {
		return fmt.Errorf("existing must be keep, overwrite or check (got %q)", r.Existing)
	}
	for i, c := range r.When {
		if c.Attribute == "" {
			return fmt.Errorf("when[%d].attribute must be set", i)
		}
		if _, err := regexp.Compile(c.Matches); err != nil {
			return fmt.Errorf("when[%d].matches: %w", i, err)
		}
		if c.Absent && (len(c.Equals) > 0 || len(c.Glob) > 0 || c.Matches != "") {
			return fmt.Errorf("when[%d].absent stands alone", i)
		}
	}
	if r.Lookup != nil {
		table, ok := tables[r.Lookup.Table]
		if !ok {
			return fmt.Errorf("lookup.table %q is not under tables", r.Lookup.Table)
		}
		if len(table.Key) != len(r.Lookup.Key) {
			return fmt.Errorf("lookup.key needs %d attributes, one for each key column of %s (got %d)", len(table.Key), r.Lookup.Table, len(r.Lookup.Key))
		}
	}
	return nil
}

func (t *TelemetryConfig) validate() error {
	if !t.Enabled {
		return nil
	}
	if t.Stage == "" {
		return errors.New("telemetry.stage must be set")
	}
	if t.ActiveFor < time.Minute {
		return fmt.Errorf("telemetry.active_for must be at least 1m (got %s)", t.ActiveFor)
	}
	if t.MaxSeries <= 0 {
		return fmt.Errorf("telemetry.max_series must be positive (got %d)", t.MaxSeries)
	}
	if !currencyCode.MatchString(t.Currency) {
		return fmt.Errorf("telemetry.currency must be an ISO 4217 code (got %q)", t.Currency)
	}
	for signal, price := range t.Prices {
		if !slices.Contains([]string{"traces", "metrics", "logs"}, signal) {
			return fmt.Errorf("telemetry.prices: %q is not traces, metrics or logs", signal)
		}
		if price.PerSeriesMonth != 0 && signal != "metrics" {
			return fmt.Errorf("telemetry.prices.%s.per_series_month: only metrics have series (got %v)", signal, price.PerSeriesMonth)
		}
		for key, p := range map[string]float64{"per_gb": price.PerGB, "per_million": price.PerMillion, "per_series_month": price.PerSeriesMonth} {
			if p < 0 || math.IsNaN(p) || p > 1e9 {
				return fmt.Errorf("telemetry.prices.%s.%s must be between 0 and 1e9 (got %v)", signal, key, p)
			}
		}
	}
	return nil
}

func validExisting(e ownership.Existing) bool {
	return e == ownership.Keep || e == ownership.Overwrite || e == ownership.Check
}
