// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"time"
)

// A snapshot is a set of parts, each under a key of its own: the book ("book"), an index of groups per objective ("o/<digest>") and
// one part per group ("g/<digest>/<group>"), and the transitions nobody has got yet ("alerts"). Only parts that changed are written. A part is
//
//	magic "PWSL" | version (1 byte) | body | CRC-32C of all before (4 bytes, big endian)
//
// and the body a sequence of varints and length-prefixed strings. A CRC-32 finds every error of a single byte.
const (
	partMagic = "PWSL"
	// snapshotVersion rises with every change of the body that this code could not read.
	snapshotVersion = 4
	bookKey         = "book"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// ErrDamaged marks a part whose bytes are not what was written.
	ErrDamaged = errors.New("stored state is damaged")
	// ErrVersion marks a part written by a newer version.
	ErrVersion = errors.New("stored state was written by a newer version")
)

// Part is one piece of a snapshot.
type Part struct {
	Key   string
	Value []byte
	// Delete says that the part is to be removed.
	Delete bool
}

// Snapshot returns the parts that changed since the last one. They count as saved: if they could not be stored, call SnapshotFailed.
func (e *Engine) Snapshot() []Part {
	e.mu.Lock()
	defer e.mu.Unlock()
	parts := []Part{}
	for _, o := range e.objectives {
		changed := len(o.deleted) > 0
		for _, g := range o.sorted() {
			if !g.dirty {
				continue
			}
			g.dirty = false
			changed = changed || !g.stored
			g.stored = true
			parts = append(parts, Part{Key: groupPart(o.digest, g.key), Value: seal(e.encodeGroup(o, g))})
		}
		for _, key := range o.deleted {
			if _, back := o.groups[key]; !back {
				parts = append(parts, Part{Key: groupPart(o.digest, key), Delete: true})
			}
		}
		o.deleted = nil
		if changed {
			parts = append(parts, Part{Key: objectivePart(o.digest), Value: seal(encodeIndex(o))})
		}
	}
	if len(parts) == 0 && !e.moved {
		return nil
	}
	e.moved = false
	if e.journal.alertsMoved {
		if body, err := e.encodeAlerts(); err == nil {
			parts = append(parts, Part{Key: alertsKey, Value: seal(body)})
			e.journal.alertsMoved, e.journal.alertsKept = false, true
		}
	}
	parts = append(parts, e.snapshotOrphansLocked()...)
	parts = append(parts, e.snapshotJournalLocked()...)
	return append(parts, Part{Key: bookKey, Value: seal(e.encodeBook())})
}

// SnapshotFailed marks everything as changed, so that the next snapshot is a whole one.
func (e *Engine) SnapshotFailed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moved = true
	for _, o := range e.objectives {
		for _, g := range o.sorted() {
			g.dirty, g.stored = true, false
		}
	}
	e.journalSnapshotFailedLocked()
}

// Restore reads the book back from get, which returns nil for a key that is not there. It returns one error per part that could not be
// used: what is damaged starts empty, the rest continues. If any part is of a newer version nothing is restored and the
// error is ErrVersion: writing over the state of a newer version would destroy it.
func (e *Engine) Restore(get func(key string) ([]byte, error)) (damaged []error, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	book, err := open(get, bookKey)
	switch {
	case errors.Is(err, ErrDamaged):
		damaged = append(damaged, fmt.Errorf("part %s: %w", bookKey, err))
	case err != nil:
		return nil, err
	case book != nil:
		if !e.decodeBook(book) {
			damaged = append(damaged, fmt.Errorf("part %s: %w", bookKey, ErrDamaged))
		}
	}
	e.adoptOrphansLocked(get)
	for _, o := range e.objectives {
		lost, err := e.restoreObjective(o, get)
		if err != nil {
			return nil, err
		}
		damaged = append(damaged, lost...)
	}
	for _, part := range []func(func(string) ([]byte, error)) ([]error, error){e.restoreAlerts, e.restoreJournal} {
		lost, err := part(get)
		if err != nil {
			return nil, err
		}
		damaged = append(damaged, lost...)
	}
	if len(e.transitions) > 0 {
		e.wakeLocked()
	}
	return damaged, nil
}

