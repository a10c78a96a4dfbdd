// SPDX-License-Identifier: Apache-2.0

package coverage

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
)

func TestDeciderSeesTheGapsThatOthersSaw(t *testing.T) {
	without := map[string]bool{"payment": true}
	alone, decider := New(Default(100)), New(Default(100))
	members := []*Detector{New(Default(100)), New(Default(100))}
	now := t0
	for minute := range 30 {
		for i := range 50 {
			n := minute*50 + i
			observe(alone, n, without, "frontend", "payment", "checkout")
			observe(members[n%2], n, without, "frontend", "payment", "checkout") // whole traces: by trace id
		}
		now = now.Add(time.Minute)
		alone.Advance(now)
		for _, m := range members {
			parts, err := m.Export(now)
			require.NoError(t, err)
			for _, part := range parts {
				require.NoError(t, decider.Merge(part))
			}
		}
		decider.Advance(now)
	}
	want, got := alone.Report(), decider.Report()
	require.Positive(t, want.Judged)
	assert.Zero(t, want.Whole)
	require.NotEmpty(t, want.Orphans)
	assert.Equal(t, want, got)
}

func TestExportIsInPartsAndMergeRefusesWhatIsDamaged(t *testing.T) {
	d := New(Default(10_000))
	for i := range 1_500 {
		d.Called(fmt.Sprint("service-", i))
	}
	parts, err := d.Export(t0)
	require.NoError(t, err)
	assert.Len(t, parts, 3)
	again := New(Default(10_000))
	for _, part := range parts {
		require.NoError(t, again.Merge(part))
	}
	assert.Equal(t, 1_500, again.Services())
	for _, bad := range []string{
		`{"judged":1,"whole":2}`, `{"judged":-1}`, `{"large":9000000000000}`, `{"services":[{"name":""}]}`, `{"services":[{"name":"a","orphans":-1}]}`, `[]`,
	} {
		x := New(Default(10))
		require.Error(t, x.Merge(detect.Seal(exportVersion, []byte(bad))), bad)
		assert.Zero(t, x.Services())
	}
	require.ErrorIs(t, again.Merge([]byte("{}")), detect.ErrSealDamaged)
}
