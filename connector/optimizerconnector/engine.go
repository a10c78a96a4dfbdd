// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/loop"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

const (
	// tickInterval is how often refused envelopes are offered again, silence is noticed and the state is kept.
	tickInterval = time.Second
	// silence is how long nothing with an event time must have come before the clock moves event time on. It is long enough that the
	// pauses of a replay do not, so that a replay says the same at any speed.
	silence = 30 * time.Second
	// maxCatchUp is how many evaluations one jump of event time makes up for; a longer gap held no telemetry to look at.
	maxCatchUp = 360
	// rememberedChanges bounds the changes known by id.
	rememberedChanges = 10_000
)

// engine is what all instances of one component id share.
//
// Lock order: stepping, sending, mu. mu is never held while another component is called, except for storage.
type engine struct {
	cfg       *Config
	id        component.ID
	version   string
	scope     string
	resource  pcommon.Resource
	log       *zap.Logger
	clock     func() time.Time
	telemetry *metadata.TelemetryBuilder
	detectors detectors

	board    signal.Board
	statuses []slo.StatusReader
	next     consumer.Logs
	opened   time.Time // by the clock
	stop     chan struct{}
	done     chan struct{}

	// stepping keeps evaluations in the order of event time.
	stepping sync.Mutex
	// budgets are the error budgets left by service; stepping guards them.
	budgets map[string]float64
	// sending keeps envelopes in order on their way out.
	sending sync.Mutex

	mu      sync.Mutex
	storage storage.Client
	loop    *loop.Loop
	now     eventClock
	// seen is whether anything has come since the start.
	seen bool
	// due is the event time of the next evaluation; zero before anything was seen.
	due time.Time
	// stepped is the event time of the last evaluation: no later one is before it.
	stepped time.Time
	outbox  []signal.Envelope
	// refused are the first of the outbox: those that the next consumer has refused.
	refused int
	changes changeMemory
	// parcels wait to be sent to the decider; senders are those that sent some here.
	parcels  parcels
	senders  senders
	dirty    bool
	nextSave time.Time
}

func newEngine(set connector.Settings, cfg *Config, clock func() time.Time) (*engine, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("optimizer telemetry: %w", err)
	}
	guardrails, err := cfg.Guardrails.settings()
	if err != nil {
		return nil, err
	}
	policies, err := cfg.policies()
	if err != nil {
		return nil, err
	}
	e := &engine{
		cfg: cfg, id: set.ID, version: set.BuildInfo.Version, scope: metadata.ScopeName, log: set.Logger, clock: clock, telemetry: telemetry,
		loop:    loop.New(loop.Settings{MaxActive: cfg.MaxActiveSignals, Weights: cfg.Planner.weights(), Guardrails: guardrails, Policies: policies}),
		changes: newChangeMemory(rememberedChanges), parcels: parcels{sender: newSender()}, senders: senders{}, resource: pcommon.NewResource(),
	}
	set.Resource.CopyTo(e.resource)
	e.detectors = newDetectors(surroundings{
		cfg: cfg, log: set.Logger, telemetry: telemetry, clock: clock, statuses: e.readStatuses,
		allow: signal.NewAllowList(cfg.EvidenceAttributes...),
	})
	return e, errors.Join(
		e.observeOutcomes(),
		telemetry.RegisterOptimizerSignalsActiveCallback(e.observeLocked(func() int { return e.loop.Active() })),
		telemetry.RegisterOptimizerSignalsActiveLimitCallback(e.observeLocked(func() int { return e.cfg.MaxActiveSignals })),
		telemetry.RegisterOptimizerOutboxCallback(e.observeLocked(func() int { return len(e.outbox) })),
		telemetry.RegisterOptimizerDetectorTargetsCallback(e.observeFill(func(f detect.Fill) int { return f.Used })),
		telemetry.RegisterOptimizerDetectorTargetsLimitCallback(e.observeFill(func(f detect.Fill) int { return f.Limit })),
	)
}

