// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"slices"
	"strconv"
	"time"
)

// The journal holds what happened since the last snapshot, as the events that moved the book: a commit, a delivery, a silence that ended
// an alert. The engine is a function of them, so applying them again to the snapshot gives the same book, the same alerts and
// the same slo.events that were not delivered yet. A journal part ("j/<n>") is sealed like every other part and holds one or more
// records; the snapshot says at which n the journal goes on. Two copies of that number are kept: it alone has no neighbour that could
// make up for it.
const (
	recordCommit = 1 + iota
	recordEvents
	recordTransitions
	recordSilence
	recordTaken    // all that waits is on its way
	recordReturned // it was refused
)

const (
	alertsKey = "alerts"
	// maxJournal is how many bytes of journal a restart may have to read: then a snapshot is due.
	maxJournal = 4 << 20
	digestSize = 12 // bytes of an objective's digest
)

var journalKeys = [...]string{"journal/a", "journal/b"}

// journal is what the engine remembers until it is written.
type journal struct {
	on          bool
	base, next  uint64  // parts [base, next) hold what the last snapshot does not
	log         encoder // records not yet handed out
	size        int     // bytes since the last snapshot
	lost        bool    // more came than may wait: only a snapshot helps
	alertsMoved bool    // transitions came or went since the last snapshot
	alertsKept  bool    // the store has a part for them

	// What SnapshotFailed goes back to.
	oldBase uint64
	oldLog  encoder
	oldSize int
}

// Journal makes the engine keep records of what moves the book, for TakeJournal.
func (e *Engine) Journal() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.journal.on = true
	e.moved = true // the first snapshot says where the journal starts
	if e.stats.EventsInDoubt > 0 {
		e.recordLocked(recordReturned, nil) // they wait again, and are in doubt once
	}
}

// TakeJournal returns the next part of the journal; its Key is empty when there is nothing to write. full says that a snapshot is due.
// Parts must be written in order: one that could not be written goes back by JournalFailed before the next is taken.
func (e *Engine) TakeJournal() (part Part, full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := &e.journal
	if len(j.log) == 0 || j.lost {
		return Part{}, j.lost
	}
	part = Part{Key: journalPart(j.next), Value: seal(j.log)}
	j.next++
	j.log = j.log[:0]
	return part, j.size > maxJournal
}

// JournalFailed takes back a part that could not be written.
func (e *Engine) JournalFailed(p Part) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := &e.journal
	body := p.Value[len(partMagic)+1 : len(p.Value)-4]
	j.log = append(slices.Clone(encoder(body)), j.log...)
	j.next--
	j.boundLocked()
}

// boundLocked gives the journal up when too much of it waits to be written; a snapshot covers it all.
func (j *journal) boundLocked() {
	if len(j.log) > maxJournal {
		j.log, j.lost = nil, true
	}
}

func (e *Engine) recordLocked(kind uint64, body encoder) {
	j := &e.journal
	if !j.on || j.lost {
		return
	}
	before := len(j.log)
	j.log.uint(kind)
	j.log.text(string(body))
	j.size += len(j.log) - before
	j.boundLocked()
}

// snapshotJournalLocked returns the parts by which a snapshot replaces the journal.
func (e *Engine) snapshotJournalLocked() []Part {
	j := &e.journal
	if !j.on {
		return nil
	}
	var parts []Part
	for n := j.base; n < j.next; n++ {
		parts = append(parts, Part{Key: journalPart(n), Delete: true})
	}
	j.oldBase, j.oldLog, j.oldSize = j.base, j.log, j.size
	j.base, j.log, j.size = j.next, nil, 0
	if j.lost {
		j.oldLog, j.lost = nil, false
	}
	var w encoder
	w.uint(j.base)
	for _, key := range journalKeys {
		parts = append(parts, Part{Key: key, Value: seal(w)})
	}
	return parts
}

func (e *Engine) journalSnapshotFailedLocked() {
	j := &e.journal
	j.base, j.log = j.oldBase, append(j.oldLog, j.log...)
	j.size += j.oldSize
	j.oldLog, j.oldSize = nil, 0
	j.alertsMoved = j.alertsMoved || j.alertsKept
	j.boundLocked()
}

func journalPart(n uint64) string { return "j/" + strconv.FormatUint(n, 10) }

// encodeTally writes what a commit needs.
func (e *Engine) encodeTally(w *encoder, t *Tally, objectives []*objective) {
	w.uint(uint64(len(t.sources)))
	for _, s := range t.sources {
		w.uint(s.source)
		w.int(s.latest)
	}
	w.uint(uint64(len(t.seen)))
	for _, s := range t.seen {
		w.text(s.service)
		w.int(s.start)
	}
	w.uint(uint64(len(t.values)))
	for _, v := range t.values {
		w.text(e.settings.Contributors[v.attribute])
		w.text(v.value)
	}
	w.uint(uint64(len(t.touched)))
	for _, entry := range t.touched {
		w.bytes(objectives[entry.objective].id[:])
		w.text(entry.group)
		w.uint(uint64(len(entry.slices)))
		for _, s := range entry.slices {
			w.slice(s)
		}
		w.uint(uint64(len(entry.exemplars)))
		for _, x := range entry.exemplars {
			w.int(x.at)
			w.bytes(x.id[:])
		}
		w.uint(uint64(len(entry.sampled)))
		for _, s := range entry.sampled {
			w.int(s.start)
			w.uint(uint64(s.good))
			w.uint(uint64(s.bad))
		}
		w.uint(uint64(len(entry.parts)))
		for _, p := range entry.parts {
			w.uint(uint64(p.id))
			w.uint(uint64(p.good))
			w.uint(uint64(p.bad))
		}
	}
}

func (w *encoder) slice(s sliceCounts) {
	w.int(s.start)
	w.int(s.latest)
	w.counts(s.Counts)
}

// recordTally encodes a tally outside the lock; nil when no journal is kept.
func (e *Engine) recordTally(t *Tally) {
	t.record = t.record[:0]
	if objectives := e.journaled(); objectives != nil {
		e.encodeTally(&t.record, t, objectives)
	}
}

// journaled is the list of objectives, or nil when no journal is kept. A list is never changed, only replaced.
func (e *Engine) journaled() []*objective {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.journal.on {
		return nil
	}
	return e.objectives
}

func (e *Engine) recordCommitLocked(t *Tally, now time.Time) {
	if !e.journal.on || e.journal.lost || len(t.record) == 0 {
		return
	}
	var head encoder
	head.flag(e.emitting)
	head.int(now.UnixNano())
	e.recordLocked(recordCommit, append(head, t.record...))
}
