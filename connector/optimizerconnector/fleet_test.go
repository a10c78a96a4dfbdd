// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/signallog"
)

// member is one collector of a fleet.
type member struct {
	*instance
	telemetry *componenttest.Telemetry
	board     *fakeBoard
	sent      []plog.Logs
	refuse    error
}

func (m *member) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: true}
}

func newMember(t *testing.T, clock *fakeClock, storage *fakeStorage, change func(*Config)) *member {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	change(cfg)
	m := &member{telemetry: componenttest.NewTelemetry(), board: &fakeBoard{}}
	next, err := consumer.NewLogs(func(_ context.Context, ld plog.Logs) error {
		if m.refuse != nil {
			return m.refuse
		}
		kept := plog.NewLogs()
		ld.CopyTo(kept)
		m.sent = append(m.sent, kept)
		ld.ResourceLogs().RemoveIf(func(plog.ResourceLogs) bool { return true }) // as a consumer may
		return nil
	}, consumer.WithCapabilities(consumer.Capabilities{MutatesData: true}))
	require.NoError(t, err)
	extensions := host{component.MustNewID("optimization"): m.board}
	if storage != nil {
		id := component.MustNewID("file_storage")
		cfg.Storage, extensions[id] = &id, storage
	}
	m.instance, err = newRegistry(clock.read).instance(metadatatest.NewSettings(m.telemetry), cfg, next)
	require.NoError(t, err)
	require.NoError(t, m.Start(t.Context(), extensions))
	return m
}

// take returns what was sent since the last call.
func (m *member) take() []plog.Logs {
	sent := m.sent
	m.sent = nil
	return sent
}

func (m *member) statistics(t *testing.T) map[string]int64 {
	t.Helper()
	got, err := m.telemetry.GetMetric("otelcol_optimizer_statistics")
	if err != nil {
		return nil
	}
	out := map[string]int64{}
	for _, p := range got.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := p.Attributes.Value(attribute.Key("statistics_outcome"))
		out[v.AsString()] = p.Value
	}
	return out
}

func (m *member) verdict(t *testing.T) *signal.Envelope {
	t.Helper()
	var last *signal.Envelope
	for _, ld := range m.sent {
		for _, rl := range ld.ResourceLogs().All() {
			rec := rl.ScopeLogs().At(0).LogRecords().At(0)
			if rec.EventName() == signal.KindCanaryVerdict {
				e, err := signallog.Read(rec)
				require.NoError(t, err)
				last = &e
			}
		}
	}
	return last
}

// requests returns ten seconds of requests to two versions; the new one has more errors.
func requests(r *rand.Rand, at time.Time) []ptrace.Traces {
	var out []ptrace.Traces
	for _, version := range []string{"1", "2"} {
		for i := range 60 {
			td := ptrace.NewTraces()
			rs := td.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("service.name", "checkout")
			rs.Resource().Attributes().PutStr("service.version", version)
			rs.Resource().Attributes().PutStr("service.instance.id", version+strconv.Itoa(i%3))
			s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
			end := at.Add(time.Duration(i) * 166 * time.Millisecond)
			s.SetKind(ptrace.SpanKindServer)
			s.SetTraceID(pcommon.TraceID{1, byte(r.UintN(256)), byte(r.UintN(256)), byte(r.UintN(256))})
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(end.Add(-time.Duration(20e6 * (1 + r.Float64())))))
			if r.Float64() < 0.02 || version == "2" && r.Float64() < 0.06 {
				s.Status().SetCode(ptrace.StatusCodeError)
			}
			out = append(out, td)
		}
	}
	return out
}

