// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"slices"
	"sync"
	"time"
)

// LogSettings bound a Logs.
type LogSettings struct {
	// MemoryLimit bounds, in bytes, the records that wait.
	MemoryLimit int64
	// Wait is how long records wait for a decision on their trace.
	Wait time.Duration
	// KeepUndecided keeps records whose trace was not decided on in time, or for which there was no room; otherwise they go.
	KeepUndecided bool
}

// LogChunk is the encoded log records of one trace in one request.
type LogChunk struct {
	Trace TraceID
	// Data is the adapter's; it is not looked into.
	Data    []byte
	Records int
}

func (c *LogChunk) size() int64 { return int64(len(c.Data)) + chunkOverhead }

// LogFate is what becomes of log records.
type LogFate uint8

// The fates. Records are undecided when no decision on their trace came in time, and overflow when there was no more room to wait in.
const (
	LogWaits LogFate = iota
	LogKept
	LogDropped
	LogUndecided
	LogOverflow
)

// SettledLogs are log records whose fate is known. Data is nil unless they are to be kept.
type SettledLogs struct {
	LogChunk
	Fate LogFate
}

// Logs holds log records until the fate of their traces is known, so that the logs of kept traces can be kept and no others. It is safe
// for concurrent use; its lock is taken under those of engines, and takes that of Decisions.
type Logs struct {
	settings  LogSettings
	decisions *Decisions

	mu             sync.Mutex
	entries        map[TraceID]*logEntry
	oldest, newest *logEntry
	// bytes counts what waits, settled what is in ready.
	bytes, settled int64
	ready          []SettledLogs
}

// logEntry are the waiting records of one trace.
type logEntry struct {
	id         TraceID
	prev, next *logEntry
	since      time.Time
	severity   uint8
	bytes      int64
	chunks     []LogChunk
}

// logOverhead is about what an entry and its place in the map take, chunkOverhead what a chunk does.
const (
	logOverhead   = 192
	chunkOverhead = 96
)

// NewLogs makes an empty one. decisions are those of the engines that decide on the traces.
func NewLogs(settings LogSettings, decisions *Decisions) *Logs {
	return &Logs{settings: settings, decisions: decisions, entries: make(map[TraceID]*logEntry)}
}

// Add takes records of one trace. severity is the highest severity number among them. The bytes are kept as they are and must not change
// afterwards.
func (l *Logs) Add(chunk LogChunk, severity uint8, now time.Time) {
	fate := l.Fate(chunk.Trace)
	l.mu.Lock()
	defer l.mu.Unlock()
	if fate != LogWaits {
		l.settleLocked(chunk, fate)
		return
	}
	e, known := l.entries[chunk.Trace]
	if !known {
		e = &logEntry{id: chunk.Trace, since: now, bytes: logOverhead}
		l.entries[chunk.Trace] = e
		if e.prev = l.newest; e.prev != nil {
			e.prev.next = e
		} else {
			l.oldest = e
		}
		l.newest = e
		l.bytes += logOverhead
	}
	e.severity = max(e.severity, severity)
	e.chunks = append(e.chunks, chunk)
	e.bytes += chunk.size()
	for l.bytes += chunk.size(); l.bytes > l.settings.MemoryLimit && l.oldest != nil; {
		l.releaseLocked(l.oldest, LogOverflow)
	}
}

// settleLocked queues records whose fate is known; the bytes of those that go, go at once.
func (l *Logs) settleLocked(chunk LogChunk, fate LogFate) {
	if fate != LogKept && (fate == LogDropped || !l.settings.KeepUndecided) {
		chunk.Data = nil
		if n := len(l.ready); n > 0 && l.ready[n-1].Data == nil && l.ready[n-1].Fate == fate {
			l.ready[n-1].Records += chunk.Records
			return
		}
	}
	l.settled += chunk.size()
	l.ready = append(l.ready, SettledLogs{chunk, fate})
}

// Fate is that of the records of a trace, as far as it is known.
func (l *Logs) Fate(id TraceID) LogFate {
	d, ok := l.decisions.lookup(id)
	switch {
	case !ok:
		return LogWaits
	case d.kept:
		return LogKept
	}
	return LogDropped
}

func (l *Logs) releaseLocked(e *logEntry, fate LogFate) {
	delete(l.entries, e.id)
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.oldest = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.newest = e.prev
	}
	l.bytes -= e.bytes
	for _, chunk := range e.chunks {
		l.settleLocked(chunk, fate)
	}
}

// Severity is the highest severity number among the waiting records of a trace; 0 when there are none.
func (l *Logs) Severity(id TraceID) uint8 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[id]; ok {
		return e.severity
	}
	return 0
}

// settle is how an engine tells its decisions.
func (l *Logs) settle(id TraceID, kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[id]
	switch {
	case !ok:
	case kept:
		l.releaseLocked(e, LogKept)
	default:
		l.releaseLocked(e, LogDropped)
	}
}

// Expire settles what has waited long enough; all of it when everything is set.
func (l *Logs) Expire(now time.Time, everything bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.oldest; e != nil && (everything || now.Sub(e.since) >= l.settings.Wait); e = l.oldest {
		fate := l.Fate(e.id)
		if fate == LogWaits {
			fate = LogUndecided
		}
		l.releaseLocked(e, fate)
	}
}

// Settled lists what is settled and not yet reported as Sent, oldest first.
func (l *Logs) Settled() []SettledLogs {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ready)
}

// Sent lets go of the first n of what Settled listed.
func (l *Logs) Sent(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		l.settled -= l.ready[i].size()
	}
	l.ready = slices.Delete(l.ready, 0, n)
}

// Full tells whether so much is settled, and not sent, that no more should be taken in.
func (l *Logs) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled > l.settings.MemoryLimit
}

// Bytes is the memory that records take: of those that wait up to the limit, and of those that are settled as much again and a request.
func (l *Logs) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes + l.settled
}
