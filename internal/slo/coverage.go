// SPDX-License-Identifier: Apache-2.0

package slo

import "time"

// coverage remembers which slices of event time were observed: those in which any telemetry arrived, and those within `absent`
// after one of them. The rest is unknown time. A union of intervals does not depend on the order in which they come.
type coverage struct {
	observed series // GoodN counts observed fine slices; BadN marks, in the finest ring, slices that held an event
	fine     int64
	reach    int64 // fine slices an event vouches for, its own included
}

func newCoverage(l layout, absent time.Duration) coverage {
	return coverage{observed: newSeries(l), fine: int64(l.fine), reach: max(1, int64(absent/l.fine))}
}

// mark notes telemetry in the slice that starts at start.
func (c *coverage) mark(start int64) {
	finest := &c.observed.rings[0]
	slice := floorDiv(start, c.fine)
	cell := finest.cell(slice)
	if cell == nil || cell.BadN != 0 {
		return
	}
	cell.BadN = 1
	for i := slice; i < slice+c.reach; i++ {
		if cell := finest.cell(i); cell != nil && cell.GoodN == 0 {
			c.observed.add(i*c.fine, Counts{GoodN: 1})
		}
	}
}

// share is the part of the window ending at t that was observed, in [0, 1].
func (c *coverage) share(t int64, window time.Duration) float64 {
	return min(1, float64(c.time(t, window))/float64(window))
}

// time is how much of the window ending at t was observed.
func (c *coverage) time(t int64, window time.Duration) time.Duration {
	return time.Duration(int64(c.observed.window(t, window).GoodN) * c.fine)
}

// at reports whether the slice that holds t was observed.
func (c *coverage) at(t int64) bool {
	return c.observed.window(t, time.Duration(c.fine)).GoodN > 0
}
