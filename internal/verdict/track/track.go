// SPDX-License-Identifier: Apache-2.0

// Package track keeps, for each service, the arms that telemetry shows (versions, or variants of a flag), and compares those that run at
// the same time. What a target costs while it has one arm is a few hundred bytes; only arms that are compared keep slices.
package track

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/verdict"
)

// Key names what has arms. Subject is empty for a service's versions and the flag's key for its variants.
type Key struct {
	Service     string `json:"service"`
	Namespace   string `json:"namespace,omitempty"`
	Environment string `json:"environment,omitempty"`
	Subject     string `json:"subject,omitempty"`
}

func (k Key) clone() Key {
	return Key{strings.Clone(k.Service), strings.Clone(k.Namespace), strings.Clone(k.Environment), strings.Clone(k.Subject)}
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Subject, b.Subject))
}

// Settings bound a Tracker. The zero value stands for the defaults.
type Settings struct {
	// Slice is the length of a slice of event time. Default 10s.
	Slice time.Duration
	// Lateness is how long after its end a slice is judged. Default 30s.
	Lateness time.Duration
	// WarmUp is how long after a newcomer's first request its comparison begins: caches fill, code is compiled. Default 30s.
	WarmUp time.Duration
	// Retire is how long an arm may be silent before its comparisons end. Default 10m.
	Retire time.Duration
	// MaxTargets, MaxArms of a target and MaxPairs of all targets. Defaults 10000, 4, 256.
	MaxTargets, MaxArms, MaxPairs int
	// Verdict is how comparisons are judged.
	Verdict verdict.Settings
	// Collect has every arm keep its slices for Export, and compares none: another tracker does.
	Collect bool
}

func (s Settings) withDefaults() Settings {
	s.Slice = cmp.Or(s.Slice, 10*time.Second)
	s.Lateness = cmp.Or(s.Lateness, 30*time.Second)
	s.WarmUp = cmp.Or(s.WarmUp, 30*time.Second)
	s.Retire = cmp.Or(s.Retire, 10*time.Minute)
	s.MaxTargets = cmp.Or(s.MaxTargets, 10_000)
	s.MaxArms = cmp.Or(s.MaxArms, 4)
	s.MaxPairs = cmp.Or(s.MaxPairs, 256)
	return s
}

// Loss says why something that was seen is not in any comparison.
type Loss int

// The losses.
const (
	LossTargets Loss = iota // more targets than MaxTargets
	LossArms                // more arms of a target than MaxArms
	LossPairs               // more comparisons than MaxPairs
	LossLate                // its slice was judged already
	LossFuture              // its slice is too far ahead
	losses
)

// Losses are the names of the losses.
var Losses = [losses]string{"target_limit", "arm_limit", "comparison_limit", "late", "future"}

// Tracker is not safe for concurrent use. What it says depends on the order of event times alone.
type Tracker struct {
	settings Settings
	width    int64 // of a slice, in nanoseconds
	ring     int64 // slices that may be open at once
	warm     int64
	retire   int64

	targets map[Key]*target
	pairs   []*Pair
	closed  int64 // the last slice that was judged
	started bool
	lost    [losses]uint64
	fresh   []Newcomer
}

// target is what has arms.
type target struct {
	key   Key
	first int64
	last  int64
	arms  []*Arm
	// announced is the arm that a change says is the new one.
	announced string
	share     float64
}

// Arm is one version or variant.
type Arm struct {
	tracker *Tracker
	target  *target
	name    string
	// first and last are the slices of its first and last request.
	first, last int64
	requests    uint64
	pairs       int
	ring        []cell
	// open are the slices that wait for Export where slices are collected; latest is the one that was used last.
	open         map[int64]*verdict.Slice
	latest       cellRef
	late, onTime int
	exemplars    [][16]byte
	logged       [16]byte
	units        [resources]metricUnit
	// instances are those that were seen while it was compared; see Tracker.From.
	instances map[string]*seen
}

type cell struct {
	index int64
	slice verdict.Slice
}

// seen is which arm an instance reported last and how often that changed.
type seen struct {
	arm    *Arm
	turned int
}

// Newcomer is an arm that appeared beside or after another one of the same target, later than the warm-up after the target itself.
type Newcomer struct {
	Key  Key
	Name string
	At   time.Time
	// Released says that it is the canary of a comparison and that the baseline gets no requests any more.
	Released bool
}

// New returns an empty tracker.
func New(s Settings) *Tracker {
	s = s.withDefaults()
	t := &Tracker{settings: s, width: int64(s.Slice), targets: map[Key]*target{}}
	t.ring = int64(s.Lateness/s.Slice) + 8
	t.warm = int64((s.WarmUp + s.Slice - 1) / s.Slice)
	t.retire = int64(s.Retire / s.Slice)
	return t
}

