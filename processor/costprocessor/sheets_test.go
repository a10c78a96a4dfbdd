// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever a price sheet, a carbon sheet or a table is replaced with, the one before stays in force, and the attempt is counted once.
func TestHostileSheetsAndTablesLeaveTheOnesBeforeInForce(t *testing.T) {
	dir := t.TempDir()
	prices, carbon, owners := filepath.Join(dir, "p.csv"), filepath.Join(dir, "c.yaml"), filepath.Join(dir, "o.csv")
	write(t, prices, "cpu_core_hour\n2\n")
	write(t, carbon, "- {grid_g_kwh: 1000, cpu_idle_watts: 1}\n")
	write(t, owners, "service,service.owner.name\na,team-a\n")
	r := newRig(t, func(c *Config) {
		c.Resources.Enabled, c.Resources.PriceSheet, c.Resources.CarbonSheet = true, prices, carbon
		c.Tables = map[string]TableConfig{"owners": {Path: owners, Key: []string{"service"}}}
		c.Rules = []RuleConfig{{Name: "owners", Lookup: &LookupConfig{Table: "owners", Key: []string{"service.name"}}}}
	})
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n" + strings.Repeat("b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n", 3)
	texts := []string{
		"", "\x00\x00\x00", "\xff\xfe", `"`, "cpu_core_hour\n1e400\n", "cpu_core_hour\nNaN\n", "cpu_core_hour\n-1\n", "cpu_core_hour,cpu_core_hour\n1,2\n",
		"service,service\na,b\n", "service,service.owner.name\na,x\na,y\n", "service,service.owner.name\n\"a,x\n", bomb, "- [[[[", "- {grid_g_kwh: .inf}\n",
		"- {grid_g_kwh: 1, grid_g_kwh: 2}\n", strings.Repeat("x,", 1<<20),
	}
	at := time.Now()
	for i, text := range append(texts, "large") {
		for _, path := range []string{prices, carbon, owners} {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			if text == "large" {
				require.NoError(t, os.Truncate(path, maxFile+1)) // a hole: it takes no room
			}
			at = at.Add(time.Minute)
			require.NoError(t, os.Chtimes(path, at, at))
		}
		for range 2 {
			r.engine.tagger.reload(t.Context())
			r.engine.reloadPrices(t.Context())
		}
		for _, table := range []string{"price_sheet", "carbon_sheet", "owners"} {
			require.EqualValues(t, i+1, r.counter(t, "cost_table_reloads", "table", table, "outcome", "failure"), "%s: %.40q", table, text)
		}
	}
	rates, err := r.engine.resources.rates("", noon)
	require.NoError(t, err)
	assert.Equal(t, "2", rates.CPU.String())
	assert.Equal(t, 1, r.engine.resources.carbon.sheet.Len())
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), spansOf(map[string]any{"service.name": "a"}, 1)))
	assert.Equal(t, "team-a", resourceOf(r.traces.AllTraces()[0])[attrOwner])
	r.stop(t)
}
