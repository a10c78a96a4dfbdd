// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func nightly() Maintenance {
	return Maintenance{
		Name: "backup", Start: "2026-01-01 02:30", Zone: "Europe/Berlin", Length: Duration(90 * time.Minute), Every: 1, Unit: UnitDay, Until: "2027-01-01",
	}
}

func TestMaintenanceThatMakesNoSenseIsRefused(t *testing.T) {
	whole := family()
	for want, change := range map[string]func(*Settings){
		"name must not be empty":                                       func(s *Settings) { s.Maintenance[0].Name = "" },
		`effect must be exclude or mute (got "pause")`:                 func(s *Settings) { s.Maintenance[0].Effect = "pause" },
		"length must be between 1m and 31d (got 1s)":                   func(s *Settings) { s.Maintenance[0].Length = Duration(time.Second) },
		"length must be between 1m and 31d (got 32d)":                  func(s *Settings) { s.Maintenance[0].Length = Duration(32 * Day) },
		"length must be at least 1h shorter than every (got 1d and 1d": func(s *Settings) { s.Maintenance[0].Length = Duration(Day) },
		`(got "tomorrow")`:                                             func(s *Settings) { s.Maintenance[0].Start = "tomorrow" },
		`zone must be a name of the IANA`:                              func(s *Settings) { s.Maintenance[0].Zone = "Berlin" },
		`until must be later than start`:                               func(s *Settings) { s.Maintenance[0].Until = "2025-12-31" },
		`until must be later than start, and needs every`:              func(s *Settings) { s.Maintenance[0].Every = 0 },
		`until: calendar: start must be a wall-clock time`:             func(s *Settings) { s.Maintenance[0].Until = "never" },
		`every must be a number of days`:                               func(s *Settings) { s.Maintenance[0].Unit = "fortnight" },
		"maintenance backup: the name is used twice":                   func(s *Settings) { s.Maintenance = append(s.Maintenance, nightly()) },
		"at most 256 are taken (got 257)":                              func(s *Settings) { s.Maintenance = make([]Maintenance, 257) },
		`maintenance backup: there is no objective "chekout"`:          func(s *Settings) { s.Maintenance[0].Objectives = []string{"chekout"} },
		"maintenance backup: whole is a composite":                     func(s *Settings) { s.Maintenance[0].Objectives = []string{"whole"} },
	} {
		settings := DefaultSettings()
		settings.Maintenance = []Maintenance{nightly()}
		change(&settings)
		_, err := New(settings, whole)
		assert.ErrorContains(t, err, want)
	}
	settings := DefaultSettings()
	settings.Maintenance = []Maintenance{nightly()}
	settings.Maintenance[0].Objectives, settings.Maintenance[0].Effect = []string{"whole"}, EffectMute
	_, err := New(settings, whole)
	assert.NoError(t, err)
}

// TestRecurringMaintenanceEqualsASearch asks of random moments and stretches whether they touch maintenance, and compares with a search
// of every occurrence, over changes of the clocks.
func TestRecurringMaintenanceEqualsASearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	touched := 0
	for range 60 {
		m := nightly()
		unit := []Unit{UnitDay, UnitWeek, UnitMonth}[r.IntN(3)]
		m.Zone = []string{"Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "", "Asia/Kathmandu"}[r.IntN(5)]
		m.Every, m.Unit, m.Length = 1+r.IntN(3), unit, Duration(1+r.IntN(22))*Duration(time.Hour)
		f, err := m.compile()
		require.NoError(t, err)
		c, err := Calendar{Start: m.Start, Zone: m.Zone, Every: m.Every, Unit: m.Unit}.compile()
		require.NoError(t, err)
		search := func(from, to int64) bool {
			for k := 0; ; k++ {
				begin := c.boundary(k)
				if begin >= f.until || begin > to {
					return false
				}
				if from < begin+int64(m.Length) {
					return true
				}
			}
		}
		for range 300 {
			from := time.Date(2025, 12, 20, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(int64(400 * Day)))).UnixNano()
			to := from
			if r.IntN(2) == 0 {
				to += r.Int64N(int64(7 * Day))
			}
			want := search(from, to)
			require.Equal(t, want, f.overlaps(from, to), "%+v from %s to %s", m, unix(from), unix(to))
			if want {
				touched++
			}
		}
	}
	assert.Greater(t, touched, 1000)
}

