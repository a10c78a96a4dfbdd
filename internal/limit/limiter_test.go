// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const second = int64(time.Second)

func settings(change func(*Settings)) Settings {
	s := Settings{Window: time.Minute, Displacement: 2, MaxStale: 5 * time.Minute, Retention: time.Hour, MaxFuture: time.Minute, Initial: InitialCount, MaxBuckets: 160}
	change(&s)
	return s
}

// point makes a point of resource 1 from keys and values in turns.
func point(start, at int64, labels ...string) *Point {
	p := &Point{Series: 1, Shared: 2, Start: start, Time: at}
	for i := 0; i < len(labels); i += 2 {
		p.Attrs = append(p.Attrs, Attr{Key: labels[i], KeyHash: HashString(labels[i]), ValueHash: HashString(labels[i+1]), Text: labels[i+1], IsText: true})
	}
	return p
}

func metric(t testing.TB, l *Limiter, name string) *Metric {
	t.Helper()
	m, closed := l.Metric(7, name)
	require.NotNil(t, m)
	require.False(t, closed)
	return m
}

func TestSeriesStayWhereTheyAreWithinAWindow(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 6))
		l := New(settings(func(s *Settings) {
			s.Limits.Attribute = 1 + r.IntN(10)
			s.Limits.Series = 5 + r.IntN(30)
		}))
		place := map[string]bool{}
		window := int64(-1)
		admitted := map[string]bool{}
		for i := range 3000 {
			now := 1_700_000_000*second + int64(i)*second/10
			l.Begin(now)
			if w := now / int64(time.Minute); w != window {
				window = w
				clear(place)
			}
			id := strconv.Itoa(r.IntN(10 + i/100))
			route := strconv.Itoa(r.IntN(4))
			kind := Kind(seed % 2) // delta or cumulative
			out := metric(t, l, "m").Number(point(1, now, "id", id, "route", route), kind, Int(int64(i)), true, false)
			kept := out.Verdict != Merged && out.Verdict != Dropped
			key := id + "/" + route
			if was, ok := place[key]; ok {
				require.Equal(t, was, kept, "seed %d, point %d: %s moved within a window", seed, i, key)
			}
			place[key] = kept
			if kept {
				admitted[key] = true
			}
			require.LessOrEqual(t, l.Stats().Series, l.settings.Limits.Series)
			l.Flush()
			l.Delivered()
		}
		require.NotEmpty(t, admitted)
	}
}

func TestSeriesLimitFoldsTheAttributeThatSavesMost(t *testing.T) {
	l := New(settings(func(s *Settings) {
		s.Limits.Series = 200
		s.Protect = []string{"status"}
	}))
	wholeIn := [4]uint64{}
	for minute := range int64(4) {
		before := l.Stats().FoldedWhole
		for i := range 8000 {
			l.Begin(1_700_000_040*second + minute*60*second + int64(i)*1e6)
			out := metric(t, l, "m").Number(point(0, l.now, "ip", strconv.Itoa(i%400), "path", strconv.Itoa(i%20), "status", strconv.Itoa(200+i%5)), KindDelta, Int(1), true, false)
			if out.Carrier {
				l.Emit(metric(t, l, "m"), out.Group)
			}
			l.Flush()
		}
		wholeIn[minute] = l.Stats().FoldedWhole - before
	}
	assert.Positive(t, wholeIn[0], "in the first window series are folded whole")
	assert.Zero(t, wholeIn[1], "from the second on only ip is: %v", wholeIn)
	assert.Zero(t, wholeIn[3])
	report := l.Offenders(1)[0]
	for _, a := range report.Attributes {
		assert.Equal(t, a.Attribute == "ip", a.Squeezed, a.Attribute)
	}
	assert.InEpsilon(t, 400, report.Wanted, 0.05)
}

func TestProtectedAttributesSurviveEveryFold(t *testing.T) {
	l := New(settings(func(s *Settings) {
		s.Limits.Series, s.Limits.Attribute = 1, 1
		s.Protect = []string{"status"}
	}))
	l.Protect([]string{"route"})
	l.Begin(1_700_000_000 * second)
	m := metric(t, l, "m")
	for i := range 20 {
		p := point(0, l.now, "id", strconv.Itoa(i), "status", strconv.Itoa(i%3), "route", "/"+strconv.Itoa(i%2))
		out := m.Number(p, KindDelta, Int(1), true, false)
		if out.Carrier {
			assert.Equal(t, ActionNone, p.Changes[1].Action)
			assert.Equal(t, ActionNone, p.Changes[2].Action)
		}
	}
}

