// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
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
