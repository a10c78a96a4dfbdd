// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// encoder writes little-endian fixed and variable-length integers.
type encoder struct{ b []byte }

func newEncoder() *encoder { return &encoder{} }

func (e *encoder) byte(v byte)       { e.b = append(e.b, v) }
func (e *encoder) unsigned(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) signed(v int64)    { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) fixed(v uint64)    { e.b = binary.LittleEndian.AppendUint64(e.b, v) }
func (e *encoder) float(v float64)   { e.fixed(math.Float64bits(v)) }

func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

func (e *encoder) text(s string) {
	e.unsigned(uint64(len(s)))
	e.b = append(e.b, s...)
}

// seal adds head and checksum.
func (e *encoder) seal(l *Limiter) []byte {
	head := &encoder{}
	head.byte(stateVersion)
	head.signed(l.now)
	head.unsigned(uint64(l.window))
	head.unsigned(uint64(l.settings.Window))
	out := append(head.b, e.b...)
	out = append(out, byte(changeEnd))
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

func (e *encoder) metric(m *Metric) {
	e.byte(byte(changeMetric))
	e.fixed(m.key.scope)
	e.text(m.key.name)
	e.text(m.label)
}

func (e *encoder) seats(m *Metric) {
	e.byte(byte(changeSeats))
	e.unsigned(uint64(len(m.list)))
	for _, a := range m.list {
		e.text(a.key)
		e.bool(a.squeezed)
		e.hashes(&a.values)
	}
	e.hashes(&m.series)
}

func (e *encoder) hashes(a *admission) {
	e.unsigned(uint64(len(a.seats)))
	for hash := range a.seats {
		e.fixed(hash)
	}
}

func (e *encoder) number(n Number) {
	e.bool(n.isFloat)
	e.fixed(n.bits)
}

func (e *encoder) stream(s *stream) {
	e.byte(byte(changeStream))
	e.fixed(s.id)
	if s.group == nil {
		e.fixed(0)
	} else {
		e.fixed(s.group.key)
	}
	e.byte(s.flags &^ flagMeasured)
	e.signed(s.start)
	e.signed(s.time)
	e.fixed(s.value)
	e.unsigned(uint64(s.window))
	e.bool(s.body != nil)
	if b := s.body; b != nil {
		e.number(b.base)
		e.signed(b.baseStart)
		e.distribution(b.last)
		e.distribution(b.baseDist)
	}
}

func (e *encoder) group(g *Group) {
	e.byte(byte(changeGroup))
	e.fixed(g.key)
	e.fixed(g.series)
	e.byte(byte(g.kind))
	e.bool(g.whole)
	e.bool(g.shared)
	e.bool(g.ended)
	e.bool(g.owed)
	e.signed(g.start)
	e.signed(g.out)
	e.unsigned(uint64(g.window))
	e.signed(g.total.whole)
	e.float(g.total.hi)
	e.float(g.total.lo)
	e.bool(g.total.isFloat)
	e.text(string(g.Attributes))
	if g.kind == KindDeltaDistribution {
		e.distribution(nil) // a delta does not outlive its batch
	} else {
		e.distribution(g.dist)
	}
}

func (e *encoder) distribution(d distribution) {
	switch d := d.(type) {
	case *Explicit:
		e.byte(1)
		e.unsigned(uint64(len(d.Bounds)))
		for _, b := range d.Bounds {
			e.float(b)
		}
		for _, c := range d.Counts {
			e.unsigned(c)
		}
		e.float(d.Sum)
		e.float(d.sumLow)
		e.bool(d.HasSum)
		e.unsigned(d.Count)
	case *Exponential:
		e.byte(2)
		e.signed(int64(d.Scale))
		e.float(d.ZeroThreshold)
		e.unsigned(d.ZeroCount)
		for _, side := range []*Buckets{&d.Positive, &d.Negative} {
			e.signed(int64(side.Offset))
			e.unsigned(uint64(len(side.Counts)))
			for _, c := range side.Counts {
				e.unsigned(c)
			}
		}
		e.float(d.Sum)
		e.float(d.sumLow)
		e.bool(d.HasSum)
		e.unsigned(d.Count)
	default:
		e.byte(0)
	}
}
