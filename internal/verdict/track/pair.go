// SPDX-License-Identifier: Apache-2.0

package track

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/verdict"
)

// Pair is one comparison.
type Pair struct {
	canary, baseline *Arm
	comparison       *verdict.Comparison
	begin            int64
	// undecided: both arms were there from the start, so the one with less traffic will be the canary.
	undecided bool
	// alone are the canary's requests since the baseline's last; released is set once they are enough to say that the canary took over.
	alone    uint64
	released bool
}

// A canary has taken over when so many requests and slices went by without any of the baseline's.
const (
	aloneRequests = 100
	aloneSlices   = 6
)

// State is what a comparison says.
type State struct {
	Key              Key
	Canary, Baseline string
	// Begin is the event time from which both are compared.
	Begin     time.Time
	Verdict   verdict.Verdict
	Exemplars [][16]byte
	// Ended says that one of the two is no longer there, and that this is the last word.
	Ended bool
}

// Advance judges the slices that are complete at event time now, and returns what every comparison says, ordered by target and canary.
func (t *Tracker) Advance(now time.Time) []State {
	upto := (now.UnixNano()-int64(t.settings.Lateness))/t.width - 1
	if !t.started {
		t.started, t.closed = true, upto
	}
	for i := max(t.closed+1, upto-t.ring+1); i <= upto; i++ {
		for _, p := range t.pairs {
			t.add(p, i)
		}
	}
	t.closed = max(t.closed, upto)
	states := make([]State, 0, len(t.pairs))
	for _, p := range t.pairs {
		states = append(states, t.state(p))
	}
	t.retirePairs()
	t.forget()
	slices.SortFunc(states, func(a, b State) int {
		return cmp.Or(compareKeys(a.Key, b.Key), cmp.Compare(a.Canary, b.Canary), cmp.Compare(a.Baseline, b.Baseline))
	})
	return states
}

func (t *Tracker) add(p *Pair, index int64) {
	if p.undecided && index >= p.begin {
		p.undecided = false
		if p.canary.requests > p.baseline.requests {
			p.canary, p.baseline = p.baseline, p.canary
		}
	}
	canary, baseline := p.canary.closed(index), p.baseline.closed(index)
	p.comparison.Add(index, canary, baseline)
	if baseline.Requests > 0 {
		p.alone = 0
		return
	}
	p.alone += canary.Requests
	if !p.released && p.alone >= aloneRequests && index-p.baseline.last >= aloneSlices {
		p.released = true
		t.fresh = append(t.fresh, Newcomer{
			Key: p.canary.target.key, Name: p.canary.name, At: time.Unix(0, (p.baseline.last+1)*t.width).UTC(), Released: true,
		})
	}
}

var empty verdict.Slice

// closed returns what the arm did in a slice. An arm most of whose requests came too late or too early for their slice has a clock of
// its own.
func (a *Arm) closed(index int64) *verdict.Slice {
	s := &empty
	if c := &a.ring[index%a.tracker.ring]; c.index == index {
		s = &c.slice
	}
	if a.late > a.onTime {
		skewed := *s
		skewed.Faults |= verdict.ClockSkew
		s = &skewed
	}
	if index%a.tracker.ring == 0 {
		// Old lateness is forgotten by halves.
		a.late, a.onTime = a.late/2, a.onTime/2
	}
	return s
}

func (t *Tracker) state(p *Pair) State {
	return State{
		Key: p.canary.target.key, Canary: p.canary.name, Baseline: p.baseline.name, Begin: time.Unix(0, p.begin*t.width).UTC(),
		Verdict: p.comparison.Judge(t.closed), Exemplars: slices.Clone(p.canary.exemplars), Ended: t.over(p),
	}
}

func (t *Tracker) over(p *Pair) bool {
	return t.closed-p.canary.last >= t.retire || t.closed-p.baseline.last >= t.retire
}

func (t *Tracker) retirePairs() {
	t.pairs = slices.DeleteFunc(t.pairs, func(p *Pair) bool {
		if !t.over(p) {
			return false
		}
		for _, a := range []*Arm{p.canary, p.baseline} {
			if a.pairs--; a.pairs == 0 {
				a.ring, a.exemplars, a.instances = nil, nil, nil
				a.late, a.onTime = 0, 0
			}
		}
		return true
	})
}

