// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind is the type of a policy.
type Kind uint8

// The kinds of policies.
const (
	KindAlways Kind = iota
	KindLatency
	KindNumber
	KindProbabilistic
	KindStatus
	KindString
	KindRate
	KindBytes
	KindSpanCount
	KindBool
	KindCondition
	KindTraceState
	KindTraceFlags
	KindAnd
	KindNot
	KindDrop
	KindComposite
	KindSLO
	KindDiversity
	KindSlow
	KindRare
	KindChange
	KindDynamic
	KindLogSeverity
	KindRules
	KindLinked
)

// Policy describes one policy. Which fields matter depends on Kind.
type Policy struct {
	Name string
	Kind Kind

	// Key names the attribute, or the tracestate member, that String, Number, Bool and TraceState look at.
	Key string
	// Values are what String and TraceState accept, names of objectives for SLO, and UNSET, OK or ERROR for Status.
	Values []string
	// Regex makes Values of String regular expressions that match anywhere; CacheSize bounds the values whose result is remembered.
	Regex     bool
	CacheSize int
	// Invert keeps the trace when nothing in it matches.
	Invert bool
	// Bool is the value Bool looks for.
	Bool bool
	// Min and Max bound, inclusively, a Number, and the spans of SpanCount (Max 0: no bound). Min is also the severity number from which on
	// LogSeverity keeps a trace (0: that of ERROR).
	Min, Max int64
	// LatencyAbove and LatencyUpTo bound a trace's duration in milliseconds: above the first, and at most the second unless it is 0.
	LatencyAbove, LatencyUpTo int64
	// Percent is the share of traces Probabilistic and Change keep; Salt goes into the hash of the trace ID.
	Percent float64
	Salt    string
	// PerSecond and Burst are the token bucket of Rate (spans), Bytes (bytes) and Composite (spans).
	PerSecond, Burst int64
	// Goal is the spans a second that Dynamic aims for.
	Goal float64
	// Condition is the number that Conditions.Match gets for a Condition policy.
	Condition int
	// Rules are those of a Rules policy, in order.
	Rules []Rule
	// Sub are the parts of And, Not (one), Drop and Composite; Shares are the spans per second of each part of a Composite.
	Sub    []Policy
	Shares []int64

	// Interval is the time over which Diversity, Rare and Dynamic count, and for how long a Change counts as new.
	Interval time.Duration
	// Count is how many traces of a shape (Diversity) or route (Rare) are kept in an Interval.
	Count int
	// Quantile is the share of a route's traces that Slow treats as fast, in (0, 1).
	Quantile float64
	// Limit bounds the shapes, routes or versions a policy remembers.
	Limit int
}

// errNoNumberBounds is what a Number policy without bounds gets.
var errNoNumberBounds = errors.New("at least one of min_value and max_value must be set")

// node is a compiled policy. Which facts make it true is in the bits of a trace: slot for "matched", slot+1 for "failed".
type node struct {
	name   string
	kind   Kind
	slot   int
	invert bool

	min, max  int64
	threshold uint64
	salt      int

	limiter *limiter
	sub     []*node
	lanes   []*limiter
	dynamic *dynamicRates
	rules   []rule
}

// leaf is a test of single spans and resources, made while they arrive.
type leaf struct {
	kind      Kind
	slot      int
	key       string
	match     *textMatcher
	min, max  int64
	truth     bool
	statuses  uint8
	condition int
}

// learner is a fact about a whole trace that depends on the traces before it.
type learner interface {
	// learn reports whether the fact holds for t and takes t into account.
	learn(t *trace, now time.Time) bool
}

type learnedSlot struct {
	slot    int
	learner learner
	// notable is what the trace is marked with, which weighs in the budget.
	notable fact
}

// Program is a compiled set of policies. It holds the state of limiters and learners, so each Engine needs one of its own.
type Program struct {
	drops, policies []*node
	// lasting are the policies that, once they keep a trace, keep it whatever it still sends.
	lasting []*node

	keyed      []keyedLeaves
	statuses   []leaf
	states     []leaf
	flags      []leaf
	latencies  []leaf
	conditions []leaf
	slo        []leaf
	learners   []learnedSlot
	burning    []int
	severities []leaf
	linked     []int

	salts      []string
	thresholds []uint64
	limiters   []*limiter
	dynamics   []*dynamicRates
	monotone   bool
	stateful   []string
	slots      int
	needsBytes bool
	// needsVersions, needsLinks and followsStructure tell what else of a trace somebody asks for.
	needsVersions, needsLinks, followsStructure bool
	// trial is a set of policies that is scored and decides nothing; tried marks one.
	trial *Program
	tried bool
	// durations, where a budget has to choose, tells which spans are slow.
	durations *operations
	// splitResources makes each resource of a request a fragment of its own, which deciding at ingest looks at one by one.
	splitResources bool
}

