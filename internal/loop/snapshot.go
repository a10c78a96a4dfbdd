// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/guardrail"
)

// snapshotVersion is the version of the form in which the loop is kept over a restart.
const snapshotVersion = 1

type snapshot struct {
	Open     map[string]*spoken           `json:"open"`
	Ended    []string                     `json:"ended"`
	Live     map[string]*detect.Candidate `json:"live"`
	Flying   map[string]string            `json:"flying"`
	Past     map[string]guardrail.Past    `json:"past"`
	Approved []string                     `json:"approved"`
}

// Snapshot returns the state in a form that Restore reads. Equal states give equal bytes.
func (l *Loop) Snapshot() ([]byte, error) {
	return detect.SealJSON(snapshotVersion, snapshot{
		Open: l.life.open, Ended: l.life.ended.list(), Live: l.live, Flying: l.flying, Past: l.past.Past,
		Approved: l.approved.list(),
	})
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (l *Loop) Restore(data []byte) error {
	s, err := detect.OpenJSON[snapshot](snapshotVersion, data)
	if err != nil {
		return err
	}
	again := New(l.settings)
	for id, one := range s.Open {
		if one == nil || one.Envelope.ID != id || one.Envelope.Validate() != nil || len(again.life.open) >= again.life.limit {
			continue
		}
		again.life.open[id] = one
	}
	for id, one := range s.Live {
		if one == nil || one.Envelope.ID != id || len(again.live) >= l.settings.MaxActive {
			continue
		}
		again.live[id] = one
	}
	for key, past := range s.Past {
		if len(again.past.Past) < again.past.Limit {
			again.past.Past[key] = past
		}
	}
	for key, id := range s.Flying {
		if again.live[id] != nil {
			again.flying[key] = id
		}
	}
	for _, id := range s.Ended {
		again.life.ended.add(id)
	}
	for _, id := range s.Approved {
		again.approved.add(id)
	}
	*l = *again
	return nil
}
