// SPDX-License-Identifier: Apache-2.0

package usage_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/usage"
)

func at(minutes int) time.Time {
	return time.Date(2026, 5, 1, 0, minutes, 0, 0, time.UTC)
}

func cpu(m int, kind usage.Kind, source string, value float64) *usage.Sample {
	return &usage.Sample{Unit: usage.Unit{Pool: "n", ID: "u"}, Resource: allocation.CPU, Kind: kind, Source: source, At: at(m), Value: value}
}

func TestALevelHoldsUntilTheNextSampleButNotForEver(t *testing.T) {
	m := usage.NewMeter(10*time.Minute, 10)
	m.Observe(cpu(0, usage.Request, "r", 2))
	m.Observe(cpu(6, usage.Request, "r", 4))
	lines := m.Close()
	require.Len(t, lines, 1)
	assert.InDelta(t, 0.2, lines[0].Hours[allocation.CPU][usage.Request], 1e-12, "2 cores for 6 minutes")
	m.Observe(cpu(66, usage.Request, "r", 4))
	assert.InDelta(t, 4*10.0/60, m.Close()[0].Hours[allocation.CPU][usage.Request], 1e-12, "4 cores for the longest gap, over the window's end")
	assert.Empty(t, m.Close(), "nothing twice")
}

func TestACounterThatFallsBeganAnew(t *testing.T) {
	m := usage.NewMeter(time.Hour, 10)
	for i, v := range []float64{100, 3700, 1800, 5400} {
		s := cpu(i, usage.Used, "time", v)
		s.Counter = true
		m.Observe(s)
	}
	assert.InDelta(t, (3600.0+1800+3600)/3600, m.Close()[0].Hours[allocation.CPU][usage.Used], 1e-12)
}

func TestSeriesOfASourceAddUpAndTheLargestSourceCounts(t *testing.T) {
	m := usage.NewMeter(time.Hour, 10)
	for _, minute := range []int{0, 60} {
		for _, state := range []string{"user", "system"} {
			s := cpu(minute, usage.Used, "a", 1)
			s.Series = state
			m.Observe(s)
		}
		m.Observe(cpu(minute, usage.Used, "b", 1.5))
	}
	assert.InDelta(t, 2, m.Close()[0].Hours[allocation.CPU][usage.Used], 1e-12)
}

func TestImpossibleAndLateSamplesChangeNothing(t *testing.T) {
	m := usage.NewMeter(time.Hour, 10)
	m.Observe(cpu(10, usage.Used, "a", 1))
	for _, v := range []float64{math.NaN(), math.Inf(1), -1, 1e19} {
		m.Observe(cpu(20, usage.Used, "a", v))
	}
	m.Observe(cpu(5, usage.Used, "a", 100))
	m.Observe(cpu(70, usage.Used, "a", 1))
	assert.InDelta(t, 1, m.Close()[0].Hours[allocation.CPU][usage.Used], 1e-12)
}

func TestUnitsAndSeriesAreBoundedAndForgotten(t *testing.T) {
	m := usage.NewMeter(time.Hour, 2)
	for i := range 5 {
		s := cpu(0, usage.Used, "a", 1)
		s.Unit.ID = strconv.Itoa(i)
		assert.Equal(t, i < 2, m.Observe(s))
	}
	s := cpu(0, usage.Used, "a", 1)
	s.Unit.ID = "0"
	taken := 0
	for i := range 1000 {
		s.Series = strconv.Itoa(i)
		if m.Observe(s) {
			taken++
		}
	}
	assert.Less(t, taken, 300)
	assert.Equal(t, 2, m.Len())
	assert.True(t, m.Known(usage.Unit{Pool: "n", ID: "0"}))
	for range 5 {
		m.Close()
	}
	assert.Zero(t, m.Len())
	assert.False(t, m.Known(usage.Unit{Pool: "n", ID: "0"}))
}

func TestLinesAreSorted(t *testing.T) {
	m := usage.NewMeter(time.Hour, 10)
	for _, u := range []usage.Unit{{Pool: "b", ID: "1"}, {Pool: "a", ID: "2"}, {Pool: "a", ID: "1"}} {
		for _, minute := range []int{0, 1} {
			s := cpu(minute, usage.Used, "a", 1)
			s.Unit = u
			m.Observe(s)
		}
	}
	var got []usage.Unit
	for _, l := range m.Close() {
		got = append(got, l.Unit)
	}
	assert.Equal(t, []usage.Unit{{Pool: "a", ID: "1"}, {Pool: "a", ID: "2"}, {Pool: "b", ID: "1"}}, got)
}
