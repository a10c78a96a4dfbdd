// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/pitwall-io/pitwall/extension/sloextension/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// BenchmarkCommit is what a batch waits for its commit, by how it is journalled: on file_storage, without and with fsync.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		name, journal string
		fsync         bool
	}{{"interval", journalInterval, false}, {"always", journalAlways, false}, {"always, fsync", journalAlways, true}} {
		b.Run(c.name, func(b *testing.B) {
			factory := filestorage.NewFactory()
			files := factory.CreateDefaultConfig().(*filestorage.Config)
			files.Directory, files.FSync = b.TempDir(), c.fsync
			store, err := factory.Create(b.Context(), extensiontest.NewNopSettings(factory.Type()), files)
			require.NoError(b, err)
			require.NoError(b, store.Start(b.Context(), componenttest.NewNopHost()))
			cfg := createDefaultConfig().(*Config)
			cfg.Storage, cfg.Journal = &storageID, c.journal
			for i := range 3 {
				name := string(rune('a' + i))
				cfg.Objectives = append(cfg.Objectives, ObjectiveConfig{Name: name, Target: 0.9, Indicator: IndicatorConfig{Spans: &SpansConfig{}}})
			}
			set := extensiontest.NewNopSettings(metadata.Type)
			x, err := newExtension(cfg, set)
			require.NoError(b, err)
			require.NoError(b, x.Start(b.Context(), hostOf(map[component.ID]component.Component{storageID: store})))
			tally := x.engine.NewTally()
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				tally.Reset()
				for i := range 3 {
					tally.Entry(i, nil).AddCounts(tally.Slice(now.UnixNano()), now.UnixNano(), slo.Counts{Good: slo.One, GoodN: 1})
				}
				tally.Observe(1, now.UnixNano())
				x.Commit(b.Context(), tally, now)
			}
			b.StopTimer()
			require.NoError(b, x.Shutdown(b.Context()))
			require.NoError(b, store.Shutdown(b.Context()))
		})
	}
}
