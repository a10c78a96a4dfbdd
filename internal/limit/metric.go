// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"slices"
	"strconv"
)

var (
	overflowValueHash = HashString(OverflowValue)
	overflowKeyHash   = HashString(OverflowAttribute)
	overflowPair      = Mix(overflowKeyHash, HashBool(true))
)

// metricBytes is the fixed part of a metric's state, attributeBytes that of an attribute.
const (
	metricBytes    = 900
	attributeBytes = 900
)

// Metric is the state of one metric in one scope.
type Metric struct {
	l        *Limiter
	key      metricKey
	label    string // of the scope, for reports
	labelled bool
	gauge    Merge

	attributes map[uint64]*attribute
	list       []*attribute
	mergeAll   bool // a rule may make two incoming series one: none is kept as it is

	series   admission // outgoing series, kept or merged
	streams  map[uint64]*stream
	groups   map[uint64]*Group
	overflow int // overflow series of whole series

	stirred    []*Group // levels that changed without a point to say so
	leaving    []*Group // scratch of Stirred
	generation uint32
	window     uint32
	crowded    bool // weights have to be counted
	measuring  bool // savings have to be estimated
	squeezed   []*attribute
	full       hyperLogLog // series wanted if no attribute were folded as a whole
	wanted     hyperLogLog // incoming series
	lastFull   float64
	lastWanted float64
	counted    int   // seats of series that the limiter's total knows of
	accounted  int64 // bytes of admissions and sketches that the limiter knows of

	// Folded counts points since the start: those merged by an attribute and those merged whole.
	folded, foldedWhole uint64
}

// attribute is the state of one attribute key of a metric.
type attribute struct {
	key       string
	hash      uint64
	rule      *ruleState
	protected bool
	squeezed  bool // folded as a whole to make room for series
	values    admission
	without   hyperLogLog // series wanted if the attribute were folded as a whole
	lastSaves float64
	folded    uint64 // points
	pair      uint64 // of the point being measured
}

type ruleState struct {
	*Rule
	toHash  uint64
	buckets []string
	dryRun  uint64
}

func newRuleState(r *Rule) ruleState {
	s := ruleState{Rule: r, toHash: HashString(r.To)}
	if r.Action == ActionHash {
		for i := range r.Buckets {
			s.buckets = append(s.buckets, "bucket_"+strconv.Itoa(i))
		}
	}
	return s
}

func (l *Limiter) newMetric(key metricKey) *Metric {
	m := &Metric{
		l: l, key: key,
		attributes: map[uint64]*attribute{},
		streams:    map[uint64]*stream{},
		groups:     map[uint64]*Group{},
		window:     l.window,
	}
	m.series.limit = l.settings.Limits.Series
	for _, o := range l.settings.Overrides {
		if o.Series != nil && len(o.Attributes) == 0 && matchAnyOrAll(o.Metrics, key.name) {
			m.series.limit = *o.Series
			break
		}
	}
	for _, g := range l.settings.Gauges {
		if matchAnyOrAll(g.Metrics, key.name) {
			m.gauge = g.Merge
			break
		}
	}
	for i := range l.rules {
		if r := &l.rules[i]; r.merges() && matchAnyOrAll(r.Metrics, key.name) {
			m.mergeAll = true
		}
	}
	l.metrics[key] = m
	l.used += metricBytes
	return m
}

// Label names the scope in reports.
func (m *Metric) Label(scope string) { m.label, m.labelled = scope, true }

// Labelled tells whether the scope has a name.
func (m *Metric) Labelled() bool { return m.labelled }

// attribute finds or makes the state of a key; nil means that the metric has too many keys.
func (m *Metric) attribute(i int, a *Attr) *attribute {
	if i < len(m.list) && m.list[i].hash == a.KeyHash {
		return m.list[i] // senders keep the order of attributes
	}
	if st := m.attributes[a.KeyHash]; st != nil {
		return st
	}
	if len(m.list) >= m.l.settings.Limits.Keys || m.l.full() {
		return nil
	}
	st := &attribute{key: a.Key, hash: a.KeyHash, protected: m.l.protects(a.Key)}
	st.values.limit = m.l.settings.Limits.Attribute
	for _, o := range m.l.settings.Overrides {
		if o.Attribute != nil && matchAnyOrAll(o.Metrics, m.key.name) && matchAnyOrAll(o.Attributes, a.Key) {
			st.values.limit = *o.Attribute
			break
		}
	}
	for i := range m.l.rules {
		if r := &m.l.rules[i]; matchAnyOrAll(r.Metrics, m.key.name) && matchAnyOrAll(r.Attributes, a.Key) {
			st.rule = r
			break
		}
	}
	m.attributes[a.KeyHash] = st
	m.list = append(m.list, st)
	m.l.used += attributeBytes
	return st
}

