// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// scale is PITWALL_SCALE, 0.01 when unset.
func scale() float64 {
	if v, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64); err == nil && v > 0 {
		return v
	}
	return 0.01
}

// poisson makes requests at a rate, of which a share is bad.
func poisson(r *rand.Rand, from time.Time, length time.Duration, perHour, bad float64) []event {
	out := make([]event, 0, int(perHour*length.Hours()*1.1)+10)
	for at := from; ; {
		at = at.Add(time.Duration(r.ExpFloat64() / perHour * float64(time.Hour)))
		if at.Sub(from) >= length {
			return out
		}
		out = append(out, event{at: at, bad: r.Float64() < bad})
	}
}

// plainPage is when the workbook's page rules fire on events without any test of significance, judged at every event. It is the fastest
// that any evaluation of these rules can be.
func plainPage(events []event, from time.Time, target float64) (time.Time, bool) {
	bad := make([]int, len(events)+1)
	for i, e := range events {
		bad[i+1] = bad[i]
		if e.bad {
			bad[i+1]++
		}
	}
	rules := Workbook().Rules[:2]
	burns := func(i int, window Duration) float64 {
		since := events[i].at.Add(-time.Duration(window))
		first := sort.Search(i, func(k int) bool { return events[k].at.After(since) })
		return float64(bad[i+1]-bad[first]) / float64(i+1-first) / (1 - target)
	}
	for i, e := range events {
		if e.at.Before(from) || !e.bad {
			continue
		}
		for _, r := range rules {
			threshold := r.Threshold(30*Day, target)
			if burns(i, r.Long) >= threshold && burns(i, r.Short) >= threshold {
				return e.at, true
			}
		}
	}
	return time.Time{}, false
}

// pagesOf returns the transitions at which somebody is woken: the first page of an episode. A second rule that fires while a page is open
// wakes nobody again.
func pagesOf(ts []Transition) []Transition {
	open := map[string]bool{}
	var out []Transition
	for _, tr := range ts {
		if tr.Rule.Severity != SeverityPage {
			continue
		}
		if tr.Firing && len(open) == 0 {
			out = append(out, tr)
		}
		if open[tr.Rule.Name] = tr.Firing; !tr.Firing {
			delete(open, tr.Rule.Name)
		}
	}
	return out
}

// median of delays; those that never came are longer than any.
func median(delays []float64) float64 {
	slices.Sort(delays)
	return delays[len(delays)/2]
}

func minutes(m float64) string {
	if math.IsInf(m, 1) {
		return "none in 12 h"
	}
	return fmt.Sprintf("%.1f", m)
}

// delays is the medians of the time until a page, ours and the plain rule's, of incidents that begin after a healthy day.
func delays(t *testing.T, seed uint64, runs int, perHour, target, bad float64) (ours, plain float64) {
	const length = 12 * time.Hour
	var us, them []float64
	for run := range runs {
		r := rand.New(rand.NewPCG(seed, uint64(run)))
		o := testObjective("o")
		o.Target = target
		e := testEngine(t, Workbook(), o)
		events := poisson(r, epoch, Day, perHour, (1-target)/2)
		feed(e, 1000, events...)
		e.TakeTransitions()
		from := epoch.Add(Day)
		incident := poisson(r, from, length, perHour, bad)
		delay, plainDelay := math.Inf(1), math.Inf(1)
		for chunk := range slices.Chunk(incident, 1) {
			feed(e, 1, chunk...)
			if ts := pagesOf(e.TakeTransitions()); len(ts) > 0 {
				delay = ts[0].At.Sub(from).Minutes()
				break
			}
		}
		if at, ok := plainPage(append(events, incident...), from, target); ok {
			plainDelay = at.Sub(from).Minutes()
		}
		us, them = append(us, delay), append(them, plainDelay)
	}
	return median(us), median(them)
}

