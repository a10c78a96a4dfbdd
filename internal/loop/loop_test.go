// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// candidate is a firing signal of a service at a time, valid for an hour.
func candidate(service string, at time.Time) detect.Candidate {
	target := signal.Target{Service: service}
	return detect.Candidate{Envelope: signal.Envelope{
		ID: signal.NewID(signal.KindSLOBurn, target, nil, t0), Kind: signal.KindSLOBurn, Version: signal.Version, State: signal.StateFiring,
		Severity: signal.SeverityTicket, Summary: service + " burns.", Target: target,
		Action:     signal.Action{Verb: "investigate", Reversible: true, Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 0.9, Method: "test"}, ValidFrom: t0, UpdatedAt: at, ExpiresAt: at.Add(time.Hour),
	}}
}

func TestOnlyNewsAreSaid(t *testing.T) {
	l := New(Settings{MaxActive: 10})
	step := func(c detect.Candidate) Said { return l.Step(c.Envelope.UpdatedAt, []detect.Candidate{c}) }

	assert.Len(t, step(candidate("a", t0)).Signals, 1)
	assert.Equal(t, map[string]int{ReasonUnchanged: 1}, step(candidate("a", t0.Add(time.Minute))).Held)

	page := candidate("a", t0.Add(2*time.Minute))
	page.Envelope.Severity = signal.SeverityPage
	said := step(page).Signals
	require.Len(t, said, 1)
	assert.Equal(t, 1, said[0].Update)

	answer := page
	answer.Envelope.Result = &signal.Result{Value: signal.ResultFail}
	assert.Len(t, step(answer).Signals, 1)
	assert.Equal(t, 1, step(answer).Held[ReasonUnchanged])

	extended := answer
	extended.Envelope.UpdatedAt = t0.Add(33 * time.Minute)
	extended.Envelope.ExpiresAt = t0.Add(93 * time.Minute)
	assert.Len(t, step(extended).Signals, 1)

	resolved := extended
	resolved.Envelope.State, resolved.Envelope.ExpiresAt = signal.StateResolved, extended.Envelope.UpdatedAt
	said = step(resolved).Signals
	require.Len(t, said, 1)
	assert.Equal(t, 4, said[0].Update)
	assert.Zero(t, l.Active())
	assert.Equal(t, 1, step(resolved).Held[ReasonUnknown], "what has ended does not end again")
}

func TestSignalsThatNobodyRenewsExpireInOrder(t *testing.T) {
	l := New(Settings{MaxActive: 10})
	l.Step(t0, []detect.Candidate{candidate("b", t0.Add(time.Minute)), candidate("a", t0), candidate("c", t0)})
	assert.Empty(t, l.Step(t0.Add(time.Hour), nil).Signals)
	said := l.Step(t0.Add(2*time.Hour), nil).Signals
	require.Len(t, said, 3)
	for _, e := range said {
		require.NoError(t, e.Validate())
		assert.Equal(t, signal.StateExpired, e.State)
		assert.Equal(t, "none", e.Action.Verb)
	}
	assert.Equal(t, "b", said[2].Target.Service, "those that ended first go first")
	assert.Zero(t, l.Active())
}

func TestLimitHoldsBackNewSignalsAndCountsThem(t *testing.T) {
	l := New(Settings{MaxActive: 2})
	var all []detect.Candidate
	for i := range 5 {
		all = append(all, candidate(strconv.Itoa(i), t0))
	}
	said := l.Step(t0, all)
	assert.Len(t, said.Signals, 2)
	assert.Equal(t, map[string]int{ReasonLimit: 3}, said.Held)
	broken := candidate("0", t0)
	broken.Envelope.Summary, broken.Envelope.Severity = "", signal.SeverityPage
	assert.Equal(t, 1, l.Step(t0, []detect.Candidate{broken}).Held[ReasonInvalid])
}

func TestLoopLivesThroughARestart(t *testing.T) {
	l := New(Settings{MaxActive: 10})
	l.Step(t0, []detect.Candidate{candidate("a", t0), candidate("b", t0)})
	data, err := l.Snapshot()
	require.NoError(t, err)
	again := New(Settings{MaxActive: 10})
	require.NoError(t, again.Restore(data))
	same, err := again.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, data, same)
	assert.Equal(t, 1, again.Step(t0, []detect.Candidate{candidate("a", t0)}).Held[ReasonUnchanged])
	data[len(data)-1] ^= 1
	require.Error(t, again.Restore(data))
	assert.Equal(t, 2, again.Active(), "a damaged snapshot changes nothing")
}
