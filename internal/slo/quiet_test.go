// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// poisson makes requests at a rate, of which a share is bad.
func poisson(r *rand.Rand, from time.Time, length time.Duration, perHour, bad float64) []event {
	var out []event
	for at := from; ; {
		at = at.Add(time.Duration(r.ExpFloat64() / perHour * float64(time.Hour)))
		if at.Sub(from) >= length {
			return out
		}
		out = append(out, event{at: at, bad: r.Float64() < bad})
	}
}

// TestAQuietServiceAtHalfItsBudgetIsLeftAlone counts false pages over simulated months, and the minutes until a total outage after them
// pages. The plain rule of the workbook has 18 to 20 false pages in 30 days at 60 requests an hour.
func TestAQuietServiceAtHalfItsBudgetIsLeftAlone(t *testing.T) {
	for _, perHour := range []float64{6, 60, 300} {
		const months = 3
		pages := 0
		var minutes []float64
		for seed := range uint64(months) {
			r := rand.New(rand.NewPCG(seed, 42))
			objective := testObjective("o")
			objective.Target = 0.999
			e := testEngine(t, Workbook(), objective)
			feed(e, 1, poisson(r, epoch, 30*Day, perHour, 0.0005)...)
			for _, tr := range e.TakeTransitions() {
				if tr.Firing && tr.Rule.Severity == SeverityPage {
					pages++
				}
			}
			outage := epoch.Add(30 * Day)
			feed(e, 1, poisson(r, outage, 6*time.Hour, perHour, 1)...)
			ts := slices.DeleteFunc(e.TakeTransitions(), func(tr Transition) bool { return !tr.Firing || tr.Rule.Severity != SeverityPage })
			require.NotEmpty(t, ts, "an outage at %v requests an hour pages", perHour)
			minutes = append(minutes, ts[0].At.Sub(outage).Minutes())
		}
		slices.Sort(minutes)
		t.Logf("%4.0f requests an hour: %d false pages in %d months, a total outage pages after a median of %.1f minutes", perHour, pages, months, minutes[months/2])
		assert.Zero(t, pages)
		assert.Less(t, minutes[months/2], 60.0)
	}
}
