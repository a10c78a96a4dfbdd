// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/docs"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newDetector() *Detector {
	return New(Settings{MaxActive: 100, TTL: 24 * time.Hour, Allow: signal.NewAllowList()})
}

// page returns the alert of a page rule that began to fire at start.
func page(start time.Time) Alert {
	return Alert{
		Time: start, StartedAt: start, Firing: true, Rule: "page-1h", Severity: signal.SeverityPage, Profile: "workbook",
		Objective: "checkout-availability", ObjectiveWindow: 30 * 24 * time.Hour, Service: "checkout", Namespace: "shop", Environment: "production",
		Indicator: "spans", Owner: "team-checkout", Runbook: "https://example.com/runbooks/checkout",
		LongWindow: "1h", ShortWindow: "5m", LongBurn: new(20.0), ShortBurn: new(24.0), Threshold: new(14.4),
		Target: new(0.995), BudgetRemaining: new(0.6), Coverage: new(1.0), Good: new(9000.0), Bad: new(1000.0),
		TraceIDs: []string{strings.Repeat("a1", 16), strings.Repeat("b2", 16), strings.Repeat("c3", 16)},
		Contributors: []signal.Contributor{
			{Attribute: "http.route", Value: "/checkout", Bad: new(900.0), Total: new(2000.0), Share: new(0.9)},
			{Attribute: "user.id", Value: "jane@example.com", Bad: new(1.0)},
		},
	}
}

func ticket(start time.Time) Alert {
	a := page(start)
	a.Rule, a.Severity, a.LongWindow, a.ShortWindow, a.LongBurn, a.Threshold = "ticket-3d", signal.SeverityTicket, "3d", "6h", new(1.5), new(1.0)
	a.TraceIDs = []string{strings.Repeat("d4", 16), strings.Repeat("a1", 16)}
	return a
}

func resolved(a Alert, at time.Time) Alert {
	a.Firing, a.Time = false, at
	a.LongBurn, a.ShortBurn = new(0.5), new(0.0)
	a.TraceIDs, a.Contributors = nil, nil
	return a
}

func TestPageOpensOneSignalWithItsEvidence(t *testing.T) {
	e, emit, outcome := newDetector().Observe(page(t0))
	require.True(t, emit)
	assert.Equal(t, Opened, outcome)
	assert.Equal(t, signal.KindSLOBurn, e.Kind)
	assert.Equal(t, signal.StateFiring, e.State)
	assert.Equal(t, signal.SeverityPage, e.Severity)
	assert.Equal(t, signal.Target{Service: "checkout", Namespace: "shop", Environment: "production", Objective: "checkout-availability"}, e.Target)
	assert.Equal(t, signal.Action{Verb: "investigate", Params: map[string]string{"urgency": "now"}, Reversible: true, Risk: signal.RiskNone}, e.Action)
	assert.Len(t, e.Evidence.Exemplars, 3)
	assert.Equal(t, []signal.Window{
		{Rule: "page-1h", Window: "1h", BurnRate: new(20.0), Threshold: new(14.4)},
		{Rule: "page-1h", Window: "5m", BurnRate: new(24.0), Threshold: new(14.4)},
	}, e.Evidence.Windows)
	assert.Equal(t, map[string]float64{"events.good": 9000, "events.bad": 1000, "bad_ratio": 0.1, "target": 0.995}, e.Evidence.Statistics)
	assert.Equal(t, []string{"user.id"}, e.Evidence.Withheld)
	require.Len(t, e.Evidence.Contributors, 1)
	assert.Equal(t, "http.route", e.Evidence.Contributors[0].Attribute)
	// 60 % of a 30 day budget at 20 times its speed: 0.6 × 30 d ÷ 20 = 21.6 h.
	require.NotNil(t, e.Expected)
	assert.InDelta(t, 21.6*3600, *e.Expected.HorizonSeconds, 0.5)
	assert.Equal(t, t0.Add(21*time.Hour+36*time.Minute), *e.Expected.At)
	assert.InDelta(t, -0.6, *e.Expected.Delta, 1e-9)
	assert.Equal(t, t0.Add(24*time.Hour), e.ExpiresAt)
	assert.Equal(t, "checkout-availability of checkout burns its error budget 20 times as fast as it may over 1h; 60 % of it is left and will be spent in 21h 36m at this rate.", e.Summary)
	data, err := e.MarshalCanonical()
	require.NoError(t, err)
	assert.NotContains(t, string(data), "jane@example.com")
}

