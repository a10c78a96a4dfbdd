// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValuesOfSendersAreCutAndMadeUTF8(t *testing.T) {
	e := testEngine(t, Demo(), testObjective("o", "service.name"))
	tally := e.NewTally()
	at := epoch.UnixNano()
	long := strings.Repeat("é", maxValueBytes) // the cut goes through a rune
	for _, name := range []string{long, long + "x", "bad \xff name", "bad \xff name"} {
		entry := tally.Entry(0, []string{name})
		require.True(t, entry.Add(tally.Slice(at), at, true, One))
		entry.AddContribution(tally.Intern(0, name), 0, One)
		e.Commit(tally, epoch)
		tally.Reset()
	}
	statuses := e.Statuses()
	require.Len(t, statuses, 2)
	for _, s := range statuses {
		name := s.Group["service.name"]
		assert.True(t, utf8.ValidString(name))
		assert.LessOrEqual(t, len(name), maxValueBytes+len("\uFFFD"))
		assert.InDelta(t, 2, s.Bad, 0)
	}
	for _, g := range e.objectives[0].groups {
		for _, c := range g.contributors.worst(e.settings.Contributors, 0, 2*One) {
			assert.True(t, utf8.ValidString(c.Value))
			assert.LessOrEqual(t, len(c.Value), maxValueBytes+len("\uFFFD"))
			assert.InDelta(t, 2, c.Bad, 0)
		}
	}
}

// A request of thousands of groups, each with a pod of its own, takes memory by the event and not by groups times pods.
func TestContributorsOfManyGroupsTakeMemoryByTheEvent(t *testing.T) {
	const groups = 4000
	e := testEngine(t, Demo(), testObjective("o", "service.name"))
	tally := e.NewTally()
	at := epoch.UnixNano()
	for i := range groups {
		entry := tally.Entry(0, []string{fmt.Sprint("service", i)})
		require.True(t, entry.Add(tally.Slice(at), at, true, One))
		entry.AddContribution(tally.Intern(3, fmt.Sprint("pod", i)), 0, One)
	}
	held := 0
	for _, entry := range tally.touched {
		held += cap(entry.parts)
	}
	assert.LessOrEqual(t, held, 2*groups)
}

func TestEveryContributorOfABatchCounts(t *testing.T) {
	e := testEngine(t, Demo())
	tally := e.NewTally()
	entry := tally.Entry(0, nil)
	for round := range 3 {
		for i := range 100 {
			entry.AddContribution(tally.Intern(uint8(i%2), fmt.Sprint("value", i)), One, Weight(i)*One)
		}
		require.Len(t, entry.parts, 100)
		for i, p := range entry.parts {
			assert.Equal(t, contribution{uint8(i % 2), fmt.Sprint("value", i)}, tally.values[p.id])
			assert.Equal(t, Weight(round+1)*One, p.good)
			assert.Equal(t, Weight(round+1)*Weight(i)*One, p.bad)
		}
	}
}

// A clock that ran ahead and was put back must not leave its sources too late for as long as it was ahead.
func TestASourceIsHeardAgainWhenTheClockIsPutBack(t *testing.T) {
	e := testEngine(t, Workbook())
	tally := e.NewTally()
	tally.Observe(7, epoch.Add(6*time.Hour).UnixNano())
	e.Commit(tally, epoch.Add(6*time.Hour))

	oldest, newest := e.Bounds(7, epoch)

	assert.Less(t, oldest, epoch.UnixNano())
	assert.Greater(t, newest, epoch.UnixNano())
}

// The first span of a machine whose clock stands at 1970 must not make a book of seconds look old enough to page.
func TestAWrongClockDoesNotAgeTheBook(t *testing.T) {
	for name, wrong := range map[string]bool{"right clocks": false, "one clock at 1970": true} {
		t.Run(name, func(t *testing.T) {
			e := testEngine(t, Demo())
			tally := e.NewTally()
			commit := func(source uint64, at time.Time) {
				require.True(t, tally.Entry(0, nil).Add(tally.Slice(at.UnixNano()), at.UnixNano(), true, One))
				tally.Observe(source, at.UnixNano())
				e.Commit(tally, epoch)
				tally.Reset()
			}
			commit(1, epoch)
			if wrong {
				commit(2, time.Unix(1, 0))
			}
			for range 100 {
				commit(1, epoch.Add(time.Second))
			}
			assert.Empty(t, e.TakeTransitions())
		})
	}
}
