// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// live feeds every objective that counts one event a second for a while, as the clock shows; offset is how far it is off.
func live(e *Engine, from time.Time, length, offset time.Duration, bad bool) {
	tally := e.NewTally()
	for at := from; at.Before(from.Add(length)); at = at.Add(time.Second) {
		now := at.Add(offset)
		tally.Reset()
		tally.Service("checkout")
		if oldest, newest := e.Bounds(1, now); now.UnixNano() >= oldest && now.UnixNano() <= newest {
			span := tally.Slice(now.UnixNano())
			for i, o := range e.Objectives() {
				if o.Counts() {
					entry := tally.Entry(i, nil)
					entry.Add(span, now.UnixNano(), bad, One)
					entry.AddSampled(span, bad, 3*One)
					entry.AddContribution(tally.Intern(0, "/pay"), One, 0)
					entry.AddExemplar(now.UnixNano(), TraceID{1, byte(now.Unix())})
				}
			}
			tally.Observe(1, now.UnixNano())
		}
		e.Commit(tally, now)
	}
}

// A clock that is ahead for ten minutes, by an hour or by years, and is put back: the book is the one it was, and goes on.
func TestAClockThatIsPutBackTakesTheBookWithIt(t *testing.T) {
	for _, ahead := range []time.Duration{40 * time.Minute, time.Hour, 3 * Day, 29 * Day, 366 * Day, 3000 * Day} {
		for _, journalled := range []bool{false, true} {
			e := testEngine(t, Workbook(), family()...)
			store := shelf{}
			if journalled {
				e.Journal()
				store.put(e.Snapshot())
			}
			live(e, epoch, 2*time.Hour, 0, false)
			live(e, epoch.Add(2*time.Hour), 10*time.Minute, ahead, true)
			live(e, epoch.Add(2*time.Hour+10*time.Minute), 15*time.Minute, 0, false)
			if journalled {
				store.keep(e)
				again := testEngine(t, Workbook(), family()...)
				_, err := again.Restore(store.get)
				require.NoError(t, err)
				assert.Equal(t, e.Statuses(), again.Statuses(), "a restart goes back in the same place")
				assert.Empty(t, again.TakeFindings())
				e = again
			} else {
				assert.Contains(t, told(e), "clock_skew open : this collector's clock was put back by "+round(int64(ahead-10*time.Minute-time.Second)).String()+"; what was counted meanwhile is dropped")
			}

			// The same without the ten minutes, but for what they pushed out of the rings, which is little or nothing.
			want := testEngine(t, Workbook(), family()...)
			live(want, epoch, 2*time.Hour, 0, false)
			live(want, epoch.Add(2*time.Hour+10*time.Minute), 15*time.Minute, 0, false)
			for i, s := range e.Statuses() {
				w := want.Statuses()[i]
				assert.Equal(t, StateOK, s.State, "%s, %s ahead", s.Name, ahead)
				assert.Zero(t, s.Bad, "%s, %s ahead", s.Name, ahead)
				assert.InDelta(t, w.Good, s.Good, 0.1*w.Good, "%s, %s ahead", s.Name, ahead)
				assert.Empty(t, s.Alerts)
				assert.WithinDuration(t, epoch.Add(2*time.Hour+25*time.Minute), s.AsOf, time.Minute)
			}
		}
	}
}

// A clock that is behind for a while costs nothing: the book stays where it is, and goes on when the clock is right again.
func TestAClockThatIsBehindForAWhileCostsNoBook(t *testing.T) {
	e := testEngine(t, Workbook())
	live(e, epoch, 2*time.Hour, 0, false)
	live(e, epoch.Add(2*time.Hour), 10*time.Minute, -366*Day, true)
	live(e, epoch.Add(2*time.Hour+10*time.Minute), 10*time.Minute, 0, false)
	s := e.Statuses()[0]
	assert.InDelta(t, 130*60, s.Good, 0)
	assert.Zero(t, s.Bad)
	assert.Equal(t, StateOK, s.State)
}

func TestARecordingOfTheFutureIsNotTakenBack(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxFuture = 0
	e, err := New(settings, []Objective{testObjective("o")})
	require.NoError(t, err)
	tally := e.NewTally()
	for i := range 100 {
		at := epoch.Add(Day + time.Duration(i)*time.Second).UnixNano()
		tally.Reset()
		tally.Entry(0, nil).Add(tally.Slice(at), at, false, One)
		tally.Observe(1, at)
		e.Commit(tally, epoch)
	}
	assert.InDelta(t, 100, e.Statuses()[0].Good, 0)
}
