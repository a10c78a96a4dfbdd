// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/examples/shop/truth"
)

func TestEveryFaultHasATruthAndWorkingDefaults(t *testing.T) {
	names := make([]string, 0, len(Specs))
	for _, spec := range Specs {
		names = append(names, spec.Name)
		known, err := truth.Of(spec.Name)
		require.NoError(t, err)
		assert.Equal(t, spec.Name, known.Fault)
		assert.True(t, strings.HasPrefix(known.Kind, "optimization."), known.Kind)
		assert.NotEmpty(t, known.Telemetry)
		assert.NotEmpty(t, known.MustNot)
		params, err := spec.Resolve(nil)
		require.NoError(t, err)
		assert.Len(t, params, len(spec.params))
		for _, key := range []string{known.ServiceParam, known.VersionParam} {
			if key != "" {
				assert.NotEmpty(t, params.Text(key), "%s must be a text parameter of %s", key, spec.Name)
			}
		}
		// The defaults must be allowed values themselves.
		again, err := spec.Resolve(params.plain())
		require.NoError(t, err)
		assert.Equal(t, params, again)
	}
	assert.Equal(t, truth.Faults(), slices.Sorted(slices.Values(names)), "one truth a fault, and no other")
}

func TestTruthAboutSomethingElseIsAnError(t *testing.T) {
	_, err := truth.Of("earthquake")
	require.ErrorContains(t, err, "earthquake")
}

func TestBadParametersAreRefusedWithKeyAndValue(t *testing.T) {
	for _, c := range []struct{ fault, body, want string }{
		{Errors, `{"rate":1.5}`, "errors: rate must be from 0.001 to 1 (got 1.5)"},
		{Errors, `{"rate":0}`, "rate must be from 0.001 to 1 (got 0)"},
		{Errors, `{"rate":true}`, "rate must be a number (got true)"},
		{Errors, `{"rate":"much"}`, "rate must be a number (got much)"},
		{Errors, `{"rate":"NaN"}`, "rate must be from 0.001 to 1 (got NaN)"},
		{Errors, `{"service":"bank"}`, "service must be one of frontend, cart, checkout, payment, inventory (got bank)"},
		{Errors, `{"service":7}`, "service must be a text (got 7)"},
		{Errors, `{"speed":7}`, "errors: unknown parameter speed (got 7): there are service, rate"},
		{SlowDependency, `{"delay":300}`, `delay must be a duration in quotes, such as "300ms" (got 300)`},
		{SlowDependency, `{"delay":"soon"}`, `delay must be a duration such as "300ms" (got soon)`},
		{SlowDependency, `{"delay":"1h"}`, "delay must be from 1ms to 1.5s (got 1h)"},
		{RetryStorm, `{"attempts":2.5}`, "attempts must be a whole number (got 2.5)"},
		{MemoryLeak, `{"max_mb":100000}`, "max_mb must be from 1 to 512 (got 100000)"},
		{Canary, `{"version":""}`, "version must be up to 32"},
		{Canary, `{"version":"1.0 beta"}`, "version must be up to 32"},
		{Canary, `{"version":"` + strings.Repeat("1", 33) + `"}`, "version must be up to 32"},
		{UnboundedLabel, `{"max_values":1e9}`, "max_values must be from 10 to 15000 (got 1e+09)"},
	} {
		t.Run(c.body, func(t *testing.T) {
			set := NewSet(time.Now, nil, nil)
			status, answer := send(t, set, http.MethodPost, "/faults/"+c.fault, c.body)
			assert.Equal(t, http.StatusBadRequest, status)
			assert.Contains(t, answer["error"], c.want)
			assert.Empty(t, set.Active())
		})
	}
}

func send(t *testing.T, set *Set, method, path, body string) (int, map[string]any) {
	t.Helper()
	request := httptest.NewRequest(method, "http://127.0.0.1:8088"+path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	return serve(t, set, request)
}

func serve(t *testing.T, set *Set, request *http.Request) (int, map[string]any) {
	t.Helper()
	answer := httptest.NewRecorder()
	set.Handler().ServeHTTP(answer, request)
	var body map[string]any
	if answer.Body.Len() > 0 && strings.HasPrefix(answer.Header().Get("Content-Type"), "application/json") {
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body))
	}
	return answer.Code, body
}

