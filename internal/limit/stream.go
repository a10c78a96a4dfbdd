// SPDX-License-Identifier: Apache-2.0

package limit

import "time"

// Kind is what a metric's points are, as far as merging them goes.
type Kind uint8

// The kinds of points. Level is a cumulative sum that may fall: it is a sum over its current members.
const (
	KindDelta Kind = iota
	KindCumulative
	KindLevel
	KindGauge
	KindDeltaDistribution
	KindCumulativeDistribution
)

// remembers tells whether merging a point needs to know the one before it of the same stream.
func (k Kind) remembers() bool { return k != KindDelta && k != KindDeltaDistribution }

func (k Kind) isLevel() bool { return k == KindLevel || k == KindGauge }

// step separates two points of an output stream that would otherwise carry the same time: the coarsest resolution in wide use.
const step = int64(time.Millisecond)

const (
	flagSeen        = 1 << iota // time and value hold a point
	flagFloat                   // value is a float
	flagContributes             // value is part of the group's level
	flagOffset                  // kept, but restarted: body.base is taken off what goes out
	flagOwed                    // a kept series was folded and its end is not delivered yet
	flagUnsure                  // kept, and restored: the last value may be older than the last one sent
	flagMeasured                // the window's sketches know the stream
)

// stream is one incoming series: the last point of it and where it goes. A million of them must fit into 150 MB.
type stream struct {
	id         uint64
	group      *Group // nil while the series is kept as it is
	body       *body
	start      int64 // as the sender gave it, 0 when unknown
	time       int64
	value      uint64
	generation uint32 // of the metric's admissions when the group was chosen
	window     uint32 // in which the stream was last seen
	flags      uint8
}

// body is what only some streams need.
type body struct {
	last      distribution // the last point of a cumulative histogram
	base      Number       // taken off the values of a kept stream that was folded before
	baseDist  distribution
	baseStart int64
}

const (
	streamBytes = 64 // and a slot in the table, which is charged as it grows
	bodyBytes   = 80
)

func (s *stream) has(flag uint8) bool { return s.flags&flag != 0 }
func (s *stream) set(flag uint8)      { s.flags |= flag }
func (s *stream) drop(flag uint8)     { s.flags &^= flag }

func (s *stream) last() Number { return Number{bits: s.value, isFloat: s.has(flagFloat)} }

func (s *stream) remember(start, at int64, v Number) {
	s.start, s.time, s.value = start, at, v.bits
	s.set(flagSeen)
	s.drop(flagFloat)
	if v.isFloat {
		s.set(flagFloat)
	}
}

// transition is what a point is to the one before it.
type transition uint8

const (
	first     transition = iota // no point was seen before
	advance                     // the stream went on
	reset                       // it started anew: the whole value is new
	duplicate                   // the same point again
	baseline                    // what came before is not known: count from here
	late                        // older than the last one, or in conflict with it
)

// follow classifies a cumulative point by its times; the value may still tell of a reset. A moved start is a reset only when it
// lies after the last point: receivers that compute the start jitter it. start = time means that the start is unknown.
func (s *stream) follow(start, at int64) transition {
	switch {
	case !s.has(flagSeen):
		return first
	case at < s.time:
		return late
	case at == s.time:
		return duplicate
	case start >= s.time && start > s.start && start < at:
		return reset
	}
	return advance
}

// Group is one outgoing series that several incoming ones are merged into.
type Group struct {
	kind  Kind
	merge Merge
	// seated groups hold a seat among the metric's series; the others are overflow series of whole series.
	key    uint64
	whole  bool
	shared bool
	folds  []*attribute // whose values are folded in it
	// A series of this identity was placed here in this window: another one is, too, without another look (see Metric.again).
	placed struct {
		generation, window uint32
		measured           bool
		seat               *seat
	}
	// series is the Point.Series of the members' identity, whose next point gives the occasion to send the group again.
	series  uint64
	stirred bool // it waits in Metric.stirred
	// Attributes is for the caller: what the group is sent with when no member's point can carry it, in a form of the caller's own.
	Attributes []byte
	// Slot is for the caller: which of its points carries the group in this flush.
	Slot  int
	ended bool // lost its seat; its end was or is being marked
	owed  bool // the mark is not delivered yet

	start   int64 // of the outgoing stream
	out     int64 // time of its last point
	window  uint32
	flush   uint64 // the flush that touched it last
	pending struct {
		start, time int64
	}

	total   accumulator
	dist    distribution
	members int
	low     Number
	high    Number
	newest  Number
	at      int64 // of newest
	peak    float64
	dirty   bool // low, high or total have to be counted again
}

