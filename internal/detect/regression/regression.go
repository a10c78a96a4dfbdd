// SPDX-License-Identifier: Apache-2.0

// Package regression finds the moments at which a service became worse and says which change is to be suspected.
package regression

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/verdict"
)

// Key names a service.
type Key struct {
	Service     string `json:"service"`
	Namespace   string `json:"namespace,omitempty"`
	Environment string `json:"environment,omitempty"`
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Environment, b.Environment))
}

// Settings of a Detector; the zero value stands for the defaults.
type Settings struct {
	// MaxTargets bounds the services. Default 10000.
	MaxTargets int
	// TTL is how long a regression is told if nothing ends it. Default 6h.
	TTL time.Duration
}

const (
	// interval is the distance of the values of a series; minRequests is how many requests a value needs.
	interval    = time.Minute
	minRequests = 10
	// lateness is how long after its end a minute is closed; ring is how many may be open, the one that is being closed among them.
	lateness = 30 * time.Second
	ring     = 4
	// together is how many services are closed before others may observe again.
	together = 64
	// forgetAfter is how long a silent service is remembered when there is no room.
	forgetAfter = 60 // minutes

	snapshotVersion = 1
)

// The series of a service.
const (
	errorRatio = iota
	latency
	memory
	cpu
	seriesCount
)

// metrics are the series' names and the least changes that count. Latency is the 90th percentile of the requests that did not fail,
// memory and CPU are means over the instances.
var metrics = [seriesCount]struct {
	name                  string
	magnitude, difference float64
}{
	errorRatio: {"error_ratio", 0.5, 0.005},
	latency:    {"latency_p90_seconds", 0.2, 0.001},
	memory:     {"memory_bytes", 0.2, 1 << 20},
	cpu:        {"cpu_cores", 0.3, 0.01},
}

// Resource is one that Use takes.
type Resource int

// The resources.
const (
	Memory Resource = memory
	CPU    Resource = cpu
)

// Detector is a detect.Detector. All of it may be called from many goroutines.
type Detector struct {
	settings Settings

	mu      sync.Mutex
	targets map[Key]*Target
	closed  int64 // the last minute that was closed
	started bool
	dropped uint64
	suspects
}

var (
	_ detect.Detector       = (*Detector)(nil)
	_ detect.ChangeObserver = (*Detector)(nil)
)

// Target is the state of one service.
type Target struct {
	Last int64               `json:"last"`
	Of   [seriesCount]course `json:"of"`

	minutes [ring]minute
}

// course is one series of a service.
type course struct {
	Series

	// Minutes are those of the values, by index modulo their number: a minute without data gives no value.
	Minutes [Window + 4]uint32 `json:"minutes"`
	// Load is how many requests came in each of them.
	Load  [Window + 4]uint32 `json:"load"`
	Count int                `json:"count"`
	// Metric and Unit are what the values are made of, for a resource.
	Metric string `json:"metric,omitempty"`
	Unit   string `json:"unit,omitempty"`
	// Open is the regression that lasts.
	Open *open `json:"open,omitempty"`
}

type minute struct {
	index            int64
	requests, errors uint64
	latency          [verdict.Buckets]uint32
	used             [seriesCount]verdict.Gauge
}

// open is a regression that was told and has not ended.
type open struct {
	Point    Point           `json:"point"`
	Said     time.Time       `json:"said"`
	Envelope signal.Envelope `json:"envelope"`
}

// New returns a detector that has seen nothing.
func New(s Settings) *Detector {
	s.MaxTargets = cmp.Or(s.MaxTargets, 10_000)
	s.TTL = cmp.Or(s.TTL, 6*time.Hour)
	return &Detector{settings: s, targets: map[Key]*Target{}}
}

// Name implements detect.Detector.
func (*Detector) Name() string { return "regression" }

// Lock lets the caller observe, until Unlock. Nothing is to be called out to meanwhile.
func (d *Detector) Lock() { d.mu.Lock() }

// Unlock ends what Lock began.
func (d *Detector) Unlock() { d.mu.Unlock() }

// Dropped returns how many observations were left out since the last call: of too many services, too late, too early, or no number.
func (d *Detector) Dropped() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.dropped
	d.dropped = 0
	return n
}