func TestTablesThatAreFullFold(t *testing.T) {
	for name, limits := range map[string]Limits{
		"memory":  {Memory: 200_000},
		"total":   {Total: 50},
		"metrics": {Metrics: 3},
		"keys":    {Keys: 2},
		"all":     {Memory: 100_000, Total: 20, Metrics: 2, Keys: 2, Attribute: 3, Series: 5, OverflowSeries: 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(settings(func(s *Settings) { s.Limits = limits }))
			var value, out int64
			missing := int64(0)
			r := rand.New(rand.NewPCG(1, 7))
			for i := range 20_000 {
				l.Begin(1_700_000_000*second + int64(i)*second/100)
				m, closed := l.Metric(uint64(r.IntN(5)), fmt.Sprint("m", r.IntN(3)))
				value++
				if m == nil {
					missing++
					continue
				}
				p := point(0, l.now, "a", strconv.Itoa(r.IntN(1000)), fmt.Sprint("k", r.IntN(5)), strconv.Itoa(r.IntN(1000)), "c", "d")
				p.Series = uint64(r.IntN(100))
				o := m.Number(p, KindDelta, Int(1), true, closed)
				switch o.Verdict {
				case Pass:
					out++
				case Merged:
					e := l.Emit(m, o.Group)
					out += e.Number.Int64()
				case Dropped:
					t.Fatalf("dropped: %v", o.Reason)
				}
				l.Flush()
				if limits.Total > 0 {
					require.LessOrEqual(t, l.Stats().Series, limits.Total)
				}
				if limits.Memory > 0 {
					require.LessOrEqual(t, l.Stats().Bytes, limits.Memory+100_000)
				}
			}
			require.Equal(t, value, out+missing)
			require.LessOrEqual(t, len(l.metrics), 20)
		})
	}
}

func TestCumulativeSeriesThatCannotBeRememberedAreDroppedByName(t *testing.T) {
	l := New(settings(func(s *Settings) { s.Limits.Memory = 3000 }))
	l.Begin(1_700_000_000 * second)
	m := metric(t, l, "m")
	full := 0
	for i := range 100 {
		out := m.Number(point(1, l.now, "id", strconv.Itoa(i)), KindCumulative, Int(1), true, false)
		if out.Verdict == Dropped {
			require.Equal(t, ReasonStateFull, out.Reason)
			require.Equal(t, "state_full", out.Reason.String())
			full++
		}
	}
	assert.Positive(t, full)
}

func TestGaugesMergeByRule(t *testing.T) {
	for merge, want := range map[Merge][3]float64{ // after 3, 5, 4; after 5 left; after 4 became 1
		MergeMean: {4, 3.5, 2}, MergeSum: {12, 7, 4}, MergeMin: {3, 3, 1}, MergeMax: {5, 4, 3}, MergeLast: {4, 4, 1},
	} {
		l := New(settings(func(s *Settings) {
			s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop}}
			s.Gauges = []GaugeRule{{Metrics: []string{"m"}, Merge: merge}}
		}))
		now := 1_700_000_000 * second
		send := func(id string, v float64, none bool) float64 {
			now += second
			l.Begin(now)
			m := metric(t, l, "m")
			p := point(0, now, "id", id)
			p.NoValue = none
			out := m.Number(p, KindGauge, Float(v), false, false)
			require.Equal(t, Merged, out.Verdict)
			e := l.Emit(m, out.Group)
			l.Flush()
			require.False(t, e.Gone)
			return e.Number.Float64()
		}
		send("a", 3, false)
		send("b", 5, false)
		assert.InDelta(t, want[0], send("c", 4, false), 1e-12, "merge %d", merge)
		assert.InDelta(t, want[1], send("b", 0, true), 1e-12, "merge %d", merge)
		assert.InDelta(t, want[2], send("c", 1, false), 1e-12, "merge %d", merge)
	}
}

