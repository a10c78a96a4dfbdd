// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/sampling"
	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

const (
	// keptDetails is how many kept traces late spans find the policy and threshold of.
	keptDetails = 20_000
	// seenShapes bounds the trace shapes that count as known.
	seenShapes = 50_000
	// decideAtOnce bounds the traces decided together, lookAtOnce those looked at while nothing can come in.
	decideAtOnce, lookAtOnce = 2048, 64
	// headroom is the part of the memory limit that is left for what is not counted: coders, requests being taken in, one being sent.
	headroom = 16
	// maxTick is the grain of waiting times, and how often what is due is decided.
	maxTick = time.Second
)

var errStopped = errors.New("tail_sampling is shut down")

// sampler is the processor: it takes requests apart in the goroutine that brings them, lets the engine hold and decide, and sends what is
// kept from a goroutine of its own.
type sampler struct {
	cfg        *Config
	set        processor.Settings
	telemetry  *metadata.TelemetryBuilder
	program    *sampling.Program
	conditions []*condition
	report     *reporter
	out        *sender
	tick       time.Duration
	limit      int64
	intakes    sync.Pool
	slo        slo.StatusReader
	// citers tell which traces are cited, asked last at.
	citers []citer
	asked  time.Time
	// journal is nil without storage; journals is shared by the factory's processors.
	journal  *journal
	journals *journals
	// shared is what pipelines with the same component ID have in common.
	shared *shared
	groups *groups

	// mu guards engine and freed. With block_on_overflow, freed is closed, and made anew, whenever traces have been decided.
	mu     sync.Mutex
	engine *sampling.Engine
	freed  chan struct{}

	// taking is held for reading while a request is taken in; shutdown waits for those on their way.
	taking sync.RWMutex
	stop   chan struct{}
	done   chan struct{}
}

var _ processor.Traces = (*sampler)(nil)

func newSampler(set processor.Settings, cfg *Config, next consumer.Traces, open *journals, same *groups) (*sampler, error) {
	program, conditions, err := compilePolicies(cfg, set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("own telemetry: %w", err)
	}
	s := &sampler{
		cfg: cfg, set: set, telemetry: telemetry, program: program, conditions: conditions,
		report:   newReporter(telemetry, set.ID, program),
		tick:     tickOf(cfg.DecisionWait),
		limit:    int64(cfg.MemoryLimitMiB) << 20,
		intakes:  sync.Pool{New: func() any { return new(intake) }},
		journals: open,
		freed:    make(chan struct{}),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		groups:   same,
	}
	settings := cfg.settings(s.tick, s.limit-s.limit/headroom)
	s.shared = same.join(set.ID, cfg, true)
	settings.Decisions, settings.Logs = s.shared.decisions, s.shared.logs
	s.engine, err = sampling.New(settings, program, time.Now())
	if err != nil {
		same.leave(set.ID, s.shared)
		return nil, err
	}
	s.out = newSender(cfg, set, program.Names(), telemetry, next, s)
	return s, nil
}

// tickOf is a second, or less where less is waited.
func tickOf(wait time.Duration) time.Duration {
	return max(10*time.Millisecond, min(wait, maxTick))
}

func (c *Config) settings(tick time.Duration, limit int64) sampling.Settings {
	return sampling.Settings{
		DecisionWait: c.DecisionWait, WaitAfterRoot: c.DecisionWaitAfterRootReceived, Tick: tick,
		MaxTraces: int(c.NumTraces), Block: c.BlockOnOverflow, MemoryLimit: limit, MaxTraceBytes: c.MaximumTraceSizeBytes,
		FirstMatch: c.SampleOnFirstMatch, SpanIngest: c.SamplingStrategy == strategySpanIngest,
		WaitAfterComplete: c.DecisionWaitAfterComplete,
		Seen:              seenShapes, Budget: c.Budget.settings(),
		Trial: sampling.Trial{FirstMatch: c.DryRun.SampleOnFirstMatch, Budget: c.DryRun.Budget.settings()},
	}
}

func (c *BudgetConfig) settings() sampling.Budget {
	b := sampling.Budget{
		SpansPerSecond: c.SpansPerSecond, TracesPerSecond: c.TracesPerSecond,
		BytesPerSecond: c.BytesPerSecond + c.GiBPerMonth*(1<<30)/(30*24*3600),
		Horizon:        c.Horizon,
	}
	if c.GiBPerMonth > 0 && b.Horizon == 0 {
		b.Horizon = 24 * time.Hour
	}
	return b
}

