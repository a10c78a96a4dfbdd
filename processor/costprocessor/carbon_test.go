// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// factorsText: a watt for an hour is 0.6 g; the machine takes 8 g an hour to have been made, 2 g for each of its four cores.
const factorsText = "region,grid_g_kwh,pue,cpu_idle_watts,cpu_busy_watts,ram_gib_watts,embodied_g_hour\n" +
	"eu,400,,,,,\n,900,1.5,2,5,0.5,8\n"

func TestMachinesEmitForThoseWhoUseThem(t *testing.T) {
	host, id := stored(t)
	path := filepath.Join(t.TempDir(), "carbon.csv")
	write(t, path, factorsText)
	change := func(c *Config) {
		c.Telemetry.Enabled = false
		c.Storage = &id
		c.Resources.Enabled, c.Resources.CarbonSheet, c.Resources.MaxGap = true, path, time.Hour
	}
	r := newRigOn(t, host, change)
	hour(t, r)
	require.NoError(t, r.pt.ConsumeTraces(t.Context(), served(container("a", "pod-a"), "", "/cart", "/cart", "/pay")))
	r.engine.emit(t.Context())
	got := emitted(r, "cost.carbon", "cost.kind")
	want := map[string]float64{
		// a set 2 cores aside and used 1; b used half a core and 4 GiB of 16.
		"a operational": 2*2*0.6 + 1*3*0.6, "b operational": 0.5*2*0.6 + 0.5*3*0.6 + 4*0.5*0.6, "__idle__ operational": 1.5*2*0.6 + 12*0.5*0.6,
		"a embodied": 2 * 2, "b embodied": 0.5 * 2, "__idle__ embodied": 1.5 * 2,
	}
	require.Len(t, got, len(want))
	total := 0.0
	for key, grams := range want {
		assert.InDelta(t, grams, got[key], 1e-9, key)
		total += got[key]
	}
	// All of it is what the machine emits: idle watts of all cores, what 1.5 busy cores add, its memory; and what it took to make.
	assert.InDelta(t, (4*2+1.5*3+16*0.5)*0.6+8, total, 1e-9)

	sci := emitted(r, "cost.carbon.per_request", "cost.scope", "cost.operation")
	assert.InDelta(t, (4.2+4)/3, sci["a service "], 1e-9, "(O + M) for each request")
	assert.InDelta(t, sci["a service "]*3, sci["a service /cart"]*2+sci["a service /pay"], 1e-9)
	r.stop(t)

	r = newRigOn(t, host, change)
	r.engine.now = func() time.Time { return noon.Add(2 * time.Hour) }
	r.engine.emit(t.Context())
	after := emitted(r, "cost.carbon", "cost.kind")
	for key, grams := range want {
		assert.InDelta(t, grams, after[key], 1e-9, "%s, after a restart", key)
	}
	r.stop(t)
}

func TestCarbonFactorsAreReadAgainAndABrokenSheetIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "carbon.yaml")
	write(t, path, "- {grid_g_kwh: 100, cpu_idle_watts: 10}\n")
	r := newRig(t, func(c *Config) { c.Resources.Enabled, c.Resources.CarbonSheet = true, path })
	cpu := func() string {
		q, err := r.engine.resources.query("", noon)
		require.NoError(t, err)
		e := r.engine.resources.carbon.sheet.Emissions(q)
		return e.CPU.String()
	}
	assert.Equal(t, "1", cpu())
	for text, outcome := range map[string]string{"- {grid_g_kwh: 200, cpu_idle_watts: 10}\n": "success", "- {grid_g_kwh: -2}\n": "failure"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		r.engine.resources.emissions.stamp = fileStamp{}
		r.engine.reloadPrices(t.Context())
		assert.EqualValues(t, 1, r.counter(t, "cost_table_reloads", "table", "carbon_sheet", "outcome", outcome))
		if outcome == "success" {
			assert.Equal(t, "2", cpu())
		}
	}
	assert.NotEqual(t, "0", cpu(), "the one before stays in force")
	r.stop(t)
}
