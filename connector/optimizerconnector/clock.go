// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import "time"

// eventClock tells event time: the latest event time seen, and in silence as much later as the clock has moved on since.
type eventClock struct {
	watermark time.Time
	// readAt is what the clock said when the watermark was set.
	readAt time.Time
}

// observe takes an event time seen when the clock said read. Event time never goes back.
func (c *eventClock) observe(event, read time.Time) {
	if c.watermark.IsZero() || event.After(c.at(read)) {
		c.watermark, c.readAt = event, read
	}
}

// at returns the event time when the clock says read; before anything was seen it is the clock's.
func (c *eventClock) at(read time.Time) time.Time {
	if c.watermark.IsZero() {
		return read
	}
	if silence := read.Sub(c.readAt); silence > 0 {
		return c.watermark.Add(silence)
	}
	return c.watermark
}