func (e *engine) observeLocked(value func() int) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		o.Observe(int64(value()))
		return nil
	}
}

func (e *engine) observeFill(value func(detect.Fill) int) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for _, d := range e.detectors.all {
			o.Observe(int64(value(d.Fill())), metric.WithAttributes(attribute.String("detector", d.Name())))
		}
		return nil
	}
}

// open finds the other components, restores the state and starts the clock.
func (e *engine) open(ctx context.Context, host component.Host, next consumer.Logs) error {
	e.next, e.opened = next, e.clock()
	extensions := host.GetExtensions()
	for _, id := range slices.SortedFunc(maps.Keys(extensions), func(a, b component.ID) int { return strings.Compare(a.String(), b.String()) }) {
		if board, ok := extensions[id].(signal.Board); ok && e.board == nil {
			e.board = board
			e.log.Info("signals are published on a board", zap.Stringer("extension", id))
		}
		if reader, ok := extensions[id].(slo.StatusReader); ok {
			e.statuses = append(e.statuses, reader)
		}
	}
	if e.cfg.Storage != nil {
		if err := e.openStorage(ctx, extensions); err != nil {
			return err
		}
	}
	for _, t := range e.detectors.tickers {
		t.tick(e.clock())
	}
	e.stop, e.done = make(chan struct{}), make(chan struct{})
	go e.run(e.stop, e.done) //nolint:gosec // it outlives the start; stop ends it
	return nil
}

func (e *engine) run(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			e.tick(context.Background())
		}
	}
}

// close sends what waits, keeps the state and lets go of storage. What cannot be sent now is lost and counted.
func (e *engine) close(ctx context.Context) error {
	close(e.stop)
	<-e.done
	if !e.cfg.Decider {
		e.exportRest(ctx)
	}
	e.flush(ctx)
	e.stepping.Lock()
	defer e.stepping.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.outbox) > 0 {
		e.dropped(ctx, "shutdown", len(e.outbox))
		e.log.Warn("signals could not be delivered before shutdown", zap.Int("signals", len(e.outbox)))
		e.outbox = nil
	}
	if n := len(e.parcels.waiting); n > 0 {
		e.countStatistics(ctx, statisticsDropped, n)
		e.log.Warn("statistics could not be delivered before shutdown", zap.Int("parts", n))
		e.parcels.waiting, e.parcels.bytes = nil, 0
	}
	if e.storage == nil {
		return nil
	}
	e.saveLocked(ctx)
	err := e.storage.Close(ctx)
	e.storage = nil
	return err
}

func (e *engine) release() { e.telemetry.Shutdown() }

func (e *engine) countItems(ctx context.Context, kind string, n int) {
	e.telemetry.OptimizerItems.Add(ctx, int64(n), metric.WithAttributeSet(itemSets[kind]))
}

// itemSets are built once: the counter is on the path of all telemetry.
var itemSets = map[string]attribute.Set{
	"traces":  attribute.NewSet(attribute.String("signal", "traces")),
	"metrics": attribute.NewSet(attribute.String("signal", "metrics")),
	"logs":    attribute.NewSet(attribute.String("signal", "logs")),
}

// consumed takes the latest event time of what was just read, and evaluates as often as event time calls for, or at once if asked.
func (e *engine) consumed(ctx context.Context, latest pcommon.Timestamp, urgent bool) {
	clock := e.clock()
	e.mu.Lock()
	e.seen = true
	if at, ok := e.eventTime(latest, clock); ok {
		e.now.observe(at, clock)
		if e.due.IsZero() {
			e.due = e.boundary(at)
		}
		e.dirty = true
	}
	due := !e.due.IsZero() && !e.now.watermark.Before(e.due)
	e.mu.Unlock()
	if due || urgent {
		e.advance(ctx, clock, urgent, false)
		e.flush(ctx)
	}
}

