// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/sliprocessor"
)

var errNoAnswer = errors.New("no answer")

// durable is a book whose every change is stored before a sender is told, as the extension does with `journal: always`.
type durable struct {
	book
	mu    sync.Mutex // of the store: the processor and the connector write to it
	store map[string][]byte
}

// left is what is stored.
func (d *durable) left() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.store)
}

func (d *durable) save(parts ...slo.Part) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saveLocked(parts...)
}

func (d *durable) saveLocked(parts ...slo.Part) {
	for _, p := range parts {
		if p.Delete {
			delete(d.store, p.Key)
		} else if p.Key != "" {
			d.store[p.Key] = p.Value
		}
	}
}

func (d *durable) Sync(context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	part, _ := d.engine.TakeJournal()
	d.saveLocked(part)
}

func (d *durable) Commit(ctx context.Context, t *slo.Tally, now time.Time) {
	d.engine.Commit(t, now)
	d.Sync(ctx)
}

// fleetEngine is a book of the objective that all collectors of the test share.
func fleetEngine(t *testing.T, store map[string][]byte) *slo.Engine {
	t.Helper()
	settings := slo.DefaultSettings()
	engine, err := slo.New(settings, []slo.Objective{{
		Name: "availability", Target: 0.99, Window: slo.Duration(30 * slo.Day), MaxGroups: 10, GroupBy: []string{"service.name"},
		Indicator: slo.Indicator{Kind: slo.IndicatorSpans},
	}})
	require.NoError(t, err)
	damaged, err := engine.Restore(func(key string) ([]byte, error) { return store[key], nil })
	require.NoError(t, err)
	require.Empty(t, damaged)
	engine.Journal()
	return engine
}

// replica is a collector that counts: sli, and the connector behind it.
type replica struct {
	book      *durable
	sli       processor.Traces
	refusing  bool // what comes next
	connector component.Component
}

func startReplica(t *testing.T, name string, store map[string][]byte, out consumer.Metrics) *replica {
	t.Helper()
	r := &replica{book: &durable{book: book{engine: fleetEngine(t, store)}, store: store}}
	r.book.save(r.book.engine.Snapshot()...)
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("slo"): r.book}}
	c := newCollector(nil)
	c.set.Resource.Attributes().PutStr("service.instance.id", name)
	x, err := c.factory.CreateTracesToMetrics(t.Context(), c.set, c.cfg, out)
	require.NoError(t, err)
	require.NoError(t, x.Start(t.Context(), h))
	r.connector = x
	f := sliprocessor.NewFactory()
	next, err := consumer.NewTraces(func(context.Context, ptrace.Traces) error {
		if r.refusing {
			return errNoAnswer
		}
		return nil
	})
	require.NoError(t, err)
	r.sli, err = f.CreateTraces(t.Context(), processortest.NewNopSettings(f.Type()), f.CreateDefaultConfig(), next)
	require.NoError(t, err)
	require.NoError(t, r.sli.Start(t.Context(), h))
	return r
}

func (r *replica) send(t *testing.T, td ptrace.Traces, refusing bool) error {
	t.Helper()
	r.refusing = refusing
	return r.sli.ConsumeTraces(t.Context(), td)
}

// mergingCollector is the one that has the fleet's book.
func mergingCollector(t *testing.T) (*slo.Engine, consumer.Metrics) {
	t.Helper()
	engine := fleetEngine(t, nil)
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("slo"): &book{engine: engine}}}
	f := sliprocessor.NewFactory()
	cfg := f.CreateDefaultConfig().(*sliprocessor.Config)
	cfg.Mode = sliprocessor.ModeMerge
	p, err := f.CreateMetrics(t.Context(), processortest.NewNopSettings(f.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), h))
	t.Cleanup(func() { assert.NoError(t, p.Shutdown(context.Background())) })
	return engine, p
}

// path loses requests, loses answers to requests that arrived, brings some twice, and some late and out of order.
func path(t *testing.T, r *rand.Rand, to consumer.Metrics) (through consumer.Metrics, faults *int) {
	t.Helper()
	faults = new(int)
	var mu sync.Mutex // replicas send on their own
	var held pmetric.Metrics
	holding := false
	send := func(ctx context.Context, md pmetric.Metrics) error {
		copied := pmetric.NewMetrics()
		md.CopyTo(copied)
		return to.ConsumeMetrics(ctx, copied)
	}
	through, err := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
		mu.Lock()
		defer mu.Unlock()
		if holding {
			holding = false
			if err := send(ctx, held); err != nil {
				return err
			}
		}
		fault := r.IntN(10)
		if fault < 4 {
			*faults++
		}
		switch fault {
		case 0:
			return errNoAnswer
		case 1:
			return errors.Join(send(ctx, md), errNoAnswer)
		case 2:
			if err := send(ctx, md); err != nil {
				return err
			}
		case 3: // a queue that comes back with it once more, when newer ones have passed
			held = pmetric.NewMetrics()
			md.CopyTo(held)
			holding = true
		}
		return send(ctx, md)
	})
	require.NoError(t, err)
	return through, faults
}

