// SPDX-License-Identifier: Apache-2.0

package signal

import "slices"

// State is where in its life a signal is.
type State string

// The states. A signal begins pending or firing and ends in one of the other three, from which nothing leads back: a condition that
// returns is a new signal.
const (
	StatePending    State = "pending"
	StateFiring     State = "firing"
	StateResolved   State = "resolved"
	StateSuperseded State = "superseded"
	StateExpired    State = "expired"
)

// transitions is the state machine. The empty state stands before the first envelope; firing to firing is an update in place.
var transitions = map[State][]State{
	"":              {StatePending, StateFiring},
	StatePending:    {StatePending, StateFiring, StateResolved, StateSuperseded, StateExpired},
	StateFiring:     {StateFiring, StateResolved, StateSuperseded, StateExpired},
	StateResolved:   {},
	StateSuperseded: {},
	StateExpired:    {},
}

// Known reports whether s is one of the states.
func (s State) Known() bool {
	_, ok := transitions[s]
	return ok && s != ""
}

// Ended reports whether nothing can follow s.
func (s State) Ended() bool { return s.Known() && len(transitions[s]) == 0 }

// CanBecome reports whether a signal in state s may move to next.
func (s State) CanBecome(next State) bool { return slices.Contains(transitions[s], next) }
