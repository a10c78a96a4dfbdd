// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/sampling"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

// logInterval is how often log records whose fate is known are sent on.
const logInterval = 200 * time.Millisecond

var errLogsFull = errors.New("tail_sampling holds as many kept log records as memory allows; the next component does not take them")

// logSampler is the processor of logs pipelines: it keeps the log records of kept traces, and those without a trace.
type logSampler struct {
	set       processor.Settings
	cfg       *Config
	telemetry *metadata.TelemetryBuilder
	next      consumer.Logs
	groups    *groups
	shared    *shared

	stopping sync.Once
	// taking is held for reading while records are taken in; stopped is written under it.
	taking  sync.RWMutex
	stopped bool
	// cancel ends run; nil before the start.
	cancel context.CancelFunc
	done   chan struct{}
	// alone is set when no traces pipeline decides on anything.
	alone bool
}

var _ processor.Logs = (*logSampler)(nil)

func newLogSampler(set processor.Settings, cfg *Config, next consumer.Logs, g *groups) (*logSampler, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("own telemetry: %w", err)
	}
	return &logSampler{
		set: set, cfg: cfg, telemetry: telemetry, next: next, groups: g, shared: g.join(set.ID, cfg, false),
		done: make(chan struct{}),
	}, nil
}

// Capabilities implements consumer.Logs: records are copied.
func (*logSampler) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start implements component.Component.
func (l *logSampler) Start(ctx context.Context, _ component.Host) error {
	if l.alone = !l.groups.decides(l.shared); l.alone {
		l.set.Logger.Error("tail_sampling in a logs pipeline keeps the logs of kept traces, and there is no traces pipeline with tail_sampling under the same component ID: all log records pass")
	}
	// What is sent may take longer than the start does.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	go l.run(ctx)
	return nil
}

// Shutdown implements component.Component. What still waits goes the way of undecided records.
func (l *logSampler) Shutdown(ctx context.Context) error {
	l.stopping.Do(func() {
		if l.cancel != nil {
			l.cancel()
			<-l.done
			// What is taken in counts as delivered to those who sent it, so it must be in before the last records go.
			l.taking.Lock()
			l.stopped = true
			l.taking.Unlock()
			l.shared.logs.Expire(time.Now(), true)
			ctx, cancel := context.WithTimeout(ctx, lastTries)
			defer cancel()
			l.send(ctx, true)
		}
		l.groups.leave(l.set.ID, l.shared)
		l.telemetry.Shutdown()
	})
	return nil
}

func (l *logSampler) run(ctx context.Context) {
	defer close(l.done)
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			l.shared.logs.Expire(now, false)
			l.send(ctx, false)
			l.telemetry.ProcessorTailSamplingLogBytes.Record(ctx, l.shared.logs.Bytes())
		}
	}
}

// send delivers what is settled, again and again until it is taken or ctx ends. Then it stays where it is, unless this is the last time.
func (l *logSampler) send(ctx context.Context, last bool) {
	settled := l.shared.logs.Settled()
	if len(settled) == 0 {
		return
	}
	out := plog.NewLogs()
	for i := range settled {
		if settled[i].Data == nil {
			continue
		}
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(settled[i].Data)
		if err != nil {
			l.lost(settled[i].Records, err)
			continue
		}
		ld.ResourceLogs().MoveAndAppendTo(out.ResourceLogs())
	}
	if !l.deliver(ctx, out, last) {
		return
	}
	for i := range settled {
		l.add(fates[settled[i].Fate], settled[i].Records)
	}
	l.shared.logs.Sent(len(settled))
}

func (l *logSampler) deliver(ctx context.Context, out plog.Logs, last bool) bool {
	for wait := firstRetry; out.LogRecordCount() > 0; wait = min(2*wait, longestRetry) {
		offered := plog.NewLogs()
		out.CopyTo(offered)
		err := l.next.ConsumeLogs(ctx, offered)
		if err == nil {
			return true
		}
		if consumererror.IsPermanent(err) {
			l.lost(out.LogRecordCount(), err)
			return true
		}
		var partial consumererror.Logs
		if errors.As(err, &partial) {
			out = plog.NewLogs()
			partial.Data().CopyTo(out)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if last {
				l.lost(out.LogRecordCount(), err)
			}
			return last
		}
	}
	return true
}

