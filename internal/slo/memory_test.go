// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// heavy is a book whose groups are as full as they get: 31 days of a busy service, bad events in every slice, every contributor and exemplar.
func heavy(t testing.TB, o Objective, groups int, sampled bool) *Engine {
	e := testEngine(t, Workbook(), o)
	tally := e.NewTally()
	start := epoch.Truncate(Day)
	step := 10 * time.Second
	for at := time.Duration(0); at < 31*Day; at += step {
		if at < 31*Day-12*time.Hour && at%time.Minute != 0 {
			continue
		}
		tally.Reset()
		now := start.Add(at).UnixNano()
		for g := range groups {
			entry := tally.Entry(0, []string{fmt.Sprint("r", g)})
			entry.AddCounts(tally.Slice(now), now, Counts{Good: 1_000_000 * One, Bad: 9999 * One, GoodN: 1_000_000, BadN: 9999})
			if sampled {
				entry.AddSampled(tally.Slice(now), true, 7*One)
				entry.AddSampled(tally.Slice(now), false, 3*One)
			}
			if o.Indicator.Kind == IndicatorLatency {
				for ns := 1; at > 31*Day-3*time.Hour && ns < 1<<40; ns *= 2 {
					entry.AddDuration(tally.Slice(now), BucketOf(int64(ns)), One)
				}
			}
			for a := range uint8(4) {
				entry.AddContribution(tally.Intern(a, fmt.Sprint(g, now%100)), 0, One)
			}
			entry.AddExemplar(now, TraceID{byte(now >> 40), byte(now >> 30), 1})
		}
		tally.Observe(1, now)
		e.Commit(tally, unix(now))
	}
	return e
}

func TestAGroupStaysWithinItsMemory(t *testing.T) {
	const groups = 4
	minutes := func(method Method) Objective {
		o := testObjective("o", "route")
		o.Method, o.TimeSliceWindow = method, Duration(time.Minute)
		if method == MethodTimeslices {
			o.TimeSliceTarget = 0.99
		}
		return o
	}
	month := minutes(MethodTimeslices)
	month.Calendar = &Calendar{Start: "2026-01-01", Zone: "Europe/Berlin", Every: 1, Unit: UnitMonth}
	events := testObjective("o", "route")
	events.Calendar = month.Calendar
	latency := testObjective("o", "route")
	latency.Indicator = Indicator{Kind: IndicatorLatency, Latency: time.Second}
	for _, c := range []struct {
		what      string
		objective Objective
		kib       int64
	}{
		{"events, rolling 30 days", testObjective("o", "route"), 64},
		{"events head-sampled, rolling 30 days", testObjective("o", "route"), 64},
		{"latency, rolling 30 days", latency, 64},
		{"latency head-sampled, rolling 30 days", latency, 64},
		{"events, a calendar month", events, 64},
		{"timeslices of a minute, rolling 30 days", minutes(MethodTimeslices), 64},
		{"timeslices of a minute, a calendar month", month, 64},
		{"ratio_timeslices of a minute, rolling 30 days", minutes(MethodRatioTimeslices), 256},
	} {
		empty := testEngine(t, Workbook(), c.objective)
		before := heap()
		e := heavy(t, c.objective, groups, strings.Contains(c.what, "sampled"))
		each := (heap() - before) / groups
		runtime.KeepAlive(empty)
		runtime.KeepAlive(e)
		assert.LessOrEqual(t, each, c.kib<<10, c.what)
		figures.Record(t, figures.Figure{
			Table: "SLOs: memory of an objective and group", Row: c.what, Reached: fmt.Sprintf("%.1f KiB", float64(each)/1024),
			Wanted: fmt.Sprintf("%d KiB or less", c.kib), Command: "go test -v -run GroupStaysWithinItsMemory ./internal/slo",
		})
	}
}