func (e *Engine) restoreObjective(o *objective, get func(string) ([]byte, error)) (damaged []error, err error) {
	index, err := open(get, objectivePart(o.digest))
	if errors.Is(err, ErrDamaged) {
		return []error{fmt.Errorf("objective %s: index: %w", o.Name, err)}, nil
	}
	if err != nil || index == nil {
		return nil, err
	}
	d := decoder{rest: index}
	n := d.uint()
	for i := uint64(0); i < n && !d.failed; i++ {
		key, overflow := d.text(), d.uint() == 1
		body, err := open(get, groupPart(o.digest, key))
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		values, ok := parseGroupKey(key, len(o.GroupBy))
		var g *group
		if err == nil && ok && body != nil {
			g = e.newGroup(o, key, values)
			ok = e.decodeGroup(o, g, body)
		}
		if err != nil || !ok || body == nil {
			damaged = append(damaged, fmt.Errorf("objective %s, group %q: %w", o.Name, values, ErrDamaged))
			continue
		}
		g.stored = true
		if overflow {
			o.overflow = g
		} else {
			o.groups[key] = g
		}
		if g.firing() {
			e.firing = append(e.firing, firing{o, g})
		}
	}
	if d.failed {
		damaged = append(damaged, fmt.Errorf("objective %s: index: %w", o.Name, ErrDamaged))
	}
	return damaged, nil
}

func objectivePart(digest string) string { return "o/" + digest }

func groupPart(digest, group string) string { return "g/" + digest + "/" + group }

func seal(body []byte) []byte {
	part := append([]byte(partMagic), snapshotVersion)
	return appendSum(append(part, body...))
}

func appendSum(part []byte) []byte {
	return binary.BigEndian.AppendUint32(part, crc32.Checksum(part, castagnoli))
}

// open gets and checks one part; nil when there is none.
func open(get func(string) ([]byte, error), key string) ([]byte, error) {
	part, err := get(key)
	if err != nil || part == nil {
		return nil, err
	}
	const head, tail = len(partMagic) + 1, 4
	if len(part) < head+tail || string(part[:len(partMagic)]) != partMagic {
		return nil, ErrDamaged
	}
	body, sum := part[:len(part)-tail], binary.BigEndian.Uint32(part[len(part)-tail:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, ErrDamaged
	}
	if version := body[len(partMagic)]; version > snapshotVersion {
		return nil, fmt.Errorf("%w: part %q has version %d, this one reads up to %d", ErrVersion, key, version, snapshotVersion)
	}
	if version := body[len(partMagic)]; version < snapshotVersion {
		return nil, fmt.Errorf("%w: part %q has version %d, written before the first release", ErrDamaged, key, version)
	}
	return body[head:], nil
}

type encoder []byte

func (w *encoder) uint(v uint64)  { *w = binary.AppendUvarint(*w, v) }
func (w *encoder) int(v int64)    { *w = binary.AppendVarint(*w, v) }
func (w *encoder) text(v string)  { w.uint(uint64(len(v))); *w = append(*w, v...) }
func (w *encoder) bytes(v []byte) { *w = append(*w, v...) }
func (w *encoder) flag(v bool) {
	if v {
		w.uint(1)
		return
	}
	w.uint(0)
}

func (w *encoder) counts(c Counts) {
	w.weighted(c.Good, c.GoodN)
	w.weighted(c.Bad, c.BadN)
}

// weighted writes the weight only where it is not that of n unsampled events: mostly it is.
func (w *encoder) weighted(weight Weight, n uint32) {
	if weight == Weight(n)*One {
		w.uint(uint64(n) << 1)
		return
	}
	w.uint(uint64(n)<<1 | 1)
	w.uint(uint64(weight))
}

// decoder reads what encoder wrote. After the first failure it returns zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) uint() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 && !d.failed {
		v := uint64(d.rest[0])
		d.rest = d.rest[1:]
		return v
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || d.failed {
		d.failed = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) int() int64 {
	v := d.uint()
	return int64(v>>1) ^ -int64(v&1) // zigzag, as binary.AppendVarint writes it
}

func (d *decoder) bytes(n uint64) []byte {
	if d.failed || n > uint64(len(d.rest)) {
		d.failed = true
		return nil
	}
	v := d.rest[:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) text() string { return string(d.bytes(d.uint())) }
func (d *decoder) flag() bool   { return d.uint() == 1 }

func (d *decoder) counts() Counts {
	var c Counts
	c.Good, c.GoodN = d.weighted()
	c.Bad, c.BadN = d.weighted()
	return c
}

func (d *decoder) weighted() (Weight, uint32) { return d.weightedAnd(maxCell) }

func (d *decoder) weightedAnd(most Weight) (Weight, uint32) {
	head := d.uint()
	n := uint32(head >> 1)
	if head&1 == 0 {
		return Weight(n) * One, n
	}
	return min(Weight(d.uint()), most), n
}

// length reads a count of items that take at least one byte each, so that a wrong one cannot ask for memory.
func (d *decoder) length() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.failed = true
		return 0
	}
	return int(n)
}

