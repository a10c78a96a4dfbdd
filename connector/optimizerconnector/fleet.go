// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/detect"
)

// Where several collectors share the telemetry, one decides. Each of the others sends what its detectors observed, and the changes it was
// told of, to that one as log records; the decider adds them up.

// statisticsEvent is the event name of a record whose body is a part of what a detector of another collector observed.
const statisticsEvent = "optimizer.statistics"

// The attributes of such a record. A sender numbers its records, so that one that is delivered twice counts once.
const (
	attrDetector = "optimizer.detector"
	attrSender   = "optimizer.sender"
	attrSequence = "optimizer.sequence"
)

const (
	// maxParcels bounds, in bytes, what waits to be sent to the decider.
	maxParcels = 16 << 20
	// maxBatch is about how much goes into one request.
	maxBatch = 1 << 20
	// maxStatistics bounds one record from another collector.
	maxStatistics = 4 << 20
)

// What became of a part.
const (
	statisticsMerged    = "merged"
	statisticsSent      = "sent"
	statisticsDropped   = "dropped"
	statisticsUnknown   = "unknown_detector"
	statisticsDamaged   = "damaged"
	statisticsNoDecider = "not_decider"
)

// parcel is a part, a change or an alert on its way to the decider.
type parcel struct {
	change   *detect.Change
	alert    *plog.Logs
	detector string
	sequence int64
	at       time.Time
	body     []byte
}

func (p *parcel) size() int {
	if p.alert != nil {
		return 512 + new(plog.ProtoMarshaler).LogsSize(*p.alert)
	}
	return 512 + len(p.body)
}

// part reports whether it is a part.
func (p *parcel) part() bool { return p.body != nil }

// parcels are what waits to be sent, oldest first.
type parcels struct {
	sender  string
	last    int64
	waiting []parcel
	bytes   int
}

// newSender returns a name that no other life of any collector has.
func newSender() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// add lets a parcel wait, and returns how many parts had to go for it.
func (p *parcels) add(one parcel) (dropped int) {
	if one.part() {
		p.last++
		one.sequence = p.last
	}
	p.waiting = append(p.waiting, one)
	p.bytes += one.size()
	for p.bytes > maxParcels {
		if p.waiting[0].part() {
			dropped++
		}
		p.bytes -= p.waiting[0].size()
		p.waiting = p.waiting[1:]
	}
	return dropped
}