func TestControlSwitchesAndShows(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	set := NewSet(func() time.Time { return now }, nil, nil)

	status, answer := send(t, set, http.MethodPost, "/faults/slow-dependency", `{"delay":"20ms"}`)
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, map[string]any{"service": "inventory", "delay": "20ms"}, answer["params"])
	params, on := set.Lookup(SlowDependency)
	require.True(t, on)
	assert.Equal(t, 20*time.Millisecond, params.Duration("delay"))

	status, answer = send(t, set, http.MethodGet, "/faults", "")
	require.Equal(t, http.StatusOK, status)
	listed := answer["faults"].([]any)
	require.Len(t, listed, len(Specs))
	for _, item := range listed {
		one := item.(map[string]any)
		assert.Equal(t, one["name"] == SlowDependency, one["on"])
		if one["name"] == SlowDependency {
			assert.Equal(t, "2026-01-01T00:00:00Z", one["since"])
		}
	}

	for range 2 {
		status, _ = send(t, set, http.MethodDelete, "/faults/slow-dependency", "")
		assert.Equal(t, http.StatusNoContent, status)
	}
	_, on = set.Lookup(SlowDependency)
	assert.False(t, on)
}

func TestControlTakesDefaultsFromAnEmptyBody(t *testing.T) {
	set := NewSet(time.Now, nil, nil)
	request := httptest.NewRequest(http.MethodPost, "http://localhost:8088/faults/errors", nil)
	status, answer := serve(t, set, request)
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, map[string]any{"service": "checkout", "rate": 0.3}, answer["params"])
}

func TestControlRefusesOddRequests(t *testing.T) {
	set := NewSet(time.Now, nil, nil)
	for name, c := range map[string]struct {
		request func() *http.Request
		status  int
	}{
		"unknown fault": {func() *http.Request { return newRequest(http.MethodPost, "/faults/fire", "{}") }, http.StatusNotFound},
		"unknown off":   {func() *http.Request { return newRequest(http.MethodDelete, "/faults/fire", "") }, http.StatusNotFound},
		"no JSON":       {func() *http.Request { return newRequest(http.MethodPost, "/faults/errors", "rate=1") }, http.StatusBadRequest},
		"an array":      {func() *http.Request { return newRequest(http.MethodPost, "/faults/errors", "[]") }, http.StatusBadRequest},
		"null":          {func() *http.Request { return newRequest(http.MethodPost, "/faults/errors", "null") }, http.StatusBadRequest},
		"trailing":      {func() *http.Request { return newRequest(http.MethodPost, "/faults/errors", "{} {}") }, http.StatusBadRequest},
		"huge": {func() *http.Request {
			return newRequest(http.MethodPost, "/faults/errors", "{"+strings.Repeat(" ", maxBody)+"}")
		}, http.StatusBadRequest},
		"a form": {func() *http.Request {
			r := newRequest(http.MethodPost, "/faults/errors", "{}")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}, http.StatusBadRequest},
		"another site's script": {func() *http.Request {
			r := newRequest(http.MethodPost, "/faults/errors", "{}")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			return r
		}, http.StatusForbidden},
		"a rebound name": {func() *http.Request {
			r := newRequest(http.MethodPost, "/faults/errors", "{}")
			r.Host = "evil.example.com:8088"
			return r
		}, http.StatusForbidden},
		"another address": {func() *http.Request {
			r := newRequest(http.MethodGet, "/faults", "")
			r.Host = "192.0.2.1"
			return r
		}, http.StatusForbidden},
	} {
		status, _ := serve(t, set, c.request())
		assert.Equal(t, c.status, status, name)
	}
	assert.Empty(t, set.Active())
	for _, host := range []string{"localhost", "localhost:8088", "127.0.0.1:8088", "[::1]:8088"} {
		r := newRequest(http.MethodGet, "/faults", "")
		r.Host = host
		status, _ := serve(t, set, r)
		assert.Equal(t, http.StatusOK, status, host)
	}
}

