// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"encoding/binary"
	"slices"
	"strings"
)

// maxTallyEntries bounds what a tally keeps between batches to save allocations.
const maxTallyEntries = 8192

// maxValueBytes is how much of a group's or a contributor's value counts: values are what senders choose, and the book holds
// thousands of them.
const maxValueBytes = 256

// maxScannedParts is how many contributor values of an entry are searched one by one; beyond, an index finds them.
const maxScannedParts = 16

// maxKeptDurations is up to how many durations the memory of an entry is kept between batches.
const maxKeptDurations = 1024

// Tally collects what one batch adds to the book. Nothing of it counts until Commit, so a batch that could not be delivered is
// simply thrown away. A tally belongs to one goroutine; Reset makes it ready for the next batch.
type Tally struct {
	entries    map[string]*Entry
	touched    []*Entry
	sources    []sourceMark
	marked     map[uint64]int // where a source is in sources
	fine       int64
	current    SliceSpan
	seen       []sighting // slices in which anything was observed
	service    string     // whose telemetry is being read
	instance   string
	ahead      []sourceMark // sources whose events were refused, because they are of a time to come
	violations []found
	key        []byte
	record     encoder // for the journal
	doubts     []doubt

	interned map[contribution]ContributionID
	recent   [recentValues]recentValue // found without hashing: routes and versions repeat
	values   []contribution            // by id
}

// ContributionID stands for a value of a contributor attribute within one batch, so that it is hashed once an event and not once an
// objective.
type ContributionID int32

// recentValues is a power of two.
const recentValues = 32

type recentValue struct {
	contribution
	id    ContributionID
	known bool
}

type sourceMark struct {
	source            uint64
	latest            int64
	service, instance string // for the audit
}

// SliceSpan is a fine slice of event time: [Start, End) in ns.
type SliceSpan struct{ Start, End int64 }

type sliceCounts struct {
	start  int64
	latest int64 // the latest event time counted in the slice
	Counts
}

// maxEntrySlices bounds the slices of one entry: a batch that spreads over more of them is not telemetry.
const maxEntrySlices = 4096

// Entry is one group of one objective within a tally.
type Entry struct {
	objective int
	group     string // encoded values
	used      bool
	slices    []sliceCounts
	at        int
	exemplars exemplars
	sampled   []sampled
	durations []duration
	parts     []part                 // of the contributor values seen, in order of appearance
	partAt    map[ContributionID]int // where they are in parts, once there are many
}

// part is what the events with one contributor value add.
type part struct {
	id        ContributionID
	good, bad Weight
}

// NewTally makes a tally for e's slice width.
func (e *Engine) NewTally() *Tally {
	return &Tally{
		entries: map[string]*Entry{}, interned: map[contribution]ContributionID{}, marked: map[uint64]int{},
		fine: int64(e.fine), current: SliceSpan{1, 0},
	}
}

// Reset forgets the batch and keeps the memory.
func (t *Tally) Reset() {
	for _, e := range t.touched {
		e.used = false
		e.slices = e.slices[:0]
		e.at = 0
		e.exemplars = e.exemplars[:0]
		e.parts = e.parts[:0]
		e.sampled = e.sampled[:0]
		if e.durations = e.durations[:0]; cap(e.durations) > maxKeptDurations {
			e.durations = nil
		}
		clear(e.partAt)
	}
	t.touched = t.touched[:0]
	if len(t.entries) > maxTallyEntries {
		clear(t.entries)
	}
	clear(t.sources)
	t.sources = t.sources[:0]
	clear(t.ahead)
	t.ahead = t.ahead[:0]
	t.violations = t.violations[:0]
	clear(t.marked)
	clear(t.seen) // a name may pin a whole request
	t.seen = t.seen[:0]
	t.service, t.instance = "", ""
	t.doubts = t.doubts[:0]
	clear(t.interned)
	t.recent = [recentValues]recentValue{}
	clear(t.values)
	t.values = t.values[:0]
	t.current = SliceSpan{1, 0}
}

