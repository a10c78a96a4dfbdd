// SPDX-License-Identifier: Apache-2.0

package limit

import "math"

// Number takes in a point of a sum or a gauge. monotonic makes a negative value invalid.
func (m *Metric) Number(p *Point, kind Kind, v Number, monotonic, closed bool) *Outcome {
	m.l.effective(p)
	r := m.route(p, kind, closed)
	if r.reason != ReasonNone {
		return m.dropped(&r, r.reason)
	}
	valid := p.NoValue || !p.Malformed && v.finite() && (!monotonic || !v.negative())
	switch kind {
	case KindCumulative:
		return m.cumulativeNumber(p, &r, v, valid)
	case KindLevel, KindGauge:
		return m.level(p, &r, v, valid)
	}
	m.weigh(p, weightOf(v, valid && !p.NoValue && monotonic))
	if r.group == nil {
		return pass
	}
	if p.NoValue || !valid {
		return m.dropped(&r, invalidOr(p.NoValue))
	}
	out := m.touch(p, &r)
	if out.Carrier {
		r.group.total = accumulator{}
	}
	r.group.total.add(v)
	return out
}

func invalidOr(noValue bool) Reason {
	if noValue {
		return ReasonNoValue
	}
	return ReasonInvalid
}

// weightOf is what a point adds to its series where that is known, and one where only the points can be counted.
func weightOf(v Number, known bool) float64 {
	if !known {
		return 1
	}
	return math.Abs(v.Float64())
}

// pass is the outcome of a point that is left as it is.
var pass = &Outcome{}

// touch makes the point part of what its group sends in this flush.
func (m *Metric) touch(p *Point, r *route) *Outcome {
	g := r.group
	out := &m.l.outcome
	out.Verdict, out.Reason, out.Group, out.Shared, out.Carrier = Merged, ReasonNone, g, g.shared, false
	out.Mark, out.MarkTime = r.mark, r.markAt
	g.window = m.l.window
	if g.flush != m.l.flush+1 {
		g.flush = m.l.flush + 1
		g.pending.start, g.pending.time = p.Start, p.Time
		out.Carrier = true
		m.Rewrite(p, g)
		m.l.note(change{of: changeGroup, m: m, group: g})
	} else {
		g.pending.time = max(g.pending.time, p.Time)
		if p.Start != 0 && (g.pending.start == 0 || p.Start < g.pending.start) {
			g.pending.start = p.Start
		}
	}
	m.count(g)
	if r.stream != nil {
		m.l.note(change{of: changeStream, m: m, key: r.id, which: r.stream})
	}
	return out
}

func (m *Metric) count(g *Group) {
	if g.whole {
		m.foldedWhole++
		m.l.stats.FoldedWhole++
	} else {
		m.folded++
		m.l.stats.Folded++
		for _, a := range g.folds {
			a.folded++
		}
	}
}

// dropped is the outcome of a point that its group cannot use; an end mark that is due is still asked for.
func (m *Metric) dropped(r *route, why Reason) *Outcome {
	m.l.outcome = Outcome{Verdict: Dropped, Reason: why, Mark: r.mark, MarkTime: r.markAt}
	return &m.l.outcome
}

// cumulativeNumber follows a cumulative monotonic sum. The group's total grows by what each member grows by; a member that is
// kept is remembered too, so that it can be folded later without its past being counted again.
func (m *Metric) cumulativeNumber(p *Point, r *route, v Number, valid bool) *Outcome {
	s := r.stream
	if r.flip && r.group == nil {
		m.restartNumber(s)
	}
	if p.NoValue || !valid {
		m.weigh(p, 0)
		if r.group == nil {
			return pass
		}
		return m.dropped(r, invalidOr(p.NoValue))
	}
	what, before, previous := m.follow(s, p, r), s.last(), s.time
	if what == advance && v.less(before) {
		what = reset
	}
	if what == duplicate && v != before {
		what = late
	}
	m.weigh(p, m.growth(what, v, before))
	if what == late {
		if r.group == nil && !s.has(flagOffset) {
			return pass // a kept series is its sender's own affair
		}
		return m.dropped(r, ReasonLate)
	}
	if what == reset {
		m.l.stats.Resets++
	}
	s.remember(p.Start, p.Time, v)
	if r.group == nil {
		if what == first && m.l.expired.has(wasFolded(p.id)) {
			m.restartNumber(s) // what it counted is in a group
			s.body.baseStart = p.Time - step
		}
		return m.keptNumber(p, r.id, s, what, v, previous)
	}
	g := r.group
	out := m.touch(p, r)
	counts := what == reset || what == first && m.countsFirst(p)
	if g.start == 0 {
		g.start = max(m.startOf(p, counts), g.out)
	}
	switch {
	case counts:
		g.total.add(v)
	case what == advance:
		g.total.add(v)
		g.total.sub(before)
	case what == first || what == baseline:
		m.l.stats.Baselined++
	}
	if (what == first || what == baseline) && v.isFloat {
		g.total.isFloat = true
	}
	return out
}