func TestEpisodeIsOneSignalHoweverManyRulesFire(t *testing.T) {
	d := newDetector()
	first, emit, _ := d.Observe(ticket(t0))
	require.True(t, emit)
	assert.Equal(t, signal.SeverityTicket, first.Severity)

	second, emit, outcome := d.Observe(page(t0.Add(time.Minute)))
	require.True(t, emit, "a ticket that becomes a page is told")
	assert.Equal(t, Updated, outcome)
	assert.Equal(t, first.ID, second.ID)
	assert.Equal(t, signal.SeverityPage, second.Severity)
	assert.Equal(t, 1, second.Update)
	assert.Equal(t, t0, second.ValidFrom)
	assert.Len(t, second.Evidence.Windows, 4)
	assert.Equal(t, "page-1h", second.Evidence.Windows[0].Rule)
	assert.Len(t, second.Evidence.Exemplars, 4, "distinct traces of both")

	another := page(t0.Add(2 * time.Minute))
	another.Rule = "page-6h"
	_, emit, outcome = d.Observe(another)
	assert.False(t, emit, "a second page about the same tells nobody anything")
	assert.Equal(t, Merged, outcome)

	_, emit, outcome = d.Observe(resolved(page(t0.Add(time.Minute)), t0.Add(3*time.Minute)))
	assert.False(t, emit)
	assert.Equal(t, Merged, outcome)
	down, emit, _ := d.Observe(resolved(another, t0.Add(4*time.Minute)))
	require.True(t, emit, "a page that is only a ticket any more is told")
	assert.Equal(t, signal.SeverityTicket, down.Severity)
	assert.Equal(t, signal.StateFiring, down.State)

	last, emit, outcome := d.Observe(resolved(ticket(t0), t0.Add(time.Hour)))
	require.True(t, emit)
	assert.Equal(t, Resolved, outcome)
	assert.Equal(t, first.ID, last.ID)
	assert.Equal(t, signal.StateResolved, last.State)
	assert.Equal(t, "none", last.Action.Verb)
	assert.Nil(t, last.Expected)
	assert.NotEmpty(t, last.Evidence.Exemplars, "the end shows the traces of the firing")
	assert.Equal(t, last.UpdatedAt, last.ExpiresAt)
	assert.Greater(t, last.Update, down.Update)
	assert.Zero(t, d.Active())
}

func TestAnotherEpisodeIsAnotherSignal(t *testing.T) {
	d := newDetector()
	first, _, _ := d.Observe(page(t0))
	d.Observe(resolved(page(t0), t0.Add(time.Minute)))
	second, emit, _ := d.Observe(page(t0.Add(time.Hour)))
	require.True(t, emit)
	assert.NotEqual(t, first.ID, second.ID)
}

func TestGroupsOfAnObjectiveAreTargetsOfTheirOwn(t *testing.T) {
	d := newDetector()
	ids := map[string]bool{}
	for _, group := range []map[string]string{{"http.route": "/a"}, {"http.route": "/b"}, {"customer.name": "Jane"}, {"customer.name": "Joe"}, nil} {
		a := page(t0)
		a.Group = group
		e, emit, _ := d.Observe(a)
		require.True(t, emit)
		ids[e.ID] = true
		if name := group["customer.name"]; name != "" {
			data, err := e.MarshalCanonical()
			require.NoError(t, err)
			assert.NotContains(t, string(data), name, "a group value that is not allowed does not leave")
			assert.Equal(t, []string{"customer.name", "user.id"}, e.Evidence.Withheld)
		} else {
			assert.Equal(t, group, e.Target.Attributes)
		}
	}
	assert.Len(t, ids, 5)
}

