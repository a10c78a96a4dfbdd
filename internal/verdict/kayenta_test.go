// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
)

// Three canaries that Kayenta's judge passed and its users reported (spinnaker/kayenta #426 and #780, spinnaker/spinnaker #6278).
func TestFigureReportedWrongPassesAreAnsweredRight(t *testing.T) {
	sparse := JudgeSamples([]float64{0, 0, 0, 0, 0, 0}, []float64{0, 1, 2, 1, 0, 0}, Increase, 0.25, 0.05)
	assert.Equal(t, Inconclusive, sparse.Outcome, "four errors against none are not enough: %+v", sparse)
	// The same as counts of errors, an interval a slice, which is how they reach us.
	c := New(Settings{}, 0)
	for i, n := range []uint64{0, 1, 2, 1, 0, 0} {
		c.Add(int64(i), &Slice{Requests: 100, Errors: n}, &Slice{Requests: 100})
	}
	assert.Equal(t, Inconclusive, c.Judge(5).Outcome)

	spread := JudgeSamples(
		[]float64{1, 100, 4, 101, 5, 102, 6, 103, 7, 104, 8, 105, 9, 106, 17},
		[]float64{10, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 17, 17.1, 17.2, 17.3, 17.4, 17.5, 17.6, 17.7}, Either, 0.25, 0.05)
	assert.Equal(t, Fail, spread.Outcome, "%+v", spread)

	mostly := JudgeSamples(
		[]float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		[]float64{100, 100, 100, 100, 100, 100, 100, 1, 1, 1}, Increase, 0.25, 0.05)
	assert.Equal(t, Fail, mostly.Outcome, "%+v", mostly)
	figures.Record(t, figures.Figure{
		Table: "Canary verdicts", Row: "three reported wrong passes of Kayenta's judge (kayenta #426, kayenta #780, spinnaker #6278)",
		Reached: fmt.Sprintf("%s, %s, %s", sparse.Outcome, spread.Outcome, mostly.Outcome), Wanted: "inconclusive, fail, fail", Command: figureCommand,
	})
}

type kayentaCase struct {
	Name                string    `json:"name"`
	Control, Experiment []float64 `json:"-"`
	Direction           []string  `json:"direction"`
	Expected            []string  `json:"expected"`
}

// asClass says a verdict in Kayenta's words.
func asClass(v SampleVerdict) string {
	switch {
	case v.Outcome == Fail && v.Side == Increase:
		return "High"
	case v.Outcome == Fail:
		return "Low"
	case v.Outcome == Pass:
		return "Pass"
	case v.Reason == ReasonNoTraffic:
		return "Nodata"
	}
	return "Inconclusive"
}

func TestFigureKayentasCases(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "data", "fixtures", "kayenta", "mannwhitney_cases.json")
	if dir := os.Getenv("PITWALL_DATA"); dir != "" {
		path = filepath.Join(dir, "fixtures", "kayenta", "mannwhitney_cases.json")
	}
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Skipf("SKIPPED, NOT PROVEN: no real data at %s (set PITWALL_DATA)", path)
	}
	var cases []struct {
		kayentaCase
		Control    []any `json:"control"`
		Experiment []any `json:"experiment"`
	}
	require.NoError(t, json.Unmarshal(raw, &cases))
	require.Len(t, cases, 36)
	agree, wrong, unsure := 0, 0, 0
	for i, c := range cases {
		v := JudgeSamples(numbers(c.Control), numbers(c.Experiment), Direction(strings.ToLower(c.Direction[0])), 0.25, 0.05)
		got := asClass(v)
		switch {
		case got == c.Expected[0]:
			agree++
		case got == "Inconclusive" || got == "Nodata":
			unsure++
		default:
			wrong++
		}
		t.Logf("| %d | %s | %s | %s | %d / %d | %.3g / %.3g / %.3g |", i+1, c.Name, c.Expected[0], got, len(c.Control), len(c.Experiment), v.EHigher, v.ELower, v.EPass)
		if c.Expected[0] == "Nodata" {
			assert.NotEqual(t, Pass, v.Outcome)
		}
	}
	figures.Record(t, figures.Figure{
		Table: "Canary verdicts", Row: "Kayenta's 36 test cases: same answer, inconclusive, another answer",
		Reached: fmt.Sprintf("%d, %d, %d", agree, unsure, wrong), Command: figureCommand,
	})
}

func numbers(list []any) []float64 {
	out := make([]float64, 0, len(list))
	for _, x := range list {
		if f, ok := x.(float64); ok {
			out = append(out, f)
		} else {
			out = append(out, math.NaN())
		}
	}
	return out
}

func TestSamplesThatCannotBeJudged(t *testing.T) {
	some := []float64{1, 2, 3}
	assert.Equal(t, ReasonNotFinite, JudgeSamples(some, []float64{1, math.NaN()}, Either, 0.25, 0.05).Reason)
	assert.Equal(t, ReasonNotFinite, JudgeSamples([]float64{math.Inf(1)}, some, Either, 0.25, 0.05).Reason)
	assert.Equal(t, ReasonNoTraffic, JudgeSamples(some, nil, Either, 0.25, 0.05).Reason)
	assert.Equal(t, ReasonBaselineGone, JudgeSamples(nil, some, Either, 0.25, 0.05).Reason)
}

// Under exchangeability every split of the pooled values into two samples is equally likely: the mean of the e-value over all of them
// is at most one.
func TestSampleEValueHasMeanAtMostOneOverAllSplits(t *testing.T) {
	pooled := []float64{1, 1, 2, 3, 5, 8, 13, 13, 21}
	const k = 4
	sum, n := 0.0, 0
	for mask := range 1 << len(pooled) {
		var a, b []float64
		for i, x := range pooled {
			if mask>>i&1 == 1 {
				a = append(a, x)
			} else {
				b = append(b, x)
			}
		}
		if len(a) == k {
			sum += sampleE(b, a, true)
			n++
		}
	}
	assert.LessOrEqual(t, sum/float64(n), 1+1e-9)
}
