// SPDX-License-Identifier: Apache-2.0

package track

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/verdict"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// traffic sends requests of arms for a while, advancing every ten seconds.
type traffic struct {
	t   *Tracker
	r   *rand.Rand
	now time.Time
	out []State
}

func newTraffic(s Settings) *traffic {
	return &traffic{t: New(s), r: rand.New(rand.NewPCG(1, 2)), now: start}
}

type load struct {
	name, instance string
	perSlice       int
	errors         float64
	skew           time.Duration
}

var key = Key{Service: "checkout", Namespace: "shop"}

func (x *traffic) run(d time.Duration, loads ...load) {
	for end := x.now.Add(d); x.now.Before(end); x.now = x.now.Add(10 * time.Second) {
		for _, l := range loads {
			for range l.perSlice {
				at := x.now.Add(time.Duration(x.r.Int64N(int64(10*time.Second))) + l.skew).UnixNano()
				a := x.t.Arm(key, l.name, at)
				a.From(l.instance, at)
				a.Observe(at, time.Duration(50e6*math.Exp(0.3*x.r.NormFloat64())), x.r.Float64() < l.errors, [16]byte{1})
			}
		}
		x.out = x.t.Advance(x.now.Add(10 * time.Second))
	}
}

func TestOneVersionIsNeverCompared(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(time.Hour, load{name: "1", perSlice: 20, errors: 0.5})
	assert.Empty(t, x.out)
	assert.Empty(t, x.t.TakeNewcomers())
	assert.False(t, x.t.Find(key, "1").Compared(), "no slices are kept")
}

func TestTheNewcomerIsTheCanary(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(10*time.Minute, load{name: "2", perSlice: 40})
	x.run(20*time.Minute, load{name: "2", perSlice: 40}, load{name: "1", perSlice: 60, errors: 0.2})
	require.Len(t, x.out, 1)
	assert.Equal(t, "1", x.out[0].Canary, "not by the number of the version")
	assert.Equal(t, verdict.Fail, x.out[0].Verdict.Outcome)
	assert.NotEmpty(t, x.out[0].Exemplars)
	fresh := x.t.TakeNewcomers()
	require.Len(t, fresh, 1)
	assert.Equal(t, "1", fresh[0].Name)
}

func TestOfTwoThatWereThereFromTheStartTheSmallerIsTheCanary(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(20*time.Minute, load{name: "b", perSlice: 10}, load{name: "a", perSlice: 60})
	require.Len(t, x.out, 1)
	assert.Equal(t, "b", x.out[0].Canary)
	y := newTraffic(Settings{})
	y.run(20*time.Minute, load{name: "a", perSlice: 60}, load{name: "b", perSlice: 10})
	require.Len(t, y.out, 1)
	assert.Equal(t, "b", y.out[0].Canary)
}

func TestAnAnnouncedVersionIsTheCanary(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(20*time.Second, load{name: "a", perSlice: 10}, load{name: "b", perSlice: 60})
	x.t.Announce(key, "b", 0)
	x.run(20*time.Minute, load{name: "a", perSlice: 10}, load{name: "b", perSlice: 60})
	require.Len(t, x.out, 1)
	assert.Equal(t, "b", x.out[0].Canary)
}

func TestHealthyCanaryPassesAndIsThenTheBaseline(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(5*time.Minute, load{name: "1", perSlice: 60})
	x.run(30*time.Minute, load{name: "1", perSlice: 40}, load{name: "2", perSlice: 30})
	require.Len(t, x.out, 1)
	assert.Equal(t, verdict.Pass, x.out[0].Verdict.Outcome, x.out[0].Verdict)
	x.run(12*time.Minute, load{name: "2", perSlice: 60})
	assert.Empty(t, x.out, "over, once one of them is gone")
	x.run(30*time.Minute, load{name: "2", perSlice: 40}, load{name: "3", perSlice: 30, errors: 0.3})
	require.Len(t, x.out, 1)
	assert.Equal(t, "3", x.out[0].Canary)
	assert.Equal(t, "2", x.out[0].Baseline)
	assert.Equal(t, verdict.Fail, x.out[0].Verdict.Outcome)
}

