// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testObjective(name string, groupBy ...string) Objective {
	return Objective{
		Name: name, Service: "checkout", Target: 0.99, Window: Duration(30 * Day), GroupBy: groupBy, MaxGroups: 1000,
		Owner: "team", Indicator: Indicator{Kind: IndicatorSpans},
	}
}

func testEngine(t testing.TB, profile Profile, objectives ...Objective) *Engine {
	t.Helper()
	settings := DefaultSettings()
	settings.Profile = profile
	if len(objectives) == 0 {
		objectives = []Objective{testObjective("o")}
	}
	e, err := New(settings, objectives)
	require.NoError(t, err)
	return e
}

// event is what a test feeds.
type event struct {
	at     time.Time
	bad    bool
	weight Weight
	values []string
	trace  byte
}

// feed commits events in batches, as one source, with the clock at the newest of each batch.
func feed(e *Engine, batch int, events ...event) {
	t := e.NewTally()
	for chunk := range slices.Chunk(events, batch) {
		t.Reset()
		latest := time.Time{}
		for _, ev := range chunk {
			at := ev.at.UnixNano()
			if oldest, newest := e.Bounds(1, epoch.Add(1000*Day)); at < oldest || at > newest {
				continue
			}
			w := ev.weight
			if w == 0 {
				w = One
			}
			entry := t.Entry(0, ev.values)
			entry.Add(t.Slice(at), at, ev.bad, w)
			if ev.bad {
				entry.AddExemplar(at, TraceID{ev.trace, byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24), byte(at >> 32), 1})
			}
			t.Observe(1, at)
			if ev.at.After(latest) {
				latest = ev.at
			}
		}
		e.Commit(t, latest)
	}
}

// steady makes one event every `every`; badOf of each n are bad.
func steady(from time.Time, length, every time.Duration, badOf, n int) []event {
	var out []event
	for i := 0; time.Duration(i)*every < length; i++ {
		out = append(out, event{at: from.Add(time.Duration(i) * every), bad: i%n < badOf, trace: byte(i)})
	}
	return out
}

func firingOf(ts []Transition) (out []string) {
	for _, t := range ts {
		state := "resolved:" + string(t.Reason)
		if t.Firing {
			state = "firing"
		}
		out = append(out, t.Rule.Name+" "+state)
	}
	return out
}

// TestWindowsEqualABruteForceCount compares every window with a count over all events.
func TestWindowsEqualABruteForceCount(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, profile := range []Profile{Workbook(), Demo()} {
		e := testEngine(t, profile)
		var events []event
		at := epoch
		for range 4000 {
			at = at.Add(time.Duration(r.ExpFloat64() * float64(10*time.Minute)))
			events = append(events, event{at: at, bad: r.IntN(50) == 0, weight: Weight(r.Int64N(int64(3*One))) + 1})
		}
		feed(e, 7, events...)
		g := e.objectives[0].groups[""]
		now := events[len(events)-1].at.UnixNano()
		windows := append(slices.Clone(profile.Windows), Duration(30*Day))
		for _, w := range windows {
			width := int64(ringWidth(e.fine, time.Duration(w)))
			first := now/width - int64(w)/width + 1
			var want Counts
			for _, ev := range events {
				if ev.at.UnixNano()/width >= first {
					if ev.bad {
						want.add(Counts{Bad: ev.weight, BadN: 1})
					} else {
						want.add(Counts{Good: ev.weight, GoodN: 1})
					}
				}
			}
			assert.Equal(t, want, g.series.window(now, time.Duration(w)), "window %s", w)
			assert.LessOrEqual(t, float64(width), max(float64(w)/120, float64(e.fine)), "slice width of %s", w)
		}
	}
}

func TestAnOutageFiresAndItsEndResolves(t *testing.T) {
	e := testEngine(t, Demo())
	events := steady(epoch, time.Minute, 100*time.Millisecond, 0, 1)
	events = append(events, steady(epoch.Add(time.Minute), time.Minute, 100*time.Millisecond, 1, 2)...)
	events = append(events, steady(epoch.Add(2*time.Minute), 3*time.Minute, 100*time.Millisecond, 0, 1)...)
	feed(e, 20, events...)
	ts := e.TakeTransitions()
	require.Equal(t, []string{"demo-3m firing", "demo-3m resolved:recovered"}, firingOf(ts))
	fired, resolved := ts[0], ts[1]
	assert.WithinRange(t, fired.At, epoch.Add(time.Minute), epoch.Add(time.Minute+20*time.Second))
	assert.Equal(t, fired.At, resolved.StartedAt)
	assert.WithinRange(t, resolved.At, epoch.Add(2*time.Minute+30*time.Second), epoch.Add(3*time.Minute+15*time.Second))
	assert.GreaterOrEqual(t, len(fired.Exemplars), 3)
	assert.GreaterOrEqual(t, *fired.BurnLong, fired.Threshold)
	assert.Equal(t, ProfileDemo, fired.Profile)
	assert.Equal(t, "checkout", fired.Service)
	assert.InDelta(t, 1, fired.Coverage, 0.7)
}

