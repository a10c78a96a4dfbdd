// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math"
	"time"
)

// Attr is one attribute of an incoming point.
type Attr struct {
	Key       string
	KeyHash   uint64
	ValueHash uint64
	// Text is the value where it is a string; the template rule needs it.
	Text   string
	IsText bool

	pair uint64 // key and value together
}

// Change is what happens to one attribute of a point that is merged.
type Change struct {
	Action Action
	// Text is the new value (hash, template, fold) or the new key (rename).
	Text string
}

// Point is one incoming data point; the caller reuses it.
type Point struct {
	// Series identifies everything but the attributes: resource, instrumentation scope, and the metric's kind and unit. Shared is
	// the same without the resource and the instrumentation scope.
	Series, Shared uint64
	Attrs          []Attr
	Start, Time    int64 // nanoseconds since 1970, 0 when unknown
	// NoValue is the data model's flag for "no recorded value".
	NoValue bool
	// Malformed content passes where its series is kept and is dropped where it would have to be merged.
	Malformed bool

	// Changes holds one entry per attribute after a point was found to carry an output point (Outcome.Carrier). Whole says that
	// the overflow attribute has to be added.
	Changes []Change
	Whole   bool

	raw uint64 // sum of the attributes' pairs as they came in
	id  uint64 // of the incoming series
	// identified says that raw, id and the pairs are those of the point at hand.
	identified bool

	weights []weighing
	parts   []part
	folds   []*attribute
}

type part struct {
	of   *attribute
	pair uint64
}

type weighing struct {
	of   *admission
	hash uint64
	seat *seat
}

// Verdict says what to do with a point.
type Verdict uint8

// The verdicts.
const (
	// Pass: leave the point as it is.
	Pass Verdict = iota
	// Restarted: keep the point, with the start and content of the Outcome.
	Restarted
	// Merged: the point went into Outcome.Group and is removed, unless it is the group's carrier.
	Merged
	// Dropped: the point is removed for Outcome.Reason.
	Dropped
)

// Reason names why a point was dropped.
type Reason uint8

// The reasons.
const (
	ReasonNone Reason = iota
	// ReasonLate: a cumulative point older than the last one of its series, or a second value for the same time.
	ReasonLate
	// ReasonInvalid: content the data model does not allow cannot be merged.
	ReasonInvalid
	// ReasonNoValue: an end mark of a series that is merged; its group goes on.
	ReasonNoValue
	// ReasonStateFull: no memory is left to remember the series by.
	ReasonStateFull
	// ReasonMetricLimit: the table of metrics is full.
	ReasonMetricLimit
	reasons
)

// String is the label of a reason in metrics.
func (r Reason) String() string {
	return [...]string{"none", "late", "invalid", "no_recorded_value", "state_full", "metric_limit"}[r]
}

// Reasons is how many there are.
const Reasons = int(reasons)

// Mark asks for the end of a series to be marked, with a point without a recorded value.
type Mark uint8

// The marks.
const (
	MarkNone Mark = iota
	// MarkSeries: the incoming series itself was kept until now.
	MarkSeries
	// MarkFolded: the series with the point's folded attributes was kept until now.
	MarkFolded
)

// Outcome is what the limiter decided. It is valid until the next point.
type Outcome struct {
	Verdict Verdict
	Reason  Reason
	Mark    Mark
	// MarkTime is the time of the end mark.
	MarkTime int64
	Group    *Group
	// Carrier says that the group has no output point in this flush yet: this point becomes it.
	Carrier bool
	// Shared says that the output point belongs on the resource that carries only the scope.
	Shared bool
	// What a restarted series sends.
	Start       int64
	Number      Number
	Explicit    *Explicit
	Exponential *Exponential
}

// Stats are counts since the start and levels of now.
type Stats struct {
	Folded, FoldedWhole     uint64 // points
	Series, Groups, Streams int
	OverflowSeries          int
	Metrics                 int
	Bytes                   int64
	Resets, Baselined       uint64
	Displaced               uint64
	DryRun                  uint64
}

