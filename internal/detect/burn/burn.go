// SPDX-License-Identifier: Apache-2.0

// Package burn turns the alert transitions of service level objectives into signals of kind optimization.slo.burn: one signal for each
// episode in which an objective, or one group of it, burns its error budget too fast, however many alert rules fire meanwhile.
package burn

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// Settings bound a Detector.
type Settings struct {
	// MaxActive bounds the signals that are firing, and separately the ended episodes that are remembered.
	MaxActive int
	// TTL is how long a signal stays valid after its last confirmation, in event time.
	TTL time.Duration
	// Allow decides which attributes' values appear in evidence.
	Allow signal.AllowList
}

// Outcome says what became of an alert.
type Outcome string

// The outcomes. Opened, Updated, Resolved and Merged changed the state; the others are the reasons for which an alert was dropped.
const (
	Opened   Outcome = "opened"
	Updated  Outcome = "updated"
	Resolved Outcome = "resolved"
	Merged   Outcome = "merged"

	Duplicate      Outcome = "duplicate"
	Stale          Outcome = "stale"
	Ended          Outcome = "ended"
	UnknownEpisode Outcome = "unknown_episode"
	Limit          Outcome = "limit"
	Invalid        Outcome = "invalid"
)

// Applied reports whether the alert changed the state.
func (o Outcome) Applied() bool {
	return o == Opened || o == Updated || o == Resolved || o == Merged
}

// Detector holds the firing episodes. It is not safe for concurrent use.
type Detector struct {
	settings Settings
	episodes map[string]*episode
	closed   *tombstones
}

// episode is one signal that has not ended.
type episode struct {
	// Rules are the alert rules firing now, by name.
	Rules map[string]Alert `json:"rules"`
	// Envelope is the newest one; Emitted is its updated_at when it last left.
	Envelope signal.Envelope `json:"envelope"`
	Emitted  time.Time       `json:"emitted"`
}

// New returns a detector without episodes.
func New(settings Settings) *Detector {
	return &Detector{settings: settings, episodes: map[string]*episode{}, closed: newTombstones(settings.MaxActive)}
}

// Active returns how many signals are firing.
func (d *Detector) Active() int { return len(d.episodes) }

// Observe takes one alert. emit says whether the returned envelope is to be sent: an episode that opened, that changed its severity,
// whose validity was extended by more than half its lifetime, or that ended.
func (d *Detector) Observe(a Alert) (e signal.Envelope, emit bool, outcome Outcome) {
	key := a.key()
	stone := tombstone(key, a.Rule, a.StartedAt)
	if d.closed.has(stone) {
		return e, false, Ended
	}
	ep := d.episodes[key]
	if !a.Firing {
		return d.resolve(key, ep, a, stone)
	}
	if ep == nil {
		return d.open(key, a)
	}
	if old, ok := ep.Rules[a.Rule]; ok {
		switch {
		case a.StartedAt.Before(old.StartedAt):
			return e, false, Stale
		case !a.Time.After(old.Time):
			return e, false, Duplicate
		case a.StartedAt.After(old.StartedAt):
			// The record that ended the rule's earlier firing was lost.
			d.closed.add(tombstone(key, a.Rule, old.StartedAt))
		}
	} else if len(ep.Rules) >= maxRules {
		return e, false, Limit
	}
	before := maps.Clone(ep.Rules)
	ep.Rules[a.Rule] = a
	return d.update(ep, a, before)
}

// maxRules bounds the alert rules of one objective; each has two windows in the evidence.
const maxRules = signal.MaxWindows / 2

func (d *Detector) open(key string, a Alert) (signal.Envelope, bool, Outcome) {
	if len(d.episodes) >= d.settings.MaxActive {
		return signal.Envelope{}, false, Limit
	}
	ep := &episode{Rules: map[string]Alert{a.Rule: a}}
	ep.Envelope.ID = signal.NewID(signal.KindSLOBurn, signal.Target{
		Service: a.Service, Namespace: a.Namespace, Environment: a.Environment, Objective: a.Objective,
	}, a.Group, a.StartedAt)
	ep.Envelope.ValidFrom = a.StartedAt
	ep.Envelope.Update = -1
	e, err := d.compose(ep, a, signal.StateFiring, a.Time)
	if err != nil {
		return signal.Envelope{}, false, Invalid
	}
	d.episodes[key] = ep
	ep.commit(e)
	return e, true, Opened
}