// evaluation is what became of a point's attributes.
type evaluation struct {
	sum       uint64 // of the outgoing attributes
	full      uint64 // of the attributes before any is folded as a whole
	merged    bool   // other incoming series may have the same outgoing attributes
	untracked bool   // only the whole series can be folded: too many keys, or folded by an earlier tier
}

// evaluate applies rules and attribute limits. With admit set it gives seats and notes weights to come; without it, it only
// repeats the decision for the attributes of an output point. It works attribute by attribute, in the point's own order.
func (m *Metric) evaluate(p *Point, admit, rewrite bool) evaluation {
	var e evaluation
	e.merged = m.mergeAll
	if admit {
		p.weights, p.parts = p.weights[:0], p.parts[:0]
	}
	if rewrite {
		p.Changes = slices.Grow(p.Changes[:0], len(p.Attrs))[:len(p.Attrs)]
		clear(p.Changes)
	}
	for i := range p.Attrs {
		a := &p.Attrs[i]
		if a.KeyHash == overflowKeyHash {
			e.merged, e.untracked = true, true // an earlier tier folded the whole series
			continue
		}
		if a.ValueHash == overflowValueHash {
			// An earlier tier folded this already. It is not a value of its own, and our own overflow series has the same identity.
			e.merged = true
			pair := Mix(a.KeyHash, a.ValueHash)
			e.sum += pair
			e.full += pair
			continue
		}
		st := m.attribute(i, a)
		if st == nil {
			e.untracked = true
			continue
		}
		key, value, change, limited := m.apply(st, p, a, admit)
		if change.Action == ActionDrop {
			if rewrite {
				p.Changes[i] = change
			}
			continue
		}
		pair := Mix(key, value)
		folds := change.Action == ActionFold || st.squeezed && !st.protected
		if !folds && limited && !st.protected && !m.seated(st, p, value, admit) {
			folds = true
			pair = Mix(key, overflowValueHash)
		}
		e.full += pair
		if folds {
			e.merged = true
			pair = Mix(key, overflowValueHash)
			change = Change{Action: ActionFold, Text: OverflowValue}
			if admit {
				st.folded++
			}
		}
		e.sum += pair
		if admit && m.measuring {
			p.parts = append(p.parts, part{st, pair})
		}
		if rewrite {
			p.Changes[i] = change
		}
	}
	return e
}

// apply runs the attribute's rule. limited says that the attribute's limit has to be asked.
func (m *Metric) apply(st *attribute, p *Point, a *Attr, count bool) (key, value uint64, change Change, limited bool) {
	key, value = a.KeyHash, a.ValueHash
	r := st.rule
	if r == nil {
		return key, value, Change{}, true
	}
	if r.DryRun {
		if count {
			r.dryRun++
			m.l.stats.DryRun++
		}
		return key, value, Change{}, true
	}
	switch r.Action {
	case ActionKeep:
		return key, value, Change{}, false
	case ActionDrop:
		return key, value, Change{Action: ActionDrop}, false
	case ActionFold:
		return key, value, Change{Action: ActionFold, Text: OverflowValue}, false
	case ActionRename:
		for i := range p.Attrs {
			if p.Attrs[i].KeyHash == r.toHash {
				return key, value, Change{Action: ActionDrop}, false // the attribute that has the name already keeps it
			}
		}
		return r.toHash, value, Change{Action: ActionRename, Text: r.To}, true
	case ActionHash:
		text := r.buckets[Mix(value, mixB)%uint64(len(r.buckets))]
		return key, HashString(text), Change{Action: ActionHash, Text: text}, false
	case ActionTemplate:
		if a.IsText {
			text := m.l.template(a.Text, value)
			return key, HashString(text), Change{Action: ActionTemplate, Text: text}, true
		}
	}
	return key, value, Change{}, true
}

// maxTexts bounds the cache of templated values.
const maxTexts = 8192

func (l *Limiter) template(text string, hash uint64) string {
	if t, ok := l.texts[hash]; ok {
		return t
	}
	t := Template(text)
	if len(text) <= 512 {
		if len(l.texts) >= maxTexts {
			clear(l.texts)
		}
		if t == text {
			t = string([]byte(text)) // the caller's memory is a whole request's
		}
		l.texts[hash] = t
	}
	return t
}