// eventTime refuses times that are none and those too far ahead: they must not move event time for everybody.
func (e *engine) eventTime(latest pcommon.Timestamp, clock time.Time) (time.Time, bool) {
	if latest == 0 || latest > math.MaxInt64 {
		return time.Time{}, false
	}
	at := latest.AsTime()
	return at, !at.After(clock.Add(e.cfg.MaxFuture))
}

// boundary is the first evaluation after at.
func (e *engine) boundary(at time.Time) time.Time {
	return at.Truncate(e.cfg.EvaluationInterval).Add(e.cfg.EvaluationInterval)
}

// advance evaluates at each boundary that event time has passed and, if urgent, at event time itself. In silence the clock is event
// time.
func (e *engine) advance(ctx context.Context, clock time.Time, urgent, silent bool) {
	e.stepping.Lock()
	defer e.stepping.Unlock()
	e.mu.Lock()
	now, due := e.now.watermark, e.due
	if silent || now.IsZero() {
		now = e.now.inSilence(clock)
	}
	if now.Before(e.stepped) {
		now = e.stepped
	}
	if due.IsZero() {
		due = e.boundary(now)
	}
	e.mu.Unlock()
	most := maxCatchUp * e.cfg.EvaluationInterval
	if silent {
		most = 0
	}
	if behind := now.Sub(due); behind > most {
		due = due.Add((behind - most).Truncate(e.cfg.EvaluationInterval))
	}
	for ; !due.After(now); due = due.Add(e.cfg.EvaluationInterval) {
		if e.cfg.Decider {
			e.step(ctx, due, false)
		} else {
			e.export(ctx, due)
		}
	}
	if urgent && e.cfg.Decider {
		e.step(ctx, now, true)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due = due
}

// step evaluates once, at event time now: changes first, since detectors judge by them.
func (e *engine) step(ctx context.Context, now time.Time, urgent bool) {
	for _, d := range e.detectors.all {
		if source, ok := d.(detect.ChangeSource); ok {
			for _, c := range source.TakeChanges() {
				e.takeChange(ctx, c, true)
			}
		}
	}
	var alerts, candidates []detect.Candidate
	for _, d := range e.detectors.all {
		if found := d.Advance(now); d.Name() == "burn" {
			alerts = found
		} else {
			candidates = append(candidates, found...)
		}
	}
	world := e.world(urgent)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stepped = now
	between := world
	between.Urgent = true
	outcomes := func() loop.Said { return e.loop.Step(now, e.detectors.outcomes.Advance(now), between) }
	// Each alert is looked at by itself, as it came: how many come at once depends on how fast they are told.
	for i := range alerts {
		e.sayLocked(ctx, e.loop.Step(now, alerts[i:i+1], between), outcomes)
	}
	e.sayLocked(ctx, e.loop.Step(now, candidates, world), outcomes)
	e.dirty = true
}

// sayLocked shows what is said to those who look at signals, and lets it wait to be sent. What became of a signal that has ended is said
// right after its end: whatever else this step or the next one says depends on how sources take turns.
func (e *engine) sayLocked(ctx context.Context, said loop.Said, outcomes func() loop.Said) {
	all := make([]signal.Envelope, 0, len(said.Signals))
	for i := range said.Signals {
		for _, observer := range e.detectors.signals {
			observer.ObserveSignal(&said.Signals[i])
		}
		all = append(all, said.Signals[i])
		if e.detectors.outcomes == nil || !said.Signals[i].State.Ended() {
			continue
		}
		more := outcomes()
		all = append(all, more.Signals...)
		for reason, n := range more.Held {
			said.Held[reason] += n
		}
	}
	e.enqueueLocked(ctx, all)
	for reason, n := range said.Held {
		e.telemetry.OptimizerCandidatesHeld.Add(ctx, int64(n), metric.WithAttributes(attribute.String("held_reason", reason)))
	}
}

// world is what the loop may ask. The slo extension was asked before, so that no lock is held meanwhile; between two evaluations what it
// said last will do.
func (e *engine) world(urgent bool) loop.World {
	if !urgent || e.budgets == nil {
		e.budgets = budgets(e.readStatuses())
	}
	world := loop.World{Urgent: urgent, Budget: func(service string) *float64 {
		if left, ok := e.budgets[service]; ok {
			return &left
		}
		return nil
	}}
	if c := e.detectors.coverage; c != nil {
		world.Coverage, world.Criticality = c.Coverage, c.Criticality
	}
	if o := e.detectors.outcomes; o != nil {
		world.Breaker, world.Calibrate = o.Breaker(), o.Calibrate
	}
	return world
}

// consumeEvents looks for changes, and for statistics of other collectors. Where one request has those of several evaluations, it takes one
// evaluation after the other: detectors have no room for what lies far ahead of event time.
func (e *engine) consumeEvents(ctx context.Context, ld plog.Logs) {
	clock := e.clock()
	told := pcommon.Timestamp(0)
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				switch name := rec.EventName(); {
				case name == statisticsEvent:
					at := rec.Timestamp()
					if e.cfg.Decider && told != 0 && at > told {
						e.consumed(ctx, told, false)
					}
					if _, believed := e.eventTime(at, clock); believed {
						told = max(told, at)
					}
					e.mergeStatistics(ctx, rec, clock)
					continue
				case name == alertEvent && !e.cfg.Decider:
					e.passOn(ctx, rl.Resource(), rec)
					continue
				case !strings.HasPrefix(name, changePrefix):
					continue
				}
				c, refused := readChange(rl.Resource().Attributes(), rec)
				if refused == "" && c.Time.After(clock.Add(e.cfg.MaxFuture)) {
					refused = future
				}
				if refused != "" {
					e.countChange(ctx, refused)
					continue
				}
				e.takeChange(ctx, c, false)
			}
		}
	}
}

