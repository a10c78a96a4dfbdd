// SPDX-License-Identifier: Apache-2.0

package track

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/pitwall-io/pitwall/internal/verdict"
)

// Errors of Merge.
var (
	ErrWidth   = errors.New("slices of another length")
	ErrDamaged = errors.New("statistics cannot be used")
)

// Bounds on what is collected and on what is believed of another collector.
const (
	maxOpen     = 64 // slices of an arm that wait for Export
	maxName     = 1024
	maxRequests = 1_000_000_000 // in a slice
)

// cellRef remembers a collected slice, so that not every request looks for it.
type cellRef struct {
	index int64
	slice *verdict.Slice
}

func (a *Arm) collected(index int64) *verdict.Slice {
	if a.latest.slice != nil && a.latest.index == index {
		return a.latest.slice
	}
	s := a.open[index]
	if s == nil {
		if len(a.open) >= maxOpen {
			a.tracker.lost[LossLate]++
			return nil
		}
		if a.open == nil {
			a.open = map[int64]*verdict.Slice{}
		}
		s = &verdict.Slice{}
		a.open[index] = s
	}
	a.latest = cellRef{index, s}
	return s
}

// shared is a part of what one collector saw.
type shared struct {
	// Width is the length of a slice in nanoseconds.
	Width int64       `json:"width"`
	Arms  []sharedArm `json:"arms"`
}

type sharedArm struct {
	Key       Key           `json:"key"`
	Name      string        `json:"name"`
	Exemplars []string      `json:"exemplars,omitempty"`
	Memory    *sharedUnit   `json:"memory,omitempty"`
	CPU       *sharedUnit   `json:"cpu,omitempty"`
	Slices    []sharedSlice `json:"slices"`
}

type sharedUnit struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
}

// sharedSlice is a verdict.Slice in which only the buckets are written that hold something, as pairs of bucket and count.
type sharedSlice struct {
	Index    int64          `json:"index"`
	Requests uint64         `json:"requests"`
	Errors   uint64         `json:"errors,omitempty"`
	Logged   uint64         `json:"logged,omitempty"`
	Latency  []uint32       `json:"latency,omitempty"`
	Memory   verdict.Gauge  `json:"memory,omitzero"`
	CPU      verdict.Gauge  `json:"cpu,omitzero"`
	Faults   verdict.Faults `json:"faults,omitempty"`
}

// Export returns what was collected since the last Export, in parts of about maxBytes, and forgets it. now is event time in nanoseconds.
func (t *Tracker) Export(now int64, maxBytes int) ([][]byte, error) {
	t.closed = max(t.closed, t.Slice(now))
	t.fresh = nil
	var parts [][]byte
	part, size := shared{Width: t.width}, 0
	done := func() error {
		if len(part.Arms) == 0 {
			return nil
		}
		data, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("encode statistics: %w", err)
		}
		parts, part, size = append(parts, data), shared{Width: t.width}, 0
		return nil
	}
	for _, key := range slices.SortedFunc(maps.Keys(t.targets), compareKeys) {
		for _, a := range t.targets[key].arms {
			if len(a.open) == 0 {
				continue
			}
			one, about := a.export()
			if size+about > maxBytes {
				if err := done(); err != nil {
					return nil, err
				}
			}
			part.Arms, size = append(part.Arms, one), size+about
		}
	}
	err := done()
	t.forget()
	return parts, err
}

// export takes what was collected of an arm, and says about how many bytes it is.
func (a *Arm) export() (sharedArm, int) {
	one := sharedArm{Key: a.target.key, Name: a.name}
	size := 200 + len(a.name) + len(one.Key.Service) + len(one.Key.Namespace) + len(one.Key.Environment) + len(one.Key.Subject)
	for _, trace := range a.exemplars {
		one.Exemplars = append(one.Exemplars, hex.EncodeToString(trace[:]))
	}
	one.Memory, one.CPU = a.units[Memory].share(), a.units[CPU].share()
	for _, index := range slices.Sorted(maps.Keys(a.open)) {
		s := a.open[index]
		cell := sharedSlice{
			Index: index, Requests: s.Requests, Errors: s.Errors, Logged: s.Logged, Memory: s.Memory, CPU: s.CPU, Faults: s.Faults,
			Latency: verdict.Sparse(&s.Latency),
		}
		one.Slices = append(one.Slices, cell)
		size += 150 + 8*len(cell.Latency)
	}
	clear(a.open)
	a.latest, a.exemplars = cellRef{}, nil
	return one, size
}

func (u metricUnit) share() *sharedUnit {
	if u.name == "" {
		return nil
	}
	return &sharedUnit{u.name, u.unit}
}