func TestAHugeGaugeThatLeavesLeavesNoTrace(t *testing.T) {
	l := New(settings(func(s *Settings) {
		s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop}}
		s.Gauges = []GaugeRule{{Merge: MergeSum}}
	}))
	l.Begin(1_700_000_000 * second)
	m := metric(t, l, "m")
	var last Emission
	for i, v := range []float64{0.25, 1e300, 0.5} {
		out := m.Number(point(0, l.now, "id", strconv.Itoa(i)), KindGauge, Float(v), false, false)
		last = l.Emit(m, out.Group)
		l.Flush()
	}
	require.InEpsilon(t, 1e300, last.Number.Float64(), 1e-9)
	out := m.Number(point(0, l.now+1, "id", "1"), KindGauge, Float(1), false, false)
	assert.InDelta(t, 1.75, l.Emit(m, out.Group).Number.Float64(), 0)
	l.Flush()
	out = m.Number(point(0, l.now+2, "id", "1"), KindGauge, Float(math.NaN()), false, false)
	assert.Equal(t, ReasonInvalid, out.Reason)
}

func TestMembersThatFallSilentLeaveALevel(t *testing.T) {
	l := New(settings(func(s *Settings) {
		s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionFold}}
	}))
	now := 1_700_000_000 * second
	var e Emission
	for i := range 20 {
		l.Begin(now + int64(i)*60*second)
		m := metric(t, l, "m")
		if i == 0 {
			m.Number(point(1, l.now, "id", "gone"), KindLevel, Int(100), false, false)
		}
		out := m.Number(point(1, l.now, "id", "here"), KindLevel, Int(1), false, false)
		e = l.Emit(m, out.Group)
		l.Flush()
		if i == 3 {
			require.Equal(t, int64(101), e.Number.Int64())
		}
	}
	assert.Equal(t, int64(1), e.Number.Int64())
}

func TestFirstValuesOfOldSeriesAreBaselinesAfterAColdStart(t *testing.T) {
	for _, c := range []struct {
		initial Initial
		start   int64
		late    bool
		want    int64
	}{
		{InitialAuto, 1_699_999_000 * second, false, 0},  // ran before the limiter did
		{InitialAuto, 1_699_999_000 * second, true, 70},  // a new series of an old process
		{InitialAuto, 1_700_000_001 * second, false, 70}, // started since
		{InitialAuto, 0, false, 0},
		{InitialCount, 1_699_999_000 * second, false, 70},
		{InitialCount, 0, false, 0},
		{InitialBaseline, 1_700_000_001 * second, true, 0},
	} {
		l := New(settings(func(s *Settings) {
			s.Initial, s.WarmUp = c.initial, time.Minute
			s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop}}
		}))
		now := 1_700_000_000 * second
		l.Begin(now)
		metric(t, l, "other").Number(point(0, now), KindGauge, Int(1), false, false)
		l.Flush()
		now += 2 * second
		if c.late {
			now += 100 * second
		}
		l.Begin(now)
		m := metric(t, l, "m")
		out := m.Number(point(c.start, now, "id", "x"), KindCumulative, Int(70), true, false)
		e := l.Emit(m, out.Group)
		assert.Equal(t, c.want, e.Number.Int64(), "%+v", c)
		assert.Less(t, e.Start, e.Time)
	}
}

func TestASeriesForgottenAndBackIsNotCountedTwice(t *testing.T) {
	for _, initial := range []Initial{InitialAuto, InitialCount} {
		l := New(settings(func(s *Settings) {
			s.Initial = initial
			s.Retention = time.Minute
			s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop}}
		}))
		start := 1_700_000_000 * second
		at := func(minute int64, id string, v int64) int64 {
			l.Begin(start + minute*60*second)
			m := metric(t, l, "m")
			out := m.Number(point(start, l.now, "id", id), KindCumulative, Int(v), true, false)
			e := l.Emit(m, out.Group)
			l.Flush()
			return e.Number.Int64()
		}
		at(1, "a", 100)
		total := int64(0)
		for minute := range int64(10) {
			total = at(2+minute, "b", 1+minute)
		}
		require.Equal(t, 1, l.Stats().Streams)
		assert.Equal(t, total, at(13, "a", 110), "its hundred were counted before")
	}
}

