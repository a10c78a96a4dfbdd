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
		err = e.restoreLocked(data)
	}
	if err != nil {
		e.telemetry.OptimizerStorageErrors.Add(ctx, 1)
		e.log.Error("kept signals cannot be read; starting without them", zap.Error(err))
	}
	return nil
}

// keptState is the form in which the state lies in storage.
type keptState struct {
	Watermark time.Time       `json:"watermark"`
	ReadAt    time.Time       `json:"read_at"`
	Burn      json.RawMessage `json:"burn"`
}

func (e *engine) restoreLocked(data []byte) error {
	var kept keptState
	if err := json.Unmarshal(data, &kept); err != nil {
		return fmt.Errorf("decode state: %w", err)
	}
	if err := e.detector.Restore(kept.Burn); err != nil {
		return err
	}
	e.now = eventClock{watermark: kept.Watermark, readAt: kept.ReadAt}
	e.log.Info("signals restored", zap.Int("firing", e.detector.Active()))
	return nil
}

func (e *engine) saveLocked(ctx context.Context) {
	began := e.clock()
	err := e.writeLocked(ctx)
	ended := e.clock()
	e.nextSave = ended.Add(saveShare * ended.Sub(began))
	if err != nil {
		e.telemetry.OptimizerStorageErrors.Add(ctx, 1)
		e.log.Error("signals could not be kept", zap.Error(err))
		return
	}
	e.dirty = false
}

func (e *engine) writeLocked(ctx context.Context) error {
	state, err := e.detector.Snapshot()
	if err != nil {
		return err
	}
	data, err := json.Marshal(keptState{Watermark: e.now.watermark, ReadAt: e.now.readAt, Burn: state})
	if err != nil {
		return err
	}
	return e.storage.Set(ctx, stateKey, data)
}