// seated tells whether a value is admitted, and asks for a seat when it may.
func (m *Metric) seated(st *attribute, p *Point, value uint64, admit bool) bool {
	s := st.values.find(value)
	if !admit {
		return s != nil
	}
	if s == nil {
		if s = st.values.ask(value, !m.l.full()); s != nil {
			m.charge(seatBytes)
			m.l.note(change{of: changeValue, m: m, a: st, key: value})
		}
	}
	if s != nil {
		s.used = true
		if st.values.crowded() {
			p.weights = append(p.weights, weighing{&st.values, value, s})
		}
		return true
	}
	p.weights = append(p.weights, weighing{&st.values, value, nil})
	return false
}

func (m *Metric) charge(bytes int64) {
	m.accounted += bytes
	m.l.used += bytes
}

// weigh notes how much the point just evaluated adds to its series.
func (m *Metric) weigh(p *Point, weight float64) {
	for _, w := range p.weights {
		if w.seat != nil {
			w.seat.weight += weight
			if w.of.contested && !m.l.full() {
				m.charge(w.of.demand.insert(w.hash))
			}
			continue
		}
		m.charge(w.of.refuse(w.hash, weight, m.l.room()))
		m.crowded = true
	}
	p.weights = p.weights[:0]
}

// route is where a point goes.
type route struct {
	id     uint64 // of the incoming series
	stream *stream
	group  *Group // nil: the series is kept
	mark   Mark
	markAt int64
	reason Reason
	flip   bool
	from   *Group // the group it was in before, when flip is set
}

// route decides about a point. A series that was seen in this window keeps its place without another look, unless values
// compete and have to be weighed.
func (m *Metric) route(p *Point, kind Kind, closed bool) route {
	raw := uint64(0)
	for i := range p.Attrs {
		raw += Mix(p.Attrs[i].KeyHash, p.Attrs[i].ValueHash)
	}
	id := Mix(p.Series, raw)
	s := m.streams[id]
	if s != nil && s.generation == m.generation && s.window == m.l.window && !m.crowded {
		return m.settled(p, id, s)
	}
	if s != nil && s.generation == m.generation && s.window == m.l.window {
		m.weighAgain(p, id)
		return m.settled(p, id, s)
	}
	group, mark := m.place(p, id, kind, closed)
	markAt := p.Time
	if mark != MarkNone {
		markAt = m.owing(p)
	}
	if s == nil && (group == nil || kind.remembers()) {
		if s = m.l.newStream(); s == nil {
			return m.unremembered(p, id, kind, group, mark, markAt)
		}
		s.group = group
		m.streams[id] = s
		s.generation, s.window = m.generation, m.l.window
		m.l.note(change{of: changeStream, m: m, key: id, which: s})
		return route{id: id, stream: s, group: group, mark: mark, markAt: markAt}
	}
	if s == nil {
		return route{group: group, mark: mark, markAt: markAt}
	}
	s.generation, s.window = m.generation, m.l.window
	r := route{id: id, stream: s, group: group, mark: mark, markAt: markAt}
	if s.group != group {
		r.flip, r.from = true, s.group
		m.l.note(change{of: changeStream, m: m, key: id, which: s})
		s.group = group
		if r.from == nil { // a kept series ends
			m.freeSeat(id)
			s.set(flagOwed)
		} else if group == nil {
			s.drop(flagOwed) // it is back before its end was marked
		}
	}
	if r.mark == MarkNone && m.owed(s) {
		r.mark, r.markAt = MarkSeries, max(p.Time, s.time+step)
	}
	return r
}

// unremembered is the route of a new series when memory is used up: what needs no memory of its own is folded, the rest dropped.
func (m *Metric) unremembered(p *Point, id uint64, kind Kind, group *Group, mark Mark, markAt int64) route {
	if kind.remembers() {
		return route{reason: ReasonStateFull}
	}
	if group == nil {
		m.freeSeat(id)
		group = m.sharedGroup(p, kind)
	}
	return route{group: group, mark: mark, markAt: markAt}
}

// settled is the route of a series whose place in this window is known.
func (m *Metric) settled(p *Point, id uint64, s *stream) route {
	r := route{id: id, stream: s, group: s.group}
	if m.owed(s) {
		r.mark, r.markAt = MarkSeries, max(p.Time, s.time)
	}
	return r
}