// A series that was folded, forgotten, and is kept when it comes back starts anew: what it counted before is in the overflow series.
func TestAFoldedSeriesForgottenAndKeptWhenItIsBackStartsAnew(t *testing.T) {
	for _, histogram := range []bool{false, true} {
		l := New(settings(func(s *Settings) {
			s.Retention = 5 * time.Minute
			s.Limits.Attribute = 1
		}))
		start := 1_700_000_040 * second
		at := func(minute int64, id string, v int64) *Outcome {
			l.Begin(start + minute*60*second)
			defer l.Flush()
			p := point(start, l.now+second, "id", id)
			if histogram {
				return metric(t, l, "m").Explicit(p, KindCumulativeDistribution, &Explicit{Counts: []uint64{uint64(v)}, Count: uint64(v)}, false)
			}
			return metric(t, l, "m").Number(p, KindCumulative, Int(v), true, false)
		}
		require.Equal(t, Pass, at(0, "a", 1).Verdict)
		require.Equal(t, Merged, at(0, "b", 100).Verdict)
		for minute := range int64(20) {
			l.Begin(start + (1+minute)*60*second)
		}
		out := at(60, "b", 110)
		require.Equal(t, Restarted, out.Verdict)
		require.Less(t, out.Start, l.now+second)
		out = at(61, "b", 115)
		require.Equal(t, Restarted, out.Verdict)
		if histogram {
			require.Equal(t, uint64(5), out.Explicit.Count)
		} else {
			require.Equal(t, Int(5), out.Number)
		}
	}
}

func TestFutureAndMissingTimesAreNow(t *testing.T) {
	l := New(settings(func(s *Settings) { s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop}} }))
	l.Begin(1_700_000_000 * second)
	m := metric(t, l, "m")
	for _, at := range []int64{0, -5, math.MaxInt64, l.now + 3600*second} {
		out := m.Number(point(at, at, "id", strconv.FormatInt(at, 10)), KindDelta, Int(1), true, false)
		e := l.Emit(m, out.Group)
		l.Flush()
		assert.InDelta(t, float64(l.now), float64(e.Time), float64(second))
	}
	l.Begin(1_699_999_950 * second) // a clock that steps back
	assert.Equal(t, 1_700_000_000*second, l.now)
}

func TestDryRunChangesNothing(t *testing.T) {
	l := New(settings(func(s *Settings) {
		s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop, DryRun: true}}
	}))
	l.Begin(1_700_000_000 * second)
	out := metric(t, l, "m").Number(point(0, l.now, "id", "x"), KindDelta, Int(1), true, false)
	assert.Equal(t, Pass, out.Verdict)
	assert.Equal(t, uint64(1), l.Stats().DryRun)
}

func TestRulesRewrite(t *testing.T) {
	for name, c := range map[string]struct {
		rule Rule
		want Change
	}{
		"drop":     {Rule{Action: ActionDrop}, Change{Action: ActionDrop}},
		"rename":   {Rule{Action: ActionRename, To: "other"}, Change{ActionRename, "other"}},
		"taken":    {Rule{Action: ActionRename, To: "has"}, Change{Action: ActionDrop}},
		"fold":     {Rule{Action: ActionFold}, Change{ActionFold, OverflowValue}},
		"template": {Rule{Action: ActionTemplate}, Change{ActionTemplate, "/u/{num}"}},
	} {
		c.rule.Attributes = []string{"id"}
		l := New(settings(func(s *Settings) { s.Rules = []Rule{c.rule} }))
		l.Begin(1_700_000_000 * second)
		p := point(0, l.now, "id", "/u/1", "has", "x")
		out := metric(t, l, "m").Number(p, KindDelta, Int(1), true, false)
		require.True(t, out.Carrier, name)
		assert.Equal(t, c.want, p.Changes[0], name)
		assert.Equal(t, Change{}, p.Changes[1], name)
	}
}

func TestHashLeavesAsManyValuesAsBuckets(t *testing.T) {
	l := New(settings(func(s *Settings) { s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionHash, Buckets: 4}} }))
	l.Begin(1_700_000_000 * second)
	seen := map[string]bool{}
	for i := range 200 {
		p := point(0, l.now, "id", strconv.Itoa(i))
		out := metric(t, l, "m").Number(p, KindDelta, Int(1), true, false)
		if out.Carrier {
			seen[p.Changes[0].Text] = true
		}
		l.Flush()
	}
	assert.Len(t, seen, 4)
}

