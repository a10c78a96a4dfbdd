// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// BenchmarkFlush writes the book of 1,000 groups with one new slice each as metrics.
func BenchmarkFlush(b *testing.B) {
	engine, err := slo.New(slo.DefaultSettings(), []slo.Objective{{
		Name: "o", Target: 0.99, Window: slo.Duration(30 * slo.Day), MaxGroups: 1000, GroupBy: []string{"service.name"},
		Indicator: slo.Indicator{Kind: slo.IndicatorSpans},
	}})
	require.NoError(b, err)
	require.NoError(b, engine.Claim("benchmark", true))
	tally := engine.NewTally()
	w := writer{}
	b.ReportAllocs()
	points := 0
	for at := epoch; b.Loop(); at = at.Add(10 * time.Second) {
		tally.Reset()
		for g := range 1000 {
			entry := tally.Entry(0, []string{fmt.Sprint("service-", g)})
			entry.Add(tally.Slice(at.UnixNano()), at.UnixNano(), g%100 == 0, slo.One)
		}
		tally.Observe(1, at.UnixNano())
		engine.Commit(tally, at)
		points += w.metrics(engine.TakeEvents(), engine.Statuses(), slo.Workbook()).DataPointCount()
	}
	b.ReportMetric(float64(points)/float64(b.N), "points/op")
}
