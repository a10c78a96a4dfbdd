// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"math"
	"slices"
	"time"
)

const (
	defaultLimit    = 10_000
	defaultInterval = 5 * time.Minute
)

func orDefault[T int | time.Duration | float64](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

func shapeOf(t *trace) uint64 { return t.shape() }
func routeOf(t *trace) uint64 { return t.route }

// counter is true for the first few traces of each key in an interval. Intervals start with the first trace of a key, so that they do
// not all end at once; at the limit the keys whose interval is over go, and when none is, the key is not remembered.
type counter struct {
	key      func(*trace) uint64
	interval time.Duration
	count    int
	limit    int
	seen     map[uint64]counted
	swept    time.Time
}

type counted struct {
	since time.Time
	n     int
}

func newCounter(policy *Policy, key func(*trace) uint64) *counter {
	return &counter{
		key:      key,
		interval: orDefault(policy.Interval, defaultInterval),
		count:    orDefault(policy.Count, 1),
		limit:    orDefault(policy.Limit, defaultLimit),
		seen:     make(map[uint64]counted),
	}
}

func (c *counter) learn(t *trace, now time.Time) bool {
	key := c.key(t)
	entry, known := c.seen[key]
	if !known && len(c.seen) >= c.limit {
		if now.Sub(c.swept) >= time.Second {
			c.swept = now
			for k, e := range c.seen {
				if now.Sub(e.since) >= c.interval {
					delete(c.seen, k)
				}
			}
		}
		if len(c.seen) >= c.limit {
			return false
		}
	}
	if !known || now.Sub(entry.since) >= c.interval {
		entry = counted{since: now}
	}
	entry.n++
	c.seen[key] = entry
	return entry.n <= c.count
}

// unlearn takes back a trace that counted and was not kept after all.
func (c *counter) unlearn(t *trace) {
	key := c.key(t)
	if entry, ok := c.seen[key]; ok && entry.n > 0 {
		entry.n--
		c.seen[key] = entry
	}
}

// slowRoutes is true for traces that are slow for their route: above a quantile of the durations seen, forgetting the older half of its
// memory each time it fills up. Durations are counted in buckets a quarter of a power of two wide.
type slowRoutes struct {
	quantile float64
	limit    int
	routes   map[uint64]*durations
}

type durations struct {
	buckets [slowBuckets]uint32
	total   uint32
}

const (
	slowBuckets = 4 * 40
	slowWarmUp  = 100
	slowMemory  = 20_000
)

func newSlowRoutes(policy *Policy) *slowRoutes {
	return &slowRoutes{
		quantile: orDefault(policy.Quantile, 0.99),
		limit:    orDefault(policy.Limit, 1000),
		routes:   make(map[uint64]*durations),
	}
}

func durationBucket(nanos uint64) int {
	if nanos < 1000 {
		return 0
	}
	return min(slowBuckets-1, int(4*math.Log2(float64(nanos)/1000)))
}

func (s *slowRoutes) learn(t *trace, _ time.Time) bool {
	if t.end < t.start {
		return false
	}
	d := s.routes[t.route]
	if d == nil {
		if len(s.routes) >= s.limit {
			return false
		}
		d = &durations{}
		s.routes[t.route] = d
	}
	bucket := durationBucket(t.end - t.start)
	slow := false
	if d.total >= slowWarmUp {
		var below uint32
		for _, n := range d.buckets[:bucket] {
			below += n
		}
		slow = float64(below) >= s.quantile*float64(d.total)
	}
	d.buckets[bucket]++
	if d.total++; d.total >= slowMemory {
		d.total = 0
		for i := range d.buckets {
			d.buckets[i] /= 2
			d.total += d.buckets[i]
		}
	}
	return slow
}

// changes is true for traces through a version of a service that appeared within the last interval. What is there in the first interval
// after the start is not new.
type changes struct {
	interval time.Duration
	limit    int
	started  time.Time
	first    map[uint32]time.Time
}

func newChanges(policy *Policy) *changes {
	return &changes{
		interval: orDefault(policy.Interval, 10*time.Minute),
		limit:    orDefault(policy.Limit, defaultLimit),
		first:    make(map[uint32]time.Time),
	}
}

func (c *changes) learn(t *trace, now time.Time) bool {
	if c.started.IsZero() {
		c.started = now
	}
	fresh := false
	for _, version := range t.versions {
		since, known := c.first[version]
		if !known {
			if len(c.first) >= c.limit {
				for v, at := range c.first {
					if now.Sub(at) >= c.interval {
						delete(c.first, v)
						break
					}
				}
			}
			if len(c.first) >= c.limit {
				continue
			}
			if since = now; now.Sub(c.started) < min(c.interval, time.Minute) {
				since = now.Add(-c.interval)
			}
			c.first[version] = since
		}
		fresh = fresh || now.Sub(since) < c.interval
	}
	return fresh
}

// dynamicRates gives each route a probability of its own, so that rare routes are kept more often than common ones and the spans kept a
// second stay at a goal. Each route's share of the goal is proportional to the logarithm of its traffic; shares that a route cannot use
// go to the others. Unlike schemes that keep each key once, it holds the goal with any number of keys.
type dynamicRates struct {
	goal     float64
	interval time.Duration
	limit    int
	since    time.Time
	counts   map[uint64]float64
	rates    map[uint64]uint64
	fallback uint64
}

func newDynamicRates(policy *Policy) *dynamicRates {
	return &dynamicRates{
		goal:     policy.Goal,
		interval: orDefault(policy.Interval, 15*time.Second),
		limit:    orDefault(policy.Limit, 500),
		counts:   make(map[uint64]float64),
		rates:    make(map[uint64]uint64),
		fallback: ThresholdOf(0.1),
	}
}

func (d *dynamicRates) thresholdOf(t *trace) uint64 {
	if th, ok := d.rates[t.route]; ok {
		return th
	}
	return d.fallback
}

// otherRoutes counts the routes beyond the limit together.
const otherRoutes = uint64(0)

func (d *dynamicRates) learn(t *trace, now time.Time) bool {
	if d.since.IsZero() {
		d.since = now
	}
	if elapsed := now.Sub(d.since); elapsed >= d.interval {
		// After a silence there is no more to give away than usual.
		d.adjust(min(elapsed, 2*d.interval).Seconds())
		d.since = now
	}
	route := t.route
	if _, known := d.counts[route]; !known && len(d.counts) >= d.limit {
		route = otherRoutes
	}
	d.counts[route] += float64(t.spans)
	return true
}

// adjust allots the goal of the interval just over and starts the next with half of what was counted.
func (d *dynamicRates) adjust(seconds float64) {
	type share struct {
		route  uint64
		spans  float64
		weight float64
	}
	var shares []share
	var weights float64
	for route, spans := range d.counts {
		w := math.Log1p(spans)
		shares = append(shares, share{route, spans, w})
		weights += w
	}
	slices.SortFunc(shares, func(a, b share) int {
		if x, y := a.spans/a.weight, b.spans/b.weight; x != y {
			if x < y {
				return -1
			}
			return 1
		}
		if a.route < b.route {
			return -1
		}
		return 1
	})
	// Half of each count carries over, so in a steady state a count is twice an interval's traffic.
	left := d.goal * seconds * 2
	clear(d.rates)
	d.fallback = 0
	for _, s := range shares {
		grant := min(s.spans, left*s.weight/weights)
		left -= grant
		weights -= s.weight
		d.rates[s.route] = ThresholdOf(grant / s.spans)
		if s.route == otherRoutes {
			d.fallback = d.rates[s.route]
		}
		if s.spans /= 2; s.spans < 1 {
			delete(d.counts, s.route)
		} else {
			d.counts[s.route] = s.spans
		}
	}
}
