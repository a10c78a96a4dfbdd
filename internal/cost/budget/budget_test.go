// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/budget"
	"github.com/pitwall-io/pitwall/internal/cost/money"
)

func day(month time.Month, d int) time.Time { return time.Date(2026, month, d, 12, 0, 0, 0, time.UTC) }

func amount(t *testing.T, v float64) money.Amount {
	t.Helper()
	a, err := money.FromFloat(v)
	require.NoError(t, err)
	return a
}

// flat is a series of the same amount a day.
func flat(from, to time.Time, perDay int64) *budget.Series {
	s := &budget.Series{}
	for t := from; t.Before(to); t = t.AddDate(0, 0, 1) {
		s.Add(t, money.FromInt(perDay))
	}
	return s
}

func TestFlatSpendingIsForecastExactly(t *testing.T) {
	f := flat(day(4, 1), day(5, 11), 10).Month(day(5, 11))
	assert.Equal(t, "100", f.Spent.String())
	assert.InDelta(t, 310, f.Expected, 1e-9)
	assert.InDelta(t, 310, f.Low, 1e-9)
	assert.InDelta(t, 310, f.High, 1e-9)
	assert.Equal(t, 40, f.Days)
}

func TestAShortSeriesIsForecastFromItsMean(t *testing.T) {
	s := &budget.Series{}
	assert.InDelta(t, 0, s.Month(day(5, 1)).Expected, 0)
	s.Add(day(5, 1), money.FromInt(10))
	assert.Zero(t, s.Month(day(5, 1)).Days, "today is not over")
	f := s.Month(day(5, 2))
	assert.InDelta(t, 310, f.Expected, 1e-9)
	assert.InDelta(t, f.Expected, f.High, 0, "one day gives no interval")
}

func TestDaysOfTheWeekAreToldApart(t *testing.T) {
	s := &budget.Series{}
	want := 0.0
	for d := day(4, 1); d.Before(day(6, 1)); d = d.AddDate(0, 0, 1) {
		v := int64(100)
		if d.Weekday() == time.Saturday || d.Weekday() == time.Sunday {
			v = 20
		}
		if d.Month() == time.May {
			want += float64(v)
		}
		if d.Before(day(5, 11)) {
			s.Add(d, money.FromInt(v))
		}
	}
	assert.InDelta(t, want, s.Month(day(5, 11)).Expected, 1e-9)
}

func TestAtDayTenNineOfTenNoisyMonthsAreForecastWithinFivePercentAndTheIntervalHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	inside, near, sum := 0, 0, 0.0
	const n = 1000
	for range n {
		s := &budget.Series{}
		truth := 0.0
		for d := day(4, 1); d.Before(day(6, 1)); d = d.AddDate(0, 0, 1) {
			v := 100 * math.Exp(0.1*rng.NormFloat64())
			if d.Weekday() == time.Saturday || d.Weekday() == time.Sunday {
				v *= 0.6
			}
			if d.Month() == time.May {
				truth += v
			}
			if d.Before(day(5, 11)) {
				s.Add(d, amount(t, v))
			}
		}
		f := s.Month(day(5, 11))
		off := math.Abs(f.Expected-truth) / truth
		sum += off
		if off <= 0.05 {
			near++
		}
		if f.Low <= truth && truth <= f.High {
			inside++
		}
	}
	assert.GreaterOrEqual(t, float64(near)/n, 0.9)
	assert.InDelta(t, 0.9, float64(inside)/n, 0.05)
	t.Logf("mean error %.1f %%, at most 5 %% in %.1f %% of months; truth inside the 90 %% interval in %.1f %%", 100*sum/n, 100*float64(near)/n, 100*float64(inside)/n)
}

func TestABudgetBurnsAndBreaches(t *testing.T) {
	s := flat(day(4, 1), day(5, 11), 10)
	st := s.Against(money.FromInt(155), day(5, 11))
	assert.Equal(t, "55", st.Remaining.String())
	for _, w := range budget.Windows() {
		assert.InDelta(t, 2, st.Burn[w], 1e-9, w)
	}
	assert.Equal(t, time.Date(2026, 5, 16, 0, 0, 0, 0, time.UTC), st.Breach)

	st = s.Against(money.FromInt(45), day(5, 11))
	assert.Equal(t, time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC), st.Breach, "it was crossed already")
	assert.Equal(t, -1, st.Remaining.Sign())

	st = s.Against(money.FromInt(310), day(5, 11))
	assert.True(t, st.Breach.IsZero(), "spent to the last day is not over")
	assert.Len(t, flat(day(5, 9), day(5, 11), 10).Against(money.FromInt(1), day(5, 11)).Burn, 1, "only windows that were seen")
	assert.Empty(t, (&budget.Series{}).Against(money.FromInt(1), day(5, 11)).Burn)
}

func TestCorrectionsChangeTheDayTheyAreOf(t *testing.T) {
	s := flat(day(5, 1), day(5, 4), 10)
	s.Add(day(5, 2), money.FromInt(-10))
	assert.Equal(t, "20", s.Between(day(5, 1), day(5, 4)).String())
	assert.Equal(t, "0", s.Between(day(5, 2), day(5, 3)).String())
}

func TestASeriesIsBoundedAndSurvivesStorage(t *testing.T) {
	s := flat(day(1, 1), day(11, 1), 1)
	assert.Equal(t, 93, s.Len())
	s.Add(day(1, 1), money.FromInt(1000))
	assert.Equal(t, 93, s.Len(), "what is older changes nothing")
	text, err := json.Marshal(s.Days())
	require.NoError(t, err)
	var days map[int]money.Amount
	require.NoError(t, json.Unmarshal(text, &days))
	restored := &budget.Series{}
	restored.Restore(days)
	assert.Equal(t, s.Days(), restored.Days())
	assert.Equal(t, s.Month(day(10, 20)), restored.Month(day(10, 20)))
}
