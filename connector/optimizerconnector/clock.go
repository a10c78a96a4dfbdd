// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import "time"

// eventClock tells event time: the latest event time seen. How much later it is in silence is for the reader to decide.
type eventClock struct {
	watermark time.Time
	// readAt is what the clock said when the watermark was set.
	readAt time.Time
}

// observe takes an event time seen when the clock said read. Event time never goes back.
func (c *eventClock) observe(event, read time.Time) {
	if event.After(c.watermark) {
		c.watermark, c.readAt = event, read
	}
}

// inSilence returns the event time if nothing has happened since the watermark was set; before anything was seen it is the clock's.
func (c *eventClock) inSilence(read time.Time) time.Time {
	if c.watermark.IsZero() {
		return read
	}
	return c.watermark.Add(max(read.Sub(c.readAt), 0))
}
