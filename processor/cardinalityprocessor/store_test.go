// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// memoryStorage is a storage extension whose content outlives the processors that use it.
type memoryStorage struct {
	component.StartFunc
	component.ShutdownFunc
	data map[string][]byte
	fail error
	// beforeWrite and afterWrite may panic, to stop the processor there.
	beforeWrite, afterWrite func()
}

func newMemoryStorage() *memoryStorage {
	return &memoryStorage{data: map[string][]byte{}, beforeWrite: func() {}, afterWrite: func() {}}
}

func (m *memoryStorage) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return m, nil
}

func (m *memoryStorage) Get(_ context.Context, key string) ([]byte, error) { return m.data[key], nil }

func (m *memoryStorage) Set(ctx context.Context, key string, value []byte) error {
	return m.Batch(ctx, storage.SetOperation(key, value))
}

func (m *memoryStorage) Delete(ctx context.Context, key string) error {
	return m.Batch(ctx, storage.DeleteOperation(key))
}

func (m *memoryStorage) Batch(_ context.Context, ops ...*storage.Operation) error {
	m.beforeWrite()
	if m.fail != nil {
		return m.fail
	}
	for _, op := range ops {
		switch op.Type {
		case storage.Set:
			m.data[op.Key] = append([]byte(nil), op.Value...)
		case storage.Delete:
			delete(m.data, op.Key)
		case storage.Get:
			op.Value = m.data[op.Key]
		}
	}
	m.afterWrite()
	return nil
}

func (*memoryStorage) Close(context.Context) error { return nil }

type hostWith map[component.ID]component.Component

func (h hostWith) GetExtensions() map[component.ID]component.Component { return h }

var storageID = component.MustNewID("memory")

func withStorage(m *memoryStorage) component.Host { return hostWith{storageID: m} }

// killed stands for SIGKILL.
type killed struct{}

// sendOverCrash sends like send, and starts a new processor whenever the old one is killed.
func (g *rig) sendOverCrash(md pmetric.Metrics) {
	for {
		again := pmetric.NewMetrics()
		md.CopyTo(again)
		err := func() (err error) {
			defer func() {
				if r := recover(); r != nil {
					if _, ok := r.(killed); !ok {
						panic(r)
					}
					err = errRefused
					g.start()
				}
			}()
			return g.proc.ConsumeMetrics(context.Background(), again)
		}()
		if err == nil {
			return
		}
		require.ErrorIs(g.t, err, errRefused)
	}
}

// The processor is killed before its state is written, after that, and after the batch was delivered but not acknowledged; the
// sender sends again. No total jumps or goes back. A delta delivered twice counts twice in any pipeline, so deltas are not killed
// at the last point.
func TestNoTotalJumpsOverCrashes(t *testing.T) {
	n := cases(t, 4000, 100)
	crashes := 0
	for seed := range n + 1 {
		if seed == n {
			seed = 1938 // a kept series ended before the last point it had sent
		}
		v := variants[seed%len(variants)]
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		steady := r.IntN(2) == 0
		disk := newMemoryStorage()
		g := newRigOn(t, withStorage(disk), func(c *Config) {
			c.Window = 40 * time.Second
			if steady {
				c.Window = time.Hour
			}
			c.Limits.Attribute = 1 + r.IntN(6)
			if r.IntN(3) == 0 {
				c.Limits.Series = 1 + r.IntN(8)
			}
			c.Protect = []string{"route"}
			c.Gauges = []GaugeConfig{{Merge: "sum"}}
			c.Storage = &storageID
		})
		armed := false
		kill := func(one int) func() {
			return func() {
				if armed && r.IntN(one) == 0 {
					armed = false
					crashes++
					panic(killed{})
				}
			}
		}
		disk.beforeWrite, disk.afterWrite = kill(20), kill(20)
		if !v.delta() {
			g.delivered = kill(20)
		}
		truth := newLedger()
		for _, arrivals := range scenario(r, v, 30) {
			g.now = g.now.Add(10 * time.Second)
			for _, md := range batches(r, arrivals) {
				truth.read(md, false)
				armed = true
				g.sendOverCrash(md)
				armed = false
			}
		}
		want, got := truth.totals(v.level()), g.out.totals(v.level())
		if steady || v.level() || v.delta() {
			require.Equal(t, want, got, "seed %d: %s", seed, v.name)
			continue
		}
		// A series that was kept, and that a window's edge right after the crash folds, starts from a baseline.
		require.LessOrEqual(t, got[""][0], want[""][0], "seed %d: %s", seed, v.name)
		require.GreaterOrEqual(t, float64(got[""][0]), 0.9*float64(want[""][0]), "seed %d: %s", seed, v.name)
	}
	require.Greater(t, crashes, n)
	t.Logf("%d crashes over %d random systems", crashes, n)
}

