// SPDX-License-Identifier: Apache-2.0

package track

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatIsCollectedAddsUpToWhatOneTrackerSees(t *testing.T) {
	whole, decider := newTraffic(Settings{}), New(Settings{})
	members := []*Tracker{New(Settings{Collect: true}), New(Settings{Collect: true})}
	observe := func(x *Tracker, name string, i int, at int64) {
		a := x.Arm(key, name, at)
		a.From(fmt.Sprint(name, i%4), at)
		a.Observe(at, time.Duration(1+i%7)*10*time.Millisecond, i%9 == 0, [16]byte{1, byte(i)})
		if i%30 == 0 {
			a.Logged(at, [16]byte{2, byte(i), byte(at >> 30), byte(at >> 38)})
		}
		if a.Unit(Memory, "process.memory.usage", "By", at) {
			a.Use(Memory, at, float64(1e8+i))
		}
	}
	var got []State
	now := start
	for range 60 {
		for i := range 80 {
			at := now.Add(time.Duration(i) * 120 * time.Millisecond).UnixNano()
			name := []string{"1", "2"}[i%2]
			observe(whole.t, name, i, at)
			observe(members[i/2%2], name, i, at)
		}
		now = now.Add(10 * time.Second)
		whole.out = whole.t.Advance(now)
		for _, m := range members {
			parts, err := m.Export(now.UnixNano(), 600) // so little that the arms need a part each
			require.NoError(t, err)
			require.Len(t, parts, 2)
			for _, part := range parts {
				require.NoError(t, decider.Merge(part, now.UnixNano(), nil))
			}
			again, err := m.Export(now.UnixNano(), 600)
			require.NoError(t, err)
			require.Empty(t, again, "it was said already")
		}
		got = decider.Advance(now)
	}
	require.Len(t, got, 1)
	require.Len(t, got[0].Exemplars, maxExemplars)
	got[0].Exemplars, whole.out[0].Exemplars = nil, nil // which ones is chance
	assert.Equal(t, whole.out, got)
	assert.Zero(t, decider.TakeLost())
	assert.NotZero(t, got[0].Verdict)
}

func TestCollectingAllocatesNothingForARequestAndIsBounded(t *testing.T) {
	x := New(Settings{Collect: true})
	a := x.Arm(key, "1", start.UnixNano())
	a.Observe(start.UnixNano(), time.Millisecond, false, [16]byte{})
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		x.Arm(key, "1", start.UnixNano()).Observe(start.UnixNano(), time.Millisecond, false, [16]byte{})
	}))
	for i := range 1000 { // an export that never comes, or clocks gone mad
		a.Observe(start.Add(time.Duration(i)*10*time.Second).UnixNano(), time.Millisecond, false, [16]byte{})
	}
	assert.Len(t, a.open, maxOpen)
	assert.Equal(t, uint64(1000-maxOpen), x.TakeLost()[LossLate])
	for i := range 100 {
		x.Arm(key, strconv.Itoa(i), start.UnixNano())
	}
	assert.LessOrEqual(t, len(x.targets[key].arms), x.settings.MaxArms)
	_, err := x.Export(start.Add(time.Hour).UnixNano(), 1<<20)
	require.NoError(t, err)
	assert.Empty(t, x.TakeNewcomers())
}

func TestMergeRefusesWhatNoCollectorSays(t *testing.T) {
	x := New(Settings{Collect: true})
	x.Arm(key, "1", start.UnixNano()).Observe(start.UnixNano(), time.Millisecond, false, [16]byte{1})
	parts, err := x.Export(start.UnixNano(), 1<<20)
	require.NoError(t, err)
	good := string(parts[0])
	limit := start.Add(time.Minute).UnixNano()
	require.NoError(t, New(Settings{}).Merge(parts[0], limit, nil))
	require.ErrorIs(t, New(Settings{Slice: time.Second}).Merge(parts[0], limit, nil), ErrWidth)
	require.ErrorIs(t, New(Settings{}).Merge(parts[0], start.Add(-time.Minute).UnixNano(), nil), ErrDamaged, "the future")
	for from, to := range map[string]string{
		`"requests":1`:         `"requests":2`,
		`"latency":[12,1]`:     `"latency":[12]`,
		`[12,1]`:               `[82,1]`,
		`"index":`:             `"index":-`,
		`"requests":1,`:        `"requests":1,"faults":16,`,
		`"requests":1, `:       `"requests":1,"memory":{"sum":-1,"weight":1},`,
		`"service":"checkout"`: `"service":""`,
		`"name":"1"`:           `"name":"` + strings.Repeat("x", maxName+1) + `"`,
		`"slices":[`:           `"exemplars":["zz"],"slices":[`,
		`"slices":`:            `"memory":{"name":"","unit":""},"slices":`,
		`}]}`:                  `}]`,
	} {
		bad := strings.Replace(good, strings.TrimSpace(from), to, 1)
		require.NotEqual(t, good, bad, from)
		y := New(Settings{})
		require.ErrorIs(t, y.Merge([]byte(bad), limit, nil), ErrDamaged, bad)
		assert.Empty(t, y.targets, "nothing was added")
	}
}

func FuzzMerge(f *testing.F) {
	x := New(Settings{Collect: true})
	for _, name := range []string{"1", "2"} {
		x.Arm(key, name, start.UnixNano()).Observe(start.UnixNano(), time.Millisecond, false, [16]byte{1})
	}
	parts, err := x.Export(start.UnixNano(), 1<<20)
	require.NoError(f, err)
	f.Add(parts[0])
	f.Fuzz(func(t *testing.T, data []byte) {
		y := New(Settings{MaxTargets: 8})
		before, err := y.Snapshot()
		require.NoError(t, err)
		if y.Merge(data, start.Add(time.Hour).UnixNano(), nil) != nil {
			after, err := y.Snapshot()
			require.NoError(t, err)
			require.Equal(t, before, after)
		}
		for range 3 {
			for _, s := range y.Advance(start.Add(time.Hour)) {
				_, err := json.Marshal(s.Verdict)
				require.NoError(t, err, "no number is NaN or infinite")
			}
		}
	})
}