// keyedLeaves are the tests of one attribute.
type keyedLeaves struct {
	key    string
	leaves []leaf
}

// Compile checks policies and turns them into a Program. Names must be set and unique.
func Compile(policies []Policy) (*Program, error) {
	p := &Program{monotone: true}
	if err := p.compileAll(policies); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Program) compileAll(policies []Policy) error {
	names := make(map[string]struct{}, len(policies))
	for i := range policies {
		policy := &policies[i]
		if policy.Name == "" {
			return errors.New("policy name cannot be empty")
		}
		if _, taken := names[policy.Name]; taken {
			return fmt.Errorf("duplicate policy name %q", policy.Name)
		}
		names[policy.Name] = struct{}{}
		n, stateful, err := p.compile(policy, false)
		if err != nil {
			return fmt.Errorf("policy %q: %w", policy.Name, err)
		}
		if stateful {
			p.stateful = append(p.stateful, policy.Name)
		}
		if policy.Kind == KindDrop {
			p.drops = append(p.drops, n)
		} else {
			p.policies = append(p.policies, n)
			if n.lasts() {
				p.lasting = append(p.lasting, n)
			}
		}
	}
	return nil
}

// notable is what the learning policies mark traces with.
func (p *Program) notable() fact {
	if p.tried {
		return factNoted
	}
	return factLearned
}

// Stateful names the policies whose verdict can change once more spans arrive or depends on other traces.
func (p *Program) Stateful() []string { return p.stateful }

// Names lists the policies in the order they are evaluated in: Drop policies first.
func (p *Program) Names() []string {
	names := make([]string, 0, len(p.drops)+len(p.policies))
	for _, n := range p.drops {
		names = append(names, n.name)
	}
	for _, n := range p.policies {
		names = append(names, n.name)
	}
	return names
}

// needsMore tells whether traces need details.
func (p *Program) needsMore() bool { return p.needsLinks || p.followsStructure }

func (p *Program) slot() int {
	p.slots++
	return p.slots - 1
}

// compile turns one policy into a node and says whether it is stateful. underNot marks what a Not negates.
func (p *Program) compile(policy *Policy, underNot bool) (n *node, stateful bool, err error) {
	n = &node{name: policy.Name, kind: policy.Kind, invert: policy.Invert}
	switch policy.Kind {
	case KindAlways:
	case KindLatency:
		n.slot = p.slot()
		p.latencies = append(p.latencies, leaf{slot: n.slot, min: policy.LatencyAbove, max: policy.LatencyUpTo})
		stateful = policy.LatencyUpTo > 0
	case KindNumber, KindString, KindBool:
		err = p.compileAttribute(n, policy)
	case KindStatus:
		n.slot = p.slot()
		var mask uint8
		mask, err = statusMask(policy.Values)
		p.statuses = append(p.statuses, leaf{slot: n.slot, statuses: mask})
	case KindTraceState:
		n.slot = p.slot()
		p.states = append(p.states, leaf{slot: n.slot, key: policy.Key, match: newTraceStateMatcher(policy.Key, policy.Values)})
	case KindTraceFlags:
		n.slot = p.slot()
		p.flags = append(p.flags, leaf{slot: n.slot})
	case KindCondition:
		n.slot = p.slot()
		p.slot()
		p.conditions = append(p.conditions, leaf{slot: n.slot, condition: policy.Condition})
	case KindSpanCount:
		n.min, n.max = policy.Min, policy.Max
		stateful = policy.Max > 0
	case KindProbabilistic:
		p.compileProbabilistic(n, policy)
		p.monotone = p.monotone && !underNot
	case KindRate, KindBytes:
		n.limiter = newLimiter(policy.PerSecond, policy.Burst, policy.Kind == KindBytes)
		p.limiters = append(p.limiters, n.limiter)
		p.monotone = p.monotone && !underNot
		p.needsBytes = p.needsBytes || policy.Kind == KindBytes
		stateful = true
	case KindRules:
		stateful = true
		err = p.compileRules(n, policy)
		p.monotone = p.monotone && !underNot
	case KindLinked:
		n.slot = p.slot()
		p.linked = append(p.linked, n.slot)
		stateful, p.needsLinks = true, true
	case KindAnd, KindNot, KindDrop, KindComposite:
		stateful, err = p.compileSubs(n, policy, underNot)
	default:
		stateful = true
		err = p.compileLearned(n, policy)
		p.monotone = p.monotone && !(underNot && policy.Kind == KindDynamic)
	}
	return n, stateful, err
}

