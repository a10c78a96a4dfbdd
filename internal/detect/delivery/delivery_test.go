// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }

func change(id, action, version string, minutes int) detect.Change {
	return detect.Change{ID: id, Kind: detect.Deployment, Time: at(minutes), Action: action, State: "succeeded", Service: "checkout", Version: version}
}

func page(episode string, firing bool, minutes int) Page {
	return Page{Service: "checkout", Episode: episode, Firing: firing, Time: at(minutes)}
}

// play hands over changes and pages in order, ends the watch and returns what became known.
func play(steps ...any) Events {
	d := New(Default(10))
	for _, step := range steps {
		switch s := step.(type) {
		case detect.Change:
			d.ObserveChange(s)
		case Page:
			d.ObservePage(s)
		}
	}
	d.Advance(at(3 * 24 * 60))
	return d.TakeEvents()
}

func TestWhatCountsAsAFailureAndForHowLong(t *testing.T) {
	failed := change("a", "deploy", "2", 0)
	failed.State = "failed"
	started := change("a", "deploy", "2", 0)
	started.State = "started"
	brokenRollback := change("b", "rollback", "1", 30)
	brokenRollback.State = "failed"
	for name, c := range map[string]struct {
		steps []any
		want  Events
	}{
		"nothing happens":         {[]any{change("a", "deploy", "2", 0)}, Events{Succeeded: 1}},
		"it never came up":        {[]any{failed}, Events{Failed: 1}},
		"it only began":           {[]any{started}, Events{}},
		"told by two tools":       {[]any{change("a", "deploy", "2", 0), change("b", "upgrade", "2", 1)}, Events{Succeeded: 1}},
		"a page within the hour":  {[]any{change("a", "deploy", "2", 0), page("x", true, 10), page("x", false, 40)}, Events{Failed: 1, SecondsToDetect: []float64{600}, SecondsToMitigate: []float64{1800}}},
		"a page after the hour":   {[]any{change("a", "deploy", "2", 0), page("x", true, 61), page("x", false, 70)}, Events{Succeeded: 1}},
		"a page before":           {[]any{page("x", true, -10), change("a", "deploy", "2", 0), page("x", false, 40)}, Events{Succeeded: 1}},
		"two pages, one episode":  {[]any{change("a", "deploy", "2", 0), page("x", true, 10), page("x", true, 12), page("x", false, 20)}, Events{Failed: 1, SecondsToDetect: []float64{600}, SecondsToMitigate: []float64{600}}},
		"two episodes overlap":    {[]any{change("a", "deploy", "2", 0), page("x", true, 10), page("y", true, 15), page("x", false, 20), page("y", false, 30)}, Events{Failed: 1, SecondsToDetect: []float64{600}, SecondsToMitigate: []float64{1200}}},
		"the last one is blamed":  {[]any{change("a", "deploy", "2", 0), change("b", "deploy", "3", 20), page("x", true, 30), page("x", false, 31)}, Events{Failed: 1, Succeeded: 1, SecondsToDetect: []float64{600}, SecondsToMitigate: []float64{60}}},
		"rolled back":             {[]any{change("a", "deploy", "2", 0), page("x", true, 10), change("b", "rollback", "1", 15), page("x", false, 25)}, Events{Failed: 1, Reverted: 1, SecondsToDetect: []float64{600}, SecondsToMitigate: []float64{300}}},
		"rolled back unnoticed":   {[]any{change("a", "deploy", "2", 0), change("b", "rollback", "1", 15)}, Events{Failed: 1, Reverted: 1}},
		"a way back by no name":   {[]any{change("a", "deploy", "1", -3000), change("b", "deploy", "2", 0), change("c", "deploy", "1", 15)}, Events{Succeeded: 1, Failed: 1, Reverted: 1}},
		"the same again, mended":  {[]any{change("a", "deploy", "1", -3000), change("b", "deploy", "2", 0), change("c", "rollback", "1", 15), change("d", "deploy", "2", 60)}, Events{Succeeded: 2, Failed: 1, Reverted: 1}},
		"a rollback too late":     {[]any{change("a", "deploy", "2", 0), change("b", "rollback", "1", 25*60)}, Events{Succeeded: 1}},
		"a rollback that fails":   {[]any{change("a", "deploy", "2", 0), page("x", true, 10), brokenRollback}, Events{Failed: 1, SecondsToDetect: []float64{600}}},
		"nobody's deployment":     {[]any{detect.Change{Kind: detect.Deployment, Time: t0, State: "succeeded"}}, Events{}},
		"a flag is no deployment": {[]any{detect.Change{Kind: detect.FeatureFlag, Time: t0, Service: "checkout"}}, Events{}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, play(c.steps...)) })
	}
}

