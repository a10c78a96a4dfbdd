// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/ownership"
)

// Names of the attributes the processor writes.
const (
	attrOwner        = "service.owner.name"
	attrCostCenter   = "service.instance.cost_center.id"
	attrCriticality  = "service.criticality"
	attrEnvironment  = "deployment.environment.name"
	attrSource       = "cost.tag.source"
	attrConflict     = "cost.tag.conflict"
	attrRoute        = "cost.route"
	routeUnallocated = "unallocated"
)

// OnMissing says what becomes of a resource that lacks a required tag.
type OnMissing string

// What becomes of a resource that lacks a required tag.
const (
	// Tag gives each missing tag the value of missing_value.
	Tag OnMissing = "tag"
	// Drop drops the resource and its records, and counts them.
	Drop OnMissing = "drop"
	// Route marks the resource with cost.route = unallocated, for a routing connector to act on.
	Route OnMissing = "route"
)

// Config is what a user writes under `cost`.
type Config struct {
	// Rules are tried in order; the first that gives a tag decides it.
	Rules []RuleConfig `mapstructure:"rules"`
	// Tables are lookup tables by name, read again when they change.
	Tables map[string]TableConfig `mapstructure:"tables"`
	// ReloadInterval is how often tables are checked for changes.
	ReloadInterval time.Duration `mapstructure:"reload_interval"`
	// Aliases are further names under which a tag may be present, by tag. Case, white space and the characters - _ . : / do not matter.
	Aliases map[string][]string `mapstructure:"aliases"`
	// Values maps a tag's canonical values to their synonyms, by tag.
	Values map[string]map[string][]string `mapstructure:"values"`
	// IgnoreValues are values that count as absent. Case does not matter.
	IgnoreValues []string `mapstructure:"ignore_values"`
	// Defaults are the values of tags that nothing else decided.
	Defaults map[string]string `mapstructure:"defaults"`
	// Existing is keep, overwrite or check: what becomes of tags that are there already, unless a rule says otherwise.
	Existing ownership.Existing `mapstructure:"existing"`
	// Required are the tags whose absence makes a resource unallocated.
	Required []string `mapstructure:"required"`
	// OnMissing is tag, drop or route.
	OnMissing OnMissing `mapstructure:"on_missing"`
	// MissingValue is what missing tags are set to under on_missing: tag.
	MissingValue string `mapstructure:"missing_value"`
	// Provenance writes cost.tag.source: for every tag, where it came from.
	Provenance bool `mapstructure:"provenance"`
	// Cache bounds the cache of decided resources.
	Cache CacheConfig `mapstructure:"cache"`
	// Telemetry accounts for what the telemetry itself costs.
	Telemetry TelemetryConfig `mapstructure:"telemetry"`
	// Resources allocates what machines cost, from usage metrics.
	Resources ResourcesConfig `mapstructure:"resources"`
	// Budgets compare spending with what may be spent in a month.
	Budgets []BudgetConfig `mapstructure:"budgets"`
	// FocusOut writes what is allocated as FOCUS files.
	FocusOut FocusConfig `mapstructure:"focus_out"`
	// Storage is the storage extension that keeps totals, daily series and budgets over a restart.
	Storage *component.ID `mapstructure:"storage"`
	// MaxAccounts bounds the combinations of service, owner and cost centre that are accounted for; new ones beyond it go to __overflow__.
	MaxAccounts int `mapstructure:"max_accounts"`
	// EmitInterval is how often cost metrics leave through the metrics pipeline.
	EmitInterval time.Duration `mapstructure:"emit_interval"`
}

// RuleConfig is one rule.
type RuleConfig struct {
	// Name stands in the provenance. Unique.
	Name string `mapstructure:"name"`
	// When are conditions that must all hold; none means every resource.
	When []ConditionConfig `mapstructure:"when"`
	// OTTL is a further condition in the resource context of the OpenTelemetry Transformation Language.
	OTTL string `mapstructure:"ottl"`
	// Set gives tags fixed values.
	Set map[string]string `mapstructure:"set"`
	// Copy gives a tag the value of the first of the attributes that is present.
	Copy map[string][]string `mapstructure:"copy"`
	// Lookup gives the tags of a table row.
	Lookup *LookupConfig `mapstructure:"lookup"`
	// Existing overrides the processor's setting for this rule.
	Existing ownership.Existing `mapstructure:"existing"`
}