func TestLateAndRepeatedRecordsChangeNothing(t *testing.T) {
	d := newDetector()
	_, _, outcome := d.Observe(resolved(page(t0), t0.Add(time.Minute)))
	assert.Equal(t, UnknownEpisode, outcome)
	_, emit, outcome := d.Observe(page(t0))
	assert.Equal(t, Ended, outcome, "its end came before it")
	assert.False(t, emit)

	start := t0.Add(time.Hour)
	d.Observe(page(start))
	for name, c := range map[string]struct {
		alert Alert
		want  Outcome
	}{
		"again":                {page(start), Duplicate},
		"earlier firing":       {page(start.Add(-time.Minute)), Stale},
		"end of another":       {resolved(page(start.Add(-time.Second)), start), UnknownEpisode},
		"end of another rule":  {resolved(ticket(start), start), UnknownEpisode},
		"firing that has past": {page(t0), Ended},
	} {
		_, emit, outcome := d.Observe(c.alert)
		assert.Equal(t, c.want, outcome, name)
		assert.False(t, emit, name)
		assert.False(t, outcome.Applied())
	}
	assert.Equal(t, 1, d.Active())
}

func TestLostEndOfAFiringIsMadeUpByTheNext(t *testing.T) {
	d := newDetector()
	first, _, _ := d.Observe(page(t0))
	_, _, outcome := d.Observe(page(t0.Add(time.Hour)))
	assert.Equal(t, Merged, outcome)
	_, _, outcome = d.Observe(resolved(page(t0), t0.Add(2*time.Hour)))
	assert.Equal(t, Ended, outcome, "the earlier firing's end no longer counts")
	last, _, outcome := d.Observe(resolved(page(t0.Add(time.Hour)), t0.Add(3*time.Hour)))
	assert.Equal(t, Resolved, outcome)
	assert.Equal(t, first.ID, last.ID)
}

func TestRepeatedFiringExtendsTheSignal(t *testing.T) {
	d := newDetector()
	d.Observe(page(t0))
	again := page(t0)
	again.Time = t0.Add(time.Hour)
	_, emit, outcome := d.Observe(again)
	assert.Equal(t, Merged, outcome)
	assert.False(t, emit)
	again.Time = t0.Add(13 * time.Hour)
	e, emit, outcome := d.Observe(again)
	assert.Equal(t, Updated, outcome)
	require.True(t, emit, "receivers are told before half of the lifetime is over again")
	assert.Equal(t, t0.Add(37*time.Hour), e.ExpiresAt)
}

func TestSilenceExpiresSignalsInOrder(t *testing.T) {
	d := newDetector()
	second := page(t0.Add(time.Minute))
	second.Objective = "other"
	b, _, _ := d.Observe(second)
	a, _, _ := d.Observe(page(t0))
	assert.False(t, d.Due(t0.Add(24*time.Hour-1)))
	assert.Empty(t, d.Advance(t0.Add(24*time.Hour-1), nil))
	assert.True(t, d.Due(t0.Add(24*time.Hour)))
	ended := d.Advance(t0.Add(48*time.Hour), nil)
	require.Len(t, ended, 2)
	assert.Equal(t, []string{a.ID, b.ID}, []string{ended[0].ID, ended[1].ID})
	for _, e := range ended {
		assert.Equal(t, signal.StateExpired, e.State)
		assert.Contains(t, e.Summary, "1d 0h ago")
	}
	assert.Equal(t, t0.Add(24*time.Hour), ended[0].UpdatedAt, "it ended when it expired, not when somebody looked")
	assert.Zero(t, d.Active())
	_, _, outcome := d.Observe(resolved(page(t0), t0.Add(49*time.Hour)))
	assert.Equal(t, Ended, outcome)
}

