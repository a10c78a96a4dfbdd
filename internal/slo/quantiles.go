// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"time"
)

// QuantileError is how far a reported quantile of latency may be from that of the events themselves.
const QuantileError = 0.01

const (
	// maxBuckets bounds a sketch to 4.5 KiB. It spans durations of 1 to 50,000 at least; what is below shares the lowest bucket.
	maxBuckets  = 576
	blockBucket = 32 // buckets are made in blocks
)

var (
	growth    = (1 + QuantileError) / (1 - QuantileError)
	perBucket = 1 / math.Log(growth)

	reported = [...]float64{0.5, 0.9, 0.95, 0.99}
)

// Bucket is a range of durations that are told apart no further: from QuantileError below its middle to as much above.
type Bucket int16

// BucketOf is the bucket of a duration in ns; what is shorter than 1 ns counts as 1.
func BucketOf(ns int64) Bucket { return Bucket(math.Ceil(math.Log(float64(max(ns, 1))) * perBucket)) }

// middle is the duration in ns that stands for a bucket.
func (b Bucket) middle() float64 { return 2 * math.Pow(growth, float64(b)) / (growth + 1) }

// sketch counts durations in buckets that grow by a ratio (Masson, Rim and Lee, DDSketch, VLDB 2019): its quantiles have a relative error,
// whatever the distribution, and two of them add up. What it holds does not depend on the order.
type sketch struct {
	lowest Bucket
	counts []Weight
}

func (s *sketch) add(b Bucket, w Weight) {
	if len(s.counts) == 0 {
		s.lowest = b - Bucket(floorMod(int64(b), blockBucket))
		s.counts = make([]Weight, blockBucket)
	}
	if b < s.lowest {
		s.lower(b)
	}
	if over := int(b-s.lowest) - len(s.counts) + 1; over > 0 {
		s.raise(over)
	}
	at := &s.counts[max(0, b-s.lowest)]
	*at = at.plus(w)
}

// lower makes room below, as far as the bound allows.
func (s *sketch) lower(b Bucket) {
	blocks := (int(s.lowest-b) + blockBucket - 1) / blockBucket
	blocks = min(blocks, (maxBuckets-len(s.counts))/blockBucket)
	if blocks == 0 {
		return // the lowest bucket takes it
	}
	s.lowest -= Bucket(blocks * blockBucket)
	s.move(blocks*blockBucket, len(s.counts)+blocks*blockBucket)
}

// raise makes room above. Beyond the bound the lowest buckets become one.
func (s *sketch) raise(over int) {
	over = (over + blockBucket - 1) / blockBucket * blockBucket
	if drop := len(s.counts) + over - maxBuckets; drop > 0 {
		var together Weight
		for _, w := range s.counts[:min(drop, len(s.counts))] {
			together = together.plus(w)
		}
		s.counts = s.counts[min(drop, len(s.counts)):]
		s.lowest += Bucket(drop)
		s.move(0, maxBuckets)
		s.counts[0] = s.counts[0].plus(together)
		return
	}
	s.move(0, len(s.counts)+over)
}

// move gives the counts another place and length, and no more memory than that.
func (s *sketch) move(to, length int) {
	counts := make([]Weight, length)
	copy(counts[to:], s.counts)
	s.counts = counts
}

// durations are sketches of two generations, so that quantiles are of the last one to two of them. They are learned since the start.
type durations struct {
	generation [2]int64
	sketches   [2]sketch
}

// of is the sketch of a generation; nil where it is over.
func (d *durations) of(generation int64) *sketch {
	i := floorMod(generation, 2)
	switch {
	case d.generation[i] > generation:
		return nil
	case d.generation[i] < generation:
		d.generation[i], d.sketches[i] = generation, sketch{}
	}
	return &d.sketches[i]
}

// Latency is what is known of how long the events of an objective took.
type Latency struct {
	// Since is the start of the time that the quantiles are of.
	Since time.Time `json:"since"`
	// Quantiles are in seconds, within QuantileError.
	Quantiles []Quantile `json:"quantiles"`
}

// Quantile is the duration that a share of the events did not exceed.
type Quantile struct {
	Share   float64 `json:"share"`
	Seconds float64 `json:"seconds"`
}

// latency reads the quantiles at t; nil where nothing was seen of late.
func (d *durations) latency(t, width int64) *Latency {
	if d == nil {
		return nil
	}
	var all []*sketch
	current, since := floorDiv(t, width), int64(math.MaxInt64)
	total := Weight(0)
	for i := range d.sketches {
		if d.generation[i] < current-1 {
			continue
		}
		for _, w := range d.sketches[i].counts {
			total = total.plus(w)
		}
		if len(d.sketches[i].counts) > 0 {
			all, since = append(all, &d.sketches[i]), min(since, d.generation[i]*width)
		}
	}
	if total == 0 {
		return nil
	}
	out := &Latency{Since: unix(since)}
	for _, share := range reported {
		out.Quantiles = append(out.Quantiles, Quantile{share, quantile(all, total, share)})
	}
	return out
}

// quantile is the middle of the bucket that holds the event which a share of all events does not exceed.
func quantile(all []*sketch, total Weight, share float64) float64 {
	first, last := Bucket(math.MaxInt16), Bucket(math.MinInt16)
	for _, s := range all {
		first, last = min(first, s.lowest), max(last, s.lowest+Bucket(len(s.counts))-1)
	}
	rank := max(Weight(math.Ceil(share*float64(total))), 1)
	below := Weight(0)
	for b := first; b < last; b++ {
		for _, s := range all {
			if b >= s.lowest && int(b-s.lowest) < len(s.counts) {
				below = below.plus(s.counts[b-s.lowest])
			}
		}
		if below >= rank {
			return b.middle() / 1e9
		}
	}
	return last.middle() / 1e9
}

// duration is how long an event of a slice took.
type duration struct {
	start  int64
	bucket Bucket
	weight Weight
}

// AddDuration notes how long an event in a slice took.
func (e *Entry) AddDuration(span SliceSpan, b Bucket, w Weight) {
	e.durations = append(e.durations, duration{span.Start, b, w})
}

func (e *Engine) addDurationsLocked(g *group, all []duration) {
	if len(all) > 0 && g.durations == nil {
		g.durations = new(durations)
	}
	width := e.generation()
	var s *sketch
	for i := range all {
		d := &all[i]
		if i == 0 || d.start != all[i-1].start {
			s = g.durations.of(floorDiv(d.start, width))
		}
		if s != nil {
			s.add(d.bucket, d.weight)
		}
	}
}
