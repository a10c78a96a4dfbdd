// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
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
		case recordSilence:
			if now := record.int(); !record.failed {
				e.now = now
				e.expireLocked()
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

// encodeTally writes what a commit needs.
func (e *Engine) encodeTally(w *encoder, t *Tally, objectives []*objective) {
	w.uint(uint64(len(t.sources)))
	for _, s := range t.sources {
		w.uint(s.source)
		w.int(s.latest)
	}
	w.uint(uint64(len(t.seen)))
	for _, start := range t.seen {
		w.int(start)
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

func (e *Engine) replayCommit(d *decoder) {
	emitting, now := d.flag(), d.int()
	t := e.NewTally()
	for range d.length() {
		t.sources = append(t.sources, sourceMark{d.uint(), d.int()})
	}
	for range d.length() {
		t.seen = append(t.seen, d.int())
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

func (w *encoder) slice(s sliceCounts) {
	w.int(s.start)
	w.int(s.latest)
	w.counts(s.Counts)
}

func (d *decoder) slice() sliceCounts {
	return sliceCounts{start: d.int(), latest: d.int(), Counts: d.counts()}
}

// Delivered tells that events of TakeEvents arrived: a restart will not hand them out again.
func (e *Engine) Delivered(events []SliceEvents) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var w encoder
	w.uint(uint64(len(events)))
	for _, s := range events {
		o := e.objectives[s.index]
		if g := o.find(s.key); g != nil {
			g.inflight = nil
			g.dirty = true
		}
		w.bytes(o.id[:])
		w.text(s.key)
		w.slice(s.counts)
	}
	e.recordLocked(recordEvents, w)
}

// replayEvents takes delivered events out of what waits.
func (e *Engine) replayEvents(d *decoder) {
	for range d.length() {
		o, key, s := e.objectiveOf(d), d.text(), d.slice()
		if o < 0 || d.failed {
			continue
		}
		if g := e.objectives[o].find(key); g != nil {
			g.deliver(s)
			g.dirty = true
		}
	}
}

func (o *objective) find(key string) *group {
	if g, ok := o.groups[key]; ok {
		return g
	}
	if o.overflow != nil && o.overflow.key == key {
		return o.overflow
	}
	return nil
}

// deliver takes the counts of a slice out of the pending ones.
func (g *group) deliver(s sliceCounts) {
	for i := range g.pending {
		p := &g.pending[i]
		if p.start != s.start {
			continue
		}
		p.Good -= min(p.Good, s.Good)
		p.Bad -= min(p.Bad, s.Bad)
		p.GoodN -= min(p.GoodN, s.GoodN)
		p.BadN -= min(p.BadN, s.BadN)
		if p.Counts == (Counts{}) {
			g.pending = slices.Delete(g.pending, i, i+1)
		}
		return
	}
}

// undelivered are the slices of which nobody said that they arrived.
func (g *group) undelivered() []sliceCounts {
	if len(g.inflight) == 0 {
		return g.pending
	}
	all := slices.Clone(g.inflight)
	for _, p := range g.pending {
		i, found := slices.BinarySearchFunc(all, p.start, compareStart)
		if found {
			all[i].count(p.latest, p.Counts)
		} else {
			all = slices.Insert(all, i, p)
		}
	}
	return all
}

func compareStart(s sliceCounts, start int64) int {
	switch {
	case s.start < start:
		return -1
	case s.start > start:
		return 1
	}
	return 0
}

// transitionID tells transitions apart.
type transitionID struct {
	digest, group, rule string
	firing              bool
	at                  int64
}

func (t *Transition) id() transitionID {
	return transitionID{t.digest, t.key, t.Rule.Name, t.Firing, t.At.UnixNano()}
}

// DeliveredTransitions tells that transitions of TakeTransitions arrived.
func (e *Engine) DeliveredTransitions(ts []Transition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handedOut = nil
	e.journal.alertsMoved, e.moved = true, true
	var w encoder
	w.uint(uint64(len(ts)))
	for i := range ts {
		id := ts[i].id()
		w.text(id.digest)
		w.text(id.group)
		w.text(id.rule)
		w.flag(id.firing)
		w.int(id.at)
	}
	e.recordLocked(recordTransitions, w)
}

func (e *Engine) forgetTransition(id transitionID) {
	e.transitions = slices.DeleteFunc(e.transitions, func(t Transition) bool { return t.id() == id })
	e.journal.alertsMoved = true
}

// storedTransition is a Transition on disk.
type storedTransition struct {
	Digest              string
	Group               []byte
	Rule                Rule
	Profile             string
	Firing              bool
	Reason              ResolveReason
	At, StartedAt       int64
	BurnLong, BurnShort *float64
	Threshold           float64
	BudgetRemaining     *float64
	Coverage            float64
	Good, Bad           float64
	Exemplars           []TraceID
	Contributors        []Contributor
}

// encodeAlerts writes the transitions nobody has got yet.
func (e *Engine) encodeAlerts() ([]byte, error) {
	waiting := slices.Concat(e.handedOut, e.transitions)
	out := make([]storedTransition, 0, len(waiting))
	for _, t := range waiting {
		out = append(out, storedTransition{
			Digest: t.digest, Group: []byte(t.key), Rule: t.Rule, Profile: t.Profile, Firing: t.Firing, Reason: t.Reason,
			At: t.At.UnixNano(), StartedAt: t.StartedAt.UnixNano(), BurnLong: t.BurnLong, BurnShort: t.BurnShort, Threshold: t.Threshold,
			BudgetRemaining: t.BudgetRemaining, Coverage: t.Coverage, Good: t.Good, Bad: t.Bad,
			Exemplars: t.Exemplars, Contributors: t.Contributors,
		})
	}
	return json.Marshal(out)
}

func (e *Engine) restoreAlerts(get func(string) ([]byte, error)) (damaged []error, err error) {
	body, err := open(get, alertsKey)
	var stored []storedTransition
	if err == nil && body != nil && json.Unmarshal(body, &stored) != nil {
		err = ErrDamaged
	}
	if errors.Is(err, ErrDamaged) {
		return []error{fmt.Errorf("part %s: %w", alertsKey, err)}, nil
	}
	for _, s := range stored {
		at := slices.IndexFunc(e.objectives, func(o *objective) bool { return o.digest == s.Digest && !o.retired })
		if at < 0 {
			continue
		}
		o := e.objectives[at]
		values, ok := parseGroupKey(string(s.Group), len(o.GroupBy))
		if !ok {
			continue
		}
		g := &group{values: values}
		e.transitions = append(e.transitions, Transition{
			Objective: o.Objective, Service: o.service(g), Group: o.group(g), Profile: s.Profile, Rule: s.Rule, Firing: s.Firing, Reason: s.Reason,
			At: unix(s.At), StartedAt: unix(s.StartedAt), BurnLong: s.BurnLong, BurnShort: s.BurnShort, Threshold: s.Threshold,
			BudgetRemaining: s.BudgetRemaining, Coverage: s.Coverage, Good: s.Good, Bad: s.Bad,
			Exemplars: s.Exemplars, Contributors: s.Contributors,
			digest: s.Digest, key: string(s.Group),
		})
	}
	return nil, err
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
