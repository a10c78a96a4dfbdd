// SPDX-License-Identifier: Apache-2.0

package guardrail

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday

// sound returns facts that no rule objects to: cheaper, not reversible, of a target in good health.
func sound() Facts {
	return Facts{
		Now: t0,
		Candidate: detect.Candidate{
			Envelope: signal.Envelope{
				ID: "a", Kind: "optimization.rightsize.container", ExpiresAt: t0.Add(time.Hour),
				Action:     signal.Action{Verb: "set_requests", Risk: signal.RiskLow},
				Confidence: signal.Confidence{Value: 0.99},
			},
			Step: -0.2, Noise: 1, Margin: 2, Exposure: 100,
		},
		Budget: new(0.51), Coverage: new(0.95), Criticality: "high",
	}
}

func TestEveryRuleHasItsEdge(t *testing.T) {
	s := Default()
	assert.Empty(t, Evaluate(s, sound()).BlockedBy)
	assert.Equal(t, Names(), Evaluate(s, sound()).Evaluated)
	reliable := func(f *Facts) { f.Candidate.Reliability = true }
	safe := func(f *Facts) { f.Candidate.Reliability, f.Candidate.Envelope.Action.Reversible = true, true }
	reversible := func(f *Facts) { f.Candidate.Envelope.Action.Reversible = true }
	past := Past{ID: "b", Direction: "down", At: t0.Add(-15*time.Minute + time.Second)}
	flapping := Past{ID: "b", Direction: "up", At: t0.Add(-20 * time.Minute), Flips: []time.Time{t0.Add(-40 * time.Minute), t0.Add(-20 * time.Minute)}}
	frozen := []Freeze{{From: t0, To: t0.Add(time.Hour), Reason: "sale"}}
	evening := []Window{{From: 18 * time.Hour, To: 22 * time.Hour, Location: time.UTC}}
	for name, c := range map[string]struct {
		rule    string
		blocked bool
		change  func(*Facts, *Settings)
	}{
		"blind":                        {Blind, true, func(f *Facts, _ *Settings) { f.Coverage = new(0.949) }},
		"nothing expected yet":         {Blind, false, func(f *Facts, _ *Settings) { f.Coverage = nil }},
		"two refuted":                  {Breakers, false, func(f *Facts, _ *Settings) { f.Breaker.RefutedInARow = 2 }},
		"three refuted":                {Breakers, true, func(f *Facts, _ *Settings) { f.Breaker.RefutedInARow = 3 }},
		"one of 100 reverted":          {Breakers, false, func(f *Facts, _ *Settings) { f.Breaker = Breaker{Acted: 100, Reverted: 1} }},
		"two of 100 reverted":          {Breakers, true, func(f *Facts, _ *Settings) { f.Breaker = Breaker{Acted: 100, Reverted: 2} }},
		"too few to have a rate":       {Breakers, false, func(f *Facts, _ *Settings) { f.Breaker = Breaker{Acted: 19, Reverted: 2} }},
		"expired":                      {Expiry, true, func(f *Facts, _ *Settings) { f.Candidate.Envelope.ExpiresAt = t0 }},
		"not sure":                     {Evidence, true, func(f *Facts, _ *Settings) { f.Candidate.Envelope.Confidence.Value = 0.89 }},
		"few observations":             {Evidence, true, func(f *Facts, _ *Settings) { f.Candidate.Exposure = 99 }},
		"observations are not counted": {Evidence, false, func(f *Facts, _ *Settings) { f.Candidate.Exposure = 0 }},
		"thresholds too close":         {Hysteresis, true, func(f *Facts, _ *Settings) { f.Candidate.Margin = 1.99 }},
		"no threshold":                 {Hysteresis, false, func(f *Facts, _ *Settings) { f.Candidate.Noise, f.Candidate.Margin = 0, 0 }},
		"a long step":                  {MaxStep, true, func(f *Facts, _ *Settings) { f.Candidate.Step = -0.21 }},
		"no step":                      {MaxStep, false, func(f *Facts, _ *Settings) { f.Candidate.Step = 0 }},
		"half the budget":              {Throttle, true, func(f *Facts, _ *Settings) { f.Budget = new(0.5) }},
		"half the budget, reversible":  {Throttle, false, func(f *Facts, _ *Settings) { f.Budget = new(0.5); reversible(f) }},
		"half the budget, reliability": {Throttle, false, func(f *Facts, _ *Settings) { f.Budget = new(0.5); reliable(f) }},
		"a quarter, reversible":        {Throttle, false, func(f *Facts, _ *Settings) { f.Budget = new(0.25); reversible(f) }},
		"under a quarter, reversible":  {Throttle, true, func(f *Facts, _ *Settings) { f.Budget = new(0.249); reversible(f) }},
		"under a quarter, reliability": {Throttle, false, func(f *Facts, _ *Settings) { f.Budget = new(-3.0); reliable(f) }},
		"no budget known":              {Throttle, false, func(f *Facts, _ *Settings) { f.Budget = nil }},
		"another in flight":            {InFlight, true, func(f *Facts, _ *Settings) { f.Holder = "b" }},
		"too soon":                     {MinInterval, true, func(f *Facts, _ *Settings) { f.Past = past }},
		"the same again":               {MinInterval, false, func(f *Facts, _ *Settings) { f.Past = past; f.Past.ID = "a" }},
		"too soon, but to safety":      {MinInterval, false, func(f *Facts, _ *Settings) { f.Past = past; safe(f) }},
		"soon enough for its kind": {MinInterval, false, func(f *Facts, s *Settings) {
			f.Past = past
			s.MinIntervals = map[string]time.Duration{"optimization.rightsize.container": time.Minute}
		}},
		"late enough":                   {MinInterval, false, func(f *Facts, _ *Settings) { f.Past = past; f.Past.At = t0.Add(-15 * time.Minute) }},
		"flapping":                      {FlapBudget, true, func(f *Facts, _ *Settings) { f.Past = flapping }},
		"flapping, to safety":           {FlapBudget, true, func(f *Facts, _ *Settings) { f.Past = flapping; safe(f) }},
		"flapped, same direction":       {FlapBudget, false, func(f *Facts, _ *Settings) { f.Past = flapping; f.Past.Direction = "down" }},
		"flapped an hour ago":           {FlapBudget, false, func(f *Facts, _ *Settings) { f.Past = flapping; f.Now = t0.Add(20 * time.Minute) }},
		"frozen":                        {FreezeRule, true, func(_ *Facts, s *Settings) { s.Freezes = frozen }},
		"frozen, to safety":             {FreezeRule, false, func(f *Facts, s *Settings) { s.Freezes = frozen; safe(f) }},
		"the freeze is over":            {FreezeRule, false, func(_ *Facts, s *Settings) { s.Freezes = []Freeze{{From: t0.Add(-time.Hour), To: t0}} }},
		"outside the window":            {WindowRule, true, func(_ *Facts, s *Settings) { s.Windows = evening }},
		"outside the window, to safety": {WindowRule, false, func(f *Facts, s *Settings) { s.Windows = evening; safe(f) }},
		"in the window": {WindowRule, false, func(f *Facts, s *Settings) {
			s.Windows = evening
			f.Now = t0.Add(6 * time.Hour)
			f.Candidate.Envelope.ExpiresAt = t0.Add(24 * time.Hour)
		}},
		"critical":                         {Approval, true, func(f *Facts, _ *Settings) { f.Criticality = "critical" }},
		"critical and approved":            {Approval, false, func(f *Facts, _ *Settings) { f.Criticality, f.Approved = "critical", true }},
		"of high risk":                     {Approval, true, func(f *Facts, _ *Settings) { f.Candidate.Envelope.Action.Risk = signal.RiskHigh }},
		"criticality unknown, risk is low": {Approval, false, func(f *Facts, _ *Settings) { f.Criticality = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := sound(), Default()
			c.change(&f, &s)
			ruling := Evaluate(s, f)
			want := []string{}
			if c.blocked {
				want = []string{c.rule}
			}
			assert.Equal(t, want, ruling.BlockedBy)
			assert.LessOrEqual(t, len(ruling.Inputs), signal.MaxInputs)
		})
	}
	ruling := Evaluate(s, sound())
	assert.Equal(t, "0.51", ruling.Inputs["error_budget.remaining"])
	assert.Equal(t, "-0.2", ruling.Inputs["max_step.step"])
	assert.Equal(t, "high", ruling.Inputs["approval.criticality"])
}

