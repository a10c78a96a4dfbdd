// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Hook is told of a change before it takes effect: params is nil when the fault goes off. Its error refuses the switching on.
type Hook func(name string, params Params) error

// Active is a fault that is on.
type Active struct {
	Name   string
	Params Params
	Since  time.Time
}

// Set is what is broken right now. Readers on the request path take no lock.
type Set struct {
	now     func() time.Time
	journal *Journal
	hook    Hook

	mu      sync.Mutex // orders switching; held while hook and journal run
	current atomic.Pointer[map[string]Active]
}

// NewSet returns a set with nothing broken. journal and hook may be nil.
func NewSet(now func() time.Time, journal *Journal, hook Hook) *Set {
	s := &Set{now: now, journal: journal, hook: hook}
	s.current.Store(&map[string]Active{})
	return s
}

// Lookup returns the parameters of a fault and whether it is on.
func (s *Set) Lookup(name string) (Params, bool) {
	active, ok := (*s.current.Load())[name]
	return active.Params, ok
}

// Active lists the faults that are on, by name.
func (s *Set) Active() []Active {
	current := *s.current.Load()
	out := make([]Active, 0, len(current))
	for _, name := range slices.Sorted(maps.Keys(current)) {
		out = append(out, current[name])
	}
	return out
}

// Enable switches a fault on. One that is on already ends and starts again with the new parameters.
func (s *Set) Enable(name string, params Params) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.disableLocked(name); err != nil {
		return err
	}
	if s.hook != nil {
		if err := s.hook(name, params); err != nil {
			return fmt.Errorf("switching on %s: %w", name, err)
		}
	}
	active := Active{Name: name, Params: params, Since: s.now()}
	next := maps.Clone(*s.current.Load())
	next[name] = active
	s.current.Store(&next)
	return s.journal.started(active)
}

// Disable switches a fault off; one that is off stays so.
func (s *Set) Disable(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disableLocked(name)
}

// DisableAll switches everything off, as at the end of a run.
func (s *Set) DisableAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(*s.current.Load())) {
		if err := s.disableLocked(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) disableLocked(name string) error {
	active, on := (*s.current.Load())[name]
	if !on {
		return nil
	}
	next := maps.Clone(*s.current.Load())
	delete(next, name)
	s.current.Store(&next)
	end := s.now()
	if s.hook != nil {
		if err := s.hook(name, nil); err != nil {
			return fmt.Errorf("switching off %s: %w", name, err)
		}
	}
	return s.journal.ended(active, end)
}