// forget makes room, when a tenth or less of it is left, by forgetting targets that were silent for the time of retirement.
func (t *Tracker) forget() {
	if len(t.targets) < t.settings.MaxTargets-t.settings.MaxTargets/10 {
		return
	}
	maps.DeleteFunc(t.targets, func(_ Key, x *target) bool {
		return t.closed-x.last >= t.retire && !slices.ContainsFunc(x.arms, func(a *Arm) bool { return a.pairs > 0 })
	})
}

// kept is the form in which a tracker is kept over a restart. The slices that are open then are lost.
type kept struct {
	Closed  int64        `json:"closed"`
	Targets []keptTarget `json:"targets"`
	Pairs   []keptPair   `json:"pairs"`
}

type keptTarget struct {
	Key       Key       `json:"key"`
	First     int64     `json:"first"`
	Last      int64     `json:"last"`
	Announced string    `json:"announced,omitempty"`
	Share     float64   `json:"share,omitempty"`
	Arms      []keptArm `json:"arms"`
}

type keptArm struct {
	Name     string `json:"name"`
	First    int64  `json:"first"`
	Last     int64  `json:"last"`
	Requests uint64 `json:"requests"`
}

type keptPair struct {
	Key        Key             `json:"key"`
	Canary     string          `json:"canary"`
	Baseline   string          `json:"baseline"`
	Begin      int64           `json:"begin"`
	Undecided  bool            `json:"undecided,omitempty"`
	Alone      uint64          `json:"alone,omitempty"`
	Released   bool            `json:"released,omitempty"`
	Comparison json.RawMessage `json:"comparison"`
}

// Snapshot returns the state in the form Restore reads; equal states give equal bytes.
func (t *Tracker) Snapshot() ([]byte, error) {
	k := kept{Closed: t.closed}
	for _, key := range slices.SortedFunc(maps.Keys(t.targets), compareKeys) {
		x := t.targets[key]
		one := keptTarget{Key: key, First: x.first, Last: x.last, Announced: x.announced, Share: x.share}
		for _, a := range x.arms {
			one.Arms = append(one.Arms, keptArm{a.name, a.first, a.last, a.requests})
		}
		k.Targets = append(k.Targets, one)
	}
	for _, p := range t.pairs {
		comparison, err := p.comparison.Snapshot()
		if err != nil {
			return nil, fmt.Errorf("keep comparison: %w", err)
		}
		k.Pairs = append(k.Pairs, keptPair{p.canary.target.key, p.canary.name, p.baseline.name, p.begin, p.undecided, p.alone, p.released, comparison})
	}
	return json.Marshal(k)
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (t *Tracker) Restore(data []byte) error {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return fmt.Errorf("decode comparisons: %w", err)
	}
	fresh := New(t.settings)
	fresh.closed, fresh.started = k.Closed, k.Closed != 0
	for _, one := range k.Targets[:min(len(k.Targets), t.settings.MaxTargets)] {
		x := &target{key: one.Key, first: one.First, last: one.Last, announced: one.Announced, share: one.Share}
		for _, a := range one.Arms[:min(len(one.Arms), t.settings.MaxArms)] {
			x.arms = append(x.arms, &Arm{tracker: t, target: x, name: a.Name, first: a.First, last: a.Last, requests: a.Requests})
		}
		fresh.targets[one.Key] = x
	}
	for _, one := range k.Pairs[:min(len(k.Pairs), t.settings.MaxPairs)] {
		comparison, err := verdict.Restore(t.settings.Verdict, one.Comparison)
		if err != nil {
			return err
		}
		canary, baseline := fresh.find(one.Key, one.Canary), fresh.find(one.Key, one.Baseline)
		if canary == nil || baseline == nil {
			continue
		}
		for _, a := range []*Arm{canary, baseline} {
			a.pairs++
			a.ring = make([]cell, t.ring)
		}
		fresh.pairs = append(fresh.pairs, &Pair{canary, baseline, comparison, one.Begin, one.Undecided, one.Alone, one.Released})
	}
	*t = *fresh
	return nil
}

func (t *Tracker) find(key Key, name string) *Arm {
	x := t.targets[key]
	if x == nil {
		return nil
	}
	for _, a := range x.arms {
		if a.name == name {
			return a
		}
	}
	return nil
}
