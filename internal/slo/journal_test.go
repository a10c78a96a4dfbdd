// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keep writes the journal, as the extension does after every commit.
func (s shelf) keep(e *Engine) {
	if part, full := e.TakeJournal(); part.Key != "" {
		s.put([]Part{part})
		if full {
			s.put(e.Snapshot())
		}
	}
}

func restart(t *testing.T, store shelf, objectives ...Objective) *Engine {
	t.Helper()
	e := testEngine(t, Demo(), objectives...)
	damaged, err := e.Restore(store.get)
	require.NoError(t, err)
	require.Empty(t, damaged)
	e.Journal()
	require.NoError(t, e.Claim("test", true))
	return e
}

// A run that is killed after any step equals one that is not: the same book, the same alerts, the same slo.events, each handed out once.
func TestAnyNumberOfCrashesChangesNothing(t *testing.T) {
	inDoubt := uint64(0)
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 11))
		objective := testObjective("o", "route")
		events := append(steady(epoch, time.Minute, time.Second, 0, 1), steady(epoch.Add(time.Minute), time.Minute, time.Second, 1, 2)...)
		events = append(events, steady(epoch.Add(2*time.Minute), 5*time.Minute, time.Second, 0, 1)...)
		for i := range events {
			events[i].values = []string{fmt.Sprintf("/%d", i%2)}
		}
		store := shelf{}
		whole, killed := restart(t, shelf{}, objective), restart(t, store, objective)
		var wantEvents, gotEvents []SliceEvents
		var want, got []transitionID
		deliver := func(e *Engine, events []SliceEvents, ids []transitionID) ([]SliceEvents, []transitionID) {
			es, ts := e.TakeEvents(), e.TakeTransitions()
			e.Delivered(es)
			e.DeliveredTransitions(ts)
			for i := range ts {
				ids = append(ids, ts[i].id())
			}
			return append(events, es...), ids
		}
		for chunk := range slices.Chunk(events, 7) {
			feed(whole, 7, chunk...)
			feed(killed, 7, chunk...)
			store.keep(killed)
			switch r.IntN(8) {
			case 0:
				killed = restart(t, store, objective)
			case 1:
				store.put(killed.Snapshot())
			case 2:
				gotEvents, got = deliver(killed, gotEvents, got)
				store.keep(killed)
			case 3:
				// Refused downstream, and killed while it was away.
				killed.TakeEvents()
				killed.TakeTransitions()
				if r.IntN(2) == 0 {
					store.put(killed.Snapshot())
				}
				killed = restart(t, store, objective)
			case 4:
				// A snapshot that could not be written, and a crash after the next commit.
				killed.Snapshot()
				killed.SnapshotFailed()
				store.keep(killed)
				killed = restart(t, store, objective)
			case 5:
				wantEvents, want = deliver(whole, wantEvents, want)
			case 6:
				// Killed when it had been delivered, and nobody had noted that: it is delivered again, and counted.
				doubled := killed.TakeEvents()
				store.keep(killed)
				if r.IntN(2) == 0 {
					store.put(killed.Snapshot())
				}
				killed = restart(t, store, objective)
				n := uint64(0)
				for i := range doubled {
					n += uint64(doubled[i].counts.GoodN) + uint64(doubled[i].counts.BadN)
				}
				require.Equal(t, n, killed.Stats().EventsInDoubt, "seed %d", seed)
				inDoubt += n
			case 7:
				// Refused, which was noted, and killed: nothing is in doubt.
				killed.ReturnEvents(killed.TakeEvents())
				store.keep(killed)
				killed = restart(t, store, objective)
				require.Zero(t, killed.Stats().EventsInDoubt)
			}
		}
		end := epoch.Add(time.Hour)
		for _, e := range []*Engine{whole, killed} {
			e.Advance(end)
		}
		store.keep(killed)
		killed = restart(t, store, objective)
		killed.Advance(end)
		wantEvents, want = deliver(whole, wantEvents, want)
		gotEvents, got = deliver(killed, gotEvents, got)
		assert.Equal(t, whole.Statuses(), killed.Statuses(), "seed %d", seed)
		assert.ElementsMatch(t, want, got, "seed %d", seed)
		assert.NotEmpty(t, want)
		assert.Equal(t, totals(wantEvents), totals(gotEvents), "seed %d", seed)
	}
	assert.NotZero(t, inDoubt)
}

// totals sums events by group and slice: how deliveries cut them up is chance.
func totals(events []SliceEvents) map[string]Counts {
	out := map[string]Counts{}
	for _, e := range events {
		key := fmt.Sprint(e.key, e.Start)
		c := out[key]
		c.add(e.counts.Counts)
		out[key] = c
	}
	return out
}

func TestEverySingleFlippedByteOfAJournalIsDetectedAndSurvived(t *testing.T) {
	store := shelf{}
	e := restart(t, store)
	feed(e, 1, event{at: epoch, trace: 1})
	store.put(e.Snapshot())
	for i := range 5 {
		feed(e, 1, event{at: epoch.Add(time.Duration(i) * time.Second), bad: i == 3, trace: byte(i)})
		store.keep(e)
	}
	flipped := 0
	for key, part := range store {
		if key[0] != 'j' {
			continue
		}
		for at := range part {
			broken := shelf{}
			maps.Copy(broken, store)
			broken[key] = slices.Clone(part)
			broken[key][at] ^= 0x40
			after := testEngine(t, Demo())
			damaged, err := after.Restore(broken.get)
			require.NoError(t, err)
			require.Len(t, damaged, 1, "part %s byte %d", key, at)
			s := after.Statuses()[0]
			lost := 6 - s.Good - s.Bad
			if key[1] == '/' {
				assert.InDelta(t, 1, lost, 0, "only the damaged record is lost")
			} else {
				assert.InDelta(t, 0, lost, 0, "the number is there twice")
			}
			flipped++
		}
	}
	assert.Greater(t, flipped, 200)
}