// ConditionConfig is a test of one resource attribute. All of its parts that are set must hold.
type ConditionConfig struct {
	// Attribute is the resource attribute's name.
	Attribute string `mapstructure:"attribute"`
	// Equals holds when the value is one of these.
	Equals []string `mapstructure:"equals"`
	// Glob holds when the value matches one of these patterns (* any run of characters, ? any one).
	Glob []string `mapstructure:"glob"`
	// Matches is a regular expression (RE2).
	Matches string `mapstructure:"matches"`
	// Absent holds when the attribute is not there.
	Absent bool `mapstructure:"absent"`
}

// LookupConfig takes tags from a table.
type LookupConfig struct {
	// Table is the table's name.
	Table string `mapstructure:"table"`
	// Key are the attributes that give the key, one for each key column.
	Key []string `mapstructure:"key"`
}

// TableConfig is one lookup table.
type TableConfig struct {
	// Path of the file.
	Path string `mapstructure:"path"`
	// Format is csv, yaml or json; by default what the file's extension says.
	Format ownership.Format `mapstructure:"format"`
	// Key are the columns that identify a row.
	Key []string `mapstructure:"key"`
	// Columns renames columns to tags.
	Columns map[string]string `mapstructure:"columns"`
	// FoldCase compares keys without regard to case.
	FoldCase bool `mapstructure:"fold_case"`
}

// CacheConfig bounds the cache of decided resources.
type CacheConfig struct {
	// MaxResources is the number of resources held.
	MaxResources int `mapstructure:"max_resources"`
	// MaxMiB is the memory their keys take, in MiB.
	MaxMiB int `mapstructure:"max_mib"`
}

// TelemetryConfig accounts for the telemetry itself.
type TelemetryConfig struct {
	// Enabled turns accounting on.
	Enabled bool `mapstructure:"enabled"`
	// Stage names the place in the pipeline: received, limited, sampled, sent, or any word.
	Stage string `mapstructure:"stage"`
	// Currency is the ISO 4217 code of the prices.
	Currency string `mapstructure:"currency"`
	// Prices are the backend's prices by signal: traces, metrics, logs.
	Prices map[string]TelemetryPrice `mapstructure:"prices"`
	// Baseline is a cost processor that stands earlier in the pipeline: what passes here and there is compared, and the difference is what
	// the processors in between saved.
	Baseline *component.ID `mapstructure:"baseline"`
	// ActiveFor is how long after its last point a series is active.
	ActiveFor time.Duration `mapstructure:"active_for"`
	// MaxSeries bounds the active series that are told apart.
	MaxSeries int `mapstructure:"max_series"`
}

// TelemetryPrice is what a backend charges for one signal.
type TelemetryPrice struct {
	// PerGB is the price of 10^9 bytes of OTLP.
	PerGB float64 `mapstructure:"per_gb"`
	// PerMillion is the price of a million spans, data points or log records.
	PerMillion float64 `mapstructure:"per_million"`
	// PerSeriesMonth is the price of one series that is active for a month (730 hours); of metrics only.
	PerSeriesMonth float64 `mapstructure:"per_series_month"`
}

// BudgetConfig is one budget.
type BudgetConfig struct {
	// Name identifies the budget. Unique.
	Name string `mapstructure:"name"`
	// Match are the attributes whose spending counts: service.owner.name, service.instance.cost_center.id, service.name; for a bill any
	// resource attribute.
	Match map[string]string `mapstructure:"match"`
	// Monthly is what may be spent in a calendar month (UTC).
	Monthly float64 `mapstructure:"monthly"`
	// Currency is the ISO 4217 code.
	Currency string `mapstructure:"currency"`
	// Source is bill or allocated.
	Source BudgetSource `mapstructure:"source"`
}

