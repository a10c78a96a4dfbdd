// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/internal/slo"
)

func eachLine(t testing.TB, path string, visit func(line []byte)) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	zipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	lines := bufio.NewScanner(zipped)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		visit(lines.Bytes())
	}
	require.NoError(t, lines.Err())
}

type fault struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Type    string    `json:"type"`
}

func readFaults(t *testing.T) []fault {
	text, err := os.ReadFile(recordings.Path(t, "trainticket", "faults.json"))
	require.NoError(t, err)
	var faults []fault
	require.NoError(t, json.Unmarshal(text, &faults))
	return faults
}

// callers maps each service to those that call it directly, after the parent links of the traces.
func callers(t *testing.T) map[string]map[string]bool {
	type id [8]byte
	service := map[id]string{}
	type link struct {
		parent id
		callee string
	}
	var links []link
	unmarshaler := ptrace.JSONUnmarshaler{}
	eachLine(t, recordings.Path(t, "trainticket", "traces.jsonl.gz"), func(line []byte) {
		td, err := unmarshaler.UnmarshalTraces(line)
		require.NoError(t, err)
		for _, rs := range td.ResourceSpans().All() {
			name, _ := rs.Resource().Attributes().Get("service.name")
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					service[id(span.SpanID())] = name.Str()
					links = append(links, link{id(span.ParentSpanID()), name.Str()})
				}
			}
		}
	})
	out := map[string]map[string]bool{}
	for _, l := range links {
		if caller := service[l.parent]; caller != "" && caller != l.callee {
			if out[l.callee] == nil {
				out[l.callee] = map[string]bool{}
			}
			out[l.callee][caller] = true
		}
	}
	return out
}

// negativeTime is what three lines of the recording hold and pdata refuses.
var negativeTime = regexp.MustCompile(`"timeUnixNano":"-[0-9]+"`)

type island struct{ start, end time.Time }

// TestTrainTicketFaultsAlertOnTheServiceAtFault replays a day of a real system. An objective per service on log severity is to
// alert, within the island of a return or exception fault, on the service at fault or on one that calls it.
func TestTrainTicketFaultsAlertOnTheServiceAtFault(t *testing.T) {
	path := recordings.Path(t, "trainticket", "logs.jsonl.gz")
	faults := readFaults(t)
	settings := slo.DefaultSettings()
	settings.Profile = slo.Demo()
	engine, err := slo.New(settings, []slo.Objective{{
		Name: "log-errors", Target: 0.999, Window: slo.Duration(slo.Day), GroupBy: []string{"service.name"}, MaxGroups: 1000,
		Indicator: slo.Indicator{Kind: slo.IndicatorLogs, BadSeverity: int32(plog.SeverityNumberError)},
	}})
	require.NoError(t, err)
	p := &logsProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}

	var times []time.Time
	unmarshaler := plog.JSONUnmarshaler{}
	eachLine(t, path, func(line []byte) {
		ld, err := unmarshaler.UnmarshalLogs(negativeTime.ReplaceAll(line, []byte(`"timeUnixNano":"0"`)))
		require.NoError(t, err)
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					times = append(times, lr.Timestamp().AsTime())
				}
			}
		}
		require.NoError(t, p.ConsumeLogs(t.Context(), ld))
	})
	islands := findIslands(times)
	calls := callers(t)
	alerts := engine.TakeTransitions()

	hits, wanted := 0, 0
	explained := map[int]bool{}
	for _, f := range faults {
		if f.Type != "return" && f.Type != "exception" {
			continue
		}
		wanted++
		at := slices.IndexFunc(islands, func(i island) bool { return !f.Time.Before(i.start) && !f.Time.After(i.end) })
		require.GreaterOrEqual(t, at, 0, "fault at %s lies in no island", f.Time)
		found := []string{}
		for n, a := range alerts {
			if !a.Firing || a.At.Before(islands[at].start) || a.At.After(islands[at].end) {
				continue
			}
			if a.Service == f.Service || calls[f.Service][a.Service] {
				explained[n] = true
				found = append(found, a.Service+a.At.Sub(f.Time).String())
			}
		}
		if len(found) > 0 {
			hits++
		}
		t.Logf("%s %-28s %-10s island %s: %s", f.Time.Format(time.TimeOnly), f.Service, f.Type, islands[at].start.Format(time.TimeOnly), found)
	}
	others := 0
	for n, a := range alerts {
		if a.Firing && !explained[n] {
			others++
			t.Logf("other alert: %s %s good %v bad %v", a.At.Format(time.TimeOnly), a.Service, a.Good, a.Bad)
		}
	}
	t.Logf("faults named: %d of %d; alerts that name no fault: %d", hits, wanted, others)
	require.GreaterOrEqual(t, hits, 8)
}

func findIslands(times []time.Time) []island {
	slices.SortFunc(times, time.Time.Compare)
	var out []island
	for _, at := range times {
		if n := len(out); n > 0 && at.Sub(out[n-1].end) < time.Minute {
			out[n-1].end = at
			continue
		}
		out = append(out, island{at, at})
	}
	return out
}
