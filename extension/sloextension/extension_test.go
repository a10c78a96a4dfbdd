// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pitwall-io/pitwall/extension/sloextension/internal/metadata"
	"github.com/pitwall-io/pitwall/extension/sloextension/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/slo"
)

type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func hostOf(extensions map[component.ID]component.Component) host {
	return host{componenttest.NewNopHost(), extensions}
}

var storageID = component.MustNewID("file_storage")

// shelf is a storage extension in memory.
type shelf struct {
	component.Component
	mu     sync.Mutex
	values map[string][]byte
	broken error
	closed int
}

func (s *shelf) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return s, nil
}
func (s *shelf) Get(_ context.Context, key string) ([]byte, error) { return s.values[key], nil }
func (s *shelf) Set(context.Context, string, []byte) error {
	return errors.New("one by one is not atomic")
}

func (s *shelf) Delete(context.Context, string) error { return errors.New("one by one is not atomic") }
func (s *shelf) Close(context.Context) error          { s.closed++; return nil }

func (s *shelf) breakWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

func (s *shelf) Batch(_ context.Context, ops ...*storage.Operation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		if s.broken != nil {
			return s.broken
		}
		if op.Type == storage.Delete {
			delete(s.values, op.Key)
			continue
		}
		s.values[op.Key] = op.Value
	}
	return nil
}

func newShelf() *shelf {
	return &shelf{Component: struct {
		component.StartFunc
		component.ShutdownFunc
	}{}, values: map[string][]byte{}}
}

func newTest(t *testing.T, stored bool, tel *componenttest.Telemetry) *sloExtension {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.AlertProfile = slo.ProfileDemo
	cfg.Objectives = []ObjectiveConfig{{Name: "o", Target: 0.9, Indicator: IndicatorConfig{Spans: &SpansConfig{}}}}
	if stored {
		cfg.Storage = &storageID
	}
	set := extensiontest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	if tel != nil {
		set.TelemetrySettings = tel.NewTelemetrySettings()
	}
	x, err := NewFactory().Create(t.Context(), set, cfg)
	require.NoError(t, err)
	return x.(*sloExtension)
}

func TestAttributesThatObjectivesUseAreProtected(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Objectives = []ObjectiveConfig{
		{Name: "a", Target: 0.9, GroupBy: []string{"service.name", "http.route"}, Indicator: IndicatorConfig{Spans: &SpansConfig{}}},
		{Name: "b", Target: 0.9, GroupBy: []string{"service.name"}, Indicator: IndicatorConfig{Spans: &SpansConfig{Match: []MatchConfig{{Attribute: "tenant", Equals: "gold"}}}}},
	}
	x, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	protector, ok := x.(interface{ ProtectedAttributes() []string })
	require.True(t, ok)
	assert.Equal(t, []string{"http.route", "service.name", "tenant"}, protector.ProtectedAttributes())
}

func count(x *sloExtension, at time.Time, bad bool) {
	tally := x.engine.NewTally()
	tally.Entry(0, nil).Add(tally.Slice(at.UnixNano()), at.UnixNano(), bad, slo.One)
	tally.Observe(1, at.UnixNano())
	x.engine.Commit(tally, time.Now())
}

func TestTheBookSurvivesARestartOnFileStorage(t *testing.T) {
	dir := t.TempDir()
	open := func() component.Component {
		factory := filestorage.NewFactory()
		cfg := factory.CreateDefaultConfig().(*filestorage.Config)
		cfg.Directory = dir
		files, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
		require.NoError(t, err)
		require.NoError(t, files.Start(t.Context(), componenttest.NewNopHost()))
		return files
	}
	now := time.Now()
	var before []slo.Status
	for life := range 3 {
		files := open()
		x := newTest(t, true, nil)
		require.Equal(t, []component.ID{storageID}, x.Dependencies())
		require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: files})))
		if life > 0 {
			assert.Equal(t, before, x.Statuses())
		}
		count(x, now.Add(time.Duration(life)*10*time.Second), life == 1)
		before = x.Statuses()
		require.NoError(t, x.Shutdown(t.Context()))
		require.NoError(t, files.Shutdown(t.Context()))
	}
	assert.InDelta(t, 2, before[0].Good, 0)
	assert.InDelta(t, 1, before[0].Bad, 0)
}

func TestSnapshotsAreWrittenOnTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf()
		x := newTest(t, true, nil)
		require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
		count(x, time.Now(), false)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		assert.Equal(t, 1, store.len(), "the journal")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, 5, store.len(), "the group, the index, the book, and where the journal starts, twice")
		require.NoError(t, x.Shutdown(t.Context()))
		assert.Equal(t, 1, store.closed)
	})
}

func TestAFailedSnapshotIsCountedAndRepeatedWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := componenttest.NewTelemetry()
		store := newShelf()
		store.breakWith(errors.New("disk full"))
		x := newTest(t, true, tel)
		require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
		count(x, time.Now(), true)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		metadatatest.AssertEqualExtensionSloSnapshotFailures(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, ignoreTimes()...)
		store.breakWith(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Equal(t, 5, store.len())
		require.NoError(t, x.Shutdown(t.Context()))
		require.NoError(t, tel.Shutdown(context.Background()))
	})
}

func TestSilenceMovesEventTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTest(t, false, nil)
		require.NoError(t, x.Start(t.Context(), componenttest.NewNopHost()))
		past := time.Now().Add(-100 * 24 * time.Hour)
		for i := range 40 {
			count(x, past.Add(time.Duration(i)*time.Second), true)
		}
		require.Equal(t, slo.StateBurning, x.Statuses()[0].State)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		s := x.Statuses()[0]
		assert.Empty(t, s.Alerts)
		assert.Equal(t, slo.StateFrozen, s.State)
		assert.WithinDuration(t, past.Add(5*time.Minute), s.AsOf, time.Minute, "event time moves by what passed, not to the clock")
		require.NoError(t, x.Shutdown(t.Context()))
	})
}

func TestDamagedStateIsCountedAndStartsEmpty(t *testing.T) {
	tel := componenttest.NewTelemetry()
	store := newShelf()
	store.values["book"] = []byte("PWSL\x01 this is not a book")
	x := newTest(t, true, tel)
	require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
	metadatatest.AssertEqualExtensionSloRestoreFailures(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, ignoreTimes()...)
	count(x, time.Now(), false)
	assert.InDelta(t, 1, x.Statuses()[0].Good, 0)
	require.NoError(t, x.Shutdown(t.Context()))
	require.NoError(t, tel.Shutdown(context.Background()))
}

func TestStartRefusesStorageItCannotUse(t *testing.T) {
	x := newTest(t, true, nil)
	err := x.Start(t.Context(), hostOf(nil))
	require.ErrorContains(t, err, `storage: extension "file_storage" is not running`)

	err = x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: newTest(t, false, nil)}))
	require.ErrorContains(t, err, `storage: extension "file_storage" is not a storage extension`)

	store := newShelf()
	newer := newTest(t, true, nil)
	require.NoError(t, newer.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
	count(newer, time.Now(), false)
	require.NoError(t, newer.Shutdown(t.Context()))
	store.values["book"] = newerVersion(store.values["book"])
	err = x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store}))
	require.ErrorIs(t, err, slo.ErrVersion)
	assert.NoError(t, x.Shutdown(t.Context()), "a component that failed to start shuts down")
}

func TestTheBookIsFound(t *testing.T) {
	a, b := component.MustNewIDWithName("slo", "a"), component.MustNewIDWithName("slo", "b")
	x, y := newTest(t, false, nil), newTest(t, false, nil)
	one := hostOf(map[component.ID]component.Component{a: x, storageID: newShelf()})
	two := hostOf(map[component.ID]component.Component{a: x, b: y})

	found, err := Find(one, nil)
	require.NoError(t, err)
	assert.Same(t, x.Engine(), found.Engine())
	found, err = Find(two, &b)
	require.NoError(t, err)
	assert.Same(t, y.Engine(), found.Engine())

	_, err = Find(two, nil)
	require.ErrorIs(t, err, errManyBooks)
	_, err = Find(hostOf(nil), nil)
	require.ErrorIs(t, err, errNoBook)
	_, err = Find(one, &b)
	require.ErrorContains(t, err, `slo: extension "slo/b" is not running`)
	_, err = Find(one, &storageID)
	require.ErrorContains(t, err, `"file_storage" is not an slo extension`)
}

