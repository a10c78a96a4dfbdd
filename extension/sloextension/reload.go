// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/slo/openslo"
)

// reloads ticks when files are to be looked at; never where there are none.
func (x *sloExtension) reloads() *time.Ticker {
	if len(x.cfg.Files) > 0 && x.cfg.ReloadInterval > 0 {
		return time.NewTicker(x.cfg.ReloadInterval)
	}
	never := time.NewTicker(time.Hour)
	never.Stop()
	return never
}

// reload reads the files and, when they have changed, puts their objectives in force. What is wrong with them is logged once and leaves
// the objectives as they are. Either waits until two looks in a row find the same: one may have met a file half written.
func (x *sloExtension) reload(ctx context.Context) {
	defined, err := x.cfg.read()
	if look := fmt.Sprint(defined.fingerprint, err); look != x.look {
		x.look = look
		return
	}
	if err == nil && defined.fingerprint == x.defined.fingerprint {
		x.broken = ""
		return
	}
	if err == nil {
		err = checkConditions(defined.objectives)
	}
	if err == nil {
		err = x.redefine(ctx, defined)
	}
	if err != nil {
		if x.broken != err.Error() {
			x.broken = err.Error()
			x.telemetry.ExtensionSloReloads.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", "failure")))
			x.logger.Error("The files with objectives cannot be used; the objectives stay as they are.", zap.Error(err))
		}
		return
	}
	x.broken, x.defined = "", defined
	x.telemetry.ExtensionSloReloads.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", "success")))
	x.logger.Info("The objectives were read anew.", zap.Int("objectives", len(defined.objectives)))
	x.warn(defined.warnings)
}

// redefine saves the book first: an objective that goes leaves its state there, and finds it when it comes back.
func (x *sloExtension) redefine(ctx context.Context, d definitions) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	var get func(string) ([]byte, error)
	if x.client != nil {
		if err := x.saveLocked(ctx); err != nil {
			return err
		}
		get = func(key string) ([]byte, error) { return x.client.Get(ctx, key) }
	}
	damaged, err := x.engine.Redefine(d.objectives, d.maintenance, get)
	x.lost(ctx, damaged)
	return err
}

// lost tells of parts of the stored book that could not be used.
func (x *sloExtension) lost(ctx context.Context, damaged []error) {
	for _, d := range damaged {
		x.telemetry.ExtensionSloRestoreFailures.Add(ctx, 1)
		x.logger.Error("A part of the stored book is lost and starts empty.", zap.Error(d))
	}
}

func (x *sloExtension) warn(warnings []openslo.Problem) {
	for _, w := range warnings {
		x.logger.Warn(w.Reason, zap.Stringer("at", w.Position), zap.String("kind", w.Kind), zap.String("name", w.Name))
	}
}