func TestACanaryThatTakesOverIsReleasedOnce(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(5*time.Minute, load{name: "1", perSlice: 60})
	x.run(5*time.Minute, load{name: "1", perSlice: 40}, load{name: "2", perSlice: 30})
	require.Len(t, x.t.TakeNewcomers(), 1)
	x.run(40*time.Second, load{name: "2", perSlice: 60})
	x.run(time.Minute, load{name: "1", perSlice: 1}, load{name: "2", perSlice: 60})
	assert.Empty(t, x.t.TakeNewcomers(), "not for good")
	over := x.now
	x.run(2*time.Minute, load{name: "2", perSlice: 60})
	state, err := x.t.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, []Newcomer{{Key: key, Name: "2", At: over, Released: true}}, x.t.TakeNewcomers())
	require.NoError(t, x.t.Restore(state))
	x.run(5*time.Minute, load{name: "2", perSlice: 60})
	assert.Empty(t, x.t.TakeNewcomers())

	y := newTraffic(Settings{})
	y.run(5*time.Minute, load{name: "1", perSlice: 60})
	y.run(5*time.Minute, load{name: "1", perSlice: 40}, load{name: "2", perSlice: 30})
	y.run(5*time.Minute, load{name: "1", perSlice: 60})
	assert.Len(t, y.t.TakeNewcomers(), 1, "a canary that is taken back is not released")
}

func TestWarmUpIsNotJudged(t *testing.T) {
	x := newTraffic(Settings{WarmUp: 2 * time.Minute})
	x.run(5*time.Minute, load{name: "1", perSlice: 60})
	x.run(100*time.Second, load{name: "1", perSlice: 60}, load{name: "2", perSlice: 60, errors: 0.9})
	x.run(20*time.Minute, load{name: "1", perSlice: 60}, load{name: "2", perSlice: 60})
	require.Len(t, x.out, 1)
	assert.Equal(t, verdict.Pass, x.out[0].Verdict.Outcome, x.out[0].Verdict)
}

func TestBadInputIsNamed(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(5*time.Minute, load{name: "1", instance: "a", perSlice: 20})
	x.run(10*time.Minute, load{name: "1", instance: "a", perSlice: 20}, load{name: "2", instance: "a", perSlice: 20})
	require.Len(t, x.out, 1)
	assert.Equal(t, verdict.ReasonMixedInstance, x.out[0].Verdict.Reason, "two versions in one instance")

	y := newTraffic(Settings{})
	y.run(5*time.Minute, load{name: "1", perSlice: 20})
	y.run(10*time.Minute, load{name: "1", perSlice: 20}, load{name: "2", perSlice: 20, skew: -5 * time.Minute})
	require.Len(t, y.out, 1)
	assert.Equal(t, verdict.ReasonClockSkew, y.out[0].Verdict.Reason)

	z := newTraffic(Settings{})
	z.run(5*time.Minute, load{name: "1", perSlice: 20})
	z.run(10*time.Minute, load{name: "1", perSlice: 20}, load{name: "2", perSlice: 20})
	z.run(5*time.Minute, load{name: "1", perSlice: 20})
	require.Len(t, z.out, 1)
	assert.Equal(t, verdict.ReasonNoTraffic, z.out[0].Verdict.Reason)
}

func TestARestartedInstanceIsNotMixed(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(5*time.Minute, load{name: "1", instance: "a", perSlice: 20}, load{name: "1", instance: "b", perSlice: 20})
	x.run(5*time.Minute, load{name: "2", instance: "a", perSlice: 20}, load{name: "1", instance: "b", perSlice: 20})
	require.Len(t, x.out, 1)
	assert.NotEqual(t, verdict.ReasonMixedInstance, x.out[0].Verdict.Reason)
}

func TestResourcesUnitsAndNumbersAreChecked(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(5*time.Minute, load{name: "1", perSlice: 20})
	x.run(time.Minute, load{name: "1", perSlice: 20}, load{name: "2", perSlice: 20})
	a, at := x.t.Find(key, "2"), x.now.UnixNano()
	assert.True(t, a.Unit(Memory, "process.memory.usage", "By", at))
	assert.False(t, a.Unit(Memory, "container.memory.working_set", "By", at), "the first one seen counts")
	a.Use(Memory, at, math.NaN())
	x.run(10*time.Minute, load{name: "1", perSlice: 20}, load{name: "2", perSlice: 20})
	assert.NotEqual(t, verdict.ReasonNotFinite, x.out[0].Verdict.Reason, "long ago")
	a.Use(Memory, x.now.UnixNano(), math.NaN())
	x.run(time.Minute, load{name: "1", perSlice: 20}, load{name: "2", perSlice: 20})
	assert.Equal(t, verdict.ReasonNotFinite, x.out[0].Verdict.Reason)
	assert.False(t, a.Unit(Memory, "process.memory.usage", "MiBy", x.now.UnixNano()))
	x.run(time.Minute, load{name: "1", perSlice: 20}, load{name: "2", perSlice: 20})
	assert.Equal(t, verdict.ReasonUnitChanged, x.out[0].Verdict.Reason)
}