// Target returns the service of that name to observe; nil when there is no room. The caller holds the lock, and lets go of the target
// with it.
func (d *Detector) Target(key Key) *Target {
	x := d.targets[key]
	if x != nil {
		return x
	}
	if len(d.targets) >= d.settings.MaxTargets {
		d.dropped++
		return nil
	}
	x = &Target{Last: d.closed}
	for i, m := range metrics {
		x.Of[i].MinMagnitude, x.Of[i].MinDifference = m.magnitude, m.difference
	}
	d.targets[Key{strings.Clone(key.Service), strings.Clone(key.Namespace), strings.Clone(key.Environment)}] = x
	return x
}

// Observe counts a request of a service that ended at event time end, in nanoseconds since 1970. The caller holds the lock.
func (d *Detector) Observe(x *Target, end int64, took time.Duration, failed bool) {
	m := d.minute(x, end)
	if m == nil {
		return
	}
	m.requests++
	if failed {
		m.errors++
		return
	}
	m.latency[verdict.Bucket(took)]++
}

// Use takes what an instance of a service used at event time at: bytes or cores. The caller holds the lock.
func (d *Detector) Use(x *Target, what Resource, at int64, value float64) {
	if m := d.minute(x, at); m != nil && !m.used[what].Observe(value, 1) {
		d.dropped++
	}
}

// Metric reports whether a metric in that unit is what the service's use of a resource is read from: of several the first one seen. When
// its unit changes the series begins anew.
func (x *Target) Metric(what Resource, name, unit string) bool {
	if x == nil {
		return false
	}
	s := &x.Of[what]
	if s.Metric == "" || s.Metric == name && s.Unit != unit {
		s.Metric, s.Unit = strings.Clone(name), strings.Clone(unit)
		s.Values, s.First = nil, s.Count
		for i := range x.minutes {
			x.minutes[i].used[what] = verdict.Gauge{}
		}
	}
	return s.Metric == name
}

// minute returns the open minute of an event time; nil when it is closed or too far ahead.
func (d *Detector) minute(x *Target, at int64) *minute {
	if x == nil {
		return nil
	}
	index := at / int64(interval)
	if d.started && (index <= d.closed || index >= d.closed+ring) {
		d.dropped++
		return nil
	}
	m := &x.minutes[index%ring]
	if m.index != index {
		*m = minute{index: index}
	}
	return m
}

// Advance implements detect.Detector. The lock is let go of now and then: ten thousand services take a while.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	d.mu.Lock()
	defer d.mu.Unlock()
	upto := now.Add(-lateness).UnixNano()/int64(interval) - 1
	if !d.started {
		d.started, d.closed = true, upto-ring
	}
	if upto <= d.closed {
		return nil
	}
	first := max(d.closed+1, upto-ring+1)
	d.closed = upto
	var out []detect.Candidate
	for n, key := range slices.SortedFunc(maps.Keys(d.targets), compareKeys) {
		if n%together == together-1 {
			d.mu.Unlock()
			d.mu.Lock() // whoever waits may observe meanwhile
		}
		x := d.targets[key]
		if x == nil {
			continue // replaced by a restored state
		}
		for i := first; i <= upto; i++ {
			out = append(out, d.closeMinute(key, x, i, now)...)
		}
		out = append(out, d.repeat(x, now)...)
	}
	d.forget()
	return out
}

// closeMinute makes a value of each series of a minute, and says what it completes.
func (d *Detector) closeMinute(key Key, x *Target, index int64, now time.Time) (out []detect.Candidate) {
	m := &x.minutes[index%ring]
	if m.index != index {
		return nil
	}
	x.Last = index
	for i := range x.Of {
		v, ok := m.value(i)
		if !ok {
			continue
		}
		s := &x.Of[i]
		slot := s.Count % len(s.Minutes)
		s.Minutes[slot], s.Load[slot] = uint32(index), uint32(min(m.requests, math.MaxUint32))
		s.Count++
		p, ok := s.Add(v)
		if !ok {
			continue
		}
		at := time.Unix(0, int64(s.Minutes[p.Index%len(s.Minutes)])*int64(interval)).UTC()
		switch {
		case p.After > p.Before && s.Open == nil:
			if s.Open = d.tell(key, i, p, s.growth(p.Index), at, now); s.Open != nil {
				out = append(out, candidate(s.Open))
			}
		case p.After < p.Before && s.Open != nil && p.After < (s.Open.Point.Before+s.Open.Point.After)/2:
			out = append(out, candidate(s.Open.end(now)))
			s.Open = nil
		}
	}
	return out
}