// TestAQuietServiceAtHalfItsBudgetIsLeftAlone is the frontier between false pages and delay: pages by chance in 30 days of a service that
// spends half its budget, and the time until a total outage, and a failure of 5 %, page.
func TestAQuietServiceAtHalfItsBudgetIsLeftAlone(t *testing.T) {
	table := "quiet services: pages by chance, and the delay of those that are not"
	record := func(row, reached, wanted string) {
		figures.Record(t, figures.Figure{
			Table: table, Row: row, Reached: reached, Wanted: wanted, Command: "PITWALL_SCALE=1 go test -v -timeout 30m -run QuietServiceAtHalf ./internal/slo",
		})
	}
	var pages, months float64
	for _, target := range []float64{0.99, 0.999, 0.9999} {
		for _, perHour := range []float64{6, 60, 600, 6000} {
			// As many months as fit into a number of events, 300 at most: chance is coarse where there is little traffic.
			n := int(max(1, math.Ceil(min(300, 2e7/(perHour*720))*scale())))
			wrong := 0
			for month := range n {
				r := rand.New(rand.NewPCG(uint64(month), uint64(perHour)))
				o := testObjective("o")
				o.Target = target
				e := testEngine(t, Workbook(), o)
				for day := range 30 {
					feed(e, 200, poisson(r, epoch.Add(time.Duration(day)*Day), Day, perHour, (1-target)/2)...)
				}
				wrong += len(pagesOf(e.TakeTransitions()))
			}
			pages, months = pages+float64(wrong), months+float64(n)
			runs := int(max(5, 300*scale()))
			if perHour == 6000 {
				runs = max(5, runs/4)
			}
			ours, plain := delays(t, 1, runs, perHour, target, 1)
			record(fmt.Sprintf("%v %%, %v requests an hour: false pages in 30 days", 100*target, perHour), fmt.Sprintf("%d in %d months", wrong, n), "0.05 a month")
			record(fmt.Sprintf("%v %%, %v requests an hour: minutes until a total outage pages, beside the plain rule", 100*target, perHour),
				fmt.Sprintf("%s, plain %s", minutes(ours), minutes(plain)), fmt.Sprintf("%.1f", 1.5*plain+5))
			if perHour > 6 && scale() >= 1 {
				// At 6 an hour the second failure in a row comes too late by itself, and the first cannot be told from chance.
				assert.LessOrEqual(t, ours, 1.5*plain+5)
			}
			if target == 0.999 && perHour <= 600 {
				ours, plain = delays(t, 2, runs, perHour, target, 0.05)
				wanted := ""
				if perHour == 60 {
					wanted = "60"
				}
				record(fmt.Sprintf("%v %%, %v requests an hour: minutes until 5 %% errors page, beside the plain rule", 100*target, perHour),
					fmt.Sprintf("%s, plain %s", minutes(ours), minutes(plain)), wanted)
				if perHour == 60 && scale() >= 1 {
					assert.LessOrEqual(t, ours, 60.0)
				}
			}
		}
	}
	record("all of them: false pages in 30 days", fmt.Sprintf("%.4f (%.0f in %.0f months)", pages/months, pages, months), "0.05")
	// A small run may see one by chance: 4.5 standard deviations of what is allowed.
	require.LessOrEqual(t, pages, 0.05*months+4.5*math.Sqrt(0.05*months)+1)
}

// The bound holds by addition, so it must hold exactly: the chance that an error of a healthy service is convincing, over all tests at once.
func TestAnErrorIsConvincingByChanceNoOftenerThanItsShare(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, c := range []struct{ p, level float64 }{{0.005, 0.0023}, {0.0005, 0.0023}, {0.0005, 0.023}, {0.05, 0.01}} {
		test := newChance(c.p, c.level)
		hits := 0
		const errors = 400_000
		var gaps [64]int
		for i := range errors {
			gaps[i%len(gaps)] = 1 + int(math.Log(1-r.Float64())/math.Log1p(-c.p))
			n := 1
			for b := uint32(2); b < 40 && int(b) <= i+1; b++ {
				n += gaps[(i-int(b)+2)%len(gaps)]
				if test.excludes(b, float64(n)) {
					hits++
					break
				}
			}
		}
		t.Logf("p %v: %.5f of errors are convincing, %v allowed", c.p, float64(hits)/errors, c.level)
		assert.LessOrEqual(t, float64(hits), c.level*errors+4.5*math.Sqrt(c.level*errors))
		assert.NotZero(t, hits, "a test that is never convinced is none")
	}
}