// However the requests are split, and in whatever order and how often their statistics arrive, the decider says what one collector says.
func TestDeciderSaysWhatOneCollectorThatSawAllWouldSay(t *testing.T) {
	clock := &fakeClock{now: t0}
	short := func(c *Config) { c.Canary.WarmUp = 10 * time.Second }
	alone, decider := newMember(t, clock, nil, short), newMember(t, clock, nil, short)
	var replicas []*member
	for range 3 {
		replicas = append(replicas, newMember(t, clock, nil, func(c *Config) { short(c); c.Decider = false }))
	}
	r := rand.New(rand.NewPCG(3, 3))
	delivered := 0
	for range 60 {
		for _, td := range requests(r, clock.read()) {
			require.NoError(t, replicas[r.IntN(3)].ConsumeTraces(t.Context(), td))
			require.NoError(t, alone.ConsumeTraces(t.Context(), td))
		}
		clock.advance(10 * time.Second)
		var onTheWay []plog.Logs
		for _, one := range replicas {
			onTheWay = append(onTheWay, one.take()...)
		}
		r.Shuffle(len(onTheWay), func(i, j int) { onTheWay[i], onTheWay[j] = onTheWay[j], onTheWay[i] })
		for _, ld := range onTheWay {
			again := plog.NewLogs()
			ld.CopyTo(again)
			require.NoError(t, decider.ConsumeLogs(t.Context(), ld))
			require.NoError(t, decider.ConsumeLogs(t.Context(), again)) // the answer was lost, so it is sent again
			delivered++
		}
	}
	want, got := alone.verdict(t), decider.verdict(t)
	require.NotNil(t, want)
	require.NotNil(t, got)
	require.Equal(t, signal.ResultFail, want.Result.Value, "the fault is found at all")
	assert.Equal(t, want.Result, got.Result)
	assert.Equal(t, want.Target, got.Target)
	assert.Equal(t, want.UpdatedAt, got.UpdatedAt)
	assert.InDeltaMapValues(t, want.Evidence.Statistics, got.Evidence.Statistics, 1e-6)
	counted := decider.statistics(t)
	assert.Positive(t, delivered)
	assert.Equal(t, counted["merged"], counted["duplicate"])
	assert.Equal(t, map[string]int64{"merged": counted["merged"], "duplicate": counted["merged"]}, counted)
	for _, one := range replicas {
		assert.Empty(t, one.board.published, "only the decider says anything")
		one.engine.tick(t.Context())
		assert.Contains(t, one.board.snapshots["optimizer optimizer"], `"decider":false`)
		require.NoError(t, one.Shutdown(t.Context()))
	}
	require.NoError(t, alone.Shutdown(t.Context()))
	require.NoError(t, decider.Shutdown(t.Context()))
}

func TestStatisticsWaitForADeciderThatCannotBeReached(t *testing.T) {
	clock := &fakeClock{now: t0}
	replica := newMember(t, clock, nil, func(c *Config) { c.Decider = false })
	r := rand.New(rand.NewPCG(1, 1))
	replica.refuse = errors.New("unreachable")
	for range 5 {
		for _, td := range requests(r, clock.read()) {
			require.NoError(t, replica.ConsumeTraces(t.Context(), td))
		}
		clock.advance(10 * time.Second)
	}
	replica.engine.tick(t.Context())
	assert.Empty(t, replica.sent)
	replica.refuse = nil
	require.NoError(t, replica.Shutdown(t.Context()), "what is left goes at the end")
	sequences, requests := map[int64]bool{}, 0
	decider := newMember(t, clock, nil, func(*Config) {})
	for _, ld := range replica.sent {
		requests += ld.LogRecordCount()
		for _, rec := range ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			n, ok := rec.Attributes().Get(attrSequence)
			require.True(t, ok)
			sequences[n.Int()] = true
		}
		require.NoError(t, decider.ConsumeLogs(t.Context(), ld))
	}
	assert.Len(t, sequences, requests, "every part has a number of its own")
	assert.Equal(t, map[string]int64{"sent": int64(requests)}, replica.statistics(t))
	assert.Equal(t, map[string]int64{"merged": int64(requests)}, decider.statistics(t))
	require.NoError(t, decider.Shutdown(t.Context()))
}

func TestWhatWaitsForTheDeciderIsBounded(t *testing.T) {
	p := parcels{sender: "a"}
	dropped := 0
	for range 100 {
		dropped += p.add(parcel{body: make([]byte, 1<<20)})
	}
	assert.LessOrEqual(t, p.bytes, maxParcels)
	assert.Equal(t, 100, dropped+len(p.waiting))
	assert.Equal(t, int64(100), p.waiting[len(p.waiting)-1].sequence)
}