// sighting says that a service was observed in the slice that starts at start.
type sighting struct {
	service string
	start   int64
}

// Service says whose telemetry the following events are; empty where it does not tell.
func (t *Tally) Service(name string) {
	t.service, t.instance = clean(cut(name)), ""
	t.current = SliceSpan{1, 0}
}

// Instance says which instance of the service they are of.
func (t *Tally) Instance(name string) { t.instance = clean(cut(name)) }

// found is a violation a reader found.
type found struct {
	check     Check
	objective int
	at        int64
}

// Violate notes that what an objective reads contradicts itself.
func (t *Tally) Violate(check Check, objective int, at int64) {
	if len(t.violations) < maxTallyEntries {
		t.violations = append(t.violations, found{check, objective, at})
	}
}

// Ahead notes that a source's events were refused because they are of a time to come, the latest of them.
func (t *Tally) Ahead(source uint64, latest int64) {
	if n := len(t.ahead); n < maxTallyEntries {
		t.ahead = append(t.ahead, sourceMark{source, latest, t.service, t.instance})
	}
}

// Slice returns the slice that holds the event time at (ns) and notes that something was observed in it.
func (t *Tally) Slice(at int64) SliceSpan {
	if at >= t.current.Start && at < t.current.End {
		return t.current
	}
	start := floorDiv(at, t.fine) * t.fine
	t.current = SliceSpan{start, start + t.fine}
	if s := (sighting{t.service, start}); len(t.seen) < maxTallyEntries && !slices.Contains(t.seen, s) {
		t.seen = append(t.seen, s)
	}
	return t.current
}

// Observe notes the latest event time of a source, which moves its watermark on commit.
func (t *Tally) Observe(source uint64, latest int64) {
	if i, ok := t.marked[source]; ok {
		t.sources[i].latest = max(t.sources[i].latest, latest)
		return
	}
	t.marked[source] = len(t.sources)
	t.sources = append(t.sources, sourceMark{source, latest, t.service, t.instance})
}

// Entry finds or makes the entry of one group. values are those of the objective's group_by attributes, in that order. Only their
// first maxValueBytes count, and what is not UTF-8 is replaced: a backend may refuse a whole request for one such name.
func (t *Tally) Entry(objective int, values []string) *Entry {
	t.key = binary.AppendUvarint(t.key[:0], uint64(objective))
	for _, v := range values {
		t.key = appendValue(t.key, cut(v))
	}
	e, ok := t.entries[string(t.key)]
	if !ok {
		e = &Entry{objective: objective, group: groupKey(values)}
		t.entries[string(t.key)] = e
	}
	if !e.used {
		e.used = true
		t.touched = append(t.touched, e)
	}
	return e
}

// Add counts one event of time at. It reports false when the batch spreads over too many slices.
func (e *Entry) Add(span SliceSpan, at int64, bad bool, w Weight) bool {
	if bad {
		return e.AddCounts(span, at, Counts{Bad: w, BadN: 1})
	}
	return e.AddCounts(span, at, Counts{Good: w, GoodN: 1})
}

// AddCounts counts events that were counted elsewhere; at is the latest of their times.
func (e *Entry) AddCounts(span SliceSpan, at int64, c Counts) bool {
	if e.at < len(e.slices) && e.slices[e.at].start == span.Start {
		e.slices[e.at].count(at, c)
		return true
	}
	// Slices are kept in order; a batch has few of them, and they mostly come in order.
	i := len(e.slices)
	for i > 0 && e.slices[i-1].start > span.Start {
		i--
	}
	if i > 0 && e.slices[i-1].start == span.Start {
		e.at = i - 1
		e.slices[e.at].count(at, c)
		return true
	}
	if len(e.slices) == maxEntrySlices {
		return false
	}
	e.slices = append(e.slices, sliceCounts{})
	copy(e.slices[i+1:], e.slices[i:])
	e.slices[i] = sliceCounts{start: span.Start, latest: at, Counts: c}
	e.at = i
	return true
}

