// SPDX-License-Identifier: Apache-2.0

package regression

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDeciderFindsTheRegressionThatOneCollectorWould(t *testing.T) {
	alone, decider := New(Settings{}), New(Settings{})
	members := []*Detector{New(Settings{}), New(Settings{}), New(Settings{})}
	r := rand.New(rand.NewPCG(1, 1))
	var want, got []detect.Candidate
	k := Key{Service: "checkout", Namespace: "shop"}
	for step := range 6 * 120 {
		now := began.Add(time.Duration(step) * 10 * time.Second)
		took, heap := 50*time.Millisecond, 1e8
		if step > 6*60 {
			took, heap = 120*time.Millisecond, 2e8
		}
		if step == 6*60 {
			c := detect.Change{ID: "d1", Kind: detect.Deployment, Time: now, Service: "checkout", Namespace: "shop", Version: "2", State: "succeeded"}
			alone.ObserveChange(c)
			decider.ObserveChange(c)
		}
		for i := range 20 {
			at := now.Add(time.Duration(i) * 500 * time.Millisecond).UnixNano()
			d, failed, one := time.Duration(float64(took)*(0.8+0.4*r.Float64())), r.IntN(50) == 0, members[r.IntN(3)]
			used := heap * (0.95 + 0.1*r.Float64())
			for _, x := range []*Detector{alone, one} {
				target := x.Target(k)
				x.Observe(target, at, d, failed)
				if i == 0 && target.Metric(Memory, "process.memory.usage", "By") {
					x.Use(target, Memory, at, used)
				}
			}
		}
		now = now.Add(10 * time.Second)
		want = append(want, alone.Advance(now)...)
		for _, m := range members {
			parts, err := m.Export(now)
			require.NoError(t, err)
			for _, part := range parts {
				require.NoError(t, decider.Merge(part, now))
			}
		}
		got = append(got, decider.Advance(now)...)
	}
	require.NotEmpty(t, want, "there is a regression to be found")
	assert.Equal(t, want, got)
	assert.Zero(t, decider.Dropped())
}

func TestMergeRefusesWhatNoCollectorSays(t *testing.T) {
	x := New(Settings{})
	x.Observe(x.Target(Key{Service: "checkout"}), began.UnixNano(), time.Millisecond, false)
	parts, err := x.Export(began)
	require.NoError(t, err)
	sealed, err := detect.Open(exportVersion, parts[0])
	require.NoError(t, err)
	good := string(sealed)
	for from, to := range map[string]string{
		`"requests":1`:         `"requests":2`,
		`"latency":[12,1]`:     `"latency":[82,1]`,
		`"index":`:             `"index":-`,
		`"latency"`:            `"memory":{"sum":-1,"weight":1},"latency"`,
		`"service":"checkout"`: `"service":""`,
		`"checkout"`:           `"` + strings.Repeat("x", maxName+1) + `"`,
		`"minutes"`:            `"cpu":{"name":"","unit":""},"minutes"`,
		`}]`:                   `}`,
	} {
		bad := strings.Replace(good, from, to, 1)
		require.NotEqual(t, good, bad, from)
		y := New(Settings{})
		require.Error(t, y.Merge(detect.Seal(exportVersion, []byte(bad)), began.Add(time.Minute)), bad)
		assert.Empty(t, y.targets)
	}
	y := New(Settings{})
	require.ErrorIs(t, y.Merge(parts[0], began.Add(-time.Hour)), errDamaged, "the future")
	require.ErrorIs(t, y.Merge([]byte(good), began), detect.ErrSealDamaged)
	require.NoError(t, y.Merge(parts[0], began.Add(time.Minute)))
}
