// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Settings bound an Engine and time its decisions.
type Settings struct {
	// DecisionWait is how long a trace waits, counted from its first span; WaitAfterRoot, when positive, how long once its root span is in.
	DecisionWait, WaitAfterRoot time.Duration
	// WaitAfterComplete, when positive, is how long a trace still waits once it has the structure of a complete one.
	WaitAfterComplete time.Duration
	// Tick is the grain of the three.
	Tick time.Duration
	// MaxTraces bounds the waiting traces; at the bound the least valuable are decided, or, with Block, nothing more is taken.
	MaxTraces int
	Block     bool
	// MemoryLimit bounds, in bytes, everything that waits; at the bound the least valuable traces are decided.
	MemoryLimit int64
	// MaxTraceBytes drops a trace that grows beyond it; 0 for no bound.
	MaxTraceBytes uint64
	// FirstMatch stops at the first policy that keeps a trace.
	FirstMatch bool
	// SpanIngest decides on each request by itself as it arrives and never looks at earlier spans again.
	SpanIngest bool
	// Remembered is the number of decisions that late spans can still follow.
	Remembered int
	// KeptDetails is the number of kept traces whose policy and threshold are remembered as well.
	KeptDetails int
	// Budget thins what the policies keep; zero for no budget.
	Budget Budget
	// Trial is how the policies on trial are run, when the program has some.
	Trial Trial
	// Decisions, when set, replaces a memory of Remembered and KeptDetails: engines that share one follow each other's decisions.
	Decisions *Decisions
	// Logs, when set, learns what is decided, and tells which traces have logs of errors.
	Logs *Logs
	// Seen bounds the trace shapes remembered to tell new ones.
	Seen int
}

// errSettings is what Validate wraps.
var errSettings = errors.New("invalid sampling settings")

func (s *Settings) validate(p *Program) error {
	if s.Tick <= 0 || s.MaxTraces <= 0 || s.MemoryLimit <= 0 {
		return fmt.Errorf("%w: tick, number of traces and memory limit must be positive", errSettings)
	}
	if stateful := p.Stateful(); s.SpanIngest && len(stateful) > 0 {
		return fmt.Errorf("%w: deciding at ingest needs stateless policies, but policy %q is stateful", errSettings, stateful[0])
	}
	return nil
}

// trace is a trace that waits for its decision.
type trace struct {
	facts
	id         TraceID
	prev, next *trace
	// duePrev and dueNext are the neighbours among the traces due at the same tick.
	duePrev, dueNext *trace
	arrival          time.Duration
	due              int64
	refs             []ref
	decided          bool
	// more is nil unless details are wanted.
	more *details
}

// Engine holds waiting traces and decides them. Calls must be serialised.
type Engine struct {
	settings Settings
	program  *Program
	store    *store
	traces   map[TraceID]*trace
	// peak is the most traces the map has held: maps do not give memory back.
	peak int
	// oldest and newest end the list of waiting traces in order of arrival; traces moved on by an eviction go to its end.
	oldest, newest *trace
	// due holds the first of the traces due at each tick.
	due     map[int64]*trace
	nextDue int64
	origin  time.Time
	decided *Decisions
	budget  *budget
	shapes  map[uint64]struct{}
	burning []uint32
	// pins are traces that are awaited, to be kept.
	pins       map[TraceID]pin
	pinsSwept  time.Time
	structures structures
	// trial is nil unless there are policies on trial.
	trial *trial
	// pending is the memory of output that is not delivered yet, detached the part of it that is not in the store.
	pending, detached int64
	stats             Stats
	draws             []uint64
	round             round
	plan              plan
	// owed is how many traces are to be decided for those that came when room was scarce.
	owed int
}

