// SPDX-License-Identifier: Apache-2.0

// Package cardinality_test holds the cardinality processor, in the built binary, against what a real Prometheus sees of it.
package cardinality_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// prometheus is a running server.
type prometheus struct{ address string }

const scrapeEvery = 500 * time.Millisecond

// startPrometheus scrapes targets; the label view tells from which one a series is.
func startPrometheus(t *testing.T, targets map[string]string) prometheus {
	t.Helper()
	binary := harness.Peer(t, "prometheus")
	p := prometheus{address: harness.Address(t)}
	var jobs strings.Builder
	for name, target := range targets {
		fmt.Fprintf(&jobs, "  - {job_name: %[1]s, honor_labels: true, static_configs: [{targets: ['%[2]s'], labels: {view: %[1]s}}]}\n", name, target)
	}
	config := harness.WriteFile(t, "prometheus.yml", fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s}\nscrape_configs:\n%s",
		scrapeEvery, scrapeEvery, jobs.String()))
	harness.Start(t, harness.Options{
		Binary:    binary,
		Args:      []string{"--config.file=" + config, "--storage.tsdb.path=" + t.TempDir(), "--web.listen-address=" + p.address},
		HealthURL: "http://" + p.address + "/-/ready",
	})
	return p
}

// sample is a value at a time in milliseconds, the unit of Prometheus' own clock.
type sample struct {
	at    int64
	value float64
}

type series struct {
	labels  map[string]string
	samples []sample
}

// query evaluates an expression, at a time in milliseconds if there is one.
func (p prometheus) query(t *testing.T, expression string, at int64) []series {
	t.Helper()
	form := url.Values{"query": {expression}}
	if at != 0 {
		form.Set("time", seconds(at))
	}
	return p.ask(t, "query", form)
}

// trace evaluates an expression over a range of times.
func (p prometheus) trace(t *testing.T, expression string, from, to int64, step time.Duration) []series {
	t.Helper()
	return p.ask(t, "query_range", url.Values{"query": {expression}, "start": {seconds(from)}, "end": {seconds(to)}, "step": {step.String()}})
}

func seconds(milliseconds int64) string {
	return strconv.FormatFloat(float64(milliseconds)/1000, 'f', 3, 64)
}

func (p prometheus) ask(t *testing.T, what string, form url.Values) []series {
	t.Helper()
	response, err := http.PostForm("http://"+p.address+"/api/v1/"+what, form) //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  json.RawMessage
				Values []json.RawMessage
			}
		}
	}
	require.NoError(t, json.Unmarshal(body, &answer), string(body))
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
	var all []series
	for _, r := range answer.Data.Result {
		s := series{labels: r.Metric}
		if r.Value != nil {
			r.Values = append(r.Values, r.Value)
		}
		for _, raw := range r.Values {
			s.samples = append(s.samples, parse(t, raw))
		}
		all = append(all, s)
	}
	return all
}

func parse(t *testing.T, raw json.RawMessage) sample {
	t.Helper()
	var seconds float64
	var text string
	require.NoError(t, json.Unmarshal(raw, &[]any{&seconds, &text}))
	value, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return sample{at: int64(seconds*1000 + 0.5), value: value}
}

// one is the value of an expression with a single result; false when there is none yet.
func (p prometheus) one(t *testing.T, expression string, at int64) (float64, bool) {
	t.Helper()
	all := p.query(t, expression, at)
	if len(all) != 1 {
		return 0, false
	}
	return all[0].samples[0].value, true
}

// settled returns a moment, of the unit of Prometheus' own clock, at which all targets had answered. On a busy machine a scrape may take
// longer than it may, and all series are gone until the next.
func (p prometheus) settled(t *testing.T, targets int) int64 {
	t.Helper()
	var at int64
	harness.Await(t, time.Minute, "a scrape of all targets", func() bool {
		at = time.Now().Add(-2 * scrapeEvery).UnixMilli() // what is scraped until then is stored by now
		answering, _ := p.one(t, "sum(up)", at)
		return answering == float64(targets)
	})
	return at
}
