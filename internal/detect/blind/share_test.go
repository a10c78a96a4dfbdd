// SPDX-License-Identifier: Apache-2.0

package blind

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

func TestDeciderIsBlindWhenWhatOthersHeardStops(t *testing.T) {
	decider, members := New(Default(1000)), []*Detector{New(Default(1000)), New(Default(1000))}
	now := t0
	var said []detect.Candidate
	pass := func(n int, services ...string) {
		for range n {
			for i, service := range services {
				members[i%2].Observe(service, "traces", 50, "high")
			}
			now = now.Add(interval)
			for _, m := range members {
				parts, err := m.Export(now)
				require.NoError(t, err)
				for _, part := range parts {
					require.NoError(t, decider.Merge(part))
				}
				assert.Zero(t, m.Streams(), "a member keeps nothing")
			}
			said = append(said, decider.Advance(now)...)
		}
	}
	pass(40, "a", "b", "c")
	assert.Empty(t, said)
	assert.Equal(t, "high", decider.Criticality("c"))
	pass(6, "a")
	require.NotEmpty(t, said)
	assert.Equal(t, signal.KindBlind, said[0].Envelope.Kind)
	assert.InDelta(t, 0.333, *said[0].Envelope.Evidence.Coverage, 0.01)
}

func TestExportIsInPartsAndMergeRefusesWhatIsDamaged(t *testing.T) {
	d := New(Default(10_000))
	for i := range 2_000 {
		d.Observe(fmt.Sprint(strings.Repeat("s", 400), i), "logs", 1, "")
	}
	parts, err := d.Export(t0)
	require.NoError(t, err)
	assert.Len(t, parts, 4)
	again := New(Default(10_000))
	for _, part := range parts {
		assert.LessOrEqual(t, len(part), detect.MaxPart+1<<12)
		require.NoError(t, again.Merge(part))
	}
	assert.Equal(t, 2_000, again.Streams())
	for _, bad := range []string{
		`[{"service":"","signal":"logs","items":1}]`, `[{"service":"a","signal":"logs","items":-1}]`, `[{"service":"a","signal":"logs","items":1e300}]`, `{}`,
		`[{"service":"` + strings.Repeat("a", 2000) + `","signal":"logs","items":1}]`,
	} {
		x := New(Default(10))
		require.Error(t, x.Merge(detect.Seal(exportVersion, []byte(bad))), bad)
		assert.Zero(t, x.Streams())
	}
	require.ErrorIs(t, again.Merge([]byte("[]")), detect.ErrSealDamaged)
}
