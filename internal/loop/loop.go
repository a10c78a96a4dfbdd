// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Settings bound a Loop.
type Settings struct {
	// MaxActive bounds the signals that have not ended.
	MaxActive int
}

// Loop is the frame's state. It is not safe for concurrent use.
type Loop struct {
	settings Settings
	life     *lifecycle
}

// New returns a loop that has said nothing.
func New(settings Settings) *Loop {
	return &Loop{settings: settings, life: newLifecycle(settings.MaxActive)}
}

// Said is the result of one step.
type Said struct {
	// Signals are the envelopes to send, in order.
	Signals []signal.Envelope
	// Held counts the candidates that were held back, by reason.
	Held map[string]int
}

// Step makes signals of the candidates at event time now, in the order given, and ends those whose time is over.
func (l *Loop) Step(now time.Time, candidates []detect.Candidate) Said {
	said := Said{Held: map[string]int{}}
	for i := range candidates {
		e, held := l.life.say(candidates[i].Envelope)
		if held != "" {
			said.Held[held]++
			continue
		}
		said.Signals = append(said.Signals, e)
	}
	said.Signals = append(said.Signals, l.life.expire(now)...)
	return said
}

// Active returns how many signals have not ended.
func (l *Loop) Active() int { return len(l.life.open) }

// snapshotVersion is the version of the form in which the loop is kept over a restart.
const snapshotVersion = 1

type snapshot struct {
	Open map[string]*spoken `json:"open"`
}

// Snapshot returns the state in a form that Restore reads. Equal states give equal bytes.
func (l *Loop) Snapshot() ([]byte, error) {
	state, err := json.Marshal(snapshot{Open: l.life.open})
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return detect.Seal(snapshotVersion, state), nil
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (l *Loop) Restore(data []byte) error {
	state, err := detect.Open(snapshotVersion, data)
	if err != nil {
		return err
	}
	var s snapshot
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("decode snapshot: %w", err)
	}
	life := newLifecycle(l.settings.MaxActive)
	for id, one := range s.Open {
		if one == nil || one.Envelope.ID != id || one.Envelope.Validate() != nil || len(life.open) >= life.limit {
			continue
		}
		life.open[id] = one
	}
	l.life = life
	return nil
}
