// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A clock that was ahead for a moment, before the machine found the time, must not stop windows from ending until it is that time again.
func TestWindowsGoOnAfterTheClockWasSetBack(t *testing.T) {
	for _, ahead := range []int64{0, 90, 3600, 365 * 24 * 3600} {
		l := New(settings(func(s *Settings) { s.Limits.Attribute = 1 }))
		start := 1_700_000_040 * second
		send := func(id string, v int64) Verdict {
			out := metric(t, l, "m").Number(point(start, l.now, "id", id), KindDelta, Int(v), true, false)
			l.Flush()
			l.Delivered()
			return out.Verdict
		}
		l.Begin(start)
		require.Equal(t, Pass, send("light", 1))
		l.Begin(start + ahead*second)
		send("light", 1)
		var verdict Verdict
		for minute := range int64(3) {
			l.Begin(start + minute*60*second)
			require.LessOrEqual(t, l.now, start+max(minute*60*second, 90*second))
			send("light", 1)
			verdict = send("heavy", 1000)
		}
		assert.Equal(t, Pass, verdict, "after %d seconds ahead", ahead)
		assert.Equal(t, 1, l.Stats().Series-1, "a value and the overflow value")

		again := New(l.settings)
		require.NoError(t, again.Restore(l.Snapshot()))
		again.Begin(start + 180*second)
		l = again
		assert.Equal(t, Pass, send("heavy", 1000))
	}
}

// Senders choose names; they are part of the bound on memory.
func TestLongNamesAreCountedAndClipped(t *testing.T) {
	l := New(settings(func(s *Settings) { s.Limits.Memory = 8 << 20 }))
	l.Begin(1_700_000_000 * second)
	long := strings.Repeat("x", 1<<20)
	held := 0
	for i := range 20_000 {
		m, closed := l.Metric(7, long+strconv.Itoa(i))
		if m == nil {
			break
		}
		m.Label(long)
		for k := range 10 {
			m.Number(point(0, l.now, strconv.Itoa(k)+long[:900+100*k], "v"), KindDelta, Int(1), true, closed)
		}
		l.Flush()
		l.Delivered()
	}
	for key, m := range l.metrics {
		held += len(key.name) + len(m.label)
		for _, a := range m.list {
			held += len(a.key)
		}
	}
	assert.Less(t, held, 12<<20)
	assert.LessOrEqual(t, l.Stats().Bytes, int64(12<<20), "the bound and what is needed to fold")
	a, _ := l.Metric(7, long+"1")
	b, _ := l.Metric(7, long+"2")
	assert.NotSame(t, a, b)

	before := l.used
	for range 100 {
		l.Begin(l.now + 3600*second) // everything is forgotten
	}
	assert.Less(t, l.used, before)
	assert.Empty(t, l.metrics)
	assert.Zero(t, l.used)
}

func TestReportsHoldNothingButUTF8(t *testing.T) {
	l := New(settings(func(s *Settings) { s.Limits.Attribute = 1 }))
	l.Begin(1_700_000_000 * second)
	m := metric(t, l, "requests\xff")
	m.Label("shop\xc3")
	for i := range 5 {
		m.Number(point(0, l.now, "id\xfe", strconv.Itoa(i)), KindDelta, Int(1), true, false)
		l.Flush()
	}
	reports := l.Offenders(5)
	require.Len(t, reports, 1)
	r := reports[0]
	require.Len(t, r.Attributes, 1)
	for _, text := range []string{r.Metric, r.Scope, r.Attributes[0].Attribute} {
		assert.True(t, utf8.ValidString(text), "%q", text)
	}
}

// One absurd value must not turn what is merged with it into no number for good, nor win places for others.
func TestAbsurdValuesLeaveNumbersBehind(t *testing.T) {
	l := New(settings(func(s *Settings) { s.Limits.Attribute = 2 }))
	start := 1_700_000_040 * second
	l.Begin(start)
	m := metric(t, l, "m")
	values := []float64{math.MaxFloat64, math.MaxFloat64, 1e300, 5, math.MaxFloat64}
	for minute := range int64(4) {
		for second2, v := range values {
			l.Begin(start + (minute*60+int64(second2))*second)
			for i := range 50 {
				p := point(start, l.now, "id", strconv.Itoa(i))
				out := m.Number(p, KindDelta, Float(v), true, false)
				if out.Verdict == Merged {
					total := out.Group.total.value().Float64()
					require.False(t, math.IsNaN(total) || math.IsInf(total, 0), "%v", total)
				}
			}
			l.Flush()
			l.Delivered()
		}
		for _, a := range m.list {
			for _, s := range a.values.seats {
				require.False(t, math.IsNaN(s.weight) || math.IsInf(s.weight, 0))
			}
			for _, h := range a.values.waiting.hitters {
				require.False(t, math.IsNaN(h.weight-h.excess) || math.IsInf(h.weight, 0), "%+v", h)
			}
		}
	}
	e := Explicit{HasSum: true, Sum: math.MaxFloat64, Counts: []uint64{1}, Count: 1}
	x := Exponential{HasSum: true, Sum: -math.MaxFloat64, ZeroCount: 1, Count: 1}
	for range 3 {
		e.add(&Explicit{HasSum: true, Sum: math.MaxFloat64, Counts: []uint64{1}, Count: 1})
		x.add(&Exponential{HasSum: true, Sum: -math.MaxFloat64, ZeroCount: 1, Count: 1}, 160)
	}
	assert.InDelta(t, math.MaxFloat64, e.Total(), 0)
	assert.InDelta(t, -math.MaxFloat64, x.Total(), 0)
}

