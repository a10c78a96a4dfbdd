// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver"

	"github.com/pitwall-io/pitwall/receiver/changereceiver/internal/metadata"
)

// BenchmarkPlain is one new change, from the request to the next component.
func BenchmarkPlain(b *testing.B) {
	cfg := createDefaultConfig().(*Config)
	cfg.RateLimit = RateLimitConfig{RequestsPerSecond: 1e9, Burst: 1 << 30}
	r, err := newReceiver(receiver.Settings{ID: component.NewID(metadata.Type), TelemetrySettings: componenttest.NewNopTelemetrySettings()}, cfg, consumertest.NewNop())
	require.NoError(b, err)
	r.now = func() time.Time { return t0 }
	handler := r.handler()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/changes", strings.NewReader(plainly(strconv.Itoa(i))))
		req.Header.Set("Content-Type", "application/json")
		handler.ServeHTTP(httptest.NewRecorder(), req)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
}
