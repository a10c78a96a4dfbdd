// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"slices"
	"time"
)

// standing is the share of bad events that a group has had at least half of the time.
type standing struct {
	until int64 // index of the slice it was learned up to; 0 while nothing was learned
	share float64
}

// minStanding is how many slices with events tell what is usual.
const minStanding = 3

// standingShare is the median over the slices of the objective's window of their shares of bad events; 0 where too few are known. Slices that
// the alert itself looks at are left out, and those that late events may still change: so it depends on the events alone.
//
// A median, since an outage of a day must not hide the next one, while a failure that has been there for most of the window is not news.
func (o *objective) standingShare(e *Engine, g *group, end int64, long time.Duration) float64 {
	if o.slicing != nil || o.composite() {
		return 0
	}
	window := min(time.Duration(o.Window), 30*Day)
	r := g.series.ringFor(window)
	last := floorDiv(end-int64(long)-int64(e.settings.MaxLateness), r.width) - 1
	if g.standing.until == last {
		return g.standing.share
	}
	var shares []float64
	r.each(last-int64(window)/r.width+1, last, func(_ int64, c Counts) {
		if share, ok := c.BadRatio(); ok {
			shares = append(shares, share)
		}
	})
	share := 0.0
	if len(shares) >= minStanding {
		slices.Sort(shares)
		share = shares[(len(shares)-1)/2] // the lower one of two
	}
	g.standing = standing{last, share}
	return share
}
