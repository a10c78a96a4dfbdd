// SPDX-License-Identifier: Apache-2.0

package price_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/price"
)

const sheet = `from,to,region,instance_type,commitment,cpu_core_hour,ram_gib_hour,instance_hour
# the list price, then a raise
2026-01-01,2026-07-01,,,,0.04,0.005,
2026-07-01,,,,,0.05,0.006,
2026-01-01,,eu-west-1,,,0.06,,
2026-01-01,,,,spot,0.01,0.001,
2026-01-01,,,m6i.large,,,,0.096
2026-03-01,,,m6i.large,,,,0.1
`

func day(month time.Month) time.Time { return time.Date(2026, month, 15, 0, 0, 0, 0, time.UTC) }

func TestTheRowThatNamesMostCounts(t *testing.T) {
	s, err := price.ReadCSV(strings.NewReader(sheet))
	require.NoError(t, err)
	assert.Equal(t, 6, s.Len())
	for name, c := range map[string]struct {
		q                price.Query
		cpu, ram, source string
	}{
		"before the sheet begins":  {price.Query{At: day(1).AddDate(-1, 0, 0)}, "0.031611", "0.004237", "opencost"},
		"spot before the sheet":    {price.Query{At: day(1).AddDate(-1, 0, 0), Commitment: "spot"}, "0.006655", "0.000892", "opencost"},
		"dated":                    {price.Query{At: day(2)}, "0.04", "0.005", "sheet:3"},
		"raised":                   {price.Query{At: day(8)}, "0.05", "0.006", "sheet:4"},
		"on the day of the raise":  {price.Query{At: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}, "0.05", "0.006", "sheet:4"},
		"region, ram falls back":   {price.Query{At: day(2), Region: "EU-West-1"}, "0.06", "0.004237", "sheet:5"},
		"commitment":               {price.Query{At: day(2), Commitment: "spot"}, "0.01", "0.001", "sheet:6"},
		"region before commitment": {price.Query{At: day(2), Region: "eu-west-1", Commitment: "spot"}, "0.06", "0.000892", "sheet:5"},
	} {
		got := s.Rates(c.q)
		assert.Equal(t, c.cpu, got.CPU.String(), name)
		assert.Equal(t, c.ram, got.RAM.String(), name)
		assert.Equal(t, c.source, got.Source, name)
	}
}

func TestAMachinesPriceIsDividedBetweenItsCoresAndItsMemory(t *testing.T) {
	s, err := price.ReadCSV(strings.NewReader(sheet))
	require.NoError(t, err)
	cores, gib := money.FromInt(2), money.FromInt(8)
	got := s.Rates(price.Query{At: day(2), InstanceType: "m6i.large", Cores: cores, GiB: gib})
	whole := got.CPU.Times(cores).Plus(got.RAM.Times(gib))
	assert.InDelta(t, 0.096, whole.Float64(), 1e-15)
	assert.InDelta(t, 0.031611/0.004237, got.CPU.Float64()/got.RAM.Float64(), 1e-9)
	assert.Equal(t, "sheet:8", s.Rates(price.Query{At: day(5), InstanceType: "m6i.large", Cores: cores, GiB: gib}).Source, "the later of equals")
	assert.Equal(t, "0.031611", s.Rates(price.Query{At: day(2), InstanceType: "m6i.large"}).CPU.String(), "of unknown size")
}

func TestYAMLSaysTheSame(t *testing.T) {
	s, err := price.ReadYAML(strings.NewReader("- {from: 2026-01-01, region: eu, cpu_core_hour: 0.06, gpu_hour: \"2\", storage_gb_hour: 1e-4}\n"))
	require.NoError(t, err)
	got := s.Rates(price.Query{At: day(2), Region: "eu"})
	assert.Equal(t, []string{"0.06", "2", "0.0001", "sheet:1"}, []string{got.CPU.String(), got.GPU.String(), got.Storage.String(), got.Source})
}

func TestBrokenSheetsAreRefusedWithTheirLine(t *testing.T) {
	for text, says := range map[string]string{
		"":                              "header",
		"colour\n":                      `line 1: unknown column "colour"`,
		"from,cpu_core_hour\nlater,1\n": "line 2: from",
		"from,cpu_core_hour\n,x\n":      "line 2: cpu_core_hour",
		"from,cpu_core_hour\n,-1\n":     "must not be negative",
		"from,cpu_core_hour\n,\n":       "needs a price",
		"from,cpu_core_hour\n1,2,3\n":   "line 2",
		"from,cpu_core_hour\n":          "no rows",
	} {
		_, err := price.ReadCSV(strings.NewReader(text))
		assert.ErrorContains(t, err, says, text)
	}
	for text, says := range map[string]string{
		"# nothing yet\n":          "no rows",
		"- {colour: 1}":            `line 1: unknown key "colour"`,
		"- [1]":                    "line 1",
		"x: [":                     "price sheet",
		"- {cpu_core_hour: cheap}": "line 1: cpu_core_hour",
	} {
		_, err := price.ReadYAML(strings.NewReader(text))
		assert.ErrorContains(t, err, says, text)
	}
}