// Capabilities implements consumer.Traces: requests are read and not kept.
func (*sampler) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start implements component.Component.
func (s *sampler) Start(ctx context.Context, host component.Host) error {
	for _, extension := range host.GetExtensions() {
		if reader, ok := extension.(slo.StatusReader); ok {
			s.slo = reader
		}
		if c, ok := extension.(citer); ok && s.cfg.KeepCited {
			s.citers = append(s.citers, c)
		}
	}
	s.asked = time.Now()
	if s.cfg.Storage != nil {
		if err := s.openJournal(ctx, host); err != nil {
			return err
		}
	}
	s.out.start(s.journal != nil)
	go s.run()
	s.resume(ctx)
	return nil
}

func (s *sampler) openJournal(ctx context.Context, host component.Host) error {
	if err := s.journals.take(s.set.ID); err != nil {
		return err
	}
	j, err := openJournal(ctx, host, *s.cfg.Storage, s.set.ID)
	if err != nil {
		s.journals.giveBack(s.set.ID)
		return err
	}
	s.journal = j
	return nil
}

// resume takes in again what an earlier run left. What of it is of no use must not keep the collector from starting.
func (s *sampler) resume(ctx context.Context) {
	if s.journal == nil {
		return
	}
	err := s.journal.replay(ctx, time.Now, func(data []byte) error {
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(data)
		if err != nil {
			return fmt.Errorf("reading a stored request: %w", err)
		}
		in := s.intakes.Get().(*intake)
		defer s.putBack(in)
		return s.take(ctx, in, td, data)
	})
	if err != nil {
		s.set.Logger.Error("Some of the stored traces could not be taken in again", zap.Error(err))
	}
}

// Shutdown implements component.Component. Without storage, what waits is decided, unless it is to be dropped, and what is kept is
// delivered as long as ctx allows; with storage, what waits and what is not delivered stays there.
func (s *sampler) Shutdown(ctx context.Context) error {
	if s.stopped() {
		return nil
	}
	close(s.stop)
	// What is taken in counts as delivered to those who sent it, so it must be in before the last decision.
	s.taking.Lock()
	s.taking.Unlock() //nolint:staticcheck // nothing is guarded, only waited for
	if s.out.started {
		<-s.done
	}
	now := time.Now()
	if s.cfg.DropPendingTracesOnShutdown {
		s.mu.Lock()
		n := s.engine.Discard()
		s.mu.Unlock()
		s.telemetry.ProcessorTailSamplingTracesDiscardedOnShutdown.Add(ctx, int64(n))
	}
	if s.journal == nil {
		s.decide(func(out *sampling.Outputs) bool { return s.engine.Flush(now, decideAtOnce, out) })
	}
	s.flushStats(0)
	s.out.shutdown(ctx)
	err := s.closeJournal(ctx, now)
	s.groups.leave(s.set.ID, s.shared)
	s.telemetry.Shutdown()
	return err
}

func (s *sampler) closeJournal(ctx context.Context, now time.Time) error {
	if s.journal == nil {
		return nil
	}
	defer s.journals.giveBack(s.set.ID)
	var err error
	if s.cfg.DropPendingTracesOnShutdown {
		err = s.journal.clear(ctx)
	} else {
		err = s.journal.flush(ctx, now)
	}
	return errors.Join(err, s.journal.close(ctx))
}

// ConsumeTraces implements consumer.Traces. It waits while more output is pending than fits, which is how a slow or failing destination
// is felt upstream.
func (s *sampler) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	s.taking.RLock()
	defer s.taking.RUnlock()
	if s.stopped() {
		return errStopped
	}
	if err := s.out.waitForRoom(ctx, s.stop); err != nil {
		return err
	}
	in := s.intakes.Get().(*intake)
	defer s.putBack(in)
	data, err := in.encoder.traces(td)
	if err != nil {
		return err
	}
	if s.journal != nil {
		if err := s.journal.record(ctx, data, time.Now()); err != nil {
			return err
		}
	}
	return s.take(ctx, in, td, data)
}

// intake is the room that it takes to take a request in.
type intake struct {
	encoder encoder
	batch   sampling.Batch
}

// largeRequest is the size of an encoded request whose room is given back.
const largeRequest = 8 << 20

func (s *sampler) putBack(in *intake) {
	if cap(in.encoder.buf) <= largeRequest {
		s.intakes.Put(in)
	}
}

// take hands a request, as pdata and encoded, to the engine.
func (s *sampler) take(ctx context.Context, in *intake, td ptrace.Traces, data []byte) error {
	b := &in.batch
	conditions := conditionsOf{conditions: s.conditions, traces: td, ctx: ctx, logger: s.set.Logger}
	if err := b.Parse(data, s.program, &conditions); err != nil {
		return fmt.Errorf("reading a request: %w", err)
	}
	if b.Errors > 0 {
		s.telemetry.ProcessorTailSamplingSamplingPolicyEvaluationError.Add(ctx, int64(b.Errors))
	}
	return s.admit(ctx, b)
}

