// SPDX-License-Identifier: Apache-2.0

package focus_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
)

func TestMethodDetailsWithoutRatiosAreFound(t *testing.T) {
	for details, want := range map[string]int{
		`{"Elements":[{"AllocatedRatio":0.5}]}`:                                       0,
		`{"Elements":[{"AllocatedRatio":0.5,"UsageUnit":"Hours","UsageQuantity":2}]}`: 0,
		`{"Elements":[{"AllocatedRatio":0.5,"UsageQuantity":2}]}`:                     1, // a quantity of what?
		`{"Elements":[{"UsageUnit":"Hours"}]}`:                                        1,
		`{"Elements":[]}`:                                                             1,
		`{"idle":"none"}`:                                                             1,
		`[1]`:                                                                         1,
	} {
		text := strings.Replace(header, "Tags", "AllocatedMethodDetails", 1) + row("1", "02", "ec2", details)
		rep, err := read(t, text, nil)
		require.NoError(t, err)
		rows := 0
		for _, f := range rep.Findings {
			if f.Rule == "AllocatedMethodDetails.type" {
				rows = f.Rows
			}
		}
		assert.Equal(t, want, rows, details)
	}
}

func TestTagsOfWhatTookAPartComeBeforeTagsOfWhatWasSplit(t *testing.T) {
	text := strings.Replace(header, "Tags", "AllocatedTags,Tags", 1) +
		strings.Replace(row("1", "02", "eks", `{"team":"platform","env":"prod"}`), `eks,"`, `eks,"{""Team"":""cart""}","`, 1)
	src, err := focus.OpenCSV(strings.NewReader(text))
	require.NoError(t, err)
	g := focus.NewGrouper(focus.GroupSettings{Columns: []string{"tag:team", "tag:env"}, Interval: focus.Daily, MaxCells: 10})
	_, err = focus.ReadAll(src, g.Add)
	require.NoError(t, err)
	for _, cells := range g.Portion() {
		for _, cell := range cells {
			assert.Equal(t, []string{"cart", "prod"}, cell.Values)
		}
	}
}