// New makes an engine. now is the time its first tick counts from.
func New(settings Settings, program *Program, now time.Time) (*Engine, error) {
	if err := settings.validate(program); err != nil {
		return nil, err
	}
	e := &Engine{
		settings: settings,
		program:  program,
		store:    newStore(),
		traces:   make(map[TraceID]*trace),
		due:      make(map[int64]*trace),
		origin:   now,
		decided:  settings.Decisions,
		shapes:   make(map[uint64]struct{}),
		pins:     make(map[TraceID]pin),
		stats:    newStats(program),
	}
	if e.decided == nil {
		e.decided = NewDecisions(settings.Remembered, settings.KeptDetails)
	}
	e.decided.engines.Add(1)
	program.splitResources = settings.SpanIngest
	program.followsStructure = settings.WaitAfterComplete > 0 && !settings.SpanIngest
	if settings.Budget.enabled() {
		e.budget = newBudget(settings.Budget)
		program.durations = &operations{}
	}
	if program.trial != nil {
		e.trial = newTrial(settings.Trial, program.trial)
		if e.trial.budget != nil {
			program.durations = &operations{}
		}
	}
	return e, nil
}

// Len is the number of waiting traces.
func (e *Engine) Len() int { return len(e.traces) }

// Bytes is the memory that waiting traces, remembered decisions and pending output take.
func (e *Engine) Bytes() int64 {
	return e.store.bytes + int64(len(e.traces))*traceOverhead + int64(e.peak-len(e.traces))*mapSlot + e.decided.bytes() + e.detached +
		int64(len(e.shapes))*24 + int64(len(e.pins))*pinBytes + e.structures.bytes()
}

// Pending is the output decided but not yet delivered, in bytes.
func (e *Engine) Pending() int64 { return e.pending }

// SetBurning tells which services, by ServiceHash, belong to objectives that burn: slo policies keep their traces.
func (e *Engine) SetBurning(services []uint32) { e.burning = services }

func (e *Engine) tickOf(now time.Time, wait time.Duration) int64 {
	return int64((now.Sub(e.origin) + wait + e.settings.Tick - 1) / e.settings.Tick)
}

// Append takes the fragments of a batch, from where an earlier call stopped. It returns false when it had to stop because Block is set
// and the engine is full; the caller then waits for a decision and calls again. What is decided on the way goes to out.
func (e *Engine) Append(b *Batch, now time.Time, out *Outputs) bool {
	for ; b.next < b.count; b.next++ {
		frag := &b.fragments[b.next]
		t, waiting := e.traces[frag.id]
		if !waiting {
			if e.follow(b, frag, now, out) {
				continue
			}
			if len(e.traces) >= e.settings.MaxTraces {
				if e.settings.Block {
					return false
				}
				e.evict(now, max(1, min(e.settings.MaxTraces/64, victims)), true, out)
			}
			t = e.admit(frag.id, now)
		}
		e.extend(t, b, frag, now, out)
		if e.Bytes() > e.settings.MemoryLimit {
			e.shed(now, t, out)
		}
	}
	e.relieve(now, b.count, out)
	return true
}

// follow lets late spans go the way of their trace.
func (e *Engine) follow(b *Batch, frag *fragment, now time.Time, out *Outputs) bool {
	d, ok := e.decided.lookup(frag.id)
	if !ok {
		return false
	}
	if d.at >= 0 {
		e.stats.lateAge(now.Sub(e.origin) - d.at)
	}
	if !d.kept {
		e.stats.LateDropped += int64(frag.facts.spans)
		return true
	}
	e.stats.LateKept += int64(frag.facts.spans)
	v := e.lateView(b, frag)
	held := int64(len(v.raw)) + contextOverhead
	e.pending += held
	e.detached += held
	out.Late = append(out.Late, Kept{
		ID: frag.id, Policy: d.policy, Lane: d.lane, Chance: d.chance, Random: d.random, SetRandom: d.setRandom, Cached: true,
		Spans: int(frag.facts.spans), Bytes: int64(len(v.raw)), views: []view{v}, held: held,
	})
	return true
}

func (e *Engine) lateView(b *Batch, frag *fragment) view {
	var contexts []*context
	known := make(map[int32]int)
	data := b.record(nil, frag, func(c int32) int {
		i, ok := known[c]
		if !ok {
			i = len(contexts)
			known[c] = i
			contexts = append(contexts, b.detachedContext(c))
		}
		return i
	})
	return view{raw: data, length: len(data), contexts: contexts}
}

