// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import "github.com/pitwall-io/pitwall/internal/slo"

// apply turns the readings of a delivered batch into events of its tally.
func (p *metricsProcessor) apply(j *judge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range j.ended {
		p.streams.Forget(id)
	}
	for i := range j.readings {
		p.applyReading(j, &j.readings[i])
	}
	// The part comes first: exemplars of its points belong to what it settles.
	for _, part := range []part{partOfRatio, partTotal} {
		for i := range j.readings {
			if r := &j.readings[i]; r.rule.part == part {
				p.settleRatio(j, r)
			}
		}
	}
}

func (p *metricsProcessor) settleRatio(j *judge, r *reading) {
	isBad := r.rule.metric.Bad != nil
	total, part, at, excess := p.streams.Settle(r.ratio, isBad)
	if excess {
		j.outcome.excess++
		j.tally.Violate(slo.CheckTotal, r.rule.objective, at)
	}
	good := part
	if isBad {
		good = total - part
	}
	p.book(j, r, at, at, slo.Split{Good: good, Total: total})
}

func (p *metricsProcessor) applyReading(j *judge, r *reading) {
	m := r.rule.metric
	switch r.rule.part {
	case partGauge:
		held, v := p.streams.Hold(r.stream, r.point.At, int64(m.Slice))
		if v != slo.Counted {
			j.unsettle(v)
			return
		}
		s := slo.Split{Total: float64(held) / float64(m.Slice)}
		if r.good {
			s.Good = s.Total
		}
		p.book(j, r, r.point.At, r.point.At, s)
	case partOfRatio, partTotal:
		inc, _, v := p.count(j, r)
		if v != slo.Counted && v != slo.Baseline {
			j.unsettle(v)
			return
		}
		join := p.streams.Part
		if r.rule.part == partTotal {
			join = p.streams.Total
		}
		if !join(r.ratio, r.point.At, inc.Total) {
			j.unsettle(slo.Full)
		}
	default:
		inc, since, v := p.count(j, r)
		if v != slo.Counted {
			j.unsettle(v)
			return
		}
		if r.rule.part == partCounter && r.good {
			inc.Good = inc.Total
		}
		p.book(j, r, since, r.point.At, inc)
	}
}

func (p *metricsProcessor) count(j *judge, r *reading) (inc slo.Split, since int64, v slo.Verdict) {
	inc, since, v = p.streams.Count(r.source, r.stream, r.point)
	if p.streams.Fell() {
		j.tally.Violate(slo.CheckMonotone, r.rule.objective, r.point.At)
	}
	return inc, since, v
}

// unsettle corrects the outcome of a point that turned out to be of no use.
func (j *judge) unsettle(v slo.Verdict) {
	j.outcome.counted--
	switch v {
	case slo.Stale:
		j.outcome.refused[stale]++
	case slo.Full:
		j.outcome.refused[streamLimit]++
	default:
		j.outcome.ignored++
	}
}

// maxPieces bounds over how many slices the events of a gap are spread.
const maxPieces = 60

// book adds events that happened after since and up to at. Those of a gap longer than telemetry vouches for are spread evenly over it:
// in one slice they would look like a burst.
func (p *metricsProcessor) book(j *judge, r *reading, since, at int64, s slo.Split) {
	if s.Total <= 0 {
		return
	}
	good, okGood := slo.WeightOf(max(0, s.Good))
	bad, okBad := slo.WeightOf(max(0, s.Total-s.Good))
	if !okGood || !okBad {
		j.outcome.counted--
		j.outcome.refused[badPoint]++
		return
	}
	if r.rule.part == partHistogram {
		j.tally.Observations(r.rule.objective, at, s.Unsure, s.Total)
	}
	pieces := int64(1)
	if gap := at - since; since > 0 && gap > p.spreadAfter {
		pieces = min(maxPieces, gap/p.spreadAfter+1)
	}
	step := (at - since) / pieces
	for i := int64(1); i <= pieces; i++ {
		counts := slo.Counts{Good: piece(good, i, pieces), Bad: piece(bad, i, pieces)}
		counts.GoodN, counts.BadN = seen(counts.Good), seen(counts.Bad)
		if counts.Total() > 0 && !p.bookPiece(j, r, at-(pieces-i)*step, counts) {
			j.outcome.counted--
			j.outcome.refused[spread]++
			return
		}
	}
	if bad == 0 {
		return
	}
	entry := j.tally.Entry(r.rule.objective, j.arena[r.values[0]:r.values[1]])
	for _, trace := range j.traces[r.traces[0]:r.traces[1]] {
		entry.AddExemplar(at, trace)
	}
}

// piece is the i-th of n parts of w. The parts add up to w, and are whole events where w is.
func piece(w slo.Weight, i, n int64) slo.Weight {
	unit := slo.Weight(1)
	if w%slo.One == 0 {
		unit = slo.One
	}
	whole := w / unit
	return (whole*slo.Weight(i)/slo.Weight(n) - whole*slo.Weight(i-1)/slo.Weight(n)) * unit
}

func (p *metricsProcessor) bookPiece(j *judge, r *reading, at int64, counts slo.Counts) bool {
	entry := j.tally.Entry(r.rule.objective, j.arena[r.values[0]:r.values[1]])
	if !entry.AddCounts(j.tally.Slice(at), at, counts) {
		return false
	}
	j.outcome.good += int64(counts.GoodN)
	j.outcome.bad += int64(counts.BadN)
	for _, id := range j.parts[r.parts[0]:r.parts[1]] {
		entry.AddContribution(id, counts.Good, counts.Bad)
	}
	return true
}