// Targets returns how many targets are held and how many may be.
func (t *Tracker) Targets() (used, limit int) { return len(t.targets), t.settings.MaxTargets }

// TakeLost returns how much was left out since the last call, by reason.
func (t *Tracker) TakeLost() (lost [losses]uint64) {
	lost, t.lost = t.lost, lost
	return lost
}

// Slice returns the slice that an event time, in nanoseconds since 1970, falls into.
func (t *Tracker) Slice(at int64) int64 { return at / t.width }

// Arm returns the arm of that name, nil when there is no room for it. at is the event time it was seen.
func (t *Tracker) Arm(key Key, name string, at int64) *Arm {
	x := t.targets[key]
	if x == nil {
		if len(t.targets) >= t.settings.MaxTargets {
			t.lost[LossTargets]++
			return nil
		}
		key = key.clone()
		x = &target{key: key, first: t.Slice(at), last: t.Slice(at)}
		t.targets[key] = x
	}
	for _, a := range x.arms {
		if a.name == name {
			return a
		}
	}
	return t.newcomer(x, name, at)
}

func (t *Tracker) newcomer(x *target, name string, at int64) *Arm {
	if len(x.arms) >= t.settings.MaxArms {
		// The one longest silent makes room if it is retired.
		oldest := slices.MinFunc(x.arms, func(a, b *Arm) int { return cmp.Compare(a.last, b.last) })
		if oldest.pairs > 0 || t.Slice(at)-oldest.last < t.retire {
			t.lost[LossArms]++
			return nil
		}
		x.arms = slices.DeleteFunc(x.arms, func(a *Arm) bool { return a == oldest })
	}
	a := &Arm{tracker: t, target: x, name: strings.Clone(name), first: t.Slice(at), last: t.Slice(at)}
	x.arms = append(x.arms, a)
	// Of arms that were all there when the target was first seen, none is new.
	if len(x.arms) > 1 && a.first-x.first > t.warm {
		t.fresh = append(t.fresh, Newcomer{Key: x.key, Name: a.name, At: time.Unix(0, at).UTC()})
	}
	t.pairUp(x, a)
	return a
}

// pairUp begins a comparison of a newcomer, or of an arm that is back, with the arm beside it.
func (t *Tracker) pairUp(x *target, a *Arm) {
	if t.settings.Collect {
		return
	}
	var beside *Arm
	for _, b := range x.arms {
		if b != a && a.last-b.last < t.retire && (beside == nil || b.outranks(beside, a.last)) {
			beside = b
		}
	}
	if beside == nil || t.paired(a, beside) {
		return
	}
	if len(t.pairs) >= t.settings.MaxPairs {
		t.lost[LossPairs]++
		return
	}
	begin := max(a.last, t.closed) + t.warm
	p := &Pair{
		canary: a, baseline: beside, begin: begin, comparison: verdict.New(t.settings.Verdict, begin),
		undecided: a.first-beside.first <= t.warm && beside.first-x.first <= t.warm && a.first-x.first <= t.warm,
	}
	if x.announced == beside.name {
		p.canary, p.baseline, p.undecided = beside, a, false
	}
	if x.announced == a.name && x.share > 0 {
		p.comparison.Promise(x.share)
	}
	for _, arm := range []*Arm{a, beside} {
		arm.pairs++
		if arm.ring == nil {
			arm.ring = make([]cell, t.ring)
		}
	}
	t.pairs = append(t.pairs, p)
}

// outranks prefers, as a baseline, what still has traffic, and then what has had most.
func (a *Arm) outranks(b *Arm, now int64) bool {
	const recent = 6
	x, y := now-a.last < recent, now-b.last < recent
	if x != y {
		return x
	}
	return a.requests > b.requests
}

func (t *Tracker) paired(a, b *Arm) bool {
	return slices.ContainsFunc(t.pairs, func(p *Pair) bool {
		return p.canary == a && p.baseline == b || p.canary == b && p.baseline == a
	})
}

// Announce says which arm a change introduces, and the share of the traffic it was promised; zero where it was promised none. It is the
// canary of a comparison that has not begun.
func (t *Tracker) Announce(key Key, name string, share float64) {
	x := t.targets[key]
	if x == nil {
		return
	}
	x.announced, x.share = strings.Clone(name), share
	for _, p := range t.pairs {
		if p.canary.target != x {
			continue
		}
		if p.baseline.name == name && t.closed < p.begin {
			p.canary, p.baseline = p.baseline, p.canary
		}
		if p.canary.name == name {
			p.undecided = false
			if share > 0 {
				p.comparison.Promise(share)
			}
		}
	}
}

// TakeNewcomers returns the arms that appeared since the last call.
func (t *Tracker) TakeNewcomers() []Newcomer {
	fresh := t.fresh
	t.fresh = nil
	return fresh
}