func (e *Engine) admit(id TraceID, now time.Time) *trace {
	t := &trace{id: id, arrival: now.Sub(e.origin)}
	e.traces[id] = t
	e.peak = max(e.peak, len(e.traces))
	e.link(t)
	e.stats.New++
	e.schedule(t, e.tickOf(now, e.settings.DecisionWait))
	e.meetPin(t, now)
	return t
}

// shrink makes the map of traces anew once most of it is empty.
func (e *Engine) shrink() {
	const smallest = 4096
	if e.peak < smallest || len(e.traces) > e.peak/4 {
		return
	}
	traces := make(map[TraceID]*trace, len(e.traces))
	maps.Copy(traces, e.traces)
	e.traces, e.peak = traces, len(traces)
}

func (e *Engine) schedule(t *trace, tick int64) {
	first := e.due[tick]
	t.due, t.duePrev, t.dueNext = tick, nil, first
	if first != nil {
		first.duePrev = t
	}
	e.due[tick] = t
	e.nextDue = min(e.nextDue, tick)
}

func (e *Engine) unschedule(t *trace) {
	switch {
	case t.duePrev != nil:
		t.duePrev.dueNext = t.dueNext
	case t.dueNext != nil:
		e.due[t.due] = t.dueNext
	default:
		delete(e.due, t.due)
	}
	if t.dueNext != nil {
		t.dueNext.duePrev = t.duePrev
	}
	t.duePrev, t.dueNext = nil, nil
}

func (e *Engine) reschedule(t *trace, tick int64) {
	e.unschedule(t)
	e.schedule(t, tick)
}

func (e *Engine) link(t *trace) {
	t.prev, t.next = e.newest, nil
	if e.newest != nil {
		e.newest.next = t
	} else {
		e.oldest = t
	}
	e.newest = t
}

func (e *Engine) unlink(t *trace) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		e.oldest = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		e.newest = t.prev
	}
	t.prev, t.next = nil, nil
}

// extend adds a fragment to a waiting trace.
func (e *Engine) extend(t *trace, b *Batch, frag *fragment, now time.Time, out *Outputs) {
	if !e.settings.SpanIngest {
		e.settleConditions(t, frag)
	}
	hadRoot := t.has(factRoot)
	before := t.listBytes()
	t.merge(&frag.facts)
	e.store.bytes += t.listBytes() - before
	e.measure(t, b, frag)
	if e.settings.MaxTraceBytes > 0 && t.size > e.settings.MaxTraceBytes {
		e.stats.TooLarge++
		e.finish(t, now, decidedTrace{policy: -1, lane: -1})
		return
	}
	e.write(t, b, frag)
	e.followDetails(t, b, frag, now)
	if e.settings.SpanIngest && e.decideAtIngest(t, b, frag, now, out) {
		return
	}
	if e.settings.WaitAfterRoot > 0 && frag.facts.has(factRoot) && !hadRoot {
		if tick := e.tickOf(now, e.settings.WaitAfterRoot); tick < t.due {
			e.reschedule(t, tick)
		}
	}
}

// settleConditions lets the first outcome of a condition stand: once it matched it cannot fail, and the other way round.
func (e *Engine) settleConditions(t *trace, frag *fragment) {
	for i := range e.program.conditions {
		slot := e.program.conditions[i].slot
		if t.bits.has(slot) || t.bits.has(slot+1) {
			frag.facts.bits.unset(slot)
			frag.facts.bits.unset(slot + 1)
		}
	}
}

// measure follows the extent of a trace span by span. Whether a trace lies between two latencies is asked after each span, so a trace
// that passes through the range on its way counts.
func (e *Engine) measure(t *trace, b *Batch, frag *fragment) {
	for g := frag.firstGroup; g >= 0; g = b.groups[g].next {
		for i := b.groups[g].first; i >= 0; i = b.spans[i].next {
			t.extent(b.spans[i].start, b.spans[i].end, e.program.latencies)
		}
	}
}