// takeChange hands a change to all who look at changes, once. seen says that no log record of it exists yet.
func (e *engine) takeChange(ctx context.Context, c detect.Change, seen bool) {
	e.mu.Lock()
	fresh := e.changes.add(c)
	if fresh {
		e.loop.ObserveChange(c)
	}
	switch {
	case fresh && !e.cfg.Decider:
		e.parcels.add(parcel{change: &c})
	case fresh && seen:
		e.changes.unsent = append(e.changes.unsent, c)
	}
	e.mu.Unlock()
	if !fresh {
		e.countChange(ctx, "duplicate")
		return
	}
	e.countChange(ctx, "used")
	for _, d := range e.detectors.all {
		if observer, ok := d.(detect.ChangeObserver); ok {
			observer.ObserveChange(c)
		}
	}
}

func (e *engine) countChange(ctx context.Context, outcome string) {
	e.telemetry.OptimizerChanges.Add(ctx, 1, metric.WithAttributes(attribute.String("change_outcome", outcome)))
}

// tick lets the clock pass: silence moves event time, refused envelopes are offered again, the state is kept.
func (e *engine) tick(ctx context.Context) {
	clock := e.clock()
	for _, t := range e.detectors.tickers {
		t.tick(clock)
	}
	e.mu.Lock()
	// Before anything has come there is nothing to evaluate, and what comes may be of the past: a backlog, or a recording.
	silent := e.seen
	if !e.now.watermark.IsZero() {
		// What this collector did not hear while it was down is no silence: senders come back within moments of its start.
		since := e.now.readAt
		if since.Before(e.opened) {
			since = e.opened
		}
		silent = clock.Sub(since) >= silence
	}
	e.mu.Unlock()
	if silent {
		e.advance(ctx, clock, false, true)
	}
	e.flush(ctx)
	e.publishReport(clock)
	e.keep(ctx, clock)
}

// readStatuses returns the live state of all objectives.
func (e *engine) readStatuses() []slo.Status {
	var all []slo.Status
	for _, reader := range e.statuses {
		all = append(all, reader.Statuses()...)
	}
	return all
}
