// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"cmp"
	"slices"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/guardrail"
)

const snapshotVersion = 1

type keptSeries struct {
	Service, Objective string
	Series             *series
}

type snapshot struct {
	Series  []keptSeries
	Open    map[string]*open
	Pending []*pending
	Landed  []*pending
	Said    []detect.Candidate
	Tallies map[string]*Tally
	Breaker guardrail.Breaker
	Benefit Benefit
}

// Snapshot implements detect.Detector.
func (d *Detector) Snapshot() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := snapshot{Open: d.open, Pending: d.pending, Landed: d.landed, Said: d.said, Tallies: d.tallies, Breaker: d.breaker, Benefit: d.benefit}
	for k, one := range d.series {
		s.Series = append(s.Series, keptSeries{k.service, k.objective, one})
	}
	slices.SortFunc(s.Series, func(a, b keptSeries) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Objective, b.Objective))
	})
	return detect.SealJSON(snapshotVersion, s)
}

// Restore implements detect.Detector.
func (d *Detector) Restore(data []byte) error {
	s, err := detect.OpenJSON[snapshot](snapshotVersion, data)
	if err != nil {
		return err
	}
	again := New(d.settings)
	for _, one := range s.Series {
		if one.Series != nil && len(again.series) < d.settings.MaxTargets {
			again.series[key{one.Service, one.Objective}] = one.Series
		}
	}
	for id, o := range s.Open {
		if o != nil && len(again.open) < d.settings.MaxTargets {
			again.open[id] = o
		}
	}
	for kind, t := range s.Tallies {
		if t != nil {
			again.tallies[kind] = t
		}
	}
	// A change that waits for its judgement is the same one that may be taken back.
	waiting := map[string]*pending{}
	for _, p := range s.Pending {
		if p == nil {
			continue
		}
		if o := again.open[p.SignalID]; o != nil {
			p.Signal = o
		}
		waiting[p.ChangeID] = p
		again.pending = append(again.pending, p)
	}
	for _, p := range s.Landed {
		if p == nil {
			continue
		}
		if same := waiting[p.ChangeID]; same != nil {
			p = same
		}
		again.landed = append(again.landed, p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.series, d.open, d.pending, d.landed, d.said = again.series, again.open, again.pending, again.landed, s.Said
	d.tallies, d.breaker, d.benefit = again.tallies, s.Breaker, s.Benefit
	return nil
}