func TestLiveStateKeepsASignalFromExpiring(t *testing.T) {
	d := newDetector()
	d.Observe(page(t0))
	now := t0.Add(25 * time.Hour)
	out := d.Advance(now, func(a Alert) bool { return a.Rule == "page-1h" })
	require.Len(t, out, 1)
	assert.Equal(t, signal.StateFiring, out[0].State)
	assert.Equal(t, now.Add(24*time.Hour), out[0].ExpiresAt)
	assert.Equal(t, 1, d.Active())
	out = d.Advance(now.Add(24*time.Hour), func(Alert) bool { return false })
	require.Len(t, out, 1)
	assert.Equal(t, signal.StateExpired, out[0].State)
}

func TestLimitsHoldAgainstAnAdversary(t *testing.T) {
	d := New(Settings{MaxActive: 10, TTL: time.Hour, Allow: signal.NewAllowList()})
	for i := range 1000 {
		a := page(t0)
		a.Objective = fmt.Sprint("o", i)
		_, _, outcome := d.Observe(a)
		if i < 10 {
			require.Equal(t, Opened, outcome)
		} else {
			require.Equal(t, Limit, outcome)
		}
		d.Observe(resolved(a, t0.Add(time.Second)))
		a.StartedAt, a.Time = t0.Add(time.Minute), t0.Add(time.Minute)
		d.Observe(a)
	}
	assert.Equal(t, 10, d.Active())
	assert.LessOrEqual(t, len(d.closed.seen), 10)
	assert.Len(t, d.closed.order, 10)

	d = newDetector()
	for i := range 20 {
		a := page(t0)
		a.Rule = fmt.Sprint("r", i)
		_, _, outcome := d.Observe(a)
		assert.Equal(t, i >= maxRules, outcome == Limit, i)
	}
}

func TestTombstonesForgetTheOldest(t *testing.T) {
	ts := newTombstones(3)
	for _, s := range []string{"a", "b", "a", "c", "d"} {
		ts.add(s)
	}
	assert.False(t, ts.has("a"))
	assert.Equal(t, []string{"b", "c", "d"}, ts.list())
}

func TestUnknownNumbersAreAbsent(t *testing.T) {
	bare := Alert{Time: t0, StartedAt: t0, Firing: true, Rule: "r", Severity: signal.SeverityTicket, Objective: "o"}
	e, emit, _ := newDetector().Observe(bare)
	require.True(t, emit)
	assert.Equal(t, signal.Confidence{Value: 0.5, Method: "threshold_only"}, e.Confidence)
	assert.Nil(t, e.Expected)
	assert.Nil(t, e.Evidence.Statistics)
	assert.Empty(t, e.Evidence.Windows)
	assert.Equal(t, "o burns its error budget too fast.", e.Summary)
}

func TestSpentBudgetAndDemoWindowsAreSaid(t *testing.T) {
	a := page(t0)
	a.BudgetRemaining, a.Profile = new(-0.25), "demo"
	a.Contributors = []signal.Contributor{
		{Attribute: "service.version", Value: "2.0", Share: new(0.9), Total: new(1000.0)},
		{Attribute: "feature_flag.key", Value: "x", Share: new(0.9), Total: new(1000.0)},
		{Attribute: "container.image.tag", Value: "y", Share: new(0.9), Total: new(1000.0)},
	}
	e, _, _ := newDetector().Observe(a)
	assert.True(t, strings.HasPrefix(e.Summary, "[demo windows] "), e.Summary)
	assert.Contains(t, e.Summary, "the budget is spent")
	assert.Equal(t, "demo", e.Evidence.Profile)
	assert.Equal(t, []string{"rollback", "disable_flag", "freeze_changes"}, e.Action.Alternatives)
	assert.Zero(t, *e.Expected.HorizonSeconds)
	assert.Nil(t, e.Expected.Delta)
}

