// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// restoreJournal applies the journal to the restored snapshot.
func (e *Engine) restoreJournal(get func(string) ([]byte, error)) (damaged []error, err error) {
	base, found, guess := uint64(0), false, uint32(0)
	for _, key := range journalKeys {
		body, err := open(get, key)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		if err != nil {
			damaged = append(damaged, fmt.Errorf("part %s: %w", key, err))
			if part, _ := get(key); part != nil {
				guess = crc32.Update(guess, castagnoli, part)
			}
			continue
		}
		if d := (decoder{rest: body}); body != nil && !found {
			base, found = d.uint(), !d.failed
		}
	}
	if !found {
		// Numbers of a journal that was lost must not be used again: what is left of it would be taken for the new one.
		base = uint64(guess) << 20
	}
	n := base
	for ; ; n++ {
		body, err := open(get, journalPart(n))
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		if err == nil && body == nil {
			break
		}
		if err != nil || !e.replay(body) {
			damaged = append(damaged, fmt.Errorf("part %s: %w", journalPart(n), ErrDamaged))
		}
	}
	e.journal.base, e.journal.next = base, n
	return damaged, nil
}

// replay applies the records of one part.
func (e *Engine) replay(body []byte) bool {
	d := decoder{rest: body}
	for len(d.rest) > 0 && !d.failed {
		kind := d.uint()
		record := decoder{rest: d.bytes(d.uint())}
		if d.failed {
			return false
		}
		switch kind {
		case recordCommit:
			e.replayCommit(&record)
		case recordEvents:
			e.replayEvents(&record)
		case recordTransitions:
			for range record.length() {
				e.forgetTransition(transitionID{record.text(), record.text(), record.text(), record.flag(), record.int()})
			}
		case recordTaken:
			for _, o := range e.objectives {
				for _, g := range o.sorted() {
					if len(g.pending) > 0 {
						g.depart()
					}
				}
			}
		case recordReturned:
			for _, o := range e.objectives {
				for _, g := range o.departed() {
					g.comeBack()
				}
			}
		case recordSilence:
			if now := record.int(); !record.failed {
				e.now = now
				waiting := len(e.transitions)
				e.expireLocked()
				e.orderTransitionsLocked(waiting)
			}
		default:
			return false
		}
		if record.failed {
			return false
		}
	}
	return !d.failed
}

func (e *Engine) replayCommit(d *decoder) {
	emitting, now := d.flag(), d.int()
	t := e.NewTally()
	for range d.length() {
		t.sources = append(t.sources, sourceMark{source: d.uint(), latest: d.int()})
	}
	for range d.length() {
		t.seen = append(t.seen, sighting{d.text(), d.int()})
	}
	known := []bool{}
	for range d.length() {
		attribute := slices.Index(e.settings.Contributors, d.text())
		known = append(known, attribute >= 0)
		t.values = append(t.values, contribution{attribute: uint8(max(0, attribute)), value: d.text()})
	}
	for range d.length() {
		o := e.objectiveOf(d)
		entry := &Entry{objective: o, group: d.text()}
		for range d.length() {
			entry.slices = append(entry.slices, d.slice())
		}
		for range d.length() {
			x := exemplar{at: d.int()}
			copy(x.id[:], d.bytes(uint64(len(x.id))))
			entry.exemplars = append(entry.exemplars, x)
		}
		for range d.length() {
			entry.sampled = append(entry.sampled, sampled{d.int(), min(Weight(d.uint()), maxCell), min(Weight(d.uint()), maxCell)})
		}
		for range d.length() {
			id := d.uint()
			p := part{good: min(Weight(d.uint()), maxCell), bad: min(Weight(d.uint()), maxCell)}
			if id < uint64(len(known)) && known[id] {
				p.id = ContributionID(id)
				entry.parts = append(entry.parts, p)
			}
		}
		if o >= 0 {
			t.touched = append(t.touched, entry)
		}
	}
	if d.failed {
		return
	}
	before := e.emitting
	e.emitting = emitting
	e.commitTallyLocked(t, now)
	e.emitting = before
}

// objectiveOf reads a digest and finds its objective; -1 when there is none any more.
func (e *Engine) objectiveOf(d *decoder) int {
	id := d.bytes(digestSize)
	return slices.IndexFunc(e.objectives, func(o *objective) bool { return string(o.id[:]) == string(id) && !o.retired })
}

func (d *decoder) slice() sliceCounts {
	return sliceCounts{start: d.int(), latest: d.int(), Counts: d.counts()}
}

// replayEvents takes delivered events out of what waits.
func (e *Engine) replayEvents(d *decoder) {
	var delivered []*group
	for range d.length() {
		o, key, s := e.objectiveOf(d), d.text(), d.slice()
		if o < 0 || d.failed {
			continue
		}
		switch g := e.objectives[o].find(key); {
		case g == nil:
		case len(g.inflight) > 0:
			delivered = append(delivered, g)
		default: // the record that it was taken is lost
			g.deliver(s)
			g.dirty = true
		}
	}
	for _, g := range delivered {
		g.inflight = nil
		g.dirty = true
	}
}