// Hashes are 64 bits without a secret: who looks long enough finds two series of different types with one hash.
func TestSeriesOfOneHashAndTwoTypesAreTakenOnce(t *testing.T) {
	for _, drop := range []bool{false, true} {
		l := New(settings(func(s *Settings) {
			if drop {
				s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop}}
			}
		}))
		l.Begin(1_700_000_000 * second)
		m := metric(t, l, "m")
		explicit := func() *Explicit { return &Explicit{Counts: []uint64{2}, Count: 2} }
		exponential := func() *Exponential {
			return &Exponential{Positive: Buckets{0, []uint64{2}}, Count: 2}
		}
		for i := range int64(3) {
			p := func() *Point { return point(1, l.now+i*second, "id", "x") }
			m.Number(p(), KindCumulative, Int(i), true, false)
			for _, kind := range []Kind{KindCumulativeDistribution, KindDeltaDistribution} {
				first, second := m.Explicit(p(), kind, explicit(), false).Verdict, m.Exponential(p(), kind, exponential(), false).Verdict
				if drop {
					assert.Equal(t, []Verdict{Dropped, Dropped}, []Verdict{first, second}, "the counter was first")
				}
			}
			l.Flush()
		}
	}
	l := New(settings(func(s *Settings) { s.Rules = []Rule{{Attributes: []string{"id"}, Action: ActionDrop}} }))
	l.Begin(1_700_000_000 * second)
	m := metric(t, l, "m")
	assert.Equal(t, Merged, m.Explicit(point(1, l.now, "id", "x"), KindDeltaDistribution, &Explicit{Counts: []uint64{2}, Count: 2}, false).Verdict)
	out := m.Exponential(point(1, l.now, "id", "x"), KindDeltaDistribution, &Exponential{ZeroCount: 2, Count: 2}, false)
	assert.Equal(t, []any{Dropped, ReasonInvalid}, []any{out.Verdict, out.Reason})
}

// Histograms with a hundred thousand buckets are remembered as long as there is memory, and then by count and sum.
func TestHugeHistogramsStayWithinTheMemory(t *testing.T) {
	const limit = 16 << 20
	for _, kind := range []Kind{KindCumulativeDistribution, KindDeltaDistribution} {
		for _, exponential := range []bool{false, true} {
			l := New(settings(func(s *Settings) {
				s.Limits.Memory = limit
				s.Limits.Attribute = 20
			}))
			l.Begin(1_700_000_000 * second)
			m := metric(t, l, "m")
			sent, folded := map[string]uint64{}, map[*Group]uint64{}
			for i := range 100 {
				l.Begin(l.now + second/10)
				id := strconv.Itoa(i % 50)
				size := 1 + i/50*100_000
				p := point(1, l.now, "id", id)
				count := uint64(10 + 10*(i/50))
				var out *Outcome
				if exponential {
					e := &Exponential{Scale: 20, Positive: Buckets{0, make([]uint64, size)}, Count: count}
					e.Positive.Counts[size-1] = 1
					e.Positive.Counts[0] += count - 1
					out = m.Exponential(p, kind, e, false)
				} else {
					e := &Explicit{Bounds: make([]float64, size-1), Counts: make([]uint64, size), Count: count}
					for b := range e.Bounds {
						e.Bounds[b] = float64(b)
					}
					e.Counts[0] = count
					out = m.Explicit(p, kind, e, false)
				}
				require.NotEqual(t, Dropped, out.Verdict, "%v", out.Reason)
				if out.Verdict == Merged {
					grown := count
					if kind == KindCumulativeDistribution {
						grown -= sent[id]
					} else if out.Carrier {
						folded[out.Group] = 0
					}
					folded[out.Group] += grown
					require.Equal(t, folded[out.Group], out.Group.dist.observations())
				}
				sent[id] = count
				require.LessOrEqual(t, l.Stats().Bytes, int64(limit+2<<20), "point %d of kind %d", i, kind)
			}
			require.NotEmpty(t, folded)
		}
	}
}