func TestWindowsOverMidnightBelongToTheDayTheyBegin(t *testing.T) {
	w := Window{Days: []time.Weekday{time.Monday}, From: 22 * time.Hour, To: 2 * time.Hour, Location: time.UTC}
	for at, want := range map[time.Duration]bool{-12 * time.Hour: false, 9 * time.Hour: false, 10 * time.Hour: true, 13 * time.Hour: true, 14 * time.Hour: false, 34 * time.Hour: false} {
		assert.Equal(t, want, w.holds(t0.Add(at)), "%s after Monday noon", at)
	}
	berlin := Window{From: 13 * time.Hour, To: 14 * time.Hour, Location: time.FixedZone("", 3600)}
	assert.True(t, berlin.holds(t0), "noon in UTC is 13:00 there")
}

func TestMemoryCountsChangesOfDirection(t *testing.T) {
	m := NewMemory(10)
	c := sound().Candidate
	m.Remember("k", &c, t0)
	m.Remember("k", &c, t0.Add(time.Minute))
	assert.Equal(t, Past{ID: "a", Direction: "down", At: t0}, m.Past["k"], "saying the same again is nothing new")
	for i := range 40 {
		c.Step = -c.Step
		m.Remember("k", &c, t0.Add(time.Duration(i)*time.Minute))
	}
	assert.Len(t, m.Past["k"].Flips, maxFlips)
	assert.Equal(t, t0.Add(39*time.Minute), m.Past["k"].Flips[maxFlips-1])
}

func TestMemoryIsBounded(t *testing.T) {
	m := NewMemory(100)
	c := sound().Candidate
	for i := range 1000 {
		m.Remember("k"+strconv.Itoa(i), &c, t0.Add(time.Duration(i)*time.Second))
		require.LessOrEqual(t, len(m.Past), 100)
	}
	assert.Contains(t, m.Past, "k"+strconv.Itoa(999))
	assert.NotContains(t, m.Past, "k0")
}

func BenchmarkEvaluate(b *testing.B) {
	s, f := Default(), sound()
	b.ReportAllocs()
	for b.Loop() {
		Evaluate(s, f)
	}
}