func TestEverythingIsBoundedAndCounted(t *testing.T) {
	tr := New(Settings{MaxTargets: 100, MaxArms: 3, MaxPairs: 5})
	tr.Advance(start)
	at := start.UnixNano()
	for i := range 1000 {
		for v := range 10 {
			tr.Arm(Key{Service: strconv.Itoa(i)}, strconv.Itoa(v), at).Observe(at, 1, false, [16]byte{})
		}
	}
	used, limit := tr.Targets()
	assert.Equal(t, 100, used)
	assert.Equal(t, 100, limit)
	assert.Len(t, tr.pairs, 5)
	a := tr.Arm(Key{Service: "0"}, "0", at)
	a.Observe(start.Add(-time.Hour).UnixNano(), 1, false, [16]byte{})
	a.Observe(start.Add(time.Hour).UnixNano(), 1, false, [16]byte{})
	lost := tr.TakeLost()
	assert.EqualValues(t, 9000, lost[LossTargets])
	assert.EqualValues(t, 700, lost[LossArms])
	assert.EqualValues(t, 195, lost[LossPairs])
	assert.EqualValues(t, 1, lost[LossLate])
	assert.EqualValues(t, 1, lost[LossFuture])
	assert.Zero(t, tr.TakeLost())

	// Silent targets make room for others.
	tr.Advance(start.Add(time.Hour))
	tr.Advance(start.Add(time.Hour + 10*time.Second))
	assert.NotNil(t, tr.Arm(Key{Service: "new"}, "1", start.Add(time.Hour).UnixNano()))
}

func TestSnapshotGoesOnAndIsTheSameForTheSameState(t *testing.T) {
	runs := make([]*traffic, 2)
	for i := range runs {
		runs[i] = newTraffic(Settings{})
		runs[i].run(5*time.Minute, load{name: "1", perSlice: 60})
		runs[i].run(10*time.Minute, load{name: "1", perSlice: 40}, load{name: "2", perSlice: 30})
	}
	a, err := runs[0].t.Snapshot()
	require.NoError(t, err)
	b, err := runs[1].t.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, string(a), string(b))

	restored := New(Settings{})
	require.NoError(t, restored.Restore(a))
	before := runs[0].out[0].Verdict
	runs[0].t = restored
	runs[0].run(10*time.Second, load{name: "1", perSlice: 40}, load{name: "2", perSlice: 30})
	require.Len(t, runs[0].out, 1)
	assert.Equal(t, before.Canary, runs[0].out[0].Verdict.Canary, "the open slices are lost, the closed ones are not")
	require.Error(t, restored.Restore([]byte("{")))
}

func TestObservingAllocatesNothing(t *testing.T) {
	x := newTraffic(Settings{})
	x.run(5*time.Minute, load{name: "1", perSlice: 60})
	x.run(time.Minute, load{name: "1", perSlice: 40}, load{name: "2", perSlice: 30})
	at := x.now.UnixNano()
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		a := x.t.Arm(key, "2", at)
		a.From("i", at)
		a.Observe(at, time.Millisecond, false, [16]byte{})
	}))
}

func TestFigureWhatATargetTakes(t *testing.T) {
	const n = 10_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tr := New(Settings{})
	for i := range n {
		a := tr.Arm(Key{Service: fmt.Sprintf("service-%05d", i), Namespace: "prod"}, "1.2.3", start.UnixNano())
		a.Observe(start.UnixNano(), time.Millisecond, false, [16]byte{})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / n
	figures.Record(t, figures.Figure{
		Table: "Canary verdicts", Row: "memory of a service with one version, 10,000 of them", Reached: fmt.Sprintf("%d bytes each", each),
		Command: "go test -run TestFigure ./internal/verdict/track",
	})
	assert.Less(t, each, uint64(1500))
	runtime.KeepAlive(tr)
}
