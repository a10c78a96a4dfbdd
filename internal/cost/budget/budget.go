// SPDX-License-Identifier: Apache-2.0

// Package budget compares what was spent with what may be spent in a month, and says what the month will come to.
package budget

import (
	"maps"
	"math"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// history is how many days of a series are kept: the current month and the two before it, for the forecast.
const history = 93

// Series is money by day (UTC). It keeps the last 93 days. The zero value is ready to use; it is not safe for concurrent use.
type Series struct {
	days map[int]money.Amount // by days since 1970
	last int
}

func dayOf(t time.Time) int { return int(t.Unix() / 86400) }

// Add adds an amount to the day of t. Amounts of days before the last 93 of the series change nothing; a correction is a negative amount.
func (s *Series) Add(t time.Time, amount money.Amount) {
	day := dayOf(t)
	if s.days == nil {
		s.days = map[int]money.Amount{}
		s.last = day
	}
	if day <= s.last-history {
		return
	}
	s.days[day] = s.days[day].Plus(amount)
	if day > s.last {
		s.last = day
		for d := range s.days {
			if d <= day-history {
				delete(s.days, d)
			}
		}
	}
}

// Len is the number of days held.
func (s *Series) Len() int { return len(s.days) }

// Days are the days held and their amounts, for a snapshot.
func (s *Series) Days() map[int]money.Amount {
	return maps.Clone(s.days)
}

// Restore puts back what Days returned.
func (s *Series) Restore(days map[int]money.Amount) {
	for d, a := range days {
		s.Add(time.Unix(int64(d)*86400, 0), a)
	}
}

// Between is the sum over the days from the one of from up to the one before that of to.
func (s *Series) Between(from, to time.Time) money.Amount {
	var sum money.Amount
	for d := dayOf(from); d < dayOf(to); d++ {
		sum = sum.Plus(s.days[d])
	}
	return sum
}

// Forecast is what a month comes to.
type Forecast struct {
	// Spent is what the days of the month that are over cost.
	Spent money.Amount
	// Expected is the forecast of the whole month; Low and High are the ends of its 90 % prediction interval.
	Expected, Low, High float64
	// Days is how many days the forecast was made from; below 3 the interval is not to be trusted and equals Expected.
	Days int
}

// minSeasonal is how many days a forecast needs to tell the days of the week apart.
const minSeasonal = 14

// maxBasis is how many days back a forecast looks.
const maxBasis = 56

// z is the 95 % quantile of the normal distribution: a two-sided interval of 90 %.
const z = 1.6448536269514722

// Month forecasts the calendar month (UTC) of now, from the days that are over: the mean of each day of the week, once there are two
// weeks, else the mean of all. The interval is that of a sum of independent days around an estimated mean: variance n + n²/m times that of
// a day, for n days to come and m days seen (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.5).
func (s *Series) Month(now time.Time) Forecast {
	today := dayOf(now)
	from, to := monthOf(now)
	f := Forecast{Spent: s.Between(from, now)}
	first := s.first()
	basis := max(today-maxBasis, first)
	// What was spent before the first day seen is not known and not forecast.
	var mean [7]float64
	var seen [7]int
	sum, n := 0.0, 0
	for d := basis; d < today && s.days != nil; d++ {
		v := s.days[d].Float64()
		mean[weekday(d)] += v
		seen[weekday(d)]++
		sum += v
		n++
	}
	f.Days = n
	if n == 0 {
		f.Expected = f.Spent.Float64()
		f.Low, f.High = f.Expected, f.Expected
		return f
	}
	expect := func(d int) float64 {
		if w := weekday(d); n >= minSeasonal && seen[w] > 0 {
			return mean[w] / float64(seen[w])
		}
		return sum / float64(n)
	}
	squares, estimated := 0.0, 1
	if n >= minSeasonal {
		estimated = 7
	}
	for d := basis; d < today; d++ {
		e := s.days[d].Float64() - expect(d)
		squares += e * e
	}
	rest, left := 0.0, 0.0
	for d := today; d < dayOf(to); d++ {
		rest += expect(d)
		left++
	}
	f.Expected = f.Spent.Float64() + rest
	f.Low, f.High = f.Expected, f.Expected
	if n >= 3 && n > estimated {
		deviation := math.Sqrt(squares / float64(n-estimated))
		half := z * deviation * math.Sqrt(left+left*left/float64(n))
		f.Low, f.High = f.Expected-half, f.Expected+half
	}
	return f
}

// first is the first day held.
func (s *Series) first() int {
	first := math.MaxInt
	for d := range s.days {
		first = min(first, d)
	}
	return first
}

// weekday of a day since 1970, which began on a Thursday; any constant offset serves.
func weekday(day int) int { return ((day % 7) + 7) % 7 }

func monthOf(t time.Time) (from, to time.Time) {
	t = t.UTC()
	from = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 1, 0)
}

// Status is how a budget stands.
type Status struct {
	Forecast
	// Limit is what may be spent in the month.
	Limit money.Amount
	// Remaining is Limit − Spent.
	Remaining money.Amount
	// Burn is how many times faster than its limit allows the money went, by window: 1 spends it to the last day. A window that reaches
	// back before the first day seen is left out.
	Burn map[string]float64
	// Breach is the day on which the expected course crosses the limit; zero when it does not within the month.
	Breach time.Time
}

// windows of the burn of money: those of an error budget, in whole days.
var windows = []struct {
	name string
	days int
}{{"1d", 1}, {"3d", 3}, {"7d", 7}, {"28d", 28}}

// Windows are the names of the windows of Burn.
func Windows() []string {
	out := make([]string, len(windows))
	for i, w := range windows {
		out[i] = w.name
	}
	return out
}

// Against compares a series with a monthly limit at now.
func (s *Series) Against(limit money.Amount, now time.Time) Status {
	st := Status{Forecast: s.Month(now), Limit: limit, Burn: map[string]float64{}}
	st.Remaining = limit.Minus(st.Spent)
	from, to := monthOf(now)
	perDay := limit.Float64() / (to.Sub(from).Hours() / 24)
	first := s.first()
	for _, w := range windows {
		start := now.AddDate(0, 0, -w.days)
		if perDay > 0 && s.days != nil && dayOf(start) >= first {
			st.Burn[w.name] = s.Between(start, now).Float64() / float64(w.days) / perDay
		}
	}
	if st.Spent.Cmp(limit) >= 0 {
		sum := money.Amount{}
		for d := dayOf(from); d < dayOf(now); d++ {
			if sum = sum.Plus(s.days[d]); sum.Cmp(limit) >= 0 {
				st.Breach = time.Unix(int64(d)*86400, 0).UTC()
				return st
			}
		}
	}
	left := to.Sub(now.UTC().Truncate(24*time.Hour)).Hours() / 24
	if daily := (st.Expected - st.Spent.Float64()) / max(left, 1); st.Expected > limit.Float64() && daily > 0 {
		ahead := int(math.Floor(st.Remaining.Float64() / daily))
		st.Breach = now.UTC().Truncate(24*time.Hour).AddDate(0, 0, ahead)
	}
	return st
}
