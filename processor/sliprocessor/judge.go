// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// reason says why an item cannot be judged.
type reason int

const (
	accepted reason = iota
	noTime
	badTime
	endBeforeStart
	zeroID
	late
	future
	spread
	badPoint
	unknownObjective
	cumulative
	wrongType
	unknownTemporality
	notANumber
	negative
	noRecordedValue
	badHistogram
	unknownUnit
	stale
	streamLimit
	conditionError
	repeated
	reasons
)

var reasonNames = [reasons]string{
	noTime: "no_time", badTime: "bad_time", endBeforeStart: "end_before_start", zeroID: "zero_id", late: "late", future: "future",
	spread: "spread", badPoint: "bad_point", unknownObjective: "unknown_objective", cumulative: "cumulative",
	wrongType: "wrong_type", unknownTemporality: "unknown_temporality", notANumber: "not_a_number", negative: "negative",
	noRecordedValue: "no_recorded_value", badHistogram: "bad_histogram", unknownUnit: "unknown_unit", stale: "stale",
	streamLimit: "stream_limit", conditionError: "condition_error", repeated: "repeated",
}

// outcome is what one batch did, for the metrics.
type outcome struct {
	counted, ignored int64
	refused          [reasons]int64
	good, bad        int64
	stripped         int64
	excess           int64 // ratios whose part grew beyond the total
}

func (o *outcome) items() int64 {
	n := o.counted + o.ignored
	for _, r := range o.refused {
		n += r
	}
	return n
}

// judge is what one batch needs while it is judged. It is pooled: nothing in it outlives the batch.
type judge struct {
	plan    *plan
	engine  *slo.Engine
	tally   *slo.Tally
	outcome outcome

	spanName        string        // an attribute like others for conditions and groups
	logBody         pcommon.Value // another
	resource, event values        // what the wanted attributes hold
	active          []active
	values          []string // of a group
	badNames        []string

	ofResource  []slo.ContributionID // contributor values the resource has
	open        []int                // contributors it has not: the event may
	ofEventIDs  []slo.ContributionID // contributor values of the event
	ofEventRead bool

	// Of metrics: what was read, and waits for the batch to be delivered.
	readings []reading
	rules    []*metricRule // scratch
	merges   []merged
	arena    []string // values of the readings' groups
	parts    []slo.ContributionID
	traces   []slo.TraceID
	ended    []slo.StreamID // gauges that have no value any more
	unit     string         // of the metric

	source         uint64
	oldest, newest int64 // event times the book takes from the source
	latest         int64 // latest event time seen of the source
	ahead          int64 // the same of those refused because it is yet to come; 0 where none was
}

// active is a rule that the resource does not rule out.
type active struct {
	rule      *rule
	matchers  []matcher // those the resource did not decide
	entry     *slo.Entry
	perEvent  bool // the group depends on the event
	good, bad slo.Weight
}

// values holds one value a slot. stamps tell which are set, so that nothing needs clearing between events.
type values struct {
	stamp  uint64
	stamps []uint64
	values []pcommon.Value
}

func newValues(slots int) values {
	return values{stamps: make([]uint64, slots), values: make([]pcommon.Value, slots)}
}

// has tells without reading the value, which may be of any size.
func (v *values) has(slot int) bool { return v.stamps[slot] == v.stamp }

func (v *values) get(slot int) (string, bool) {
	if !v.has(slot) {
		return "", false
	}
	if v.values[slot].Type() == pcommon.ValueTypeStr {
		return v.values[slot].Str(), true
	}
	return v.values[slot].AsString(), true
}

func newJudge(p *plan, engine *slo.Engine) *judge {
	return &judge{plan: p, engine: engine, tally: engine.NewTally(), resource: newValues(p.slots), event: newValues(p.slots)}
}

func (j *judge) reset() {
	j.tally.Reset()
	j.outcome = outcome{}
	clear(j.readings)
	clear(j.arena)
	j.merges = j.merges[:0]
	j.readings, j.arena, j.parts, j.traces, j.ended = j.readings[:0], j.arena[:0], j.parts[:0], j.traces[:0], j.ended[:0]
}

// read takes the wanted attributes of a map into v, in one pass.
func (j *judge) read(v *values, attributes pcommon.Map) {
	v.stamp++
	for name, value := range attributes.All() {
		wanted := j.plan.wanted[uint(len(name))%lengths]
		for i := range wanted {
			if w := &wanted[i]; w.name == name && (!w.alias || v.stamps[w.slot] != v.stamp) {
				v.stamps[w.slot], v.values[w.slot] = v.stamp, value
			}
		}
	}
}

// readEvent reads the attributes of the next event.
func (j *judge) readEvent(attributes pcommon.Map) {
	j.read(&j.event, attributes)
	j.ofEventRead = false
	j.badNames = j.badNames[:0]
}

// ofEvent finds a wanted attribute in the event.
func (j *judge) ofEvent(slot int) (string, bool) {
	switch slot {
	case slotSpanName:
		return j.spanName, j.spanName != ""
	case slotLogBody:
		return j.logBody.AsString(), true
	}
	return j.event.get(slot)
}

// lookup finds a wanted attribute in the resource, then in the event.
func (j *judge) lookup(slot int) (string, bool) {
	if value, ok := j.resource.get(slot); ok {
		return value, true
	}
	return j.ofEvent(slot)
}

