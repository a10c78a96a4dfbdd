// SPDX-License-Identifier: Apache-2.0

package limit

// Explicit takes in a point of a histogram or a summary. d is changed.
func (m *Metric) Explicit(p *Point, kind Kind, d *Explicit, closed bool) *Outcome {
	p.Malformed = !d.Normalize() || p.Malformed
	return m.distribution(p, kind, d, closed)
}

// Exponential takes in a point of an exponential histogram. d is changed.
func (m *Metric) Exponential(p *Point, kind Kind, d *Exponential, closed bool) *Outcome {
	p.Malformed = !d.Normalize() || p.Malformed
	return m.distribution(p, kind, d, closed)
}

func (m *Metric) distribution(p *Point, kind Kind, d distribution, closed bool) *Outcome {
	m.l.effective(p)
	r := m.route(p, kind, closed)
	if r.reason != ReasonNone {
		return m.dropped(&r, r.reason)
	}
	valid := p.NoValue || !p.Malformed
	if !r.takes(d) {
		return m.dropped(&r, ReasonInvalid)
	}
	if valid && !p.NoValue {
		m.makeRoom(&r, d, kind)
	}
	if kind == KindCumulativeDistribution {
		return m.cumulativeDistribution(p, &r, d, valid)
	}
	m.weigh(p, float64(d.observations()))
	if r.group == nil {
		return pass
	}
	if p.NoValue || !valid {
		return m.dropped(&r, invalidOr(p.NoValue))
	}
	out := m.touch(p, &r)
	m.resize(r.group, func(g *Group) {
		switch {
		case g.dist == nil:
			g.dist = d.fresh()
			g.dist.assign(d)
		case out.Carrier:
			g.dist.assign(d)
		default:
			g.dist.merge(d, m.l.settings.MaxBuckets)
		}
	})
	return out
}

// takes tells whether a distribution is of the type that its series and group hold. It always is, unless a sender has found
// two series with the same hash.
func (r *route) takes(d distribution) bool {
	if r.group != nil && !d.like(r.group.dist) {
		return false
	}
	return r.stream == nil || r.stream.body == nil || d.like(r.stream.body.last) && d.like(r.stream.body.baseDist)
}

// makeRoom coarsens a point that would take more memory to remember than is left: its count and sum are kept whatever happens.
func (m *Metric) makeRoom(r *route, d distribution, kind Kind) {
	more := int64(0)
	if r.group != nil {
		more += d.needs()
		if r.group.dist != nil {
			more -= r.group.dist.bytes()
		}
	}
	if kind.remembers() {
		more += d.needs()
		if b := r.stream.body; b != nil && b.last != nil {
			more -= b.last.bytes()
		}
	}
	if more > m.l.room() {
		d.shrink()
	}
}

// resize keeps the account of memory while a group's content changes.
func (m *Metric) resize(g *Group, change func(*Group)) {
	if g.dist != nil {
		m.l.used -= g.dist.bytes()
	}
	change(g)
	if g.dist != nil {
		m.l.used += g.dist.bytes()
	}
}

func (m *Metric) cumulativeDistribution(p *Point, r *route, d distribution, valid bool) *Outcome {
	s := r.stream
	if r.flip && r.group == nil {
		m.restartDistribution(s)
	}
	if p.NoValue || !valid {
		m.weigh(p, 0)
		if r.group == nil {
			return pass
		}
		return m.dropped(r, invalidOr(p.NoValue))
	}
	d.dropExtremesIf(r.group != nil || s.has(flagOffset))
	grown := m.l.scratchFor(d) // what the point adds to its series
	grown.assign(d)
	b := m.bodyOf(s)
	what, previous := m.follow(s, p, r), s.time
	if what != first && what != baseline && what != late && b.last != nil {
		fell := grown.fellBelow(b.last)
		switch {
		case what == duplicate && (fell || grown.observations() != b.last.observations()):
			what = late
		case what == reset || what == advance && fell:
			what = reset
			grown.assign(d)
		default:
			grown.minus(b.last)
		}
	}
	m.weigh(p, m.growthOf(what, grown))
	if what == late {
		if r.group == nil && !s.has(flagOffset) {
			return pass
		}
		return m.dropped(r, ReasonLate)
	}
	if what == reset {
		m.l.stats.Resets++
	}
	s.remember(p.Start, p.Time, Number{})
	m.rememberDistribution(b, d)
	if r.group == nil {
		if what == first && m.l.expired.has(wasFolded(p.id)) {
			m.restartDistribution(s)
			b.baseStart = p.Time - step
		}
		return m.keptDistribution(p, r.id, s, what, d, previous)
	}
	out := m.touch(p, r)
	counts := what == reset || what == first && m.countsFirst(p)
	if r.group.start == 0 {
		r.group.start = max(m.startOf(p, counts), r.group.out)
	}
	if (what == first || what == baseline) && !counts {
		m.l.stats.Baselined++
		d.dropExtremesIf(true)
		grown.minus(d) // nothing, in the bounds of the series
	}
	m.resize(r.group, func(g *Group) {
		if g.dist == nil {
			g.dist = d.fresh()
			g.dist.assign(grown)
			return
		}
		g.dist.merge(grown, m.l.settings.MaxBuckets)
	})
	return out
}

func (m *Metric) growthOf(what transition, grown distribution) float64 {
	switch what {
	case first:
		return 1
	case advance, reset:
		return float64(grown.observations())
	}
	return 0
}

func (m *Metric) rememberDistribution(b *body, d distribution) {
	if b.last == nil {
		b.last = d.fresh()
	} else {
		m.l.used -= b.last.bytes()
	}
	b.last.assign(d)
	m.l.used += b.last.bytes()
}

func (m *Metric) restartDistribution(s *stream) {
	if !s.has(flagSeen) || s.body == nil || s.body.last == nil {
		return
	}
	b := s.body
	if b.baseDist == nil {
		b.baseDist = b.last.fresh()
	} else {
		m.l.used -= b.baseDist.bytes()
	}
	b.baseDist.assign(b.last)
	m.l.used += b.baseDist.bytes()
	b.baseStart = s.time
	s.set(flagOffset)
}

func (m *Metric) keptDistribution(p *Point, id uint64, s *stream, what transition, d distribution, previous int64) *Outcome {
	if !s.has(flagOffset) {
		return pass
	}
	b := s.body
	if what == reset {
		m.l.note(change{of: changeStream, m: m, key: id, which: s})
		if b.baseDist != nil {
			m.l.used -= b.baseDist.bytes()
		}
		b.baseDist, b.baseStart = nil, max(p.Start, previous)
	}
	out := &m.l.outcome
	*out = Outcome{Verdict: Restarted, Start: b.baseStart}
	if b.baseDist != nil {
		d.fellBelow(b.baseDist) // brings both to the same buckets
		d.minus(b.baseDist)
	}
	d.dropExtremesIf(true)
	switch d := d.(type) {
	case *Explicit:
		out.Explicit = d
	case *Exponential:
		out.Exponential = d
	}
	return out
}
