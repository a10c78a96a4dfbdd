// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"cmp"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// spoken is what was said last of one signal that has not ended. It has the form in which it is kept over a restart.
type spoken struct {
	Envelope signal.Envelope `json:"envelope"`
}

// lifecycle numbers the envelopes of each signal, keeps them to the state machine, and holds back those that say nothing new.
type lifecycle struct {
	limit int
	open  map[string]*spoken
	// ended are the ids of the last signals that ended: what has ended is not said again.
	ended *recent
}

func newLifecycle(limit int) *lifecycle {
	return &lifecycle{limit: limit, open: map[string]*spoken{}, ended: newRecent(limit)}
}

// Reasons for which lifecycle holds an envelope back.
const (
	ReasonUnchanged    = "unchanged"
	ReasonNoTransition = "no_transition"
	ReasonLimit        = "limit"
	ReasonInvalid      = "invalid"
	ReasonUnknown      = "unknown_signal"
	ReasonMerged       = "merged"
)

// say numbers e and returns it, or the reason for which it is held back.
func (l *lifecycle) say(e signal.Envelope) (signal.Envelope, string) {
	old := l.open[e.ID]
	var last signal.State
	if old != nil {
		last = old.Envelope.State
		e.Update = max(e.Update, old.Envelope.Update+1)
	}
	ended := e.State.Ended()
	switch {
	case old == nil && l.ended.has(e.ID):
		return signal.Envelope{}, ReasonNoTransition
	case old == nil && ended && e.Update == 0 && e.Kind != signal.KindOutcome: // an outcome is said once: it is over when it is known
		// It was never said, so there is nothing to end.
		return signal.Envelope{}, ReasonUnknown
	case old == nil && ended:
	case !last.CanBecome(e.State):
		return signal.Envelope{}, ReasonNoTransition
	case old == nil && len(l.open) >= l.limit:
		return signal.Envelope{}, ReasonLimit
	case old != nil && !news(&old.Envelope, &e):
		return signal.Envelope{}, ReasonUnchanged
	}
	e, err := signal.Bound(e)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		return signal.Envelope{}, ReasonInvalid
	}
	if ended {
		delete(l.open, e.ID)
		l.ended.add(e.ID)
	} else {
		l.open[e.ID] = &spoken{Envelope: e}
	}
	return e, ""
}

// news reports whether e says something that a consumer would act on differently from old, or extends it by half its lifetime.
func news(old, e *signal.Envelope) bool {
	lifetime := old.ExpiresAt.Sub(old.UpdatedAt)
	return e.State != old.State || e.Severity != old.Severity || e.Action.Verb != old.Action.Verb ||
		e.Target.Revision != old.Target.Revision || !sameResult(old.Result, e.Result) ||
		!slices.Equal(e.Guardrails.BlockedBy, old.Guardrails.BlockedBy) ||
		!slices.Equal(e.CausedBy, old.CausedBy) || !slices.Equal(e.Supersedes, old.Supersedes) || e.UpdatedAt.Sub(old.UpdatedAt) > lifetime/2
}

func sameResult(a, b *signal.Result) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

// expire ends the signals whose time is over at now, those that ended first going first.
func (l *lifecycle) expire(now time.Time) []signal.Envelope {
	var out []signal.Envelope
	for _, s := range l.open {
		if s.Envelope.ExpiresAt.Before(now) {
			out = append(out, s.Envelope)
		}
	}
	slices.SortFunc(out, func(a, b signal.Envelope) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.ID, b.ID))
	})
	for i, e := range out {
		delete(l.open, e.ID)
		l.ended.add(e.ID)
		e.State, e.Update, e.UpdatedAt = signal.StateExpired, e.Update+1, e.ExpiresAt
		e.Action = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
		e.Expected = nil
		out[i] = e
	}
	return out
}
