// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
	"github.com/pitwall-io/pitwall/tests/otlpload"
)

func TestMedianIsTheMiddle(t *testing.T) {
	speeds := func(values ...int64) []sample {
		samples := make([]sample, 0, len(values))
		for _, v := range values {
			samples = append(samples, sample{spans: v, cpu: time.Second})
		}
		return samples
	}
	for _, c := range []struct {
		samples []sample
		want    float64
	}{{nil, 0}, {speeds(5), 5}, {speeds(9, 1, 5), 5}, {speeds(4, 1, 9, 6), 5}} {
		assert.InDelta(t, c.want, median(c.samples, sample.perCPUSecond), 1e-9)
	}
}

func TestTableComparesWithForward(t *testing.T) {
	samples := map[string][]sample{
		reference:         {{spans: 2_000_000, cpu: 2 * time.Second, peak: 100 << 20}},
		pipelines[2].name: {{spans: 1_500_000, cpu: 2 * time.Second, peak: 150 << 20}},
	}
	text := table(samples)
	assert.Contains(t, text, "| "+reference+" | 1,000,000 | 1,000,000 to 1,000,000 | 100 % | 100 MB |\n")
	assert.Contains(t, text, "| 750,000 | 750,000 to 750,000 | 75 % | 150 MB |\n")
	assert.NotContains(t, text, pipelines[0].name, "what was not measured is not in the table")

	path := filepath.Join(t.TempDir(), "figures.jsonl")
	t.Setenv(figures.Env, path)
	require.NoError(t, writeDown(samples))
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(written), "750,000 spans per CPU second, 75 % of forward")
}

func TestThousandsAreGrouped(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		assert.Equal(t, want, thousands(value))
	}
}

// Every span that the figures claim was handled, in every pipeline.
func TestEveryPipelineCanBeMeasured(t *testing.T) {
	load, err := otlpload.Synthetic{Traces: 200, ErrorRatio: 0.01}.Generate()
	require.NoError(t, err)
	b := bench{binary: harness.Binary(t, "pitwall-sidecar"), dir: t.TempDir(), load: load, repeat: 20}
	for _, p := range pipelines {
		s, err := b.measure(t.Context(), p)
		require.NoError(t, err, p.name)
		assert.Equal(t, int64(20*load.Spans), s.spans, p.name)
		assert.Positive(t, s.cpu, p.name)
		assert.Positive(t, s.peak, p.name)
	}
}
