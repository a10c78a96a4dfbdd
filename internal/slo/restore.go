// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// maxReaders is how many goroutines read objectives back: more would wait for what is stored.
const maxReaders = 4

// restoreObjectives reads all objectives back, several at once: a start waits for it. What is stored is got by one goroutine at a time, as
// storage need not stand more, and taken apart by all.
func (e *Engine) restoreObjectives(get func(string) ([]byte, error)) (damaged []error, err error) {
	type result struct {
		damaged []error
		err     error
	}
	results := make([]result, len(e.objectives))
	var getting sync.Mutex
	getOne := func(part string) ([]byte, error) {
		getting.Lock()
		defer getting.Unlock()
		return get(part)
	}
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(maxReaders, runtime.GOMAXPROCS(0), len(results)) {
		readers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(results)); i = next.Add(1) - 1 {
				results[i].damaged, results[i].err = e.restoreObjective(e.objectives[i], getOne)
			}
		})
	}
	readers.Wait()
	for i, r := range results {
		if r.err != nil {
			return nil, r.err
		}
		damaged = append(damaged, r.damaged...)
		e.noteFiringLocked(e.objectives[i])
	}
	return damaged, nil
}

// noteFiringLocked remembers which groups of an objective have an open alert.
func (e *Engine) noteFiringLocked(o *objective) {
	for _, g := range o.sorted() {
		if g.firing() {
			e.firing = append(e.firing, firing{o, g})
		}
	}
}

// restoreObjective reads one objective back, and touches no other.
func (e *Engine) restoreObjective(o *objective, get func(string) ([]byte, error)) (damaged []error, err error) {
	index, err := open(get, objectivePart(o.digest))
	if errors.Is(err, ErrDamaged) {
		return []error{fmt.Errorf("objective %s: index: %w", o.Name, err)}, nil
	}
	if err != nil || index == nil {
		return nil, err
	}
	d := decoder{rest: index}
	n := d.uint()
	for i := uint64(0); i < n && !d.failed; i++ {
		key, overflow := d.text(), d.uint() == 1
		body, err := open(get, groupPart(o.digest, key))
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		values, ok := parseGroupKey(key, len(o.GroupBy))
		var g *group
		if err == nil && ok && body != nil {
			g = e.newGroup(o, key, values)
			ok = e.decodeGroup(o, g, body)
		}
		if err != nil || !ok || body == nil {
			damaged = append(damaged, fmt.Errorf("objective %s, group %q: %w", o.Name, values, ErrDamaged))
			continue
		}
		g.stored = true
		if overflow {
			o.overflow = g
		} else {
			o.groups[key] = g
		}
	}
	if d.failed {
		damaged = append(damaged, fmt.Errorf("objective %s: index: %w", o.Name, ErrDamaged))
	}
	return damaged, nil
}
