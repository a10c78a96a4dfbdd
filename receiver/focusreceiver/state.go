// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
)

// stateVersion is the first byte of everything stored. What follows is gzip, whose checksum guards the content.
const stateVersion = 1

const indexKey = "index"

var (
	errStateVersion = errors.New("stored by a newer version")
	errGrouping     = errors.New("group_by, interval or spread changed: what was emitted cannot be compared with what is read now; give the receiver a new name or remove its stored state")
	errNoStorage    = errors.New("storage extension not found")
	errNotStorage   = errors.New("extension is no storage extension")
)

// index is what is known about files and where statements are stored.
type index struct {
	Grouping   string               `json:"grouping"`
	Files      map[string]fileState `json:"files"`
	Statements []focus.Statement    `json:"statements"`
}

// fileState is what became of a file as it was.
type fileState struct {
	Stamp   stamp  `json:"stamp"`
	Outcome string `json:"outcome"`
}

// store keeps the state in the storage extension; without a client it keeps nothing.
type store struct {
	client storage.Client
}

func openStore(ctx context.Context, host component.Host, cfg *Config, id component.ID) (*store, error) {
	if cfg.Storage == nil {
		return &store{}, nil
	}
	ext, ok := host.GetExtensions()[*cfg.Storage]
	if !ok {
		return nil, fmt.Errorf("storage: %w: %s", errNoStorage, cfg.Storage)
	}
	se, ok := ext.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: %w: %s", errNotStorage, cfg.Storage)
	}
	client, err := se.GetClient(ctx, component.KindReceiver, id, "")
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return &store{client}, nil
}

func (s *store) close(ctx context.Context) error {
	if s == nil || s.client == nil {
		return nil
	}
	return s.client.Close(ctx)
}

// grouping identifies how cells are made.
func grouping(cfg *Config) string {
	return fmt.Sprintf("%s|%s|%t", strings.Join(cfg.GroupBy, ","), cfg.Interval, cfg.Spread)
}

// load restores files and bill.
func (s *store) load(ctx context.Context, cfg *Config) (map[string]fileState, *focus.Bill, error) {
	files, bill := map[string]fileState{}, focus.NewBill()
	if s.client == nil {
		return files, bill, nil
	}
	var ix index
	ok, err := s.get(ctx, indexKey, &ix)
	if err != nil || !ok {
		return files, bill, err
	}
	if ix.Grouping != grouping(cfg) {
		return nil, nil, errGrouping
	}
	for _, statement := range ix.Statements {
		var snapshot focus.Snapshot
		ok, err := s.get(ctx, statementKey(statement), &snapshot)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			return nil, nil, fmt.Errorf("stored statement %v is missing", statement)
		}
		if err := bill.Restore(snapshot, len(cfg.GroupBy)); err != nil {
			return nil, nil, err
		}
	}
	if ix.Files != nil {
		files = ix.Files
	}
	return files, bill, nil
}

// save stores the statements that changed and the index, in one transaction.
func (s *store) save(ctx context.Context, cfg *Config, files map[string]fileState, bill *focus.Bill, touched []focus.Statement) error {
	if s.client == nil {
		return nil
	}
	var ops []*storage.Operation
	for _, statement := range touched {
		snapshot, ok := bill.Snapshot(statement)
		if !ok {
			ops = append(ops, storage.DeleteOperation(statementKey(statement)))
			continue
		}
		b, err := encode(snapshot)
		if err != nil {
			return err
		}
		ops = append(ops, storage.SetOperation(statementKey(statement), b))
	}
	b, err := encode(index{grouping(cfg), files, bill.Statements()})
	if err != nil {
		return err
	}
	return s.client.Batch(ctx, append(ops, storage.SetOperation(indexKey, b), storage.DeleteOperation(progressKey))...)
}

func (s *store) get(ctx context.Context, key string, to any) (bool, error) {
	b, err := s.client.Get(ctx, key)
	if err != nil || b == nil {
		return false, err
	}
	if err := decode(b, to); err != nil {
		return false, fmt.Errorf("stored %s: %w", key, err)
	}
	return true, nil
}

func statementKey(s focus.Statement) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %s", s.Provider, s.Account, s.Start, s.End))
	return "statement/" + hex.EncodeToString(sum[:12])
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(stateVersion)
	w := gzip.NewWriter(&b)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decode(b []byte, to any) error {
	if len(b) == 0 || b[0] != stateVersion {
		return errStateVersion
	}
	r, err := gzip.NewReader(bytes.NewReader(b[1:]))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}
