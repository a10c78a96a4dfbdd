// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/pitwall-io/pitwall/internal/slo"
)

func load(t *testing.T, key string) *Config {
	t.Helper()
	all, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	part, err := all.Sub(key)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, part.Unmarshal(cfg))
	return cfg
}

func TestTheConfigurationUsersSeeLoads(t *testing.T) {
	cfg := load(t, "slo")
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, "file_storage", cfg.Storage.String())
	settings, objectives, err := cfg.book()
	require.NoError(t, err)
	assert.Equal(t, slo.DefaultSettings(), settings)
	thirty := slo.Duration(30 * slo.Day)
	assert.Equal(t, []slo.Objective{
		{
			Name: "checkout-availability", Service: "checkout", Target: 0.995, Window: thirty, Owner: "team-checkout",
			Runbook: "https://runbooks.example.com/checkout", MaxGroups: 1000, Indicator: slo.Indicator{Kind: slo.IndicatorSpans},
		},
		{
			Name: "checkout-latency", Service: "checkout", Target: 0.95, Window: thirty, MaxGroups: 1000,
			Indicator: slo.Indicator{Kind: slo.IndicatorLatency, Latency: 300 * time.Millisecond},
		},
		{
			Name: "log-errors", Target: 0.99, Window: thirty, GroupBy: []string{"service.name"}, MaxGroups: 1000,
			Indicator: slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: 17},
		},
	}, objectives)
}

func TestEveryKeyIsRead(t *testing.T) {
	demo := load(t, "slo/demo")
	require.NoError(t, confmap.Validate(demo))
	settings, objectives, err := demo.book()
	require.NoError(t, err)
	assert.Equal(t, slo.Demo(), settings.Profile)
	assert.Equal(t, slo.Objective{
		Name: "any", Description: "Anything at all", Target: 0.99, Window: slo.Duration(7 * slo.Day), MaxGroups: 10, GroupBy: []string{"service.name", "http.route"},
		Indicator: slo.Indicator{
			Kind: slo.IndicatorSpans, Kinds: []string{"any"}, IncludeSynthetic: true,
			Match: []slo.Match{{Attribute: "http.route", Regex: "/api/.*"}},
		},
	}, objectives[0])

	budgets := load(t, "slo/budgets")
	require.NoError(t, confmap.Validate(budgets))
	_, objectives, err = budgets.book()
	require.NoError(t, err)
	calendar := &slo.Calendar{Start: "2026-01-01 09:00", Zone: "Europe/Berlin", Every: 1, Unit: slo.UnitQuarter}
	assert.Equal(t, []slo.Objective{
		{
			Name: "minutes", Target: 0.995, MaxGroups: 1000, Calendar: calendar, Method: slo.MethodTimeslices,
			TimeSliceWindow: slo.Duration(time.Minute), TimeSliceTarget: 0.99, Indicator: slo.Indicator{Kind: slo.IndicatorSpans},
		},
		{
			Name: "more-minutes", Target: 0.9, MaxGroups: 1000, Calendar: calendar, Method: slo.MethodTimeslices,
			TimeSliceWindow: slo.Duration(time.Minute), TimeSliceTarget: 1, Indicator: slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: 17},
		},
		{
			Name: "both", MaxGroups: 1000, Calendar: calendar, Method: slo.MethodTimeslices, TimeSliceWindow: slo.Duration(time.Minute), TimeSliceTarget: 0.99,
			Composite: []slo.Component{{Objective: "minutes", Weight: 1}, {Objective: "more-minutes", Weight: 0.5}},
		},
		{
			Name: "weeks", Target: 0.9, MaxGroups: 1000, Calendar: &slo.Calendar{Start: "1970-01-05", Every: 2, Unit: slo.UnitWeek},
			Method: slo.MethodRatioTimeslices, TimeSliceWindow: slo.Duration(time.Hour), Indicator: slo.Indicator{Kind: slo.IndicatorSpans},
		},
	}, objectives)

	maintained := load(t, "slo/maintenance")
	require.NoError(t, confmap.Validate(maintained))
	settings, _, err = maintained.book()
	require.NoError(t, err)
	assert.Equal(t, []slo.Maintenance{
		{Name: "release 41", Objectives: []string{"checkout"}, Start: "2026-11-24 22:00", Length: slo.Duration(time.Hour), Effect: slo.EffectMute},
		{
			Name: "backup", Services: []string{"cart", "billing"}, Start: "2026-01-04 02:30", Zone: "Europe/Berlin", Length: slo.Duration(90 * time.Minute),
			Every: 1, Unit: slo.UnitWeek, Until: "2027-01-01",
		},
	}, settings.Maintenance)

	custom := load(t, "slo/custom")
	require.NoError(t, confmap.Validate(custom))
	assert.Equal(t, 30*time.Second, custom.SnapshotInterval)
	settings, objectives, err = custom.book()
	require.NoError(t, err)
	assert.Equal(t, slo.Settings{
		Profile: slo.Custom([]slo.Rule{
			{Name: "fast", Severity: "page", Long: slo.Duration(10 * time.Minute), Short: slo.Duration(time.Minute), Burn: 10},
			{Name: "slow", Severity: "ticket", Long: slo.Duration(slo.Day), Short: slo.Duration(2 * time.Hour), Budget: 0.1},
		}),
		MaxLateness: time.Minute, AbsentAfter: 10 * time.Minute, FalseAlerts: 0.5, MinBadEvents: 1, Contributors: []string{"http.route"},
	}, settings)
	assert.EqualValues(t, 14, objectives[0].Indicator.BadSeverity)
}

