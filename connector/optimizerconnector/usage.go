// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"maps"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/datapoint"
)

// The metrics that say what an instance uses; where a resource reports several the first one seen counts.
var (
	memoryMetrics = map[string]bool{
		"container.memory.working_set": true, "k8s.pod.memory.working_set": true, "container.memory.usage": true,
		"k8s.pod.memory.usage": true, "process.memory.usage": true,
	}
	cpuMetrics     = map[string]bool{"container.cpu.usage": true, "k8s.pod.cpu.usage": true, "k8s.container.cpu.usage": true}
	cpuTimeMetrics = map[string]bool{"container.cpu.time": true, "k8s.pod.cpu.time": true, "process.cpu.time": true}
)

// cpuTimes remembers what the cumulative CPU time of each instance was last, to make cores of it.
type cpuTimes struct {
	limit int

	mu    sync.Mutex
	last  map[identity]cpuReading
	swept int64
}

type cpuReading struct {
	at      int64
	seconds float64
}

// cpuForget is how old the reading of an instance may become when there is no room for others.
const cpuForget = int64(10 * time.Minute)

func newCPUTimes(limit int) *cpuTimes {
	return &cpuTimes{limit: limit, last: map[identity]cpuReading{}}
}

// cores returns the event time of a reading, zero if there is none that can be used, and the cores used since the one before it.
func (c *cpuTimes) cores(id identity, m pmetric.Metric, limit int64) (at int64, cores float64, ok bool) {
	if m.Type() != pmetric.MetricTypeSum || m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
		return 0, 0, false
	}
	var now cpuReading
	for i, all := 0, points(m); i < all.Len(); i++ { // user and system time, each a point
		p := all.At(i)
		at, ok := usable(p.Timestamp(), limit)
		if !ok {
			return 0, 0, false
		}
		now.at = max(now.at, at)
		now.seconds += datapoint.Value(p)
	}
	if now.at == 0 {
		return 0, 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.last[id]
	if !known {
		if !c.room(now.at) {
			return now.at, 0, false
		}
		id = id.clone()
	}
	c.last[id] = now
	// Less than before is a restart: there is no difference to take.
	if !known || now.at <= last.at || now.seconds < last.seconds {
		return now.at, 0, false
	}
	return now.at, (now.seconds - last.seconds) / time.Duration(now.at-last.at).Seconds(), true
}

// room forgets instances that are gone, at most once a minute.
func (c *cpuTimes) room(now int64) bool {
	if len(c.last) >= c.limit && now-c.swept >= int64(time.Minute) {
		c.swept = now
		maps.DeleteFunc(c.last, func(_ identity, r cpuReading) bool { return now-r.at > cpuForget })
	}
	return len(c.last) < c.limit
}

func (id identity) clone() identity {
	id.key.Service, id.key.Namespace = strings.Clone(id.key.Service), strings.Clone(id.key.Namespace)
	id.key.Environment = strings.Clone(id.key.Environment)
	id.version, id.instance = strings.Clone(id.version), strings.Clone(id.instance)
	return id
}

// points returns the number points of a gauge or a sum. Whoever ranges over them does so by index: an iterator would be allocated.
func points(m pmetric.Metric) pmetric.NumberDataPointSlice {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints()
	}
	return noPoints
}

var noPoints = pmetric.NewNumberDataPointSlice()
