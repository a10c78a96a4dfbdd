// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cardinalityprocessor

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// threadTime is the processor time of the calling thread. Other work on the machine does not blur it as it does the clock.
func threadTime() time.Duration {
	var t syscall.Timespec
	const clockThreadCPUTime = 3
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPUTime, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0
	}
	return time.Duration(t.Nano())
}

// traffic is one kind of traffic, each with an engine of its own.
type traffic struct {
	name   string
	engine *engine
	next   func() pmetric.Metrics
	spent  []time.Duration
	onward []time.Duration // the same, and the encoding of what leaves, as an exporter does it
}

func (l *traffic) run(tb testing.TB) {
	md := l.next()
	before := threadTime()
	err := l.engine.consume(context.Background(), md, consumertest.NewNop())
	l.spent = append(l.spent, threadTime()-before)
	require.NoError(tb, err)
	_, err = (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	l.onward = append(l.onward, threadTime()-before)
	require.NoError(tb, err)
}

// perAttribute is the median in nanoseconds.
func perAttribute(spent []time.Duration) float64 {
	slices.Sort(spent)
	return float64(spent[len(spent)/2].Nanoseconds()) / benchPoints / benchAttributes
}

// copies hands out copies of requests in turn: a processor that rewrites its input needs a fresh one each time, and so that what is
// compared differs in nothing else, the others get one too.
func copies(requests ...pmetric.Metrics) func() pmetric.Metrics {
	i := 0
	return func() pmetric.Metrics {
		again := pmetric.NewMetrics()
		requests[i%len(requests)].CopyTo(again)
		i++
		return again
	}
}

// strangers hands out copies in which every point has a user.id never seen before.
func strangers(like pmetric.Metrics) func() pmetric.Metrics {
	next, users := copies(like), 0
	return func() pmetric.Metrics {
		md := next()
		for _, dp := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().All() {
			users++
			v, _ := dp.Attributes().Get("user.id")
			v.SetStr(fmt.Sprintf("user-%08d", users))
		}
		return md
	}
}

// The cost of an explosion against the calm, taken in turns in one thread. It asserts no time; the figures go to the evaluation.
func TestSpeedOfCalmAndExplosion(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	rounds := cases(t, 1000, 20)
	for _, kind := range []pmetric.AggregationTemporality{delta, cumulative} {
		roomy := func(c *Config) { c.Limits.MemoryMiB = 1024 }
		calm := &traffic{name: "all known and kept", engine: newBench(t, roomy)}
		folded := &traffic{name: "50,000 known values folded", engine: newBench(t, roomy)}
		var quiet, requests []pmetric.Metrics // as many of each: texts lie as far apart in memory here as there
		for n := range 50 {
			quiet = append(quiet, benchLoad(kind, calm.engine.now(), func(i int) string { return fmt.Sprintf("user-%08d", i%50) }))
			requests = append(requests, benchLoad(kind, folded.engine.now(), func(i int) string { return fmt.Sprintf("user-%08d", n*benchPoints+i) }))
		}
		calm.next, folded.next = copies(quiet...), copies(requests...)
		exploding := &traffic{name: "every value new", engine: newBench(t, roomy)}
		exploding.next = strangers(requests[0])
		loads := []*traffic{calm, folded, exploding}
		for _, l := range loads {
			for range 50 {
				l.run(t)
			}
			l.spent, l.onward = l.spent[:0], l.onward[:0]
		}
		for i := range rounds {
			if i%10 == 0 {
				runtime.GC() // of the copies: it must not fall into the measured time
			}
			for _, l := range loads {
				l.run(t)
			}
		}
		for _, l := range loads {
			per, onward := perAttribute(l.spent), perAttribute(l.onward)
			figures.Record(t, figures.Figure{
				Table: "cardinality: speed", Row: kind.String() + ", " + l.name,
				Reached: fmt.Sprintf("%.0f ns per attribute, %.1f M points/s and core, %.2f times the calm; with the encoding of what leaves %.0f ns, %.2f times",
					per, 1e3/per/benchAttributes, per/perAttribute(calm.spent), onward, onward/perAttribute(calm.onward)),
				Wanted:  "150 ns, 1 M points/s, 1.3 times",
				Command: "PITWALL_SCALE=1 taskset -c 1 go test -run SpeedOfCalm -v ./processor/cardinalityprocessor",
			})
		}
		stats := exploding.engine.limiter.Stats()
		require.Positive(t, stats.Folded)
	}
}