func TestChangesReachTheDeciderOnce(t *testing.T) {
	clock := &fakeClock{now: t0}
	var sent []plog.Logs
	for range 2 { // the same webhook went to both
		replica := newMember(t, clock, nil, func(c *Config) { c.Decider = false })
		ld := plog.NewLogs()
		appendChange(ld, "", "", 0, detect.Change{
			ID: "d1", Kind: detect.Deployment, Time: t0, Action: "deploy", State: "succeeded", Service: "checkout", Version: "2", Tool: "argocd",
		})
		require.NoError(t, replica.ConsumeLogs(t.Context(), ld))
		require.NoError(t, replica.Shutdown(t.Context()))
		sent = append(sent, replica.sent...)
	}
	require.Len(t, sent, 2)
	decider := newMember(t, clock, nil, func(*Config) {})
	for _, ld := range sent {
		require.NoError(t, decider.ConsumeLogs(t.Context(), ld))
	}
	require.Len(t, decider.engine.changes.list(), 1)
	assert.Equal(t, "argocd", decider.engine.changes.list()[0].Tool)
	require.NoError(t, decider.Shutdown(t.Context()))
}

func TestAlertsReachTheDeciderOnce(t *testing.T) {
	clock := &fakeClock{now: t0}
	replica, decider := newMember(t, clock, nil, func(c *Config) { c.Decider = false }), newMember(t, clock, nil, func(*Config) {})
	require.NoError(t, replica.ConsumeLogs(t.Context(), alertLog("firing", t0, nil)))
	replica.engine.tick(t.Context())
	require.Len(t, replica.sent, 1)
	for range 2 {
		again := plog.NewLogs()
		replica.sent[0].CopyTo(again)
		require.NoError(t, decider.ConsumeLogs(t.Context(), again))
	}
	require.Len(t, decider.sent, 1)
	assert.Equal(t, signal.KindSLOBurn, decider.sent[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).EventName())
	assert.Empty(t, replica.board.published)
	require.NoError(t, replica.Shutdown(t.Context()))
	require.NoError(t, decider.Shutdown(t.Context()))
}

func TestNumbersOfSendersAreKeptOverARestart(t *testing.T) {
	clock, storage := &fakeClock{now: t0}, &fakeStorage{values: map[string][]byte{}}
	replica := newMember(t, clock, nil, func(c *Config) { c.Decider = false })
	for _, td := range requests(rand.New(rand.NewPCG(1, 1)), t0) {
		require.NoError(t, replica.ConsumeTraces(t.Context(), td))
	}
	require.NoError(t, replica.Shutdown(t.Context()))
	for life, want := range []string{"merged", "duplicate"} {
		decider := newMember(t, clock, storage, func(*Config) {})
		n := 0
		for _, ld := range replica.sent {
			again := plog.NewLogs()
			ld.CopyTo(again)
			n += ld.LogRecordCount()
			require.NoError(t, decider.ConsumeLogs(t.Context(), again))
		}
		assert.Equal(t, map[string]int64{want: int64(n)}, decider.statistics(t), "life %d", life)
		require.NoError(t, decider.Shutdown(t.Context()))
	}
}