func encodeIndex(o *objective) []byte {
	var w encoder
	groups := o.sorted()
	w.uint(uint64(len(groups)))
	for _, g := range groups {
		w.text(g.key)
		w.flag(g == o.overflow)
	}
	return w
}

func (e *Engine) encodeBook() []byte {
	var w encoder
	w.int(e.first)
	w.int(e.edge)
	w.int(e.arrived)
	ids := make([]uint64, 0, len(e.sources))
	for id := range e.sources {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	w.uint(uint64(len(ids)))
	for _, id := range ids {
		w.uint(id)
		w.int(e.sources[id])
	}
	e.coverage.observed.encode(&w, e.edge+int64(e.settings.AbsentAfter))
	e.encodeDirectory(&w)
	return w
}

func (e *Engine) decodeBook(body []byte) bool {
	d := decoder{rest: body}
	first, edge, arrived := d.int(), d.int(), d.int()
	sources := map[uint64]int64{}
	for range d.length() {
		id := d.uint()
		sources[id] = d.int()
	}
	observed := coverage{observed: series{rings: emptyRings(e.coverage.observed.rings)}, fine: e.coverage.fine, reach: e.coverage.reach}
	observed.observed.decode(&d)
	orphans := decodeDirectory(&d)
	if d.failed || len(d.rest) > 0 {
		return false
	}
	e.first, e.edge, e.now, e.arrived, e.sources, e.coverage, e.orphans = first, edge, edge, arrived, sources, observed, orphans
	return true
}

func emptyRings(like []ring) []ring {
	rings := make([]ring, len(like))
	for i := range like {
		rings[i] = newRing(like[i].width, len(like[i].blocks))
	}
	return rings
}

func (e *Engine) encodeGroup(o *objective, g *group) []byte {
	var w encoder
	w.int(g.edge)
	w.int(g.latest)
	w.uint(uint64(len(g.alerts)))
	for i, a := range g.alerts {
		w.text(o.profile.Rules[i].Name)
		w.flag(a.firing)
		w.int(a.startedAt)
		w.int(a.clearSince)
		w.int(a.seen)
		w.int(a.hotSince)
	}
	g.series.encode(&w, g.latest)
	if g.slices != nil {
		g.slices.encode(&w, g.latest)
	}
	w.uint(uint64(len(g.periods)))
	for _, p := range g.periods {
		w.int(p.start)
		w.counts(p.Counts)
	}
	pending := g.undelivered()
	w.uint(uint64(len(pending)))
	for _, p := range pending {
		w.slice(p)
	}
	w.uint(uint64(len(g.exemplars)))
	slices.SortFunc(g.exemplars, newest)
	for _, x := range g.exemplars {
		w.int(x.at)
		w.bytes(x.id[:])
	}
	for at := range g.contributors.tables {
		w.int(g.contributors.generation[at])
		w.uint(uint64(len(g.contributors.tables[at])))
		for _, t := range g.contributors.tables[at] {
			w.text(e.settings.Contributors[t.attribute])
			w.text(t.value)
			w.uint(uint64(t.good))
			w.uint(uint64(t.bad))
		}
	}
	if w.flag(g.sampled != nil); g.sampled != nil {
		g.sampled.encode(&w, g.latest)
	}
	return w
}

func (e *Engine) decodeGroup(o *objective, g *group, body []byte) bool {
	d := decoder{rest: body}
	g.edge, g.latest = d.int(), d.int()
	for range d.length() {
		name := d.text()
		a := alertState{firing: d.flag(), startedAt: d.int(), clearSince: d.int(), seen: d.int(), hotSince: d.int()}
		// The rules may have changed since: an alert of a rule that is gone ends with it.
		if i := slices.IndexFunc(o.profile.Rules, func(r Rule) bool { return r.Name == name }); i >= 0 {
			g.alerts[i] = a
		}
	}
	g.series.decode(&d)
	if g.slices != nil {
		g.slices.decode(&d)
	}
	for range d.length() {
		p := period{start: d.int()}
		p.Good, p.GoodN = d.weightedAnd(math.MaxInt64)
		p.Bad, p.BadN = d.weightedAnd(math.MaxInt64)
		g.periods.add(p.start, p.Counts)
	}
	for range d.length() {
		g.pending = append(g.pending, d.slice())
	}
	for range d.length() {
		x := exemplar{at: d.int()}
		copy(x.id[:], d.bytes(uint64(len(x.id))))
		g.exemplars = append(g.exemplars, x)
	}
	for at := range g.contributors.tables {
		g.contributors.generation[at] = d.int()
		for range d.length() {
			name := d.text()
			t := tallied{contribution: contribution{value: d.text()}, good: Weight(d.uint()), bad: Weight(d.uint())}
			if i := slices.Index(e.settings.Contributors, name); i >= 0 {
				t.attribute = uint8(i)
				g.contributors.tables[at] = append(g.contributors.tables[at], t)
			}
		}
	}
	if d.flag() {
		g.sampled = o.newSampled()
		g.sampled.decode(&d)
	}
	return !d.failed && len(d.rest) == 0
}

// encode writes the slices that hold something and are recent enough to be in a window that ends at `until`. What a ring still holds
// beyond that depends on the order of arrival; what is written does not.
func (s *series) encode(w *encoder, until int64) {
	w.uint(uint64(len(s.rings)))
	for i := range s.rings {
		r := &s.rings[i]
		w.int(r.width)
		newest := floorDiv(until, r.width)
		oldest := newest - int64(len(r.blocks)-1)*blockSlices + 1
		count := 0
		r.each(oldest, newest, func(int64, Counts) { count++ })
		w.uint(uint64(count))
		previous := int64(0)
		r.each(oldest, newest, func(slice int64, c Counts) {
			w.int(slice - previous)
			previous = slice
			w.counts(c)
		})
	}
}

// each visits the slices first to last that hold something, in order.
func (r *ring) each(first, last int64, visit func(slice int64, c Counts)) {
	for number := floorDiv(first, blockSlices); number <= floorDiv(last, blockSlices); number++ {
		b := r.find(number)
		if b == nil {
			continue
		}
		for i, c := range b {
			if slice := number*blockSlices + int64(i); slice >= first && slice <= last && c != (Counts{}) {
				visit(slice, c)
			}
		}
	}
}

// decode reads rings back. A ring that the layout no longer has is left out: its windows fill again.
func (s *series) decode(d *decoder) {
	for range d.length() {
		width := d.int()
		at := slices.IndexFunc(s.rings, func(r ring) bool { return r.width == width })
		slice, number := int64(0), int64(0)
		var b *block
		for range d.length() {
			slice += d.int()
			c := d.counts()
			if at < 0 || d.failed {
				continue
			}
			if n := blockOf(slice); b == nil || n != number {
				b, number = s.rings[at].block(n), n
			}
			if b != nil {
				b[slice-number*blockSlices].add(c)
			}
		}
	}
}

// Describe says in words how far the book reaches, for a log line after a restart.
func (e *Engine) Describe() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.edge == noTime {
		return "empty"
	}
	groups := 0
	for _, o := range e.objectives {
		groups += len(o.groups)
	}
	return fmt.Sprintf("%d groups up to %s", groups, strings.TrimSuffix(unix(e.edge).Format(time.RFC3339), "Z"))
}