func TestAJournalGrownTooLongAsksForASnapshot(t *testing.T) {
	store := shelf{}
	objective := testObjective("o", "route")
	e := restart(t, store, objective)
	full := false
	for i := 0; !full; i++ {
		require.Less(t, i, 100_000)
		feed(e, 1, event{at: epoch, values: []string{fmt.Sprintf("/%0250d", i%50)}})
		var part Part
		part, full = e.TakeJournal()
		store.put([]Part{part})
	}
	store.put(e.Snapshot())
	for key := range store {
		assert.NotContains(t, key, "j/", "a snapshot replaces the journal")
	}

	// Nobody can write: what waits is bounded, and a snapshot makes up for it.
	for i := range 20_000 {
		feed(e, 1, event{at: epoch, values: []string{fmt.Sprintf("/%0250d", i%50)}})
	}
	part, full := e.TakeJournal()
	assert.Empty(t, part.Key)
	assert.True(t, full)
	store.put(e.Snapshot())
	assert.Equal(t, e.Statuses(), restart(t, store, objective).Statuses())
}

func TestAJournalPartThatFailedIsWrittenWithTheNext(t *testing.T) {
	store := shelf{}
	e := restart(t, store)
	feed(e, 1, event{at: epoch})
	part, _ := e.TakeJournal()
	e.JournalFailed(part)
	feed(e, 1, event{at: epoch})
	store.keep(e)
	assert.InDelta(t, 2, restart(t, store).Statuses()[0].Good, 0)
}

func TestAlertsAfterACrashNameTheirContributors(t *testing.T) {
	store := shelf{}
	e := restart(t, store)
	tally := e.NewTally()
	for i := range 90 {
		tally.Reset()
		at := epoch.Add(time.Duration(i) * time.Second).UnixNano()
		entry := tally.Entry(0, nil)
		entry.Add(tally.Slice(at), at, i > 50, One)
		tally.Intern(1, "never used")
		entry.AddContribution(tally.Intern(0, "/pay"), 0, One)
		tally.Observe(1, at)
		e.Commit(tally, unix(at))
		store.keep(e)
		e = restart(t, store)
		tally = e.NewTally()
	}
	ts := e.TakeTransitions()
	require.NotEmpty(t, ts)
	require.Len(t, ts[0].Contributors, 1)
	assert.Equal(t, "/pay", ts[0].Contributors[0].Value)
}

func TestAJournalThatChecksButMakesNoSenseIsDamage(t *testing.T) {
	store := shelf{}
	e := restart(t, store)
	feed(e, 1, event{at: epoch, bad: true, trace: 1})
	e.Delivered(e.TakeEvents())
	e.DeliveredTransitions(e.TakeTransitions())
	store.keep(e)
	part := store["j/0"]
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		body := slices.Clone(part[len(partMagic)+1 : len(part)-4])
		for range 1 + r.IntN(4) {
			body[r.IntN(len(body))] = byte(r.Uint32())
		}
		after := testEngine(t, Demo())
		_, err := after.Restore(shelf{"j/0": seal(body[:r.IntN(len(body)+1)])}.get)
		require.NoError(t, err)
		after.Statuses()
	}
}

// thousand is the book of 1,000 objectives after 30 days, one event a slice of ten minutes for each and one a slice in the last hour.
func thousand(t testing.TB) ([]Objective, shelf) {
	t.Helper()
	objectives := make([]Objective, 1000)
	for i := range objectives {
		objectives[i] = testObjective(fmt.Sprintf("o%d", i))
	}
	e := testEngine(t, Workbook(), objectives...)
	tally := e.NewTally()
	add := func(at time.Time) {
		tally.Reset()
		for i := range objectives {
			n := Weight(100 + i%7)
			tally.Entry(i, nil).AddCounts(tally.Slice(at.UnixNano()), at.UnixNano(), Counts{Good: n * One, GoodN: uint32(n)})
		}
		tally.Observe(1, at.UnixNano())
		e.Commit(tally, at)
	}
	end := epoch.Add(30 * Day)
	for at := epoch; at.Before(end.Add(-time.Hour)); at = at.Add(10 * time.Minute) {
		add(at)
	}
	for at := end.Add(-time.Hour); at.Before(end); at = at.Add(e.SliceWidth()) {
		add(at)
	}
	store := shelf{}
	store.put(e.Snapshot())
	return objectives, store
}

func (s shelf) size() (n int) {
	for key, part := range s {
		n += len(key) + len(part)
	}
	return n
}

func TestAThousandObjectivesOfThirtyDaysFitIntoEightMebibytes(t *testing.T) {
	if os.Getenv("PITWALL_SCALE") == "" {
		t.Skip("SKIPPED: set PITWALL_SCALE to build the book of 1,000 objectives")
	}
	_, store := thousand(t)
	t.Logf("1,000 objectives of 30 days: %.1f MiB stored", float64(store.size())/(1<<20))
	assert.LessOrEqual(t, store.size(), 8<<20)
}

// BenchmarkRestore is how long a start takes for 1,000 objectives of 30 days, and what they hold in memory and on disk.
func BenchmarkRestore(b *testing.B) {
	objectives, store := thousand(b)
	b.ReportAllocs()
	b.ReportMetric(float64(store.size())/(1<<20), "MiB-stored")
	for b.Loop() {
		e := testEngine(b, Workbook(), objectives...)
		_, err := e.Restore(store.get)
		require.NoError(b, err)
	}
}
