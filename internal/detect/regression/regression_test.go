// SPDX-License-Identifier: Apache-2.0

package regression

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key   = Key{Service: "checkout", Namespace: "shop"}
)

// world is a service that gets worse at some time.
type world struct {
	d   *Detector
	r   *rand.Rand
	now time.Time
}

func newWorld() *world {
	return &world{d: New(Settings{}), r: rand.New(rand.NewPCG(1, 1)), now: start}
}

func (w *world) run(d time.Duration, errors, slow float64) (said []detect.Candidate) {
	return w.load(d, 20, errors, slow)
}

// load is run with another number of requests in ten seconds.
func (w *world) load(d time.Duration, requests int, errors, slow float64) (said []detect.Candidate) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(10 * time.Second) {
		w.d.Lock()
		for range requests {
			at := w.now.Add(time.Duration(w.r.Int64N(int64(10 * time.Second))))
			w.d.Observe(w.d.Target(key), at.UnixNano(), time.Duration(slow*50e6*math.Exp(0.4*w.r.NormFloat64())), w.r.Float64() < errors)
		}
		w.d.Unlock()
		said = append(said, w.d.Advance(w.now.Add(10*time.Second))...)
	}
	return said
}

func (w *world) change(id string, ago time.Duration, service, version string) {
	w.d.ObserveChange(detect.Change{ID: id, Kind: detect.Deployment, Time: w.now.Add(-ago), Service: service, Namespace: "shop", Version: version, State: "succeeded", Tool: "cdevents"})
}

func TestARegressionNamesTheChange(t *testing.T) {
	for name, x := range map[string]struct{ errors, slow float64 }{"errors": {0.08, 1}, "latency": {0.01, 1.6}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			require.Empty(t, w.run(time.Hour, 0.01, 1))
			w.change("old", 55*time.Minute, "checkout", "1")
			w.change("elsewhere", 2*time.Minute, "cart", "7")
			w.change("new", 0, "checkout", "2")
			began := w.now
			said := w.run(30*time.Minute, x.errors, x.slow)
			require.NotEmpty(t, said)
			e := said[0].Envelope
			require.NoError(t, e.Validate())
			assert.Equal(t, signal.ResultFail, e.Result.Value, e.Summary)
			assert.Equal(t, []string{"new", "elsewhere"}, e.CausedBy)
			assert.Equal(t, "new", said[0].Cause)
			assert.Equal(t, "2", e.Target.Revision)
			assert.Equal(t, "rollback", e.Action.Verb)
			assert.WithinDuration(t, began, e.ValidFrom, 2*time.Minute)
			for _, c := range said[1:] {
				assert.Equal(t, e.ID, c.Envelope.ID, "one regression")
			}
			said = w.run(40*time.Minute, 0.01, 1)
			require.NotEmpty(t, said)
			assert.Equal(t, signal.StateResolved, said[len(said)-1].Envelope.State, "it is over when it is as before")
		})
	}
}

func TestTwoChangesAtOnceAreAmbiguous(t *testing.T) {
	w := newWorld()
	w.run(time.Hour, 0.01, 1)
	w.change("a", time.Minute, "checkout", "2")
	w.d.ObserveChange(detect.Change{ID: "b", Kind: detect.FeatureFlag, Time: w.now, Service: "checkout", Flag: "discounts", Variant: "on", State: "succeeded"})
	said := w.run(30*time.Minute, 0.1, 1)
	require.NotEmpty(t, said)
	e := said[0].Envelope
	assert.Equal(t, &signal.Result{Value: signal.ResultInconclusive, Reason: "ambiguous"}, e.Result)
	assert.Equal(t, "investigate", e.Action.Verb)
	assert.Equal(t, []string{"b", "a"}, e.CausedBy)
	assert.Len(t, e.Evidence.Contributors, 2)
}

func TestWhatLoadCanDoIsNotLaidToAChange(t *testing.T) {
	w := newWorld()
	w.run(time.Hour, 0.01, 1)
	w.change("new", 0, "checkout", "2")
	said := w.load(30*time.Minute, 40, 0.01, 1.6)
	require.NotEmpty(t, said)
	e := said[0].Envelope
	require.NoError(t, e.Validate())
	assert.Equal(t, &signal.Result{Value: signal.ResultInconclusive, Reason: "confounded"}, e.Result)
	assert.Equal(t, "investigate", e.Action.Verb)
	assert.Empty(t, e.Target.Revision)
	assert.InDelta(t, 2, e.Evidence.Statistics["requests.growth"], 0.01)
}

func TestADeploymentToldAndSeenIsOneSuspect(t *testing.T) {
	w := newWorld()
	w.run(time.Hour, 0.01, 1)
	w.change("told", 30*time.Second, "checkout", "2")
	w.change("seen", 0, "checkout", "2")
	said := w.run(30*time.Minute, 0.1, 1)
	require.NotEmpty(t, said)
	assert.Equal(t, signal.ResultFail, said[0].Envelope.Result.Value)
}

func TestNothingIsSaidWithoutAChangeOrWithoutHarm(t *testing.T) {
	w := newWorld()
	w.run(time.Hour, 0.01, 1)
	assert.Empty(t, w.run(30*time.Minute, 0.1, 1), "no change to suspect")

	v := newWorld()
	v.run(time.Hour, 0.05, 1.5)
	v.change("better", 0, "checkout", "2")
	v.d.ObserveChange(detect.Change{ID: "planned", Kind: detect.Deployment, Time: v.now, Service: "checkout", State: "planned"})
	assert.Empty(t, v.run(30*time.Minute, 0.01, 1), "it became better")
}

