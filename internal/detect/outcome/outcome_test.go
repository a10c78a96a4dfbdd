// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/guardrail"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// feed adds events of checkout's availability for a while, with the bad ratio given.
func feed(d *Detector, from time.Time, during time.Duration, perSlice, ratio float64) {
	for at := from; at.Before(from.Add(during)); at = at.Add(sliceWidth) {
		d.Observe("checkout", "availability", at, perSlice*(1-ratio), perSlice*ratio)
	}
}

// burn is a page of checkout at a time.
func burn(at time.Time) *signal.Envelope {
	target := signal.Target{Service: "checkout", Objective: "availability"}
	return &signal.Envelope{
		ID: signal.NewID(signal.KindSLOBurn, target, nil, at), Kind: signal.KindSLOBurn, Version: 1, State: signal.StateFiring, Severity: signal.SeverityPage,
		Summary: "x", Target: target, Action: signal.Action{Verb: "investigate", Alternatives: []string{"rollback"}, Reversible: true, Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 0.98, Method: "x"}, Budget: &signal.Budget{Burn: new(10.0)},
		Evidence: signal.Evidence{Statistics: map[string]float64{"target": 0.99}}, ValidFrom: at, UpdatedAt: at.Add(time.Minute), ExpiresAt: at.Add(time.Hour),
	}
}

func change(id, action, version string, at time.Time) detect.Change {
	return detect.Change{ID: id, Kind: detect.Deployment, Time: at, Action: action, State: "succeeded", Service: "checkout", Version: version, Tool: "argocd"}
}

// judged advances past the judgement of what happened at a time and returns the outcomes.
func judged(t *testing.T, d *Detector, at time.Time) []signal.Envelope {
	t.Helper()
	assert.Empty(t, d.Advance(at.Add(11*time.Minute)), "not before the last slice is complete")
	var out []signal.Envelope
	for _, c := range d.Advance(at.Add(12 * time.Minute)) {
		require.NoError(t, c.Envelope.Validate())
		out = append(out, c.Envelope)
	}
	return out
}

func TestEveryChangeIsJudgedAgainstWhatWasBefore(t *testing.T) {
	for name, c := range map[string]struct {
		before, after float64
		perSlice      float64
		want          signal.Result
	}{
		"harm":       {0.001, 0.05, 500, signal.Result{Value: signal.ResultRefuted}},
		"help":       {0.05, 0.001, 500, signal.Result{Value: signal.ResultConfirmed}},
		"nothing":    {0.01, 0.01, 500, signal.Result{Value: signal.ResultNoEffect}},
		"no traffic": {0.01, 0.01, 1, signal.Result{Value: signal.ResultInconclusive, Reason: "no_traffic"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := New(Default(100))
			feed(d, t0.Add(-10*time.Minute), 10*time.Minute, c.perSlice, c.before)
			d.ObserveChange(change("d1", "deploy", "2", t0))
			feed(d, t0, 15*time.Minute, c.perSlice, c.after)
			got := judged(t, d, t0)
			require.Len(t, got, 1)
			assert.Equal(t, c.want, *got[0].Result)
			assert.Equal(t, []string{"d1"}, got[0].CausedBy)
			if c.want.Value != signal.ResultInconclusive {
				assert.InDelta(t, c.after-c.before, got[0].Evidence.Statistics["difference"], 1e-9)
			}
			assert.Empty(t, d.Advance(t0.Add(time.Hour)), "once")
		})
	}
}

func TestSignalThatWasActedOnIsHeldAgainstItsPrediction(t *testing.T) {
	d := New(Default(100))
	feed(d, t0.Add(-10*time.Minute), 10*time.Minute, 500, 0.10)
	page := burn(t0.Add(-10 * time.Minute))
	d.ObserveSignal(page)
	d.ObserveChange(change("r1", "rollback", "1", t0))
	feed(d, t0, 15*time.Minute, 500, 0.01)
	got := judged(t, d, t0)
	require.Len(t, got, 1)
	e := got[0]
	assert.Equal(t, signal.ResultConfirmed, e.Result.Value)
	assert.Equal(t, page.ID, e.Action.Params["signal"])
	assert.Equal(t, "argocd", e.Action.Params["actor"])
	stats := e.Evidence.Statistics
	assert.InDelta(t, 10, stats["predicted.burn"], 1e-9)
	assert.InDelta(t, 9, stats["realised.burn"], 1e-9, "0.09 less bad of a budget of 0.01")
	assert.InDelta(t, 1, stats["regret.burn"], 1e-9)
	assert.InDelta(t, 0.9, stats["return"], 1e-9)
	assert.InDelta(t, 540, stats["decision_latency_seconds"], 1e-9)
	assert.Equal(t, Tally{Confirmed: 1}, d.Tallies()[signal.KindSLOBurn])
	assert.Equal(t, 1, d.Breaker().Acted)
	assert.Equal(t, Benefit{Decided: 1, DecideSeconds: 540, Predicted: 10, Realised: d.Benefit().Realised, Regret: d.Benefit().Regret}, d.Benefit())

	over := *page
	over.State, over.UpdatedAt = signal.StateResolved, t0.Add(20*time.Minute)
	d.ObserveSignal(&over)
	assert.Empty(t, d.Advance(t0.Add(30*time.Minute)), "it was acted on, so its end is no outcome")
}

