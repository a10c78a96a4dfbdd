// SPDX-License-Identifier: Apache-2.0

package tailsampling

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
)

func numbered(n uint64) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[:8], n*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], n*0xbf58476d1ce4e5b9)
	return id
}

// overload brings traces for a minute, so many times as fast as num_traces / decision_wait: two spans at once and a third, which may
// fail, 300 ms later. It gives the shares of error traces and of shapes that come out whole, of those that came while the load lasted
// for longer than decision_wait.
func overload(t *testing.T, f processor.Factory, times float64, extra ...any) (errors, shapes float64) {
	const (
		places    = 1000
		wait      = 10
		seconds   = 60
		allShapes = 200
	)
	synctest.Test(t, func(t *testing.T) {
		out := &sink{spans: make(map[pcommon.TraceID]int)}
		p := create(t, f, map[string]any{
			"decision_wait": fmt.Sprint(wait, "s"), "num_traces": places, "policies": append([]any{
				map[string]any{"name": "errors", "type": "status_code", "status_code": map[string]any{"status_codes": []any{"ERROR"}}},
			}, extra...),
		}, out)
		isError, shapeOf := make(map[pcommon.TraceID]bool), make(map[pcommon.TraceID]int)
		n := uint64(0)
		add := func(ss ptrace.ScopeSpans, number uint64, last bool) {
			id := numbered(number)
			span := ss.Spans().AppendEmpty()
			span.SetTraceID(id)
			span.SetSpanID(spanID(number))
			span.SetName(fmt.Sprint("op-", shapeOf[id]))
			if last && isError[id] {
				span.Status().SetCode(ptrace.StatusCodeError)
			}
		}
		perStep := uint64(times * places / wait / 10)
		for range seconds * 10 {
			td := ptrace.NewTraces()
			ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
			for range perStep {
				n++
				isError[numbered(n)], shapeOf[numbered(n)] = n%20 == 0, int(n/7%allShapes)
				add(ss, n, false)
				add(ss, n, false)
				if n > 3*perStep {
					add(ss, n-3*perStep, true)
				}
			}
			require.NoError(t, p.ConsumeTraces(t.Context(), td))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep((wait + 3) * time.Second)
		synctest.Wait()
		require.NoError(t, p.Shutdown(context.Background()))
		var all, kept float64
		seen := make(map[int]bool)
		for number := uint64(1); number < n-(wait+2)*10*perStep; number++ {
			id := numbered(number)
			bad := isError[id]
			if bad {
				all++
			}
			if out.spans[id] == 3 {
				seen[shapeOf[id]] = true
				if bad {
					kept++
				}
			}
		}
		errors, shapes = kept/all, float64(len(seen))/allShapes
	})
	return errors, shapes
}

func TestThereIsNoCliff(t *testing.T) {
	// The coders of segments make channels when first used, which must not happen inside a bubble of synctest.
	run(t, peers[1].factory, map[string]any{"policies": []any{map[string]any{"name": "all", "type": "always_sample"}}}, []ptrace.Traces{benchmarkRequest(), benchmarkRequest()})
	diversity := map[string]any{"name": "shapes", "type": "diversity"}
	var m measured
	for _, times := range []float64{0.9, 1, 1.5, 2, 4, 10} {
		theirs, _ := overload(t, peers[0].factory, times)
		ours, shapes := overload(t, peers[1].factory, times, diversity)
		t.Logf("%4.1f times num_traces / decision_wait: error traces kept: contrib %5.1f %%, this %5.1f %%; shapes kept: %5.1f %%",
			times, 100*theirs, 100*ours, 100*shapes)
		assert.GreaterOrEqual(t, ours, 0.999)
		assert.InDelta(t, 1, shapes, 0)
		m.Cliff = append(m.Cliff, cliffPoint{Times: times, Contrib: theirs, This: ours})
	}
	m.note(t)
}
