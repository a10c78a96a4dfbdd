// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDurationsReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * Day, "4w": 28 * Day, "6h": 6 * time.Hour, "5m": 5 * time.Minute, "30s": 30 * time.Second, "90m": 90 * time.Minute,
	} {
		var d Duration
		require.NoError(t, d.UnmarshalText([]byte(text)), text)
		assert.Equal(t, want, time.Duration(d))
		written, err := d.MarshalText()
		require.NoError(t, err)
		again, err := ParseDuration(string(written))
		require.NoError(t, err)
		assert.Equal(t, d, again)
	}
	assert.Equal(t, "28d", Duration(28*Day).String())
	assert.Equal(t, "1.5s", Duration(1500*time.Millisecond).String())
	for _, text := range []string{"", "d", "-3d", "0d", "0s", "-1h", "3", "x", "99999999999999d"} {
		_, err := ParseDuration(text)
		assert.ErrorContains(t, err, "want a positive duration", text)
	}
}

func TestAdjustedCountsFollowTheThreshold(t *testing.T) {
	for state, want := range map[string]float64{
		"": 1, "ot=th:0": 1, "ot=th:8": 2, "ot=th:c": 4, "ot=rv:abc;th:e": 8, "x=y, ot=th:f": 16, "ot=th:ffff": 65536,
		"ot=th:xyz": 1, "ot=th:": 1, "ot=th:000000000000001": 1, "ot=rv:1": 1, "other=th:8": 1,
	} {
		assert.InDelta(t, want, AdjustedCount(state).Float(), 1e-5, state)
	}
	assert.Equal(t, maxWeight, AdjustedCount("ot=th:ffffffffffffff"), "a broken threshold cannot flood the book")
}

func TestWeightsRefuseWhatIsNoCount(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 1e300} {
		_, ok := WeightOf(v)
		assert.False(t, ok, v)
	}
	w, ok := WeightOf(2.5)
	assert.True(t, ok)
	assert.InDelta(t, 2.5, w.Float(), 0)
	assert.Equal(t, maxCell, maxCell.plus(maxCell), "a slice saturates")
}

func TestThresholdsScaleWithTheWindow(t *testing.T) {
	rules := Workbook().Rules
	for _, c := range []struct {
		window time.Duration
		target float64
		want   []float64
	}{
		{30 * Day, 0.999, []float64{14.4, 6, 1}},
		{28 * Day, 0.999, []float64{13.44, 5.6, 1}},
		{7 * Day, 0.999, []float64{3.36, 1.4, 1}},   // a burn below 1 spends no more than the budget
		{30 * Day, 0.95, []float64{14.4, 6, 1}},     // 72 % bad
		{30 * Day, 0.9, []float64{9, 6, 1}},         // nothing burns faster than 10
		{365 * Day, 0.99, []float64{90, 73, 12.16}}, // nor here than 100
	} {
		for i, r := range rules {
			assert.InDelta(t, c.want[i], r.Threshold(c.window, c.target), 0.01, "%s over %s at %v", r.Name, c.window, c.target)
		}
	}
	assert.InDelta(t, 6, Demo().Rules[0].Threshold(30*Day, 0.99), 0)
}

func TestPoissonTailEqualsItsSum(t *testing.T) {
	tail := func(k int, lambda float64) float64 {
		below, term := 0.0, math.Exp(-lambda)
		for i := range k {
			below += term
			term *= lambda / float64(i+1)
		}
		return 1 - below
	}
	for _, lambda := range []float64{0.01, 0.3, 1, 4, 20, 60} {
		for k := range 100 {
			want := tail(k, lambda)
			if math.Abs(want-1e-4) < 1e-9 {
				continue
			}
			assert.Equal(t, want <= 1e-4, poissonTailAtMost(uint32(k), lambda, 1e-4), "k %d lambda %v tail %v", k, lambda, want)
		}
	}
	assert.True(t, poissonTailAtMost(1, 0, 1e-4))
	assert.True(t, poissonTailAtMost(4_000_000_000, 1e9, 1e-4))
	assert.False(t, poissonTailAtMost(1_000_000_000, 1e9, 1e-4))
	assert.False(t, poissonTailAtMost(1_000_010_000, 1e9, 1e-4), "a third of a standard deviation")
}