func TestRestartContinuesTheSameStreams(t *testing.T) {
	disk := newMemoryStorage()
	g := newRigOn(t, withStorage(disk), func(c *Config) {
		c.Limits.Attribute = 1
		c.Storage = &storageID
	})
	begin := g.now
	send := func(value int64) {
		g.now = g.now.Add(10 * time.Second)
		g.send(sums("shop", "requests", cumulative, begin, g.now,
			labelled{value, map[string]string{"id": "a"}}, labelled{value, map[string]string{"id": "b"}}, labelled{value, map[string]string{"id": "c"}}))
	}
	send(10)
	send(20)
	require.NoError(t, g.proc.Shutdown(t.Context()))
	g.start()
	send(35)
	series := 0
	for id, r := range g.out.series {
		series++
		switch g.out.labels[id]["id"] {
		case "a":
			assert.Equal(t, content{35 * 4}, r.last)
		case limit.OverflowValue:
			assert.Equal(t, content{70 * 4}, r.last, "two members at 35, none of them counted anew")
		}
	}
	assert.Equal(t, 2, series)
}

func TestDamagedStateIsLeftBehind(t *testing.T) {
	disk := newMemoryStorage()
	change := func(c *Config) {
		c.Limits.Attribute = 1
		c.Storage = &storageID
	}
	g := newRigOn(t, withStorage(disk), change)
	g.send(sums("shop", "requests", cumulative, g.now, g.now.Add(time.Second), labelled{1, map[string]string{"id": "a"}}, labelled{1, map[string]string{"id": "b"}}))
	require.NoError(t, g.proc.Shutdown(t.Context()))
	for key, value := range disk.data {
		if key != keyHead {
			value[len(value)/2] ^= 1
		}
	}
	g.start()
	assert.Zero(t, g.proc.engine.limiter.Stats().Streams)
	g.send(sums("shop", "requests", cumulative, g.now, g.now.Add(time.Second), labelled{1, map[string]string{"id": "a"}}))
}

func TestStateOfANewerVersionIsRefused(t *testing.T) {
	l := limit.New(createDefaultConfig().(*Config).settings())
	state := l.Snapshot()
	state[0]++
	assert.ErrorIs(t, l.Restore(state), limit.ErrStateDamaged, "the checksum covers the version")
}

func TestStorageThatFailsDoesNotHoldUpData(t *testing.T) {
	disk := newMemoryStorage()
	g := newRigOn(t, withStorage(disk), func(c *Config) {
		c.Limits.Attribute = 1
		c.Storage = &storageID
	})
	point := func(v int64) pmetric.Metrics {
		g.now = g.now.Add(time.Second)
		return sums("shop", "requests", cumulative, g.now.Add(-time.Hour), g.now, labelled{v, map[string]string{"id": "a"}}, labelled{v, map[string]string{"id": "b"}})
	}
	disk.fail = errors.New("disk is full")
	g.send(point(1))
	g.send(point(2))
	disk.fail = nil
	g.send(point(3))
	g.start() // as after a crash
	g.send(point(4))
	assert.Equal(t, map[string]content{"": {8 * 4}}, g.out.totals(false), "the first write that succeeds holds everything")
}

func TestStorageMustBeThere(t *testing.T) {
	other := component.MustNewID("other")
	g := newRig(t, func(*Config) {})
	g.cfg.Storage = &other
	e := newEngine(g.cfg, g.proc.set, time.Now)
	require.ErrorIs(t, e.start(t.Context(), g.host), errNoStorage)
}