// Over a maintenance of ten minutes in which every event is bad, one effect leaves the budget alone and both leave the pager alone.
func TestWhatMaintenanceDoesToTheBudget(t *testing.T) {
	for _, c := range []struct {
		effect         string
		bad, excluded  float64
		pages, pending int
	}{{EffectExclude, 0, 600, 0, 5 * 6}, {EffectMute, 600, 0, 0, 15 * 6}, {"", 0, 600, 0, 5 * 6}} {
		settings := DefaultSettings()
		settings.Maintenance = []Maintenance{{Name: "m", Services: []string{"checkout"}, Start: "2026-03-01 12:05", Length: Duration(10 * time.Minute), Effect: c.effect}}
		e, err := New(settings, []Objective{testObjective("o")})
		require.NoError(t, err)
		require.NoError(t, e.Claim("test", true))
		feed(e, 10, append(steady(epoch, 5*time.Minute, time.Second, 0, 1), steady(epoch.Add(5*time.Minute), 10*time.Minute, time.Second, 1, 1)...)...)
		s := e.Statuses()[0]
		assert.Equal(t, StateFrozen, s.State)
		assert.Equal(t, "m", s.Maintenance)
		assert.InDelta(t, 300, s.Good, 0)
		assert.InDelta(t, c.bad, s.Bad, 0)
		assert.EqualValues(t, c.excluded, e.Stats().EventsExcluded)
		assert.Len(t, e.TakeTransitions(), c.pages)
		assert.Len(t, e.TakeEvents(), c.pending, "what does not count is not sent on")
		g := e.objectives[0].groups[""]
		assert.Equal(t, c.bad == 0, len(g.exemplars) == 0, "no example of what does not count")
	}
}

func TestMaintenanceIsAboutWhatItNames(t *testing.T) {
	a, b := testObjective("a", "service.name"), testObjective("b")
	a.Service = ""
	settings := DefaultSettings()
	settings.Maintenance = []Maintenance{
		{Name: "cart", Services: []string{"cart"}, Start: "2026-03-01 12:00", Length: Duration(time.Hour)},
		{Name: "b", Objectives: []string{"b"}, Start: "2026-03-01 13:00", Length: Duration(time.Hour)},
	}
	e, err := New(settings, []Objective{a, b})
	require.NoError(t, err)
	count := func(at time.Time) {
		tally := e.NewTally()
		for _, service := range []string{"cart", "checkout"} {
			tally.Service(service)
			tally.Entry(0, []string{service}).Add(tally.Slice(at.UnixNano()), at.UnixNano(), false, One)
		}
		tally.Entry(1, nil).Add(tally.Slice(at.UnixNano()), at.UnixNano(), false, One)
		tally.Observe(1, at.UnixNano())
		e.Commit(tally, at)
	}
	frozen := func() (names []string) {
		for _, s := range e.Statuses() {
			names = append(names, s.Name+" "+s.Service+" "+s.Maintenance)
		}
		return names
	}
	count(epoch.Add(time.Minute))
	assert.Equal(t, []string{"a cart cart", "a checkout ", "b checkout "}, frozen())
	count(epoch.Add(61 * time.Minute))
	assert.Equal(t, []string{"a cart ", "a checkout ", "b checkout b"}, frozen())
	assert.EqualValues(t, 2, e.Stats().EventsExcluded)

	// Other maintenance with a reload; what is wrong with it leaves all as it was.
	_, err = e.Redefine([]Objective{a}, settings.Maintenance, nil)
	require.ErrorContains(t, err, `there is no objective "b"`)
	assert.Equal(t, "b checkout b", frozen()[2])
	_, err = e.Redefine([]Objective{a, b}, settings.Maintenance[:1], nil)
	require.NoError(t, err)
	assert.Equal(t, "b checkout ", frozen()[2])
}
