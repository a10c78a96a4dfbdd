// SPDX-License-Identifier: Apache-2.0

// Package outcome judges afterwards what became of signals and changes: did what was predicted come true, did it help, was it taken back.
// What it learns calibrates the confidence of later signals and opens the circuit breaker.
package outcome

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/guardrail"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Settings bound a Detector.
type Settings struct {
	// MaxTargets bounds the objectives whose events are followed, the signals that wait for an action, and the judgements that wait.
	MaxTargets int
	// Window is how long before and after an action events are compared; Settle is how long after it they are left out.
	Window, Settle time.Duration
	// RevertWithin is how long after a change a rollback of its service takes it back.
	RevertWithin time.Duration
}

// Default returns the settings for everything but the bound.
func Default(maxTargets int) Settings {
	return Settings{MaxTargets: maxTargets, Window: 10 * time.Minute, Settle: time.Minute, RevertWithin: time.Hour}
}

// open is a signal that has not ended.
type open struct {
	Kind       string
	Target     signal.Target
	Verb       string
	Params     map[string]string
	Offers     []string
	Confidence float64
	Burn       *float64
	Metric     string
	ErrorRate  *float64 // the target ratio of its objective
	Since      time.Time
	Said       time.Time
	Acted      bool
}

// pending is an action whose effect is awaited.
type pending struct {
	ChangeID, Actor, Action string
	Kind                    detect.ChangeKind
	Target                  signal.Target
	At                      time.Time
	// SignalID and Signal are what it carried out; empty and nil for a change that nobody recommended.
	SignalID string
	Signal   *open
	// Confounded says that another change of the service fell into the window.
	Confounded bool
}

// key names an objective of a service.
type key struct{ service, objective string }

// Detector follows objectives, signals and changes.
type Detector struct {
	settings Settings

	mu      sync.Mutex
	series  map[key]*series
	open    map[string]*open
	pending []*pending
	// landed are changes that may still be taken back, oldest first.
	landed  []*pending
	said    []detect.Candidate
	tallies map[string]*Tally
	breaker guardrail.Breaker
	benefit Benefit
}

// Tally is what became of the acted-on signals of one kind.
type Tally struct {
	Confirmed, Refuted, NoEffect float64
}

// Benefit is what acting on signals brought, since the state began.
type Benefit struct {
	// Decided and DecideSeconds are the signals that were acted on, and how long that took from when they were first said.
	Decided       int64
	DecideSeconds float64
	// Predicted and Realised are sums over the signals judged of the burn rate that acting should take away, and did; Regret is what was
	// promised and not kept.
	Predicted, Realised, Regret float64
}

// New returns a detector that knows of nothing.
func New(settings Settings) *Detector {
	return &Detector{settings: settings, series: map[key]*series{}, open: map[string]*open{}, tallies: map[string]*Tally{}}
}

// Name implements detect.Detector.
func (*Detector) Name() string { return "outcome" }

// Fill implements detect.Detector.
func (d *Detector) Fill() detect.Fill {
	d.mu.Lock()
	defer d.mu.Unlock()
	return detect.Fill{Used: max(len(d.series), len(d.open), len(d.pending)), Limit: d.settings.MaxTargets}
}

// Observe counts events of an objective at an event time. Numbers are finite and not negative; whoever calls has seen to it. Neither
// text is kept unless the objective is new.
func (d *Detector) Observe(service, objective string, at time.Time, good, bad float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.series[key{service, objective}]
	if s == nil {
		if len(d.series) >= d.settings.MaxTargets {
			return
		}
		s = &series{}
		d.series[key{strings.Clone(service), strings.Clone(objective)}] = s
	}
	s.add(at, good, bad)
}

// unjudged are the kinds of signal that nobody acts on.
var unjudged = map[string]bool{
	signal.KindOutcome: true, signal.KindPolicyDecision: true, signal.KindBlind: true, signal.KindCoverage: true,
}

