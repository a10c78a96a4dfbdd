// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hear commits telemetry of a service whose clock shows at, at the collector's time now.
func hear(e *Engine, service string, at, now time.Time, more ...func(*Tally)) {
	tally := e.NewTally()
	tally.Service(service)
	tally.Instance("pod-1")
	tally.Slice(at.UnixNano())
	tally.Observe(uint64(len(service)), at.UnixNano())
	for _, f := range more {
		f(tally)
	}
	e.Commit(tally, now)
}

func told(e *Engine) (out []string) {
	for _, f := range e.TakeFindings() {
		state := "open"
		if f.Ended {
			state = "ended"
		}
		out = append(out, fmt.Sprint(f.Check, " ", state, " ", f.Objective, f.Service, f.Instance, ": ", f.Reason))
	}
	return out
}

func TestClocksThatAreWrongAreFoundAndToldOnce(t *testing.T) {
	e := testEngine(t, Workbook())
	hear(e, "checkout", epoch, epoch)
	hear(e, "checkout", epoch.Add(5*time.Second), epoch)
	assert.Empty(t, told(e), "what is within the bound is no violation")
	for range 3 {
		hear(e, "cart", epoch.Add(12*time.Second), epoch)
	}
	assert.Equal(t, []string{"clock_skew open cartpod-1: its events are 12s ahead of this collector's clock"}, told(e))
	hear(e, "cart", epoch.Add(14*time.Second), epoch.Add(12*time.Second))
	assert.Equal(t, []string{"clock_skew ended cartpod-1: its events are of the time of the others again"}, told(e))

	hear(e, "slow", epoch.Add(-time.Hour), epoch.Add(13*time.Second))
	assert.Equal(t, []string{"clock_skew open slowpod-1: its events are 1h0m14s behind those of other sources: its clock is, or a backlog arrives"}, told(e))
	// What is further ahead than is accepted never gets into the book, and is found all the same.
	hear(e, "checkout", epoch.Add(14*time.Second), epoch.Add(14*time.Second), func(t *Tally) { t.Ahead(77, epoch.Add(time.Hour).UnixNano()) })
	assert.Equal(t, []string{"clock_skew open checkoutpod-1: its events are 59m46s ahead of this collector's clock"}, told(e))
	found, open, dropped := e.Audit()
	assert.EqualValues(t, 3, found[CheckSkew])
	assert.EqualValues(t, 2, open[CheckSkew])
	assert.Zero(t, dropped)

	// What has not been seen for an hour is forgotten, and told again.
	e.Advance(epoch.Add(2 * time.Hour))
	told(e)
	_, open, _ = e.Audit()
	assert.Zero(t, open[CheckSkew])
	hear(e, "cart", epoch.Add(2*time.Hour+time.Minute), epoch.Add(2*time.Hour))
	assert.Len(t, told(e), 1)
}

func TestARecordingOfAnyTimeHasNoSkew(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxFuture = 0
	e, err := New(settings, []Objective{testObjective("o")})
	require.NoError(t, err)
	hear(e, "checkout", epoch.Add(1000*Day), epoch)
	hear(e, "checkout", epoch.Add(1000*Day), epoch, func(t *Tally) { t.Ahead(77, epoch.Add(2000*Day).UnixNano()) })
	assert.Empty(t, told(e))
}

func TestServicesThatFallSilentAreToldAndTheirReturnToo(t *testing.T) {
	grouped := testObjective("grouped", "service.name")
	grouped.Service = ""
	e := testEngine(t, Workbook(), testObjective("o"), grouped)
	now := epoch
	speak := func(services ...string) {
		for _, s := range services {
			hear(e, s, now, now, func(t *Tally) { t.Entry(1, []string{s}).Add(t.Slice(now.UnixNano()), now.UnixNano(), false, One) })
		}
		e.Advance(now)
		now = now.Add(time.Minute)
	}
	for range 3 {
		speak("checkout", "cart", "unrelated")
	}
	for range 10 {
		speak("unrelated", "cart")
	}
	assert.Equal(t, []string{"coverage open checkout: it has said nothing since 2026-03-01T12:02:10Z"}, told(e))
	speak("checkout", "cart")
	assert.Equal(t, []string{"coverage ended checkout: its telemetry is back"}, told(e))

	// It says nothing again, but that was announced.
	_, err := e.Redefine([]Objective{testObjective("o"), grouped}, []Maintenance{{Name: "m", Services: []string{"checkout"}, Start: "2026-03-01 12:10", Length: Duration(time.Hour)}}, nil)
	require.NoError(t, err)
	for range 30 {
		speak("cart", "unrelated")
	}
	assert.Empty(t, told(e))

	// Nobody is interested any more.
	_, err = e.Redefine([]Objective{grouped}, nil, nil)
	require.NoError(t, err)
	for range 10 {
		speak("unrelated")
	}
	assert.Contains(t, told(e), "coverage open cart: it has said nothing since 2026-03-01T12:43:10Z")
	only := testObjective("only")
	only.Service = "unrelated"
	_, err = e.Redefine([]Objective{only}, nil, nil)
	require.NoError(t, err)
	speak("unrelated")
	_, open, _ := e.Audit()
	assert.Zero(t, open[CheckCoverage])
}

func TestContradictionsOfCountersAreTold(t *testing.T) {
	e := testEngine(t, Workbook())
	for range 5 {
		hear(e, "checkout", epoch, epoch, func(t *Tally) {
			t.Violate(CheckTotal, 0, epoch.UnixNano())
			t.Violate(CheckMonotone, 0, epoch.UnixNano())
		})
	}
	assert.Equal(t, []string{
		"good_within_total open ocheckout: the part of its ratio grew beyond the total: the two counters do not count the same events",
		"monotone_counter open ocheckout: a running total fell although its start stayed the same: two senders share its attributes, or the sender is wrong",
	}, told(e))
}

func TestFindingsAreBoundedAndComeBackWhenRefused(t *testing.T) {
	e := testEngine(t, Workbook())
	tally := e.NewTally()
	for i := range 3 * maxFindings {
		tally.Reset()
		tally.Service(fmt.Sprint("s", i))
		tally.Observe(uint64(i), epoch.Add(30*time.Second).UnixNano())
		e.Commit(tally, epoch)
	}
	found, open, dropped := e.Audit()
	assert.EqualValues(t, 3*maxFindings, found[CheckSkew])
	assert.EqualValues(t, maxFindings, open[CheckSkew])
	assert.EqualValues(t, 2*maxFindings, dropped)
	all := e.TakeFindings()
	require.Len(t, all, maxFindings)
	e.ReturnFindings(all)
	assert.Equal(t, all, e.TakeFindings())
}

func TestAReplayOfTheJournalFindsNothing(t *testing.T) {
	store := shelf{}
	e := restart(t, store)
	hear(e, "checkout", epoch.Add(30*time.Second), epoch)
	assert.Len(t, told(e), 1)
	store.keep(e)
	assert.Empty(t, told(restart(t, store)))
}
