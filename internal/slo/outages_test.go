// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

var update = flag.Bool("update", false, "write the golden file of outages anew; read every change of it")

// traffic is what one source sends, minute by minute.
type traffic struct {
	from, to int // minutes
	service  string
	rate     int           // events a minute; or
	every    int           // one event every so many minutes
	bad      int           // percent
	late     int           // minutes until it arrives
	skew     time.Duration // of its clock
	instance string
	other    bool // telemetry that is no event of the objective
	version  string
}

// down is time in which the collector is not running. What is sent is lost, or with retry arrives when it is back.
type down struct {
	from, to int
	retry    bool
}

type outage struct {
	name        string
	minutes     int
	traffic     []traffic
	down        []down
	jumps       map[int]time.Duration // of the collector's own clock
	maintenance []Maintenance
	objective   func(*Objective)
	settings    func(*Settings)
}

func fine(from, to int) traffic { return traffic{from: from, to: to, service: "checkout", rate: 60} }
func failing(from, to, bad int) traffic {
	return traffic{from: from, to: to, service: "checkout", rate: 60, bad: bad}
}

func another(from, to int) traffic {
	return traffic{from: from, to: to, service: "cart", rate: 60}
}

func (x traffic) delayed(minutes int) traffic    { x.late = minutes; return x }
func (x traffic) skewed(d time.Duration) traffic { x.skew = d; return x }
func (x traffic) as(instance string) traffic     { x.instance = instance; return x }
func (x traffic) at(rate int) traffic            { x.rate = rate; return x }
func (x traffic) sparse(every int) traffic       { x.rate, x.every = 0, every; return x }
func (x traffic) unrelated() traffic             { x.other = true; return x }
func (x traffic) of(version string) traffic      { x.version = version; return x }

func flapping(from, to, on, off, bad int) (out []traffic) {
	for at := from; at < to; at += on + off {
		out = append(out, failing(at, min(to, at+on), bad))
	}
	return out
}

func grouped(o *Objective) { o.GroupBy = []string{"service.version"} }
func minutely(o *Objective) {
	o.Method, o.TimeSliceWindow, o.TimeSliceTarget = MethodTimeslices, Duration(time.Minute), 0.9
}

func calendarDay(o *Objective) { o.Calendar = &Calendar{Start: "2026-01-01", Every: 1, Unit: UnitDay} }

func once(effect, start string, length time.Duration) []Maintenance {
	return []Maintenance{{Name: "release", Start: start, Length: Duration(length), Effect: effect}}
}