const groupBytes = 360 + 40

// Emission is the point a group sends.
type Emission struct {
	Start, Time int64
	Number      Number
	Explicit    *Explicit
	Exponential *Exponential
	// Gone marks the end of a series: no member is left.
	Gone bool
}

// emit closes the group's part of a flush.
func (g *Group) emit() Emission {
	e := Emission{Time: max(g.pending.time, g.out+step)}
	switch g.kind {
	case KindDelta, KindDeltaDistribution:
		e.Start = g.pending.start
		if g.out != 0 && (e.Start == 0 || e.Start <= g.out || e.Start-g.out < int64(gap)) {
			e.Start = g.out // one interval follows the other without a hole or an overlap
		}
	case KindGauge:
	default:
		e.Start = g.start
	}
	g.out = e.Time
	switch d := g.dist.(type) {
	case *Explicit:
		e.Explicit = d
	case *Exponential:
		e.Exponential = d
	default:
		e.Number, e.Gone = g.number()
	}
	return e
}

// gap is the silence after which a delta stream's next interval does not reach back to the last one.
const gap = 5 * time.Minute

func (g *Group) number() (Number, bool) {
	if !g.kind.isLevel() {
		return g.total.value(), false
	}
	if g.members == 0 {
		return Number{}, true
	}
	if g.kind == KindLevel {
		return g.total.value(), false
	}
	switch g.merge {
	case MergeSum:
		return g.total.value(), false
	case MergeMin:
		return g.low, false
	case MergeMax:
		return g.high, false
	case MergeLast:
		return g.newest, false
	}
	return Float(g.total.value().Float64() / float64(g.members)), false
}

// enter adds a member's value to a level.
func (g *Group) enter(v Number, at int64) {
	g.total.add(v)
	if g.members == 0 || v.less(g.low) {
		g.low = v
	}
	if g.members == 0 || g.high.less(v) {
		g.high = v
	}
	if at >= g.at || g.members == 0 {
		g.newest, g.at = v, at
	}
	g.members++
	g.peak = max(g.peak, abs(v.Float64()))
}

// leave takes a member's value out of a level. When the value was an extreme, or so large that rounding would leave a trace of
// it, the level is counted again from its members before it is sent.
func (g *Group) leave(v Number) {
	g.members--
	if g.members == 0 {
		g.total, g.peak, g.dirty = accumulator{}, 0, false
		return
	}
	g.total.sub(v)
	if g.total.isFloat && g.peak > 1e6*abs(g.total.value().Float64()) {
		g.dirty = true
	}
	if g.kind == KindGauge && (g.merge == MergeMin && !g.low.less(v) || g.merge == MergeMax && !v.less(g.high)) {
		g.dirty = true
	}
}

func abs(v float64) float64 { return max(v, -v) }

// restart begins the outgoing stream anew. A level keeps its members: each leaves on its own when it goes elsewhere.
func (g *Group) restart() {
	g.start, g.ended, g.owed = 0, false, false
	if g.kind.isLevel() {
		return
	}
	g.total = accumulator{}
	g.dist = nil
}

// IsShared tells whether the group belongs on the resource that carries only the scope.
func (g *Group) IsShared() bool { return g.shared }

// IsLevel tells whether the group is a level, which may have to be sent without a member's point.
func (g *Group) IsLevel() bool { return g.kind.isLevel() }