func TestValidationNamesTheValue(t *testing.T) {
	valid := testObjective("o")
	for want, change := range map[string]func(*Objective){
		"name must not be empty":                               func(o *Objective) { o.Name = "" },
		"target must be in [0, 1) (got 1)":                     func(o *Objective) { o.Target = 1 },
		"target must be in [0, 1) (got NaN)":                   func(o *Objective) { o.Target = math.NaN() },
		"window must be between 1h and 366d (got 1m)":          func(o *Objective) { o.Window = Duration(time.Minute) },
		"max_groups must be between 1 and 100000 (got 0)":      func(o *Objective) { o.MaxGroups = 0 },
		"group_by must name distinct attributes":               func(o *Objective) { o.GroupBy = []string{"a", "a"} },
		"group_by takes at most 8 attributes (got 9)":          func(o *Objective) { o.GroupBy = make([]string, 9) },
		"latency must be positive (got 0s)":                    func(o *Objective) { o.Indicator.Kind = IndicatorLatency },
		"bad_severity must be a severity":                      func(o *Objective) { o.Indicator.Kind = IndicatorLogs },
		"indicator must be spans, logs or metrics (got \"x\")": func(o *Objective) { o.Indicator.Kind = "x" },
		"attribute must not be empty":                          func(o *Objective) { o.Indicator.Match = []Match{{Equals: "x"}} },
		"exactly one of equals and regex":                      func(o *Objective) { o.Indicator.Match = []Match{{Attribute: "a"}} },
		"match a: regex: error parsing":                        func(o *Objective) { o.Indicator.Match = []Match{{Attribute: "a", Regex: "("}} },
	} {
		o := valid
		change(&o)
		assert.ErrorContains(t, o.Validate(), want)
	}
	require.NoError(t, valid.Validate())
}

func TestRulesAreValidated(t *testing.T) {
	valid := Rule{Name: "r", Severity: SeverityPage, Long: Duration(time.Hour), Short: Duration(5 * time.Minute), Burn: 2}
	for want, change := range map[string]func(*Rule){
		"name must not be empty":                             func(r *Rule) { r.Name = "" },
		"severity must be page or ticket (got \"x\")":        func(r *Rule) { r.Severity = "x" },
		"short must be at least 6s (got 1s)":                 func(r *Rule) { r.Short = Duration(time.Second) },
		"long must not be below short (got 1m and 5m)":       func(r *Rule) { r.Long = Duration(time.Minute) },
		"for must be between 0 and 1d (got 2d)":              func(r *Rule) { r.For = Duration(2 * Day) },
		"long must be at most 30d (got 31d)":                 func(r *Rule) { r.Long = Duration(31 * Day) },
		"exactly one of budget and burn must be set (got 1 ": func(r *Rule) { r.Budget = 1 },
		"budget must be in (0, 1] (got 2)":                   func(r *Rule) { r.Burn, r.Budget = 0, 2 },
		"burn must be in [1, 1000000] (got 0.5)":             func(r *Rule) { r.Burn = 0.5 },
	} {
		r := valid
		change(&r)
		assert.ErrorContains(t, r.Validate(), want)
	}
	require.NoError(t, valid.Validate())
	assert.ErrorContains(t, Custom(nil).Validate(), "at least one alert rule is needed")
	assert.ErrorContains(t, Custom([]Rule{valid, valid}).Validate(), "the name is used twice")
}

