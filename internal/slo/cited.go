// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"time"
)

// maxCitations bounds the traces that are remembered for having been named by an alert.
const maxCitations = 512

// citation is a trace that an alert named, by the clock.
type citation struct {
	at int64
	id TraceID
}

func (e *Engine) citeLocked(ids []TraceID) {
	for _, id := range ids {
		if len(e.citations) >= maxCitations {
			e.citations = append(e.citations[:0], e.citations[maxCitations/2:]...)
		}
		e.citations = append(e.citations, citation{e.arrived, id})
	}
}

// Cited returns the traces that alerts named since a time of the clock, and those that an alert would name now in groups that have had
// bad events since then: whoever samples traces keeps them.
func (e *Engine) Cited(since time.Time) (ids []TraceID) {
	after := since.UnixNano()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.citations {
		if c.at >= after {
			ids = append(ids, c.id)
		}
	}
	for _, o := range e.objectives {
		if o.retired {
			continue
		}
		for _, g := range o.groups {
			if g.exemplified >= after {
				ids = append(ids, g.exemplars.recent(math.MinInt64, AlertExemplars)...)
			}
		}
		if g := o.overflow; g != nil && g.exemplified >= after {
			ids = append(ids, g.exemplars.recent(math.MinInt64, AlertExemplars)...)
		}
	}
	return ids
}
