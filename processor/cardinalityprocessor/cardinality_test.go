// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// sums makes a request with one sum, of one point per entry of attributes.
func sums(service, name string, temporality pmetric.AggregationTemporality, start, at time.Time, values ...labelled) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", service)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(temporality)
	for _, v := range values {
		dp := sum.DataPoints().AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetIntValue(v.value)
		for k, a := range v.labels {
			dp.Attributes().PutStr(k, a)
		}
	}
	return md
}

type labelled struct {
	value  int64
	labels map[string]string
}

const (
	delta      = pmetric.AggregationTemporalityDelta
	cumulative = pmetric.AggregationTemporalityCumulative
)

func TestSteadyLeakIsHeld(t *testing.T) {
	for _, temporality := range []pmetric.AggregationTemporality{delta, cumulative} {
		g := newRig(t, func(c *Config) {
			c.Limits.Attribute = 10
			c.Window = time.Minute
		})
		started := g.now
		for i := range 600 { // two a second for five minutes
			g.now = g.now.Add(500 * time.Millisecond)
			g.send(sums("shop", "requests", temporality, started, g.now, labelled{1, map[string]string{"request.id": fmt.Sprintf("uuid-%d", i), "route": "/buy"}}))
		}
		assert.LessOrEqual(t, g.out.distinct("request.id"), 11, "%v", temporality)
		folded := g.proc.engine.limiter.Stats().Folded
		assert.GreaterOrEqual(t, folded, uint64(590), "%v", temporality)
		assert.Equal(t, map[string]content{"/buy": {600 * 4}}, g.out.totals(false, "route"), "%v", temporality)
	}
}

func TestRestartedMemberIsNoResetOfTheSum(t *testing.T) {
	g := newRig(t, func(c *Config) {
		c.Rules = []RuleConfig{{Attributes: []string{"pod"}, Action: "drop"}}
	})
	start := g.now
	send := func(second int, a, b int64, startB time.Time) {
		g.now = start.Add(time.Duration(second) * time.Second)
		md := sums("shop", "requests", cumulative, start, g.now, labelled{a, map[string]string{"pod": "a"}})
		sums("shop", "requests", cumulative, startB, g.now, labelled{b, map[string]string{"pod": "b"}}).ResourceMetrics().At(0).ScopeMetrics().At(0).
			Metrics().At(0).Sum().DataPoints().MoveAndAppendTo(md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints())
		g.send(md)
	}
	send(10, 100, 900, start)
	require.Equal(t, map[string]content{"": {1000 * 4}}, g.out.totals(false))
	send(20, 110, 5, start.Add(12*time.Second))
	require.Equal(t, map[string]content{"": {1015 * 4}}, g.out.totals(false), "a true increase of 15, and no reset")
	require.Len(t, g.out.series, 1)
}

func TestHostileRequestsLeaveNoTrace(t *testing.T) {
	dir := dataDir(t)
	good := func(g *rig) {
		for i := range 20 {
			g.now = g.now.Add(time.Second)
			g.send(sums("shop", "c", cumulative, time.Unix(1_700_000_000, 0), g.now,
				labelled{int64(i), map[string]string{"id": fmt.Sprint(i % 5)}}, labelled{int64(i), map[string]string{"id": fmt.Sprint("x", i%3)}}))
		}
	}
	limits := func(c *Config) { c.Limits.Attribute, c.Limits.Series = 1, 4 }
	clean, dirty := newRig(t, limits), newRig(t, limits)
	files, err := filepath.Glob(filepath.Join(dir, "fixtures/otlp-badinput/*.jsonl"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 40)
	accepted := 0
	dirty.out = nil
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		for range 3 {
			if md, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(raw); err == nil {
				dirty.send(md)
				accepted++
			}
		}
	}
	require.Greater(t, accepted, 30)
	dirty.out = newLedger()
	good(clean)
	good(dirty)
	assert.Equal(t, clean.out.totals(false, "id"), dirty.out.totals(false, "id"))
	assert.Empty(t, dirty.out.faults)
}

// dataDir is where the recorded data lies; the test is skipped where it does not.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PITWALL_DATA")
	if dir == "" {
		root, err := os.Getwd()
		require.NoError(t, err)
		for root != "/" {
			if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
				break
			}
			root = filepath.Dir(root)
		}
		dir = filepath.Join(root, "../shared/data")
	}
	if _, err := os.Stat(filepath.Join(dir, "fixtures")); err != nil {
		t.Skipf("SKIPPED: no recorded data in %s; set PITWALL_DATA", strings.TrimSpace(dir))
	}
	return dir
}