// weighAgain notes the weights of a series that is settled, but competes.
func (m *Metric) weighAgain(p *Point, id uint64) {
	e := m.evaluate(p, true, false)
	m.measure(p, id, &e)
	if !m.series.crowded() || e.untracked {
		return
	}
	out := Mix(p.Series, e.sum)
	p.weights = append(p.weights, weighing{&m.series, out, m.series.find(out)})
}

// owing returns the time for the end mark of the group that place found to have lost its seat.
func (m *Metric) owing(p *Point) int64 {
	g := m.l.owing[len(m.l.owing)-1]
	g.out = max(p.Time, g.out+step)
	return g.out
}

// owed tells whether the end of a series that was kept before is still to be marked.
func (m *Metric) owed(s *stream) bool {
	if !s.has(flagOwed) || s.group == nil {
		return false
	}
	m.l.owed = append(m.l.owed, s)
	return true
}

// freeSeat gives up the seat of a series that is folded for another reason. Nobody gets it before the window's edge: who was
// refused in this window stays refused in it.
func (m *Metric) freeSeat(out uint64) {
	if s := m.series.find(out); s != nil {
		s.vacated = true
	}
}

func (m *Metric) countSeats() {
	m.l.series += len(m.series.seats) - m.counted
	m.counted = len(m.series.seats)
}

// place finds the outgoing series of a point: itself (a nil group), a series with folded attributes, or an overflow series.
func (m *Metric) place(p *Point, id uint64, kind Kind, closed bool) (group *Group, mark Mark) {
	if closed {
		p.weights = p.weights[:0]
		return m.sharedGroup(p, kind), MarkNone
	}
	e := m.evaluate(p, true, false)
	m.measure(p, id, &e)
	out := Mix(p.Series, e.sum)
	if !e.untracked {
		s := m.series.find(out)
		if s == nil {
			if s = m.series.ask(out, m.l.series < m.l.settings.Limits.Total && !m.l.full()); s != nil {
				m.charge(seatBytes)
				m.countSeats()
				m.l.note(change{of: changeSeries, m: m, key: out})
			}
		}
		if s != nil {
			s.used = true
			if m.series.crowded() {
				p.weights = append(p.weights, weighing{&m.series, out, s})
			}
			if !e.merged {
				return nil, MarkNone
			}
			return m.seatedGroup(out, p.Series, kind), MarkNone
		}
		p.weights = append(p.weights, weighing{&m.series, out, nil})
	}
	if g := m.groups[out]; g != nil && !e.untracked && !g.whole && (!g.ended || g.owed) {
		g.ended = true
		if g.owed = g.out != 0; g.owed {
			m.l.owing = append(m.l.owing, g)
			mark = MarkFolded
		}
		m.l.note(change{of: changeGroup, m: m, group: g})
	}
	return m.wholeGroup(p, kind), mark
}

func (m *Metric) seatedGroup(out, series uint64, kind Kind) *Group {
	g := m.groups[out]
	if g == nil {
		return m.newGroup(out, series, kind)
	}
	if g.ended {
		g.restart()
	}
	return g
}

func (m *Metric) newGroup(key, series uint64, kind Kind) *Group {
	g := &Group{kind: kind, merge: m.gauge, key: key, series: series}
	m.groups[key] = g
	m.l.used += groupBytes
	m.l.groups++
	m.l.note(change{of: changeGroup, m: m, group: g})
	return g
}

// wholeGroup is the overflow series of the point's own resource and protected attributes, while there is room for it.
func (m *Metric) wholeGroup(p *Point, kind Kind) *Group {
	sum := overflowPair
	for i := range p.Attrs {
		a := &p.Attrs[i]
		if st := m.attributes[a.KeyHash]; st != nil && st.protected {
			sum += Mix(a.KeyHash, a.ValueHash)
		}
	}
	key := Mix(p.Series, sum)
	if g := m.groups[key]; g != nil {
		return g
	}
	limits := &m.l.settings.Limits
	if m.overflow >= limits.OverflowSeries || m.l.full() || m.l.series+m.l.overflow >= limits.Total && m.overflow > 0 {
		return m.sharedGroup(p, kind)
	}
	m.overflow++
	m.l.overflow++
	g := m.newGroup(key, p.Series, kind)
	g.whole = true
	return g
}