// export takes the place of step where another collector decides.
func (e *engine) export(ctx context.Context, now time.Time) {
	var parts []parcel
	for _, d := range e.detectors.all {
		bodies, err := e.detectors.mergers[d.Name()].Export(now)
		if err != nil {
			e.log.Error("statistics cannot be exported", zap.String("detector", d.Name()), zap.Error(err))
		}
		for _, body := range bodies {
			parts = append(parts, parcel{detector: d.Name(), at: now, body: body})
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stepped = now
	for _, one := range parts {
		e.countStatistics(ctx, statisticsDropped, e.parcels.add(one))
	}
}

// exportRest hands over what was observed since the last evaluation, at an orderly end.
func (e *engine) exportRest(ctx context.Context) {
	e.stepping.Lock()
	defer e.stepping.Unlock()
	e.mu.Lock()
	now := e.now.watermark
	if now.Before(e.stepped) {
		now = e.stepped
	}
	e.mu.Unlock()
	if !now.IsZero() {
		e.export(ctx, now)
	}
}

// passOn lets an alert wait for the decider, which tells by the alert itself whether it knows it.
func (e *engine) passOn(ctx context.Context, resource pcommon.Resource, rec plog.LogRecord) {
	alert := plog.NewLogs()
	rl := alert.ResourceLogs().AppendEmpty()
	resource.CopyTo(rl.Resource())
	rec.CopyTo(rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty())
	e.mu.Lock()
	defer e.mu.Unlock()
	e.countStatistics(ctx, statisticsDropped, e.parcels.add(parcel{alert: &alert}))
}

func (e *engine) countStatistics(ctx context.Context, outcome string, n int) {
	if n > 0 {
		e.telemetry.OptimizerStatistics.Add(ctx, int64(n), metric.WithAttributes(attribute.String("statistics_outcome", outcome)))
	}
}

// sendParcels sends what waits, in order; sending is held. What the next consumer refuses for now waits for the next tick.
func (e *engine) sendParcels(ctx context.Context) {
	for {
		e.mu.Lock()
		batch, bytes := 0, 0
		for batch < len(e.parcels.waiting) && (batch == 0 || bytes+e.parcels.waiting[batch].size() <= maxBatch) {
			bytes += e.parcels.waiting[batch].size()
			batch++
		}
		waiting := e.parcels.waiting[:batch]
		e.parcels.waiting = e.parcels.waiting[batch:]
		e.parcels.bytes -= bytes
		e.mu.Unlock()
		if batch == 0 {
			return
		}
		logs, parts := e.packed(waiting)
		err := e.next.ConsumeLogs(ctx, logs)
		switch {
		case err == nil:
			e.countStatistics(ctx, statisticsSent, parts)
			continue
		case consumererror.IsPermanent(err):
			e.countStatistics(ctx, statisticsDropped, parts)
			e.log.Error("statistics were refused", zap.Int("parts", parts), zap.Error(err))
			continue
		}
		e.log.Warn("statistics wait: the next consumer refused them for now", zap.Int("parts", parts), zap.Error(err))
		e.mu.Lock()
		later := e.parcels.waiting
		e.parcels.waiting = append(waiting[:len(waiting):len(waiting)], later...)
		e.parcels.bytes += bytes
		e.mu.Unlock()
		return
	}
}

// packed returns parcels as log records, and how many of them are parts.
func (e *engine) packed(waiting []parcel) (logs plog.Logs, parts int) {
	logs = plog.NewLogs()
	observed := pcommon.NewTimestampFromTime(e.clock())
	records := plog.NewLogRecordSlice()
	for _, p := range waiting {
		switch {
		case p.change != nil:
			appendChange(logs, e.scope, e.version, observed, *p.change)
			continue
		case p.alert != nil:
			again := plog.NewLogs()
			p.alert.CopyTo(again)
			again.ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
			continue
		}
		rec := records.AppendEmpty()
		rec.SetEventName(statisticsEvent)
		rec.SetTimestamp(pcommon.NewTimestampFromTime(p.at))
		rec.SetObservedTimestamp(observed)
		rec.Body().SetEmptyBytes().FromRaw(p.body)
		rec.Attributes().PutStr(attrDetector, p.detector)
		rec.Attributes().PutStr(attrSender, e.parcels.sender)
		rec.Attributes().PutInt(attrSequence, p.sequence)
	}
	parts = records.Len()
	if parts > 0 {
		rl := logs.ResourceLogs().AppendEmpty()
		e.resource.CopyTo(rl.Resource())
		sl := rl.ScopeLogs().AppendEmpty()
		sl.Scope().SetName(e.scope)
		sl.Scope().SetVersion(e.version)
		records.MoveAndAppendTo(sl.LogRecords())
	}
	return logs, parts
}

// mergeStatistics adds one part from another collector and counts what became of it.
func (e *engine) mergeStatistics(ctx context.Context, rec plog.LogRecord, clock time.Time) {
	outcome, err := e.merge(rec, clock)
	if err != nil {
		e.log.Warn("statistics of another collector cannot be used", zap.Error(err))
	}
	e.countStatistics(ctx, outcome, 1)
}

func (e *engine) merge(rec plog.LogRecord, clock time.Time) (string, error) {
	if !e.cfg.Decider {
		return statisticsNoDecider, nil
	}
	r := &changeReader{}
	name, sender := r.text(rec.Attributes(), attrDetector), r.text(rec.Attributes(), attrSender)
	sequence, ok := rec.Attributes().Get(attrSequence)
	switch {
	case r.refused != "":
		return r.refused, nil
	case sender == "" || !ok || rec.Timestamp() == 0:
		return missingField, nil
	case sequence.Type() != pcommon.ValueTypeInt || rec.Body().Type() != pcommon.ValueTypeBytes:
		return wrongType, nil
	case sequence.Int() <= 0 || rec.Timestamp() > math.MaxInt64:
		return outOfRange, nil
	case rec.Body().Bytes().Len() > maxStatistics:
		return tooLong, nil
	case rec.Timestamp().AsTime().After(clock.Add(e.cfg.MaxFuture)):
		return future, nil
	}
	merger := e.detectors.mergers[name]
	if merger == nil {
		return statisticsUnknown, nil
	}
	e.mu.Lock()
	known := e.senders.known(sender, sequence.Int(), clock)
	e.mu.Unlock()
	if known != "" {
		return known, nil
	}
	// What is damaged has used its number up: the same bytes again would be no better.
	if err := merger.Merge(rec.Body().Bytes().AsRaw()); err != nil {
		return statisticsDamaged, errors.Join(errors.New(name), err)
	}
	return statisticsMerged, nil
}

// Merge adds statistics as if the requests had been observed here.
func (c *canaryAdapter) Merge(part []byte) error {
	return c.Detector.Merge(part, c.clock().Add(c.cfg.MaxFuture))
}

// Merge adds statistics as if the requests had been observed here.
func (f *flagImpactAdapter) Merge(part []byte) error {
	return f.Detector.Merge(part, f.clock().Add(f.cfg.MaxFuture))
}

// Merge adds statistics as if the requests had been observed here.
func (r *regressionAdapter) Merge(part []byte) error {
	return r.Detector.Merge(part, r.clock().Add(r.cfg.MaxFuture))
}
