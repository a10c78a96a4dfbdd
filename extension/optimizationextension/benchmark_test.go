// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"

	"github.com/pitwall-io/pitwall/extension/optimizationextension/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

func benchExtension(b *testing.B, h host) *optimizationExtension {
	cfg := createDefaultConfig().(*Config)
	cfg.ServerConfig.NetAddr.Endpoint = "localhost:0"
	e, err := newExtension(metadatatest.NewSettings(componenttest.NewTelemetry()), cfg)
	require.NoError(b, err)
	require.NoError(b, e.Start(b.Context(), h))
	b.Cleanup(func() { require.NoError(b, e.Shutdown(b.Context())) })
	return e
}

func BenchmarkPublish(b *testing.B) {
	e := benchExtension(b, nil)
	s := envelope(1, signal.StateFiring)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Update = i
		if _, err := e.PublishSignal(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signals/s")
}

func benchGet(b *testing.B, e *optimizationExtension, path string) {
	handler := e.handler()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

func BenchmarkSignals1000(b *testing.B) {
	e := benchExtension(b, nil)
	for n := range 1000 {
		_, err := e.PublishSignal(b.Context(), envelope(n, signal.StateFiring))
		require.NoError(b, err)
	}
	benchGet(b, e, "/api/v1/signals?limit=100")
}

func BenchmarkSLOs1000(b *testing.B) {
	statuses := &fakeStatuses{statuses: make([]slo.Status, 1000)}
	for i := range statuses.statuses {
		statuses.statuses[i] = slo.Status{Name: "checkout", Service: "checkout", BurnRates: make([]slo.BurnRate, 7), AsOf: t0}
	}
	benchGet(b, benchExtension(b, host{component.MustNewID("slo"): statuses}), "/api/v1/slos")
}
