// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

// The coders make channels when first used, which must not happen inside a bubble of synctest.
var _, _ = chunkDecoder.DecodeAll(chunkEncoder.EncodeAll([]byte("first"), nil), nil)

var storeID = component.MustNewID("file_storage")

// disk is a storage extension whose content can be taken at any moment, as a crash would leave it.
type disk struct {
	component.StartFunc
	component.ShutdownFunc
	mu     sync.Mutex
	data   map[string][]byte
	broken error
}

func newDisk() *disk { return &disk{data: make(map[string][]byte)} }

func (d *disk) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return d, nil
}

func (d *disk) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{storeID: d}
}

func (d *disk) snapshot() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{data: maps.Clone(d.data)}
}

func (d *disk) chunks() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key := range d.data {
		if strings.HasPrefix(key, "chunk-") {
			n++
		}
	}
	return n
}

func (d *disk) Get(_ context.Context, key string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.data[key], d.broken
}

func (d *disk) Set(ctx context.Context, key string, value []byte) error {
	return d.Batch(ctx, storage.SetOperation(key, value))
}

func (d *disk) Delete(ctx context.Context, key string) error {
	return d.Batch(ctx, storage.DeleteOperation(key))
}

func (*disk) Close(context.Context) error { return nil }

func (d *disk) Batch(_ context.Context, ops ...*storage.Operation) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return d.broken
	}
	for _, op := range ops {
		switch op.Type {
		case storage.Set:
			d.data[op.Key] = op.Value
		case storage.Delete:
			delete(d.data, op.Key)
		}
	}
	return nil
}

func startStored(t *testing.T, settings map[string]any, host component.Host, next consumer.Traces) processor.Traces {
	settings["storage"] = storeID.String()
	p, err := NewFactory().CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), configOf(t, settings), next)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), host))
	return p
}

func ids(out *sink) map[pcommon.TraceID]int {
	all := make(map[pcommon.TraceID]int)
	out.each(func(s ptrace.Span) { all[s.TraceID()]++ })
	return all
}

// crashes is how many random moments a crash is tried at: 100 at PITWALL_SCALE=1, and at least 5.
func crashes() int {
	scale, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64)
	if err != nil {
		scale = 0.01
	}
	return max(5, int(100*scale))
}

// primeCoders uses the coders of segments outside any bubble: see chunkDecoder above.
func primeCoders(t *testing.T) {
	out := &sink{}
	p := startSampler(t, policies(keepAll), out)
	fill := func(s ptrace.Span) { s.Attributes().PutStr("payload", strings.Repeat(s.TraceID().String(), 100)) }
	for n := range uint64(500) {
		require.NoError(t, p.ConsumeTraces(t.Context(), request(fill, n)))
	}
	require.NoError(t, p.Shutdown(t.Context()))
	require.Len(t, out.spans(t), 500)
}

func TestErrorTracesSurviveACrash(t *testing.T) {
	primeCoders(t)
	r := rand.New(rand.NewPCG(11, 13))
	for range crashes() {
		at := time.Duration(1000+r.IntN(30_000)) * time.Millisecond
		synctest.Test(t, func(t *testing.T) {
			before, after := &sink{}, &sink{}
			d := newDisk()
			settings := func() map[string]any {
				s := policies(keepErrors)
				s["decision_wait"] = "5s"
				return s
			}
			p := startStored(t, settings(), d, before)
			start := time.Now()
			received := make(map[pcommon.TraceID]time.Duration)
			for n := uint64(0); time.Since(start) < at; n++ {
				first := request(nil, n*2, n*2+1)
				require.NoError(t, p.ConsumeTraces(t.Context(), first))
				second := request(failed, n*2)
				require.NoError(t, p.ConsumeTraces(t.Context(), second))
				received[traceID(n*2)] = time.Since(start)
				time.Sleep(7 * time.Millisecond)
			}
			// The moment of the crash: what is on the disk and what has come out is all there is.
			crashed, out := d.snapshot(), ids(before)
			assert.Less(t, crashed.chunks(), 40, "what is done with goes")
			require.NoError(t, p.Shutdown(t.Context()))
			p = startStored(t, settings(), crashed, after)
			time.Sleep(8 * time.Second)
			synctest.Wait()
			again := ids(after)
			for id, when := range received {
				if when < at-time.Second {
					assert.GreaterOrEqual(t, out[id]+again[id], 2, "received whole %v before the crash", at-when)
				}
			}
			time.Sleep(8 * time.Second)
			assert.Zero(t, crashed.chunks(), "and then the disk is empty")
			require.NoError(t, p.Shutdown(t.Context()))
		})
	}
}

func TestWhatWaitsSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, d := &sink{}, newDisk()
		p := startStored(t, policies(keepAll), d, out)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1, 2)))
		require.NoError(t, p.Shutdown(t.Context()))
		assert.Empty(t, out.spans(t), "nothing is decided in haste")
		p = startStored(t, policies(keepAll), d, out)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
		time.Sleep(40 * time.Second)
		synctest.Wait()
		assert.Len(t, out.spans(t), 3)
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestWhatIsNotDeliveredSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, d := &sink{}, newDisk()
		out.set(errors.New("down"))
		p := startStored(t, policies(keepAll), d, out)
		require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1, 2)))
		time.Sleep(2 * time.Minute)
		require.NoError(t, p.Shutdown(t.Context()))
		out.set(nil)
		p = startStored(t, policies(keepAll), d, out)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, out.spans(t), 2)
		require.NoError(t, p.Shutdown(t.Context()))
		assert.Zero(t, d.chunks())
	})
}

func TestDroppingWhatWaitsEmptiesTheStorage(t *testing.T) {
	d := newDisk()
	settings := policies(keepAll)
	settings["drop_pending_traces_on_shutdown"] = true
	p := startStored(t, settings, d, &sink{})
	require.NoError(t, p.ConsumeTraces(t.Context(), request(func(s ptrace.Span) {
		s.Attributes().PutStr("payload", strings.Repeat("x", maxChunk))
	}, 1)))
	require.Equal(t, 1, d.chunks(), "a large request is written at once")
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Zero(t, d.chunks())
}

func TestABrokenDiskIsReportedAndDamageIsSkipped(t *testing.T) {
	d := newDisk()
	p := startStored(t, policies(keepAll), d, &sink{})
	require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, 1)))
	require.NoError(t, p.Shutdown(t.Context()))
	require.Equal(t, 1, d.chunks())
	for key, value := range d.data {
		if strings.HasPrefix(key, "chunk-") {
			value[len(value)/2] ^= 0xff
		}
	}
	out := &sink{}
	p = startStored(t, policies(keepAll), d, out)
	d.mu.Lock()
	d.broken = errors.New("no space left")
	d.mu.Unlock()
	big := request(func(s ptrace.Span) { s.Attributes().PutStr("payload", strings.Repeat("x", maxChunk)) }, 2)
	require.ErrorContains(t, p.ConsumeTraces(t.Context(), big), "no space left", "what cannot be made safe is not taken")
	require.ErrorContains(t, p.Shutdown(t.Context()), "no space left")
	require.Error(t, eachRequest([]byte{9, 9}, nil))
}

func TestStorageIsCheckedAtTheStart(t *testing.T) {
	start := func(f processor.Factory, host component.Host) (processor.Traces, error) {
		settings := policies(keepAll)
		settings["storage"] = storeID.String()
		p, err := f.CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), configOf(t, settings), &sink{})
		require.NoError(t, err)
		return p, p.Start(t.Context(), host)
	}
	f := NewFactory()
	_, err := start(f, componenttest.NewNopHost())
	require.ErrorContains(t, err, "is not running")
	d := newDisk()
	id := processortest.NewNopSettings(metadata.Type)
	settings := policies(keepAll)
	settings["storage"] = storeID.String()
	create := func() processor.Traces {
		p, err := f.CreateTraces(t.Context(), id, configOf(t, settings), &sink{})
		require.NoError(t, err)
		return p
	}
	one, two := create(), create()
	require.NoError(t, one.Start(t.Context(), d))
	require.ErrorIs(t, two.Start(t.Context(), d), errJournalUsed)
	require.NoError(t, one.Shutdown(t.Context()))
	require.NoError(t, two.Start(t.Context(), d), "the ID is free again")
	require.NoError(t, two.Shutdown(t.Context()))
}
