// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/tests/harness"
)

// fault is one line of the recording's truth.
type fault struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Type    string    `json:"type"`
}

// island is a stretch of the recording without a silence of more than two minutes.
type island struct{ start, end time.Time }

// The recording is 26 islands of four to eight minutes, each around one or two injected faults. Return and exception faults show as
// error logs in the service at fault or in one that calls it; a signal that fires between the fault and the end of its island, and
// names such a service, has found it.
func TestTrainTicketFaultsAreNamedBySignals(t *testing.T) {
	recording := recordings.Path(t, "trainticket")
	signalsFile := play(t, recording)

	signals, err := readSignals(signalsFile)
	require.NoError(t, err)
	var fired []envelope
	for _, s := range signals {
		if s.State == "firing" && s.Kind == "optimization.slo.burn" {
			fired = append(fired, s)
		}
	}
	require.NotEmpty(t, fired, "no objective burned")

	islands := islandsOf(t, filepath.Join(recording, "traces.jsonl.gz"))
	callers := callersOf(t, filepath.Join(recording, "traces.jsonl.gz"))
	var found, exact, wanted int
	explained := map[string]bool{}
	for _, f := range faultsOf(t, filepath.Join(recording, "faults.json")) {
		if f.Type != "return" && f.Type != "exception" {
			continue
		}
		wanted++
		i := slices.IndexFunc(islands, func(i island) bool { return !f.Time.Before(i.start) && !f.Time.After(i.end) })
		require.GreaterOrEqual(t, i, 0, "fault at %s lies in no island", f.Time)
		var named []string
		for _, s := range fired {
			if s.ValidFrom.Before(f.Time) || s.ValidFrom.After(islands[i].end) {
				continue
			}
			if s.Target.Service == f.Service || slices.Contains(callers[f.Service], s.Target.Service) {
				named = append(named, s.Target.Service)
				explained[s.ID] = true
			}
		}
		if len(named) > 0 {
			found++
		}
		if slices.Contains(named, f.Service) {
			exact++
		}
		t.Logf("%s %-9s %-30s named: %v", f.Time.Format(time.TimeOnly), f.Type, f.Service, named)
	}

	const command = "make e2e"
	ids := map[string]bool{}
	for _, s := range fired {
		ids[s.ID] = true
	}
	record := func(row, reached, wanted string) {
		figures.Record(t, figures.Figure{Table: "TrainTicket replayed: signals against injected faults", Row: row, Reached: reached, Wanted: wanted, Command: command})
	}
	record("return and exception faults with a signal that names the service at fault or a direct caller", fmt.Sprintf("%d of %d", found, wanted), "8 of 24")
	record("of these, the service at fault itself", fmt.Sprintf("%d of %d", exact, wanted), "")
	record("signals that fired", strconv.Itoa(len(ids)), "")
	record("signals that name neither the service of a fault in their island nor a direct caller of it", strconv.Itoa(len(ids)-len(explained)), "")
	assert.GreaterOrEqual(t, found, 8)
}

// play runs the recording through configs/replay.yaml from empty state to its end and returns the file of signals.
func play(t *testing.T, recording string) string {
	t.Helper()
	signalsFile := filepath.Join(t.TempDir(), "signals.jsonl")
	at := newEndpoints(t)
	collector := harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "pitwall-sidecar"),
		Configs:   []string{config(t, "replay.yaml")},
		Env:       append(at.env, "PITWALL_RECORDING="+recording, "PITWALL_SIGNALS_FILE="+signalsFile),
		HealthURL: at.healthURL(),
	})
	harness.Await(t, 4*time.Minute, "the end of the recording", func() bool {
		return strings.Contains(collector.Logs(), "The recording was played to its end")
	})
	exit, err := collector.Stop()
	require.NoError(t, err)
	require.Zero(t, exit.Code)
	return signalsFile
}

// An incident played twice must be explained the same way twice, or nobody can discuss a finding.
func TestTheSameRecordingGivesTheSameSignals(t *testing.T) {
	recording := recordings.Path(t, "trainticket")
	first, second := withoutAudit(t, play(t, recording)), withoutAudit(t, play(t, recording))
	require.NotEmpty(t, first)
	same := 0
	for i := range min(len(first), len(second)) {
		if first[i] == second[i] {
			same++
		} else if same == i {
			t.Logf("line %d, first run:\n%s\nsecond run:\n%s", i+1, first[i], second[i])
		}
	}
	figures.Record(t, figures.Figure{
		Table:   "Determinism",
		Row:     "TrainTicket replayed twice by the built binary, from empty state: lines of signals with identical bytes, audit aside",
		Reached: fmt.Sprintf("%d of %d", same, max(len(first), len(second))),
		Wanted:  "all",
		Command: "make e2e",
	})
	assert.Equal(t, max(len(first), len(second)), same)
}

// audit is the envelope's place in the ledger, which tells when it was written.
var audit = regexp.MustCompile(`"audit":\{[^{}]*\}`)

func withoutAudit(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(path))
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(audit.ReplaceAllString(string(content), "")), "\n")
}

func faultsOf(t *testing.T, path string) []fault {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(path))
	require.NoError(t, err)
	var faults []fault
	require.NoError(t, json.Unmarshal(content, &faults))
	return faults
}

// islandsOf splits the recording where no span began for two minutes. (Some of its log records carry times before 1970.)
func islandsOf(t *testing.T, path string) []island {
	t.Helper()
	var times []int64
	eachSpan(t, path, func(_ string, s ptrace.Span) { times = append(times, int64(s.StartTimestamp())) })
	slices.Sort(times)
	var islands []island
	for i, ns := range times {
		at := time.Unix(0, ns)
		if i == 0 || at.Sub(islands[len(islands)-1].end) > 2*time.Minute {
			islands = append(islands, island{start: at, end: at})
		}
		islands[len(islands)-1].end = at
	}
	return islands
}

// callersOf returns, by service, the services that have a span which is the parent of one of its spans.
func callersOf(t *testing.T, path string) map[string][]string {
	t.Helper()
	type child struct{ parent, service string }
	services := map[string]string{}
	var children []child
	eachSpan(t, path, func(service string, s ptrace.Span) {
		trace := s.TraceID().String()
		services[trace+s.SpanID().String()] = service
		children = append(children, child{trace + s.ParentSpanID().String(), service})
	})
	callers := map[string][]string{}
	for _, c := range children {
		if caller := services[c.parent]; caller != "" && caller != c.service && !slices.Contains(callers[c.service], caller) {
			callers[c.service] = append(callers[c.service], caller)
		}
	}
	return callers
}

// eachSpan reads a file of OTLP requests, one a line.
func eachSpan(t *testing.T, path string, use func(service string, s ptrace.Span)) {
	t.Helper()
	file, err := os.Open(filepath.Clean(path))
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	scanner := bufio.NewScanner(unzipped)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(scanner.Bytes())
		require.NoError(t, err)
		for _, rs := range traces.ResourceSpans().All() {
			name, _ := rs.Resource().Attributes().Get("service.name")
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					use(name.Str(), s)
				}
			}
		}
	}
	require.NoError(t, scanner.Err())
}