// Find returns the arm of that name, nil when it was never seen.
func (t *Tracker) Find(key Key, name string) *Arm { return t.find(key, name) }

// Compared reports whether slices of the arm are kept, so that what only comparisons need can be left out otherwise.
func (a *Arm) Compared() bool { return a != nil && (a.ring != nil || a.tracker.settings.Collect) }

// Observe counts one request that ended at event time end, in nanoseconds since 1970. trace may be the zero value.
func (a *Arm) Observe(end int64, d time.Duration, failed bool, trace [16]byte) {
	if a == nil {
		return
	}
	index := end / a.tracker.width
	a.requests++
	if index > a.last {
		a.seenAt(index)
	}
	if !a.Compared() {
		return
	}
	s := a.at(index)
	if s == nil {
		return
	}
	s.Observe(d, failed)
	if failed && len(a.exemplars) < maxExemplars && trace != [16]byte{} {
		a.exemplars = append(a.exemplars, trace)
	}
}

const maxExemplars = 5

// seenAt moves the arm's last slice and pairs it up again if it was retired.
func (a *Arm) seenAt(index int64) {
	t := a.tracker
	if index > t.closed+t.ring && t.started {
		return // counted where the slice is looked for
	}
	back := index-a.last >= t.retire
	a.last = index
	a.target.last = max(a.target.last, index)
	if a.pairs == 0 && len(a.target.arms) > 1 && (back || a.ring == nil) {
		t.pairUp(a.target, a)
	}
}

// at returns the open slice of an index; nil when it is closed, or too far ahead.
func (a *Arm) at(index int64) *verdict.Slice { return a.slot(index, 1) }

// slot is at, for so many observations at once.
func (a *Arm) slot(index int64, n uint64) *verdict.Slice {
	t := a.tracker
	switch {
	case t.settings.Collect:
		return a.collected(index)
	case t.started && index <= t.closed:
		t.lost[LossLate] += n
		a.late += int(n)
		return nil
	case t.started && index > t.closed+t.ring:
		t.lost[LossFuture] += n
		a.late += int(n)
		return nil
	}
	a.onTime += int(n)
	c := &a.ring[index%t.ring]
	if c.index != index {
		*c = cell{index: index}
	}
	return &c.slice
}

// Logged counts an error that was logged. Further ones of the same trace, one after the other, are the same request's.
func (a *Arm) Logged(at int64, trace [16]byte) {
	if !a.Compared() || trace != [16]byte{} && trace == a.logged {
		return
	}
	a.logged = trace
	if s := a.at(at / a.tracker.width); s != nil {
		s.Logged++
	}
}

// Unit reports whether name in unit is what the arm first reported for a resource, and
// notes a fault where only the unit differs.
func (a *Arm) Unit(resource Resource, name, unit string, at int64) bool {
	known := &a.units[resource]
	if known.name == "" {
		*known = metricUnit{strings.Clone(name), strings.Clone(unit)}
	}
	if known.name == name && known.unit != unit {
		a.Fault(at, verdict.UnitChanged)
	}
	return known.name == name && known.unit == unit
}

// Resource is one that Unit knows.
type Resource int

// The resources.
const (
	Memory Resource = iota
	CPU
	resources
)

type metricUnit struct{ name, unit string }

// Use takes an instance's use of a resource, in bytes or cores.
func (a *Arm) Use(resource Resource, at int64, value float64) {
	if !a.Compared() {
		return
	}
	s := a.at(at / a.tracker.width)
	if s == nil {
		return
	}
	gauge := &s.Memory
	if resource == CPU {
		gauge = &s.CPU
	}
	if !gauge.Observe(value, 1) {
		s.Faults |= verdict.NotFinite
	}
}

// Fault notes that something was wrong with the arm's data.
func (a *Arm) Fault(at int64, f verdict.Faults) {
	if a.Compared() {
		if s := a.at(at / a.tracker.width); s != nil {
			s.Faults |= f
		}
	}
}

// maxInstances bounds the instances that are remembered of a target while it is compared.
const maxInstances = 256

// From says which instance reported the arm. An instance may become another version once, as it is restarted; one that turns back
// reports two versions at once.
func (a *Arm) From(instance string, at int64) {
	if !a.Compared() || instance == "" || a.ring == nil && len(a.target.arms) < 2 {
		return
	}
	first := a.target.arms[0]
	if first.instances == nil {
		first.instances = map[string]*seen{}
	}
	one := first.instances[instance]
	switch {
	case one == nil && len(first.instances) < maxInstances:
		first.instances[strings.Clone(instance)] = &seen{arm: a}
	case one == nil || one.arm == a:
	default:
		one.turned++
		other := one.arm
		one.arm = a
		if one.turned > 1 {
			a.Fault(at, verdict.MixedInstance)
			other.Fault(at, verdict.MixedInstance)
		}
	}
}