// outages are the shapes. Minute 0 is 12:00 UTC on 1 March 2026.
var outages = []outage{
	{name: "nothing was ever seen", minutes: 60},
	{name: "healthy from the start", minutes: 90, traffic: []traffic{fine(0, 90)}},
	{name: "broken from the start", minutes: 60, traffic: []traffic{failing(0, 60, 50)}},
	{name: "an outage and its end", minutes: 240, traffic: []traffic{fine(0, 90), failing(90, 120, 100), fine(120, 240)}},
	{name: "the service falls silent, others do not", minutes: 240, traffic: []traffic{fine(0, 90), another(0, 240)}},
	{name: "the service falls silent and comes back", minutes: 240, traffic: []traffic{fine(0, 90), fine(150, 240), another(0, 240)}},
	{name: "the service falls silent while it burns", minutes: 300, traffic: []traffic{fine(0, 90), failing(90, 110, 60), another(0, 300)}},
	{name: "it burns, falls silent, comes back healthy", minutes: 300, traffic: []traffic{fine(0, 90), failing(90, 110, 60), fine(140, 300), another(0, 300)}},
	{name: "it burns, falls silent, comes back burning", minutes: 200, traffic: []traffic{fine(0, 90), failing(90, 110, 60), failing(140, 200, 60), another(0, 200)}},
	{name: "all telemetry stops", minutes: 200, traffic: []traffic{fine(0, 90), another(0, 90)}},
	{name: "all telemetry stops while it burns", minutes: 300, traffic: []traffic{fine(0, 90), failing(90, 100, 80)}},
	{name: "a gap shorter than absent_after", minutes: 120, traffic: []traffic{fine(0, 60), fine(64, 120)}},
	{name: "nobody calls, but the service lives", minutes: 180, traffic: []traffic{fine(0, 60), fine(60, 180).unrelated()}},
	{name: "nobody ever called, but the service lives", minutes: 60, traffic: []traffic{fine(0, 60).unrelated()}},
	{name: "one of two instances falls silent", minutes: 180, traffic: []traffic{fine(0, 180).as("a"), fine(0, 60).as("b")}},
	{name: "one of two instances fails", minutes: 180, traffic: []traffic{fine(0, 180).as("a"), fine(0, 90).as("b"), failing(90, 120, 100).as("b"), fine(120, 180).as("b")}},
	{name: "a quiet service: a call in four minutes", minutes: 240, traffic: []traffic{fine(0, 240).sparse(4)}},
	{name: "a quiet service: a call in ten minutes, and nothing else", minutes: 60, traffic: []traffic{fine(0, 60).sparse(10)}},
	{name: "the same, and absent_after fits it", minutes: 60, traffic: []traffic{fine(0, 60).sparse(10)}, settings: func(s *Settings) { s.AbsentAfter = 15 * time.Minute }},
	{name: "a quiet service falls silent for good", minutes: 240, traffic: []traffic{fine(0, 120).sparse(10)}},
	{name: "a quiet service that lives otherwise", minutes: 120, traffic: []traffic{fine(0, 120).sparse(10), fine(0, 120).unrelated()}},
	{name: "one error of a quiet service", minutes: 240, traffic: []traffic{fine(0, 100).sparse(2), failing(100, 102, 100).sparse(2), fine(102, 240).sparse(2)}},
	{name: "the collector is down, and what was sent is lost", minutes: 180, traffic: []traffic{fine(0, 180)}, down: []down{{60, 90, false}}},
	{name: "the collector is down, and senders try again", minutes: 180, traffic: []traffic{fine(0, 180)}, down: []down{{60, 90, true}}},
	{name: "down while it burns, what was sent is lost", minutes: 240, traffic: []traffic{fine(0, 60), failing(60, 120, 60), fine(120, 240)}, down: []down{{80, 100, false}}},
	{name: "down over the end of an outage", minutes: 300, traffic: []traffic{fine(0, 60), failing(60, 90, 60), fine(90, 300)}, down: []down{{80, 110, false}}},
	{name: "the collector restarts again and again", minutes: 120, traffic: []traffic{fine(0, 120)}, down: []down{{30, 31, true}, {40, 41, true}, {50, 51, true}, {60, 61, false}, {70, 71, false}}},
	{name: "a rolling deploy: a minute without each instance", minutes: 120, traffic: []traffic{fine(0, 60).as("a"), fine(61, 120).as("a"), fine(0, 62).as("b"), fine(63, 120).as("b")}},
	{name: "a backlog of healthy time arrives late", minutes: 180, traffic: []traffic{fine(0, 60), fine(60, 100).delayed(40).as("b"), fine(100, 180)}},
	{name: "a backlog of an outage that is over arrives late", minutes: 240, traffic: []traffic{fine(0, 240), failing(60, 90, 100).delayed(90).as("b").at(10)}},
	{name: "events a minute late, throughout", minutes: 180, traffic: []traffic{fine(0, 90).delayed(1), failing(90, 120, 100).delayed(1), fine(120, 180).delayed(1)}},
	{name: "a source whose clock is an hour ahead", minutes: 120, traffic: []traffic{fine(0, 120), failing(30, 120, 100).skewed(time.Hour).as("b")}},
	{name: "a source whose clock is an hour behind", minutes: 180, traffic: []traffic{fine(0, 180), fine(30, 180).skewed(-time.Hour).as("b")}},
	{name: "the collector's clock jumps an hour ahead", minutes: 120, traffic: []traffic{fine(0, 120)}, jumps: map[int]time.Duration{60: time.Hour}},
	{name: "the collector's clock jumps back an hour", minutes: 120, traffic: []traffic{fine(0, 120)}, jumps: map[int]time.Duration{60: -time.Hour}},
	{name: "flapping: a minute on, a minute off, healthy", minutes: 120, traffic: flapping(0, 120, 1, 1, 0)},
	{name: "flapping: ten minutes on, ten off, healthy, others live", minutes: 120, traffic: append(flapping(0, 120, 10, 10, 0), another(0, 120))},
	{name: "flapping: two minutes on, two off, burning", minutes: 180, traffic: append([]traffic{fine(0, 60)}, append(flapping(60, 100, 2, 2, 60), fine(100, 180))...)},
	{name: "one version falls silent, the other burns", minutes: 150, objective: grouped, traffic: []traffic{fine(0, 60).of("1"), fine(0, 60).of("2"), failing(60, 150, 50).of("2")}},
	{name: "time slices: an outage, a gap, an end", minutes: 300, objective: minutely, traffic: []traffic{fine(0, 90), failing(90, 120, 100), fine(150, 300)}},
	{name: "a calendar day begins at minute 720", minutes: 800, objective: calendarDay, traffic: []traffic{fine(0, 600), failing(600, 605, 100), fine(605, 800)}},
	{name: "a recording of last year", minutes: 120, traffic: []traffic{fine(0, 60).skewed(-365 * Day), failing(60, 90, 60).skewed(-365 * Day)}},
	{name: "maintenance left out, and broken in it", minutes: 240, maintenance: once(EffectExclude, "2026-03-01 13:30", time.Hour), traffic: []traffic{fine(0, 90), failing(90, 150, 100), fine(150, 240)}},
	{name: "maintenance left out, and broken after it", minutes: 240, maintenance: once(EffectExclude, "2026-03-01 13:30", time.Hour), traffic: []traffic{fine(0, 90), failing(90, 240, 100)}},
	{name: "maintenance muted, and broken in it", minutes: 240, maintenance: once(EffectMute, "2026-03-01 13:30", time.Hour), traffic: []traffic{fine(0, 90), failing(90, 150, 100), fine(150, 240)}},
	{name: "maintenance muted, and broken after it", minutes: 240, maintenance: once(EffectMute, "2026-03-01 13:30", time.Hour), traffic: []traffic{fine(0, 90), failing(90, 240, 100)}},
	{name: "burning into maintenance", minutes: 300, maintenance: once(EffectExclude, "2026-03-01 13:30", time.Hour), traffic: []traffic{fine(0, 60), failing(60, 100, 60), fine(100, 300)}},
	{name: "silent through maintenance", minutes: 240, maintenance: once(EffectExclude, "2026-03-01 13:30", time.Hour), traffic: []traffic{fine(0, 90), fine(150, 240)}},
}