// ResourcesConfig allocates what machines cost to the services that run on them.
type ResourcesConfig struct {
	// Enabled turns allocation on.
	Enabled bool `mapstructure:"enabled"`
	// PriceSheet is a CSV or YAML file of prices; without one, and where it says nothing, OpenCost's default prices count.
	PriceSheet string `mapstructure:"price_sheet"`
	// Currency is the ISO 4217 code of the prices.
	Currency string `mapstructure:"currency"`
	// Region, InstanceType and Commitment are looked up in the sheet where a machine's resource does not say them.
	Region       string `mapstructure:"region"`
	InstanceType string `mapstructure:"instance_type"`
	Commitment   string `mapstructure:"commitment"`
	// Idle is none, even or weighted: whether what nobody used of a machine is shared by who ran on it.
	Idle allocation.Share `mapstructure:"idle"`
	// Shared are services that run for the others, as patterns: what they cost is divided among those. Split says how they and the overhead
	// are divided: weighted by what each costs, even, or none.
	Shared []string         `mapstructure:"shared"`
	Split  allocation.Share `mapstructure:"split"`
	// OverheadPerHour is paid beyond the machines and divided as Split says.
	OverheadPerHour float64 `mapstructure:"overhead_per_hour"`
	// CarbonSheet is a CSV or YAML file of carbon factors: with it what machines emit is divided as their cost is.
	CarbonSheet string `mapstructure:"carbon_sheet"`
	// Metrics are further metrics that are read, by name: those of devices, or of a receiver of one's own.
	Metrics map[string]MeasureConfig `mapstructure:"metrics"`
	// MaxGap is how long a sample holds without another.
	MaxGap time.Duration `mapstructure:"max_gap"`
	// MaxUnits bounds the containers, processes and machines measured.
	MaxUnits int `mapstructure:"max_units"`
	// MaxOperations bounds the operations of one service that cost per request is told apart by.
	MaxOperations int `mapstructure:"max_operations"`
}

// FocusConfig writes what is allocated as FOCUS 1.3 files, one a month.
type FocusConfig struct {
	// Directory is where the files go; it must exist. Empty: none are written. It needs Storage: a file is written anew as a whole.
	Directory string `mapstructure:"directory"`
	// BillingAccount stands in the files as BillingAccountId.
	BillingAccount string `mapstructure:"billing_account"`
	// Interval is how often the files are written anew.
	Interval time.Duration `mapstructure:"interval"`
}

// MeasureConfig says what a metric is about.
type MeasureConfig struct {
	// Resource is cpu (cores), ram (bytes), gpu (devices), storage (bytes) or network (bytes sent).
	Resource string `mapstructure:"resource"`
	// Kind is request, usage or capacity.
	Kind string `mapstructure:"kind"`
	// Counter marks a running total: core seconds, or bytes sent.
	Counter bool `mapstructure:"counter"`
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		ReloadInterval: 10 * time.Second,
		IgnoreValues:   []string{"null", "none", "n/a", "unknown", "-"},
		Existing:       ownership.Keep,
		Required:       []string{attrOwner},
		OnMissing:      Tag,
		MissingValue:   "__unallocated__",
		Provenance:     true,
		Cache:          CacheConfig{MaxResources: 10_000, MaxMiB: 16},
		Telemetry:      TelemetryConfig{Enabled: true, Stage: "received", Currency: "USD", ActiveFor: 15 * time.Minute, MaxSeries: 100_000},
		Resources:      ResourcesConfig{Currency: "USD", Idle: allocation.None, Split: allocation.Weighted, MaxGap: 5 * time.Minute, MaxUnits: 10_000, MaxOperations: 200},
		FocusOut:       FocusConfig{BillingAccount: "pitwall", Interval: time.Hour},
		MaxAccounts:    2000,
		EmitInterval:   time.Minute,
	}
}

func (t *TableConfig) format() ownership.Format {
	if t.Format != "" {
		return t.Format
	}
	switch ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(t.Path), ".")); ext {
	case "yml":
		return ownership.YAML
	default:
		return ownership.Format(ext)
	}
}