// growth is by how many times the requests grew with the value of that index.
func (s *course) growth(index int) float64 {
	load := func(from, to int) float64 {
		var values []float64
		for i := from; i < to; i++ {
			values = append(values, float64(s.Load[i%len(s.Load)]))
		}
		return median(values)
	}
	before, after := load(max(0, index-shoulder, s.Count-len(s.Load)), index), load(index, min(s.Count, index+shoulder))
	return after / max(before, 1)
}

// value returns a minute's value of a series, if there is enough to make one of.
func (m *minute) value(series int) (float64, bool) {
	switch series {
	case errorRatio:
		return float64(m.errors) / float64(max(m.requests, 1)), m.requests >= minRequests
	case latency:
		return m.quantile(0.9), m.requests-m.errors >= minRequests
	}
	g := m.used[series]
	return g.Sum / max(g.Weight, 1), g.Weight > 0
}

// quantile interpolates within its bucket; zero where no request succeeded.
func (m *minute) quantile(q float64) float64 {
	rank, seen := q*float64(m.requests-m.errors), 0.0
	for i, n := range m.latency {
		if n > 0 && seen+float64(n) >= rank {
			low, high := verdict.BucketBound(i), verdict.BucketBound(i+1)
			return (float64(low) + float64(high-low)*(rank-seen)/float64(n)) / float64(time.Second)
		}
		seen += float64(n)
	}
	return 0
}

// repeat says again what is still true when half of its validity is over, and ends what was true for too long.
func (d *Detector) repeat(x *Target, now time.Time) (out []detect.Candidate) {
	for i := range x.Of {
		o := x.Of[i].Open
		switch {
		case o == nil:
		case now.Sub(o.Envelope.ValidFrom) >= d.settings.TTL:
			x.Of[i].Open = nil
			out = append(out, candidate(o.end(now)))
		case now.Sub(o.Said) > validity/2:
			o.Said = now
			o.Envelope.UpdatedAt, o.Envelope.ExpiresAt = now.UTC(), now.Add(validity).UTC()
			out = append(out, candidate(o))
		}
	}
	return out
}

func (d *Detector) forget() {
	if len(d.targets) < d.settings.MaxTargets-d.settings.MaxTargets/10 {
		return
	}
	maps.DeleteFunc(d.targets, func(_ Key, x *Target) bool {
		if x.Last == 0 {
			x.Last = d.closed // seen before any minute was closed
		}
		return d.closed-x.Last >= forgetAfter
	})
}

// Fill implements detect.Detector.
func (d *Detector) Fill() detect.Fill {
	d.mu.Lock()
	defer d.mu.Unlock()
	return detect.Fill{Used: len(d.targets), Limit: d.settings.MaxTargets}
}

// kept is the form in which the state is kept; the open minutes are lost.
type kept struct {
	Closed  int64           `json:"closed"`
	Targets []keptTarget    `json:"targets"`
	Changes []detect.Change `json:"changes,omitempty"`
}

type keptTarget struct {
	Key    Key     `json:"key"`
	Target *Target `json:"target"`
}

// Snapshot implements detect.Detector.
func (d *Detector) Snapshot() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := kept{Closed: d.closed, Changes: d.changes}
	for _, key := range slices.SortedFunc(maps.Keys(d.targets), compareKeys) {
		k.Targets = append(k.Targets, keptTarget{key, d.targets[key]})
	}
	return detect.SealJSON(snapshotVersion, k)
}

// Restore implements detect.Detector.
func (d *Detector) Restore(data []byte) error {
	k, err := detect.OpenJSON[kept](snapshotVersion, data)
	if err != nil {
		return err
	}
	targets := map[Key]*Target{}
	for _, one := range k.Targets[:min(len(k.Targets), d.settings.MaxTargets)] {
		if one.Target != nil && one.Target.sound() {
			targets[one.Key] = one.Target
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.targets, d.closed, d.started = targets, k.Closed, k.Closed != 0
	d.changes = k.Changes[:min(len(k.Changes), maxChanges)]
	return nil
}

// sound reports whether a restored series can go on.
func (x *Target) sound() bool {
	for i := range x.Of {
		s := &x.Of[i]
		if len(s.Values) > Window || s.First < 0 || s.Count < 0 || slices.ContainsFunc(s.Values, func(v float64) bool { return math.IsNaN(v) }) {
			return false
		}
	}
	return true
}
