// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Board is where components publish what others read. The optimization extension is one; a host's extensions are searched for it.
type Board interface {
	// PublishSignal records a signal's newest envelope and returns it as recorded, with its audit entry. On an error the signal was
	// not recorded and the caller goes on with the envelope it has.
	PublishSignal(ctx context.Context, e Envelope) (Envelope, error)
	// PublishSnapshot replaces what source last said about topic. body is a JSON value.
	PublishSnapshot(topic, source string, body json.RawMessage) error
}

// Errors of a board.
var (
	// ErrBoardFull says that there is no room, although everything that may be forgotten was.
	ErrBoardFull = errors.New("board is full")
	// ErrNoTransition says that a signal cannot move to the state offered, or that the envelope is older than the one held.
	ErrNoTransition = errors.New("no such transition")
	errNotJSON      = errors.New("snapshot is not JSON")
)

// Store is the memory of a board: the newest envelope of each signal and the newest snapshot of each topic and source, bounded in
// bytes. When it is full, signals that have ended are forgotten, those that ended first going first; signals that have not ended and
// snapshots are never forgotten for others, so then the newcomer is refused. It is safe for concurrent use.
type Store struct {
	maxBytes int

	mu        sync.RWMutex
	bytes     int
	signals   map[string]held
	snapshots map[string]json.RawMessage
	puts      uint64
	forgotten int64
}

// held is a signal with the size of its JSON form and the order in which it arrived.
type held struct {
	envelope *Envelope
	size     int
	order    uint64
}

// entryOverhead is what one entry costs beyond its JSON form: keys, headers and the decoded structure, generously.
const entryOverhead = 1024

// NewStore returns an empty store that holds at most maxBytes.
func NewStore(maxBytes int) *Store {
	return &Store{maxBytes: maxBytes, signals: map[string]held{}, snapshots: map[string]json.RawMessage{}}
}

// CanPut reports whether Put would accept the transition that e makes: nil, or an error that wraps ErrNoTransition.
func (s *Store) CanPut(e Envelope) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.canPutLocked(e)
}

func (s *Store) canPutLocked(e Envelope) error {
	old, known := s.signals[e.ID]
	if !known {
		// The board may have been started after the signal was, so any state may be the first it sees.
		return nil
	}
	if !old.envelope.State.CanBecome(e.State) {
		return fmt.Errorf("%w: %s to %s", ErrNoTransition, old.envelope.State, e.State)
	}
	if e.Update <= old.envelope.Update {
		return fmt.Errorf("%w: update %d is not newer than %d", ErrNoTransition, e.Update, old.envelope.Update)
	}
	return nil
}

// Put holds e in place of the signal's older envelope.
func (s *Store) Put(e Envelope) error {
	if err := e.Validate(); err != nil {
		return err
	}
	data, err := e.MarshalCanonical()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.canPutLocked(e); err != nil {
		return err
	}
	old := s.signals[e.ID]
	size := len(data) + entryOverhead
	if !s.makeRoomLocked(size-old.size, e.ID) {
		return ErrBoardFull
	}
	s.bytes += size - old.size
	s.puts++
	s.signals[e.ID] = held{envelope: &e, size: size, order: s.puts}
	return nil
}

// PutSnapshot holds body as what source says about topic.
func (s *Store) PutSnapshot(topic, source string, body json.RawMessage) error {
	if !json.Valid(body) {
		return errNotJSON
	}
	key := topic + "\x00" + source
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.snapshots[key]
	grow := len(body) - len(old)
	if !known {
		grow += len(key) + entryOverhead
	}
	if !s.makeRoomLocked(grow, "") {
		return ErrBoardFull
	}
	s.bytes += grow
	s.snapshots[key] = slices.Clone(body)
	return nil
}

// Snapshots returns what each source says about topic.
func (s *Store) Snapshots(topic string) map[string]json.RawMessage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := map[string]json.RawMessage{}
	for key, body := range s.snapshots {
		if source, ok := strings.CutPrefix(key, topic+"\x00"); ok {
			found[source] = body
		}
	}
	return found
}

// Get returns the newest envelope of a signal.
func (s *Store) Get(id string) (Envelope, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.signals[id]
	if !ok {
		return Envelope{}, false
	}
	return *h.envelope, true
}

// Find returns at most limit signals that match, those updated last first, and how many match in all.
func (s *Store) Find(limit int, match func(*Envelope) bool) ([]Envelope, int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var matching []held
	for _, h := range s.signals {
		if match(h.envelope) {
			matching = append(matching, h)
		}
	}
	slices.SortFunc(matching, func(a, b held) int {
		return cmp.Or(b.envelope.UpdatedAt.Compare(a.envelope.UpdatedAt), cmp.Compare(a.envelope.ID, b.envelope.ID))
	})
	found := make([]Envelope, 0, min(limit, len(matching)))
	for _, h := range matching[:min(limit, len(matching))] {
		found = append(found, *h.envelope)
	}
	return found, len(matching)
}

// Usage is how full a store is.
type Usage struct {
	Bytes, MaxBytes, Signals, Snapshots int
	// Forgotten counts ended signals that made room for others since the store was made.
	Forgotten int64
}

// Usage returns how full the store is.
func (s *Store) Usage() Usage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Usage{Bytes: s.bytes, MaxBytes: s.maxBytes, Signals: len(s.signals), Snapshots: len(s.snapshots), Forgotten: s.forgotten}
}

// makeRoomLocked forgets ended signals other than keep until grow more bytes fit.
func (s *Store) makeRoomLocked(grow int, keep string) bool {
	if s.bytes+grow <= s.maxBytes {
		return true
	}
	var ended []string
	for id, h := range s.signals {
		if id != keep && h.envelope.State.Ended() {
			ended = append(ended, id)
		}
	}
	slices.SortFunc(ended, func(a, b string) int { return cmp.Compare(s.signals[a].order, s.signals[b].order) })
	for _, id := range ended {
		if s.bytes+grow <= s.maxBytes {
			break
		}
		s.bytes -= s.signals[id].size
		delete(s.signals, id)
		s.forgotten++
	}
	return s.bytes+grow <= s.maxBytes
}