// ObserveSignal takes a signal as it was said.
func (d *Detector) ObserveSignal(e *signal.Envelope) {
	if unjudged[e.Kind] {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.open[e.ID]
	if e.State.Ended() {
		if o != nil {
			d.ended(e, o)
		}
		return
	}
	if o == nil {
		if len(d.open) >= d.settings.MaxTargets {
			return
		}
		o = &open{Kind: e.Kind, Target: e.Target, Since: e.ValidFrom, Said: e.UpdatedAt}
		d.open[e.ID] = o
	}
	o.Verb, o.Params, o.Offers, o.Confidence = e.Action.Verb, maps.Clone(e.Action.Params), slices.Clone(e.Action.Alternatives), e.Confidence.Value
	if e.Budget != nil && e.Budget.Burn != nil {
		o.Burn = new(*e.Budget.Burn)
	}
	if e.Expected != nil {
		o.Metric = e.Expected.Metric
	}
	if t, ok := e.Evidence.Statistics["target"]; ok {
		o.ErrorRate = new(t)
	}
}

// acts reports whether somebody could have acted on the signal.
func (o *open) acts() bool {
	switch o.Verb {
	case "none", "hold", "wait", "review":
		return false
	case "investigate":
		return len(o.Offers) > 0
	default:
		return true
	}
}

// ended judges a signal that is over: one that nobody acted on.
func (d *Detector) ended(e *signal.Envelope, o *open) {
	delete(d.open, e.ID)
	if o.Acted || !o.acts() || e.State == signal.StateSuperseded {
		return
	}
	d.say(e.UpdatedAt, o.Target, e.ID, o, nil, verdict{value: signal.ResultNotActed, reason: string(e.State)})
}

// ObserveChange implements detect.ChangeObserver.
func (d *Detector) ObserveChange(c detect.Change) {
	if c.Action == "approve" || c.State != "succeeded" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &pending{
		ChangeID: signal.CleanText(c.ID, signal.MaxText), Actor: signal.CleanText(c.Tool, signal.MaxText), Action: c.Action, Kind: c.Kind, At: c.Time,
		Target: signal.Target{
			Service: signal.CleanText(c.Service, signal.MaxText), Namespace: signal.CleanText(c.Namespace, signal.MaxText),
			Environment: signal.CleanText(c.Environment, signal.MaxText), Revision: signal.CleanText(c.Version, signal.MaxText),
		},
	}
	again := slices.ContainsFunc(d.pending, func(other *pending) bool {
		return other.Target.Service == p.Target.Service && other.At.Sub(p.At).Abs() < d.settings.Window && sameRevision(other, p)
	})
	if c.Kind == detect.Deployment && c.Action == "rollback" && !again {
		d.reverted(p)
	}
	p.SignalID, p.Signal = d.carriedOut(&c)
	if p.Signal != nil && !p.Signal.Acted {
		p.Signal.Acted = true
		d.breaker.Acted++
		d.benefit.Decided++
		d.benefit.DecideSeconds += max(c.Time.Sub(p.Signal.Said).Seconds(), 0)
	}
	if c.Service == "" {
		return
	}
	if again {
		return // the same change, told by another or seen in telemetry
	}
	for _, other := range d.pending {
		if other.Target.Service == p.Target.Service && other.At.Sub(p.At).Abs() < d.settings.Window {
			other.Confounded, p.Confounded = true, true
		}
	}
	if len(d.pending) >= d.settings.MaxTargets {
		return
	}
	d.pending = append(d.pending, p)
	d.landed = append(d.landed, p)
	if over := len(d.landed) - d.settings.MaxTargets; over > 0 {
		d.landed = slices.Delete(d.landed, 0, over)
	}
}

func sameRevision(a, b *pending) bool {
	return a.Kind == b.Kind && a.Target.Revision != "" && a.Target.Revision == b.Target.Revision
}

// reverted notes that the newest change of a service was taken back.
func (d *Detector) reverted(p *pending) {
	for i, old := range slices.Backward(d.landed) {
		if old.Target.Service != p.Target.Service || old.Kind != detect.Deployment || old.Action == "rollback" || p.At.Sub(old.At) > d.settings.RevertWithin || p.At.Before(old.At) {
			continue
		}
		if old.Signal != nil {
			d.breaker.Reverted++
		}
		d.landed = slices.Delete(d.landed, i, i+1)
		return
	}
}

// carriedOut finds the signal that a change carries out: the one it names, or one of its target that recommends what it does.
func (d *Detector) carriedOut(c *detect.Change) (string, *open) {
	if o := d.open[c.SignalID]; o != nil {
		return c.SignalID, o
	}
	for _, id := range slices.Sorted(maps.Keys(d.open)) {
		o := d.open[id]
		if !o.Acted && o.Target.Service == c.Service && c.Service != "" && o.recommends(c) {
			return id, o
		}
	}
	return "", nil
}

func (o *open) recommends(c *detect.Change) bool {
	verbs := append([]string{o.Verb}, o.Offers...)
	switch {
	case c.Kind == detect.Deployment && c.Action == "rollback":
		return slices.Contains(verbs, "rollback")
	case c.Kind == detect.Deployment:
		return slices.Contains(verbs, "promote") && o.Target.Revision != "" && o.Target.Revision == c.Version
	case c.Kind == detect.FeatureFlag:
		return slices.Contains(verbs, "disable_flag") && (o.Params["flag"] == "" || o.Params["flag"] == c.Flag)
	default:
		return false
	}
}

// Advance implements detect.Detector: it judges the actions whose time has come.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	d.mu.Lock()
	defer d.mu.Unlock()
	// One more slice, so that the last one is complete.
	wait := d.settings.Settle + d.settings.Window + 2*sliceWidth
	var due []*pending
	d.pending = slices.DeleteFunc(d.pending, func(p *pending) bool {
		if now.Sub(p.At) < wait {
			return false
		}
		due = append(due, p)
		return true
	})
	slices.SortStableFunc(due, func(a, b *pending) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ChangeID, b.ChangeID)) })
	for _, p := range due {
		d.judge(now, p)
	}
	d.landed = slices.DeleteFunc(d.landed, func(p *pending) bool { return now.Sub(p.At) > d.settings.RevertWithin })
	maps.DeleteFunc(d.series, func(_ key, s *series) bool { return now.Sub(s.LastSeen) > slicesSpan })
	said := d.said
	d.said = nil
	return said
}

const slicesSpan = sliceCount * sliceWidth

// Tallies returns what became of acted-on signals, by kind.
func (d *Detector) Tallies() map[string]Tally {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]Tally{}
	for kind, t := range d.tallies {
		out[kind] = *t
	}
	return out
}

// Benefit returns what acting on signals brought.
func (d *Detector) Benefit() Benefit {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.benefit
}

// Breaker returns what became of the actions that were judged.
func (d *Detector) Breaker() guardrail.Breaker {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.breaker
}

// How far the outcomes of a kind's earlier signals move the confidence of its next: as if priorWeight outcomes had agreed with the
// detector's own confidence, and not before minOutcomes were seen.
const (
	priorWeight = 10
	minOutcomes = 5
)

// Calibrate returns the confidence in a signal of a kind in the light of what became of earlier ones, and on how many of them that
// rests; 0 where there are too few.
func (d *Detector) Calibrate(kind string, confidence float64) (float64, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tallies[kind]
	if t == nil {
		return confidence, 0
	}
	n := t.Confirmed + t.Refuted + t.NoEffect
	if n < minOutcomes {
		return confidence, 0
	}
	return (priorWeight*confidence + t.Confirmed) / (priorWeight + n), int(n)
}
