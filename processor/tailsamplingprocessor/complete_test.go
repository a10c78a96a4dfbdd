// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/sampling"
)

// arrival is what one service sends of one trace.
type arrival struct {
	at    time.Time
	trace sampling.TraceID
	spans int
	data  []byte
}

// exported lets each service send its spans every five seconds, as SDKs do, each at a moment of its own.
func (r *recording) exported(t *testing.T) (arrivals []arrival) {
	const every = 5 * time.Second
	random := rand.New(rand.NewPCG(8, 8))
	phases := make(map[string]time.Duration)
	type key struct {
		trace   sampling.TraceID
		service string
		at      int64
	}
	parts := make(map[key]ptrace.SpanSlice)
	var requests []ptrace.Traces
	for _, request := range r.requests {
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(request.data)
		require.NoError(t, err)
		for _, rs := range td.ResourceSpans().All() {
			service, _ := rs.Resource().Attributes().Get("service.name")
			if _, known := phases[service.Str()]; !known {
				phases[service.Str()] = time.Duration(random.Int64N(int64(every)))
			}
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					end := span.EndTimestamp().AsTime().Add(-phases[service.Str()])
					at := end.Truncate(every).Add(every + phases[service.Str()])
					k := key{sampling.TraceID(span.TraceID()), service.Str(), at.UnixNano()}
					if _, known := parts[k]; !known {
						one := ptrace.NewTraces()
						requests = append(requests, one)
						into := one.ResourceSpans().AppendEmpty()
						rs.Resource().CopyTo(into.Resource())
						parts[k] = into.ScopeSpans().AppendEmpty().Spans()
						arrivals = append(arrivals, arrival{at: at, trace: k.trace})
					}
					span.CopyTo(parts[k].AppendEmpty())
				}
			}
		}
	}
	for i := range arrivals {
		arrivals[i].spans = requests[i].SpanCount()
		data, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(requests[i])
		require.NoError(t, err)
		arrivals[i].data = data
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return cmp.Or(a.at.Compare(b.at)) })
	return arrivals
}

// waits replays arrivals and gives how long a span waited on average, how many traces were decided early, and how many spans came late.
func waits(t *testing.T, arrivals []arrival, afterComplete time.Duration) (mean time.Duration, early, late int64) {
	program, err := sampling.Compile([]sampling.Policy{{Name: "all", Kind: sampling.KindAlways}})
	require.NoError(t, err)
	now := arrivals[0].at
	e, err := sampling.New(sampling.Settings{
		DecisionWait: 30 * time.Second, WaitAfterComplete: afterComplete, Tick: time.Second, MaxTraces: 100_000, MemoryLimit: 1 << 30,
		Remembered: 1_000_000, KeptDetails: 1000, Seen: seenShapes,
	}, program, now)
	require.NoError(t, err)
	came := make(map[sampling.TraceID][]arrival)
	var total, spans time.Duration
	var b sampling.Batch
	decide := func(more func(out *sampling.Outputs) bool) {
		var out sampling.Outputs
		for more(&out) {
		}
		for _, k := range out.Kept {
			for _, a := range came[k.ID] {
				total += now.Sub(a.at) * time.Duration(a.spans)
				spans += time.Duration(a.spans)
			}
			delete(came, k.ID)
		}
		e.Delivered(out.Kept)
	}
	for _, a := range arrivals {
		for a.at.Sub(now) > time.Second {
			now = now.Add(time.Second)
			decide(func(out *sampling.Outputs) bool { return e.Due(now, 2048, 64, out) })
		}
		require.NoError(t, b.Parse(a.data, program, nil))
		var out sampling.Outputs
		e.Append(&b, a.at, &out)
		for _, k := range out.Late {
			late += int64(k.Spans)
		}
		e.Delivered(out.Late)
		came[a.trace] = append(came[a.trace], a)
	}
	decide(func(out *sampling.Outputs) bool { return e.Flush(now, 2048, out) })
	stats := e.TakeStats()
	return total / spans, stats.EarlyComplete, late
}

func TestCompleteTracesOfTrainTicketWaitLess(t *testing.T) {
	r := loadRecording(t)
	arrivals := r.exported(t)
	full, _, lateFull := waits(t, arrivals, 0)
	mean, early, late := waits(t, arrivals, 2*time.Second)
	t.Logf("%d traces, %d spans: a span waits %v in full, %v with early decisions; %d decided early; spans late: %d in full, %d early",
		len(r.traces), r.spans, full, mean, early, lateFull, late)
	assert.Less(t, mean, full*9/10)
	assert.Less(t, float64(late-lateFull), 0.002*float64(r.spans))
	figures.Record(t, figures.Figure{
		Table: "Tail sampling", Row: "TrainTicket, spans sent every 5 s by each service: traces decided early, spans that came after that",
		Reached: fmt.Sprintf("%.0f %% (a span waits %.0f s instead of %.0f), %.2f %%", 100*float64(early)/float64(len(r.traces)),
			mean.Seconds(), full.Seconds(), 100*float64(late-lateFull)/float64(r.spans)),
		Command: "go test -run TestCompleteTracesOfTrainTicketWaitLess -v ./processor/tailsamplingprocessor",
	})
}
