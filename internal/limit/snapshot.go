// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
)

// stateVersion is raised with every change of the format that an older program cannot read.
const stateVersion = 1

// Errors of reading state.
var (
	ErrStateVersion = errors.New("state was written by a newer version")
	ErrStateDamaged = errors.New("state is damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// change is something to write into the journal.
type change struct {
	of    changeOf
	m     *Metric
	a     *attribute
	key   uint64
	which *stream
	group *Group
}

type changeOf uint8

const (
	changeEnd changeOf = iota
	changeMetric
	changeStream
	changeGroup
	changeValue  // a value of an attribute was admitted
	changeSeries // a series was admitted
	changeSeats  // all admissions of a metric, after a window's edge
)

// Journaling makes the limiter note what changes, for Journal.
func (l *Limiter) Journaling() { l.journaling = true }

func (l *Limiter) note(c change) {
	if l.journaling {
		l.changes = append(l.changes, c)
	}
}

// Journal returns what changed since the last call, to be written before the batch is handed on: a sender repeats what was not
// acknowledged, and what is known already adds nothing. It returns nil when nothing changed that a restart must know of. The last
// values of series that are kept as they are come with the snapshots only; see flagUnsure.
func (l *Limiter) Journal() []byte {
	if len(l.changes) == 0 {
		return nil
	}
	e := newEncoder()
	e.changes(&l.arena, l.changes, true) // streams point to groups
	e.changes(&l.arena, l.changes, false)
	clear(l.changes)
	l.changes = l.changes[:0]
	return e.seal(l)
}

func (e *encoder) changes(arena *arena, changes []change, groups bool) {
	var current *Metric
	for i := range changes {
		c := &changes[i]
		if (c.of == changeGroup) != groups {
			continue
		}
		if c.m != current {
			current = c.m
			e.metric(c.m)
		}
		switch c.of {
		case changeStream:
			if c.m.streams.find(arena, c.key) == c.which {
				e.stream(c.which)
			}
		case changeGroup:
			e.group(c.group)
		case changeValue:
			e.byte(byte(changeValue))
			e.text(c.a.key)
			e.fixed(c.key)
		case changeSeries:
			e.byte(byte(changeSeries))
			e.fixed(c.key)
		case changeSeats:
			e.seats(c.m)
		}
	}
}

// Snapshot returns the whole state.
func (l *Limiter) Snapshot() []byte {
	e := newEncoder()
	for _, m := range l.metrics {
		e.metric(m)
		e.seats(m)
		for _, g := range m.groups {
			e.group(g)
		}
		m.streams.each(&l.arena, e.stream)
	}
	clear(l.changes)
	l.changes = l.changes[:0]
	return e.seal(l)
}

// Restore takes in a snapshot, or a journal entry after the snapshot it follows. On an error the limiter must not be used.
func (l *Limiter) Restore(data []byte) error {
	d, err := open(data)
	if err != nil {
		return err
	}
	l.now = max(l.now, d.signed())
	window := d.unsigned()
	d.scale = float64(d.unsigned()) / float64(l.settings.Window) // the length of a window may have been changed since
	l.window = max(l.window, d.windowOf(window))
	l.warm = true
	var m *Metric
	for d.err == nil {
		of := changeOf(d.byte())
		if of == changeEnd {
			break
		}
		if of == changeMetric {
			m = d.metric(l)
			continue
		}
		if m == nil {
			return fmt.Errorf("%w: entry without a metric", ErrStateDamaged)
		}
		switch of {
		case changeStream:
			d.stream(l, m)
		case changeGroup:
			d.group(l, m)
		case changeValue:
			key, value := d.text(), d.fixed()
			if a := m.attribute(math.MaxInt, &Attr{Key: key, KeyHash: HashString(key)}); a != nil && a.values.find(value) == nil {
				if a.values.ask(value, true) != nil {
					m.charge(seatBytes)
				}
			}
		case changeSeries:
			if key := d.fixed(); m.series.find(key) == nil && m.series.ask(key, true) != nil {
				m.charge(seatBytes)
				m.countSeats()
			}
		case changeSeats:
			d.seats(m)
		default:
			return fmt.Errorf("%w: unknown entry %d", ErrStateDamaged, of)
		}
	}
	if d.err != nil {
		return d.err
	}
	for _, m := range l.metrics {
		for _, g := range m.groups {
			if g.dirty = g.kind.isLevel(); g.dirty {
				m.stir(g) // what it last sent may not have arrived
			}
		}
		m.recount()
	}
	return nil
}

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
