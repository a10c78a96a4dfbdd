// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/detect"
)

const (
	// stateKey is where the state lies in storage.
	stateKey = "state"
	// saveShare is the share of time that keeping the state may take, as its reciprocal.
	saveShare = 100
)

var errStorage = errors.New("storage cannot be used")

func (e *engine) openStorage(ctx context.Context, extensions map[component.ID]component.Component) error {
	ext, ok := extensions[*e.cfg.Storage].(storage.Extension)
	if !ok {
		return fmt.Errorf("%w: no storage extension %q", errStorage, e.cfg.Storage)
	}
	client, err := ext.GetClient(ctx, component.KindConnector, e.id, "")
	if err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.storage = client
	data, err := client.Get(ctx, stateKey)
	if err == nil && data == nil {
		return nil
	}
	if err == nil {
		err = e.restoreLocked(ctx, data)
	}
	if err != nil {
		e.telemetry.OptimizerStorageErrors.Add(ctx, 1)
		e.log.Error("kept state cannot be read; starting without what is missing", zap.Error(err))
	}
	return nil
}

// keptState is the form in which the frame's state lies in storage. Each detector's lies under a key of its own.
type keptState struct {
	Watermark time.Time       `json:"watermark"`
	ReadAt    time.Time       `json:"read_at"`
	Due       time.Time       `json:"due,omitzero"`
	Loop      []byte          `json:"loop,omitempty"`
	Changes   []detect.Change `json:"changes,omitempty"`
	// Senders are the numbers of the parts that came from other collectors.
	Senders senders `json:"senders,omitempty"`
	// Burn is where the first version kept the burn detector's state.
	Burn json.RawMessage `json:"burn,omitempty"`
}

// detectorKey is where a detector's state lies in storage.
func detectorKey(name string) string { return "detector/" + name }

// restoreLocked takes over what can be read. One part that cannot costs that part alone.
func (e *engine) restoreLocked(ctx context.Context, data []byte) error {
	var kept keptState
	if err := json.Unmarshal(data, &kept); err != nil {
		return fmt.Errorf("decode state: %w", err)
	}
	var errs error
	if kept.Loop != nil && e.cfg.Decider {
		errs = errors.Join(errs, e.loop.Restore(kept.Loop))
	}
	for _, d := range e.detectors.all {
		state, err := e.storage.Get(ctx, detectorKey(d.Name()))
		if state == nil && d.Name() == "burn" {
			state = kept.Burn
		}
		if err == nil && state != nil {
			err = d.Restore(state)
		}
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("detector %s: %w", d.Name(), err))
		}
	}
	for _, c := range kept.Changes {
		e.changes.add(c)
	}
	e.senders.restored(kept.Senders)
	e.now = eventClock{watermark: kept.Watermark, readAt: kept.ReadAt}
	e.due = kept.Due
	e.log.Info("state restored", zap.Int("signals", e.loop.Active()))
	return errs
}

// keep writes the state if it changed and enough time has passed.
func (e *engine) keep(ctx context.Context, clock time.Time) {
	e.stepping.Lock()
	defer e.stepping.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.storage != nil && e.dirty && !clock.Before(e.nextSave) {
		e.saveLocked(ctx)
	}
}

func (e *engine) saveLocked(ctx context.Context) {
	began := e.clock()
	err := e.writeLocked(ctx)
	ended := e.clock()
	e.nextSave = ended.Add(saveShare * ended.Sub(began))
	if err != nil {
		e.telemetry.OptimizerStorageErrors.Add(ctx, 1)
		e.log.Error("the state could not be kept", zap.Error(err))
		return
	}
	e.dirty = false
}

// writeLocked writes everything at once, so that the parts are of one moment.
func (e *engine) writeLocked(ctx context.Context) error {
	state, err := e.loop.Snapshot()
	if err != nil {
		return err
	}
	data, err := json.Marshal(keptState{Watermark: e.now.watermark, ReadAt: e.now.readAt, Due: e.due, Loop: state, Changes: e.changes.list(), Senders: e.senders})
	if err != nil {
		return err
	}
	ops := []*storage.Operation{storage.SetOperation(stateKey, data)}
	for _, d := range e.detectors.all {
		state, err := d.Snapshot()
		if err != nil {
			return fmt.Errorf("detector %s: %w", d.Name(), err)
		}
		ops = append(ops, storage.SetOperation(detectorKey(d.Name()), state))
	}
	return e.storage.Batch(ctx, ops...)
}
