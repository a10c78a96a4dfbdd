// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"slices"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/signallog"
)

func (e *engine) dropped(ctx context.Context, reason string, n int) {
	e.telemetry.OptimizerSignalsDropped.Add(ctx, int64(n), metric.WithAttributes(attribute.String("drop_reason", reason)))
}

// enqueueLocked lets the envelopes of one moment wait. What was refused before makes room for them; they themselves are offered at least
// once, however many they are.
func (e *engine) enqueueLocked(ctx context.Context, said []signal.Envelope) {
	e.outbox = append(e.outbox, said...)
	over := len(e.outbox) - e.cfg.OutboxSize
	over = max(min(over, e.refused), over-e.cfg.MaxActiveSignals, 0)
	if over > 0 {
		e.outbox = slices.Delete(e.outbox, 0, over)
		e.refused = max(e.refused-over, 0)
		e.dropped(ctx, "outbox_full", over)
	}
}

// flush publishes and sends what waits, in order. What the next consumer refuses for now waits for the next tick.
func (e *engine) flush(ctx context.Context) {
	e.sending.Lock()
	defer e.sending.Unlock()
	if !e.cfg.Decider {
		e.sendParcels(ctx)
		return
	}
	e.mu.Lock()
	waiting, changes := e.outbox, e.changes.unsent
	e.outbox, e.changes.unsent, e.refused = nil, nil, 0
	e.mu.Unlock()
	if len(changes) > 0 {
		e.tellChanges(ctx, changes)
	}
	if len(waiting) == 0 {
		return
	}
	e.publish(ctx, waiting)
	logs := plog.NewLogs()
	observed := pcommon.NewTimestampFromTime(e.clock())
	sent := waiting[:0:0]
	for _, envelope := range waiting {
		if err := signallog.Append(logs, e.scope, e.version, observed, envelope); err != nil {
			e.dropped(ctx, "encode_failed", 1)
			e.log.Error("signal cannot be encoded", zap.String("id", envelope.ID), zap.Error(err))
			continue
		}
		sent = append(sent, envelope)
	}
	if len(sent) == 0 {
		return
	}
	err := e.next.ConsumeLogs(ctx, logs)
	switch {
	case err == nil:
		for _, envelope := range sent {
			e.telemetry.OptimizerSignalsEmitted.Add(ctx, 1, metric.WithAttributes(
				attribute.String("kind", envelope.Kind), attribute.String("state", string(envelope.State))))
		}
	case consumererror.IsPermanent(err):
		e.dropped(ctx, "refused", len(sent))
		e.log.Error("signals were refused", zap.Int("signals", len(sent)), zap.Error(err))
	default:
		e.log.Warn("signals wait: the next consumer refused them for now", zap.Int("signals", len(sent)), zap.Error(err))
		e.putBack(ctx, sent)
	}
}

// tellChanges sends the changes that were seen in telemetry, for backends to mark. They are in the detectors' hands already, so those
// that the next consumer refuses are lost to backends alone, and counted.
func (e *engine) tellChanges(ctx context.Context, changes []detect.Change) {
	logs := plog.NewLogs()
	observed := pcommon.NewTimestampFromTime(e.clock())
	for _, c := range changes {
		appendChange(logs, e.scope, e.version, observed, c)
	}
	if err := e.next.ConsumeLogs(ctx, logs); err != nil {
		for range changes {
			e.countChange(ctx, "not_told")
		}
		e.log.Warn("changes seen in telemetry were not told", zap.Int("changes", len(changes)), zap.Error(err))
	}
}

// publish records the envelopes that are not recorded yet and takes over their audit entries.
func (e *engine) publish(ctx context.Context, waiting []signal.Envelope) {
	if e.board == nil {
		return
	}
	for i := range waiting {
		if waiting[i].Audit != nil {
			continue
		}
		recorded, err := e.board.PublishSignal(ctx, waiting[i])
		if err != nil {
			e.telemetry.OptimizerBoardErrors.Add(ctx, 1)
			e.log.Warn("signal was not recorded on the board", zap.String("id", waiting[i].ID), zap.Error(err))
			continue
		}
		waiting[i] = recorded
	}
}

// putBack lets refused envelopes wait before those that came meanwhile.
func (e *engine) putBack(ctx context.Context, refused []signal.Envelope) {
	e.mu.Lock()
	defer e.mu.Unlock()
	said := e.outbox
	e.outbox, e.refused = refused, len(refused)
	if over := e.refused - e.cfg.OutboxSize; over > 0 {
		e.outbox, e.refused = slices.Delete(e.outbox, 0, over), e.cfg.OutboxSize
		e.dropped(ctx, "outbox_full", over)
	}
	e.enqueueLocked(ctx, said)
}
