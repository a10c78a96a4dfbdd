// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// scaled is n at PITWALL_SCALE=1, a hundredth of it without, and least at the least.
func scaled(t testing.TB, n, least int) (int, string) {
	t.Helper()
	scale := 0.01
	if text := os.Getenv("PITWALL_SCALE"); text != "" {
		var err error
		scale, err = strconv.ParseFloat(text, 64)
		require.NoError(t, err, "PITWALL_SCALE")
	}
	return max(least, int(float64(n)*scale)), fmt.Sprintf("PITWALL_SCALE=%g go test", scale)
}

// turns are moments at which calendars are at their worst: clocks that change, leap days, ends of months and years.
var turns = []string{
	"2024-02-29T12:00:00Z", "2024-03-01T00:00:00Z", "2028-02-29T23:00:00Z", "2023-02-28T22:00:00Z", "2024-03-10T07:00:00Z", "2024-11-03T06:00:00Z",
	"2025-03-30T01:00:00Z", "2025-10-26T01:00:00Z", "2025-04-05T15:00:00Z", "2025-10-04T15:30:00Z", "2024-12-31T23:30:00Z", "2025-12-31T10:00:00Z",
	"2026-09-06T04:00:00Z", "2026-06-15T09:00:00Z", "2027-01-31T12:00:00Z", "2025-09-07T04:00:00Z",
}