// sharedGroup is the overflow series on the resource that carries only the scope. There is one per metric and kind, so it is made
// even when memory is used up.
func (m *Metric) sharedGroup(p *Point, kind Kind) *Group {
	key := Mix(p.Shared, overflowPair)
	g := m.groups[key]
	if g == nil {
		g = m.newGroup(key, p.Series, kind)
		g.whole, g.shared = true, true
		m.overflow++
		m.l.overflow++
	}
	return g
}

// Rewrite works out, into p.Changes, the attributes of g's output point from those of its member p.
func (m *Metric) Rewrite(p *Point, g *Group) {
	m.evaluate(p, false, true)
	p.Whole = g.whole
	if !g.whole {
		return
	}
	for i := range p.Attrs {
		st := m.attributes[p.Attrs[i].KeyHash]
		if g.shared || st == nil || !st.protected {
			p.Changes[i] = Change{Action: ActionDrop}
		} else {
			p.Changes[i] = Change{}
		}
	}
}

// FoldedChanges works out the attributes with which p's series was sent before it was folded whole, for MarkFolded.
func (m *Metric) FoldedChanges(p *Point) {
	m.evaluate(p, false, true)
	p.Whole = false
}

// measure feeds the sketches that say what folding an attribute would save.
func (m *Metric) measure(p *Point, id uint64, e *evaluation) {
	if !m.measuring {
		if !m.series.crowded() && 2*len(m.series.seats) < m.series.limit && !m.crowded {
			return
		}
		m.measuring = true
	}
	if m.l.full() {
		return
	}
	grown := m.wanted.insert(id)
	grown += m.full.insert(Mix(p.Series, e.full))
	for _, part := range p.parts {
		part.of.pair = part.pair
	}
	for _, a := range m.list {
		grown += a.without.insert(Mix(p.Series, e.sum-a.pair))
		a.pair = 0
	}
	m.charge(grown)
}

// edge closes the metric's window.
func (m *Metric) edge() {
	factor := m.l.settings.Displacement
	changed := false
	m.crowded = false
	before := uint64(0)
	for _, a := range m.list {
		before += a.values.displacements
		changed = a.values.edge(factor) || changed
		m.crowded = m.crowded || a.values.crowded()
		before -= a.values.displacements
	}
	before += m.series.displacements
	pressed := m.series.contested
	changed = m.series.edge(factor) || changed
	before -= m.series.displacements
	m.l.stats.Displaced -= before
	m.crowded = m.crowded || m.series.crowded()
	changed = m.squeeze(pressed) || changed
	changed = m.sweep() || changed
	m.countSeats()
	m.account()
	if changed {
		m.generation++
		m.l.note(change{of: changeSeats, m: m})
	}
	m.window = m.l.window
}

// sweep forgets what was not seen for long.
func (m *Metric) sweep() bool {
	now, stale, retention := m.l.now, int64(m.l.settings.MaxStale), int64(m.l.settings.Retention)
	windows := uint32(retention/int64(m.l.settings.Window)) + 2
	staleWindows := uint32(stale/int64(m.l.settings.Window)) + 1
	for id, s := range m.streams {
		idle := m.l.window - s.window
		if s.has(flagContributes) && idle >= staleWindows && now-s.time > stale {
			m.leaveLevel(s)
		}
		if idle >= windows {
			if s.has(flagContributes) {
				m.leaveLevel(s)
			}
			m.l.expired.add(id)
			m.l.dropStream(s)
			delete(m.streams, id)
		}
	}
	gone := false
	for key, g := range m.groups {
		if m.l.window-g.window >= windows && g.members == 0 && m.series.find(key) == nil {
			delete(m.groups, key)
			g.ended = true
			m.l.groups--
			m.l.used -= groupBytes
			if g.dist != nil {
				m.l.used -= g.dist.bytes()
			}
			if g.whole {
				m.overflow--
				m.l.overflow--
			}
			gone = true
		}
	}
	return gone
}

func (m *Metric) leaveLevel(s *stream) {
	s.drop(flagContributes)
	if s.group != nil {
		s.group.leave(s.last())
		m.stir(s.group)
	}
}

// stir notes that a level changed without a point of its own to say so.
func (m *Metric) stir(g *Group) {
	if !g.stirred && !g.ended && g.out != 0 {
		g.stirred = true
		m.stirred = append(m.stirred, g)
	}
}