// admit hands a request to the engine, waiting for places where block_on_overflow asks for it.
func (s *sampler) admit(ctx context.Context, b *sampling.Batch) error {
	for {
		var out sampling.Outputs
		s.mu.Lock()
		finished := s.engine.Append(b, time.Now(), &out)
		sealed := s.engine.TakeSealed()
		freed := s.freed
		s.mu.Unlock()
		s.pack(sealed)
		s.out.send(&out)
		if finished {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop:
			return errStopped
		}
	}
}

var packBuffers = sync.Pool{New: func() any { return new([]byte) }}

// pack compresses full segments away from the lock.
func (s *sampler) pack(sealed []*sampling.Sealed) {
	if len(sealed) == 0 {
		return
	}
	buf := packBuffers.Get().(*[]byte)
	for _, seg := range sealed {
		*buf = seg.Compress(*buf)
		s.mu.Lock()
		s.engine.PutSealed(seg)
		s.mu.Unlock()
	}
	packBuffers.Put(buf)
}

// views readies kept traces for decoding.
func (s *sampler) views(kept []sampling.Kept) {
	s.mu.Lock()
	s.engine.Views(kept)
	s.mu.Unlock()
}

// delivered gives back the memory of output that is gone.
func (s *sampler) delivered(kept []sampling.Kept) {
	s.mu.Lock()
	s.engine.Delivered(kept)
	s.mu.Unlock()
}

// decide runs step until there is no more to decide, and sends what is kept, some requests' worth at a time. Between two steps, what comes
// in goes first.
func (s *sampler) decide(step func(*sampling.Outputs) bool) {
	var out sampling.Outputs
	for more := true; more; {
		s.mu.Lock()
		more = step(&out)
		if s.cfg.BlockOnOverflow {
			close(s.freed)
			s.freed = make(chan struct{})
		}
		s.mu.Unlock()
		if !more || out.Bytes() >= maxRequest {
			s.out.send(&out)
			out = sampling.Outputs{}
		}
		runtime.Gosched()
	}
}

// run decides what is due, and keeps the journal, until the processor stops.
func (s *sampler) run() {
	defer close(s.done)
	ticker := time.NewTicker(s.tick)
	defer ticker.Stop()
	var write <-chan time.Time
	if s.journal != nil {
		t := time.NewTicker(journalInterval)
		defer t.Stop()
		write = t.C
	}
	for {
		select {
		case <-s.stop:
			return
		case <-write:
			s.keepJournal()
			continue
		case <-ticker.C:
		}
		s.burn()
		s.pin()
		start := time.Now()
		s.decide(func(out *sampling.Outputs) bool {
			return s.engine.Due(time.Now(), decideAtOnce, lookAtOnce, out) && !s.stopped()
		})
		s.flushStats(time.Since(start))
	}
}

func (s *sampler) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// keepJournal writes what came in and lets go of what is done with: a trace is decided at most decision_wait, and the grain of it, after
// its first span.
func (s *sampler) keepJournal() {
	ctx, now := context.Background(), time.Now()
	queued, delivered := s.out.progress()
	err := errors.Join(
		s.journal.flush(ctx, now),
		s.journal.expire(ctx, now.Add(-s.cfg.DecisionWait-2*s.tick), queued, delivered),
	)
	if err != nil {
		s.set.Logger.Error("The journal of waiting traces cannot be kept", zap.Error(err))
	}
}

// burn tells the engine the services whose objectives burn.
func (s *sampler) burn() {
	if s.slo == nil {
		return
	}
	var services []uint32
	for _, status := range s.slo.Statuses() {
		if status.Service != "" && (status.State == slo.StateBurning || len(status.Alerts) > 0) {
			services = append(services, sampling.ServiceHash(status.Service))
		}
	}
	s.mu.Lock()
	s.engine.SetBurning(services)
	s.mu.Unlock()
}

// citer is what extensions are that name traces, which whoever reads of them wants to look up. What may be named next counts as named.
type citer interface {
	CitedTraces(since time.Time) [][16]byte
}

// pin has cited traces kept.
func (s *sampler) pin() {
	if len(s.citers) == 0 {
		return
	}
	now := time.Now()
	var ids []sampling.TraceID
	for _, c := range s.citers {
		for _, id := range c.CitedTraces(s.asked) {
			ids = append(ids, id)
		}
	}
	s.asked = now
	s.mu.Lock()
	s.engine.Pin(ids, now)
	s.mu.Unlock()
}

func (s *sampler) flushStats(took time.Duration) {
	s.mu.Lock()
	stats := s.engine.TakeStats()
	waiting, bytes, pending := s.engine.Len(), s.engine.Bytes(), s.engine.Pending()
	s.mu.Unlock()
	s.report.record(&stats, took, waiting, bytes, pending)
}
