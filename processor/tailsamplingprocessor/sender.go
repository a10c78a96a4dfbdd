// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/sampling"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

const (
	// maxRequest is the size a request to the next component grows to, give or take a trace.
	maxRequest = 512 << 10
	// The wait between two tries doubles from the first to the longest.
	firstRetry, longestRetry = 50 * time.Millisecond, 5 * time.Second
	// lastTries bounds how long shutdown offers kept spans to a destination that refuses them, when its context sets no end.
	lastTries = 10 * time.Second
)

// sender delivers kept traces in order, again and again until they are taken. Up to its limit of bytes may be pending.
type sender struct {
	next      consumer.Traces
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	annotate  annotator
	holder    holder
	limit     int64
	started   bool
	// durable output is not lost when it is given up: it comes again after a restart.
	durable bool
	// buf and decoder are scratch space of run.
	buf     []byte
	decoder decoder

	// mu guards what follows. changed is closed, and made anew, whenever queue or pending change.
	mu      sync.Mutex
	queue   []sampling.Kept
	pending int64
	// queued and sent count kept traces, and late spans by the request.
	queued, sent uint64
	closing      bool
	changed      chan struct{}

	// giveUp ends retries.
	giveUp chan struct{}
	done   chan struct{}
}

// holder has what is kept in memory until it is delivered.
type holder interface {
	// views readies kept traces for decoding.
	views(kept []sampling.Kept)
	// delivered lets go of them.
	delivered(kept []sampling.Kept)
}

func newSender(cfg *Config, set processor.Settings, names []string, telemetry *metadata.TelemetryBuilder, next consumer.Traces, h holder) *sender {
	return &sender{
		next: next, logger: set.Logger, telemetry: telemetry, holder: h,
		annotate: newAnnotator(cfg, names, telemetry),
		limit:    int64(cfg.MemoryLimitMiB) << 20 / 4,
		changed:  make(chan struct{}),
		giveUp:   make(chan struct{}),
		done:     make(chan struct{}),
	}
}

func (s *sender) start(durable bool) {
	s.started, s.durable = true, durable
	go s.run()
}

func (s *sender) signalLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// send queues what was kept.
func (s *sender) send(out *sampling.Outputs) {
	if len(out.Kept)+len(out.Late) == 0 {
		return
	}
	s.mu.Lock()
	for _, list := range [2][]sampling.Kept{out.Kept, out.Late} {
		s.queue = append(s.queue, list...)
		s.queued += uint64(len(list))
		for i := range list {
			s.pending += list[i].Bytes
		}
	}
	s.signalLocked()
	s.mu.Unlock()
}

// progress is how much was queued and how much of it is out of the way.
func (s *sender) progress() (queued, sent uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued, s.sent
}

// waitForRoom returns once less is pending than may be.
func (s *sender) waitForRoom(ctx context.Context, stop <-chan struct{}) error {
	for {
		s.mu.Lock()
		room, changed := s.pending < s.limit, s.changed
		s.mu.Unlock()
		if room {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			return errStopped
		}
	}
}

// take waits for something to send and takes about a request's worth.
func (s *sender) take() (kept []sampling.Kept, bytes int64) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			n := 0
			for n < len(s.queue) && (n == 0 || bytes < maxRequest) {
				bytes += s.queue[n].Bytes
				n++
			}
			kept = append(kept, s.queue[:n]...)
			clear(s.queue[:n])
			if s.queue = s.queue[n:]; len(s.queue) == 0 {
				s.queue = nil
			}
			s.mu.Unlock()
			return kept, bytes
		}
		closing, changed := s.closing, s.changed
		s.mu.Unlock()
		if closing {
			return nil, 0
		}
		<-changed
	}
}

func (s *sender) run() {
	defer close(s.done)
	// The record of the policy goes onto scopes, which traces then must not share.
	w := sampling.Writer{Apart: gateRecordPolicy.IsEnabled()}
	for {
		kept, bytes := s.take()
		if len(kept) == 0 {
			return
		}
		done := s.deliver(&w, kept)
		s.holder.delivered(kept)
		s.mu.Lock()
		if done {
			s.sent += uint64(len(kept))
		}
		s.pending -= bytes
		s.signalLocked()
		s.mu.Unlock()
	}
}

// build decodes kept traces.
func (s *sender) build(w *sampling.Writer, kept []sampling.Kept) ptrace.Traces {
	s.holder.views(kept)
	var spans int64
	for i := range kept {
		if err := w.Add(&kept[i]); err != nil {
			s.lost(int64(kept[i].Spans), "corrupt", err)
			continue
		}
		spans += int64(kept[i].Spans)
	}
	td, err := s.decode(w)
	if err != nil {
		s.lost(spans, "corrupt", err)
		return ptrace.NewTraces()
	}
	s.annotate.traces(td, kept)
	return td
}

func (s *sender) decode(w *sampling.Writer) (ptrace.Traces, error) {
	defer w.Reset()
	s.buf = w.AppendShell(s.buf[:0])
	if td, ok := s.decoder.traces(w, s.buf); ok {
		return td, nil
	}
	s.buf = w.AppendTo(s.buf[:0])
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(s.buf)
	if err != nil {
		return td, fmt.Errorf("decoding kept spans: %w", err)
	}
	return td, nil
}

func (s *sender) lost(spans int64, reason string, err error) {
	s.telemetry.ProcessorTailSamplingKeptSpansLost.Add(context.Background(), spans, metric.WithAttributes(attribute.String("reason", reason)))
	s.logger.Error("Kept spans are lost", zap.String("reason", reason), zap.Int64("spans", spans), zap.Error(err))
}

// deliver offers traces until they are taken, are refused for good, or the time of shutdown is up. Each try is made of
// fresh copies, since the next component may have changed what it refused. Of traces taken in part, the rest is offered again.
func (s *sender) deliver(w *sampling.Writer, kept []sampling.Kept) (done bool) {
	td := s.build(w, kept)
	var rest *ptrace.Traces
	for wait := firstRetry; td.SpanCount() > 0; wait = min(2*wait, longestRetry) {
		spans := int64(td.SpanCount())
		err := s.next.ConsumeTraces(context.Background(), td)
		if err == nil {
			return true
		}
		if consumererror.IsPermanent(err) {
			s.lost(spans, "permanent_error", err)
			return true
		}
		s.telemetry.ProcessorTailSamplingRetries.Add(context.Background(), 1)
		if part := refused(err); part != nil {
			rest = part
			spans = int64(rest.SpanCount())
		}
		select {
		case <-s.giveUp:
			if !s.durable {
				s.lost(spans, "shutdown", err)
			}
			return false
		case <-time.After(wait):
		}
		if rest == nil {
			td = s.build(w, kept)
			continue
		}
		td = ptrace.NewTraces()
		rest.CopyTo(td)
	}
	return true
}

// refused is the part that the next component did not take, when it says so.
func refused(err error) *ptrace.Traces {
	var partial consumererror.Traces
	if !errors.As(err, &partial) {
		return nil
	}
	td := partial.Data()
	return &td
}

// shutdown delivers what is queued as long as ctx allows.
func (s *sender) shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	s.signalLocked()
	s.mu.Unlock()
	if !s.started {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastTries)
	defer cancel()
	select {
	case <-s.done:
	case <-ctx.Done():
		close(s.giveUp)
		<-s.done
	}
}
