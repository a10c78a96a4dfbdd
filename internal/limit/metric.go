// SPDX-License-Identifier: Apache-2.0

package limit

import "strconv"

var (
	overflowValueHash = HashString(OverflowValue)
	overflowKeyHash   = HashString(OverflowAttribute)
	overflowPair      = Mix(overflowKeyHash, HashBool(true))
)

// metricBytes is the fixed part of a metric's state, attributeBytes that of an attribute.
const (
	metricBytes    = 900
	attributeBytes = 900
)

// Metric is the state of one metric in one scope.
type Metric struct {
	l        *Limiter
	key      metricKey
	label    string // of the scope, for reports
	labelled bool
	gauge    Merge

	attributes map[uint64]*attribute
	list       []*attribute
	hot        []*attribute // values compete, or all of them are folded
	ruled      bool         // a rule changes a hot attribute
	mergeAll   bool         // a rule may make two incoming series one: none is kept as it is

	series   admission // outgoing series, kept or merged
	streams  streamTable
	groups   map[uint64]*Group
	recent   *[recentGroups]*Group // those that points were folded into lately, by their key
	overflow int                   // overflow series of whole series

	stirred    []*Group // levels that changed without a point to say so
	leaving    []*Group // scratch of Stirred
	generation uint32
	window     uint32
	crowded    bool // weights have to be counted
	measuring  bool // savings have to be estimated
	squeezed   []*attribute
	full       hyperLogLog // series wanted if no attribute were folded as a whole
	wanted     hyperLogLog // incoming series
	lastFull   float64
	lastWanted float64
	counted    int   // seats of series that the limiter's total knows of
	accounted  int64 // bytes of admissions and sketches that the limiter knows of
	fixed      int64 // bytes of what stays as long as the metric

	// Folded counts points since the start: those merged by an attribute and those merged whole.
	folded, foldedWhole uint64
}

func (l *Limiter) newMetric(key metricKey) *Metric {
	m := &Metric{
		l: l, key: key,
		attributes: map[uint64]*attribute{},
		groups:     map[uint64]*Group{},
		window:     l.window,
	}
	m.series.limit = l.settings.Limits.Series
	for _, o := range l.settings.Overrides {
		if o.Series != nil && len(o.Attributes) == 0 && matchAnyOrAll(o.Metrics, key.name) {
			m.series.limit = *o.Series
			break
		}
	}
	for _, g := range l.settings.Gauges {
		if matchAnyOrAll(g.Metrics, key.name) {
			m.gauge = g.Merge
			break
		}
	}
	for i := range l.rules {
		if r := &l.rules[i]; r.merges() && matchAnyOrAll(r.Metrics, key.name) {
			m.mergeAll = true
		}
	}
	l.metrics[key] = m
	m.chargeFixed(metricBytes + len(key.name))
	return m
}

func (m *Metric) chargeFixed(bytes int) {
	m.fixed += int64(bytes)
	m.l.used += int64(bytes)
}

// maxName is the length of the longest name that is kept in full. Senders choose names, and they must not choose how much memory we need.
const maxName = 1024

// clip shortens a name that is too long, and keeps it apart from others that begin like it.
func clip(name string) string {
	if len(name) <= maxName {
		return name
	}
	return name[:maxName-16] + strconv.FormatUint(HashString(name)|1<<63, 16)
}

// Label names the scope in reports.
func (m *Metric) Label(scope string) {
	scope = clip(scope)
	m.chargeFixed(len(scope) - len(m.label))
	m.label, m.labelled = scope, true
}

// Labelled tells whether the scope has a name.
func (m *Metric) Labelled() bool { return m.labelled }
