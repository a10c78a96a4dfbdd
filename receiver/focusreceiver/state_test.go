// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"bytes"
	"context"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver/internal/metadata"
)

// host has a file storage.
type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func storageHost(t *testing.T) (host, component.ID) {
	t.Helper()
	f := filestorage.NewFactory()
	cfg := f.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory = t.TempDir()
	set := extensiontest.NewNopSettings(f.Type())
	ext, err := f.Create(t.Context(), set, cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, ext.Shutdown(context.Background())) })
	id := component.NewID(f.Type())
	return host{componenttest.NewNopHost(), map[component.ID]component.Component{id: ext, component.MustNewID("other"): nopComponent{}}}, id
}

type nopComponent struct{ component.Component }

func TestARestartReadsNothingTwiceAndStillKnowsWhatACorrectionReplaces(t *testing.T) {
	h, id := storageHost(t)
	g := newRig(t, nil)
	cfg := *g.cfg
	cfg.Storage = &id
	g.open(&cfg, h)
	g.put("a.csv", []byte(header+row("10", "5", "02", "a")+row("1", "4", "02", "a")))
	g.put("bad.csv", []byte("a,b\n1,2\n"))
	g.look()
	assert.Equal(t, "11", g.sink.total(t, "cost.billed"))
	require.NoError(t, g.store.close(t.Context()))

	g.open(&cfg, h)
	requests := len(g.sink.AllMetrics())
	g.look()
	assert.Len(t, g.sink.AllMetrics(), requests)
	assert.Equal(t, outcomeRefused, g.outcome("bad.csv"))
	g.put("b.csv", []byte(header+row("9", "5", "02", "a")))
	g.look()
	assert.Equal(t, "10", g.sink.total(t, "cost.billed"), "11 − 10 + 9")
	require.NoError(t, g.store.close(t.Context()))

	other := cfg
	other.GroupBy = []string{"ServiceName"}
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	r, err := newReceiver(set, &other, g.sink)
	require.NoError(t, err)
	require.ErrorIs(t, r.Start(t.Context(), h), errGrouping)
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestStateThatCannotBeReadStopsTheStart(t *testing.T) {
	h, id := storageHost(t)
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = t.TempDir()
	cfg.Storage = &id
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	client, err := openStore(t.Context(), h, cfg, set.ID)
	require.NoError(t, err)
	good, err := encode(index{Grouping: grouping(cfg), Statements: []focus.Statement{{Account: "a"}}})
	require.NoError(t, err)
	for says, stored := range map[string][]byte{
		"newer version": {9, 1}, "EOF": {stateVersion}, "gzip": {stateVersion, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
		"is missing": good, "checksum": append(bytes.Clone(good[:len(good)-8]), 1, 2, 3, 4, 5, 6, 7, 8),
	} {
		require.NoError(t, client.client.Set(t.Context(), indexKey, stored))
		_, _, err := client.load(t.Context(), cfg)
		require.ErrorContains(t, err, says)
	}
	require.NoError(t, client.close(t.Context()))

	for _, name := range []string{"none", "other"} {
		missing := component.MustNewID(name)
		cfg.Storage = &missing
		r, err := newReceiver(set, cfg, &sink{})
		require.NoError(t, err)
		require.ErrorContains(t, r.Start(t.Context(), h), "storage")
	}
}

func TestStateThatCouldNotBeStoredIsStoredWithTheNextFile(t *testing.T) {
	h, id := storageHost(t)
	g := newRig(t, nil)
	cfg := *g.cfg
	cfg.Storage = &id
	g.open(&cfg, h)
	require.NoError(t, g.store.close(t.Context())) // a closed client fails
	g.put("a.csv", []byte(header+row("10", "5", "02", "a")))
	g.look()
	assert.EqualValues(t, 1, g.counter("focus_state_failures"))
	var err error
	g.store, err = openStore(t.Context(), h, &cfg, component.NewID(metadata.Type))
	require.NoError(t, err)
	g.put("b.csv", []byte(header+row("1", "4", "02", "a")))
	g.look()
	require.NoError(t, g.store.close(t.Context()))
	g.open(&cfg, h)
	assert.Len(t, g.bill.Statements(), 2)
	require.NoError(t, g.store.close(t.Context()))
}
