// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/metadata"
	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/recording"
)

// reason says why something was not played.
type reason string

const (
	reasonBrokenRecord  reason = "broken_record"
	reasonCorruptFile   reason = "corrupt_file"
	reasonEmptyRecord   reason = "empty_record"
	reasonNoPipeline    reason = "no_pipeline"
	reasonOpenFailed    reason = "open_failed"
	reasonRecordTooLong reason = "record_too_long"
	reasonShutdown      reason = "shutdown"
	reasonTruncatedFile reason = "truncated_file"
	reasonWrongSignal   reason = "wrong_signal"
)

// lineRepaired is the kind of the log lines about repaired timestamps.
const lineRepaired reason = "repaired"

// linesPerReason bounds the log lines about defects of one signal and reason; the counters go on.
const linesPerReason = 10

// reasonOf names a defect.
func reasonOf(err error) reason {
	var broken *recording.Error
	switch {
	case errors.Is(err, recording.ErrTruncated):
		return reasonTruncatedFile
	case errors.Is(err, recording.ErrCorrupt):
		return reasonCorruptFile
	case errors.Is(err, recording.ErrTooLong):
		return reasonRecordTooLong
	case errors.Is(err, errEmpty):
		return reasonEmptyRecord
	case errors.Is(err, errWrongSignal):
		return reasonWrongSignal
	case errors.As(err, &broken):
		return reasonBrokenRecord
	default:
		return reasonOpenFailed
	}
}

// score keeps the account of a replay: every record read is emitted, refused or skipped for a reason. It is safe for concurrent use.
type score struct {
	metrics *metadata.TelemetryBuilder
	ctx     context.Context // of every measurement: they are about the recording and belong to no request

	total  atomic.Int64 // bytes of the recording
	played atomic.Int64 // of them, those behind us in this pass
	lag    atomic.Int64 // nanoseconds behind schedule
	passes atomic.Int64

	items          [len(signals)]atomic.Int64
	records        [len(signals)]atomic.Int64
	refusedItems   atomic.Int64
	skippedRecords atomic.Int64

	attrs [len(signals)]metric.MeasurementOption // the signal's attribute set

	mu    sync.Mutex
	lines map[defectKind]int // log lines written; guarded by mu
}

// defectKind is what log lines about defects are counted by.
type defectKind struct {
	signal signal
	reason reason
}

func newScore(set component.TelemetrySettings) (*score, error) {
	builder, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	sc := &score{metrics: builder, ctx: context.Background(), lines: map[defectKind]int{}}
	for _, s := range signals {
		sc.attrs[s] = metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", s.String())))
	}
	err = errors.Join(
		builder.RegisterReceiverReplayProgressCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(sc.progress())
			return nil
		}),
		builder.RegisterReceiverReplayLagCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(time.Duration(sc.lag.Load()).Seconds())
			return nil
		}),
	)
	return sc, err
}

func (sc *score) close() { sc.metrics.Shutdown() }

// progress returns the share of the recording that is behind us in this pass.
func (sc *score) progress() float64 {
	total := sc.total.Load()
	if total == 0 {
		return 0
	}
	return float64(sc.played.Load()) / float64(total)
}

// read counts a record taken in hand and the bytes it took in the file.
func (sc *score) read(s signal, bytes int64) {
	sc.metrics.ReceiverReplayRecordsRead.Add(sc.ctx, 1, sc.attrs[s])
	sc.readTail(s, bytes)
}

// readTail counts bytes that hold no record.
func (sc *score) readTail(s signal, bytes int64) {
	sc.metrics.ReceiverReplayBytesRead.Add(sc.ctx, bytes, sc.attrs[s])
	sc.played.Add(bytes)
}

// passOver moves progress on by bytes that were not read.
func (sc *score) passOver(bytes int64) { sc.played.Add(bytes) }

// rewind begins the next pass.
func (sc *score) rewind() { sc.played.Store(0) }

func (sc *score) passDone() {
	sc.passes.Add(1)
	sc.metrics.ReceiverReplayPasses.Add(sc.ctx, 1)
}

func (sc *score) emitted(s signal, items int) {
	sc.records[s].Add(1)
	sc.metrics.ReceiverReplayRecordsEmitted.Add(sc.ctx, 1, sc.attrs[s])
	sc.emittedPart(s, items)
}

// emittedPart counts items of a request that the pipeline took in part.
func (sc *score) emittedPart(s signal, items int) {
	sc.items[s].Add(int64(items))
	sc.metrics.ReceiverReplayItemsEmitted.Add(sc.ctx, int64(items), sc.attrs[s])
}

func (sc *score) emittedRecords() (n int64) {
	for i := range sc.records {
		n += sc.records[i].Load()
	}
	return n
}

func (sc *score) refused(s signal, items int) {
	sc.refusedItems.Add(int64(items))
	sc.metrics.ReceiverReplayRecordsRefused.Add(sc.ctx, 1, sc.attrs[s])
	sc.metrics.ReceiverReplayItemsRefused.Add(sc.ctx, int64(items), sc.attrs[s])
}

func (sc *score) retried(s signal) {
	sc.metrics.ReceiverReplayRetries.Add(sc.ctx, 1, sc.attrs[s])
}

func (sc *score) skipped(s signal, why reason) {
	sc.skippedRecords.Add(1)
	sc.metrics.ReceiverReplayRecordsSkipped.Add(sc.ctx, 1, withReason(s, why))
}

func (sc *score) repaired(s signal, timestamps int) {
	sc.metrics.ReceiverReplayTimestampsRepaired.Add(sc.ctx, int64(timestamps), sc.attrs[s])
}

func (sc *score) fileSkipped(s signal, why reason, files int64) {
	sc.metrics.ReceiverReplayFilesSkipped.Add(sc.ctx, files, withReason(s, why))
}

func withReason(s signal, why reason) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", s.String()), attribute.String("reason", string(why))))
}

// worthALine reports whether a defect may still be written to the log, and counts it as written.
func (sc *score) worthALine(s signal, why reason) bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.lines[defectKind{s, why}]++
	return sc.lines[defectKind{s, why}] <= linesPerReason
}

// totals are the account as log fields.
func (sc *score) totals() []zap.Field {
	return []zap.Field{
		zap.Int64("spans", sc.items[signalTraces].Load()),
		zap.Int64("data_points", sc.items[signalMetrics].Load()),
		zap.Int64("log_records", sc.items[signalLogs].Load()),
		zap.Int64("refused_items", sc.refusedItems.Load()),
		zap.Int64("skipped_records", sc.skippedRecords.Load()),
		zap.Int64("passes", sc.passes.Load()),
	}
}

// attributes are the account as attributes of a status event.
func (sc *score) attributes(state string) pcommon.Map {
	m := pcommon.NewMap()
	m.PutStr("replay.state", state)
	m.PutInt("replay.spans", sc.items[signalTraces].Load())
	m.PutInt("replay.data_points", sc.items[signalMetrics].Load())
	m.PutInt("replay.log_records", sc.items[signalLogs].Load())
	m.PutInt("replay.refused_items", sc.refusedItems.Load())
	m.PutInt("replay.skipped_records", sc.skippedRecords.Load())
	return m
}

// narrate writes a progress line every interval until the returned function is called or ctx ends.
func (sc *score) narrate(ctx context.Context, log *zap.Logger, interval time.Duration) (quiet func()) {
	if interval == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for wait(ctx, interval) {
			log.Info("Replay is under way", append(sc.totals(), zap.Float64("progress", sc.progress()),
				zap.Duration("behind_schedule", time.Duration(sc.lag.Load())))...)
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}