// follow classifies a cumulative point. A series that was kept before a restart and is folded with its first point after it
// begins with a baseline: how much of its value was sent before the restart is not known.
func (m *Metric) follow(s *stream, p *Point, r *route) transition {
	unsure := s.has(flagUnsure)
	s.drop(flagUnsure)
	if unsure && r.group != nil {
		return baseline
	}
	return s.follow(p.Start, p.Time)
}

// growth is the weight of a cumulative point.
func (m *Metric) growth(what transition, v, before Number) float64 {
	switch what {
	case first:
		return 1
	case advance:
		return max(v.minus(before).Float64(), 0)
	case reset:
		return v.Float64()
	}
	return 0
}

// countsFirst tells whether the first point of a series counts as an increase; without it, it is a baseline.
func (m *Metric) countsFirst(p *Point) bool {
	if p.Start == 0 || p.Start >= p.Time || m.l.settings.Initial == InitialBaseline || m.l.expired.has(p.id) {
		return false
	}
	if m.l.settings.Initial == InitialCount {
		return true
	}
	if !m.l.warm && p.Start < m.l.epoch && p.Time-m.l.epoch < int64(m.l.settings.WarmUp) {
		return false
	}
	return true
}

// startOf is the start of an outgoing cumulative series: where its first member's is when that is counted, else right before its
// first point. It is never the least start of all members, which would claim their past for a series that did not exist yet.
func (m *Metric) startOf(p *Point, counts bool) int64 {
	if counts && (m.l.warm || p.Start >= m.l.epoch) {
		return p.Start
	}
	return p.Time - step
}

// restartNumber begins a kept series that was folded until now: what it counted so far is in the group already.
func (m *Metric) restartNumber(s *stream) {
	if !s.has(flagSeen) {
		return
	}
	b := m.bodyOf(s)
	b.base, b.baseStart = s.last(), s.time
	s.set(flagOffset)
}

func (m *Metric) bodyOf(s *stream) *body {
	if s.body == nil {
		s.body = &body{}
		m.l.used += bodyBytes
	}
	return s.body
}

func (m *Metric) keptNumber(p *Point, id uint64, s *stream, what transition, v Number, previous int64) *Outcome {
	if !s.has(flagOffset) {
		return pass
	}
	b := s.body
	if what == reset {
		m.l.note(change{of: changeStream, m: m, key: id, which: s})
		b.base, b.baseStart = Number{isFloat: v.isFloat}, max(p.Start, previous)
	}
	m.l.outcome = Outcome{Verdict: Restarted, Start: b.baseStart, Number: v.minus(b.base)}
	return &m.l.outcome
}

// level follows a gauge or a sum that may fall: a group is what its current members make together.
func (m *Metric) level(p *Point, r *route, v Number, valid bool) *Outcome {
	s := r.stream
	m.weigh(p, 1)
	if r.flip && s.has(flagContributes) {
		s.drop(flagContributes)
		r.from.leave(s.last())
		m.stir(r.from)
	}
	if r.group == nil {
		if !p.NoValue && valid && p.Time >= s.time {
			s.remember(p.Start, p.Time, v)
		}
		return pass
	}
	if !valid {
		return m.dropped(r, ReasonInvalid)
	}
	if s.has(flagSeen) && p.Time < s.time {
		return m.dropped(r, ReasonLate)
	}
	g := r.group
	if p.NoValue {
		if s.has(flagContributes) {
			s.drop(flagContributes)
			g.leave(s.last())
			s.time = p.Time
		}
		if g.members == 0 && g.out == 0 {
			return m.dropped(r, ReasonNoValue)
		}
		return m.touch(p, r)
	}
	if s.has(flagContributes) {
		g.leave(s.last())
	}
	out := m.touch(p, r)
	if g.start == 0 {
		g.start = max(m.startOf(p, p.Start != 0), g.out)
	}
	s.remember(p.Start, p.Time, v)
	s.set(flagContributes)
	g.enter(v, p.Time)
	return out
}
