// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/pitwall-io/pitwall/internal/limit"
)

const (
	keyHead = "head"
	// A snapshot is written in pieces, none larger than this.
	chunkBytes = 4 << 20
	// A new snapshot is written once the journal is this large, and at least as large as the last snapshot.
	journalMinimum = 1 << 20
)

// store keeps the limiter's state in a storage client: a snapshot and a journal of what changed since. A journal entry is written
// before its batch is handed on, so the state is never older than what a backend has seen. Guarded by the engine's lock.
type store struct {
	client     storage.Client
	generation uint64
	entries    uint64 // of the journal
	chunks     uint64 // of the snapshot
	journal    int    // bytes
	snapshot   int
	behind     bool // a write failed: only a snapshot makes the state whole again
}

var errNoStorage = errors.New("storage extension not found")

func openStore(ctx context.Context, host component.Host, id, of component.ID) (*store, error) {
	ext, ok := host.GetExtensions()[id]
	if !ok {
		return nil, fmt.Errorf("storage: %w: %q", errNoStorage, id)
	}
	s, ok := ext.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: extension %q is not a storage extension", id)
	}
	client, err := s.GetClient(ctx, component.KindProcessor, of, "")
	if err != nil {
		return nil, fmt.Errorf("storage: open %q: %w", id, err)
	}
	return &store{client: client}, nil
}

func (s *store) chunkKey(i uint64) string { return fmt.Sprintf("snapshot/%d/%d", s.generation, i) }
func (s *store) entryKey(i uint64) string { return fmt.Sprintf("journal/%d/%d", s.generation, i) }

// load restores the limiter. It returns false when there is nothing to restore.
func (s *store) load(ctx context.Context, l *limit.Limiter) (bool, error) {
	head, err := s.client.Get(ctx, keyHead)
	if err != nil || head == nil {
		return false, err
	}
	if len(head) != 16 {
		return false, fmt.Errorf("%w: head of %d bytes", limit.ErrStateDamaged, len(head))
	}
	s.generation = binary.LittleEndian.Uint64(head)
	s.chunks = binary.LittleEndian.Uint64(head[8:])
	var snapshot []byte
	for i := range s.chunks {
		chunk, err := s.client.Get(ctx, s.chunkKey(i))
		if err != nil {
			return false, err
		}
		snapshot = append(snapshot, chunk...)
	}
	if err := l.Restore(snapshot); err != nil {
		return false, fmt.Errorf("snapshot: %w", err)
	}
	s.snapshot = len(snapshot)
	for {
		entry, err := s.client.Get(ctx, s.entryKey(s.entries))
		if err != nil {
			return false, err
		}
		if entry == nil {
			return true, nil
		}
		if err := l.Restore(entry); err != nil {
			return false, fmt.Errorf("journal entry %d: %w", s.entries, err)
		}
		s.entries++
		s.journal += len(entry)
	}
}

// append writes what the last batch changed.
func (s *store) append(ctx context.Context, l *limit.Limiter) error {
	entry := l.Journal()
	if entry == nil && !s.behind {
		return nil
	}
	if s.behind || s.journal+len(entry) > max(journalMinimum, s.snapshot) {
		return s.save(ctx, l)
	}
	if err := s.client.Set(ctx, s.entryKey(s.entries), entry); err != nil {
		s.behind = true
		return err
	}
	s.entries++
	s.journal += len(entry)
	return nil
}

// save writes a new snapshot in the place of the old one and its journal, in one transaction.
func (s *store) save(ctx context.Context, l *limit.Limiter) error {
	snapshot := l.Snapshot()
	next := store{generation: s.generation + 1}
	var ops []*storage.Operation
	for at := 0; at < len(snapshot); at += chunkBytes {
		ops = append(ops, storage.SetOperation(next.chunkKey(next.chunks), snapshot[at:min(at+chunkBytes, len(snapshot))]))
		next.chunks++
	}
	head := binary.LittleEndian.AppendUint64(nil, next.generation)
	ops = append(ops, storage.SetOperation(keyHead, binary.LittleEndian.AppendUint64(head, next.chunks)))
	for i := range s.chunks {
		ops = append(ops, storage.DeleteOperation(s.chunkKey(i)))
	}
	for i := range s.entries {
		ops = append(ops, storage.DeleteOperation(s.entryKey(i)))
	}
	if err := s.client.Batch(ctx, ops...); err != nil {
		s.behind = true
		return err
	}
	next.client, next.snapshot = s.client, len(snapshot)
	*s = next
	return nil
}
