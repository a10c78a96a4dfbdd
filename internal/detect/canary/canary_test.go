// SPDX-License-Identifier: Apache-2.0

package canary

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// run lets version 1 run alone for five minutes and then version 2 beside it, of which one request in bad fails.
func run(d *Detector, from, to time.Duration, bad int) (said []detect.Candidate) {
	key := track.Key{Service: "checkout"}
	for at := from; at < to; at += 10 * time.Second {
		tracker := d.Lock()
		for i := range 30 {
			end := start.Add(at + time.Duration(i)*300*time.Millisecond).UnixNano()
			tracker.Arm(key, "1", end).Observe(end, 30*time.Millisecond, false, [16]byte{})
			if at >= 5*time.Minute {
				tracker.Arm(key, "2", end).Observe(end, 30*time.Millisecond, i%bad == 0, [16]byte{byte(i)})
			}
		}
		d.Unlock()
		for _, c := range d.TakeChanges() {
			d.ObserveChange(c)
		}
		said = append(said, d.Advance(start.Add(at+10*time.Second))...)
	}
	return said
}

func TestVerdictsAreValidAndOfOneIdentity(t *testing.T) {
	said := run(New(Settings{}), 0, 30*time.Minute, 5)
	require.NotEmpty(t, said)
	for _, c := range said {
		require.NoError(t, c.Envelope.Validate())
		assert.Equal(t, said[0].Envelope.ID, c.Envelope.ID)
		assert.True(t, c.Reliability)
	}
	last := said[len(said)-1]
	assert.Equal(t, signal.ResultFail, last.Envelope.Result.Value)
	assert.Positive(t, last.Benefit.Budget)
	assert.Positive(t, last.Exposure)
	require.Len(t, last.Envelope.CausedBy, 1)
	assert.Equal(t, last.Envelope.CausedBy[0], last.Cause)
	assert.NotEmpty(t, last.Envelope.Evidence.Exemplars)
}

func TestAVerdictIsRepeatedAtHalfItsValidity(t *testing.T) {
	said := run(New(Settings{}), 0, 60*time.Minute, 5)
	fails := 0
	for _, c := range said {
		if c.Envelope.Result.Value == signal.ResultFail {
			fails++
		}
	}
	assert.InDelta(t, 11, fails, 1, "fifty-four minutes, said every five")
}

func TestTheSameTelemetrySaysTheSameBytes(t *testing.T) {
	var runs [2][]byte
	for i := range runs {
		said := run(New(Settings{}), 0, 30*time.Minute, 9)
		data, err := json.Marshal(said)
		require.NoError(t, err)
		runs[i] = data
	}
	assert.Equal(t, string(runs[0]), string(runs[1]))
}

func TestSnapshotGoesOnAndKeepsTheCause(t *testing.T) {
	a := New(Settings{})
	run(a, 0, 15*time.Minute, 5)
	state, err := a.Snapshot()
	require.NoError(t, err)
	b := New(Settings{})
	require.NoError(t, b.Restore(state))
	said := b.Advance(start.Add(15 * time.Minute))
	require.Len(t, said, 1)
	assert.Equal(t, signal.ResultFail, said[0].Envelope.Result.Value)
	assert.Len(t, said[0].Envelope.CausedBy, 1)
	assert.Equal(t, detect.Fill{Used: 1, Limit: 10_000}, b.Fill())

	again, err := b.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, string(state), string(again))
	state[len(state)-1] ^= 1
	require.ErrorIs(t, b.Restore(state), detect.ErrSealDamaged)
	require.Error(t, b.Restore(detect.Seal(snapshotVersion, []byte("{"))))
	require.Error(t, b.Restore(detect.Seal(snapshotVersion, []byte(`{"tracker":[]}`))))
}

func TestAToldDeploymentMakesItsVersionTheCanary(t *testing.T) {
	d := New(Settings{})
	key := track.Key{Service: "checkout"}
	tracker := d.Lock()
	for _, version := range []string{"a", "b"} {
		tracker.Arm(key, version, start.UnixNano()).Observe(start.UnixNano(), time.Millisecond, false, [16]byte{})
	}
	d.Unlock()
	d.ObserveChange(detect.Change{ID: "x", Kind: detect.Deployment, Service: "checkout", Version: "a", Tool: "cdevents", Time: start})
	said := d.Advance(start.Add(10 * time.Second))
	require.Len(t, said, 1)
	assert.Equal(t, "a", said[0].Envelope.Target.Revision)
	assert.Equal(t, []string{"x"}, said[0].Envelope.CausedBy)
}