// Stirred returns the levels of a series identity that changed because a member left them, and that no member's point has carried
// in this flush. The caller sends each with its Attributes. The result is valid until the next call.
func (m *Metric) Stirred(p *Point) []*Group {
	if len(m.stirred) == 0 {
		return nil
	}
	m.leaving = m.leaving[:0]
	m.stirred = slices.DeleteFunc(m.stirred, func(g *Group) bool {
		if g.series != p.Series && !g.shared || g.Attributes == nil && g.flush != m.l.flush+1 {
			return false
		}
		g.stirred = false
		if g.flush == m.l.flush+1 || g.ended {
			return true
		}
		g.flush = m.l.flush + 1
		g.pending.time = p.Time
		m.leaving = append(m.leaving, g)
		m.l.leaving = append(m.l.leaving, departure{m, g})
		m.l.note(change{of: changeGroup, m: m, group: g})
		return true
	})
	return m.leaving
}

// IsShared tells whether the group belongs on the resource that carries only the scope.
func (g *Group) IsShared() bool { return g.shared }

// IsLevel tells whether the group is a level, which may have to be sent without a member's point.
func (g *Group) IsLevel() bool { return g.kind.isLevel() }

// recount builds the levels that cannot be kept up to date by addition alone again from their members.
func (m *Metric) recount() {
	for _, g := range m.groups {
		if g.dirty {
			g.total, g.members, g.peak = accumulator{}, 0, 0
		}
	}
	for _, s := range m.streams {
		if s.has(flagContributes) && s.group != nil && s.group.dirty {
			s.group.enter(s.last(), s.time)
		}
	}
	for _, g := range m.groups {
		g.dirty = false
	}
}

func (m *Metric) account() {
	bytes := m.series.bytes() + m.full.bytes() + m.wanted.bytes()
	for _, a := range m.list {
		bytes += a.values.bytes() + a.without.bytes()
	}
	m.charge(bytes - m.accounted)
}

// empty tells whether nothing is left that a later point could need.
func (m *Metric) empty() bool {
	if len(m.streams) > 0 || len(m.groups) > 0 || len(m.series.seats) > 0 {
		return false
	}
	for _, a := range m.list {
		if len(a.values.seats) > 0 {
			return false
		}
	}
	return true
}

// Report is what one metric wants, what it gets and what would help.
type Report struct {
	Metric     string            `json:"metric"`
	Scope      string            `json:"scope"`
	Series     int               `json:"series"`
	Limit      int               `json:"limit"`
	Wanted     float64           `json:"wanted"`
	Folded     uint64            `json:"folded_points"`
	Whole      uint64            `json:"folded_whole_points"`
	Attributes []AttributeReport `json:"attributes"`
}

// AttributeReport is the same for one attribute.
type AttributeReport struct {
	Attribute string  `json:"attribute"`
	Values    int     `json:"values"`
	Limit     int     `json:"limit"`
	Wanted    float64 `json:"wanted"`
	Folded    uint64  `json:"folded_points"`
	// Saves is how many series fewer would be sent if the attribute were dropped.
	Saves     float64 `json:"saves_series"`
	Squeezed  bool    `json:"folded_as_a_whole,omitempty"`
	Protected bool    `json:"protected,omitempty"`
}

// Offenders reports the metrics that want most more than they get, worst first, up to limit of them.
func (l *Limiter) Offenders(limit int) []Report {
	all := []Report{}
	for _, m := range l.metrics {
		if m.folded == 0 && m.foldedWhole == 0 && !m.measuring {
			continue
		}
		all = append(all, m.report())
	}
	slices.SortFunc(all, func(a, b Report) int {
		return cmp.Or(cmp.Compare(b.Wanted-float64(b.Series), a.Wanted-float64(a.Series)), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Scope, b.Scope))
	})
	return all[:min(limit, len(all))]
}

func (m *Metric) report() Report {
	r := Report{
		Metric: m.key.name, Scope: m.label, Series: len(m.series.seats) + m.overflow, Limit: m.series.limit,
		Wanted: max(m.wanted.estimate(), m.lastWanted, float64(len(m.series.seats))), Folded: m.folded, Whole: m.foldedWhole,
	}
	for _, a := range m.list {
		r.Attributes = append(r.Attributes, AttributeReport{
			Attribute: a.key, Values: len(a.values.seats), Limit: a.values.limit, Wanted: max(a.values.wanted(), a.values.lastDemand),
			Folded: a.folded, Saves: max(a.lastSaves, 0), Squeezed: a.squeezed, Protected: a.protected,
		})
	}
	slices.SortFunc(r.Attributes, func(a, b AttributeReport) int {
		return cmp.Or(cmp.Compare(b.Wanted, a.Wanted), cmp.Compare(a.Attribute, b.Attribute))
	})
	return r
}
