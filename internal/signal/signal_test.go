// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"encoding/json"
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
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// full returns an envelope in which every field is set.
func full() Envelope {
	target := Target{
		Service: "checkout", Namespace: "shop", Environment: "production", Revision: "1.4.2", Objective: "checkout-availability",
		Attributes: map[string]string{"http.route": "/cart", "service.version": "1.4.2"},
	}
	return Envelope{
		ID: NewID(KindSLOBurn, target, nil, t0), Kind: KindSLOBurn, Version: Version, State: StateFiring, Update: 2,
		Severity: SeverityPage, Summary: "checkout burns.", Target: target,
		Action:     Action{Verb: "investigate", Params: map[string]string{"urgency": "now"}, Alternatives: []string{"rollback"}, Reversible: true, Risk: RiskNone},
		Result:     &Result{Value: ResultFail, Reason: "latency"},
		Confidence: Confidence{Value: 0.98, Method: "beta_posterior"},
		Evidence: Evidence{
			Profile: "workbook", Inputs: []string{"spans"},
			Windows:      []Window{{Rule: "page-1h", Window: "1h", BurnRate: new(16.0), Threshold: new(14.4)}, {Rule: "page-1h", Window: "5m"}},
			Statistics:   map[string]float64{"events.bad": 12, "events.good": 800.5},
			Contributors: []Contributor{{Attribute: "http.route", Value: "/cart", Bad: new(9.0), Total: new(100.0), Share: new(0.75)}},
			Exemplars:    []Exemplar{{TraceID: strings.Repeat("ab", 16)}},
			Coverage:     new(1.0), Withheld: []string{"user.id"}, Trimmed: []string{"windows"},
		},
		Expected:   &Expected{Metric: "slo.error_budget.remaining", Delta: new(-0.4), Interval: []float64{-0.5, -0.3}, HorizonSeconds: new(3600.0), At: new(t0.Add(time.Hour))},
		Guardrails: Guardrails{Evaluated: []string{"expiry"}, BlockedBy: []string{}, Inputs: map[string]string{"expiry.expires_at": "x"}},
		Budget:     &Budget{Remaining: new(0.4), Burn: new(16.0)},
		Owner:      "team-checkout", Runbook: "https://example.com/r", ValidFrom: t0, UpdatedAt: t0.Add(time.Minute), ExpiresAt: t0.Add(time.Hour),
		Supersedes: []string{strings.Repeat("0", 32)}, CausedBy: []string{"deploy-17"},
		Audit: &Audit{Seq: 7, PrevHash: strings.Repeat("a", 64), Hash: strings.Repeat("b", 64)},
	}
}

// minimal returns an envelope in which only what is mandatory is set.
func minimal() Envelope {
	return Envelope{
		ID: NewID(KindSLOBurn, Target{}, nil, t0), Kind: KindSLOBurn, Version: Version, State: StatePending, Severity: SeverityInfo, Summary: "x",
		Action: Action{Verb: "none", Risk: RiskNone}, Confidence: Confidence{Method: "none"}, ValidFrom: t0, UpdatedAt: t0, ExpiresAt: t0,
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.SignalSchema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource(SchemaURI, doc))
	s, err := c.Compile(SchemaURI)
	require.NoError(t, err)
	return s
}

func conforms(t *testing.T, schema *jsonschema.Schema, data []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	require.NoError(t, err)
	return schema.Validate(v)
}

func TestSchemaIsNamedAsTheCodeSays(t *testing.T) {
	var s struct {
		ID     string `json:"$id"`
		Schema string `json:"$schema"`
	}
	require.NoError(t, json.Unmarshal(docs.SignalSchema, &s))
	assert.Equal(t, SchemaURI, s.ID)
	assert.Equal(t, "https://json-schema.org/draft/2020-12/schema", s.Schema)
}

func TestEnvelopesConformToThePublishedSchema(t *testing.T) {
	schema := compileSchema(t)
	for name, e := range map[string]Envelope{"full": full(), "minimal": minimal()} {
		require.NoError(t, e.Validate(), name)
		data, err := e.MarshalCanonical()
		require.NoError(t, err)
		assert.NoError(t, conforms(t, schema, data), "%s: %s", name, data)
		back, err := Decode(data)
		require.NoError(t, err)
		again, err := back.MarshalCanonical()
		require.NoError(t, err)
		assert.Equal(t, string(data), string(again), name)
	}
}