func TestOverrides(t *testing.T) {
	two, nine := 2, 9
	l := New(settings(func(s *Settings) {
		s.Limits.Attribute, s.Limits.Series = 5, 50
		s.Overrides = []Override{
			{Metrics: []string{"a.*"}, Attributes: []string{"id"}, Attribute: &two},
			{Metrics: []string{"a.*"}, Series: &nine},
		}
	}))
	l.Begin(1_700_000_000 * second)
	for _, name := range []string{"a.b", "b.a"} {
		m := metric(t, l, name)
		for i := range 100 {
			m.Number(point(0, l.now, "id", strconv.Itoa(i), "route", strconv.Itoa(i)), KindDelta, Int(1), true, false)
		}
	}
	assert.Len(t, l.metrics[metricKey{7, "a.b"}].list[0].values.seats, 2)
	assert.Len(t, l.metrics[metricKey{7, "a.b"}].list[1].values.seats, 5)
	assert.LessOrEqual(t, len(l.metrics[metricKey{7, "a.b"}].series.seats), 9)
	assert.Len(t, l.metrics[metricKey{7, "b.a"}].list[0].values.seats, 5)
}

func TestIdleMetricsAreForgotten(t *testing.T) {
	l := New(settings(func(s *Settings) { s.Limits.Attribute = 1 }))
	for i := range int64(10) {
		l.Begin(1_700_000_000*second + i*second)
		m := metric(t, l, fmt.Sprint("m", i))
		for j := range 20 {
			m.Number(point(1, l.now, "id", strconv.Itoa(j)), KindCumulative, Int(1), true, false)
			e := Explicit{Count: 1}
			m.Explicit(point(1, l.now, "id", strconv.Itoa(j), "h", ""), KindCumulativeDistribution, &e, false)
		}
		l.Flush()
	}
	require.Equal(t, 10, l.Stats().Metrics)
	for i := range int64(200) {
		l.Begin(1_700_000_000*second + i*60*second)
	}
	s := l.Stats()
	assert.Zero(t, s.Metrics)
	assert.Zero(t, s.Streams)
	assert.Zero(t, s.Groups)
	assert.Zero(t, s.Series)
	assert.Zero(t, s.OverflowSeries)
	assert.Zero(t, s.Bytes)
}

func TestStateOfANewerVersionIsRefused(t *testing.T) {
	l := New(settings(func(*Settings) {}))
	state := l.Snapshot()
	state[0]++
	body := state[:len(state)-4]
	binary.LittleEndian.PutUint32(state[len(state)-4:], crc32.Checksum(body, castagnoli))
	require.ErrorIs(t, New(settings(func(*Settings) {})).Restore(state), ErrStateVersion)
	require.ErrorIs(t, New(settings(func(*Settings) {})).Restore([]byte("x")), ErrStateDamaged)
}

// FuzzRestore reads any bytes as state: an error, never a panic.
func FuzzRestore(f *testing.F) {
	l := New(settings(func(s *Settings) { s.Limits.Attribute = 1 }))
	l.Begin(1_700_000_000 * second)
	m, _ := l.Metric(1, "m")
	for i := range 5 {
		m.Number(point(1, l.now, "id", strconv.Itoa(i)), KindCumulative, Int(1), true, false)
		x := Exponential{Count: 1, Positive: Buckets{Counts: []uint64{1}}}
		m.Exponential(point(1, l.now, "id", strconv.Itoa(i), "e", ""), KindCumulativeDistribution, &x, false)
	}
	f.Add(l.Snapshot())
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 6 {
			return
		}
		body := data[:len(data)-4]
		body[0] = stateVersion
		binary.LittleEndian.PutUint32(data[len(data)-4:], crc32.Checksum(body, castagnoli))
		restored := New(settings(func(*Settings) {}))
		if restored.Restore(data) != nil {
			return
		}
		restored.Begin(restored.now + 60*second)
		if m, closed := restored.Metric(1, "m"); m != nil {
			m.Number(point(1, restored.now, "id", "3"), KindCumulative, Int(7), true, closed)
			x := Exponential{Count: 1, Positive: Buckets{Counts: []uint64{1}}}
			m.Exponential(point(1, restored.now, "id", "3", "e", ""), KindCumulativeDistribution, &x, closed)
			restored.Flush()
			restored.Delivered()
		}
		if err := New(settings(func(*Settings) {})).Restore(restored.Snapshot()); err != nil {
			t.Fatal(err)
		}
	})
}
