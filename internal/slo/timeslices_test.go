// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func minuteSlices(name string) Objective {
	o := testObjective(name)
	o.Method, o.TimeSliceWindow, o.TimeSliceTarget = MethodTimeslices, Duration(time.Minute), 0.9
	return o
}

// family is one objective of each kind.
func family() []Objective {
	a, b, ratio, month, whole := minuteSlices("a"), minuteSlices("b"), minuteSlices("ratio"), testObjective("month"), minuteSlices("whole")
	ratio.Method, ratio.TimeSliceTarget = MethodRatioTimeslices, 0
	month.Calendar = &Calendar{Start: "2026-01-01", Zone: "Asia/Kathmandu", Every: 1, Unit: UnitMonth}
	whole.Indicator, whole.Target = Indicator{}, 0
	whole.Composite = []Component{{Objective: "a", Weight: 1}, {Objective: "b", Weight: 1}}
	return []Objective{a, b, ratio, month, whole}
}

func TestEveryKindOfBudgetSurvivesRestartsAtAnyStep(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 31))
		store := shelf{}
		whole, killed := restart(t, shelf{}, family()...), restart(t, store, family()...)
		at := epoch.Add(-Day)
		for range 300 {
			at = at.Add(time.Duration(r.Int64N(int64(2 * time.Minute))))
			i := r.IntN(4)
			ev := oracleEvent{at: at.Add(-time.Duration(r.Int64N(int64(4 * time.Minute)))).UnixNano(), good: One}
			if r.IntN(3) == 0 {
				ev.good, ev.bad = 0, One
			}
			for _, e := range []*Engine{whole, killed} {
				count(e, i, ev)
			}
			store.keep(killed)
			switch r.IntN(8) {
			case 0:
				killed = restart(t, store, family()...)
			case 1:
				store.put(killed.Snapshot())
			}
		}
		killed = restart(t, store, family()...)
		require.Equal(t, whole.Statuses(), killed.Statuses(), "seed %d", seed)
		assert.ElementsMatch(t, firingOf(whole.TakeTransitions()), firingOf(killed.TakeTransitions()))
	}
}

func TestASliceInProgressIsNotJudged(t *testing.T) {
	e := testEngine(t, Workbook(), minuteSlices("a"))
	o := e.objectives[0]
	at := epoch.Truncate(time.Minute)
	count(e, 0, oracleEvent{at: at.UnixNano(), bad: One})
	g := o.find("")
	assert.Nil(t, o.remaining(g, at.Add(59*time.Second).UnixNano()), "it may still turn out good")
	require.NotNil(t, o.remaining(g, at.Add(time.Minute).UnixNano()))
	assert.InDelta(t, 1-1/(43_200*0.01), *o.remaining(g, at.Add(time.Minute).UnixNano()), 1e-9)
	for range 9 {
		count(e, 0, oracleEvent{at: at.Add(30 * time.Second).UnixNano(), good: One})
	}
	assert.InDelta(t, 1, *o.remaining(g, at.Add(time.Minute).UnixNano()), 0, "and did")
}

func TestAGapIsFilledInLaterAndAClosedSliceIsNot(t *testing.T) {
	e := testEngine(t, Workbook(), minuteSlices("a"))
	o := e.objectives[0]
	start := epoch.Truncate(time.Minute)
	minute := func(i int, ev oracleEvent) {
		ev.at = start.Add(time.Duration(i) * time.Minute).UnixNano()
		count(e, 0, ev)
	}
	for i := range 600 {
		if i < 100 || i >= 200 {
			minute(i, oracleEvent{good: One})
		}
	}
	g := o.find("")
	now := start.Add(600 * time.Minute).UnixNano()
	require.InDelta(t, 500, o.budget(g, now).Total().Float(), 0)
	for i := 100; i < 200; i++ { // a backlog, in pieces
		minute(i, oracleEvent{good: One})
		minute(i, oracleEvent{bad: One})
	}
	b := o.budget(g, now)
	assert.InDelta(t, 600, b.Total().Float(), 0)
	assert.InDelta(t, 100, b.Bad.Float(), 0, "each slice is judged by all of its events")
	minute(3, oracleEvent{bad: One})
	assert.InDelta(t, 100, o.budget(g, now).Bad.Float(), 0)
	assert.EqualValues(t, 1, e.Stats().CommittedTooOld, "a slice whose counts are gone keeps its verdict, and says so")
}

func TestAlertsOfTimeslicesFollowSlicesAndNotEvents(t *testing.T) {
	feedMinutes := func(e *Engine, from, n int, bad Weight) {
		for i := range n {
			at := epoch.Truncate(time.Minute).Add(time.Duration(from+i) * time.Minute).UnixNano()
			count(e, 0, oracleEvent{at: at, good: (100 - bad) * One})
			count(e, 0, oracleEvent{at: at, bad: bad * One})
		}
	}
	e := testEngine(t, Workbook(), minuteSlices("a"))
	feedMinutes(e, 0, 60, 1)
	feedMinutes(e, 60, 60, 9) // 9 % bad is a burn of 9, and every slice is good
	assert.Empty(t, e.TakeTransitions())
	feedMinutes(e, 120, 20, 50)
	assert.Contains(t, firingOf(e.TakeTransitions()), "page-1h firing")
}

func TestACompositeBurnsWithItsParts(t *testing.T) {
	for _, method := range []Method{MethodOccurrences, MethodTimeslices} {
		a, b := minuteSlices("a"), minuteSlices("b")
		if method == MethodOccurrences {
			a, b = testObjective("a"), testObjective("b")
		}
		whole := a
		whole.Name, whole.Indicator, whole.Target, whole.Owner = "whole", Indicator{}, 0, "journey"
		whole.Composite = []Component{{Objective: "a", Weight: 1}, {Objective: "b", Weight: 1}}
		e := testEngine(t, Workbook(), whole, a, b)
		at := epoch.Truncate(time.Minute)
		for i := range 90 {
			at = at.Add(time.Minute)
			for part := 1; part < 3; part++ {
				ev := oracleEvent{at: at.UnixNano(), good: 10 * One}
				if part == 2 && i > 30 {
					ev.good, ev.bad = 0, 10*One
				}
				count(e, part, ev)
			}
		}
		var names []string
		for _, x := range e.TakeTransitions() {
			if x.Firing && x.Rule.Name == "page-1h" {
				names = append(names, x.Objective.Name)
			}
		}
		assert.ElementsMatch(t, []string{"whole", "b"}, names, method)
		s := e.Statuses()[0]
		assert.Equal(t, StateBurning, s.State)
		assert.InDelta(t, 0.98, s.Target, 1e-9, "what the parts are allowed, together")
		part := *e.Statuses()[2].BudgetRemaining
		require.Less(t, part, 1.0)
		if method == MethodOccurrences {
			assert.InDelta(t, part, *s.BudgetRemaining, 1e-9, "it burns at the rate of its part")
		} else {
			assert.InDelta(t, (1-part)/2, 1-*s.BudgetRemaining, 1e-9, "the same slices, of twice the allowance")
		}
	}
}

func TestAnObjectiveThatCannotBeComputedIsListed(t *testing.T) {
	o := testObjective("elsewhere")
	o.Indicator, o.NotComputable = Indicator{}, "nothing here can query Prometheus"
	e := testEngine(t, Workbook(), o)
	require.False(t, e.Objectives()[0].Counts())
	s := e.Statuses()[0]
	assert.Equal(t, StateInsufficientData, s.State)
	assert.Equal(t, "nothing here can query Prometheus", s.Reason)
}