// Limiter is the engine.
type Limiter struct {
	settings Settings
	metrics  map[metricKey]*Metric
	rules    []ruleState
	extra    []string // protected attributes that others asked for

	now    int64
	window uint32
	offset int64 // of windows, from those of the clock; see Begin
	flush  uint64
	epoch  int64 // event time of the first point; 0 after state was restored
	warm   bool  // state was restored: the first value of a series with a known start counts

	used     int64
	series   int
	overflow int
	streams  int
	groups   int
	stats    Stats
	arena    arena
	outcome  Outcome // of the point at hand
	sink     uint64  // keeps loads that only warm the caches
	thorough bool    // look at every attribute of every point; a test compares
	owed     []*stream
	owing    []departure
	leaving  []departure

	journaling bool
	changes    []change
	expired    *bloom
	texts      map[uint64]string
	scratch    map[bool]distribution
}

// departure is a group that left: a level that was sent because a member left it, or the end of a series.
type departure struct {
	metric *Metric
	group  *Group
}

type metricKey struct {
	scope uint64
	name  string
}

// overflowScope is where metrics go that find the table of metrics full.
const overflowScope = 0x6f766572666c6f77

// New makes a limiter; the settings must have been validated.
func New(settings Settings) *Limiter {
	for _, limit := range []*int{
		&settings.Limits.Attribute, &settings.Limits.Series, &settings.Limits.Total,
		&settings.Limits.OverflowSeries, &settings.Limits.Metrics, &settings.Limits.Keys,
	} {
		if *limit <= 0 {
			*limit = math.MaxInt
		}
	}
	if settings.Limits.Memory <= 0 {
		settings.Limits.Memory = math.MaxInt64
	}
	if settings.Window <= 0 {
		settings.Window = 5 * time.Minute
	}
	if settings.Displacement < 1 {
		settings.Displacement = 2
	}
	if settings.MaxBuckets <= 0 {
		settings.MaxBuckets = 160
	}
	l := &Limiter{
		settings: settings,
		metrics:  map[metricKey]*Metric{},
		expired:  newBloom(),
		texts:    map[uint64]string{},
		scratch:  map[bool]distribution{},
	}
	for i := range settings.Rules {
		l.rules = append(l.rules, newRuleState(&settings.Rules[i]))
	}
	return l
}

// Protect adds attributes that must not be folded on their own, beside those of the settings. It takes effect with the next window
// for attributes that are known already.
func (l *Limiter) Protect(attributes []string) {
	l.extra = attributes
	for _, m := range l.metrics {
		for _, a := range m.list {
			a.protected = l.protects(a.key)
		}
		m.heat()
		m.generation++
	}
}

func (l *Limiter) protects(key string) bool {
	return matchAny(l.settings.Protect, key) || matchAny(l.extra, key)
}

// Begin sets the clock for what follows, in nanoseconds since 1970, and closes the windows that ended. A clock that steps back a
// little stands still until it has caught up. One that was set back goes on from there, in the window that is open: otherwise
// a clock that was a day ahead for a moment would leave no window to end for a day.
func (l *Limiter) Begin(now int64) {
	length := int64(l.settings.Window)
	if now < l.now-length {
		l.offset = int64(l.window) - now/length
		l.now = now
	}
	now = max(now, l.now)
	l.now = now
	window := uint32(now/length + l.offset)
	if window == l.window {
		return
	}
	before := l.window
	l.window = window
	for key, m := range l.metrics {
		m.edge()
		if before+1 < window {
			m.edge() // nothing was seen in the windows between
		}
		if m.empty() {
			l.used -= m.accounted + m.fixed
			delete(l.metrics, key)
		}
	}
}

