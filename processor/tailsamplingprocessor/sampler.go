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
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"

	"github.com/pitwall-io/pitwall/internal/sampling"
	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor/internal/metadata"
)

const (
	// keptDetails is how many kept traces late spans find the policy and threshold of.
	keptDetails = 20_000
	// seenShapes bounds the trace shapes that count as known.
	seenShapes = 50_000
	// decideAtOnce bounds the traces decided while nothing can come in.
	decideAtOnce = 2048
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
	batches    sync.Pool
	slo        slo.StatusReader

	// mu guards engine and freed. freed is closed, and made anew, whenever traces have been decided.
	mu     sync.Mutex
	engine *sampling.Engine
	freed  chan struct{}

	stop chan struct{}
	done chan struct{}
}

var _ processor.Traces = (*sampler)(nil)

func newSampler(set processor.Settings, cfg *Config, next consumer.Traces) (*sampler, error) {
	program, conditions, err := compilePolicies(cfg.Policies, set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("own telemetry: %w", err)
	}
	s := &sampler{
		cfg: cfg, set: set, telemetry: telemetry, program: program, conditions: conditions,
		report:  newReporter(telemetry, set.ID, program.Names()),
		tick:    tickOf(cfg.DecisionWait),
		limit:   int64(cfg.MemoryLimitMiB) << 20,
		batches: sync.Pool{New: func() any { return new(sampling.Batch) }},
		freed:   make(chan struct{}),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	s.engine, err = sampling.New(cfg.settings(s.tick, s.limit), program, time.Now())
	if err != nil {
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
	b := sampling.Budget{
		SpansPerSecond: c.Budget.SpansPerSecond, TracesPerSecond: c.Budget.TracesPerSecond,
		BytesPerSecond: c.Budget.BytesPerSecond + c.Budget.GiBPerMonth*(1<<30)/(30*24*3600),
	}
	return sampling.Settings{
		DecisionWait: c.DecisionWait, WaitAfterRoot: c.DecisionWaitAfterRootReceived, Tick: tick,
		MaxTraces: int(c.NumTraces), Block: c.BlockOnOverflow, MemoryLimit: limit, MaxTraceBytes: c.MaximumTraceSizeBytes,
		FirstMatch: c.SampleOnFirstMatch, SpanIngest: c.SamplingStrategy == strategySpanIngest,
		Remembered:  max(int(c.RememberedDecisions), c.DecisionCache.SampledCacheSize+c.DecisionCache.NonSampledCacheSize),
		KeptDetails: max(keptDetails, c.DecisionCache.SampledCacheSize), Seen: seenShapes, Budget: b,
	}
}

// Capabilities implements consumer.Traces: requests are read and not kept.
func (*sampler) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start implements component.Component.
func (s *sampler) Start(_ context.Context, host component.Host) error {
	for _, extension := range host.GetExtensions() {
		if reader, ok := extension.(slo.StatusReader); ok {
			s.slo = reader
		}
	}
	s.out.start()
	go s.run()
	return nil
}

// Shutdown implements component.Component: what waits is decided, unless it is to be dropped, and what is kept is delivered as long as
// ctx allows.
func (s *sampler) Shutdown(ctx context.Context) error {
	select {
	case <-s.stop:
		return nil
	default:
	}
	close(s.stop)
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
	for more := true; more; {
		more = s.decide(func(out *sampling.Outputs) bool { return s.engine.Flush(now, decideAtOnce, out) })
	}
	s.flushStats(0)
	s.out.shutdown(ctx)
	s.telemetry.Shutdown()
	return nil
}

// ConsumeTraces implements consumer.Traces. It waits while more output is pending than fits, which is how a slow or failing destination
// is felt upstream.
func (s *sampler) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	select {
	case <-s.stop:
		return errStopped
	default:
	}
	if err := s.out.waitForRoom(ctx); err != nil {
		return err
	}
	data, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	b := s.batches.Get().(*sampling.Batch)
	defer s.batches.Put(b)
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

// decide runs a decision of the engine and sends what it keeps.
func (s *sampler) decide(run func(*sampling.Outputs) bool) (more bool) {
	var out sampling.Outputs
	s.mu.Lock()
	more = run(&out)
	close(s.freed)
	s.freed = make(chan struct{})
	s.mu.Unlock()
	s.out.send(&out)
	return more
}

// run decides what is due until the processor stops.
func (s *sampler) run() {
	defer close(s.done)
	ticker := time.NewTicker(s.tick)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		s.burn()
		start := time.Now()
		for more := true; more; {
			more = s.decide(func(out *sampling.Outputs) bool { return s.engine.Due(time.Now(), decideAtOnce, out) })
		}
		s.flushStats(time.Since(start))
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

func (s *sampler) flushStats(took time.Duration) {
	s.mu.Lock()
	stats := s.engine.TakeStats()
	waiting, bytes, pending := s.engine.Len(), s.engine.Bytes(), s.engine.Pending()
	s.mu.Unlock()
	s.report.record(&stats, took, waiting, bytes, pending)
}