func TestHowAChangeCarriesOutASignal(t *testing.T) {
	for name, c := range map[string]struct {
		change detect.Change
		acted  int
	}{
		"names it":           {func() detect.Change { c := change("x", "deploy", "9", t0); c.SignalID = burn(t0).ID; return c }(), 1},
		"does what it says":  {change("x", "rollback", "1", t0), 1},
		"does another thing": {change("x", "deploy", "9", t0), 0},
		"of another service": {func() detect.Change { c := change("x", "rollback", "1", t0); c.Service = "cart"; return c }(), 0},
		"only planned":       {func() detect.Change { c := change("x", "rollback", "1", t0); c.State = "planned"; return c }(), 0},
		"failed":             {func() detect.Change { c := change("x", "rollback", "1", t0); c.State = "failed"; return c }(), 0},
	} {
		d := New(Default(100))
		d.ObserveSignal(burn(t0))
		d.ObserveChange(c.change)
		assert.Equal(t, c.acted, d.Breaker().Acted, name)
	}
}

func TestSignalThatNobodyActedOnSaysSo(t *testing.T) {
	d := New(Default(100))
	page := burn(t0)
	d.ObserveSignal(page)
	over := *page
	over.State, over.UpdatedAt = signal.StateExpired, t0.Add(time.Hour)
	d.ObserveSignal(&over)
	said := d.Advance(t0.Add(time.Hour))
	require.Len(t, said, 1)
	assert.Equal(t, signal.Result{Value: signal.ResultNotActed, Reason: "expired"}, *said[0].Envelope.Result)
	require.NoError(t, said[0].Envelope.Validate())

	look := burn(t0.Add(2 * time.Hour))
	look.Action.Alternatives = nil
	d.ObserveSignal(look)
	ended := *look
	ended.State = signal.StateResolved
	d.ObserveSignal(&ended)
	assert.Empty(t, d.Advance(t0.Add(3*time.Hour)), "there was nothing to act on")
}

func TestTwoChangesAtOnceAreConfoundedAndOneToldTwiceIsNot(t *testing.T) {
	run := func(second detect.Change) []signal.Envelope {
		d := New(Default(100))
		feed(d, t0.Add(-10*time.Minute), 10*time.Minute, 500, 0.001)
		d.ObserveChange(change("d1", "deploy", "2", t0))
		d.ObserveChange(second)
		feed(d, t0, 20*time.Minute, 500, 0.05)
		return judged(t, d, t0)
	}
	got := run(change("d2", "deploy", "3", t0.Add(time.Minute)))
	assert.Equal(t, signal.Result{Value: signal.ResultInconclusive, Reason: "confounded"}, *got[0].Result)
	got = run(change("d2", "deploy", "2", t0.Add(time.Minute)))
	require.Len(t, got, 1)
	assert.Equal(t, signal.ResultRefuted, got[0].Result.Value)
}

func TestActionThatIsTakenBackCountsForTheBreaker(t *testing.T) {
	d := New(Default(100))
	page := burn(t0)
	page.Action.Verb, page.Target.Revision = "promote", "2"
	d.ObserveSignal(page)
	d.ObserveChange(change("d1", "deploy", "2", t0.Add(time.Minute)))
	d.ObserveChange(change("r1", "rollback", "1", t0.Add(15*time.Minute)))
	assert.Equal(t, guardrail.Breaker{Acted: 1, Reverted: 1}, d.Breaker())
	d.ObserveChange(change("r2", "rollback", "0", t0.Add(40*time.Minute)))
	assert.Equal(t, 1, d.Breaker().Reverted, "what was taken back is not taken back again")
}

