// SPDX-License-Identifier: Apache-2.0

package cardinality

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestFoldingIsOneSignalFromFirstToLast(t *testing.T) {
	d := New(Default(10))
	views := Target{"frontend", "shop.page.views", "session.id"}
	assert.Empty(t, d.Advance(t0))
	var said []signal.Envelope
	for minute := range 60 {
		if minute >= 5 && minute < 35 {
			d.Folded(views, 7)
		}
		for _, c := range d.Advance(t0.Add(time.Duration(minute) * time.Minute)) {
			require.NoError(t, c.Envelope.Validate())
			said = append(said, c.Envelope)
		}
	}
	require.Len(t, said, 3, "the beginning, once more while it is valid, the end")
	for _, e := range said {
		assert.Equal(t, said[0].ID, e.ID)
		assert.Equal(t, t0.Add(5*time.Minute), e.ValidFrom)
		assert.Equal(t, "frontend", e.Target.Service)
	}
	assert.Equal(t, signal.StateFiring, said[1].State)
	assert.Equal(t, "drop_attribute", said[0].Action.Verb)
	assert.Equal(t, map[string]string{"metric": "shop.page.views", "attribute": "session.id"}, said[0].Action.Params)
	assert.Equal(t, signal.StateResolved, said[2].State)
	assert.Equal(t, t0.Add(44*time.Minute), said[2].UpdatedAt, "ten minutes after the last")
	assert.InDelta(t, 210, said[2].Evidence.Statistics["points.folded_series"], 0)
	assert.Zero(t, d.Targets())
}

func TestTargetsAreBoundedAndEndsMakeRoom(t *testing.T) {
	d := New(Default(3))
	for i := range 10 {
		d.Folded(Target{"s", strconv.Itoa(i), ""}, 1)
	}
	assert.Len(t, d.Advance(t0), 3)
	assert.Len(t, d.Advance(t0.Add(time.Hour)), 3)
	d.Folded(Target{"s", "9", ""}, 1)
	again := d.Advance(t0.Add(time.Hour))
	require.Len(t, again, 1)
	assert.Contains(t, again[0].Envelope.Summary, "whole series")
}

func TestStateLivesThroughARestart(t *testing.T) {
	d := New(Default(3))
	d.Folded(Target{"s", "m", "a"}, 5)
	first := d.Advance(t0)
	data, err := d.Snapshot()
	require.NoError(t, err)
	same, err := d.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, data, same)

	again := New(Default(3))
	require.NoError(t, again.Restore(data))
	said := again.Advance(t0.Add(time.Minute))
	require.Len(t, said, 1)
	assert.Equal(t, first[0].Envelope.ID, said[0].Envelope.ID)
	require.Error(t, again.Restore(data[:len(data)-1]))
	assert.Equal(t, 1, again.Targets(), "what cannot be read changes nothing")
}

func TestKnownTargetsCostNoAllocation(t *testing.T) {
	d := New(Default(3))
	target := Target{"s", "m", "a"}
	d.Folded(target, 1)
	assert.Zero(t, testing.AllocsPerRun(100, func() { d.Folded(target, 1) }))
}