func (s *sliceCounts) count(at int64, c Counts) {
	s.latest = max(s.latest, at)
	s.add(c)
}

// Intern names a value of the engine's contributor attribute number `attribute`, until the next Reset.
func (t *Tally) Intern(attribute uint8, value string) ContributionID {
	key := contribution{attribute, cut(value)}
	place := int(attribute) * 5
	if n := len(key.value); n > 0 {
		place += n + int(key.value[n-1])
	}
	recent := &t.recent[place%recentValues]
	if recent.known && recent.attribute == attribute && recent.value == key.value {
		return recent.id
	}
	id, ok := t.interned[key]
	if !ok {
		id = ContributionID(len(t.values))
		t.interned[key] = id
		t.values = append(t.values, contribution{attribute, clean(key.value)})
	}
	*recent = recentValue{key, id, true}
	return id
}

// AddContribution counts events that carried an interned value. An entry holds the values of its own events alone: a request may
// bring thousands of groups and thousands of values.
func (e *Entry) AddContribution(id ContributionID, good, bad Weight) {
	i := e.part(id)
	if i < 0 {
		i = len(e.parts)
		e.parts = append(e.parts, part{id: id})
		e.index(i)
	}
	p := &e.parts[i]
	p.good = p.good.plus(good)
	p.bad = p.bad.plus(bad)
}

func (e *Entry) part(id ContributionID) int {
	if len(e.parts) > maxScannedParts {
		if i, ok := e.partAt[id]; ok {
			return i
		}
		return -1
	}
	for i := range e.parts {
		if e.parts[i].id == id {
			return i
		}
	}
	return -1
}

// index notes where the newest part is; the first time, where all are.
func (e *Entry) index(newest int) {
	if newest < maxScannedParts {
		return
	}
	first := newest
	if newest == maxScannedParts {
		first = 0
	}
	if e.partAt == nil {
		e.partAt = map[ContributionID]int{}
	}
	for i := first; i <= newest; i++ {
		e.partAt[e.parts[i].id] = i
	}
}

// doubt is how many of an objective's observations lie in the bucket its threshold cuts.
type doubt struct {
	objective   int
	at          int64
	sure, total Weight
}

// Observations notes how many of a histogram's observations at time at lie on neither side of the threshold for certain.
func (t *Tally) Observations(objective int, at int64, unsure, total float64) {
	u, okUnsure := WeightOf(unsure)
	n, okTotal := WeightOf(total)
	if okUnsure && okTotal && u <= n && len(t.doubts) < maxTallyEntries {
		t.doubts = append(t.doubts, doubt{objective, at, n - u, n})
	}
}

// AddExemplar remembers the trace of a bad event.
func (e *Entry) AddExemplar(at int64, id TraceID) { e.exemplars.add(exemplar{at, id}) }

// cut shortens a value to what counts of it.
func cut(value string) string { return value[:min(len(value), maxValueBytes)] }

// clean makes a value that was cut, or is not UTF-8, fit to be sent.
func clean(value string) string { return strings.ToValidUTF8(value, "\uFFFD") }

// groupKey is the key of the group with these values, cut and clean.
func groupKey(values []string) string {
	var key []byte
	for _, v := range values {
		key = appendValue(key, clean(cut(v)))
	}
	return string(key)
}

func appendGroupKey(key []byte, values []string) []byte {
	for _, v := range values {
		key = appendValue(key, v)
	}
	return key
}

func appendValue(key []byte, value string) []byte {
	key = binary.AppendUvarint(key, uint64(len(value)))
	return append(key, value...)
}

func parseGroupKey(key string, n int) ([]string, bool) {
	values := make([]string, 0, n)
	rest := []byte(key)
	for range n {
		length, used := binary.Uvarint(rest)
		if used <= 0 || length > uint64(len(rest)-used) {
			return nil, false
		}
		values = append(values, string(rest[used:used+int(length)]))
		rest = rest[used+int(length):]
	}
	return values, len(rest) == 0
}