func TestOnlyVersionOfAServiceIsNotBlamed(t *testing.T) {
	for name, c := range map[string]struct {
		contributor signal.Contributor
		want        []string
	}{
		"all of everything": {signal.Contributor{Attribute: "service.version", Value: "1", Share: new(1.0), Total: new(10_000.0)}, nil},
		"its fair part":     {signal.Contributor{Attribute: "service.version", Value: "1", Share: new(0.5), Total: new(5000.0)}, nil},
		"far more":          {signal.Contributor{Attribute: "service.version", Value: "1", Share: new(0.5), Total: new(500.0)}, []string{"rollback"}},
		"unknown":           {signal.Contributor{Attribute: "service.version", Value: "1", Share: new(0.5)}, nil},
	} {
		a := page(t0)
		a.Contributors = []signal.Contributor{c.contributor}
		e, _, _ := newDetector().Observe(a)
		assert.Equal(t, c.want, e.Action.Alternatives, name)
	}
}

func TestPredictionBeyondTenYearsIsNotMade(t *testing.T) {
	a := page(t0)
	a.LongBurn = new(1e-6)
	e, _, _ := newDetector().Observe(a)
	assert.Nil(t, e.Expected)
}

// randomAlerts makes a sequence of transitions, most of them sensible, some hostile.
func randomAlerts(seed uint64, n int) []Alert {
	rng := rand.New(rand.NewPCG(seed, 1))
	hostile := []string{"", "checkout", strings.Repeat("\"", 2000), "\x00\x1b[31m", "<script>alert(1)</script>", "ünï\xffcode", "a,b"}
	number := func() *float64 {
		values := []float64{0, 1, 14.4, 1e-300, math.MaxFloat64, 0.123456789, 1e9}
		if rng.IntN(4) == 0 {
			return nil
		}
		return new(values[rng.IntN(len(values))])
	}
	var list []Alert
	for i := range n {
		a := page(t0.Add(time.Duration(rng.IntN(20)) * time.Minute))
		if rng.IntN(2) == 0 {
			a = ticket(a.StartedAt)
		}
		a.Objective = "o" + hostile[rng.IntN(len(hostile))]
		a.Service = hostile[rng.IntN(len(hostile))]
		a.Owner, a.Runbook, a.Profile, a.Indicator = a.Service, a.Objective, a.Service, a.Service
		a.Group = map[string]string{"http.route": hostile[rng.IntN(len(hostile))], hostile[rng.IntN(len(hostile))]: "v"}
		a.Good, a.Bad, a.LongBurn, a.Threshold = number(), number(), number(), number()
		for range rng.IntN(12) {
			a.Contributors = append(a.Contributors, signal.Contributor{Attribute: "http.route", Value: hostile[rng.IntN(len(hostile))], Bad: number()})
		}
		a.Time = a.StartedAt.Add(time.Duration(rng.IntN(60*(i+1))) * time.Second)
		if rng.IntN(3) == 0 {
			a.Firing = false
		}
		list = append(list, a)
	}
	return list
}

// play feeds the alerts and returns the lines of all envelopes, emitted or not.
func play(t *testing.T, d *Detector, alerts []Alert) []string {
	t.Helper()
	var lines []string
	add := func(e signal.Envelope) {
		require.NoError(t, e.Validate())
		data, err := e.MarshalCanonical()
		require.NoError(t, err)
		require.LessOrEqual(t, len(data), signal.MaxBytes)
		lines = append(lines, string(data))
	}
	for _, a := range alerts {
		e, emit, outcome := d.Observe(a)
		require.NotEqual(t, Invalid, outcome)
		if emit {
			add(e)
		}
		for _, e := range d.Advance(a.Time.Add(-23*time.Hour), nil) {
			add(e)
		}
	}
	return lines
}

