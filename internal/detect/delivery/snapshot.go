// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"github.com/pitwall-io/pitwall/internal/detect"
)

const snapshotVersion = 1

// snapshot is what lives through a restart. Its maps are written in the order of their keys.
type snapshot struct {
	Services map[string]*service
	Days     [days]day
}

// Snapshot returns the state in a form that Restore reads. Equal states give equal bytes.
func (d *Detector) Snapshot() ([]byte, error) {
	return detect.SealJSON(snapshotVersion, snapshot{Services: d.services, Days: d.days})
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (d *Detector) Restore(data []byte) error {
	s, err := detect.OpenJSON[snapshot](snapshotVersion, data)
	if err != nil {
		return err
	}
	again := New(d.settings)
	for name, one := range s.Services {
		if one != nil && len(again.services) < d.settings.MaxServices {
			again.services[name] = one
		}
	}
	again.days = s.Days
	*d = *again
	return nil
}