// delivery is one event on its way.
type delivery struct {
	traffic
	at, arrives time.Time
	n           int
}

func (o outage) deliveries() []delivery {
	var out []delivery
	for _, x := range o.traffic {
		for minute := x.from; minute < x.to; minute++ {
			n := x.rate
			if x.every > 0 {
				n = 0
				if (minute-x.from)%x.every == 0 {
					n = 1
				}
			}
			for i := range n {
				at := epoch.Add(time.Duration(minute)*time.Minute + time.Duration(i)*time.Minute/time.Duration(n))
				d := delivery{traffic: x, at: at.Add(x.skew), arrives: at.Add(time.Duration(x.late) * time.Minute), n: i}
				for _, down := range o.down {
					from, to := epoch.Add(time.Duration(down.from)*time.Minute), epoch.Add(time.Duration(down.to)*time.Minute)
					if d.arrives.Before(to) && !d.arrives.Before(from) {
						d.arrives = to
						if !down.retry {
							d.rate = -1
						}
					}
				}
				if d.rate >= 0 {
					out = append(out, d)
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b delivery) int { return a.arrives.Compare(b.arrives) })
	return out
}

// play runs an outage and writes down every change of a state and of an alert, by the minute.
func (o outage) play(t *testing.T) string {
	objective := testObjective("o")
	if o.objective != nil {
		o.objective(&objective)
	}
	settings := DefaultSettings()
	settings.Maintenance = o.maintenance
	if o.settings != nil {
		o.settings(&settings)
	}
	store := shelf{}
	open := func() *Engine {
		e, err := New(settings, []Objective{objective})
		require.NoError(t, err)
		damaged, err := e.Restore(store.get)
		require.NoError(t, err)
		require.Empty(t, damaged)
		e.Journal()
		return e
	}
	e := open()
	events := o.deliveries()
	tally := e.NewTally()
	states := map[string]State{}
	var log strings.Builder
	ahead := time.Duration(0)
	for minute := range o.minutes {
		ahead += o.jumps[minute]
		stopped := false
		for _, d := range o.down {
			if minute == d.to {
				e = open()
				tally = e.NewTally()
			}
			stopped = stopped || minute >= d.from && minute < d.to
		}
		if stopped {
			continue
		}
		end := epoch.Add(time.Duration(minute+1) * time.Minute)
		for len(events) > 0 && events[0].arrives.Before(end) {
			d := events[0]
			events = events[1:]
			d.commit(e, tally, objective, d.arrives.Add(ahead))
		}
		e.Advance(end.Add(ahead))
		for _, s := range e.Statuses() {
			who := strings.TrimSpace(strings.TrimPrefix(fmt.Sprint(s.Group), "map[]"))
			if states[who] != s.State {
				states[who] = s.State
				fmt.Fprintf(&log, "%d %s\n", minute+1, strings.TrimSpace(who+" "+string(s.State)))
			}
		}
		taken := e.TakeTransitions()
		e.DeliveredTransitions(taken)
		for _, x := range firingOf(taken) {
			fmt.Fprintf(&log, "%d %s\n", minute+1, x)
		}
		store.keep(e)
	}
	return log.String()
}

func (d delivery) commit(e *Engine, tally *Tally, o Objective, now time.Time) {
	tally.Reset()
	hash := fnv.New64a()
	fmt.Fprint(hash, d.service, d.instance)
	oldest, newest := e.Bounds(hash.Sum64(), now)
	at := d.at.UnixNano()
	if at < oldest || at > newest {
		return
	}
	tally.Service(d.service)
	span := tally.Slice(at)
	if d.service == o.Service && !d.other {
		var values []string
		if len(o.GroupBy) > 0 {
			values = []string{d.version}
		}
		tally.Entry(0, values).Add(span, at, d.n*d.bad/100 != (d.n+1)*d.bad/100, One)
	}
	tally.Observe(hash.Sum64(), at)
	e.Commit(tally, now)
}

// TestOutagesChangeStatesAsTheyShould plays every shape and compares what it did with the golden file, which was read line by line.
func TestOutagesChangeStatesAsTheyShould(t *testing.T) {
	const golden = "testdata/outages.txt"
	var all strings.Builder
	for _, o := range outages {
		fmt.Fprintf(&all, "## %s\n%s\n", o.name, o.play(t))
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(all.String()), 0o600))
	}
	text, err := os.ReadFile(golden)
	require.NoError(t, err)
	want := strings.Split(string(text), "\n## ")
	got := strings.Split(all.String(), "\n## ")
	require.Len(t, got, len(want))
	wrong := 0
	for i := range want {
		if !assert.Equal(t, want[i], got[i]) {
			wrong++
		}
	}
	figures.Record(t, figures.Figure{
		Table: "SLOs: missing data", Row: fmt.Sprintf("%d shapes of outages", len(outages)),
		Reached: fmt.Sprintf("%d with a wrong transition", wrong), Wanted: "0 of 40 or more",
		Command: "go test -v -run OutagesChangeStates ./internal/slo",
	})
}
