// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// exploded is what a limiter says whose metric has two attributes with a thousand values each: one folded by its limit.
func exploded(t *testing.T) json.RawMessage {
	t.Helper()
	l := limit.New(limit.Settings{Limits: limit.Limits{Attribute: 10, Series: 60}, Window: time.Minute, MaxStale: time.Hour, Retention: time.Hour, MaxBuckets: 160})
	now := int64(1_000_000) * int64(time.Minute)
	for window := range int64(2) {
		for i := range 1000 {
			l.Begin(now + window*int64(time.Minute))
			m, _ := l.Metric(1, "requests")
			m.Label("shop")
			p := &limit.Point{Series: 1, Shared: 2, Start: now - 1, Time: now + window*int64(time.Minute)}
			for key, n := range map[string]int{"user": i, "route": i % 5} {
				p.Attrs = append(p.Attrs, limit.Attr{Key: key, KeyHash: limit.HashString(key), ValueHash: limit.HashInt(int64(n))})
			}
			m.Number(p, limit.KindDelta, limit.Int(1), true, false)
			l.Flush()
			l.Delivered()
		}
	}
	l.Begin(now + 2*int64(time.Minute))
	body, err := json.Marshal(l.Demand(10))
	require.NoError(t, err)
	return body
}

func TestDemandIsServedBesideWhatIsSent(t *testing.T) {
	e, _ := start(t, nil, nil)
	code, v := get(t, e, "/api/v1/cardinality")
	require.Equal(t, 200, code)
	assert.Equal(t, "pitwall.cardinality/v1", v["schema"])
	assert.Empty(t, v["advice"])
	assert.NotContains(t, v, "price")

	require.NoError(t, e.PublishSnapshot("offenders", "cardinality", exploded(t)))
	require.NoError(t, e.PublishSnapshot("offenders", "cardinality/of_tomorrow", json.RawMessage(`{"schema":"pitwall.offenders/v9"}`)))
	_, v = get(t, e, "/api/v1/cardinality")
	assert.Equal(t, []any{"cardinality/of_tomorrow"}, v["unreadable"])
	sent, notSent := v["series"].(float64), v["series_not_sent"].(float64)
	assert.InDelta(t, 15, sent, 5, "ten users and the rest, by route")
	assert.InDelta(t, 1000-sent, notSent, 20)
	advice := v["advice"].([]any)[0].(map[string]any)
	assert.Equal(t, "user", advice["attribute"])
	saves := advice["saves_series"].(float64)
	assert.InDelta(t, sent-5, saves, 1, "five routes are left")
	assert.Equal(t, fmt.Sprintf("dropping attribute user of metric requests of shop saves %.0f series", saves), advice["text"])
	assert.NotContains(t, advice, "saves_per_month")

	require.NoError(t, e.PublishSnapshot("prices", "cost", json.RawMessage(`{"schema":"pitwall.prices/v1","currency":"USD","signals":{"metrics":{"per_series_month":0.5}}}`)))
	require.NoError(t, e.PublishSnapshot("prices", "cost/free", json.RawMessage(`{"schema":"pitwall.prices/v1","currency":"EUR","signals":{"metrics":{}}}`)))
	_, v = get(t, e, "/api/v1/cardinality")
	assert.Equal(t, map[string]any{"per_series_month": 0.5, "currency": "USD"}, v["price"])
	assert.InDelta(t, notSent/2, v["saved_per_month"], 1e-9)
	assert.InDelta(t, saves/2, v["advice"].([]any)[0].(map[string]any)["saves_per_month"], 1e-9)
}

func TestCardinalityTakesALimitAndNothingElse(t *testing.T) {
	e, _ := start(t, nil, nil)
	require.NoError(t, e.PublishSnapshot("offenders", "cardinality", exploded(t)))
	_, v := get(t, e, "/api/v1/cardinality?limit=1")
	assert.Len(t, v["advice"], 1)
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "metric=a"} {
		code, v := get(t, e, "/api/v1/cardinality?"+query)
		assert.Equal(t, 400, code, query)
		assert.Contains(t, v["error"], "bad query", query)
	}
}
