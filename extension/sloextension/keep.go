// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/slo"
)

func (x *sloExtension) restore(ctx context.Context, host component.Host) error {
	found, ok := host.GetExtensions()[*x.cfg.Storage]
	if !ok {
		return fmt.Errorf("storage: extension %q is not running", x.cfg.Storage)
	}
	store, ok := found.(storage.Extension)
	if !ok {
		return fmt.Errorf("storage: extension %q %w", x.cfg.Storage, errNotStorage)
	}
	client, err := store.GetClient(ctx, component.KindExtension, x.id, "")
	if err != nil {
		return fmt.Errorf("storage %q: %w", x.cfg.Storage, err)
	}
	damaged, err := x.engine.Restore(func(key string) ([]byte, error) { return client.Get(ctx, key) })
	if err != nil {
		return errors.Join(fmt.Errorf("the book in storage %q cannot be used: %w", x.cfg.Storage, err), client.Close(ctx))
	}
	x.client = client
	x.engine.Journal()
	x.lost(ctx, damaged)
	if n := x.engine.Stats().EventsInDoubt; n > 0 {
		x.logger.Warn("The collector was killed while slo.events were on their way: they are sent again, and what merges them may count them twice.", zap.Uint64("events", n))
	}
	x.logger.Info("The book was restored.", zap.String("book", x.engine.Describe()))
	return nil
}

// Commit counts a tally and, with journal: always, returns once a restart would know of it.
func (x *sloExtension) Commit(ctx context.Context, t *slo.Tally, now time.Time) {
	x.engine.Commit(t, now)
	if x.client != nil && x.cfg.Journal == journalAlways {
		x.Sync(ctx)
	}
}

// Sync writes what waits to be journalled. Those who come while another writes wait for it, and are then mostly served by the next
// write together: a slow disk makes larger writes, not a longer queue.
//
// A write that fails is logged and counted, and what it held is written with the next. The event is in the book, so its sender must not be told
// to send it again.
func (x *sloExtension) Sync(ctx context.Context) {
	if x.client == nil {
		return
	}
	ticket := x.asked.Add(1)
	x.writing.Lock()
	defer x.writing.Unlock()
	if x.served >= ticket {
		return
	}
	covers := x.asked.Load()
	ctx = context.WithoutCancel(ctx)
	part, full := x.engine.TakeJournal()
	if part.Key != "" {
		if err := x.client.Batch(ctx, storage.SetOperation(part.Key, part.Value)); err != nil {
			x.engine.JournalFailed(part)
			x.telemetry.ExtensionSloJournalFailures.Add(ctx, 1)
			x.failed.Do(func() {
				x.logger.Error("The journal could not be written: a crash now loses events. More of the same are only counted, in otelcol_extension_slo_journal_failures.", zap.Error(err))
			})
			return
		}
		x.telemetry.ExtensionSloJournalBytes.Add(ctx, int64(len(part.Value)))
	}
	x.served = covers
	if full {
		if err := x.saveLocked(ctx); err != nil {
			x.logger.Error("The book could not be saved; the next snapshot will be a whole one.", zap.Error(err))
		}
	}
}

// save writes what changed in one transaction.
func (x *sloExtension) save(ctx context.Context) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	return x.saveLocked(ctx)
}

func (x *sloExtension) saveLocked(ctx context.Context) error {
	parts := x.engine.Snapshot()
	if len(parts) == 0 {
		return nil
	}
	ops := make([]*storage.Operation, 0, len(parts))
	size := 0
	for _, p := range parts {
		if p.Delete {
			ops = append(ops, storage.DeleteOperation(p.Key))
			continue
		}
		size += len(p.Value)
		ops = append(ops, storage.SetOperation(p.Key, p.Value))
	}
	if err := x.client.Batch(ctx, ops...); err != nil {
		x.engine.SnapshotFailed()
		x.telemetry.ExtensionSloSnapshotFailures.Add(ctx, 1)
		return fmt.Errorf("write a snapshot of %d parts: %w", len(parts), err)
	}
	x.telemetry.ExtensionSloSnapshotBytes.Add(ctx, int64(size))
	return nil
}