// mutations each break one rule. Code and schema must both refuse them.
var mutations = map[string]func(*Envelope){
	"id":                      func(e *Envelope) { e.ID = "XYZ" },
	"kind":                    func(e *Envelope) { e.Kind = "slo.burn" },
	"kind with line break":    func(e *Envelope) { e.Kind = KindSLOBurn + "\n" },
	"version":                 func(e *Envelope) { e.Version = 2 },
	"state":                   func(e *Envelope) { e.State = "burning" },
	"no state":                func(e *Envelope) { e.State = "" },
	"update":                  func(e *Envelope) { e.Update = -1 },
	"severity":                func(e *Envelope) { e.Severity = "critical" },
	"summary empty":           func(e *Envelope) { e.Summary = "" },
	"summary long":            func(e *Envelope) { e.Summary = strings.Repeat("x", MaxSummary+1) },
	"service long":            func(e *Envelope) { e.Target.Service = strings.Repeat("x", MaxText+1) },
	"attribute without name":  func(e *Envelope) { e.Target.Attributes = map[string]string{"": "x"} },
	"too many attributes":     func(e *Envelope) { e.Target.Attributes = numbered(MaxAttributes + 1) },
	"verb":                    func(e *Envelope) { e.Action.Verb = "Roll Back" },
	"alternative":             func(e *Envelope) { e.Action.Alternatives = []string{""} },
	"risk":                    func(e *Envelope) { e.Action.Risk = "" },
	"confidence":              func(e *Envelope) { e.Confidence.Value = 1.01 },
	"confidence method":       func(e *Envelope) { e.Confidence.Method = "" },
	"negative burn":           func(e *Envelope) { e.Evidence.Windows[0].BurnRate = new(-1.0) },
	"too many windows":        func(e *Envelope) { e.Evidence.Windows = make([]Window, MaxWindows+1) },
	"share":                   func(e *Envelope) { e.Evidence.Contributors[0].Share = new(1.5) },
	"contributor nameless":    func(e *Envelope) { e.Evidence.Contributors[0].Attribute = "" },
	"too many contributors":   func(e *Envelope) { e.Evidence.Contributors = many(e.Evidence.Contributors[0], MaxContributors+1) },
	"trace id":                func(e *Envelope) { e.Evidence.Exemplars[0].TraceID = "ABCD" },
	"too many exemplars":      func(e *Envelope) { e.Evidence.Exemplars = many(e.Evidence.Exemplars[0], MaxExemplars+1) },
	"coverage":                func(e *Envelope) { e.Evidence.Coverage = new(2.0) },
	"expected metric":         func(e *Envelope) { e.Expected.Metric = "" },
	"interval":                func(e *Envelope) { e.Expected.Interval = []float64{1} },
	"horizon":                 func(e *Envelope) { e.Expected.HorizonSeconds = new(-1.0) },
	"budget":                  func(e *Envelope) { e.Budget.Remaining = new(1.5) },
	"runbook long":            func(e *Envelope) { e.Runbook = strings.Repeat("x", MaxURL+1) },
	"too many superseded":     func(e *Envelope) { e.Supersedes = many("x", MaxList+1) },
	"audit number":            func(e *Envelope) { e.Audit.Seq = 0 },
	"audit hash":              func(e *Envelope) { e.Audit.Hash = "0" },
	"statistics nameless":     func(e *Envelope) { e.Evidence.Statistics[""] = 1 },
	"guardrails text too big": func(e *Envelope) { e.Guardrails.BlockedBy = []string{strings.Repeat("x", MaxText+1)} },
}

func numbered(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("a", i)] = "x"
	}
	return m
}

