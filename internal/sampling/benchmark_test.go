// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// benchmarkSpans is one trace of a dozen spans.
func benchmarkSpans() []testSpan {
	spans := make([]testSpan, 12)
	for i := range spans {
		spans[i] = testSpan{service: "checkout", name: "GET /", child: i > 0, payload: 60}
	}
	return spans
}

func BenchmarkParse(b *testing.B) {
	p, err := Compile([]Policy{errs, percent(1)})
	require.NoError(b, err)
	spans := benchmarkSpans()
	data := encodeRequest(spans...)
	var batch Batch
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, batch.Parse(data, p, nil))
	}
	b.ReportMetric(float64(b.N*len(spans))/b.Elapsed().Seconds(), "spans/s")
}

// BenchmarkDecide takes traces in and decides them, a thousand at a time.
func BenchmarkDecide(b *testing.B) {
	h := newHarness(b, Settings{DecisionWait: time.Second}, errs, percent(1))
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		for range 1000 {
			n++
			h.add(testSpan{id: idOf(n), service: "checkout", name: "GET /"})
		}
		h.advance(2 * time.Second)
		h.deliver()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "traces/s")
}

func TestTakingARequestApartAllocatesNothing(t *testing.T) {
	p, err := Compile([]Policy{errs, {Name: "a", Kind: KindString, Key: "payload", Values: []string{"x"}}})
	require.NoError(t, err)
	data := encodeRequest(benchmarkSpans()...)
	var batch Batch
	require.NoError(t, batch.Parse(data, p, nil))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = batch.Parse(data, p, nil) }))
}
