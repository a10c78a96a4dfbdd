// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"fmt"
	"math"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// The oracle reads series the way a backend does, and is used on both sides of the processor: what the incoming series add up to
// must be what the outgoing ones add up to. It knows nothing of folding.

// content is a point's value as whole numbers, component by component, so that equality is exact.
// Numbers: [0]. Histograms: [0] count, [1] sum, then counts at or below common bounds, or per power of two.
type content [16]int64

func (c content) plus(o content) content {
	for i := range c {
		c[i] += o[i]
	}
	return c
}

func (c content) minus(o content) content {
	for i := range c {
		c[i] -= o[i]
	}
	return c
}

// below tells whether any component but the sum fell.
func (c content) below(o content) bool {
	for i := range c {
		if i != 1 && c[i] < o[i] {
			return true
		}
	}
	return false
}

// reader follows one series by the rules of the data model.
type reader struct {
	seen, absent bool
	start, time  int64
	last, total  content
	detail       detail
}

// detail are the counts at a point's own resolution: a restart may show there only.
type detail struct {
	scale  int32
	counts map[float64]uint64
	// sparse: a count that is missing is zero, not unknown
	sparse bool
}

func (d detail) below(o detail) bool {
	if d.scale != o.scale {
		return false
	}
	for k, n := range o.counts {
		if now, ok := d.counts[k]; (ok || d.sparse) && now < n {
			return true
		}
	}
	return false
}

// cumulative adds what a cumulative point adds.
func (r *reader) cumulative(start, at int64, v content, d detail) {
	switch {
	case !r.seen:
		if start != 0 && start < at {
			r.total = v
		}
	case at < r.time, at == r.time && v != r.last:
		return
	case start >= r.time && start > r.start && start < at, v.below(r.last), d.below(r.detail):
		r.total = r.total.plus(v)
	default:
		r.total = r.total.plus(v.minus(r.last))
	}
	r.seen, r.start, r.time, r.last, r.detail = true, start, at, v, d
}

// level replaces what the series is at.
func (r *reader) level(at int64, v content, none bool) {
	if r.seen && at < r.time {
		return
	}
	r.seen, r.time, r.absent = true, at, none
	if !none {
		r.last = v
	}
}

// ledger reads all the series of a set of metrics.
type ledger struct {
	series map[string]*reader
	labels map[string]map[string]string
	faults []string
}

func newLedger() *ledger {
	return &ledger{series: map[string]*reader{}, labels: map[string]map[string]string{}}
}

// totals sums over the series, grouped by some of their attributes.
func (l *ledger) totals(level bool, by ...string) map[string]content {
	out := map[string]content{}
	for id, r := range l.series {
		key := make([]string, 0, len(by))
		for _, k := range by {
			key = append(key, l.labels[id][k])
		}
		v := r.total
		if level {
			v = r.last
			if r.absent {
				v = content{}
			}
		}
		k := strings.Join(key, "|")
		if sum := out[k].plus(v); sum != (content{}) {
			out[k] = sum
		} else {
			delete(out, k)
		}
	}
	return out
}

func (l *ledger) distinct(key string) int {
	values := map[string]struct{}{}
	for _, labels := range l.labels {
		if v, ok := labels[key]; ok {
			values[v] = struct{}{}
		}
	}
	return len(values)
}

func (l *ledger) reader(resource, attributes pcommon.Map) *reader {
	labels := map[string]string{}
	var id strings.Builder
	for _, m := range []pcommon.Map{resource, attributes} {
		raw := m.AsRaw()
		for k, v := range raw {
			labels[k] = fmt.Sprint(v)
		}
		fmt.Fprint(&id, raw) // maps print in key order
	}
	r := l.series[id.String()]
	if r == nil {
		r = &reader{}
		l.series[id.String()] = r
		l.labels[id.String()] = labels
	}
	return r
}

// read takes in a request. strict also checks what only a single well-behaved writer guarantees.
func (l *ledger) read(md pmetric.Metrics, strict bool) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				l.readMetric(rm.Resource().Attributes(), m, strict)
			}
		}
	}
}

