// SPDX-License-Identifier: Apache-2.0

// Package coverage says how much of what happens can be seen: which services that are called report spans of their own, and how many
// traces arrive whole.
package coverage

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// Settings bound a Detector and say what is enough.
type Settings struct {
	// MaxServices bounds the services that are followed.
	MaxServices int
	// MaxSpans bounds the spans of traces that are still open. When they are used up, traces are sampled by their id.
	MaxSpans int
	// Quiet is how long, in event time, no span of a trace must have come before the trace is judged.
	Quiet time.Duration
	// MinTraces is how many judged traces of the last hour it takes to say anything about them.
	MinTraces int
	// MinServices and MinWhole are the shares below which there is something to say; Margin is how far above them it ends.
	MinServices, MinWhole, Margin float64
	// TTL is how long a signal is valid.
	TTL time.Duration
}

// Default returns the settings for everything but the bound on services.
func Default(maxServices int) Settings {
	return Settings{
		MaxServices: maxServices, MaxSpans: 1 << 16, Quiet: time.Minute, MinTraces: 200,
		MinServices: 0.95, MinWhole: 0.90, Margin: 0.02, TTL: 30 * time.Minute,
	}
}

const (
	// maxTraceSpans is how large a trace may be to be judged.
	maxTraceSpans = 512
	// The last hour is counted in slots of five minutes.
	slot  = 5 * time.Minute
	slots = 12
	hour  = slot * slots
	// maxShift bounds sampling to one trace of 65,536.
	maxShift = 16
)

// service is what is known of a service. Its fields are exported for the snapshot alone.
type service struct {
	Name string
	// Traced is when a span of it came last; Called is when another's span named it last.
	Traced, Called time.Time
	// Orphans are its spans whose parent never came, by slot.
	Orphans [slots]int64
	// traced and called say that it happened since event time was told last.
	traced, called bool
}

type span struct {
	id, parent [8]byte
	service    int32
}

// trace is one that is still open.
type trace struct {
	spans []span
	last  time.Time
	// touched says that a span came since event time was told last.
	touched, large bool
}

// Detector follows services and traces. It is not safe for concurrent use.
type Detector struct {
	settings Settings
	services map[string]int32
	known    []*service
	traces   map[[16]byte]*trace
	free     []*trace
	held     int
	shift    uint
	now      time.Time

	// judged and whole count the traces of the last hour by slot, large those that could not be judged.
	judged, whole, large [slots]int64
	// at is the number of the current slot since 1970.
	at    int64
	since time.Time
	// said is when a signal was said last, and what it said of services and traces.
	said         time.Time
	saidServices float64
	saidWhole    float64
}

// New returns a detector that has seen nothing.
func New(settings Settings) *Detector {
	return &Detector{settings: settings, services: map[string]int32{}, traces: map[[16]byte]*trace{}}
}

// Follows reports whether spans of this trace are to be handed over; the others are left out to stay within bounds. Trace ids are random
// in their last bytes, as W3C Trace Context asks.
func (d *Detector) Follows(id [16]byte) bool {
	return (uint(id[15])|uint(id[14])<<8)&(1<<d.shift-1) == 0
}

// find returns the number of a service, or -1 where there is no room for another. It does not keep the text.
func (d *Detector) find(name string) int32 {
	if i, ok := d.services[name]; ok {
		return i
	}
	if len(d.services) >= d.settings.MaxServices {
		return -1
	}
	s := &service{Name: strings.Clone(name)}
	i := slices.Index(d.known, nil)
	if i < 0 {
		i = len(d.known)
		d.known = append(d.known, nil)
	}
	d.known[i] = s
	d.services[s.Name] = int32(i)
	return int32(i)
}

// Called says that a span of a client names the service as the one it called.
func (d *Detector) Called(name string) {
	if i := d.find(name); i >= 0 {
		d.known[i].called = true
	}
}

// Span takes a span of a service. parent is zero for a root.
func (d *Detector) Span(name string, traceID [16]byte, id, parent [8]byte) {
	number := d.find(name)
	if number < 0 {
		return
	}
	d.known[number].traced = true
	t := d.traces[traceID]
	if t == nil {
		if d.held >= d.settings.MaxSpans {
			return
		}
		if n := len(d.free); n > 0 {
			t, d.free = d.free[n-1], d.free[:n-1]
		} else {
			t = &trace{}
		}
		d.traces[traceID] = t
	}
	t.touched = true
	if len(t.spans) >= maxTraceSpans {
		t.large = true
		return
	}
	t.spans = append(t.spans, span{id: id, parent: parent, service: number})
	d.held++
}

// pass lets event time go on to now, and forgets what is more than an hour old.
func (d *Detector) pass(now time.Time) {
	current := now.Unix() / int64(slot/time.Second)
	if d.at == 0 {
		d.at = current
	}
	for n := 0; d.at < current && n < slots; n++ {
		d.at++
		i := d.at % slots
		d.judged[i], d.whole[i], d.large[i] = 0, 0, 0
		for _, s := range d.known {
			if s != nil {
				s.Orphans[i] = 0
			}
		}
	}
	d.at = max(d.at, current)
	d.now = now
	for _, s := range d.known {
		if s != nil && s.traced {
			s.Traced, s.traced = now, false
		}
		if s != nil && s.called {
			s.Called, s.called = now, false
		}
	}
	for _, t := range d.traces {
		if t.touched {
			t.last, t.touched = now, false
		}
	}
}

// judge closes the traces that have been quiet, or all that would not fit otherwise.
func (d *Detector) judge() {
	full := d.held >= d.settings.MaxSpans
	slotNow := d.at % slots
	for id, t := range d.traces {
		if d.now.Sub(t.last) < d.settings.Quiet {
			continue
		}
		switch {
		case t.large:
			d.large[slotNow]++
		default:
			d.judged[slotNow]++
			if d.isWhole(t, slotNow) {
				d.whole[slotNow]++
			}
		}
		delete(d.traces, id)
		d.held -= len(t.spans)
		t.spans, t.large = t.spans[:0], false
		d.free = append(d.free, t)
	}
	switch {
	case full && d.shift < maxShift:
		d.shift++
	case d.held < d.settings.MaxSpans/4 && d.shift > 0:
		d.shift--
	}
}

// isWhole reports whether a trace has a root and every parent that its spans name, and counts spans without theirs against their service.
func (d *Detector) isWhole(t *trace, slotNow int64) bool {
	byID := func(a, b span) int { return bytes.Compare(a.id[:], b.id[:]) }
	slices.SortFunc(t.spans, byID)
	whole := true
	root := false
	for i := range t.spans {
		parent := t.spans[i].parent
		if parent == ([8]byte{}) {
			root = true
			continue
		}
		if _, ok := slices.BinarySearchFunc(t.spans, span{id: parent}, byID); !ok {
			whole = false
			if s := d.known[t.spans[i].service]; s != nil {
				s.Orphans[slotNow]++
			}
		}
	}
	return whole && root
}

// forget lets go of services that nothing was heard of for an hour, and that no open trace names.
func (d *Detector) forget() {
	var used map[int32]bool
	for i, s := range d.known {
		if s == nil || d.now.Sub(s.Traced) < hour || d.now.Sub(s.Called) < hour {
			continue
		}
		if used == nil {
			used = map[int32]bool{}
			for _, t := range d.traces {
				for _, one := range t.spans {
					used[one.service] = true
				}
			}
		}
		if !used[int32(i)] {
			delete(d.services, s.Name)
			d.known[i] = nil
		}
	}
}

// Services returns how many services are followed.
func (d *Detector) Services() int { return len(d.services) }
