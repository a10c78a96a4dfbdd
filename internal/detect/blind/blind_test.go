// SPDX-License-Identifier: Apache-2.0

package blind

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const interval = 10 * time.Second

// run advances through n evaluations in which the streams send, and returns what was said and the time.
func run(t *testing.T, d *Detector, now time.Time, n int, streams map[string]int) ([]detect.Candidate, time.Time) {
	t.Helper()
	var said []detect.Candidate
	for range n {
		for service, items := range streams {
			d.Observe(service, "traces", items, "")
		}
		now = now.Add(interval)
		for _, c := range d.Advance(now) {
			require.NoError(t, c.Envelope.Validate())
			said = append(said, c)
		}
	}
	return said, now
}

func TestSilenceOfWhatUsedToArriveIsBlindness(t *testing.T) {
	d := New(Default(100))
	assert.Nil(t, d.Coverage("a"), "nothing is expected at first")
	said, now := run(t, d, t0, 40, map[string]int{"a": 100, "b": 100})
	assert.Empty(t, said)
	require.NotNil(t, d.Coverage("a"))
	assert.InDelta(t, 1, *d.Coverage("a"), 0)

	said, now = run(t, d, now, 5, map[string]int{"a": 100})
	assert.Empty(t, said, "a short pause is none")
	said, now = run(t, d, now, 1, map[string]int{"a": 100})
	require.Len(t, said, 1)
	assert.Equal(t, signal.StateFiring, said[0].Envelope.State)
	assert.InDelta(t, 0.5, *said[0].Envelope.Evidence.Coverage, 0.01)
	assert.Equal(t, "b (traces)", said[0].Envelope.Evidence.Contributors[0].Value)
	assert.Zero(t, *d.Coverage("b"))

	said, _ = run(t, d, now, 1, map[string]int{"a": 100, "b": 1})
	require.Len(t, said, 1)
	assert.Equal(t, signal.StateResolved, said[0].Envelope.State)
}

func TestSmallServiceBlindsItselfOnly(t *testing.T) {
	d := New(Default(100))
	_, now := run(t, d, t0, 40, map[string]int{"large": 1000, "small": 10})
	said, _ := run(t, d, now, 10, map[string]int{"large": 1000})
	assert.Empty(t, said)
	assert.Zero(t, *d.Coverage("small"))
	assert.Greater(t, *d.Coverage("large"), 0.95)
}

func TestWhatComesNowAndThenIsNotMissed(t *testing.T) {
	d := New(Default(100))
	now := t0
	for i := range 200 {
		streams := map[string]int{"a": 10}
		if i%4 == 0 {
			streams["job"] = 1000
		}
		var said []detect.Candidate
		said, now = run(t, d, now, 1, streams)
		require.Empty(t, said)
	}
}

func TestWhatWasSwitchedOffIsForgotten(t *testing.T) {
	d := New(Default(100))
	_, now := run(t, d, t0, 40, map[string]int{"a": 10, "b": 100})
	said, _ := run(t, d, now, 400, map[string]int{"a": 10})
	assert.Equal(t, signal.StateResolved, said[len(said)-1].Envelope.State)
	assert.InDelta(t, 1, *d.Coverage("b"), 0)
	assert.Equal(t, 1, d.Streams())
}

func TestStreamsAreBoundedAndStaleOnesMakeRoom(t *testing.T) {
	d := New(Default(10))
	for i := range 1000 {
		d.Observe(strconv.Itoa(i), "logs", 1, "")
	}
	assert.Equal(t, 10, d.Streams())
	run(t, d, t0, 10, nil)
	assert.Zero(t, d.Streams())
}

func TestStateLivesThroughARestart(t *testing.T) {
	d := New(Default(100))
	d.Observe("a", "traces", 1, "critical")
	_, now := run(t, d, t0, 40, map[string]int{"a": 10, "b": 10})
	data, err := d.Snapshot()
	require.NoError(t, err)
	again := New(Default(100))
	require.NoError(t, again.Restore(data))
	first, _ := run(t, d, now, 10, map[string]int{"a": 10})
	second, _ := run(t, again, now, 10, map[string]int{"a": 10})
	require.NotEmpty(t, first)
	assert.Equal(t, first, second)
	assert.Equal(t, "critical", again.Criticality("a"))
	data[40] ^= 1
	require.Error(t, again.Restore(data))
}

func TestObservingKnownStreamsAllocatesNothing(t *testing.T) {
	d := New(Default(100))
	d.Observe("a", "traces", 1, "high")
	assert.Zero(t, testing.AllocsPerRun(100, func() { d.Observe("a", "traces", 512, "high") }))
}

func BenchmarkAdvance(b *testing.B) {
	d := New(Default(30_000))
	for i := range 30_000 {
		d.Observe("service-"+strconv.Itoa(i), "traces", 100, "")
	}
	now := t0
	b.ReportAllocs()
	for b.Loop() {
		for k := range d.streams {
			d.Observe(k.service, k.signal, 100, "")
		}
		now = now.Add(interval)
		d.Advance(now)
	}
}