func (p *Program) compileSubs(n *node, policy *Policy, underNot bool) (stateful bool, err error) {
	if policy.Kind == KindNot && len(policy.Sub) != 1 {
		return false, errors.New("not needs exactly one sub-policy")
	}
	for i := range policy.Sub {
		negated := underNot != (policy.Kind == KindNot || policy.Kind == KindDrop)
		sub, subStateful, err := p.compile(&policy.Sub[i], negated)
		if err != nil {
			return false, fmt.Errorf("sub-policy %q: %w", policy.Sub[i].Name, err)
		}
		stateful = stateful || subStateful
		n.sub = append(n.sub, sub)
		if policy.Kind == KindComposite {
			lane := newLimiter(min(policy.Shares[i], policy.PerSecond), min(policy.Shares[i], policy.PerSecond), false)
			n.lanes = append(n.lanes, lane)
			p.limiters = append(p.limiters, lane)
			p.monotone = p.monotone && !underNot
			stateful = true
		}
	}
	return stateful, nil
}

func (p *Program) compileAttribute(n *node, policy *Policy) error {
	n.slot = p.slot()
	l := leaf{kind: policy.Kind, slot: n.slot, key: policy.Key, truth: policy.Bool, min: policy.Min, max: policy.Max}
	switch policy.Kind {
	case KindString:
		m, err := newTextMatcher(policy.Values, policy.Regex, policy.CacheSize)
		if err != nil {
			return err
		}
		l.match = m
	case KindNumber:
		if policy.Min == 0 && policy.Max == 0 {
			return errNoNumberBounds
		}
		if policy.Min == 0 {
			l.min = -1 << 63
		}
		if policy.Max == 0 {
			l.max = 1<<63 - 1
		}
	}
	p.addKeyed(l)
	return nil
}

func (p *Program) addKeyed(l leaf) {
	for i := range p.keyed {
		if p.keyed[i].key == l.key {
			p.keyed[i].leaves = append(p.keyed[i].leaves, l)
			return
		}
	}
	p.keyed = append(p.keyed, keyedLeaves{key: l.key, leaves: []leaf{l}})
}

func (p *Program) compileProbabilistic(n *node, policy *Policy) {
	salt := policy.Salt
	if salt == "" {
		salt = defaultSalt
	}
	n.salt = -1
	for i, known := range p.salts {
		if known == salt {
			n.salt = i
		}
	}
	if n.salt < 0 {
		n.salt = len(p.salts)
		p.salts = append(p.salts, salt)
	}
	n.threshold = ThresholdOf(policy.Percent / 100)
	p.thresholds = append(p.thresholds, n.threshold)
}

func (p *Program) compileLearned(n *node, policy *Policy) error {
	n.slot = p.slot()
	switch policy.Kind {
	case KindSLO:
		p.slo = append(p.slo, leaf{slot: n.slot, match: namesMatcher(policy.Values)})
		p.burning = append(p.burning, n.slot)
		return nil
	case KindDiversity:
		p.learners = append(p.learners, learnedSlot{n.slot, newCounter(policy, shapeOf), p.notable()})
	case KindRare:
		p.learners = append(p.learners, learnedSlot{n.slot, newCounter(policy, routeOf), p.notable()})
	case KindSlow:
		p.learners = append(p.learners, learnedSlot{n.slot, newSlowRoutes(policy), p.notable()})
	case KindChange:
		p.needsVersions = true
		n.salt = -1
		n.threshold = ThresholdOf(policy.Percent / 100)
		p.thresholds = append(p.thresholds, n.threshold)
		p.learners = append(p.learners, learnedSlot{n.slot, newChanges(policy), p.notable()})
	case KindLogSeverity:
		least := policy.Min
		if least <= 0 {
			least = severityError
		}
		p.severities = append(p.severities, leaf{slot: n.slot, min: least})
	case KindDynamic:
		n.dynamic = newDynamicRates(policy)
		p.dynamics = append(p.dynamics, n.dynamic)
		p.learners = append(p.learners, learnedSlot{n.slot, n.dynamic, 0})
	default:
		return fmt.Errorf("unknown kind %d", policy.Kind)
	}
	return nil
}

// lasts tells whether more spans cannot take back what the policy decided.
func (n *node) lasts() bool {
	switch n.kind {
	case KindAlways, KindStatus, KindTraceState, KindTraceFlags, KindLatency, KindCondition:
		return true
	case KindSpanCount:
		return n.max == 0
	case KindNumber, KindString, KindBool:
		return !n.invert
	case KindAnd:
		return !slices.ContainsFunc(n.sub, func(sub *node) bool { return !sub.lasts() })
	}
	return false
}

func statusMask(names []string) (mask uint8, err error) {
	if len(names) == 0 {
		return 0, errors.New("expected at least one status code to filter on")
	}
	for _, name := range names {
		switch name {
		case "UNSET":
			mask |= 1 << 0
		case "OK":
			mask |= 1 << 1
		case "ERROR":
			mask |= 1 << 2
		default:
			return 0, fmt.Errorf("unknown status code %q, supported: OK, ERROR, UNSET", name)
		}
	}
	return mask, nil
}
