// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
)

// BenchmarkConsume brings traces that are dropped in the end: what it costs to take spans in. A comparison with contrib's processor is in
// tests/peers/tailsampling.
func BenchmarkConsume(b *testing.B) {
	settings := policies(keepErrors, probabilistic(0, ""))
	settings["num_traces"] = 10_000_000
	p := startSampler(b, settings, consumertest.NewNop())
	requests := varied(rand.New(rand.NewPCG(1, 2)), 100)
	spans := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		td := requests[i%len(requests)]
		spans += td.SpanCount()
		require.NoError(b, p.ConsumeTraces(b.Context(), td))
	}
	b.ReportMetric(float64(spans)/b.Elapsed().Seconds(), "spans/s")
	require.NoError(b, p.Shutdown(b.Context()))
}
