// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

type timed struct {
	ns int64
	w  Weight
}

// exactQuantile is what a sort says.
func exactQuantile(events []timed, share float64) float64 {
	sorted := slices.Clone(events)
	slices.SortFunc(sorted, func(a, b timed) int { return int(a.ns - b.ns) })
	total := Weight(0)
	for _, e := range sorted {
		total += e.w
	}
	below := Weight(0)
	for _, e := range sorted {
		if below += e.w; float64(below) >= share*float64(total) {
			return float64(e.ns) / 1e9
		}
	}
	return math.NaN()
}

func took(t *testing.T, e *Engine, events []timed) *Latency {
	t.Helper()
	tally := e.NewTally()
	for chunk := range slices.Chunk(events, 500) {
		tally.Reset()
		entry := tally.Entry(0, nil)
		for i, ev := range chunk {
			at := epoch.Add(time.Duration(i%60) * time.Second).UnixNano()
			entry.Add(tally.Slice(at), at, false, ev.w)
			entry.AddDuration(tally.Slice(at), BucketOf(ev.ns), ev.w)
			tally.Observe(1, at)
		}
		e.Commit(tally, epoch.Add(time.Minute))
	}
	s := e.Statuses()[0].Latency
	require.NotNil(t, s)
	return s
}

func TestQuantilesAreWithinOnePercent(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	worst := 0.0
	for name, draw := range map[string]func() float64{
		"lognormal":     func() float64 { return 0.05 * math.Exp(r.NormFloat64()) },
		"heavy tail":    func() float64 { return 0.001 / math.Pow(1-r.Float64(), 1/1.1) },
		"two humps":     func() float64 { return []float64{0.002, 3}[r.IntN(2)] * (1 + r.Float64()/10) },
		"constant":      func() float64 { return 0.25 },
		"uniform":       func() float64 { return r.Float64() },
		"nanoseconds":   func() float64 { return float64(1+r.IntN(100)) * 1e-9 },
		"six decades":   func() float64 { return math.Pow(10, 4-6*r.Float64()) },
		"hours":         func() float64 { return 3600 * (1 + r.Float64()) },
		"from nothing":  func() float64 { return max(0, r.NormFloat64()) },
		"many decades":  func() float64 { return math.Pow(10, -9+12*r.Float64()*r.Float64()) },
		"a few at once": func() float64 { return float64(1+r.IntN(4)) / 10 },
	} {
		for run := range max(2, int(50*scale())) {
			events := make([]timed, 1+r.IntN(20_000))
			for i := range events {
				w := One
				if run%2 == 1 {
					w = Weight(1+r.IntN(100)) * One
				}
				events[i] = timed{int64(draw() * 1e9), w}
			}
			got := took(t, testEngine(t, Workbook()), events)
			highest := slices.MaxFunc(events, func(a, b timed) int { return int(a.ns - b.ns) }).ns
			for _, q := range got.Quantiles {
				want := max(exactQuantile(events, q.Share), 1e-9)
				if want*5e4 < float64(highest)/1e9 {
					continue // below the span of a sketch
				}
				off := math.Abs(q.Seconds-want) / want
				worst = max(worst, off)
				assert.LessOrEqual(t, off, QuantileError+1e-9, "%s: p%v is %v, not %v", name, 100*q.Share, q.Seconds, want)
			}
			again := testEngine(t, Workbook())
			r.Shuffle(len(events), func(a, b int) { events[a], events[b] = events[b], events[a] })
			assert.Equal(t, got, took(t, again, events), "%s: another order", name)
		}
	}
	figures.Record(t, figures.Figure{
		Table: "SLOs: quantiles of latency", Row: "eleven shapes of distribution, weighted or not, p50 to p99: the furthest any is off", Reached: fmt.Sprintf("%.2f %%", 100*worst),
		Wanted: "1 %", Command: "PITWALL_SCALE=1 go test -v -run QuantilesAreWithin ./internal/slo",
	})
}

func TestQuantilesForget(t *testing.T) {
	e := testEngine(t, Demo()) // generations of three minutes
	tally := e.NewTally()
	feedAt := func(after time.Duration, ns int64) *Latency {
		tally.Reset()
		at := epoch.Add(after).UnixNano()
		entry := tally.Entry(0, nil)
		entry.Add(tally.Slice(at), at, false, One)
		entry.AddDuration(tally.Slice(at), BucketOf(ns), One)
		tally.Observe(1, at)
		e.Commit(tally, epoch.Add(after))
		return e.Statuses()[0].Latency
	}
	feedAt(0, int64(time.Second))
	l := feedAt(4*time.Minute, int64(time.Minute))
	assert.Equal(t, epoch, l.Since)
	assert.InEpsilon(t, 1, l.Quantiles[0].Seconds, QuantileError)
	assert.InEpsilon(t, 60, l.Quantiles[3].Seconds, QuantileError)
	l = feedAt(7*time.Minute, int64(time.Minute))
	assert.Equal(t, epoch.Add(3*time.Minute), l.Since)
	assert.InEpsilon(t, 60, l.Quantiles[0].Seconds, QuantileError)
	late := feedAt(2*time.Minute, 1)
	assert.Equal(t, l, late, "what is too late for its generation changes nothing")
}

func TestASketchIsBounded(t *testing.T) {
	for _, order := range [][]int64{{1, math.MaxInt64}, {math.MaxInt64, 1}, {1, 1e9, math.MaxInt64, 3, 1e12}} {
		var s sketch
		for _, ns := range order {
			s.add(BucketOf(ns), One)
			assert.LessOrEqual(t, len(s.counts), maxBuckets)
		}
		total := Weight(0)
		for _, w := range s.counts {
			total += w
		}
		assert.Equal(t, Weight(len(order))*One, total, "nothing is lost")
		assert.InEpsilon(t, 9.22e9, quantile([]*sketch{&s}, total, 1), 0.011)
	}
}