// Merge adds a part of what another collector saw, as if its requests had been observed here. limit is the latest event time, in
// nanoseconds, that is believed. appeared, if not nil, is called with each arm that was not known. On an error nothing was added.
func (t *Tracker) Merge(data []byte, limit int64, appeared func(Key, string)) error {
	var part shared
	if err := json.Unmarshal(data, &part); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if part.Width != t.width {
		return fmt.Errorf("%w: %d ns, here %d ns", ErrWidth, part.Width, t.width)
	}
	for i := range part.Arms {
		if err := part.Arms[i].check(t.Slice(limit)); err != nil {
			return err
		}
	}
	// All arms are there before any slice is added: what is compared with another from its first request on is kept.
	arms := make([]*Arm, len(part.Arms))
	for i := range part.Arms {
		one := &part.Arms[i]
		known := t.find(one.Key, one.Name) != nil
		if arms[i] = t.armOf(one); !known && arms[i] != nil && appeared != nil {
			appeared(one.Key, one.Name)
		}
	}
	for i := range part.Arms {
		if arms[i] != nil {
			t.merge(arms[i], &part.Arms[i])
		}
	}
	return nil
}

// armOf returns the arm that another collector saw; nil where there is no room, or it served no request yet.
func (t *Tracker) armOf(one *sharedArm) *Arm {
	for i := range one.Slices {
		if one.Slices[i].Requests > 0 {
			return t.Arm(one.Key, one.Name, one.Slices[i].Index*t.width)
		}
	}
	return t.find(one.Key, one.Name)
}

func (t *Tracker) merge(a *Arm, one *sharedArm) {
	a.first = min(a.first, one.Slices[0].Index)
	a.target.first = min(a.target.first, a.first)
	for i := range one.Slices {
		cell := &one.Slices[i]
		a.requests += cell.Requests
		if cell.Requests > 0 && cell.Index > a.last {
			a.seenAt(cell.Index)
		}
		if !a.Compared() {
			continue
		}
		into := a.slot(cell.Index, max(cell.Requests, 1))
		if into == nil {
			continue
		}
		at := cell.Index * t.width
		s := verdict.Slice{Requests: cell.Requests, Errors: cell.Errors, Logged: cell.Logged, Faults: cell.Faults}
		s.Latency, _, _ = verdict.Dense(cell.Latency) // checked
		// The metric that is counted is the first one seen here, too.
		if cell.Memory.Weight > 0 && one.Memory != nil && a.Unit(Memory, one.Memory.Name, one.Memory.Unit, at) {
			s.Memory = cell.Memory
		}
		if cell.CPU.Weight > 0 && one.CPU != nil && a.Unit(CPU, one.CPU.Name, one.CPU.Unit, at) {
			s.CPU = cell.CPU
		}
		into.Add(&s)
	}
	if !a.Compared() {
		return
	}
	for _, text := range one.Exemplars {
		if len(a.exemplars) < maxExemplars {
			var trace [16]byte
			hex.Decode(trace[:], []byte(text)) //nolint:errcheck // checked
			a.exemplars = append(a.exemplars, trace)
		}
	}
}

// check refuses what no collector says.
func (a *sharedArm) check(latest int64) error {
	for _, text := range []string{a.Key.Service, a.Key.Namespace, a.Key.Environment, a.Key.Subject, a.Name} {
		if len(text) > maxName || !utf8.ValidString(text) {
			return fmt.Errorf("%w: a name of %d bytes", ErrDamaged, len(text))
		}
	}
	for _, u := range []*sharedUnit{a.Memory, a.CPU} {
		if u != nil && (u.Name == "" || len(u.Name) > maxName || len(u.Unit) > maxName) {
			return fmt.Errorf("%w: a unit", ErrDamaged)
		}
	}
	for _, text := range a.Exemplars {
		if raw, err := hex.DecodeString(text); err != nil || len(raw) != 16 {
			return fmt.Errorf("%w: exemplar", ErrDamaged)
		}
	}
	if a.Key.Service == "" || a.Name == "" || len(a.Slices) == 0 || len(a.Slices) > maxOpen || len(a.Exemplars) > maxExemplars {
		return fmt.Errorf("%w: %d slices and %d exemplars of %q", ErrDamaged, len(a.Slices), len(a.Exemplars), a.Name)
	}
	last := int64(0)
	for i := range a.Slices {
		s := &a.Slices[i]
		if s.Index <= last || s.Index > latest {
			return fmt.Errorf("%w: slice %d", ErrDamaged, s.Index)
		}
		last = s.Index
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sharedSlice) check() error {
	_, sum, err := verdict.Dense(s.Latency)
	switch {
	case err != nil:
		return fmt.Errorf("%w: slice %d: %w", ErrDamaged, s.Index, err)
	case s.Requests > maxRequests || s.Logged > maxRequests || s.Faults > verdict.AllFaults || !s.Memory.Usable() || !s.CPU.Usable():
		return fmt.Errorf("%w: slice %d is out of range", ErrDamaged, s.Index)
	case s.Errors > s.Requests || sum != s.Requests-s.Errors:
		return fmt.Errorf("%w: slice %d has %d requests, %d errors and %d durations", ErrDamaged, s.Index, s.Requests, s.Errors, sum)
	}
	return nil
}
