// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/signallog"
)

func BenchmarkCloudEvent(b *testing.B) {
	e := envelope("checkout")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newEvent(defaultSource, e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signals/s")
}

func BenchmarkFile(b *testing.B) {
	s := newFile(&FileConfig{Path: filepath.Join(b.TempDir(), "x"), MaxBytes: defaultFileBytes})
	require.NoError(b, s.start(b.Context(), componenttest.NewNopHost()))
	e := envelope("checkout")
	b.ReportAllocs()
	for b.Loop() {
		if err := s.send(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signals/s")
	require.NoError(b, s.shutdown(b.Context()))
}

func BenchmarkRead(b *testing.B) {
	ld := plog.NewLogs()
	require.NoError(b, signallog.Append(ld, "", "", 0, envelope("checkout")))
	rec := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signallog.Read(rec); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signals/s")
}