func many[T any](v T, n int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func TestMutatedEnvelopesAreRefusedByCodeAndSchema(t *testing.T) {
	schema := compileSchema(t)
	for name, mutate := range mutations {
		t.Run(name, func(t *testing.T) {
			e := full()
			mutate(&e)
			assert.Error(t, e.Validate(), "code")
			data, err := e.MarshalCanonical()
			require.NoError(t, err)
			assert.Error(t, conforms(t, schema, data), "schema")
			_, err = Decode(data)
			assert.Error(t, err, "decode")
		})
	}
}

func TestWhatJSONCannotExpressIsRefused(t *testing.T) {
	for name, mutate := range map[string]func(*Envelope){
		"NaN":            func(e *Envelope) { e.Confidence.Value = math.NaN() },
		"Inf burn":       func(e *Envelope) { e.Evidence.Windows[0].BurnRate = new(math.Inf(1)) },
		"Inf delta":      func(e *Envelope) { e.Expected.Delta = new(math.Inf(-1)) },
		"NaN statistic":  func(e *Envelope) { e.Evidence.Statistics["x"] = math.NaN() },
		"invalid UTF-8":  func(e *Envelope) { e.Target.Service = "\xff" },
		"year 10000":     func(e *Envelope) { e.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"zero time":      func(e *Envelope) { e.ValidFrom = time.Time{} },
		"expected at":    func(e *Envelope) { e.Expected.At = &time.Time{} },
		"ends too early": func(e *Envelope) { e.ExpiresAt = e.ValidFrom.Add(-1) },
		"goes back":      func(e *Envelope) { e.UpdatedAt = e.ValidFrom.Add(-1) },
	} {
		e := full()
		mutate(&e)
		assert.Error(t, e.Validate(), name)
	}
}

func TestDecodeRefusesWhatItCannotVouchFor(t *testing.T) {
	data, err := full().MarshalCanonical()
	require.NoError(t, err)
	for name, broken := range map[string]string{
		"empty":         "",
		"array":         "[]",
		"null":          "null",
		"truncated":     string(data[:len(data)/2]),
		"unknown field": strings.Replace(string(data), `"id":`, `"ip":"10.0.0.1","id":`, 1),
		"two of them":   string(data) + string(data),
		"wrong type":    strings.Replace(string(data), `"version":1`, `"version":"1"`, 1),
	} {
		_, err := Decode([]byte(broken))
		assert.Error(t, err, name)
	}
}

func TestCanonicalFormIsStable(t *testing.T) {
	e := full()
	first, err := e.MarshalCanonical()
	require.NoError(t, err)
	e.ValidFrom = e.ValidFrom.In(time.FixedZone("x", 7200))
	e.Expected.At = new(e.Expected.At.In(time.FixedZone("x", 7200)))
	for range 50 {
		again, err := e.MarshalCanonical()
		require.NoError(t, err)
		require.Equal(t, string(first), string(again))
	}
	assert.True(t, strings.HasPrefix(string(first), `{"id":"`), "the id comes first")
	assert.NotContains(t, string(first), "\n")
	e.Summary = "a<b>&c"
	data, err := e.MarshalCanonical()
	require.NoError(t, err)
	assert.Contains(t, string(data), `"a<b>&c"`)
}

func TestIDDependsOnEveryPartAndOnNothingElse(t *testing.T) {
	target := Target{Service: "a", Namespace: "b", Environment: "c", Revision: "d", Objective: "e"}
	key := map[string]string{"x": "1", "y": "2"}
	id := NewID("k", target, key, t0)
	assert.Regexp(t, "^[0-9a-f]{32}$", id)
	assert.Equal(t, id, NewID("k", target, map[string]string{"y": "2", "x": "1"}, t0.In(time.FixedZone("x", 3600))))
	seen := map[string]string{id: "original"}
	for name, other := range map[string]string{
		"kind":        NewID("l", target, key, t0),
		"service":     NewID("k", Target{"z", "b", "c", "d", "e", nil}, key, t0),
		"shifted":     NewID("k", Target{"ab", "", "c", "d", "e", nil}, key, t0),
		"namespace":   NewID("k", Target{"a", "z", "c", "d", "e", nil}, key, t0),
		"environment": NewID("k", Target{"a", "b", "z", "d", "e", nil}, key, t0),
		"revision":    NewID("k", Target{"a", "b", "c", "z", "e", nil}, key, t0),
		"objective":   NewID("k", Target{"a", "b", "c", "d", "z", nil}, key, t0),
		"key value":   NewID("k", target, map[string]string{"x": "1", "y": "3"}, t0),
		"key name":    NewID("k", target, map[string]string{"x": "1", "z": "2"}, t0),
		"no key":      NewID("k", target, nil, t0),
		"start":       NewID("k", target, key, t0.Add(1)),
	} {
		assert.NotContains(t, seen, other, name)
		seen[other] = name
	}
}

func TestStateMachine(t *testing.T) {
	states := []State{"", StatePending, StateFiring, StateResolved, StateSuperseded, StateExpired, "nonsense"}
	allowed := map[State]string{
		"":           "pending firing",
		StatePending: "pending firing resolved superseded expired",
		StateFiring:  "firing resolved superseded expired",
	}
	for _, from := range states {
		for _, to := range states {
			want := to != "" && strings.Contains(" "+allowed[from]+" ", " "+string(to)+" ")
			assert.Equal(t, want, from.CanBecome(to), "%q to %q", from, to)
		}
	}
	assert.False(t, State("").Known())
	assert.False(t, State("nonsense").Ended())
	assert.True(t, StateExpired.Ended())
	assert.False(t, StateFiring.Ended())
}

func TestBoundKeepsEveryEnvelopeUnderTheLimit(t *testing.T) {
	schema := compileSchema(t)
	rng := rand.New(rand.NewPCG(1, 2))
	trimmed := 0
	for i := range 300 {
		e := full()
		e.Audit = nil
		e.Evidence.Trimmed = nil
		// A quote takes two bytes in JSON, so that the bounds of the fields alone do not bound the whole.
		text := func() string { return strings.Repeat(`"`, rng.IntN(MaxText+1)) }
		for range rng.IntN(MaxContributors + 1) {
			e.Evidence.Contributors = append(e.Evidence.Contributors[:min(len(e.Evidence.Contributors), MaxContributors-1)],
				Contributor{Attribute: "a", Value: text()})
		}
		e.Evidence.Withheld, e.Evidence.Windows, e.CausedBy = nil, nil, nil
		for range rng.IntN(MaxList + 1) {
			e.Evidence.Withheld = append(e.Evidence.Withheld, text())
			e.Evidence.Windows = append(e.Evidence.Windows, Window{Rule: text(), Window: text()})
			e.CausedBy = append(e.CausedBy, text())
		}
		before, err := e.MarshalCanonical()
		require.NoError(t, err)
		bounded, err := Bound(e)
		if err != nil {
			require.ErrorIs(t, err, errTooLarge)
			continue
		}
		after, err := bounded.MarshalCanonical()
		require.NoError(t, err)
		require.LessOrEqual(t, len(after)+auditReserve, MaxBytes, i)
		unchanged, err := e.MarshalCanonical()
		require.NoError(t, err)
		require.Equal(t, string(before), string(unchanged), "the argument was changed")
		require.NoError(t, bounded.Validate())
		require.NoError(t, conforms(t, schema, after))
		if len(before) <= MaxBytes-auditReserve {
			require.Equal(t, string(before), string(after), "cut without need")
		} else {
			trimmed++
			require.NotEmpty(t, bounded.Evidence.Trimmed)
		}
		// With its place in the ledger it still fits.
		recorded, err := (&Chain{Seq: math.MaxInt64}).Append(bounded)
		require.NoError(t, err)
		final, err := recorded.MarshalCanonical()
		require.NoError(t, err)
		require.LessOrEqual(t, len(final), MaxBytes)
	}
	assert.Positive(t, trimmed, "no case was large enough to test anything")
}

func TestBoundCutsInTheStatedOrder(t *testing.T) {
	e := full()
	e.Audit = nil
	e.Evidence.Exemplars = many(e.Evidence.Exemplars[0], 5)
	e.Evidence.Trimmed = nil
	e.CausedBy = many(strings.Repeat(`"`, MaxText), 16) // 8 kB each that must stay
	e.Supersedes = e.CausedBy
	e.Evidence.Withheld = many(strings.Repeat(`"`, MaxText), 16)
	e.Evidence.Contributors = many(Contributor{Attribute: strings.Repeat(`"`, MaxText), Value: strings.Repeat(`"`, MaxText)}, MaxContributors)
	bounded, err := Bound(e)
	require.NoError(t, err)
	assert.Equal(t, []string{"contributors", "exemplars", "statistics", "withheld"}, bounded.Evidence.Trimmed)
	assert.Len(t, bounded.Evidence.Contributors, 1)
	assert.Len(t, bounded.Evidence.Exemplars, 3)
	assert.Len(t, bounded.Evidence.Windows, 2, "windows go last")

	e.Summary = strings.Repeat("x", 3*MaxBytes)
	_, err = Bound(e)
	require.ErrorIs(t, err, errTooLarge)
}

func TestAllowListLetsNoPersonalDataThrough(t *testing.T) {
	l := NewAllowList("tenant.id")
	for _, name := range []string{"http.route", "service.version", "tenant.id"} {
		assert.True(t, l.Allows(name), name)
	}
	for _, name := range []string{"user.id", "user.email", "client.address", "url.full", "url.path", "url.query", "db.query.text", "enduser.id", "http.target", "HTTP.ROUTE", ""} {
		assert.False(t, l.Allows(name), name)
	}
	assert.False(t, NewAllowList().Allows("tenant.id"))
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"plain":             "plain",
		"a\x00b\nc\x1b[31m": "abc[31m",
		"a\u202egnp.exe":    "agnp.exe",
		"bad\xffutf8":       "badutf8",
		"äöüäöü":            "äöüä",
		"12345678901":       "12345678",
		"":                  "",
	} {
		assert.Equal(t, want, CleanText(in, 8), "%q", in)
	}
	assert.LessOrEqual(t, len(CleanText(strings.Repeat("€", 1<<16), 100)), 100)
}

func FuzzCleanText(f *testing.F) {
	f.Add("a\u202e\xff\n€", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = int(uint16(limit))
		got := CleanText(s, limit)
		if len(got) > limit || strings.ToValidUTF8(got, "") != got || CleanText(got, limit) != got {
			t.Fatalf("%q", got)
		}
	})
}

