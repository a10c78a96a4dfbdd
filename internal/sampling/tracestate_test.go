// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTraceStateComesBackAsWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		want := TraceState{Threshold: r.Uint64() >> 8 &^ (1<<r.IntN(50) - 1), HasThreshold: r.IntN(2) == 0, Random: r.Uint64() >> 8, HasRandom: r.IntN(2) == 0}
		if !want.HasThreshold {
			want.Threshold = 0
		}
		if !want.HasRandom {
			want.Random = 0
		}
		raw := WriteTraceState("vendor=1,ot=th:1;x:y;rv:00000000000001,last=2", want)
		require.Equal(t, want, ParseTraceState(raw), raw)
		require.Contains(t, raw, "x:y,vendor=1,last=2")
		require.Equal(t, want, ParseTraceState(WriteTraceState("", want)))
		require.Equal(t, WriteTraceState(",", want), WriteTraceState("", want), "made anew or from nothing")
	}
}

func TestTraceStateExamples(t *testing.T) {
	// Those of the specification: c is three quarters rejected, 8 a half, 0 none.
	for raw, want := range map[string]TraceState{
		"ot=th:c":                        {Threshold: 0xc0000000000000, HasThreshold: true},
		"a=b, ot=rv:00000000000010;th:8": {Threshold: 0x80000000000000, HasThreshold: true, Random: 16, HasRandom: true},
		"ot=th:0":                        {HasThreshold: true},
		"ot=th:123456789abcdef":          {},
		"ot=th:xyz;rv:123":               {},
		"ot=rv:zzzzzzzzzzzzzz":           {},
		"other=th:c":                     {},
		"":                               {},
		"ot=nonsense;th:8":               {Threshold: 0x80000000000000, HasThreshold: true},
	} {
		assert.Equal(t, want, ParseTraceState(raw), raw)
	}
	assert.Equal(t, "a=b", WriteTraceState("a=b,ot=th:8", TraceState{}))
	assert.Equal(t, "ot=th:0", WriteTraceState("", TraceState{HasThreshold: true}))
}

func TestThresholdsAndProbabilitiesAgree(t *testing.T) {
	for _, p := range []float64{1e-9, 0.001, 0.1, 0.25, 1.0 / 3, 0.5, 0.999} {
		assert.InEpsilon(t, p, ProbabilityOf(ThresholdOf(p)), 1e-6)
	}
	assert.Equal(t, MaxThreshold, ThresholdOf(0))
	assert.Equal(t, MaxThreshold, ThresholdOf(-1))
	assert.Zero(t, ThresholdOf(2))
	assert.Zero(t, ProbabilityOf(MaxThreshold))
}