func (l *logSampler) lost(records int, err error) {
	l.add("lost", records)
	l.set.Logger.Error("Kept log records are lost", zap.Int("records", records), zap.Error(err))
}

var fates = map[sampling.LogFate]string{
	sampling.LogKept: "kept", sampling.LogDropped: "dropped", sampling.LogUndecided: "undecided", sampling.LogOverflow: "overflow",
}

func (l *logSampler) add(fate string, records int) {
	if records > 0 {
		l.telemetry.ProcessorTailSamplingLogRecords.Add(context.Background(), int64(records), metric.WithAttributes(attribute.String("fate", fate)))
	}
}

// ConsumeLogs implements consumer.Logs. Records without a trace, and those of a trace that is kept, go on at once; the others wait.
func (l *logSampler) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	l.taking.RLock()
	defer l.taking.RUnlock()
	switch {
	case l.stopped:
		return errStopped
	case l.alone:
		return l.next.ConsumeLogs(ctx, ld)
	}
	if l.shared.logs.Full() {
		return errLogsFull
	}
	now := plog.NewLogs()
	parts := make(map[sampling.TraceID]*logPart)
	var order []sampling.TraceID
	direct := logPart{logs: now}
	var untraced, dropped int
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				id := sampling.TraceID(record.TraceID())
				fate := sampling.LogKept
				if !record.TraceID().IsEmpty() {
					fate = l.shared.logs.Fate(id)
				} else {
					untraced++
				}
				switch fate {
				case sampling.LogKept:
					direct.add(rl, sl, record)
				case sampling.LogDropped:
					dropped++
				default:
					part := parts[id]
					if part == nil {
						part = &logPart{logs: plog.NewLogs()}
						parts[id] = part
						order = append(order, id)
					}
					part.add(rl, sl, record)
				}
			}
		}
	}
	// What is refused here comes again, so nothing may wait or be counted before.
	kept := now.LogRecordCount() - untraced
	if now.LogRecordCount() > 0 {
		if err := l.next.ConsumeLogs(ctx, now); err != nil {
			return err
		}
	}
	l.add("untraced", untraced)
	l.add("kept", kept)
	l.add("dropped", dropped)
	for _, id := range order {
		part := parts[id]
		data, err := (&plog.ProtoMarshaler{}).MarshalLogs(part.logs)
		if err != nil {
			l.lost(part.records, err)
			continue
		}
		l.shared.logs.Add(sampling.LogChunk{Trace: id, Data: data, Records: part.records}, part.severity, time.Now())
	}
	return nil
}

// logPart gathers records that go one way.
type logPart struct {
	logs     plog.Logs
	records  int
	severity uint8

	// Where the last record came from and went to.
	fromResource plog.ResourceLogs
	fromScope    plog.ScopeLogs
	resource     plog.ResourceLogs
	scope        plog.ScopeLogs
}

func (p *logPart) add(rl plog.ResourceLogs, sl plog.ScopeLogs, record plog.LogRecord) {
	fresh := p.records == 0 || p.fromResource != rl
	if fresh {
		p.fromResource = rl
		p.resource = p.logs.ResourceLogs().AppendEmpty()
		rl.Resource().CopyTo(p.resource.Resource())
		p.resource.SetSchemaUrl(rl.SchemaUrl())
	}
	if fresh || p.fromScope != sl {
		p.fromScope = sl
		p.scope = p.resource.ScopeLogs().AppendEmpty()
		sl.Scope().CopyTo(p.scope.Scope())
		p.scope.SetSchemaUrl(sl.SchemaUrl())
	}
	record.CopyTo(p.scope.LogRecords().AppendEmpty())
	p.records++
	p.severity = max(p.severity, uint8(min(max(record.SeverityNumber(), 0), plog.SeverityNumberFatal4)))
}
