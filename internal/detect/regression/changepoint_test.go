// SPDX-License-Identifier: Apache-2.0

package regression

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

func changes(values []float64, magnitude float64) (found []int) {
	s := Series{MinMagnitude: magnitude}
	for _, v := range values {
		if p, ok := s.Add(v); ok {
			found = append(found, p.Index)
		}
	}
	return found
}

func TestFigureOtavasSeries(t *testing.T) {
	dir := os.Getenv("PITWALL_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, "fixtures", "otava", "tigerbeetle_test.py")
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Skipf("SKIPPED, NOT PROVEN: no real data at %s (set PITWALL_DATA)", path)
	}
	list := regexp.MustCompile(`return (\[[0-9, ]+\])`).FindSubmatch(raw)
	require.NotNil(t, list)
	var values []float64
	require.NoError(t, json.Unmarshal(list[1], &values))
	found := changes(values, 0.05)
	for range 10 {
		require.Equal(t, found, changes(values, 0.05), "the same every run")
	}
	figures.Record(t, figures.Figure{
		Table: "Change points", Row: "Otava's benchmark series, magnitude 5 %", Reached: fmt.Sprint(found), Wanted: "[15 71] ± 2, none extra",
		Command: "go test -run TestFigure ./internal/detect/regression",
	})
	require.Len(t, found, 2, "%v", found)
	assert.InDelta(t, 15, found[0], 2)
	assert.InDelta(t, 71, found[1], 2)
}

func TestAStepIsFoundWhereItIs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	near := 0
	for range 50 {
		values := make([]float64, 120)
		for i := range values {
			values[i] = 100 + 5*r.NormFloat64()
			if i >= 80 {
				values[i] += 30
			}
		}
		found := changes(values, 0.1)
		if len(found) == 1 && math.Abs(float64(found[0]-80)) <= 1 {
			near++
		}
	}
	assert.GreaterOrEqual(t, near, 48)
}

// Ties make a rank sum significant early; the place must not suffer.
func TestAStepFromNothingIsNotFoundBeforeItsTime(t *testing.T) {
	for at := 9; at < 50; at++ {
		values := make([]float64, at+20)
		for i := at; i < len(values); i++ {
			values[i] = 0.2 + 0.01*float64(i%3)
		}
		assert.Equal(t, []int{at}, changes(values, 0.5))
	}
}

func TestNoiseTrendsAndOutliersAreNoChange(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	extra := 0
	for range 20 {
		values := make([]float64, 500)
		for i := range values {
			values[i] = 100 + 0.02*float64(i) + 4*r.NormFloat64()
			if r.IntN(40) == 0 {
				values[i] *= 10
			}
		}
		extra += len(changes(values, 0.1))
	}
	assert.Zero(t, extra, "in 10,000 values")
}

// The oracle computes every energy distance from its definition.
func TestSplitIsThatOfTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for n := 2 * side; n <= Window; n += 7 {
		s := Series{}
		for range n {
			s.Values = append(s.Values, math.Round(10*r.NormFloat64()))
		}
		best, at := math.Inf(-1), 0
		for k := side; k <= n-edge; k++ {
			a, b := s.Values[:k], s.Values[k:]
			if q := float64(k*(n-k)) / float64(n) * (2*meanDistance(a, b, 0) - meanDistance(a, a, 1) - meanDistance(b, b, 1)); q > best+1e-9 {
				best, at = q, k
			}
		}
		assert.Equal(t, at, s.split(), "%v", s.Values)
	}
}

func meanDistance(a, b []float64, less int) float64 {
	sum := 0.0
	for _, x := range a {
		for _, y := range b {
			sum += math.Abs(x - y)
		}
	}
	return sum / float64(len(a)*(len(b)-less))
}

func TestRankSumOfKnownSamples(t *testing.T) {
	assert.InDelta(t, 2.611, rankSum([]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}), 1e-3)
	assert.InDelta(t, -2.611, rankSum([]float64{6, 7, 8, 9, 10}, []float64{1, 2, 3, 4, 5}), 1e-3)
	assert.Zero(t, rankSum([]float64{1, 1}, []float64{1, 1, 1}))
}

func BenchmarkAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(6, 6))
	s := Series{MinMagnitude: 0.1}
	for range Window {
		s.Add(100 + r.NormFloat64())
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Add(100 + r.NormFloat64())
	}
}
