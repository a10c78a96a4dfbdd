// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

// sink keeps what it is given; while refuse is set, it refuses.
type sink struct {
	mu     sync.Mutex
	traces []ptrace.Traces
	refuse error
	offers int
}

func (*sink) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (s *sink) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers++
	if s.refuse != nil {
		return s.refuse
	}
	s.traces = append(s.traces, td)
	return nil
}

func (s *sink) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// spans lists what came out, each span with its resource and scope, in an order of its own.
func (s *sink) spans(t *testing.T) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return flatten(t, s.traces)
}

func (s *sink) each(visit func(ptrace.Span)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, td := range s.traces {
		eachSpan(td, visit)
	}
}

func eachSpan(td ptrace.Traces, visit func(ptrace.Span)) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				visit(span)
			}
		}
	}
}

// flatten renders each span, with its resource and scope, as JSON.
func flatten(t *testing.T, all []ptrace.Traces) (out []string) {
	t.Helper()
	for _, td := range all {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					one := ptrace.NewTraces()
					r := one.ResourceSpans().AppendEmpty()
					rs.Resource().CopyTo(r.Resource())
					r.SetSchemaUrl(rs.SchemaUrl())
					s := r.ScopeSpans().AppendEmpty()
					ss.Scope().CopyTo(s.Scope())
					s.SetSchemaUrl(ss.SchemaUrl())
					span.CopyTo(s.Spans().AppendEmpty())
					text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(one)
					require.NoError(t, err)
					out = append(out, string(text))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func configOf(t testing.TB, settings map[string]any) *Config {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	return cfg
}

func startSampler(t testing.TB, settings map[string]any, next consumer.Traces) processor.Traces {
	p, err := NewFactory().CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), configOf(t, settings), next)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	return p
}

// policies wraps policies into a configuration.
func policies(list ...map[string]any) map[string]any {
	all := make([]any, len(list))
	for i := range list {
		all[i] = list[i]
	}
	return map[string]any{"policies": all}
}

var (
	keepAll    = map[string]any{"name": "all", "type": "always_sample"}
	keepErrors = map[string]any{"name": "errors", "type": "status_code", "status_code": map[string]any{"status_codes": []any{"ERROR"}}}
)

func traceID(n uint64) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[:8], n)
	binary.BigEndian.PutUint64(id[8:], n*0x9e3779b97f4a7c15)
	return id
}

// request makes one span for each trace number.
func request(fill func(ptrace.Span), numbers ...uint64) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("https://example.com/resource")
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.SetSchemaUrl("https://example.com/scope")
	ss.Scope().SetName("test")
	for _, n := range numbers {
		span := ss.Spans().AppendEmpty()
		span.SetTraceID(traceID(n))
		span.SetSpanID(pcommon.SpanID{byte(n), 1})
		span.SetName("GET /")
		span.SetStartTimestamp(1_000_000_000)
		span.SetEndTimestamp(1_100_000_000)
		if fill != nil {
			fill(span)
		}
	}
	return td
}

func failed(span ptrace.Span) { span.Status().SetCode(ptrace.StatusCodeError) }

