// SPDX-License-Identifier: Apache-2.0

package tailsampling

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// adversary makes requests that are meant to break a bound in bytes, of so many spans, each under a resource of its own. One request
// is changed again and again, by fill, so that making it leaves little to collect: the heap that is measured is the processor's.
type adversary struct {
	name  string
	spans int
	fill  func(n, i int, r *rand.Rand, span ptrace.Span, resource pcommon.Map)
}

var adversaries = []adversary{
	{"one endless trace", 200, func(n, i int, _ *rand.Rand, span ptrace.Span, _ pcommon.Map) {
		span.SetTraceID(pcommon.TraceID{1})
		span.Attributes().PutInt("n", int64(n*1000+i))
	}},
	{"one-span traces", 500, func(_, _ int, r *rand.Rand, span ptrace.Span, _ pcommon.Map) { span.SetTraceID(randomID(r)) }},
	{"huge attributes", 2, func(_, _ int, r *rand.Rand, span ptrace.Span, _ pcommon.Map) {
		span.SetTraceID(randomID(r))
		noise(r, span.Attributes(), "huge", 200_000)
	}},
	{"a resource a span", 100, func(_, _ int, r *rand.Rand, span ptrace.Span, resource pcommon.Map) {
		span.SetTraceID(randomID(r))
		noise(r, resource, "noise", 40)
	}},
	{"an operation a span", 200, func(n, i int, r *rand.Rand, span ptrace.Span, _ pcommon.Map) {
		span.SetTraceID(pcommon.TraceID{byte(n >> 16), byte(n >> 8), byte(n), byte(i / 10)})
		span.SetName(strconv.FormatUint(r.Uint64(), 36))
	}},
	{"errors only", 200, func(_, _ int, r *rand.Rand, span ptrace.Span, _ pcommon.Map) {
		span.SetTraceID(randomID(r))
		span.Status().SetCode(ptrace.StatusCodeError)
		noise(r, span.Attributes(), "a", 300)
	}},
}

// request makes the first request.
func (a *adversary) request() ptrace.Traces {
	td := ptrace.NewTraces()
	for i := range a.spans {
		span := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		span.SetSpanID(spanID(uint64(i + 1)))
		span.SetName("op")
	}
	return td
}

// renew makes it the nth.
func (a *adversary) renew(n int, r *rand.Rand, td ptrace.Traces) {
	for i, rs := range td.ResourceSpans().All() {
		a.fill(n, i, r, rs.ScopeSpans().At(0).Spans().At(0), rs.Resource().Attributes())
	}
}

func randomID(r *rand.Rand) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[:8], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	return id
}

// noise is an attribute that does not compress well.
func noise(r *rand.Rand, attributes pcommon.Map, key string, n int) {
	v, ok := attributes.Get(key)
	if !ok {
		v = attributes.PutEmpty(key)
		v.SetEmptyBytes().FromRaw(make([]byte, n))
	}
	bytes := v.Bytes()
	for i := range n {
		bytes.SetAt(i, byte(r.Uint32()))
	}
}

// liveHeap collects what is not in use and tells what is. Of what a collection finds while others go on allocating, much is garbage by
// then, so nobody brings requests meanwhile.
func liveHeap() int64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// The live heap, looked at again and again while adversaries do their worst, against the limit and a tenth.
func TestTheLiveHeapStaysWithinTheLimit(t *testing.T) {
	const limitMiB = 64
	// A look takes as long as a collection, which does not count.
	every := 100 * time.Millisecond
	if scale() >= 1 {
		every = 10 * time.Millisecond
	}
	// Coders and pools are made when first used, and are not part of the limit.
	run(t, peers[1].factory, map[string]any{"policies": benchmarkPolicies}, []ptrace.Traces{benchmarkRequest(), benchmarkRequest()})
	var worst float64
	looks := 0
	for _, adversary := range adversaries {
		t.Run(adversary.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			td := adversary.request()
			adversary.renew(0, r, td)
			liveHeap()
			before := liveHeap()
			p := create(t, peers[1].factory, map[string]any{
				"decision_wait": "10m", "num_traces": 10_000_000, "memory_limit_mib": limitMiB, "policies": benchmarkPolicies,
				"drop_pending_traces_on_shutdown": true,
			}, consumertest.NewNop())
			// At least twice the limit comes in.
			var sent, most int64
			looked := time.Now()
			for n := 1; sent < 2*limitMiB<<20; n++ {
				adversary.renew(n, r, td)
				sent += int64((&ptrace.ProtoMarshaler{}).TracesSize(td))
				require.NoError(t, p.ConsumeTraces(t.Context(), td))
				if time.Since(looked) >= every {
					most = max(most, liveHeap()-before)
					looks++
					looked = time.Now()
				}
			}
			most = max(most, liveHeap()-before)
			require.NoError(t, p.Shutdown(context.Background()))
			share := float64(most) / (limitMiB << 20)
			worst = max(worst, share)
			t.Logf("%d MiB of a limit of %d", most>>20, limitMiB)
			assert.LessOrEqual(t, share, 1.1)
		})
	}
	figures.Record(t, figures.Figure{
		Table: "Tail sampling", Row: fmt.Sprintf("most live heap under adversarial input, looked at every %v, %d times", every, looks),
		Reached: fmt.Sprintf("%.0f %% of the limit", 100*worst), Wanted: "110 %",
		Command: "PITWALL_SCALE=1 go -C tests/peers/tailsampling test -run TestTheLiveHeapStaysWithinTheLimit -v .",
	})
}
