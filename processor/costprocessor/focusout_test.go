// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
)

func TestAllocatedCostLeavesAsAFocusFileOfEachMonth(t *testing.T) {
	dir := t.TempDir()
	host, id := stored(t)
	change := func(c *Config) {
		c.Resources.Enabled, c.Resources.MaxGap, c.FocusOut.Directory, c.Storage = true, time.Hour, dir, &id
	}
	r := newRigOn(t, host, change)
	april := noon.AddDate(0, 0, -3)
	r.engine.daily.commit([]dayCost{
		{dailyKey{account{service: "a", owner: "team"}, FromAllocated, "USD"}, april, money.MustParse("7")},
		{dailyKey{account{service: "a"}, FromBill, "USD"}, noon, money.MustParse("99")},                        // somebody else's bill
		{dailyKey{account{service: "a"}, FromAllocated, "USD"}, noon.AddDate(0, -2, 0), money.MustParse("99")}, // may be incomplete by now
	})
	hour(t, r)
	r.engine.emit(t.Context())
	total := sumOf(t, r)
	read := func(name string) (money.Amount, focus.Report) {
		file, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		defer file.Close()
		src, err := focus.OpenCSV(file)
		require.NoError(t, err)
		var sum money.Amount
		rep, err := focus.ReadAll(src, func(c *focus.Charge) error {
			sum = sum.Plus(c.Costs[focus.Effective])
			return nil
		})
		require.NoError(t, err)
		return sum, rep
	}
	r.stop(t) // writes once more
	sum, rep := read("pitwall-cost-2026-05.csv")
	assert.Empty(t, rep.Findings)
	assert.Zero(t, sum.Cmp(total), "%s, not %s", sum, total)
	sum, _ = read("pitwall-cost-2026-04.csv")
	assert.Equal(t, "7", sum.String())

	r = newRigOn(t, host, change)
	r.engine.now = func() time.Time { return noon.Add(2 * time.Hour) }
	r.stop(t)
	sum, _ = read("pitwall-cost-2026-05.csv")
	assert.Zero(t, sum.Cmp(total), "the day before the restart is still in it: %s, not %s", sum, total)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "no half-written file is left")
}

// sumOf is everything that was allocated so far.
func sumOf(t *testing.T, r *rig) (total money.Amount) {
	t.Helper()
	for _, totals := range r.engine.resources.allocated().totals {
		for _, a := range totals {
			total = total.Plus(a)
		}
	}
	require.Positive(t, total.Sign())
	return total
}

func TestAFocusFileThatCannotBeWrittenIsCounted(t *testing.T) {
	host, id := stored(t)
	r := newRigOn(t, host, func(c *Config) {
		c.Resources.Enabled, c.FocusOut.Directory, c.Storage = true, filepath.Join(t.TempDir(), "absent"), &id
	})
	r.engine.daily.commit([]dayCost{{dailyKey{account{service: "a"}, FromAllocated, "USD"}, noon, money.MustParse("1")}})
	r.engine.exportFocus(t.Context(), noon, false)
	assert.EqualValues(t, 1, r.counter(t, "cost_focus_files", "outcome", "failure"))
	r.engine.exportFocus(t.Context(), noon.Add(time.Minute), false)
	assert.EqualValues(t, 1, r.counter(t, "cost_focus_files", "outcome", "failure"), "once an interval")
	r.stop(t)
}