// Metric finds or makes the state of a metric in a scope. It returns nil when the table is full even for the overflow scope; the
// metric's points have to be dropped then (ReasonMetricLimit). closed says that all its series go to the shared overflow series.
func (l *Limiter) Metric(scope uint64, name string) (m *Metric, closed bool) {
	name = clip(name)
	if m := l.metrics[metricKey{scope, name}]; m != nil {
		return m, false
	}
	if len(l.metrics) < l.settings.Limits.Metrics && !l.full() {
		return l.newMetric(metricKey{scope, name}), false
	}
	key := metricKey{overflowScope, name}
	if m := l.metrics[key]; m != nil {
		return m, true
	}
	if spare := l.settings.Limits.Metrics / 8; len(l.metrics) < l.settings.Limits.Metrics+spare {
		return l.newMetric(key), true
	}
	return nil, true
}

func (l *Limiter) full() bool { return l.used >= l.settings.Limits.Memory }

// room is how many bytes are left.
func (l *Limiter) room() int64 { return max(l.settings.Limits.Memory-l.used, 0) }

// Flush closes one metric of a batch: a group touched after it sends another point.
func (l *Limiter) Flush() { l.flush++ }

// Emit returns the point that a group sends in this flush. What it points to is valid until the group is touched again.
func (l *Limiter) Emit(m *Metric, g *Group) Emission {
	if g.dirty {
		m.recount()
	}
	return g.emit()
}

// Delivered clears the end marks that went out with the batch. Without it they are asked for again with the next point, since the
// sender sends the batch again. Nothing else needs undoing: a cumulative point seen twice adds nothing the second time, and a
// delta is forgotten with its batch.
func (l *Limiter) Delivered() {
	for _, s := range l.owed {
		s.drop(flagOwed)
	}
	for _, d := range l.owing {
		d.group.owed = false
	}
	l.forgetBatch()
}

// Failed notes that a batch was refused: what left with it has to leave again.
func (l *Limiter) Failed() {
	for _, d := range l.leaving {
		d.metric.stir(d.group)
	}
	for _, d := range l.owing {
		d.metric.generation++ // its series are placed once more, and find that the group's end is not marked yet
	}
	l.forgetBatch()
}

func (l *Limiter) forgetBatch() {
	l.owed, l.owing, l.leaving = l.owed[:0], l.owing[:0], l.leaving[:0]
}

// Stats returns the limiter's counts.
func (l *Limiter) Stats() Stats {
	s := l.stats
	s.Series, s.Groups, s.Streams, s.OverflowSeries = l.series, l.groups, l.streams, l.overflow
	s.Metrics, s.Bytes = len(l.metrics), l.used
	return s
}

// newStream makes a stream of a metric; nil means that memory is used up.
func (l *Limiter) newStream(m *Metric, id uint64) *stream {
	if l.full() {
		return nil
	}
	ref := l.arena.take()
	s := l.arena.at(ref)
	s.id = id
	l.used += streamBytes + m.streams.insert(id, ref)
	l.streams++
	return s
}

// leaveStream settles the account of a stream that is forgotten.
func (l *Limiter) leaveStream(s *stream) {
	l.used -= streamBytes
	l.streams--
	l.chargeBody(s.body, -1)
}

// chargeBody keeps the account of what only some streams need; sign is 1 or -1.
func (l *Limiter) chargeBody(b *body, sign int64) {
	if b == nil {
		return
	}
	l.used += sign * bodyBytes
	for _, dist := range []distribution{b.last, b.baseDist} {
		if dist != nil {
			l.used += sign * dist.bytes()
		}
	}
}

// scratchFor returns a distribution of the same type to work on.
func (l *Limiter) scratchFor(d distribution) distribution {
	_, exponential := d.(*Exponential)
	s := l.scratch[exponential]
	if s == nil {
		s = d.fresh()
		l.scratch[exponential] = s
	}
	return s
}

// effective puts a point whose time is unknown, or too far in the future, at the present: no single sender may push a merged
// stream's time ahead of the others'.
func (l *Limiter) effective(p *Point) {
	if p.Time <= 0 || p.Time > l.now+int64(l.settings.MaxFuture) {
		p.Time = l.now
	}
	if p.Start < 0 || p.Start > p.Time {
		p.Start = 0
	}
	if l.epoch == 0 && !l.warm {
		l.epoch = p.Time
	}
}