func TestAQuietServiceDoesNotPageOnOneError(t *testing.T) {
	objective := testObjective("o")
	objective.Target = 0.999
	e := testEngine(t, Workbook(), objective)
	events := steady(epoch, 6*time.Hour, time.Minute, 0, 1)
	events[200].bad = true // 60 requests an hour: one error is a burn of 17 over an hour, and of 200 over five minutes
	feed(e, 1, events...)
	assert.Empty(t, e.TakeTransitions())
}

func TestAYoungBookSaysNothingAboutLongWindows(t *testing.T) {
	e := testEngine(t, Workbook())
	feed(e, 10, steady(epoch, 4*time.Minute, time.Second, 1, 1)...)
	require.Empty(t, e.TakeTransitions(), "not one short window has passed")
	feed(e, 10, steady(epoch.Add(4*time.Minute), 4*time.Minute, time.Second, 1, 1)...)
	assert.Equal(t, []string{"page-1h firing"}, firingOf(e.TakeTransitions()))
	feed(e, 10, steady(epoch.Add(8*time.Minute), 30*time.Minute, time.Second, 1, 1)...)
	assert.Equal(t, []string{"page-6h firing"}, firingOf(e.TakeTransitions()))
}

func TestSampledErrorsAreNotMoreEvidenceThanWereSeen(t *testing.T) {
	e := testEngine(t, Demo())
	events := steady(epoch, 2*time.Minute, time.Second, 0, 1)
	for i := range events {
		events[i].weight = 100 * One
	}
	events[100].bad, events[101].bad = true, true
	feed(e, 1, events...)
	assert.Empty(t, e.TakeTransitions(), "two errors that stand for two hundred are still two")
}

func TestAGapNeitherFiresNorRecovers(t *testing.T) {
	e := testEngine(t, Demo())
	island := func(from time.Time) []event {
		return append(steady(from, time.Minute, 200*time.Millisecond, 0, 1), steady(from.Add(time.Minute), time.Minute, 200*time.Millisecond, 1, 3)...)
	}
	feed(e, 10, island(epoch)...)
	require.Equal(t, []string{"demo-3m firing"}, firingOf(e.TakeTransitions()), "a burn one minute into an island fires")

	last := epoch.Add(2 * time.Minute)
	e.Advance(last.Add(100 * time.Second))
	assert.Empty(t, e.TakeTransitions(), "silence shorter than the long window changes nothing")
	require.Equal(t, StateFrozen, e.Statuses()[0].State)

	e.Advance(last.Add(4 * time.Minute))
	ts := e.TakeTransitions()
	require.Equal(t, []string{"demo-3m resolved:insufficient_data"}, firingOf(ts))
	assert.WithinRange(t, ts[0].At, last.Add(2*time.Minute), last.Add(3*time.Minute))
	assert.Nil(t, ts[0].BurnShort)

	feed(e, 10, island(epoch.Add(20*time.Minute))...)
	assert.Equal(t, []string{"demo-3m firing"}, firingOf(e.TakeTransitions()), "the next island is an episode of its own")
	status := e.Statuses()[0]
	assert.Equal(t, StateBurning, status.State)
	require.Len(t, status.Alerts, 1)
	assert.Less(t, status.Coverage, 0.001, "unknown time is not covered")
}

func TestAReplayGivesTheAlertsOfTheLiveRun(t *testing.T) {
	var events []event
	for i := range 6 {
		at := epoch.Add(time.Duration(i) * 10 * time.Minute)
		events = append(events, steady(at, 3*time.Minute, 250*time.Millisecond, i%2, 4)...)
	}
	live, replay := testEngine(t, Demo()), testEngine(t, Demo())
	for _, ev := range events {
		live.Advance(ev.at)
		feed(live, 1, ev)
	}
	for _, ev := range events {
		feed(replay, 1, ev)
	}
	a, b := live.TakeTransitions(), replay.TakeTransitions()
	require.NotEmpty(t, a)
	strip := func(ts []Transition) (out []string) {
		for _, x := range ts {
			out = append(out, fmt.Sprint(x.Rule.Name, x.Firing, x.Reason, x.At, x.StartedAt, x.Good, x.Bad))
		}
		return out
	}
	// The last alert of the replay is still open: no clock moved on after its end.
	assert.Equal(t, strip(a), strip(b))
}

func TestGroupsBeyondTheBoundShareAnOverflowGroup(t *testing.T) {
	objective := testObjective("o", "route")
	objective.MaxGroups = 10
	e := testEngine(t, Demo(), objective)
	for i := range 200 {
		feed(e, 1, event{at: epoch.Add(time.Duration(i) * time.Second), bad: true, values: []string{fmt.Sprint("r", i)}})
	}
	statuses := e.Statuses()
	require.Len(t, statuses, 11)
	last := statuses[10]
	assert.Equal(t, map[string]string{"route": Overflow}, last.Group)
	assert.InDelta(t, 190, last.Bad, 0)
	groups, _ := e.Fill()
	assert.Equal(t, map[string]int{"o": 10}, groups)
}