func newRequest(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8088"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestFlagsNameValuesInOrderOrByKey(t *testing.T) {
	for arg, want := range map[string]Params{
		"errors":                       {"service": "checkout", "rate": 0.3},
		"errors=payment":               {"service": "payment", "rate": 0.3},
		"errors=payment:0.5":           {"service": "payment", "rate": 0.5},
		"errors=rate=1":                {"service": "checkout", "rate": 1.0},
		"errors=rate=1,service=cart":   {"service": "cart", "rate": 1.0},
		"slow-dependency=cart:5ms":     {"service": "cart", "delay": 5 * time.Millisecond},
		"memory-leak=max_mb=3":         {"max_mb": 3.0, "kb_per_request": 64.0},
		"canary=error_rate=0,delay=0s": {"weight": 5.0, "error_rate": 0.0, "delay": time.Duration(0), "version": "1.5.0"},
	} {
		_, params, err := ParseFlag(arg)
		require.NoError(t, err, arg)
		assert.Equal(t, want, params, arg)
	}
	for arg, want := range map[string]string{
		"fire":               `unknown fault "fire"`,
		"errors=cart:1:2":    "too many values",
		"errors=cart:2":      "rate must be from 0.001 to 1 (got 2)",
		"errors=speed=1":     "unknown parameter speed",
		"n-plus-one=1":       "items must be from 2 to 40 (got 1)",
		"errors=rate=1,cart": "unknown parameter cart",
	} {
		_, _, err := ParseFlag(arg)
		require.ErrorContains(t, err, want, arg)
	}
}

func TestSwitchingAgainEndsTheOldAndStartsTheNew(t *testing.T) {
	var journal bytes.Buffer
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var told []string
	set := NewSet(func() time.Time { now = now.Add(time.Second); return now }, NewJournal(&journal), func(name string, params Params) error {
		told = append(told, name+"("+params.String()+")")
		return nil
	})
	spec, err := Find(Errors)
	require.NoError(t, err)
	for _, name := range []string{"cart", "payment"} {
		params, err := spec.Resolve(map[string]any{"service": name})
		require.NoError(t, err)
		require.NoError(t, set.Enable(Errors, params))
	}
	require.NoError(t, set.DisableAll())
	require.NoError(t, set.DisableAll())
	assert.Equal(t, []string{"errors(rate=0.3 service=cart)", "errors()", "errors(rate=0.3 service=payment)", "errors()"}, told)

	var lines []string
	for line := range strings.Lines(journal.String()) {
		var e Event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		lines = append(lines, e.Event+" "+e.Service)
		if e.End != nil {
			assert.Equal(t, time.Second, e.End.Sub(e.Start))
		}
	}
	assert.Equal(t, []string{"start cart", "end cart", "start payment", "end payment"}, lines)
}

func TestAFaultWhoseHookFailsStaysOff(t *testing.T) {
	set := NewSet(time.Now, nil, func(string, Params) error { return errors.New("no room") })
	status, answer := send(t, set, http.MethodPost, "/faults/canary", "{}")
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Equal(t, "switching on canary: no room", answer["error"])
	assert.Empty(t, set.Active())
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAJournalThatCannotBeWrittenIsReported(t *testing.T) {
	set := NewSet(time.Now, NewJournal(brokenWriter{}), nil)
	_, answer := send(t, set, http.MethodPost, "/faults/errors", "{}")
	assert.Equal(t, "writing the truth journal: disk full", answer["error"])
}

func TestReadersSeeWholeParametersWhileOthersSwitch(t *testing.T) {
	set := NewSet(time.Now, nil, nil)
	spec, err := Find(Errors)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for _, name := range []string{"cart", "payment"} {
		params, err := spec.Resolve(map[string]any{"service": name})
		require.NoError(t, err)
		wg.Go(func() {
			for range 200 {
				assert.NoError(t, set.Enable(Errors, maps.Clone(params)))
				assert.NoError(t, set.Disable(Errors))
			}
		})
	}
	for range 500 {
		if params, on := set.Lookup(Errors); on {
			assert.Contains(t, []string{"cart", "payment"}, params.Text("service"))
			assert.InDelta(t, 0.3, params.Number("rate"), 0)
		}
	}
	wg.Wait()
	assert.Empty(t, set.Active())
}

func FuzzControlNeverBreaks(f *testing.F) {
	f.Add("errors", `{"service":"checkout","rate":0.3}`)
	f.Add("canary", `{"weight":"5","delay":"1ms","version":"1"}`)
	f.Add("memory-leak", `{"max_mb":1e400}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		spec, err := Find(name)
		if err != nil {
			return
		}
		set := NewSet(time.Now, nil, nil)
		status, _ := send(t, set, http.MethodPost, "/faults/"+name, body)
		params, on := set.Lookup(name)
		require.Equal(t, status == http.StatusOK, on)
		if on {
			// Whatever was accepted is within the bounds of the fault.
			_, err := spec.Resolve(params.plain())
			require.NoError(t, err)
		}
	})
}