func (f *facts) extent(start, end uint64, latencies []leaf) {
	if f.start == 0 || start < f.start {
		f.start = start
	}
	if f.end == 0 || end > f.end {
		f.end = end
	}
	if len(latencies) == 0 {
		return
	}
	ms := milliseconds(f.start, f.end)
	for i := range latencies {
		if l := &latencies[i]; ms > l.min && (l.max == 0 || ms <= l.max) {
			f.bits.set(l.slot)
		}
	}
}

// milliseconds is the time from start to end, which may be negative, and is cut off where a duration overflows.
func milliseconds(start, end uint64) int64 {
	from, to := int64(start), int64(end)
	d := to - from
	switch {
	case from < 0 && to >= 0 && d < 0:
		d = math.MaxInt64
	case from >= 0 && to < 0 && d > 0:
		d = math.MinInt64
	}
	return time.Duration(d).Milliseconds()
}

// write files a fragment's spans in the store.
func (e *Engine) write(t *trace, b *Batch, frag *fragment) {
	seg := e.store.reserve(&e.store.open, maxRecord(frag.groups, int(frag.facts.spans), frag.spanBytes))
	start := len(seg.raw)
	seg.raw = b.record(seg.raw, frag, func(c int32) int { return e.store.use(seg, e.internedContext(b, c)) })
	e.addRef(t, ref{seg, uint32(start), uint32(len(seg.raw) - start)})
}

func (e *Engine) addRef(t *trace, r ref) {
	before := cap(t.refs)
	t.refs = append(t.refs, r)
	e.store.bytes += int64(cap(t.refs)-before) * 16
	r.segment.live += int(r.length)
}

func (e *Engine) internedContext(b *Batch, c int32) *context {
	cb := &b.contexts[c]
	if cb.interned == nil || cb.interned.refs <= 0 {
		cb.interned = e.store.contextOf(b.scratch[cb.resourceLow:cb.resourceHigh], b.scratch[cb.scopeLow:cb.scopeHigh])
	}
	return cb.interned
}

// detachedContext makes a context that the store does not know, for spans that pass through.
func (b *Batch) detachedContext(c int32) *context {
	cb := &b.contexts[c]
	return &context{contextKey: contextKey{
		resource: &blob{data: slices.Clone(b.scratch[cb.resourceLow:cb.resourceHigh])},
		scope:    &blob{data: slices.Clone(b.scratch[cb.scopeLow:cb.scopeHigh])},
	}}
}

// decideAtIngest decides by what a single request holds: drop policies that did not match yet leave everything open.
func (e *Engine) decideAtIngest(t *trace, b *Batch, frag *fragment, now time.Time, out *Outputs) bool {
	probe := trace{id: t.id}
	probe.facts = frag.facts
	probe.spans, probe.random, probe.flags = t.spans, t.random, t.flags
	probe.facts.start, probe.facts.end = 0, 0
	e.measure(&probe, b, frag)
	d := e.program.drawOf(&probe, e.draws)
	visit := e.stats.visitor(t)
	open := false
	for i, n := range e.program.drops {
		r := n.evaluate(&probe, &d)
		visit(i, r)
		if r == Dropped {
			e.stats.decided(Dropped)
			e.finish(t, now, decidedTrace{policy: i, lane: -1})
			return true
		}
		open = open || r != Failed
	}
	if open {
		return false
	}
	for i, n := range e.program.policies {
		r := n.evaluate(&probe, &d)
		visit(len(e.program.drops)+i, r)
		if r == Sampled {
			e.stats.decided(Sampled)
			c := chance{threshold: n.thresholdOr(0), known: true, natural: d.bound || n.salt <= 0}
			v := verdict{candidate{t, d}, outcome{Sampled, len(e.program.drops) + i, -1}, c, d.shared, 1, false}
			if !c.natural {
				v.random = spread(t.id, c.threshold)
			}
			e.keep(&v, now, out)
			return true
		}
	}
	return false
}

// thresholdOr is the threshold of a policy that goes by randomness alone.
func (n *node) thresholdOr(other uint64) uint64 {
	if n.kind == KindProbabilistic {
		return n.threshold
	}
	return other
}
