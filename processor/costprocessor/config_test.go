// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/pitwall-io/pitwall/internal/cost/ownership"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

func load(t *testing.T, file, id string) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", file))
	require.NoError(t, err)
	sub, err := conf.Sub(id)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestDefaultsAreValidAndNamed(t *testing.T) {
	assert.Equal(t, component.MustNewType("cost"), metadata.Type)
	require.NoError(t, confmap.Validate(createDefaultConfig()))
}

func TestAWholeConfigurationIsRead(t *testing.T) {
	cfg := load(t, "config.yaml", "cost/full")
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, []string{"service.name"}, cfg.Rules[1].Lookup.Key)
	assert.Equal(t, ownership.Overwrite, cfg.Rules[0].Existing)
	assert.Equal(t, []string{"CostCenter", "cost department"}, cfg.Aliases["service.instance.cost_center.id"])
	assert.InDelta(t, 0.5, cfg.Telemetry.Prices["traces"].PerGB, 0)
	table := cfg.Tables["owners"]
	assert.Equal(t, ownership.CSV, table.format())
	table.Path = "x.YML"
	assert.Equal(t, ownership.YAML, table.format())
	table.Format = ownership.JSON
	assert.Equal(t, ownership.JSON, table.format())
}

func TestEveryWrongValueIsNamed(t *testing.T) {
	rule := RuleConfig{Name: "r", Set: map[string]string{"a": "b"}}
	good := BudgetConfig{Name: "b", Match: map[string]string{attrOwner: "x"}, Monthly: 1, Currency: "USD", Source: FromBill}
	tables := map[string]TableConfig{"t": {Path: "t.csv", Key: []string{"a"}}}
	for says, change := range map[string]func(*Config){
		"rules[0].name must be set":       func(c *Config) { c.Rules = []RuleConfig{{Set: rule.Set}} },
		`rules[1].name "r" is used twice`: func(c *Config) { c.Rules = []RuleConfig{rule, rule} },
		"needs set, copy or lookup":       func(c *Config) { c.Rules = []RuleConfig{{Name: "r"}} },
		"rules[0] (r): existing must be":  func(c *Config) { r := rule; r.Existing = "x"; c.Rules = []RuleConfig{r} },
		"when[0].attribute must be set":   func(c *Config) { r := rule; r.When = []ConditionConfig{{}}; c.Rules = []RuleConfig{r} },
		"when[0].matches": func(c *Config) {
			r := rule
			r.When = []ConditionConfig{{Attribute: "a", Matches: "("}}
			c.Rules = []RuleConfig{r}
		},
		"when[0].absent stands alone": func(c *Config) {
			r := rule
			r.When = []ConditionConfig{{Attribute: "a", Absent: true, Matches: "x"}}
			c.Rules = []RuleConfig{r}
		},
		`lookup.table "none" is not under`: func(c *Config) { c.Rules = []RuleConfig{{Name: "r", Lookup: &LookupConfig{Table: "none"}}} },
		"lookup.key needs 1 attributes": func(c *Config) {
			c.Tables = tables
			c.Rules = []RuleConfig{{Name: "r", Lookup: &LookupConfig{Table: "t"}}}
		},
		"tables.t.path must be set":              func(c *Config) { c.Tables = map[string]TableConfig{"t": {Key: []string{"a"}, Format: "csv"}} },
		"tables.t.key must name":                 func(c *Config) { c.Tables = map[string]TableConfig{"t": {Path: "a.csv"}} },
		`tables.t.format must be csv, yaml`:      func(c *Config) { c.Tables = map[string]TableConfig{"t": {Path: "a.txt", Key: []string{"a"}}} },
		"existing must be keep":                  func(c *Config) { c.Existing = "no" },
		"on_missing must be tag":                 func(c *Config) { c.OnMissing = "no" },
		"missing_value must be set":              func(c *Config) { c.MissingValue = "" },
		"reload_interval must be positive (got":  func(c *Config) { c.ReloadInterval = 0 },
		"emit_interval must be positive":         func(c *Config) { c.EmitInterval = -1 },
		"cache.max_resources must be positive":   func(c *Config) { c.Cache.MaxResources = 0 },
		"cache.max_mib must be positive":         func(c *Config) { c.Cache.MaxMiB = 0 },
		"max_accounts must be positive":          func(c *Config) { c.MaxAccounts = 0 },
		"telemetry.stage must be set":            func(c *Config) { c.Telemetry.Stage = "" },
		"telemetry.currency must be":             func(c *Config) { c.Telemetry.Currency = "dollars" },
		`"profiles" is not traces`:               func(c *Config) { c.Telemetry.Prices = map[string]TelemetryPrice{"profiles": {}} },
		"telemetry.prices.logs.per_gb must be":   func(c *Config) { c.Telemetry.Prices = map[string]TelemetryPrice{"logs": {PerGB: math.NaN()}} },
		"budgets[1].name must be set and unique": func(c *Config) { c.Budgets = []BudgetConfig{good, good} },
		"budgets[0] (b): monthly must be":        func(c *Config) { b := good; b.Monthly = 0; c.Budgets = []BudgetConfig{b} },
		"match must name at least one":           func(c *Config) { b := good; b.Match = nil; c.Budgets = []BudgetConfig{b} },
		"currency must be an ISO":                func(c *Config) { b := good; b.Currency = "x"; c.Budgets = []BudgetConfig{b} },
		"source must be bill or allocated":       func(c *Config) { b := good; b.Source = "x"; c.Budgets = []BudgetConfig{b} },
		"source allocated needs":                 func(c *Config) { b := good; b.Source = FromAllocated; c.Budgets = []BudgetConfig{b} },
		"match: source allocated knows": func(c *Config) {
			b := good
			b.Source, b.Match = FromAllocated, map[string]string{"cloud.region": "eu"}
			c.Resources.Enabled = true
			c.Budgets = []BudgetConfig{b}
		},
		"focus_out.directory needs resources": func(c *Config) { c.FocusOut.Directory = "x" },
		"focus_out.directory needs storage":   func(c *Config) { c.FocusOut.Directory = "x"; c.Resources.Enabled = true },
		"focus_out.billing_account must be": func(c *Config) {
			c.Resources.Enabled, c.Storage, c.FocusOut = true, &component.ID{}, FocusConfig{Directory: "x"}
		},
		"focus_out.interval must be": func(c *Config) {
			c.Resources.Enabled, c.Storage, c.FocusOut = true, &component.ID{}, FocusConfig{Directory: "x", BillingAccount: "a"}
		},
		"resources.currency must be":          func(c *Config) { c.Resources.Enabled = true; c.Resources.Currency = "" },
		"resources.idle must be":              func(c *Config) { c.Resources.Enabled = true; c.Resources.Idle = "x" },
		"resources.split must be":             func(c *Config) { c.Resources.Enabled = true; c.Resources.Split = "x" },
		"resources.shared[1] must name":       func(c *Config) { c.Resources.Enabled = true; c.Resources.Shared = []string{"a", ""} },
		"resources.overhead_per_hour must be": func(c *Config) { c.Resources.Enabled = true; c.Resources.OverheadPerHour = -1 },
		"resources.max_gap must be":           func(c *Config) { c.Resources.Enabled = true; c.Resources.MaxGap = 0 },
		"resources.max_units must be":         func(c *Config) { c.Resources.Enabled = true; c.Resources.MaxUnits = 0 },
		"resources.max_operations must be":    func(c *Config) { c.Resources.Enabled = true; c.Resources.MaxOperations = 0 },
	} {
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		assert.ErrorContains(t, cfg.Validate(), says)
	}
	cfg := createDefaultConfig().(*Config)
	cfg.Telemetry = TelemetryConfig{}
	require.NoError(t, cfg.Validate(), "accounting switched off needs no settings")
}
