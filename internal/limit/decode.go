// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
)

// decoder reads what encoder wrote. After the first error it returns zeros.
type decoder struct {
	b     []byte
	err   error
	scale float64
}

func (d *decoder) windowOf(n uint64) uint32 { return uint32(float64(n) * d.scale) }

// open checks version and checksum.
func open(data []byte) (*decoder, error) {
	if len(data) < 6 {
		return nil, fmt.Errorf("%w: %d bytes", ErrStateDamaged, len(data))
	}
	body := data[:len(data)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(data[len(data)-4:]) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrStateDamaged)
	}
	if body[0] > stateVersion {
		return nil, fmt.Errorf("%w: %d, this one reads %d", ErrStateVersion, body[0], stateVersion)
	}
	return &decoder{b: body[1:]}, nil
}

func (d *decoder) take(n int) []byte {
	if d.err == nil && n > len(d.b) {
		d.err = fmt.Errorf("%w: it ends early", ErrStateDamaged)
	}
	if d.err != nil {
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bool() bool { return d.byte() != 0 }

func (d *decoder) fixed() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) float() float64 { return math.Float64frombits(d.fixed()) }

func (d *decoder) unsigned() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		n = len(d.b) + 1
	}
	d.take(n)
}

// count is a length that what is left can hold.
func (d *decoder) count(size int) int {
	n := d.unsigned()
	if n > uint64(len(d.b)/size) {
		d.take(len(d.b) + 1)
		return 0
	}
	return int(n)
}

func (d *decoder) text() string { return string(d.take(d.count(1))) }

func (d *decoder) metric(l *Limiter) *Metric {
	key := metricKey{d.fixed(), d.text()}
	label := d.text()
	m := l.metrics[key]
	if m == nil {
		m = l.newMetric(key)
		m.generation = 1 // every stream asks once more for its place
	}
	m.Label(label)
	return m
}

func (d *decoder) seats(m *Metric) {
	for range d.count(2) {
		key, squeezed := d.text(), d.bool()
		a := m.attribute(math.MaxInt, &Attr{Key: key, KeyHash: HashString(key)})
		if a == nil {
			var ignored admission
			d.hashes(&ignored)
			continue
		}
		if squeezed != a.squeezed {
			a.squeezed = squeezed
			m.squeezed = slices.DeleteFunc(m.squeezed, func(o *attribute) bool { return o == a })
			if squeezed {
				m.squeezed = append(m.squeezed, a)
			}
		}
		d.hashes(&a.values)
	}
	d.hashes(&m.series)
	m.heat()
	m.countSeats()
	m.account()
}

// hashes replaces the seats, up to the limit in force now.
func (d *decoder) hashes(a *admission) {
	a.seats = map[uint64]*seat{}
	for range d.count(8) {
		if hash := d.fixed(); len(a.seats) < a.limit {
			a.seats[hash] = &seat{used: true}
		}
	}
}

func (d *decoder) number() Number {
	isFloat := d.bool()
	return Number{bits: d.fixed(), isFloat: isFloat}
}

func (d *decoder) stream(l *Limiter, m *Metric) {
	id, group := d.fixed(), d.fixed()
	flags := d.byte()
	start, at, value, window := d.signed(), d.signed(), d.fixed(), d.unsigned()
	var b *body
	if d.bool() {
		b = &body{base: d.number(), baseStart: d.signed()}
		b.last, b.baseDist = d.distribution(), d.distribution()
	}
	if d.err != nil {
		return
	}
	s := m.streams.find(&l.arena, id)
	if s == nil {
		if s = l.newStream(m, id); s == nil {
			return // memory is full: the series will be dropped, not counted twice
		}
	}
	l.chargeBody(s.body, -1)
	l.chargeBody(b, 1)
	*s = stream{id: id, group: m.groups[group], body: b, start: start, time: at, value: value, window: d.windowOf(window), flags: flags &^ flagMeasured}
	if s.group == nil {
		s.set(flagUnsure)
		s.drop(flagContributes)
	}
}

func (d *decoder) group(l *Limiter, m *Metric) {
	key, series, kind := d.fixed(), d.fixed(), Kind(d.byte())
	g := Group{key: key, series: series, kind: kind, whole: d.bool(), shared: d.bool(), ended: d.bool(), owed: d.bool(), start: d.signed(), out: d.signed()}
	g.window = d.windowOf(d.unsigned())
	g.total = accumulator{whole: d.signed(), hi: d.float(), lo: d.float(), isFloat: d.bool()}
	if own := d.text(); own != "" {
		g.Attributes = []byte(own)
	}
	g.dist = d.distribution()
	if d.err != nil {
		return
	}
	have := m.groups[key]
	if have == nil {
		have = m.newGroup(key, series, kind)
		if g.whole {
			m.overflow++
			l.overflow++
		}
	} else if have.dist != nil {
		l.used -= have.dist.bytes()
	}
	g.merge, g.stirred, g.folds = have.merge, have.stirred, have.folds
	*have = g
	if g.dist != nil {
		l.used += g.dist.bytes()
	}
}

func (d *decoder) distribution() distribution {
	switch d.byte() {
	case 1:
		x := &Explicit{}
		n := d.count(8)
		for range n {
			x.Bounds = append(x.Bounds, d.float())
		}
		for range n + 1 {
			x.Counts = append(x.Counts, d.unsigned())
		}
		x.Sum, x.sumLow, x.HasSum, x.Count = d.float(), d.float(), d.bool(), d.unsigned()
		return x
	case 2:
		x := &Exponential{Scale: int32(d.signed()), ZeroThreshold: d.float(), ZeroCount: d.unsigned()}
		for _, side := range []*Buckets{&x.Positive, &x.Negative} {
			side.Offset = int32(d.signed())
			for range d.count(1) {
				side.Counts = append(side.Counts, d.unsigned())
			}
		}
		x.Sum, x.sumLow, x.HasSum, x.Count = d.float(), d.float(), d.bool(), d.unsigned()
		return x
	}
	return nil
}