func TestChainFindsEveryFlippedByte(t *testing.T) {
	var chain Chain
	var records []Envelope
	for i := range 5 {
		e := full()
		e.Update = i
		recorded, err := chain.Append(e)
		require.NoError(t, err)
		records = append(records, recorded)
	}
	head, err := Verify(records)
	require.NoError(t, err)
	assert.Equal(t, chain, head)
	assert.EqualValues(t, 1, records[0].Audit.Seq)
	assert.Equal(t, genesis, records[0].Audit.PrevHash)

	line, err := records[2].MarshalCanonical()
	require.NoError(t, err)
	found := 0
	for i := range line {
		flipped := bytes.Clone(line)
		flipped[i] ^= 1
		var e Envelope
		if json.Unmarshal(flipped, &e) != nil {
			continue // not even JSON any more
		}
		again, err := e.MarshalCanonical()
		require.NoError(t, err)
		if bytes.Equal(again, line) {
			continue // the flip is not visible in what was decoded, as in the case of a key
		}
		_, err = Verify([]Envelope{records[0], records[1], e, records[3], records[4]})
		require.Error(t, err, "byte %d of %s", i, line)
		found++
	}
	assert.Greater(t, found, 500)

	for name, broken := range map[string][]Envelope{
		"removed":    {records[0], records[2]},
		"swapped":    {records[1], records[0]},
		"unrecorded": {full(), minimal()},
		"repeated":   {records[0], records[0]},
	} {
		_, err := Verify(broken)
		assert.Error(t, err, name)
	}
	_, err = Verify(records[2:])
	require.NoError(t, err, "a bounded ledger forgets its oldest")
	_, err = Verify(nil)
	require.NoError(t, err)

	bad := full()
	bad.Confidence.Value = math.NaN()
	before := chain
	_, err = chain.Append(bad)
	require.Error(t, err)
	assert.Equal(t, before, chain)
}