func TestRatesAreThoseOfTheLastThirtyDays(t *testing.T) {
	d := New(Default(10))
	assert.Equal(t, Rates{}, d.Rates())
	for n := range 100 {
		when := n * 24 * 60
		d.ObserveChange(change(strconv.Itoa(n), "deploy", strconv.Itoa(n), when))
		if n%5 == 0 {
			d.ObservePage(page("x", true, when+5))
			d.ObservePage(page("x", false, when+50))
		}
		if n%10 == 0 {
			d.ObserveChange(change(fmt.Sprint("r", n), "rollback", strconv.Itoa(n-1), when+20))
		}
		d.Advance(at(when + 60))
	}
	r := d.Rates()
	assert.InDelta(t, 30, r.Judged, 1)
	assert.InDelta(t, 0.2, r.Failed, 0.02)
	assert.InDelta(t, 0.1, r.Reverted, 0.02)
	d.Advance(at(200 * 24 * 60))
	assert.Zero(t, d.Rates().Judged)
	assert.Zero(t, d.Services(), "what is not heard of any more is forgotten")
}

func TestStateIsBoundedAndLivesThroughARestart(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	d := New(Default(20))
	step := func(d *Detector, random *rand.Rand, n int) {
		name := fmt.Sprint("service-", random.IntN(40))
		c := change(strconv.Itoa(n), []string{"deploy", "rollback", "upgrade", "remove", ""}[random.IntN(5)], strconv.Itoa(random.IntN(3)), n)
		c.Service = name
		d.ObserveChange(c)
		d.ObservePage(Page{Service: name, Episode: strconv.Itoa(random.IntN(200)), Firing: random.IntN(2) == 0, Time: at(n)})
		if n%7 == 0 {
			d.Advance(at(n))
		}
	}
	for n := range 20_000 {
		step(d, random, n)
		require.LessOrEqual(t, d.Services(), 20)
		for _, s := range d.services {
			require.LessOrEqual(t, len(s.Deployments), maxWatched)
			require.LessOrEqual(t, len(s.Open), maxEpisodes)
		}
	}
	assert.Positive(t, d.TakeEvents().LeftOut)

	data, err := d.Snapshot()
	require.NoError(t, err)
	again := New(Default(20))
	require.NoError(t, again.Restore(data))
	again.now = d.now
	for n := range 1000 {
		step(d, rand.New(rand.NewPCG(uint64(n), 3)), 20_000+n)
		step(again, rand.New(rand.NewPCG(uint64(n), 3)), 20_000+n)
	}
	assert.Equal(t, d.TakeEvents(), again.TakeEvents())
	assert.Equal(t, d.Rates(), again.Rates())
	for i := range data {
		broken := append([]byte(nil), data...)
		broken[i] ^= 1
		require.Error(t, again.Restore(broken))
		if i > 500 {
			break
		}
	}
}

func TestTimesOutOfOrderDoNoHarm(t *testing.T) {
	events := play(
		change("a", "deploy", "2", 100), page("x", false, 5), page("x", true, -1_000_000), page("x", false, 1_000_000),
		detect.Change{ID: "z", Kind: detect.Deployment, Service: "checkout", State: "succeeded", Version: "9"},
		change("b", "rollback", "1", -500),
	)
	assert.Empty(t, events.SecondsToDetect)
	for _, s := range events.SecondsToMitigate {
		assert.GreaterOrEqual(t, s, 0.0)
	}
}