func TestStatisticsThatCannotBeUsedAreRefusedByReason(t *testing.T) {
	clock := &fakeClock{now: t0}
	replica := newMember(t, clock, nil, func(c *Config) { c.Decider = false })
	for _, td := range requests(rand.New(rand.NewPCG(1, 1)), t0) {
		require.NoError(t, replica.ConsumeTraces(t.Context(), td))
	}
	require.NoError(t, replica.Shutdown(t.Context()))
	good := replica.sent[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	for want, damage := range map[string]func(plog.LogRecord){
		"merged":           func(plog.LogRecord) {},
		"damaged":          func(rec plog.LogRecord) { rec.Body().Bytes().SetAt(60, rec.Body().Bytes().At(60)^1) },
		"unknown_detector": func(rec plog.LogRecord) { rec.Attributes().PutStr(attrDetector, "crystal-ball") },
		"missing_field":    func(rec plog.LogRecord) { rec.Attributes().Remove(attrSender) },
		"wrong_type":       func(rec plog.LogRecord) { rec.Attributes().PutStr(attrSequence, "1") },
		"out_of_range":     func(rec plog.LogRecord) { rec.Attributes().PutInt(attrSequence, -1) },
		"too_long":         func(rec plog.LogRecord) { rec.Body().SetEmptyBytes().FromRaw(make([]byte, maxStatistics+1)) },
		"future":           func(rec plog.LogRecord) { rec.SetTimestamp(pcommon.NewTimestampFromTime(t0.Add(time.Hour))) },
		"not_decider":      func(plog.LogRecord) {},
	} {
		m := newMember(t, clock, nil, func(c *Config) { c.Decider = want != "not_decider" })
		ld := plog.NewLogs()
		rec := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		good.CopyTo(rec)
		rec.Body().SetEmptyBytes().FromRaw(good.Body().Bytes().AsRaw()) // a copy of its own
		damage(rec)
		require.NoError(t, m.ConsumeLogs(t.Context(), ld))
		assert.Equal(t, map[string]int64{want: 1}, m.statistics(t))
		require.NoError(t, m.Shutdown(t.Context()))
	}
}

func TestSenderWindow(t *testing.T) {
	s := senders{}
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[int64]bool{}
	last := int64(0)
	for range 20_000 {
		n := max(1, last+r.Int64N(40)-30)
		if r.IntN(500) == 0 {
			n += 3_000
		}
		got := s.known("a", n, t0)
		switch {
		case last-n >= sequenceWindow:
			require.Equal(t, statisticsTooOld, got)
		case seen[n]:
			require.Equal(t, statisticsDuplicate, got, "%d", n)
		default:
			require.Empty(t, got, "%d after %d", n, last)
		}
		seen[n], last = true, max(last, n)
	}
	for i := range 2 * maxSenders {
		s.known(strconv.Itoa(i), 1, t0.Add(time.Duration(i)*time.Second))
	}
	assert.Len(t, s, maxSenders)
	assert.Equal(t, statisticsDuplicate, s.known(strconv.Itoa(2*maxSenders-1), 1, t0))
}

// A gateway that starts while senders have a backlog has waited for a while when the first of it comes.
func TestBacklogAfterAnIdleStartIsToldStepByStep(t *testing.T) {
	clock := &fakeClock{now: t0}
	replica := newMember(t, clock, nil, func(c *Config) { c.Decider = false })
	for range 20 {
		clock.now = clock.now.Add(time.Second)
		replica.engine.tick(t.Context())
	}
	r := rand.New(rand.NewPCG(4, 4))
	const slices = 30
	for s := range slices {
		for _, td := range requests(r, t0.Add(-time.Hour+time.Duration(s)*10*time.Second)) {
			require.NoError(t, replica.ConsumeTraces(t.Context(), td))
		}
	}
	told := map[time.Time]bool{}
	for _, ld := range replica.take() {
		for _, rl := range ld.ResourceLogs().All() {
			told[rl.ScopeLogs().At(0).LogRecords().At(0).Timestamp().AsTime()] = true
		}
	}
	assert.GreaterOrEqual(t, len(told), slices-1, "evaluations of event time")
	require.NoError(t, replica.Shutdown(t.Context()))
}

// What waited for the decider may come in one request: after an absence, or where an exporter makes batches.
func TestDeciderTakesManyEvaluationsInOneRequest(t *testing.T) {
	clock := &fakeClock{now: t0}
	short := func(c *Config) { c.Canary.WarmUp = 10 * time.Second }
	alone, decider := newMember(t, clock, nil, short), newMember(t, clock, nil, short)
	replica := newMember(t, clock, nil, func(c *Config) { short(c); c.Decider = false })
	r := rand.New(rand.NewPCG(3, 3))
	for range 60 {
		for _, td := range requests(r, clock.read()) {
			require.NoError(t, replica.ConsumeTraces(t.Context(), td))
			require.NoError(t, alone.ConsumeTraces(t.Context(), td))
		}
		clock.advance(10 * time.Second)
	}
	all := plog.NewLogs()
	for _, ld := range replica.take() {
		ld.ResourceLogs().MoveAndAppendTo(all.ResourceLogs())
	}
	require.NoError(t, decider.ConsumeLogs(t.Context(), all))
	want, got := alone.verdict(t), decider.verdict(t)
	require.NotNil(t, want)
	require.NotNil(t, got)
	assert.Equal(t, want.Result, got.Result)
	assert.Equal(t, want.UpdatedAt, got.UpdatedAt)
	assert.InDeltaMapValues(t, want.Evidence.Statistics, got.Evidence.Statistics, 1e-6)
	for _, one := range []*member{alone, replica, decider} {
		require.NoError(t, one.Shutdown(t.Context()))
	}
}