func TestSameSequenceGivesSameBytes(t *testing.T) {
	for seed := range uint64(5) {
		alerts := randomAlerts(seed, 400)
		first := play(t, newDetector(), alerts)
		require.NotEmpty(t, first)
		for range 3 {
			require.Equal(t, first, play(t, newDetector(), alerts))
		}
	}
}

func TestEverySignalFollowsTheStateMachineAndTheSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.SignalSchema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource(signal.SchemaURI, doc))
	schema, err := c.Compile(signal.SchemaURI)
	require.NoError(t, err)
	for seed := range uint64(5) {
		states, updates := map[string]signal.State{}, map[string]int{}
		for _, line := range play(t, newDetector(), randomAlerts(100+seed, 400)) {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			require.NoError(t, err)
			require.NoError(t, schema.Validate(v), line)
			e, err := signal.Decode([]byte(line))
			require.NoError(t, err)
			require.True(t, states[e.ID].CanBecome(e.State), "%q to %q", states[e.ID], e.State)
			if states[e.ID] != "" {
				require.Greater(t, e.Update, updates[e.ID])
			}
			states[e.ID], updates[e.ID] = e.State, e.Update
		}
	}
}

func TestSnapshotContinuesAsIfNothingHadHappened(t *testing.T) {
	for seed := range uint64(5) {
		alerts := randomAlerts(200+seed, 300)
		for i := range alerts {
			// Strings reach the detector as valid UTF-8.
			alerts[i].Service, alerts[i].Objective = strings.ToValidUTF8(alerts[i].Service, "?"), strings.ToValidUTF8(alerts[i].Objective, "?")
			alerts[i].Group = nil
		}
		straight := newDetector()
		want := append(play(t, straight, alerts[:150]), play(t, straight, alerts[150:])...)

		before := newDetector()
		got := play(t, before, alerts[:150])
		data, err := before.Snapshot()
		require.NoError(t, err)
		again, err := before.Snapshot()
		require.NoError(t, err)
		require.Equal(t, string(data), string(again))
		after := newDetector()
		require.NoError(t, after.Restore(data))
		got = append(got, play(t, after, alerts[150:])...)
		require.Equal(t, want, got)
	}
}

func TestDamagedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	d := newDetector()
	d.Observe(page(t0))
	data, err := d.Snapshot()
	require.NoError(t, err)
	fresh := newDetector()
	fresh.Observe(ticket(t0))
	require.ErrorIs(t, fresh.Restore(bytes.Replace(data, []byte("workbook"), []byte("workboot"), 1)), errSnapshotChecksum)
	require.ErrorIs(t, fresh.Restore(bytes.Replace(data, []byte(`"version":1`), []byte(`"version":9`), 1)), errSnapshotVersion)
	require.Error(t, fresh.Restore(data[:10]))
	require.Error(t, fresh.Restore(nil))
	assert.Equal(t, signal.SeverityTicket, fresh.Firing()[0].Severity)
	require.NoError(t, fresh.Restore(data))
	assert.Equal(t, signal.SeverityPage, fresh.Firing()[0].Severity)
}

func TestParseWindow(t *testing.T) {
	day := 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"30d": 30 * day, "4w": 28 * day, "1h30m": 90 * time.Minute, "90s": 90 * time.Second, "0d": 0,
		"": 0, "d": 0, "30": 0, "30x": 0, "-1d": 0, "1.5h": 0, "99999999999999999999d": 0, "999999999w": 0, "106751d106751d": 0,
	} {
		assert.Equal(t, want, ParseWindow(in), in)
	}
}

func FuzzParseWindow(f *testing.F) {
	f.Add("30d")
	f.Fuzz(func(t *testing.T, s string) {
		if ParseWindow(s) < 0 {
			t.Fatal(s)
		}
	})
}