var zones = []string{
	"UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago", "Pacific/Chatham", "Pacific/Kiritimati",
	"America/St_Johns", "Asia/Kolkata", "Pacific/Pago_Pago", "Africa/Casablanca",
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomObjective makes an objective whose budget is judged at `now`.
func randomObjective(r *rand.Rand, now time.Time) Objective {
	o := testObjective("o")
	o.Target = pick(r, 0, 0.5, 0.9, 0.99, 0.999, 0.9999)
	o.Method = pick(r, MethodOccurrences, MethodTimeslices, MethodRatioTimeslices)
	o.Window = pick(r, Duration(2*Day), Duration(7*Day), Duration(28*Day), Duration(30*Day), Duration(36*time.Hour), Duration(90*Day))
	if r.IntN(2) == 0 {
		o.Calendar = &Calendar{Zone: pick(r, zones...), Every: 1 + r.IntN(3), Unit: pick(r, UnitDay, UnitWeek, UnitMonth, UnitQuarter)}
		if r.IntN(5) == 0 {
			o.Calendar.Every, o.Calendar.Unit = 1, UnitYear
		}
		start := now.Add(-o.Calendar.Nominal() * time.Duration(1+r.IntN(4))).Add(-3 * Day)
		clock := pick(r, 0, 0, 2*3600, 2*3600+1800, 3600+600, 9*3600, 24*3600-60, r.IntN(8640)*10)
		day := pick(r, start.Day(), 1, 29, 30, 31)
		month := start.Month()
		if first := time.Date(start.Year(), month+1, 0, 0, 0, 0, 0, time.UTC); day > first.Day() {
			day = first.Day()
		}
		if day > start.Day() {
			month-- // the calendar starts before what is judged
		}
		at := time.Date(start.Year(), month, 1, 0, 0, 0, 0, time.UTC)
		at = at.AddDate(0, 0, min(day, at.AddDate(0, 1, -1).Day())-1).Add(time.Duration(clock) * time.Second)
		o.Calendar.Start = at.Format(time.DateTime)
	}
	if o.Method != MethodOccurrences {
		o.TimeSliceWindow = pick(r, Duration(time.Minute), Duration(5*time.Minute), Duration(7*time.Minute), Duration(time.Hour), Duration(12*time.Hour))
		if o.Method == MethodTimeslices {
			o.TimeSliceTarget = pick(r, 0.5, 0.9, 0.95, 1)
		}
	}
	return o
}

// randomEvents are in order of time, the last at `end`.
func randomEvents(r *rand.Rand, end time.Time) []oracleEvent {
	span := pick(r, 30*time.Minute, 6*time.Hour, 3*Day, 40*Day)
	n := 2 + r.IntN(120)
	out := make([]oracleEvent, n)
	for i := range out {
		out[i].at = end.Add(-time.Duration(r.Int64N(int64(span)))).UnixNano()
		w := pick(r, One, One, Weight(r.Int64N(int64(50*One)))+1)
		if r.IntN(4) == 0 {
			out[i].bad = w
		} else {
			out[i].good = w
		}
	}
	out[0].at = end.UnixNano()
	slices.SortFunc(out, func(a, b oracleEvent) int { return int(a.at - b.at) })
	return out
}

func count(e *Engine, objective int, events ...oracleEvent) {
	tally := e.NewTally()
	for _, ev := range events {
		tally.Reset()
		c := Counts{Good: ev.good, Bad: ev.bad}
		if ev.good > 0 {
			c.GoodN = 1
		} else {
			c.BadN = 1
		}
		tally.Entry(objective, nil).AddCounts(tally.Slice(ev.at), ev.at, c)
		tally.Observe(1, ev.at)
		e.Commit(tally, unix(max(ev.at, e.edge))) // objectives are fed one after another, and the clock does not go back
	}
}

// TestBudgetsEqualABruteForceOracle compares budgets with a count over all events: methods, rolling and calendar windows, zones, leap days,
// days of 23 and 25 hours, composites with weights.
func TestBudgetsEqualABruteForceOracle(t *testing.T) {
	cases, command := scaled(t, 10_000, 200)
	compared, different, composites, calendars := 0, 0, 0, 0
	for seed := range uint64(cases) {
		r := rand.New(rand.NewPCG(seed, 21))
		turn, err := time.Parse(time.RFC3339, pick(r, turns...))
		require.NoError(t, err)
		now := turn.Add(time.Duration(r.Int64N(int64(6*Day))) - 2*Day)
		o := randomObjective(r, now)
		objectives := []Objective{o}
		if r.IntN(3) == 0 {
			composites++
			whole := o
			whole.Name, whole.Indicator = "whole", Indicator{}
			whole.Target = pick(r, 0, 0.5, 0.99)
			for i := range 1 + r.IntN(3) {
				part := o
				part.Name, part.Target = fmt.Sprint("part", i), pick(r, 0.5, 0.9, 0.999)
				objectives = append(objectives, part)
			}
			for _, part := range objectives {
				whole.Composite = append(whole.Composite, Component{Objective: part.Name, Weight: pick(r, 1, 1, 0.5, 2.5)})
			}
			objectives = append(objectives, whole)
		}
		if o.Calendar != nil {
			calendars++
		}
		e := testEngine(t, Workbook(), objectives...)
		events := make([][]oracleEvent, len(objectives))
		for i := range objectives {
			if len(objectives[i].Composite) == 0 {
				events[i] = randomEvents(r, now)
				count(e, i, events[i]...)
			}
		}
		for i, state := range e.objectives {
			want := oracle(state.Objective, e.fine, events[i], now.UnixNano())
			if state.composite() {
				parts := make([]Objective, len(state.components))
				for j, c := range state.components {
					parts[j] = c.Objective
				}
				want = oracleTogether(state.Objective, parts, e.fine, events, now.UnixNano())
			}
			compared++
			if difference := differs(state, want, now.UnixNano()); difference != "" {
				different++
				t.Errorf("seed %d, %+v: %s", seed, state.Objective, difference)
			}
		}
		if different > 5 {
			t.FailNow()
		}
	}
	figures.Record(t, figures.Figure{
		Table: "SLOs: exactness", Row: fmt.Sprintf("%d random cases, %d with calendars, %d composites", cases, calendars, composites),
		Reached: fmt.Sprintf("%d of %d budgets differ from a brute-force oracle", different, compared), Wanted: "0",
		Command: command + " -run BruteForceOracle ./internal/slo",
	})
}

// differs says how a budget differs from what it should be. A loss is kept to 2⁻³¹ of a slice, and a weight to 2⁻²⁰ of an event.
func differs(o *objective, want oracleAnswer, now int64) string {
	g := o.find("")
	got := o.budget(g, now)
	if o.calendar != nil {
		if from, to := o.calendar.period(now); from != want.from || to != want.to {
			return fmt.Sprintf("period %s to %s, want %s to %s", unix(from), unix(to), unix(want.from), unix(want.to))
		}
	}
	tolerance := 1e-9
	if o.Method == MethodRatioTimeslices || o.composite() {
		tolerance = 2e-6 / (1 - o.Target)
	}
	switch {
	case math.Abs(got.Good.Float()-want.good) > 1e-5*(1+want.good) || math.Abs(got.Bad.Float()-want.bad) > 1e-5*(1+want.bad):
		return fmt.Sprintf("%v good and %v bad, want %v and %v", got.Good.Float(), got.Bad.Float(), want.good, want.bad)
	case (got.compliance != nil) != want.known:
		return fmt.Sprintf("compliance %v, want it known: %v", got.compliance, want.known)
	case got.compliance != nil && math.Abs(*got.compliance-want.compliance) > tolerance:
		return fmt.Sprintf("compliance %v, want %v", *got.compliance, want.compliance)
	case (got.remaining != nil) != (want.known || o.calendar != nil):
		return fmt.Sprintf("remaining %v, want it known: %v", got.remaining, want.known)
	case got.remaining != nil && math.Abs(*got.remaining-want.remaining) > tolerance*(1+math.Abs(want.remaining)):
		return fmt.Sprintf("remaining %v, want %v", *got.remaining, want.remaining)
	}
	return ""
}

func TestCalendarsFollowTheClocksOfTheirZone(t *testing.T) {
	for _, c := range []struct {
		calendar Calendar
		at       string
		from, to string
	}{
		{Calendar{"2026-01-01", "America/New_York", 1, UnitDay}, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},          // 23 hours
		{Calendar{"2026-01-01", "America/New_York", 1, UnitDay}, "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},          // 25 hours
		{Calendar{"2026-01-01 02:30", "America/New_York", 1, UnitDay}, "2026-03-08T08:00:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"},    // 02:30 is skipped
		{Calendar{"2026-01-01 01:30:00", "America/New_York", 1, UnitDay}, "2026-11-01T06:00:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}, // 01:30 comes twice
		{Calendar{"2024-01-31", "UTC", 1, UnitMonth}, "2024-03-01T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z"},                     // a short month
		{Calendar{"2024-02-29", "UTC", 1, UnitYear}, "2025-03-01T00:00:00Z", "2025-02-28T00:00:00Z", "2026-02-28T00:00:00Z"},                      // a leap day
		{Calendar{"2024-02-29", "UTC", 1, UnitYear}, "2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "2029-02-28T00:00:00Z"},                      // and it comes back
		{Calendar{"2026-01-01", "Europe/Berlin", 1, UnitQuarter}, "2026-05-01T00:00:00Z", "2026-03-31T22:00:00Z", "2026-06-30T22:00:00Z"},         // across a change
		{Calendar{"2030-01-07", "", 2, UnitWeek}, "2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-06-15T00:00:00Z"},                         // before its start
		{Calendar{"2011-12-01T00:00:00", "Pacific/Apia", 1, UnitDay}, "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},     // the day Samoa skipped follows
	} {
		compiled, err := c.calendar.compile()
		require.NoError(t, err)
		at, err := time.Parse(time.RFC3339, c.at)
		require.NoError(t, err)
		from, to := compiled.period(at.UnixNano())
		assert.Equal(t, []string{c.from, c.to}, []string{unix(from).Format(time.RFC3339), unix(to).Format(time.RFC3339)}, "%+v", c.calendar)
	}
}

// The worked example of OpenSLO's page on budgeting methods: two weeks, a target of 95 %, time slices of a minute.
func TestTheMethodsSpendTheBudgetAsOpenSLOWorksItOut(t *testing.T) {
	minute := time.Minute
	for method, outage := range map[Method]time.Duration{
		MethodTimeslices:      16*time.Hour + 48*time.Minute, // 5 % of 20,160 slices
		MethodRatioTimeslices: 13*time.Hour + 43*time.Minute, // 0.05 = (0.99·x + 0.01·(20,160 − x)) ÷ 20,160
	} {
		o := testObjective("o")
		o.Target, o.Window, o.Method, o.TimeSliceWindow = 0.95, Duration(14*Day), method, Duration(minute)
		if method == MethodTimeslices {
			o.TimeSliceTarget = 0.9
		}
		e := testEngine(t, Workbook(), o)
		start := epoch.Truncate(minute)
		spent := time.Duration(0)
		for i := range int64(14 * Day / minute) {
			bad := Weight(1)
			if at := time.Duration(i) * minute; at >= 5*Day && at < 5*Day+outage {
				bad = 99
			}
			count(e, 0, oracleEvent{at: start.Add(time.Duration(i) * minute).UnixNano(), good: (100 - bad) * One})
			count(e, 0, oracleEvent{at: start.Add(time.Duration(i) * minute).UnixNano(), bad: bad * One})
			spent += minute
		}
		left := e.objectives[0].remaining(e.objectives[0].find(""), start.Add(spent).UnixNano()-1)
		require.NotNil(t, left)
		assert.InDelta(t, 0, *left, 0.002, method)
	}
}
