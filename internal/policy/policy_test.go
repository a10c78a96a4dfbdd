// SPDX-License-Identifier: Apache-2.0

//go:build !pitwall_nopolicies

package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 6, 16, 0, 0, 0, time.UTC) // a Friday afternoon

func envelope() signal.Envelope {
	return signal.Envelope{
		ID: signal.NewID("k", signal.Target{}, nil, t0), Kind: "optimization.rightsize.container", Version: 1, State: signal.StateFiring,
		Severity: signal.SeverityInfo, Summary: "x", Target: signal.Target{Service: "checkout", Environment: "production"},
		Action:     signal.Action{Verb: "set_requests", Params: map[string]string{"cpu": "2"}, Risk: signal.RiskMedium},
		Confidence: signal.Confidence{Value: 0.97, Method: "x"}, ValidFrom: t0, UpdatedAt: t0, ExpiresAt: t0.Add(time.Hour),
	}
}

func TestExpressionsDecideOverTheEnvelope(t *testing.T) {
	for when, want := range map[string]bool{
		`signal.target.environment == "production" && signal.action.risk != "low"`:        true,
		`signal.kind.startsWith("optimization.rightsize.")`:                               true,
		`now.getDayOfWeek() == 5 && now.getHours("Europe/Berlin") >= 17`:                  true,
		`signal.confidence.value < 0.9`:                                                   false,
		`context.budget == null`:                                                          true,
		`context.criticality in ["critical", "high"]`:                                     true,
		`has(signal.budget) && signal.budget.remaining < 0.5`:                             false,
		`signal.action.params.exists(k, k == "cpu")`:                                      true,
		`timestamp(signal.expires_at) - now < duration("2h")`:                             true,
		`signal.target.service.matches("^check")`:                                         true,
		`context.coverage != null && context.coverage < 0.99`:                             true,
		`has(signal.guardrails) && signal.guardrails.blocked_by.size() == 0`:              true,
		`"freeze" in signal.action.params ? signal.action.params.freeze == "yes" : false`: false,
	} {
		e, err := Compile([]Rule{{Name: "r", When: when, Decision: signal.ResultDeny}}, signal.ResultAllow)
		require.NoError(t, err, when)
		d, err := e.Decide(envelope(), Inputs{Now: t0, Criticality: "high", Coverage: new(0.98)})
		require.NoError(t, err)
		assert.False(t, d.Failed, when)
		assert.Equal(t, want, d.Value == signal.ResultDeny, when)
	}
}

func TestFirstRuleThatAppliesDecides(t *testing.T) {
	e, err := Compile([]Rule{
		{Name: "never", When: "false", Decision: signal.ResultDeny},
		{Name: "people", When: `signal.target.service == "checkout"`, Decision: signal.ResultRequireApproval},
		{Name: "later", When: "true", Decision: signal.ResultDeny},
	}, signal.ResultAllow)
	require.NoError(t, err)
	d, err := e.Decide(envelope(), Inputs{Now: t0})
	require.NoError(t, err)
	assert.Equal(t, signal.ResultRequireApproval, d.Value)
	assert.Equal(t, "people", d.Rule)
	assert.Len(t, d.Digest, 32)

	other := envelope()
	other.Action.Params["cpu"] = "3"
	again, err := e.Decide(envelope(), Inputs{Now: t0})
	require.NoError(t, err)
	assert.Equal(t, d, again)
	changed, err := e.Decide(other, Inputs{Now: t0})
	require.NoError(t, err)
	assert.NotEqual(t, d.Digest, changed.Digest)

	none, err := Compile(nil, signal.ResultDeny)
	require.NoError(t, err)
	d, err = none.Decide(envelope(), Inputs{Now: t0})
	require.NoError(t, err)
	assert.Equal(t, signal.ResultDeny, d.Value, "the default holds where no rule applies")
	assert.Empty(t, d.Rule)
}

func TestWhatCannotBeEvaluatedDenies(t *testing.T) {
	digits := `["0","1","2","3","4","5","6","7","8","9"]`
	for name, when := range map[string]string{
		"names what is not there": `signal.nothing.here == 1`,
		"is no bool":              `signal.kind`,
		"costs too much":          digits + ".all(a," + digits + ".all(b," + digits + ".all(c," + digits + ".all(d," + digits + `.all(e, (a+b+c+d+e).size() == 5)))))`,
	} {
		e, err := Compile([]Rule{{Name: "r", When: when, Decision: signal.ResultAllow}}, signal.ResultAllow)
		require.NoError(t, err, name)
		d, err := e.Decide(envelope(), Inputs{Now: t0})
		require.NoError(t, err, name)
		assert.True(t, d.Failed, name)
		assert.Equal(t, signal.ResultDeny, d.Value, name)
	}
}

func TestBadRulesAreNamed(t *testing.T) {
	good := Rule{Name: "good", When: "true", Decision: signal.ResultAllow}
	for want, rules := range map[string][]Rule{
		"name must be":             {{Name: "Bad name", When: "true", Decision: signal.ResultAllow}},
		"is used twice":            {good, good},
		"decision must be":         {{Name: "x", When: "true", Decision: "maybe"}},
		"when must have":           {{Name: "x", Decision: signal.ResultAllow}},
		"undeclared reference":     {{Name: "x", When: "target == 1", Decision: signal.ResultAllow}},
		"must give a bool":         {{Name: "x", When: "1 + 1", Decision: signal.ResultAllow}},
		"Syntax error":             {{Name: "x", When: "a ==", Decision: signal.ResultAllow}},
		"when must have 1 to 4096": {{Name: "x", When: strings.Repeat(" ", 5000), Decision: signal.ResultAllow}},
		"at most 100 rules":        make([]Rule, 101),
	} {
		_, err := Compile(rules, signal.ResultAllow)
		require.ErrorContains(t, err, want)
	}
	_, err := Compile(nil, "")
	require.ErrorContains(t, err, "the default must be")
}

func BenchmarkDecide(b *testing.B) {
	e, err := Compile([]Rule{{Name: "r", When: `signal.target.environment == "production" && signal.confidence.value < 0.9`, Decision: signal.ResultDeny}}, signal.ResultAllow)
	require.NoError(b, err)
	env := envelope()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = e.Decide(env, Inputs{Now: t0})
	}
}
