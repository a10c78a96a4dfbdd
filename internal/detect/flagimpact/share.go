// SPDX-License-Identifier: Apache-2.0

package flagimpact

import (
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

const exportVersion = 1

// Export returns what was collected since the last one; see detect.Merger. Only where Settings.Collect is set there is something.
func (d *Detector) Export(now time.Time) ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes = nil
	parts, err := d.tracker.Export(now.UnixNano(), detect.MaxPart)
	for i := range parts {
		parts[i] = detect.Seal(exportVersion, parts[i])
	}
	return parts, err
}

// Merge adds a part of what another collector saw; see detect.Merger. limit is the latest event time that is believed.
func (d *Detector) Merge(part []byte, limit time.Time) error {
	data, err := detect.Open(exportVersion, part)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tracker.Merge(data, limit.UnixNano(), func(key track.Key, variant string) {
		if !controls[variant] {
			d.tracker.Announce(key, variant, 0)
		}
	})
}