// TestAFleetHasOneBook lets 2 to 5 replicas count overlapping shares of a service's traffic. Requests that a replica refuses go to another; one
// replica is killed now and then and comes back from its storage; what they send passes a path with faults of every kind.
func TestAFleetHasOneBook(t *testing.T) {
	scale := 0.01
	if v, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64); err == nil && v > 0 {
		scale = v
	}
	requests := max(6000, int(20_000*scale))
	for n := 2; n <= 5; n++ {
		t.Run(fmt.Sprint(n, " replicas"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(n), 11))
				fleet, merging := mergingCollector(t)
				through, faults := path(t, rand.New(rand.NewPCG(uint64(n), 12)), merging)
				replicas := make([]*replica, n)
				for i := range replicas {
					replicas[i] = startReplica(t, fmt.Sprint("replica-", i), map[string][]byte{}, through)
				}
				var good, bad float64
				failovers, kills := 0, 0
				failing := func() bool { return r.IntN(20) == 0 }
				for range requests {
					time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
					td, wrong := someSpans(r)
					at := r.IntN(n)
					for replicas[at].send(t, td, failing()) != nil { // the sender tries another
						failovers++
						at = (at + 1) % n
					}
					bad += float64(wrong)
					good += float64(td.SpanCount() - wrong)
					if r.IntN(100) == 0 {
						kills++
						// What a kill leaves is what was stored up to then. The rest of the process is stopped without a word to anybody.
						left := replicas[at].book.left()
						replicas[at].abandon(t)
						replicas[at] = startReplica(t, fmt.Sprint("replica-", at), left, through)
					}
				}
				for _, one := range replicas {
					require.NoError(t, one.sli.Shutdown(t.Context()))
					for range 20 { // the path refuses the last delivery too
						time.Sleep(10 * time.Second)
						synctest.Wait()
					}
					require.NoError(t, one.connector.Shutdown(t.Context()))
				}
				var got slo.Status
				for _, s := range fleet.Statuses() {
					got = s
				}
				require.NotNil(t, got.BudgetRemaining)
				want := 1 - bad/(good+bad)/0.01
				off := math.Abs(*got.BudgetRemaining-want) / math.Abs(want)
				figures.Record(t, figures.Figure{
					Table: "SLOs: the book of a fleet", Row: fmt.Sprintf("%d replicas, %d spans, %d deliveries with a fault, %d kills: the merged budget differs by", n, int(good+bad), *faults, kills),
					Reached: fmt.Sprintf("%.4f %%", 100*off), Wanted: "0.01 %",
					Command: "PITWALL_SCALE=1 go test -v -run FleetHasOneBook ./connector/sloconnector",
				})
				assert.LessOrEqual(t, off, 0.0001)
				assert.InDelta(t, good, got.Good, 0)
				assert.InDelta(t, bad, got.Bad, 0)
				assert.Positive(t, *faults)
				assert.Positive(t, kills)
				assert.Positive(t, failovers)
			})
		})
	}
}

// abandon ends a replica's goroutines without a further delivery.
func (r *replica) abandon(t *testing.T) {
	t.Helper()
	require.NoError(t, r.sli.Shutdown(t.Context()))
	emitter := r.connector.(*instance).emitter
	emitter.mu.Lock()
	for _, i := range emitter.instances {
		i.metrics = nil
	}
	emitter.mu.Unlock()
	require.NoError(t, r.connector.Shutdown(t.Context()))
}

func someSpans(r *rand.Rand) (td ptrace.Traces, bad int) {
	td = ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	rs.Resource().Attributes().PutStr("service.instance.id", fmt.Sprint("pod-", r.IntN(3)))
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for range 1 + r.IntN(100) {
		span := spans.AppendEmpty()
		end := time.Now().Add(-time.Duration(r.IntN(20_000)) * time.Millisecond)
		span.SetTraceID(pcommon.TraceID{1, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		span.SetSpanID(pcommon.SpanID{1})
		span.SetKind(ptrace.SpanKindServer)
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(end.Add(-time.Millisecond)))
		span.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
		if r.IntN(50) == 0 {
			span.Status().SetCode(ptrace.StatusCodeError)
			bad++
		}
	}
	return td, bad
}
