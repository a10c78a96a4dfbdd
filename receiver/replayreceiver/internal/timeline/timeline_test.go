// SPDX-License-Identifier: Apache-2.0

package timeline

import (
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var (
	day0 = time.Date(2023, 1, 29, 0, 0, 0, 0, time.UTC)
	wall = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

func at(d time.Duration) int64 { return day0.Add(d).UnixNano() }

func TestUsableTimes(t *testing.T) {
	for ts, want := range map[uint64]bool{
		0: false, 1: false, uint64(time.Hour): false,
		946_684_799_999_999_999: false, 946_684_800_000_000_000: true,
		uint64(at(0)): true, math.MaxInt64: true, math.MaxInt64 + 1: false, math.MaxUint64: false,
	} {
		assert.Equal(t, want, Usable(ts), "%d", ts)
	}
}

func FuzzShift(f *testing.F) {
	for _, ts := range []uint64{0, 1, uint64(at(0)), math.MaxInt64, math.MaxUint64} {
		for _, by := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, int64(time.Hour)} {
			f.Add(ts, by)
		}
	}
	f.Fuzz(func(t *testing.T, ts uint64, by int64) {
		want := new(big.Int).Add(new(big.Int).SetUint64(ts), big.NewInt(by))
		switch {
		case ts == 0:
			want.SetUint64(0)
		case by == 0:
		case want.Sign() <= 0:
			want.SetUint64(1)
		case !want.IsUint64():
			want.SetUint64(math.MaxUint64)
		}
		assert.Equal(t, want.Uint64(), Shift(ts, by))
	})
}

func TestTrackPlaces(t *testing.T) {
	const maxGap = time.Hour
	far, farther := at(100*time.Hour), at(300*time.Hour)
	for name, tc := range map[string]struct{ first, want []int64 }{
		"in order":                      {[]int64{at(1), at(2), at(3)}, []int64{at(1), at(2), at(3)}},
		"out of order stays itself":     {[]int64{at(5), at(2), at(3)}, []int64{at(5), at(2), at(3)}},
		"no time takes the one before":  {[]int64{0, at(2), 0, at(3), 0}, []int64{0, at(2), at(2), at(3), at(3)}},
		"a lone one ahead":              {[]int64{at(1), far, at(2)}, []int64{at(1), at(1), at(2)}},
		"a lone one behind":             {[]int64{far, at(1), far + 1}, []int64{far, far, far + 1}},
		"two alone that disagree":       {[]int64{at(1), far, farther, at(2)}, []int64{at(1), at(1), at(1), at(2)}},
		"two that agree are believed":   {[]int64{at(1), far, far + 1, far + 2}, []int64{at(1), at(1), far + 1, far + 2}},
		"a good one between two alone":  {[]int64{at(1), far, at(2), far + 1, at(3)}, []int64{at(1), at(1), at(2), at(2), at(3)}},
		"no time does not end suspense": {[]int64{at(1), far, 0, far + 1}, []int64{at(1), at(1), at(1), far + 1}},
	} {
		t.Run(name, func(t *testing.T) {
			track := NewTrack(maxGap)
			var got []int64
			for _, first := range tc.first {
				got = append(got, track.Place(first))
			}
			assert.Equal(t, tc.want, got)
		})
	}
	all := NewTrack(0)
	assert.Equal(t, []int64{at(1), far, at(2)}, []int64{all.Place(at(1)), all.Place(far), all.Place(at(2))}, "a maxGap of 0 believes everything")
	begun := NewTrack(maxGap)
	begun.Begin(at(1))
	assert.Equal(t, []int64{at(1), at(1), at(2)}, []int64{begun.Place(far), begun.Place(0), begun.Place(at(2))})
}

func TestPaceSchedules(t *testing.T) {
	p := NewPace(60, time.Hour)
	for _, tc := range []struct {
		place int64
		now   time.Duration // after wall
		due   time.Duration
		gap   bool
	}{
		{at(0), 0, 0, false},
		{at(time.Minute), 0, time.Second, false},
		{at(2 * time.Minute), 5 * time.Second, 2 * time.Second, false},   // behind schedule
		{at(time.Minute), 5 * time.Second, time.Second, false},           // out of order
		{at(62 * time.Minute), 6 * time.Second, 62 * time.Second, false}, // as long as a gap may be
		{at(1000 * time.Hour), 70 * time.Second, 70 * time.Second, true}, // passed over: due now
		{at(1000*time.Hour + time.Minute), 0, 71 * time.Second, false},   // and the schedule goes on from there
		{at(0), 80 * time.Second, 80 * time.Second, true},                // a jump back too
		{at(30 * time.Second), 80 * time.Second, 80500 * time.Millisecond, false},
	} {
		due, gap := p.Due(tc.place, wall.Add(tc.now))
		assert.Equal(t, wall.Add(tc.due), due)
		assert.Equal(t, tc.gap, gap)
	}
}

func TestPaceWithoutBounds(t *testing.T) {
	fast := NewPace(0, time.Hour)
	for _, place := range []int64{at(0), at(1000 * time.Hour), at(0)} {
		due, gap := fast.Due(place, wall)
		assert.Equal(t, wall, due)
		assert.False(t, gap)
	}
	patient := NewPace(1, 0)
	patient.Due(at(0), wall)
	due, gap := patient.Due(at(10_000*time.Hour), wall)
	assert.Equal(t, wall.Add(10_000*time.Hour), due)
	assert.False(t, gap)

	slow := NewPace(1e-9, 0)
	slow.Due(at(0), wall)
	due, _ = slow.Due(at(10_000*time.Hour), wall)
	assert.True(t, due.After(wall), "a wait longer than a duration can say does not wrap around")
}

func TestNear(t *testing.T) {
	assert.True(t, Near(at(0), at(time.Hour), time.Hour))
	assert.True(t, Near(at(time.Hour), at(0), time.Hour))
	assert.False(t, Near(at(0), at(time.Hour+1), time.Hour))
	assert.True(t, Near(1, math.MaxInt64, 0))
}