// enter starts a resource: it finds the rules that may apply and, where the resource decides it, their group.
func (j *judge) enter(attributes pcommon.Map, ix *index, now time.Time, counting bool) {
	j.read(&j.resource, attributes)
	j.event.stamp++
	service, _ := j.resource.get(slotService)
	j.tally.Service(service)
	j.active = j.active[:0]
	for _, r := range ix.rules(service) {
		j.activate(r)
	}
	j.ofResource, j.open = j.ofResource[:0], j.open[:0]
	for c, slot := range j.plan.contributors {
		if value, ok := j.resource.get(slot); ok && len(j.active) > 0 {
			j.ofResource = append(j.ofResource, j.tally.Intern(uint8(c), value))
		} else {
			j.open = append(j.open, c)
		}
	}
	j.latest, j.ahead = math.MinInt64, 0
	if counting {
		j.source = j.sourceOf(service)
		j.oldest, j.newest = j.engine.Bounds(j.source, now)
		return
	}
	j.oldest, j.newest = 0, math.MaxInt64
}

func (j *judge) activate(r *rule) {
	n := len(j.active)
	if n < cap(j.active) {
		j.active = j.active[:n+1]
	} else {
		j.active = append(j.active, active{})
	}
	a := &j.active[n]
	*a = active{rule: r, matchers: a.matchers[:0]}
	for i := range r.matchers {
		m := &r.matchers[i]
		value, ok := j.resource.get(m.slot)
		if !ok {
			a.matchers = append(a.matchers, *m)
		} else if !m.matches(value) {
			j.active = j.active[:n]
			return
		}
	}
	for _, slot := range r.groupBy {
		if _, ok := j.resource.get(slot); !ok {
			a.perEvent = true
		}
	}
}

// sourceOf names who sent a resource: watermarks are kept per source.
func (j *judge) sourceOf(service string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a, 64 bit: the same after a restart
	h := uint64(offset)
	add := func(s string) {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h = (h ^ 0xff) * prime
	}
	add(service)
	for _, slot := range [...]int{slotInstance, slotPodUID, slotPod, slotHost} {
		if value, ok := j.resource.get(slot); ok {
			add(value)
			j.tally.Instance(value)
			break
		}
	}
	return h
}

// leave ends a resource: it books what its attributes contributed and moves its source's watermark.
func (j *judge) leave() {
	for i := range j.active {
		a := &j.active[i]
		if a.entry == nil || a.perEvent {
			continue
		}
		for _, id := range j.ofResource {
			a.entry.AddContribution(id, a.good, a.bad)
		}
	}
	if j.latest != math.MinInt64 {
		j.tally.Observe(j.source, j.latest)
	}
	if j.ahead > 0 {
		j.tally.Ahead(j.source, j.ahead)
	}
}

// admit checks an event's time.
func (j *judge) admit(at pcommon.Timestamp) reason {
	switch {
	case at == 0:
		return noTime
	case at > math.MaxInt64:
		return badTime
	case int64(at) > j.newest:
		j.ahead = int64(at)
		return future
	case int64(at) < j.oldest:
		return late
	}
	j.latest = max(j.latest, int64(at))
	return accepted
}

// matches reports whether the conditions the resource left open hold for the event.
func (j *judge) matches(a *active) bool {
	for i := range a.matchers {
		value, ok := j.ofEvent(a.matchers[i].slot)
		if !ok || !a.matchers[i].matches(value) {
			return false
		}
	}
	return true
}

// count books one verdict. It reports false when the batch spreads over too many slices.
func (j *judge) count(a *active, at int64, bad bool, weight slo.Weight, trace pcommon.TraceID) bool {
	entry := a.entry
	if entry == nil || a.perEvent {
		j.values = j.values[:0]
		for _, slot := range a.rule.groupBy {
			value, _ := j.lookup(slot)
			j.values = append(j.values, value)
		}
		entry = j.tally.Entry(a.rule.objective, j.values)
		a.entry = entry
	}
	if !entry.Add(j.tally.Slice(at), at, bad, weight) {
		return false
	}
	if weight != slo.One {
		entry.AddSampled(j.tally.Slice(at), bad, weight)
	}
	good := weight
	if bad {
		good = 0
		j.outcome.bad++
		entry.AddExemplar(at, slo.TraceID(trace))
		a.bad += weight
	} else {
		j.outcome.good++
		a.good += weight
	}
	for _, id := range j.contributions() {
		entry.AddContribution(id, good, weight-good)
	}
	if a.perEvent {
		for _, id := range j.ofResource {
			entry.AddContribution(id, good, weight-good)
		}
	}
	return true
}

// contributions are the contributor values of the event. They are looked for once, and only if the event counts at all.
func (j *judge) contributions() []slo.ContributionID {
	if j.ofEventRead {
		return j.ofEventIDs
	}
	j.ofEventRead = true
	j.ofEventIDs = j.ofEventIDs[:0]
	for _, c := range j.open {
		if value, ok := j.ofEvent(j.plan.contributors[c]); ok {
			j.ofEventIDs = append(j.ofEventIDs, j.tally.Intern(uint8(c), value))
		}
	}
	return j.ofEventIDs
}

// strip removes marks that came from outside. The event's attributes must have been read.
func (j *judge) strip(attributes pcommon.Map) {
	if j.event.has(slotBad) || j.event.has(slotBadNames) {
		j.outcome.stripped++
		attributes.Remove(otelattr.SLOBad)
		attributes.Remove(otelattr.SLOBadNames)
	}
}

// mark writes the names of the objectives the event is bad for.
func (j *judge) mark(attributes pcommon.Map) {
	if len(j.badNames) == 0 {
		return
	}
	attributes.PutBool(otelattr.SLOBad, true)
	names := attributes.PutEmptySlice(otelattr.SLOBadNames)
	names.EnsureCapacity(len(j.badNames))
	for _, name := range j.badNames {
		names.AppendEmpty().SetStr(name)
	}
}

// settle books what became of an item.
func (j *judge) settle(why reason, applied bool) {
	switch {
	case why != accepted:
		j.outcome.refused[why]++
	case applied:
		j.outcome.counted++
	default:
		j.outcome.ignored++
	}
}
