// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// state is what a ledger's series are at, by identity.
func state(l *ledger) map[string]content {
	out := map[string]content{}
	for id, r := range l.series {
		if r.total != (content{}) {
			out[id] = r.total
		}
	}
	return out
}

// However the same points are cut into requests, every outgoing series ends at the same total.
func TestBatchingDoesNotMatter(t *testing.T) {
	for seed := range cases(t, 2000, 40) {
		v := variants[seed%len(variants)]
		var first map[string]content
		for _, cuts := range []uint64{1, 2, 3} {
			r := rand.New(rand.NewPCG(uint64(seed), 8))
			g := newRig(t, func(c *Config) {
				c.Window = 40 * time.Second
				c.Limits.Attribute = 1 + r.IntN(6)
				c.Limits.Series = 2 + r.IntN(20)
				c.Protect = []string{"route"}
			})
			pieces := rand.New(rand.NewPCG(uint64(seed), cuts))
			for _, arrivals := range scenario(r, v, 15) {
				g.now = g.now.Add(10 * time.Second)
				for _, md := range cut(pieces, arrivals, true) {
					g.send(md)
				}
			}
			if first == nil {
				first = state(g.out)
				continue
			}
			require.Equal(t, first, state(g.out), "seed %d: %s", seed, v.name)
		}
	}
}

// Three instances behind a load balancer that routes by metric name give, together, what one instance gives.
func TestThreeInstancesByMetricNameEqualOne(t *testing.T) {
	for seed := range uint64(cases(t, 200, 10)) {
		change := func(c *Config) {
			c.Limits.Attribute, c.Limits.Series, c.Limits.Total = 3, 12, 0
			c.Window = 30 * time.Second
		}
		one := newRig(t, change)
		var three []*rig
		union := newLedger()
		for range 3 {
			g := newRig(t, change)
			g.out = union
			three = append(three, g)
		}
		r := rand.New(rand.NewPCG(seed, 9))
		values := map[string]int64{}
		for range 60 {
			one.now = one.now.Add(5 * time.Second)
			for range 5 {
				name := fmt.Sprint("metric-", r.IntN(9))
				var points []labelled
				seen := map[string]bool{}
				for range 1 + r.IntN(6) {
					labels := map[string]string{"id": strconv.Itoa(r.IntN(20)), "metric": name, "route": strconv.Itoa(r.IntN(3))}
					key := fmt.Sprint(labels)
					if seen[key] {
						continue
					}
					seen[key] = true
					values[key] += r.Int64N(10)
					points = append(points, labelled{values[key], labels})
				}
				one.now = one.now.Add(time.Millisecond)
				md := sums("shop", name, cumulative, time.Unix(1_699_999_000, 0), one.now, points...)
				g := three[limit.HashString(name)%3]
				g.now = one.now
				again := pmetric.NewMetrics()
				md.CopyTo(again)
				g.send(again)
				one.send(md)
			}
		}
		require.Equal(t, state(one.out), state(union), "seed %d", seed)
	}
}

// What folding an attribute is said to save is what dropping it does save.
func TestReportedSavingsAreTrue(t *testing.T) {
	g := newRig(t, func(c *Config) {
		c.Limits.Attribute, c.Limits.Series = 5000, 20_000
		c.Window = time.Minute
	})
	r := rand.New(rand.NewPCG(1, 10))
	all, without := map[string]bool{}, map[string]map[string]bool{"user": {}, "path": {}, "status": {}}
	var points []labelled
	for range 20_000 {
		user, path, status := strconv.Itoa(r.IntN(900)), strconv.Itoa(r.IntN(40)), strconv.Itoa(r.IntN(5))
		if r.IntN(3) > 0 {
			user = strconv.Itoa(r.IntN(30))
		}
		points = append(points, labelled{1, map[string]string{"user": user, "path": path, "status": status}})
		all[user+"|"+path+"|"+status] = true
		without["user"][path+"|"+status] = true
		without["path"][user+"|"+status] = true
		without["status"][user+"|"+path] = true
	}
	send := func() {
		for at := 0; at < len(points); at += 1000 {
			g.send(sums("shop", "requests", delta, g.now.Add(-time.Second), g.now, points[at:at+1000]...))
		}
		g.now = g.now.Add(time.Minute)
	}
	for range 3 {
		send()
	}
	report := g.proc.engine.limiter.Offenders(1)
	require.Len(t, report, 1)
	want := float64(len(all))
	assert.InEpsilon(t, want, report[0].Wanted, 0.05)
	for _, a := range report[0].Attributes {
		assert.InDelta(t, len(all)-len(without[a.Attribute]), a.Saves, 0.05*float64(len(all)), a.Attribute)
	}
}