func (d *Detector) update(ep *episode, a Alert, before map[string]Alert) (signal.Envelope, bool, Outcome) {
	at := later(a.Time, ep.Envelope.UpdatedAt)
	e, err := d.compose(ep, ep.primary(), signal.StateFiring, at)
	if err != nil {
		ep.Rules = before
		return signal.Envelope{}, false, Invalid
	}
	if e.Severity != ep.Envelope.Severity || at.Sub(ep.Emitted) > d.settings.TTL/2 {
		ep.commit(e)
		return e, true, Updated
	}
	e.Update = ep.Envelope.Update
	ep.Envelope = e
	return e, false, Merged
}

func (d *Detector) resolve(key string, ep *episode, a Alert, stone string) (signal.Envelope, bool, Outcome) {
	d.closed.add(stone)
	if ep == nil {
		return signal.Envelope{}, false, UnknownEpisode
	}
	old, ok := ep.Rules[a.Rule]
	if !ok || !old.StartedAt.Equal(a.StartedAt) {
		return signal.Envelope{}, false, UnknownEpisode
	}
	if len(ep.Rules) > 1 {
		before := maps.Clone(ep.Rules)
		delete(ep.Rules, a.Rule)
		return d.update(ep, a, before)
	}
	delete(d.episodes, key)
	e, err := d.compose(ep, a, signal.StateResolved, later(a.Time, ep.Envelope.UpdatedAt))
	if err != nil {
		return signal.Envelope{}, false, Invalid
	}
	return e, true, Resolved
}

// Due reports whether Advance would do something at event time now.
func (d *Detector) Due(now time.Time) bool {
	for _, ep := range d.episodes {
		if !ep.Envelope.ExpiresAt.After(now) {
			return true
		}
	}
	return false
}

// Advance ends, as expired, the signals that nothing has confirmed for the TTL at event time now, and returns their last envelopes,
// oldest first. confirm, which may be nil, is asked first whether an alert rule still fires; if so the signal is extended instead.
func (d *Detector) Advance(now time.Time, confirm func(Alert) bool) []signal.Envelope {
	var due []string
	for key, ep := range d.episodes {
		if !ep.Envelope.ExpiresAt.After(now) {
			due = append(due, key)
		}
	}
	slices.SortFunc(due, func(a, b string) int {
		x, y := d.episodes[a].Envelope, d.episodes[b].Envelope
		return cmp.Or(x.ExpiresAt.Compare(y.ExpiresAt), cmp.Compare(x.ID, y.ID))
	})
	var out []signal.Envelope
	for _, key := range due {
		ep := d.episodes[key]
		primary := ep.primary()
		state, at := signal.StateExpired, ep.Envelope.ExpiresAt
		if confirm != nil && confirm(primary) {
			state, at = signal.StateFiring, now
		} else {
			for _, rule := range slices.Sorted(maps.Keys(ep.Rules)) {
				d.closed.add(tombstone(key, rule, ep.Rules[rule].StartedAt))
			}
			delete(d.episodes, key)
		}
		e, err := d.compose(ep, primary, state, at)
		if err != nil {
			// It was composed from the same parts before, so this cannot be reached; the episode is gone all the same.
			continue
		}
		ep.commit(e)
		out = append(out, e)
	}
	return out
}

// Firing returns the newest envelopes of the signals that are firing, in the order of their ids.
func (d *Detector) Firing() []signal.Envelope {
	out := make([]signal.Envelope, 0, len(d.episodes))
	for _, ep := range d.episodes {
		out = append(out, ep.Envelope)
	}
	slices.SortFunc(out, func(a, b signal.Envelope) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (ep *episode) commit(e signal.Envelope) {
	ep.Envelope = e
	ep.Emitted = e.UpdatedAt
}

// primary is the alert that speaks for the episode: a page before a ticket, then the fastest burn relative to its threshold, then the
// first by name.
func (ep *episode) primary() Alert {
	rules := ep.sorted()
	return rules[0]
}

// sorted returns the firing rules, the one that speaks for the episode first.
func (ep *episode) sorted() []Alert {
	return slices.SortedFunc(maps.Values(ep.Rules), func(a, b Alert) int {
		return cmp.Or(cmp.Compare(rank(b.Severity), rank(a.Severity)), cmp.Compare(excess(b), excess(a)), cmp.Compare(a.Rule, b.Rule))
	})
}

func excess(a Alert) float64 {
	if a.LongBurn == nil || a.Threshold == nil || *a.Threshold <= 0 {
		return 0
	}
	return *a.LongBurn / *a.Threshold
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
