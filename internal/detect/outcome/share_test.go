// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

func TestDeciderJudgesByTheEventsThatOthersCounted(t *testing.T) {
	alone, decider := New(Default(100)), New(Default(100))
	members := []*Detector{New(Default(100)), New(Default(100))}
	both := func(c detect.Change) {
		alone.ObserveChange(c)
		decider.ObserveChange(c)
		members[0].ObserveChange(c)
	}
	var want, got []detect.Candidate
	for step := range 6 * 30 {
		now := t0.Add(time.Duration(step) * 10 * time.Second)
		if step == 6*12 {
			both(change("d1", "deploy", "2", now))
		}
		bad := 1.0
		if step > 6*12 {
			bad = 20
		}
		alone.Observe("checkout", "availability", now, 200, 2*bad)
		for i, m := range members {
			m.Observe("checkout", "availability", now, float64(50+100*i), bad)
			parts, err := m.Export(now)
			require.NoError(t, err)
			for _, part := range parts {
				require.NoError(t, decider.Merge(part, now))
			}
			assert.Zero(t, m.Fill().Used)
		}
		want, got = append(want, alone.Advance(now)...), append(got, decider.Advance(now)...)
	}
	require.Len(t, want, 1)
	assert.Equal(t, signal.ResultRefuted, want[0].Envelope.Result.Value)
	assert.Equal(t, want, got)
}

func TestMergeRefusesWhatNoCollectorSays(t *testing.T) {
	number := sliceOf(t0)
	for _, bad := range []string{
		`{}`, `[{"objective":""}]`, `[{"objective":"` + strings.Repeat("x", maxName+1) + `"}]`,
		fmt.Sprintf(`[{"objective":"a","slices":[{"number":%d,"good":-1}]}]`, number), fmt.Sprintf(`[{"objective":"a","slices":[{"number":%d,"bad":1e300}]}]`, number),
		fmt.Sprintf(`[{"objective":"a","slices":[{"number":%d,"bad":1}]}]`, number+1), `[{"objective":"a","slices":[{"number":-1,"bad":1}]}]`,
	} {
		d := New(Default(10))
		require.Error(t, d.Merge(detect.Seal(exportVersion, []byte(bad)), t0), bad)
		assert.Zero(t, d.Fill().Used)
	}
	require.ErrorIs(t, New(Default(10)).Merge([]byte("[]"), t0), detect.ErrSealDamaged)
}
