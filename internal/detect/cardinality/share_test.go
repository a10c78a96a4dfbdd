// SPDX-License-Identifier: Apache-2.0

package cardinality

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
)

func TestDeciderTellsOfWhatOthersSawFolded(t *testing.T) {
	alone, decider, member := New(Default(1000)), New(Default(1000)), New(Default(1000))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var want, got []detect.Candidate
	for step := range 400 {
		now = now.Add(10 * time.Second)
		for i := range 200 {
			if step < 100 {
				target := Target{Service: "frontend", Metric: fmt.Sprint("m", i), Attribute: "session.id"}
				alone.Folded(target, 3)
				member.Folded(target, 3)
			}
		}
		parts, err := member.Export(now)
		require.NoError(t, err)
		if step < 100 {
			assert.Len(t, parts, 2)
		}
		for _, part := range parts {
			require.NoError(t, decider.Merge(part))
		}
		assert.Zero(t, member.Targets())
		want, got = append(want, alone.Advance(now)...), append(got, decider.Advance(now)...)
	}
	require.Greater(t, len(want), 399, "each is told of, and ends")
	assert.Equal(t, want, got)
}

func TestMergeRefusesWhatNoCollectorSays(t *testing.T) {
	for _, bad := range []string{
		`{}`, `[{"target":{"Service":"a","Metric":"m"},"points":0}]`, `[{"target":{"Service":"","Metric":"m"},"points":1}]`,
		`[{"target":{"Service":"a","Metric":"` + strings.Repeat("m", maxName+1) + `"},"points":1}]`, `[{"target":{"Service":"a","Metric":"m"},"points":9000000000000}]`,
	} {
		d := New(Default(10))
		require.Error(t, d.Merge(detect.Seal(exportVersion, []byte(bad))), bad)
		assert.Zero(t, d.Targets())
	}
	require.ErrorIs(t, New(Default(10)).Merge([]byte("[]")), detect.ErrSealDamaged)
}
