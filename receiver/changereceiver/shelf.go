// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/pitwall-io/pitwall/internal/change"
)

const (
	snapshotKey = "remembered"
	deltaPrefix = "remembered."
	// maxDeltas is how many deltas are written before a snapshot takes their place.
	maxDeltas = 256
)

var errStorage = errors.New("storage cannot be used")

// shelf keeps the memory in storage, as a snapshot and the deltas since. Without a client it keeps nothing.
type shelf struct {
	client storage.Client
	deltas int
}

func openShelf(ctx context.Context, host component.Host, id *component.ID, owner component.ID) (*shelf, error) {
	if id == nil {
		return &shelf{}, nil
	}
	ext, ok := host.GetExtensions()[*id].(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("%w: no storage extension %q", errStorage, id)
	}
	client, err := ext.GetClient(ctx, component.KindReceiver, owner, "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStorage, err)
	}
	return &shelf{client: client}, nil
}

func deltaKey(i int) string { return deltaPrefix + strconv.Itoa(i) }

// load adds what was kept to memory.
func (s *shelf) load(ctx context.Context, memory *change.Memory) error {
	if s.client == nil {
		return nil
	}
	data, err := s.client.Get(ctx, snapshotKey)
	for err == nil {
		if data != nil {
			if err := memory.Restore(data); err != nil {
				return fmt.Errorf("%w: %w", errStorage, err)
			}
		} else if s.deltas > 0 {
			s.deltas--
			return nil
		}
		if data, err = s.client.Get(ctx, deltaKey(s.deltas)); err == nil {
			s.deltas++
		}
	}
	return fmt.Errorf("%w: %w", errStorage, err)
}

// keep writes what was added to memory.
func (s *shelf) keep(ctx context.Context, memory *change.Memory, added []change.Change) error {
	if s.client == nil || len(added) == 0 {
		return nil
	}
	if s.deltas < maxDeltas {
		delta := change.NewMemory(len(added))
		for _, c := range added {
			delta.Add(c.Key, c.Value)
		}
		data, err := delta.Snapshot()
		if err != nil {
			return err
		}
		if err := s.client.Set(ctx, deltaKey(s.deltas), data); err != nil {
			return err
		}
		s.deltas++
		return nil
	}
	data, err := memory.Snapshot()
	if err != nil {
		return err
	}
	ops := []*storage.Operation{storage.SetOperation(snapshotKey, data)}
	for i := range s.deltas {
		ops = append(ops, storage.DeleteOperation(deltaKey(i)))
	}
	if err := s.client.Batch(ctx, ops...); err != nil {
		return err
	}
	s.deltas = 0
	return nil
}

func (s *shelf) close(ctx context.Context) error {
	if s.client == nil {
		return nil
	}
	client := s.client
	s.client = nil
	return client.Close(ctx)
}