func TestThreeHarmfulActionsInARowOpenTheBreakerAndAnotherClosesIt(t *testing.T) {
	d := New(Default(100))
	act := func(i int, before, after float64) {
		at := t0.Add(time.Duration(i) * 2 * time.Hour)
		d.ObserveSignal(burn(at.Add(-time.Minute)))
		feed(d, at.Add(-10*time.Minute), 10*time.Minute, 500, before)
		d.ObserveChange(change(strconv.Itoa(i), "rollback", strconv.Itoa(i), at))
		feed(d, at, 15*time.Minute, 500, after)
		d.Advance(at.Add(20 * time.Minute))
	}
	for i := range 3 {
		act(i, 0.001, 0.05)
	}
	assert.Equal(t, 3, d.Breaker().RefutedInARow)
	act(3, 0.05, 0.001)
	assert.Zero(t, d.Breaker().RefutedInARow)
	for i := range 2 {
		act(4+i, 0.05, 0.001)
	}
	value, n := d.Calibrate(signal.KindSLOBurn, 0.98)
	assert.Equal(t, 6, n)
	assert.InDelta(t, (10*0.98+3)/16, value, 1e-9)
	value, n = d.Calibrate("optimization.other", 0.98)
	assert.Zero(t, n)
	assert.InDelta(t, 0.98, value, 0)
}

func TestNoDifferenceIsRarelyFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	const runs, n = 4000, 2000
	found := 0
	for range runs {
		var bad [2]float64
		for arm := range bad {
			for range n {
				if rng.Float64() < 0.01 {
					bad[arm]++
				}
			}
		}
		c := compare(n-bad[0], bad[0], n-bad[1], bad[1])
		if c.Low > 0 || c.High < 0 {
			found++
		}
	}
	assert.Less(t, float64(found)/runs, 0.015, "of intervals of 99 %, about one in a hundred misses")
	t.Logf("%d of %d comparisons without a difference found one", found, runs)
}

func TestStateLivesThroughARestart(t *testing.T) {
	run := func(restart bool) []signal.Envelope {
		d := New(Default(100))
		feed(d, t0.Add(-10*time.Minute), 10*time.Minute, 500, 0.10)
		d.ObserveSignal(burn(t0.Add(-10 * time.Minute)))
		d.ObserveChange(change("r1", "rollback", "1", t0))
		if restart {
			data, err := d.Snapshot()
			require.NoError(t, err)
			again := New(Default(100))
			require.NoError(t, again.Restore(data))
			same, err := again.Snapshot()
			require.NoError(t, err)
			require.Equal(t, data, same)
			require.Error(t, again.Restore(data[:len(data)-1]))
			d = again
		}
		feed(d, t0, 15*time.Minute, 500, 0.01)
		return judged(t, d, t0)
	}
	assert.Equal(t, run(false), run(true))
}

func TestEverythingIsBounded(t *testing.T) {
	d := New(Default(10))
	for i := range 1000 {
		at := t0.Add(time.Duration(i) * time.Second)
		d.Observe(strconv.Itoa(i), "o", at, 1, 0)
		page := burn(at)
		page.Target.Service = strconv.Itoa(i)
		d.ObserveSignal(page)
		c := change(strconv.Itoa(i), "deploy", "1", at)
		c.Service = strconv.Itoa(i)
		d.ObserveChange(c)
	}
	assert.LessOrEqual(t, d.Fill().Used, 10)
	assert.LessOrEqual(t, len(d.landed), 10)
	d.Observe("0", "o", t0.Add(-24*time.Hour), 1, 0)
	d.Observe("0", "o", t0.Add(1000*24*time.Hour), 1, 0)
	good, _ := d.series[key{"0", "o"}].between(t0.Add(-time.Hour), t0.Add(time.Hour))
	assert.Zero(t, good, "a jump of time leaves nothing old behind")
}

func TestCountingKnownObjectivesAllocatesNothing(t *testing.T) {
	d := New(Default(100))
	d.Observe("checkout", "availability", t0, 1, 1)
	assert.Zero(t, testing.AllocsPerRun(100, func() { d.Observe("checkout", "availability", t0, 1, 1) }))
}

func BenchmarkObserve(b *testing.B) {
	d := New(Default(100))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Observe("checkout", "availability", t0.Add(time.Duration(i)*time.Millisecond), 10, 1)
	}
}
