// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"hash/crc32"
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
	snapshotVersion = 7
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

// Restore reads the book back from get, which returns nil for a key that is not there and is called by several goroutines at once. It returns one error per part that could not be
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
	lost, err := e.restoreObjectives(get)
	if err != nil {
		return nil, err
	}
	damaged = append(damaged, lost...)
	for _, part := range []func(func(string) ([]byte, error)) ([]error, error){e.restoreAlerts, e.restoreJournal} {
		lost, err := part(get)
		if err != nil {
			return nil, err
		}
		damaged = append(damaged, lost...)
	}
	for _, o := range e.objectives {
		e.doubtDeliveryLocked(o)
	}
	e.audit = newAudit() // what a replayed commit found was told when it was new
	if len(e.transitions) > 0 {
		e.wakeLocked()
	}
	return damaged, nil
}

func objectivePart(digest string) string { return "o/" + digest }

func groupPart(digest, group string) string { return "g/" + digest + "/" + group }

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
	w.int(e.astraySince)
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
	e.coverage.encode(&w, e.edge, maxWindow+e.settings.AbsentAfter)
	e.encodeDirectory(&w)
	return w
}

func (e *Engine) decodeBook(body []byte) bool {
	d := decoder{rest: body}
	first, edge, arrived, astray := d.int(), d.int(), d.int(), d.int()
	sources := map[uint64]int64{}
	for range d.length() {
		id := d.uint()
		sources[id] = d.int()
	}
	observed := coverage{fine: e.coverage.fine, reach: e.coverage.reach, services: map[string]*intervals{}}
	observed.decode(&d)
	orphans := decodeDirectory(&d)
	if d.failed || len(d.rest) > 0 {
		return false
	}
	e.first, e.edge, e.now, e.arrived, e.astraySince = first, edge, edge, arrived, astray
	e.sources, e.coverage, e.orphans = sources, observed, orphans
	return true
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