func numbers(from, to uint64) (all []uint64) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// varied draws requests with everything a span can hold.
func varied(r *rand.Rand, requests int) []ptrace.Traces {
	all := make([]ptrace.Traces, requests)
	for i := range all {
		td := ptrace.NewTraces()
		for range 1 + r.IntN(3) {
			rs := td.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", r.IntN(3)))
			if r.IntN(2) == 0 {
				rs.SetSchemaUrl("https://example.com/schema")
			}
			for range 1 + r.IntN(2) {
				ss := rs.ScopeSpans().AppendEmpty()
				ss.Scope().SetName(fmt.Sprint("scope-", r.IntN(2)))
				for range 1 + r.IntN(20) {
					span := ss.Spans().AppendEmpty()
					if n := r.IntN(30); n > 0 {
						span.SetTraceID(traceID(uint64(n)))
					}
					span.SetSpanID(pcommon.SpanID{byte(i), byte(r.IntN(256)), byte(r.IntN(256))})
					span.SetName(fmt.Sprint("op-", r.IntN(9)))
					span.SetKind(ptrace.SpanKindServer)
					span.SetStartTimestamp(pcommon.Timestamp(r.Uint64()))
					span.SetEndTimestamp(pcommon.Timestamp(r.Uint64()))
					span.Attributes().PutStr("text", "value")
					span.Attributes().PutEmptySlice("list").AppendEmpty().SetInt(int64(r.IntN(9)))
					span.Events().AppendEmpty().SetName("event")
					span.Links().AppendEmpty().SetTraceID(traceID(uint64(r.IntN(9))))
					span.Status().SetMessage("message")
					span.SetFlags(r.Uint32())
				}
			}
		}
		all[i] = td
	}
	return all
}

func TestKeptSpansComeOutAsTheyWentIn(t *testing.T) {
	for _, wait := range []string{"0s", "30s"} {
		requests := varied(rand.New(rand.NewPCG(1, 2)), 200)
		out := &sink{}
		settings := policies(keepAll)
		settings["decision_wait"] = wait
		p := startSampler(t, settings, out)
		for _, td := range requests {
			require.NoError(t, p.ConsumeTraces(t.Context(), td))
		}
		require.NoError(t, p.Shutdown(t.Context()))
		assert.Equal(t, flatten(t, requests), out.spans(t))
	}
}

func TestWaitsForTheWholeTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		settings := policies(keepErrors)
		settings["decision_wait"] = "10s"
		p := startSampler(t, settings, out)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1, 2)))
		time.Sleep(8 * time.Second)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(failed, 2)))
		synctest.Wait()
		assert.Empty(t, out.spans(t), "nothing is decided before its time")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		assert.Len(t, out.spans(t), 2, "the trace with the late error is kept whole")
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestRootEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		settings := policies(keepAll)
		settings["decision_wait"], settings["decision_wait_after_root_received"] = "60s", "2s"
		p := startSampler(t, settings, out)
		child := func(s ptrace.Span) { s.SetParentSpanID(pcommon.SpanID{9}) }
		require.NoError(t, p.ConsumeTraces(t.Context(), request(child, 1, 2)))
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		assert.Len(t, out.spans(t), 2, "only the trace with its root is decided")
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestLateSpansFollowTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		settings := policies(keepErrors)
		settings["decision_wait"] = "1s"
		p := startSampler(t, settings, out)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(failed, 1)))
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 2)))
		time.Sleep(3 * time.Second)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
		require.NoError(t, p.ConsumeTraces(t.Context(), request(failed, 2)))
		synctest.Wait()
		assert.Len(t, out.spans(t), 2, "the late span of the kept trace comes at once, that of the other never")
		require.NoError(t, p.Shutdown(t.Context()))
		assert.Len(t, out.spans(t), 2)
	})
}

func TestNothingKeptIsLostWhileTheDestinationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		out.set(errors.New("down"))
		settings := policies(keepAll)
		settings["decision_wait"] = "1s"
		p := startSampler(t, settings, out)
		var sent []ptrace.Traces
		for second := range uint64(60) {
			td := request(nil, numbers(second*100, second*100+100)...)
			sent = append(sent, td)
			require.NoError(t, p.ConsumeTraces(t.Context(), td))
			time.Sleep(time.Second)
		}
		out.set(nil)
		time.Sleep(longestRetry + time.Second)
		require.NoError(t, p.Shutdown(t.Context()))
		assert.Equal(t, flatten(t, sent), out.spans(t))
		assert.Greater(t, out.offers, 10)
	})
}

func TestOnlyTheRefusedPartIsOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		rest := request(nil, 2)
		out.set(consumererror.NewTraces(errors.New("half"), rest))
		p := startSampler(t, policies(keepAll), out)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1, 2)))
		stopped := make(chan error)
		go func() { stopped <- p.Shutdown(context.Background()) }()
		time.Sleep(10 * time.Millisecond)
		out.set(nil)
		require.NoError(t, <-stopped)
		assert.Equal(t, flatten(t, []ptrace.Traces{rest}), out.spans(t))
	})
}

func TestPermanentErrorsAreNotRepeated(t *testing.T) {
	out := &sink{}
	out.set(consumererror.NewPermanent(errors.New("never")))
	p := startSampler(t, policies(keepAll), out)
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Equal(t, 1, out.offers)
}

func TestAFailingDestinationIsFeltUpstreamAndEndsWithShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		out.set(errors.New("down"))
		settings := policies(keepAll)
		settings["decision_wait"], settings["memory_limit_mib"] = "1s", 4
		p := startSampler(t, settings, out)
		big := func(s ptrace.Span) { s.Attributes().PutStr("payload", string(make([]byte, 10_000))) }
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var err error
		taken := uint64(0)
		for ; err == nil; taken++ {
			err = p.ConsumeTraces(ctx, request(big, taken))
			time.Sleep(100 * time.Millisecond)
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Greater(t, taken, uint64(50), "a quarter of the memory may be pending")
		assert.Less(t, taken, uint64(1000), "and no more")
		require.NoError(t, p.Shutdown(context.Background()))
		require.Error(t, p.ConsumeTraces(t.Context(), request(nil, 1)), "nothing is taken after shutdown gave up")
	})
}

func TestBlocksOnOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		settings := policies(keepAll)
		settings["decision_wait"], settings["num_traces"], settings["block_on_overflow"] = "5s", 10, true
		p := startSampler(t, settings, out)
		start := time.Now()
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, numbers(0, 25)...)))
		assert.GreaterOrEqual(t, time.Since(start), 10*time.Second, "places come free twice")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.ConsumeTraces(ctx, request(nil, numbers(100, 200)...)), context.DeadlineExceeded)
		require.NoError(t, p.Shutdown(t.Context()))
		assert.GreaterOrEqual(t, len(out.spans(t)), 25)
	})
}

func TestAtTheBoundTracesAreDecidedAndNotThrownAway(t *testing.T) {
	for _, times := range []uint64{1, 2, 4, 10} {
		t.Run(fmt.Sprint(times, " times num_traces"), func(t *testing.T) {
			const places = 1000
			out := &sink{}
			settings := policies(keepErrors)
			settings["decision_wait"], settings["num_traces"] = "30s", places
			p := startSampler(t, settings, out)
			errorTraces := 0
			for n := range times * places {
				fill := func(s ptrace.Span) {
					if n%20 == 0 {
						failed(s)
						errorTraces++
					}
				}
				require.NoError(t, p.ConsumeTraces(t.Context(), request(fill, n)))
			}
			require.NoError(t, p.Shutdown(t.Context()))
			assert.Len(t, out.spans(t), errorTraces)
		})
	}
}

func TestDropsWhatWaitsOnShutdownWhenAskedTo(t *testing.T) {
	out := &sink{}
	settings := policies(keepAll)
	settings["drop_pending_traces_on_shutdown"] = true
	p := startSampler(t, settings, out)
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1, 2, 3)))
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, p.Shutdown(t.Context()), "a second shutdown does nothing")
	assert.Empty(t, out.spans(t))
}

func TestDropsTracesThatGrowTooLarge(t *testing.T) {
	out := &sink{}
	settings := policies(keepAll)
	settings["maximum_trace_size_bytes"] = 2000
	p := startSampler(t, settings, out)
	big := func(s ptrace.Span) { s.Attributes().PutStr("payload", string(make([]byte, 1200))) }
	require.NoError(t, p.ConsumeTraces(t.Context(), request(big, 1, 2)))
	require.NoError(t, p.ConsumeTraces(t.Context(), request(big, 1)))
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Len(t, out.spans(t), 1)
}