func TestWrongConfigurationsAreRefusedByKeyAndValue(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"snapshot_interval must be at least 1s (got 1ms)":                 func(c *Config) { c.SnapshotInterval = time.Millisecond },
		`journal must be always or interval (got "never")`:                func(c *Config) { c.Journal = "never" },
		`alert_profile must be workbook, demo or custom (got "x")`:        func(c *Config) { c.AlertProfile = "x" },
		"alert_profile custom needs alerts":                               func(c *Config) { c.AlertProfile = "custom" },
		`alerts needs alert_profile custom or none (got "demo")`:          func(c *Config) { c.AlertProfile, c.Alerts = "demo", make([]AlertConfig, 1) },
		"objectives, openslo or files must define at least one objective": func(c *Config) { c.Objectives = nil },
		"objectives[0] checkout-availability: indicator must hold exactly one": func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Spans: &SpansConfig{}, Logs: &LogsConfig{}}
		},
		"bad_severity and bad_when are two verdicts": func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Logs: &LogsConfig{BadSeverity: "ERROR", BadWhen: "true"}}
		},
		`objective checkout-availability: condition "name =="`: func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Spans: &SpansConfig{Where: "name =="}}
		},
		`objective checkout-availability: condition "body =="`: func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Logs: &LogsConfig{BadWhen: "body =="}}
		},
		`condition "no.such.path == 1"`: func(c *Config) {
			selector := &MetricConfig{Metric: "m", Where: "no.such.path == 1"}
			c.Objectives[0].Indicator = IndicatorConfig{Metrics: &MetricsConfig{Good: selector, Total: selector}}
		},
		"bad_when and latency are two verdicts": func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Spans: &SpansConfig{Latency: time.Second, BadWhen: "true"}}
		},
		"metrics must hold exactly one of a ratio": func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Metrics: &MetricsConfig{}}
		},
		"want total and exactly one of good and bad (got good true, bad false, total false)": func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Metrics: &MetricsConfig{Good: &MetricConfig{Metric: "m"}}}
		},
		"metrics: total: metric must not be empty": func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Metrics: &MetricsConfig{Good: &MetricConfig{Metric: "m"}, Total: &MetricConfig{}}}
		},
		"histogram needs exactly one of latency and threshold": func(c *Config) {
			c.Objectives[0].Indicator = IndicatorConfig{Metrics: &MetricsConfig{Histogram: &MetricConfig{Metric: "m"}}}
		},
		`op must be lt, lte, gt or gte (got "eq")`: func(c *Config) {
			zero := 0.0
			c.Objectives[0].Indicator = IndicatorConfig{Metrics: &MetricsConfig{Gauge: &MetricConfig{Metric: "m"}, Op: "eq", Threshold: &zero}}
		},
		"slice must be between 1s and 1h (got 2h)": func(c *Config) {
			zero := 0.0
			c.Objectives[0].Indicator = IndicatorConfig{Metrics: &MetricsConfig{
				Gauge: &MetricConfig{Metric: "m"}, Op: "lt", Threshold: &zero, Slice: slo.Duration(2 * time.Hour),
			}}
		},
		`kinds must be of server, consumer, client, producer, internal, unspecified, any (got "x")`: func(c *Config) {
			c.Objectives[0].Indicator.Spans.Kinds = []string{"x"}
		},
		`bad_severity must be a severity such as WARN or ERROR (got "BAD")`: func(c *Config) {
			c.Objectives[2].Indicator.Logs.BadSeverity = "BAD"
		},
		"objective checkout-latency: target must be in [0, 1) (got 95)":        func(c *Config) { c.Objectives[1].Target = 95 },
		"max_future must not be negative (got -1s)":                            func(c *Config) { c.MaxFuture = -time.Second },
		"window and calendar exclude each other (got 30d and 1M)":              func(c *Config) { c.Objectives[0].Calendar = &CalendarConfig{Every: "1M"} },
		`want a period such as 1d, 1w, 1M, 1Q or 1Y (got "1m")`:                func(c *Config) { c.Objectives[1].Calendar = &CalendarConfig{Every: "1m"} },
		`zone must be a name of the IANA time zone database`:                   func(c *Config) { c.Objectives[1].Calendar = &CalendarConfig{Every: "1M", Zone: "Mars"} },
		"start must be a wall-clock time such as 2026-01-01 00:00:00":          func(c *Config) { c.Objectives[1].Calendar = &CalendarConfig{Every: "1M", Start: "now"} },
		"start must be between 1970 and 2200 and a multiple of 10s":            func(c *Config) { c.Objectives[1].Calendar = &CalendarConfig{Every: "1M", Start: "2026-01-01 00:00:07"} },
		"a period must be at most a year (got 2Y)":                             func(c *Config) { c.Objectives[1].Calendar = &CalendarConfig{Every: "2Y"} },
		`method must be occurrences, timeslices or ratio_timeslices (got "x")`: func(c *Config) { c.Objectives[1].Method = "x" },
		"time_slice_window and time_slice_target need the method":              func(c *Config) { c.Objectives[1].TimeSliceTarget = 1 },
		"time_slice_target must be in (0, 1] (got 0)":                          func(c *Config) { c.Objectives[1].Method = slo.MethodTimeslices },
		"time_slice_target has no meaning with the method ratio_timeslices": func(c *Config) {
			c.Objectives[1].Method, c.Objectives[1].TimeSliceTarget = slo.MethodRatioTimeslices, 1
		},
		"time_slice_window must be whole minutes between 1m and 1d (got 1.5s)": func(c *Config) {
			c.Objectives[1].Method, c.Objectives[1].TimeSliceWindow = slo.MethodRatioTimeslices, slo.Duration(1500*time.Millisecond)
		},
		"time_slice_window must fit into the window at least twice (got 1d in 1d)": func(c *Config) {
			o := &c.Objectives[1]
			o.Method, o.TimeSliceWindow, o.Window = slo.MethodRatioTimeslices, slo.Duration(slo.Day), slo.Duration(slo.Day)
		},
		`composite: there is no objective "x"`: func(c *Config) {
			c.Objectives[1].Indicator, c.Objectives[1].Composite = IndicatorConfig{}, []ComponentConfig{{Objective: "x"}, {Objective: "log-errors"}}
		},
		"composite: log-errors must have the same group_by": func(c *Config) {
			c.Objectives[1].Indicator, c.Objectives[1].Composite = IndicatorConfig{}, []ComponentConfig{{Objective: "log-errors"}, {Objective: "checkout-availability"}}
		},
		"composite: checkout-availability must have the same method, window": func(c *Config) {
			c.Objectives[1].Indicator, c.Objectives[1].Composite = IndicatorConfig{}, []ComponentConfig{{Objective: "checkout-availability"}, {Objective: "log-errors"}}
			c.Objectives[1].Window = slo.Duration(slo.Day)
		},
		"composite takes 2 to 32 objectives (got 1)": func(c *Config) {
			c.Objectives[1].Indicator, c.Objectives[1].Composite = IndicatorConfig{}, []ComponentConfig{{Objective: "x"}}
		},
		"composite: the weight of x must be in (0, 65535] (got -1)": func(c *Config) {
			c.Objectives[1].Indicator, c.Objectives[1].Composite = IndicatorConfig{}, []ComponentConfig{{Objective: "x", Weight: -1}, {Objective: "y"}}
		},
		`composite must name distinct other objectives (got "checkout-latency")`: func(c *Config) {
			c.Objectives[1].Indicator, c.Objectives[1].Composite = IndicatorConfig{}, []ComponentConfig{{Objective: "checkout-latency"}, {Objective: "y"}}
		},
		`composite takes the place of an indicator (got "spans.latency")`: func(c *Config) {
			c.Objectives[1].Composite = []ComponentConfig{{Objective: "a"}, {Objective: "y"}}
		},
		`maintenance[0]: calendar: want a period such as 1d, 1w, 1M, 1Q or 1Y (got "weekly")`: func(c *Config) {
			c.Maintenance = []MaintenanceConfig{{Name: "m", Start: "2026-01-01", Length: slo.Duration(time.Hour), Every: "weekly"}}
		},
		"maintenance[0]: maintenance m: length must be between 1m and 31d (got 0s)": func(c *Config) {
			c.Maintenance = []MaintenanceConfig{{Name: "m", Start: "2026-01-01"}}
		},
		`maintenance m: there is no objective "x"`: func(c *Config) {
			c.Maintenance = []MaintenanceConfig{{Name: "m", Start: "2026-01-01", Length: slo.Duration(time.Hour), Objectives: []string{"x"}}}
		},
		"alert rule r: severity must be page or ticket": func(c *Config) { c.Alerts = []AlertConfig{{Name: "r"}} },
	} {
		cfg := load(t, "slo")
		change(cfg)
		assert.ErrorContains(t, confmap.Validate(cfg), want)
	}
}