func (l *ledger) readMetric(resource pcommon.Map, m pmetric.Metric, strict bool) {
	one := func(attributes pcommon.Map, t pmetric.AggregationTemporality, level bool, start, at pcommon.Timestamp, flags pmetric.DataPointFlags, v content, d detail) {
		r := l.reader(resource, attributes)
		folded := false
		attributes.Range(func(k string, v pcommon.Value) bool {
			folded = folded || k == limit.OverflowAttribute || v.AsString() == limit.OverflowValue
			return true
		})
		if strict && folded && r.seen && int64(at) <= r.time {
			l.faults = append(l.faults, fmt.Sprintf("two points at or before %d: %v", at, attributes.AsRaw()))
		}
		switch {
		case level:
			r.level(int64(at), v, flags.NoRecordedValue())
		case flags.NoRecordedValue():
		case t == pmetric.AggregationTemporalityDelta:
			if strict && folded && r.seen && int64(start) < r.time {
				l.faults = append(l.faults, fmt.Sprintf("interval from %d overlaps the one before, to %d: %v", start, r.time, attributes.AsRaw()))
			}
			r.total = r.total.plus(v)
			r.seen, r.time = true, max(r.time, int64(at))
		default:
			r.cumulative(int64(start), int64(at), v, d)
		}
	}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, dp := range m.Gauge().DataPoints().All() {
			one(dp.Attributes(), 0, true, dp.StartTimestamp(), dp.Timestamp(), dp.Flags(), numberContent(dp), detail{})
		}
	case pmetric.MetricTypeSum:
		t := m.Sum().AggregationTemporality()
		level := t == pmetric.AggregationTemporalityCumulative && !m.Sum().IsMonotonic()
		for _, dp := range m.Sum().DataPoints().All() {
			one(dp.Attributes(), t, level, dp.StartTimestamp(), dp.Timestamp(), dp.Flags(), numberContent(dp), detail{})
		}
	case pmetric.MetricTypeHistogram:
		for _, dp := range m.Histogram().DataPoints().All() {
			one(dp.Attributes(), m.Histogram().AggregationTemporality(), false, dp.StartTimestamp(), dp.Timestamp(), dp.Flags(), l.explicitContent(dp), explicitDetail(dp))
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, dp := range m.ExponentialHistogram().DataPoints().All() {
			one(dp.Attributes(), m.ExponentialHistogram().AggregationTemporality(), false, dp.StartTimestamp(), dp.Timestamp(), dp.Flags(), exponentialContent(dp), exponentialDetail(dp))
		}
	case pmetric.MetricTypeSummary:
		for _, dp := range m.Summary().DataPoints().All() {
			one(dp.Attributes(), pmetric.AggregationTemporalityCumulative, false, dp.StartTimestamp(), dp.Timestamp(), dp.Flags(),
				content{int64(dp.Count()), int64(dp.Sum())}, detail{})
		}
	}
}

func numberContent(dp pmetric.NumberDataPoint) content {
	if dp.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		return content{int64(dp.DoubleValue() * 4)} // the tests use quarters
	}
	return content{dp.IntValue() * 4}
}

// commonBoundsOfTests are in every histogram of the tests, whatever other bounds it has.
var commonBoundsOfTests = []float64{1, 10}

func (l *ledger) explicitContent(dp pmetric.HistogramDataPoint) content {
	c := content{int64(dp.Count()), int64(dp.Sum())}
	if dp.Flags().NoRecordedValue() {
		return c
	}
	for i, bound := range commonBoundsOfTests {
		found := false
		var below uint64
		for j, b := range dp.ExplicitBounds().All() {
			below += dp.BucketCounts().At(j)
			if b == bound {
				found = true
				break
			}
		}
		if !found {
			l.faults = append(l.faults, fmt.Sprintf("bound %v is lost: %v", bound, dp.ExplicitBounds().AsRaw()))
		}
		c[2+i] = int64(below)
	}
	return c
}

// exponentialContent brings a histogram to scale 0, one bucket a power of two; the tests use observations from 2^-4 to 2^4.
func exponentialContent(dp pmetric.ExponentialHistogramDataPoint) content {
	c := content{int64(dp.Count()), int64(dp.Sum()), int64(dp.ZeroCount())}
	by := dp.Scale()
	for i, n := range dp.Positive().BucketCounts().All() {
		c[3+4+(dp.Positive().Offset()+int32(i))>>by] += int64(n)
	}
	for i, n := range dp.Negative().BucketCounts().All() {
		c[12+(dp.Negative().Offset()+int32(i))>>by] += int64(n)
	}
	return c
}

// bucketOf is the index of a value at a scale, by the definition: the least i with value ≤ base^(i+1).
func bucketOf(value float64, scale int32) int32 {
	return int32(math.Ceil(math.Log2(value)*math.Exp2(float64(scale)))) - 1
}

func explicitDetail(dp pmetric.HistogramDataPoint) detail {
	d := detail{counts: map[float64]uint64{}}
	for i, b := range dp.ExplicitBounds().All() {
		d.counts[b] = dp.BucketCounts().At(i)
	}
	if n := dp.BucketCounts().Len(); n > 0 {
		d.counts[math.Inf(1)] = dp.BucketCounts().At(n - 1)
	}
	return d
}

func exponentialDetail(dp pmetric.ExponentialHistogramDataPoint) detail {
	d := detail{scale: dp.Scale(), counts: map[float64]uint64{}, sparse: true}
	for i, n := range dp.Positive().BucketCounts().All() {
		d.counts[float64(dp.Positive().Offset()+int32(i))] = n
	}
	for i, n := range dp.Negative().BucketCounts().All() {
		d.counts[float64(dp.Negative().Offset()+int32(i))+0.5] = n
	}
	return d
}
