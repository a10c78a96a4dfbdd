// SPDX-License-Identifier: Apache-2.0

// Package usage turns samples of requests, usage and capacity into resource hours.
package usage

import (
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
)

// Kind is what a sample says.
type Kind int

// The kinds of samples.
const (
	// Request is what a workload reserved.
	Request Kind = iota
	// Used is what it used.
	Used
	// Capacity is what a machine has.
	Capacity
	kinds
)

// Unit is something that is measured: a container, a process, a machine.
type Unit struct {
	// Pool is the machine, ID the unit on it.
	Pool, ID string
}

// Sample is one measurement.
type Sample struct {
	Unit     Unit
	Resource allocation.Resource
	Kind     Kind
	// Source tells apart metrics that measure the same thing: the hours of one source add up over its series, and of several sources the
	// largest counts.
	Source string
	// Series tells apart the series of one source, such as the states of processor time.
	Series string
	// Counter samples are a running total in resource seconds; others are a level.
	Counter bool
	At      time.Time
	Value   float64
}

// Hours are resource hours: cores × hours, bytes × hours.
type Hours [allocation.Resources][kinds]float64

// Line is what one unit had in a window.
type Line struct {
	Unit  Unit
	Hours Hours
}

// Meter integrates samples over time. A level holds from its sample to the next, but no longer than the maximal gap, so that a unit that
// went away stops costing. It is not safe for concurrent use.
type Meter struct {
	maxGap time.Duration
	max    int
	units  map[Unit]*unit
}

type unit struct {
	series map[seriesKey]*series
	idle   int // windows without a sample
}

type seriesKey struct {
	resource allocation.Resource
	kind     Kind
	source   string
	series   string
}

type series struct {
	at    time.Time
	value float64
	hours float64
	fresh bool
}

// maxIdle is the number of windows without a sample after which a unit is forgotten; maxSeries bounds the series of one unit.
const (
	maxIdle   = 3
	maxSeries = 256
)

// NewMeter measures at most maxUnits units.
func NewMeter(maxGap time.Duration, maxUnits int) *Meter {
	return &Meter{maxGap: maxGap, max: maxUnits, units: map[Unit]*unit{}}
}

// Observe takes a sample; false when the limits leave no room for it. Samples out of order and of impossible values are ignored.
func (m *Meter) Observe(s *Sample) bool {
	if !(s.Value >= 0) || s.Value > 1e18 {
		return true
	}
	u, ok := m.units[s.Unit]
	if !ok {
		if len(m.units) >= m.max {
			return false
		}
		u = &unit{series: map[seriesKey]*series{}}
		m.units[s.Unit] = u
	}
	key := seriesKey{s.Resource, s.Kind, s.Source, s.Series}
	now, ok := u.series[key]
	if !ok {
		if len(u.series) >= maxSeries {
			return false
		}
		u.series[key] = &series{at: s.At, value: s.Value, fresh: true}
		u.idle = 0
		return true
	}
	if !s.At.After(now.at) {
		return true
	}
	u.idle = 0
	if s.Counter {
		// A total that fell began anew: what it shows has been used since.
		grown := s.Value
		if s.Value >= now.value {
			grown -= now.value
		}
		now.hours += grown / 3600
	} else {
		now.hours += now.value * min(s.At.Sub(now.at), m.maxGap).Hours()
	}
	now.at, now.value, now.fresh = s.At, s.Value, true
	return true
}

// Known says whether a unit is measured.
func (m *Meter) Known(u Unit) bool {
	_, ok := m.units[u]
	return ok
}

// Len is the number of units measured.
func (m *Meter) Len() int { return len(m.units) }

// Close ends a window: it returns what every unit had since the last one, sorted, and begins the next. Units without samples for several
// windows are forgotten.
func (m *Meter) Close() []Line {
	var out []Line
	for id, u := range m.units {
		line := Line{Unit: id}
		type sourceKey struct {
			resource allocation.Resource
			kind     Kind
			source   string
		}
		sums := map[sourceKey]float64{}
		some := false
		for key, s := range u.series {
			sums[sourceKey{key.resource, key.kind, key.source}] += s.hours
			some = some || s.hours > 0
			s.hours = 0
			if !s.fresh && u.idle >= maxIdle {
				delete(u.series, key)
			}
			s.fresh = false
		}
		for key, hours := range sums {
			line.Hours[key.resource][key.kind] = max(line.Hours[key.resource][key.kind], hours)
		}
		if some {
			out = append(out, line)
		}
		if u.idle++; u.idle > maxIdle {
			delete(m.units, id)
		}
	}
	slices.SortFunc(out, func(a, b Line) int {
		if c := strings.Compare(a.Unit.Pool, b.Unit.Pool); c != 0 {
			return c
		}
		return strings.Compare(a.Unit.ID, b.Unit.ID)
	})
	return out
}