func TestFlagsAndConfigurationsAreTakenBackInTheirOwnWay(t *testing.T) {
	assert.Equal(t, "disable_flag", act(&detect.Change{Kind: detect.FeatureFlag, Flag: "x"}).Verb)
	assert.Equal(t, "revert_configuration", act(&detect.Change{Kind: detect.Configuration}).Verb)
}

func TestTheSameTelemetrySaysTheSame(t *testing.T) {
	var runs [2]string
	for i := range runs {
		w := newWorld()
		w.run(time.Hour, 0.01, 1)
		w.change("new", 0, "checkout", "2")
		data, err := json.Marshal(w.run(30*time.Minute, 0.1, 1.5))
		require.NoError(t, err)
		runs[i] = string(data)
	}
	assert.Equal(t, runs[0], runs[1])
}

func TestSnapshotGoesOn(t *testing.T) {
	w := newWorld()
	w.run(time.Hour, 0.01, 1)
	w.change("new", 0, "checkout", "2")
	w.run(5*time.Minute, 0.1, 1)
	state, err := w.d.Snapshot()
	require.NoError(t, err)
	w.d = New(Settings{})
	require.NoError(t, w.d.Restore(state))
	again, err := w.d.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, string(state), string(again))
	said := w.run(25*time.Minute, 0.1, 1)
	require.NotEmpty(t, said)
	assert.Equal(t, []string{"new"}, said[0].Envelope.CausedBy)
	state[len(state)-1] ^= 1
	require.ErrorIs(t, w.d.Restore(state), detect.ErrSealDamaged)
	require.Error(t, w.d.Restore(detect.Seal(snapshotVersion, []byte("["))))
}

func TestTargetsAreBounded(t *testing.T) {
	d := New(Settings{MaxTargets: 10})
	d.Lock()
	for i := range 100 {
		d.Observe(d.Target(Key{Service: fmt.Sprint("s", i)}), start.UnixNano(), time.Millisecond, false)
	}
	d.Unlock()
	assert.Equal(t, detect.Fill{Used: 10, Limit: 10}, d.Fill())
	assert.EqualValues(t, 90, d.Dropped())
	d.Advance(start.Add(time.Minute))
	d.Advance(start.Add(3 * time.Hour))
	assert.Zero(t, d.Fill().Used, "silent services make room")
	d.Lock()
	d.Observe(d.Target(Key{Service: "late"}), start.UnixNano(), time.Millisecond, false)
	d.Unlock()
	assert.EqualValues(t, 1, d.Dropped())
}

func TestObservingAllocatesNothing(t *testing.T) {
	d := New(Settings{})
	d.Target(key)
	assert.Zero(t, testing.AllocsPerRun(100, func() { d.Observe(d.Target(key), start.UnixNano(), time.Millisecond, false) }))
}

func TestFigureWhatAServiceTakes(t *testing.T) {
	const n = 200
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := New(Settings{})
	for i := range n {
		x := d.Target(Key{Service: fmt.Sprintf("service-%05d", i), Namespace: "prod"})
		for s := range x.Of {
			for v := range Window {
				x.Of[s].Add(float64(v % 7))
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / n
	figures.Record(t, figures.Figure{
		Table: "Change points", Row: "memory of a service with four series", Reached: fmt.Sprintf("%d bytes each", each),
		Command: "go test -run TestFigure ./internal/detect/regression",
	})
	assert.Less(t, each, uint64(8000))
	runtime.KeepAlive(d)
}

// A service that is as it always is, and deployed so often that a deployment can always be suspected.
func TestFigureFalseAlarmsOfASteadyService(t *testing.T) {
	const minutes = 1440
	told, days := 0, 0
	for _, c := range []struct {
		requests      int
		errors, sigma float64
	}{{12, 0.02, 0.5}, {12, 0.1, 1}, {60, 0.01, 1}, {60, 0.05, 0.5}, {300, 0.01, 1}} {
		w := newWorld()
		days++
		for m := range minutes {
			w.d.Lock()
			x := w.d.Target(key)
			for range c.requests {
				at := w.now.Add(time.Duration(w.r.Int64N(int64(time.Minute))))
				w.d.Observe(x, at.UnixNano(), time.Duration(50e6*math.Exp(c.sigma*w.r.NormFloat64())), w.r.Float64() < c.errors)
			}
			w.d.Use(x, Memory, w.now.UnixNano(), 1e8*(1+0.1*w.r.NormFloat64()))
			w.d.Use(x, CPU, w.now.UnixNano(), 0.2*math.Exp(0.4*w.r.NormFloat64()))
			w.d.Unlock()
			if m%14 == 0 {
				w.change(fmt.Sprint("d", m), 0, "checkout", fmt.Sprint("v", m))
			}
			w.now = w.now.Add(time.Minute)
			for _, s := range w.d.Advance(w.now) {
				if s.Envelope.State == signal.StateFiring && s.Envelope.UpdatedAt.Sub(s.Envelope.ValidFrom) < 14*time.Minute {
					told++
				}
			}
		}
	}
	figures.Record(t, figures.Figure{
		Table: "Change points", Row: "a steady service with four noisy series, deployed every 14 minutes, in five mixes of traffic: false signals",
		Reached: fmt.Sprintf("%d in %d days", told, days), Command: "go test -run TestFigure ./internal/detect/regression",
	})
	assert.LessOrEqual(t, told, 1)
}