func TestSeverityNames(t *testing.T) {
	for name, want := range map[string]int32{"trace": 1, "DEBUG": 5, "info4": 12, "WARN": 13, "error": 17, "ERROR2": 18, "FATAL4": 24} {
		got, ok := severityNumber(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, got, name)
	}
	for _, name := range []string{"", "ERROR5", "ERRORS", "ERROR1", "WARNING"} {
		_, ok := severityNumber(name)
		assert.False(t, ok, name)
	}
}

// TestTheREADMEsConfigurationLoads runs what a reader will copy.
func TestTheREADMEsConfigurationLoads(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```yaml\n")
	require.True(t, found)
	block, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	retrieved, err := confmap.NewRetrievedFromYAML([]byte(block))
	require.NoError(t, err)
	conf, err := retrieved.AsConf()
	require.NoError(t, err)
	part, err := conf.Sub("extensions::slo")
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, part.Unmarshal(cfg))
	require.NoError(t, confmap.Validate(cfg))
	assert.Len(t, cfg.Objectives, 2)
}

func TestAServiceAndATargetAreACompleteObjective(t *testing.T) {
	c := createDefaultConfig().(*Config)
	c.Objectives = []ObjectiveConfig{{Service: "checkout", Target: 0.999}}
	require.NoError(t, c.Validate())
	_, objectives, err := c.book()
	require.NoError(t, err)
	assert.Equal(t, slo.Objective{
		Name: "checkout", Service: "checkout", Target: 0.999, Window: slo.Duration(30 * slo.Day), MaxGroups: slo.DefaultMaxGroups,
		Indicator: slo.Indicator{Kind: slo.IndicatorSpans},
	}, objectives[0])
}
