// SPDX-License-Identifier: Apache-2.0

package price_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/price"
)

const carbonSheet = `from,region,instance_type,grid_g_kwh,pue,cpu_idle_watts,cpu_busy_watts,ram_gib_watts,gpu_watts,network_kwh_gib,embodied_g_hour
,,,450,1.2,1,4,0.4,300,0.001,
,eu-north-1,,20,1.1,,,,,,
,,m6i.large,,,2,6,,,,6
2026-07-01,eu-north-1,,10,,,,,,,
`

func TestEveryFactorComesFromTheRowThatNamesMost(t *testing.T) {
	s, err := price.ReadCarbonCSV(strings.NewReader(carbonSheet))
	require.NoError(t, err)
	assert.Equal(t, 4, s.Len())
	e := s.Emissions(price.Query{At: day(2)})
	assert.Equal(t, "0.54", e.CPU.String(), "450 g × 1.2 × 1 W")
	assert.Equal(t, "1.62", e.Busy.String(), "3 W more")
	assert.Equal(t, "162", e.GPU.String())
	assert.Equal(t, "0.54", e.Network.String())
	assert.True(t, e.Embodied.IsZero())

	e = s.Emissions(price.Query{At: day(2), Region: "eu-north-1", InstanceType: "m6i.large", Cores: money.FromInt(2)})
	assert.Equal(t, "0.044", e.CPU.String(), "the region's grid, the type's watts")
	assert.Equal(t, "0.0088", e.RAM.String(), "what the type does not say, the general row does")
	assert.Equal(t, "3", e.Embodied.String(), "for each core")
	e = s.Emissions(price.Query{At: day(8), Region: "eu-north-1"})
	assert.Equal(t, "0.011", e.CPU.String(), "the grid of July, the power usage of before")
}

func TestBrokenCarbonSheetsAreRefusedWithTheirLine(t *testing.T) {
	for text, says := range map[string]string{
		"":                                       "header",
		"grid\n":                                 `line 1: unknown column "grid"`,
		"grid_g_kwh,grid_g_kwh\n":                "occurs twice",
		"grid_g_kwh\nx\n":                        "carbon sheet: line 2: grid_g_kwh",
		"grid_g_kwh\n-1\n":                       "must not be negative",
		"pue\n0.9\n":                             "pue must be at least 1",
		"cpu_idle_watts,cpu_busy_watts\n3,2\n":   "cpu_busy_watts must be at least",
		"region,grid_g_kwh\neu,\n":               "needs a factor",
		"from,to,pue\n2026-02-01,2026-01-01,1\n": "to must be after from",
	} {
		_, err := price.ReadCarbonCSV(strings.NewReader(text))
		assert.ErrorContains(t, err, says, text)
	}
	_, err := price.ReadCarbonYAML(strings.NewReader("- {grid_g_kwh: many}"))
	assert.ErrorContains(t, err, "line 1: grid_g_kwh")
}