func TestSettingsAreValidated(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"max_lateness must be between 0 and 1h (got 2h0m0s)": func(s *Settings) { s.MaxLateness = 2 * time.Hour },
		"max_future must not be negative (got -1s)":          func(s *Settings) { s.MaxFuture = -time.Second },
		"absent_after must be between 0 and 1h (got -1s)":    func(s *Settings) { s.AbsentAfter = -time.Second },
		"false_alerts must be in (0, 1000] (got 0)":          func(s *Settings) { s.FalseAlerts = 0 },
		"contributors takes at most 16 attributes (got 17)":  func(s *Settings) { s.Contributors = make([]string, 17) },
	} {
		s := DefaultSettings()
		change(&s)
		_, err := New(s, []Objective{testObjective("o")})
		assert.ErrorContains(t, err, want)
	}
	_, err := New(DefaultSettings(), []Objective{testObjective("o"), testObjective("o")})
	assert.ErrorContains(t, err, "objective o: the name is used twice")
}

func TestTheWorstContributorsAreNamed(t *testing.T) {
	var c contributors
	for i := range 100 {
		c.add(5, tallied{contribution{0, string(rune('a' + i%26))}, One, 0})
		c.add(5, tallied{contribution{1, "/pay"}, One, One})
	}
	for range 50 {
		c.add(6, tallied{contribution{0, "z"}, 0, One})
	}
	worst := c.worst([]string{"route", "version"}, 5, 150*One)
	require.Len(t, worst, 2)
	assert.Equal(t, "z", worst[0].Value, "a value that turns bad gets in although the table is full, and stands out")
	assert.Equal(t, Contributor{Attribute: "version", Value: "/pay", Bad: 100, Total: 200, Share: 100.0 / 150}, worst[1], "all traffic has it")
	assert.Len(t, c.worst([]string{"route", "version"}, 6, 50*One), 1, "old generations fade")
	assert.Empty(t, c.worst([]string{"route", "version"}, 7, One))
}

func TestAContributorStandsOutByMoreThanItsShare(t *testing.T) {
	count := func(c *contributors, attribute uint8, value string, good, bad int) {
		c.add(5, tallied{contribution{attribute, value}, Weight(good) * One, Weight(bad) * One})
	}
	names := []string{"http.route", "service.version"}
	var c contributors
	count(&c, 1, "2.3.0", 3432, 226) // all that there is
	count(&c, 0, "/cart/{user}", 20, 225)
	count(&c, 0, "/", 3412, 1)
	assert.Equal(t, "/cart/{user}", c.worst(names, 5, 226*One)[0].Value)

	var even contributors // all routes fail alike; the few requests of one happened to fail more
	count(&even, 0, "/checkout", 810, 90)
	count(&even, 0, "/health", 0, 3)
	count(&even, 1, "2.3.0", 810, 93)
	worst := even.worst(names, 5, 93*One)
	assert.Equal(t, "2.3.0", worst[0].Value)
	assert.Equal(t, "/checkout", worst[1].Value)
}

func TestExemplarsAreTheNewestAndDistinct(t *testing.T) {
	var x exemplars
	for i := range 100 {
		x.add(exemplar{int64(i), TraceID{byte(i%50 + 1)}})
		x.add(exemplar{int64(i), TraceID{}})
	}
	require.Len(t, x, maxExemplars)
	ids := x.recent(0, 3)
	assert.Equal(t, []TraceID{{50}, {49}, {48}}, ids)
	assert.Empty(t, x.recent(1000, 3))
}

func TestATallyThatSpreadsTooFarRefuses(t *testing.T) {
	e := testEngine(t, Demo())
	tally := e.NewTally()
	entry := tally.Entry(0, nil)
	for i := range maxEntrySlices {
		at := int64(i) * int64(time.Minute)
		require.True(t, entry.Add(tally.Slice(at), at, false, One))
	}
	assert.False(t, entry.Add(tally.Slice(-1), -1, false, One))
	assert.True(t, entry.Add(tally.Slice(0), 0, true, One), "a slice it has still counts")
	tally.Reset()
	assert.Empty(t, tally.touched)
}
