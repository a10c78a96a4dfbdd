// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"fmt"
	"regexp"
	"sync"

	oteltrace "go.opentelemetry.io/otel/trace"
)

// defaultCacheSize is how many attribute values a regular-expression policy remembers the result of.
const defaultCacheSize = 128

// textMatcher tests strings against a set or a list of regular expressions. It is safe for concurrent use.
type textMatcher struct {
	set     map[string]struct{}
	regexes []*regexp.Regexp

	// mu guards known, the remembered results of regexes; when it is full it starts over.
	mu       sync.RWMutex
	known    map[string]bool
	capacity int
}

func newTextMatcher(values []string, regex bool, capacity int) (*textMatcher, error) {
	m := &textMatcher{set: make(map[string]struct{}, len(values))}
	if !regex {
		for _, v := range values {
			if v != "" {
				m.set[v] = struct{}{}
			}
		}
		return m, nil
	}
	for _, v := range values {
		r, err := regexp.Compile(v)
		if err != nil {
			return nil, fmt.Errorf("invalid regular expression %q: %w", v, err)
		}
		m.regexes = append(m.regexes, r)
	}
	m.capacity = capacity
	if m.capacity <= 0 {
		m.capacity = defaultCacheSize
	}
	m.known = make(map[string]bool)
	return m, nil
}

// newTraceStateMatcher leaves out values that no tracestate can carry: a member is at most 256 characters.
func newTraceStateMatcher(key string, values []string) *textMatcher {
	m := &textMatcher{set: make(map[string]struct{}, len(values))}
	for _, v := range values {
		if v != "" && len(key)+len(v) < 256 {
			m.set[v] = struct{}{}
		}
	}
	return m
}

// namesMatcher accepts the given names, or any when there are none.
func namesMatcher(names []string) *textMatcher {
	if len(names) == 0 {
		return nil
	}
	m := &textMatcher{set: make(map[string]struct{}, len(names))}
	for _, n := range names {
		m.set[n] = struct{}{}
	}
	return m
}

func (m *textMatcher) matches(value []byte) bool {
	if m.regexes == nil {
		_, ok := m.set[string(value)]
		return ok
	}
	m.mu.RLock()
	hit, ok := m.known[string(value)]
	m.mu.RUnlock()
	if ok {
		return hit
	}
	for _, r := range m.regexes {
		if hit = r.Match(value); hit {
			break
		}
	}
	m.mu.Lock()
	if len(m.known) >= m.capacity {
		clear(m.known)
	}
	m.known[string(value)] = hit
	m.mu.Unlock()
	return hit
}

// traceStateMatches tests the member key of a W3C tracestate; a malformed tracestate matches nothing.
func traceStateMatches(raw []byte, key string, m *textMatcher) bool {
	if len(raw) == 0 {
		return false
	}
	ts, err := oteltrace.ParseTraceState(string(raw))
	if err != nil {
		return false
	}
	return m.matches([]byte(ts.Get(key)))
}
