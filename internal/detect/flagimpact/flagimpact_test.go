// SPDX-License-Identifier: Apache-2.0

package flagimpact

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key   = track.Key{Service: "frontend", Namespace: "shop", Subject: "discounts"}
)

// run gives all requests "control" for two minutes and then splits them over two variants; of those that get "on" one in bad fails. join says which half comes first.
func run(d *Detector, length time.Duration, bad int, join func(evaluate, serve func())) (said []detect.Candidate, flips []detect.Change) {
	n := 0
	for at := time.Duration(0); at < length; at += 10 * time.Second {
		for i := range 40 {
			n++
			var trace [16]byte
			binary.BigEndian.PutUint64(trace[:], uint64(n))
			end := start.Add(at + time.Duration(i)*200*time.Millisecond).UnixNano()
			variant, failed := "control", false
			if i%2 == 0 && at >= 2*time.Minute {
				variant, failed = "on", (n/2)%bad == 0
			}
			d.Lock()
			join(
				func() { d.Evaluate(key, variant, trace, end) },
				func() { d.Serve("frontend", Request{trace, end, 20 * time.Millisecond, failed}) },
			)
			d.Unlock()
		}
		for _, c := range d.TakeChanges() {
			flips = append(flips, c)
			d.ObserveChange(c)
		}
		said = append(said, d.Advance(start.Add(at+10*time.Second))...)
	}
	return said, flips
}

var orders = map[string]func(evaluate, serve func()){
	"the evaluation first": func(evaluate, serve func()) { evaluate(); serve() },
	"the request first":    func(evaluate, serve func()) { serve(); evaluate() },
}

func TestABadVariantIsToBeDisabled(t *testing.T) {
	for name, join := range orders {
		t.Run(name, func(t *testing.T) {
			said, flips := run(New(Settings{}), 20*time.Minute, 5, join)
			require.NotEmpty(t, said)
			e := said[len(said)-1].Envelope
			require.NoError(t, e.Validate())
			assert.Equal(t, signal.ResultFail, e.Result.Value, e.Summary)
			assert.Equal(t, "disable_flag", e.Action.Verb)
			assert.Equal(t, map[string]string{"feature_flag.key": "discounts", "feature_flag.result.variant": "on"}, e.Target.Attributes)
			require.Len(t, flips, 1)
			assert.Equal(t, "discounts", flips[0].Flag)
			assert.Equal(t, detect.FeatureFlag, flips[0].Kind)
		})
	}
}

func TestAHarmlessVariantIsKept(t *testing.T) {
	said, _ := run(New(Settings{}), 40*time.Minute, 1000, orders["the evaluation first"])
	require.NotEmpty(t, said)
	assert.Equal(t, signal.ResultPass, said[len(said)-1].Envelope.Result.Value)
	assert.Equal(t, "keep", said[len(said)-1].Envelope.Action.Verb)
}

func TestARequestThatAsksOftenCountsOnce(t *testing.T) {
	for name, join := range orders {
		t.Run(name, func(t *testing.T) {
			often := func(evaluate, serve func()) {
				join(func() { evaluate(); evaluate(); evaluate() }, serve)
				evaluate()
				serve()
			}
			once, _ := run(New(Settings{}), 20*time.Minute, 5, join)
			said, _ := run(New(Settings{}), 20*time.Minute, 5, often)
			require.NotEmpty(t, said)
			assert.Equal(t, once, said)
		})
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	d := New(Settings{MaxPending: 100, MaxServices: 2})
	for i := range 1000 {
		trace := [16]byte{byte(i), byte(i >> 8), 1}
		d.Evaluate(key, "on", trace, start.UnixNano())
		d.Serve("unknown", Request{Trace: trace, End: start.UnixNano()})
	}
	assert.Len(t, d.pending, 100)
	assert.Len(t, d.order, 100)
	for _, name := range []string{"a", "b", "c"} {
		d.Evaluate(track.Key{Service: name, Subject: "x"}, "on", [16]byte{9}, start.UnixNano())
	}
	assert.Len(t, d.services, 2)
	assert.EqualValues(t, 2, d.TakeLost()[track.LossTargets])
	assert.Zero(t, d.TakeLost()[track.LossTargets])
	for range 20 {
		d.Evaluate(key, "on", [16]byte{0xe7, 3, 1}, start.UnixNano())
	}
}

func TestSnapshotGoesOn(t *testing.T) {
	d := New(Settings{})
	run(d, 15*time.Minute, 5, orders["the evaluation first"])
	state, err := d.Snapshot()
	require.NoError(t, err)
	other := New(Settings{})
	require.NoError(t, other.Restore(state))
	said := other.Advance(start.Add(15 * time.Minute))
	require.Len(t, said, 1)
	assert.Equal(t, signal.ResultFail, said[0].Envelope.Result.Value)
	assert.Len(t, said[0].Envelope.CausedBy, 1)
	assert.Equal(t, 1, other.Fill().Used)
	state[len(state)-1] ^= 1
	require.Error(t, other.Restore(state))
	require.Error(t, other.Restore(detect.Seal(snapshotVersion, []byte("["))))
	require.Error(t, other.Restore(detect.Seal(snapshotVersion, []byte(`{"tracker":[]}`))))
}

func TestServicesThatAskNoMoreGiveUpTheirPlace(t *testing.T) {
	d := New(Settings{MaxServices: 10})
	ask := func(service string) {
		d.Evaluate(track.Key{Service: service, Subject: "x"}, "on", [16]byte{9}, start.UnixNano())
	}
	hours := func(n int) time.Time { return start.Add(time.Duration(n) * maxIdle) }
	d.Advance(hours(0))
	for i := range 10 {
		ask(string(rune('a' + i)))
	}
	ask("new")
	require.NotContains(t, d.services, "new", "there is no room")
	d.Advance(hours(1))
	require.Len(t, d.services, 10, "all have asked within the hour")
	ask("a")
	d.Advance(hours(2))
	ask("new")
	assert.Len(t, d.services, 2)
	assert.Contains(t, d.services, "a")
	assert.Contains(t, d.services, "new")
	d.Advance(hours(3))
	d.Advance(hours(4))
	assert.Len(t, d.services, 2, "where there is room, nobody has to go")
	d.Advance(hours(-5))
	d.Advance(hours(-4))
	assert.Len(t, d.services, 2, "a clock that goes back does no harm")
}