func TestOwnMetricsShowTheFill(t *testing.T) {
	tel := componenttest.NewTelemetry()
	x := newTest(t, false, tel)
	count(x, time.Now(), false)
	metadatatest.AssertEqualExtensionSloSources(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, ignoreTimes()...)
	metadatatest.AssertEqualExtensionSloTransitionsDropped(t, tel, []metricdata.DataPoint[int64]{{Value: 0}}, ignoreTimes()...)
	got, err := tel.GetMetric("otelcol_extension_slo_groups")
	require.NoError(t, err)
	points := got.Data.(metricdata.Gauge[int64]).DataPoints
	require.Len(t, points, 1)
	assert.EqualValues(t, 1, points[0].Value)
	require.NoError(t, x.Shutdown(t.Context()))
	require.NoError(t, tel.Shutdown(context.Background()))
}

func commit(t *testing.T, x *sloExtension, at time.Time) {
	t.Helper()
	tally := x.engine.NewTally()
	tally.Entry(0, nil).Add(tally.Slice(at.UnixNano()), at.UnixNano(), false, slo.One)
	tally.Observe(1, at.UnixNano())
	x.Commit(t.Context(), tally, at)
}

func TestACommitIsStoredBeforeItReturns(t *testing.T) {
	store := newShelf()
	x := newTest(t, true, nil)
	x.cfg.SnapshotInterval = time.Hour
	require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
	now := time.Now()
	for i := range 10 {
		commit(t, x, now)
		after := newTest(t, true, nil) // a process that starts as if the first had been killed here
		require.NoError(t, after.restore(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
		assert.InDelta(t, float64(i+1), after.Statuses()[0].Good, 0)
	}
	require.NoError(t, x.Shutdown(t.Context()))
	assert.Equal(t, 5, store.len(), "a snapshot replaces the journal")
}

func TestCommitsThatMeetShareAWrite(t *testing.T) {
	store := newShelf()
	x := newTest(t, true, nil)
	x.cfg.SnapshotInterval = time.Hour
	require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
	const senders, each = 8, 50
	var group sync.WaitGroup
	now := time.Now()
	for range senders {
		group.Go(func() {
			for range each {
				commit(t, x, now)
			}
		})
	}
	group.Wait()
	after := newTest(t, true, nil)
	require.NoError(t, after.restore(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
	assert.InDelta(t, senders*each, after.Statuses()[0].Good, 0)
	require.NoError(t, x.Shutdown(t.Context()))
}

func TestAJournalThatCannotBeWrittenIsCountedAndWrittenLater(t *testing.T) {
	tel := componenttest.NewTelemetry()
	store := newShelf()
	x := newTest(t, true, tel)
	x.cfg.SnapshotInterval = time.Hour
	require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
	store.breakWith(errors.New("disk full"))
	now := time.Now()
	commit(t, x, now)
	metadatatest.AssertEqualExtensionSloJournalFailures(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, ignoreTimes()...)
	store.breakWith(nil)
	commit(t, x, now)
	after := newTest(t, true, nil)
	require.NoError(t, after.restore(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
	assert.InDelta(t, 2, after.Statuses()[0].Good, 0)
	require.NoError(t, x.Shutdown(t.Context()))
	require.NoError(t, tel.Shutdown(context.Background()))
}

func TestWithAnIntervalTheJournalIsWrittenEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShelf()
		x := newTest(t, true, nil)
		x.cfg.Journal, x.cfg.SnapshotInterval = journalInterval, time.Hour
		require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
		commit(t, x, time.Now())
		assert.Zero(t, store.len())
		time.Sleep(tick)
		synctest.Wait()
		assert.Equal(t, 1, store.len())
		require.NoError(t, x.Shutdown(t.Context()))
	})
}
