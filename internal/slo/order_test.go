// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// parcel is an event of one objective on its way: when it happened, and when it arrives.
type parcel struct {
	event
	objective int
	service   string
	arrives   time.Time
}

// shuffled commits events in order of arrival, in batches of random sizes, and returns the book. None is further behind the newest than is allowed.
func shuffled(t *testing.T, r *rand.Rand, parcels []parcel, end time.Time, objectives []Objective) []Part {
	settings := DefaultSettings()
	settings.Maintenance = []Maintenance{{Name: "m", Services: []string{"cart"}, Start: "2026-03-01 12:20", Length: Duration(7 * time.Minute)}}
	e, err := New(settings, objectives)
	require.NoError(t, err)
	require.NoError(t, e.Claim("test", true))
	slices.SortStableFunc(parcels, func(a, b parcel) int { return a.arrives.Compare(b.arrives) })
	tally := e.NewTally()
	for rest := parcels; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(200))
		tally.Reset()
		for _, p := range rest[:n] {
			at := p.at.UnixNano()
			oldest, _ := e.Bounds(1, p.arrives)
			require.GreaterOrEqual(t, at, oldest)
			tally.Service(p.service)
			entry := tally.Entry(p.objective, p.values)
			span := tally.Slice(at)
			entry.Add(span, at, p.bad, p.weight)
			entry.AddSampled(span, p.bad, p.weight)
			if p.bad {
				entry.AddExemplar(at, TraceID{p.trace, byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24), byte(at >> 32), 1})
			}
			entry.AddContribution(tally.Intern(0, fmt.Sprint("/", p.trace%8)), p.weight, 0)
			tally.Observe(1, at)
		}
		e.Commit(tally, rest[n-1].arrives)
		rest = rest[n:]
	}
	e.Commit(e.NewTally(), end) // the book holds the clock of the last commit
	// Alerts and their contributors, which are kept by the batch, follow the events as they come; the book is what is counted.
	for _, o := range e.objectives {
		for _, g := range o.groups {
			clear(g.alerts)
			g.contributors = contributors{}
		}
	}
	return slices.DeleteFunc(e.Snapshot(), func(p Part) bool { return p.Key == alertsKey })
}

// TestAnyOrderWithinLatenessGivesTheIdenticalBook delays every event of an hour by up to what is allowed, again and again: weighted events of
// every kind of budget, of two services, with maintenance in between. All that is stored of the book is the same to the byte.
func TestAnyOrderWithinLatenessGivesTheIdenticalBook(t *testing.T) {
	shuffles, command := scaled(t, 1000, 20)
	r := rand.New(rand.NewPCG(1, 2))
	objectives := append(family(), testObjective("grouped", "route"), testObjective("of cart"))
	objectives[6].Service = "cart"
	var parcels []parcel
	for range 3000 {
		p := parcel{event: event{
			at: epoch.Add(time.Duration(r.Int64N(int64(time.Hour)))), bad: r.IntN(10) == 0, weight: Weight(r.Int64N(int64(100*One))) + 1, trace: byte(r.IntN(256)),
		}, objective: r.IntN(7), service: "checkout"}
		switch p.objective {
		case 4: // counts nothing itself
			p.objective = 0
		case 5:
			p.values = []string{fmt.Sprint("g", r.IntN(4))}
		case 6:
			p.service = "cart"
		}
		parcels = append(parcels, p)
	}
	lateness := DefaultSettings().MaxLateness
	end := epoch.Add(2 * time.Hour)
	for i := range parcels {
		parcels[i].arrives = parcels[i].at
	}
	want := shuffled(t, r, parcels, end, objectives)
	same := 0
	for shuffle := range shuffles {
		for i := range parcels {
			parcels[i].arrives = parcels[i].at.Add(time.Duration(r.Int64N(int64(lateness) + 1)))
		}
		r.Shuffle(len(parcels), func(i, j int) { parcels[i], parcels[j] = parcels[j], parcels[i] })
		got := shuffled(t, r, parcels, end, objectives)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i].Key, got[i].Key)
			require.True(t, bytes.Equal(want[i].Value, got[i].Value), "shuffle %d, part %s", shuffle, want[i].Key)
		}
		same++
	}
	figures.Record(t, figures.Figure{
		Table: "SLOs: order", Row: fmt.Sprintf("%d shuffles of an hour within the lateness bound", shuffles),
		Reached: fmt.Sprintf("%d books identical to the byte", same), Wanted: "all",
		Command: command + " -v -run AnyOrder ./internal/slo",
	})
}
