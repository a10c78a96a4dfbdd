// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Unit is what a calendar counts in.
type Unit string

// The units of a calendar.
const (
	UnitDay     Unit = "day"
	UnitWeek    Unit = "week"
	UnitMonth   Unit = "month"
	UnitQuarter Unit = "quarter"
	UnitYear    Unit = "year"
)

// units are the calendar's units: how many days or months they are, and for how many days they stand where only a length is asked for.
var units = map[Unit]struct{ days, months, nominal int }{
	UnitDay: {days: 1, nominal: 1}, UnitWeek: {days: 7, nominal: 7},
	UnitMonth: {months: 1, nominal: 30}, UnitQuarter: {months: 3, nominal: 91}, UnitYear: {months: 12, nominal: 365},
}

// boundaryGrain is what a calendar's start must be a multiple of: every width of the finest slices divides it, so that no slice lies on
// both sides of a boundary.
const boundaryGrain = 10 * time.Second

var errCalendar = errors.New("calendar")

// Calendar is a sequence of periods of wall-clock time: they begin at Start and every Every Units after and before it, as the clocks of
// Zone show it. A period of a month is a month, whatever its length, and a day on which clocks change has 23 or 25 hours.
//
// Three things that wall clocks leave open are settled so: where the clocks show a boundary twice, it is the first time; where they skip
// it, it is the moment they do; and a month too short for Start's day has its boundary on its last day.
type Calendar struct {
	// Start is a boundary: "2026-01-01", "2026-01-01 09:30" or "2026-01-01 09:30:00".
	Start string
	// Zone is a name of the IANA time zone database; UTC when empty.
	Zone string
	// Every is how many units a period has.
	Every int
	Unit  Unit
}

// ParsePeriod reads the length of a calendar's period: a number of d, w, M, Q or Y.
func ParsePeriod(text string) (every int, unit Unit, err error) {
	byLetter := map[string]Unit{"d": UnitDay, "w": UnitWeek, "M": UnitMonth, "Q": UnitQuarter, "Y": UnitYear}
	if len(text) > 1 {
		digits, letter := text[:len(text)-1], text[len(text)-1:]
		every, ok := parsePositive(digits)
		if unit, known := byLetter[letter]; known && ok {
			return every, unit, nil
		}
	}
	return 0, "", fmt.Errorf("%w: want a period such as 1d, 1w, 1M, 1Q or 1Y (got %q)", errCalendar, text)
}

func parsePositive(digits string) (int, bool) {
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' || n > 10_000 {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n > 0 && digits[0] != '0'
}

// Nominal is the length the alerts' thresholds are scaled by: a month counts as 30 days, a quarter as 91, a year as 365.
func (c Calendar) Nominal() time.Duration {
	return time.Duration(c.Every) * time.Duration(units[c.Unit].nominal) * Day
}

// longest is as long as any period gets.
func (c Calendar) longest() time.Duration {
	u := units[c.Unit]
	return time.Duration(c.Every*(u.days+31*u.months))*Day + time.Hour
}

// String is the period as ParsePeriod reads it.
func (c Calendar) String() string {
	letter := map[Unit]string{UnitDay: "d", UnitWeek: "w", UnitMonth: "M", UnitQuarter: "Q", UnitYear: "Y"}[c.Unit]
	return fmt.Sprintf("%d%s", c.Every, letter)
}

// Validate names the first value that makes no sense.
func (c Calendar) Validate() error {
	_, err := c.compile()
	return err
}

// calendar is a Calendar ready for use. It remembers the last period asked for, so it is guarded by whoever owns it.
type calendar struct {
	start    time.Time // the wall clock's reading, as if it were UTC
	zone     *time.Location
	days     int // of a period; or
	months   int
	from, to int64 // the last period, [from, to) in ns
}

func (c Calendar) compile() (*calendar, error) {
	unit, ok := units[c.Unit]
	if !ok || c.Every < 1 {
		return nil, fmt.Errorf("%w: every must be a number of days, weeks, months, quarters or years (got %d %q)", errCalendar, c.Every, c.Unit)
	}
	if days := c.Nominal(); days > 366*Day {
		return nil, fmt.Errorf("%w: a period must be at most a year (got %s)", errCalendar, c)
	}
	start, err := parseWall(c.Start)
	if err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(c.Zone)
	if err != nil || strings.EqualFold(c.Zone, "local") {
		return nil, fmt.Errorf("%w: zone must be a name of the IANA time zone database such as Europe/Berlin (got %q)", errCalendar, c.Zone)
	}
	return &calendar{start: start, zone: zone, days: c.Every * unit.days, months: c.Every * unit.months}, nil
}

func parseWall(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			if at.Second()%int(boundaryGrain/time.Second) != 0 || at.Year() < 1970 || at.Year() > 2200 {
				return time.Time{}, fmt.Errorf("%w: start must be between 1970 and 2200 and a multiple of %s (got %q)", errCalendar, boundaryGrain, text)
			}
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: start must be a wall-clock time such as 2026-01-01 00:00:00, without a zone (got %q)", errCalendar, text)
}

// period is the period that holds t: [from, to) in ns.
func (c *calendar) period(t int64) (from, to int64) {
	if c.from != c.to && t >= c.from && t < c.to {
		return c.from, c.to
	}
	k := c.guess(t)
	for c.boundary(k) > t {
		k--
	}
	for c.boundary(k+1) <= t {
		k++
	}
	c.from, c.to = c.boundary(k), c.boundary(k+1)
	return c.from, c.to
}

// guess is the number of the period that holds t, give or take a few.
func (c *calendar) guess(t int64) int {
	wall := time.Unix(0, t).In(c.zone)
	if c.days > 0 {
		return int((t/int64(time.Second) - c.start.Unix()) / int64(c.days*24*3600))
	}
	return ((wall.Year()-c.start.Year())*12 + int(wall.Month()) - int(c.start.Month())) / c.months
}

// boundary is the moment the k-th period after Start begins.
func (c *calendar) boundary(k int) int64 {
	wall := c.start.AddDate(0, 0, k*c.days)
	if c.months > 0 {
		first := time.Date(c.start.Year(), c.start.Month(), 1, 0, 0, 0, 0, time.UTC).AddDate(0, k*c.months, 0)
		last := first.AddDate(0, 1, -1).Day()
		wall = time.Date(first.Year(), first.Month(), min(c.start.Day(), last), c.start.Hour(), c.start.Minute(), c.start.Second(), 0, time.UTC)
	}
	return instant(wall.Unix(), c.zone) * int64(time.Second)
}

// instant is the first moment at which the clocks of a zone show wall (seconds) or, where they skip it, a later time.
func instant(wall int64, zone *time.Location) int64 {
	const around = 36 * 3600 // no zone is further from UTC, and none changes its clocks twice within
	offset := func(at int64) int64 {
		_, seconds := time.Unix(at, 0).In(zone).Zone()
		return int64(seconds)
	}
	var shown []int64
	before := offset(wall - around)
	for _, o := range []int64{before, offset(wall + around)} {
		if at := wall - o; offset(at) == o {
			shown = append(shown, at)
		}
	}
	if len(shown) > 0 {
		return slices.Min(shown)
	}
	changed, _ := time.Unix(wall-before, 0).In(zone).ZoneBounds()
	return changed.Unix()
}
