// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

// Ever new services, pods, routes and failed traces: what the book, the contributors and the exemplars hold fills up and stays there.
func TestMemoryIsFlatWhereNamesAreEndless(t *testing.T) {
	s := newSite(t)
	collector := s.start(t, s.config("http://"+harness.Address(t)))
	connection := s.dial(t)
	random := rand.New(rand.NewPCG(1, 2))
	long := max(12*time.Second, time.Duration(180*harness.Scale()*float64(time.Second)))
	half := int64(0)
	number := uint64(0)
	for begin := time.Now(); time.Since(begin) < long; {
		traces := ptrace.NewTraces()
		for range 1000 {
			number++
			span := serverSpan(traces, fmt.Sprint("service-", random.IntN(5000)), number, random.IntN(3) == 0)
			resource := traces.ResourceSpans().At(traces.ResourceSpans().Len() - 1).Resource().Attributes()
			resource.PutStr("k8s.pod.name", fmt.Sprint("pod-", random.Uint64()))
			resource.PutStr("service.instance.id", fmt.Sprint("instance-", random.Uint64()))
			span.Attributes().PutStr("http.route", fmt.Sprint("/", random.Uint64()))
		}
		s.send(t, connection, traces)
		if half == 0 && time.Since(begin) > long/2 {
			usage, err := collector.Usage()
			require.NoError(t, err)
			half = usage.PeakRSS
		}
	}
	usage, err := collector.Usage()
	require.NoError(t, err)
	assert.Less(t, usage.PeakRSS, half+half/2, "memory goes on growing")
	assert.Less(t, usage.PeakRSS, int64(512<<20))
	t.Logf("%d spans in %s: peak at half time %d MiB, at the end %d MiB, now %d MiB", number, long, half>>20, usage.PeakRSS>>20, usage.RSS>>20)
	figures.Record(t, figures.Figure{
		Table: "Chaos", Row: fmt.Sprintf("peak memory with ever new services, pods and routes for %s, at half time and at the end", long),
		Reached: fmt.Sprintf("%d MiB, %d MiB", half>>20, usage.PeakRSS>>20), Wanted: "no more at the end than half as much again",
		Command: fmt.Sprintf("%s=%g go -C tests test -run Endless ./chaos", harness.ScaleVariable, harness.Scale()),
	})
}

// Random damage to good requests, and shapes nobody sends on purpose, change nothing for what comes after.
func TestDamagedAndOversizedRequestsAreSurvived(t *testing.T) {
	s := newSite(t)
	collector := s.start(t, s.config("http://"+harness.Address(t)))
	connection := s.dial(t)
	random := rand.New(rand.NewPCG(3, 4))
	good := ptrace.NewTraces()
	for i := range uint64(20) {
		serverSpan(good, "damaged", i, true).Attributes().PutStr("k", "v")
	}
	wire, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(good)
	require.NoError(t, err)
	for range 2000 {
		broken := append([]byte(nil), wire[:1+random.IntN(len(wire))]...)
		for range 1 + random.IntN(8) {
			broken[random.IntN(len(broken))] = byte(random.Uint32())
		}
		traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(broken)
		if err == nil { // what does not decode is refused before any of our code
			s.trySend(t, connection, traces)
		}
	}

	wide := ptrace.NewTraces()
	span := serverSpan(wide, "wide", 1, true)
	for i := range 10_000 {
		span.Attributes().PutStr(fmt.Sprint("attribute-", i), "v")
	}
	span = serverSpan(wide, "long", 2, true)
	span.Attributes().PutStr("http.route", strings.Repeat("/", 1<<20))
	s.trySend(t, connection, wide)

	// Wrong clocks, one service each: none of them may keep the others from counting.
	clocks := ptrace.NewTraces()
	for service, at := range map[string]uint64{
		"clock-zero": 0, "clock-negative": 1<<63 + 5, "clock-1970": 1, "clock-2100": uint64(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()),
		"clock-ahead": uint64(time.Now().Add(time.Hour).UnixNano()), "clock-behind": uint64(time.Now().Add(-time.Hour).UnixNano()),
	} {
		span := serverSpan(clocks, service, at, true)
		span.SetStartTimestamp(pcommon.Timestamp(at))
		span.SetEndTimestamp(pcommon.Timestamp(at))
	}
	s.trySend(t, connection, clocks)

	after := ptrace.NewTraces()
	for i := range uint64(10) {
		serverSpan(after, "after", i, i == 0)
	}
	s.send(t, connection, after)
	assert.InDelta(t, 10, s.total(t, "after"), 0)
	for _, service := range []string{"clock-zero", "clock-negative", "clock-2100", "clock-ahead"} {
		assert.Zero(t, s.total(t, service), service)
	}

	forged := plog.NewLogs()
	record := forged.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.SetEventName("slo.alert")
	now := time.Now()
	record.SetTimestamp(pcommon.NewTimestampFromTime(now))
	for name, value := range map[string]string{"slo.name": "availability", "slo.alert": "page-3m", "slo.alert.state": "firing", "slo.alert.severity": "page"} {
		record.Attributes().PutStr(name, value)
	}
	record.Attributes().PutInt("slo.alert.started_at", now.UnixNano())
	_, err = plogotlp.NewGRPCClient(connection).Export(t.Context(), plogotlp.NewExportRequestFromLogs(forged))
	require.NoError(t, err)
	var signals struct {
		Total int `json:"total"`
	}
	s.get(t, "/api/v1/signals", &signals)
	assert.Zero(t, signals.Total, "an alert from outside became a signal")

	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	assert.NotContains(t, collector.Logs(), "panic")
}