func TestAnEmptyGroupMakesRoom(t *testing.T) {
	objective := testObjective("o", "route")
	objective.MaxGroups = 2
	objective.Window = Duration(time.Hour)
	e := testEngine(t, Demo(), objective)
	feed(e, 1,
		event{at: epoch, values: []string{"old"}}, event{at: epoch.Add(90 * time.Minute), values: []string{"b"}},
		event{at: epoch.Add(91 * time.Minute), values: []string{"c"}})
	names := []string{}
	for _, s := range e.Statuses() {
		names = append(names, s.Group["route"])
	}
	assert.Equal(t, []string{"b", "c"}, names)
	assert.EqualValues(t, 1, e.Stats().GroupsEvicted)
}

func TestSourcesAreBounded(t *testing.T) {
	e := testEngine(t, Demo())
	tally := e.NewTally()
	for i := range maxSources + 50 {
		tally.Observe(uint64(i), epoch.UnixNano()+int64(i))
		if i%1000 == 0 {
			e.Commit(tally, epoch)
			tally.Reset()
		}
	}
	e.Commit(tally, epoch)
	_, sources := e.Fill()
	assert.Equal(t, maxSources-maxSources/10+50, sources, "a tenth makes room for the next")
	assert.EqualValues(t, maxSources/10, e.Stats().SourcesEvicted)
}

func TestBoundsFollowTheSourceAndTheClock(t *testing.T) {
	e := testEngine(t, Workbook())
	oldest, newest := e.Bounds(7, epoch)
	assert.EqualValues(t, 0, oldest, "an unknown source may bring anything")
	assert.Equal(t, epoch.Add(time.Minute).UnixNano(), newest)
	tally := e.NewTally()
	tally.Observe(7, epoch.UnixNano())
	e.Commit(tally, epoch)
	oldest, _ = e.Bounds(7, epoch)
	assert.Equal(t, epoch.Add(-5*time.Minute).UnixNano(), oldest)
	oldest, _ = e.Bounds(8, epoch)
	assert.EqualValues(t, 0, oldest, "another source keeps its own time")
}

func TestEventsLeaveOnceEachSlice(t *testing.T) {
	e := testEngine(t, Demo())
	feed(e, 5, steady(epoch, time.Minute, time.Second, 0, 1)...)
	assert.Empty(t, e.TakeEvents(), "nothing is kept while nobody reads")
	require.NoError(t, e.Claim("a", true))
	require.ErrorContains(t, e.Claim("b", true), "already emitted by a")
	feed(e, 5, steady(epoch.Add(time.Minute), time.Minute, time.Second, 1, 2)...)
	events := e.TakeEvents()
	require.Len(t, events, 12)
	good, bad := 0.0, 0.0
	for _, s := range events {
		good, bad = good+s.Good, bad+s.Bad
		assert.Equal(t, 5*time.Second, s.End.Sub(s.Start))
	}
	assert.Equal(t, [2]float64{30, 30}, [2]float64{good, bad})
	assert.Empty(t, e.TakeEvents())
	e.ReturnEvents(events)
	assert.Equal(t, events, e.TakeEvents(), "what was refused comes again, whole")
	e.Release("a")
	assert.NoError(t, e.Claim("b", false))
}

func TestTransitionsThatWereRefusedComeFirst(t *testing.T) {
	e := testEngine(t, Demo())
	outage := append(steady(epoch, time.Minute, time.Second, 1, 1), steady(epoch.Add(time.Minute), 2*time.Minute, time.Second, 0, 1)...)
	feed(e, 1, outage...)
	ts := e.TakeTransitions()
	require.Len(t, ts, 2)
	select {
	case <-e.Wake():
	default:
		t.Error("a transition wakes the reader")
	}
	e.ReturnTransitions(ts)
	assert.Equal(t, ts, e.TakeTransitions())
}

func TestNothingIsEverNaNOrInfinite(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		objective := testObjective("o")
		objective.Target = []float64{0, 0.5, 0.999999999}[r.IntN(3)]
		e := testEngine(t, Demo(), objective)
		at := epoch
		for range r.IntN(60) {
			at = at.Add(time.Duration(r.Int64N(int64(time.Minute))))
			feed(e, 1, event{at: at, bad: r.IntN(2) == 0, weight: []Weight{1, One, maxWeight}[r.IntN(3)]})
		}
		e.Advance(at.Add(time.Duration(r.Int64N(int64(time.Hour)))))
		for _, s := range e.Statuses() {
			numbers := []float64{s.Good, s.Bad, s.Coverage, s.Target}
			for _, p := range []*float64{s.Compliance, s.BudgetRemaining} {
				if p != nil {
					numbers = append(numbers, *p)
				}
			}
			for _, b := range s.BurnRates {
				if b.Rate != nil {
					numbers = append(numbers, *b.Rate)
				}
			}
			for _, n := range numbers {
				require.False(t, math.IsNaN(n) || math.IsInf(n, 0), "%+v", s)
			}
			require.LessOrEqual(t, s.Coverage, 1.0)
			if s.State == StateInsufficientData {
				require.Nil(t, s.Compliance)
			}
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
