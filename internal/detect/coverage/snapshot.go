// SPDX-License-Identifier: Apache-2.0

package coverage

import (
	"cmp"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
)

const snapshotVersion = 1

// snapshot is what lives through a restart. Traces that are open then are not judged: their spans would be torn apart by the pause.
type snapshot struct {
	Services             []*service
	Judged, Whole, Large [slots]int64
	At                   int64
	Since                time.Time
}

// Snapshot returns the state in a form that Restore reads. Equal states give equal bytes.
func (d *Detector) Snapshot() ([]byte, error) {
	s := snapshot{Judged: d.judged, Whole: d.whole, Large: d.large, At: d.at, Since: d.since}
	for _, one := range d.known {
		if one != nil {
			s.Services = append(s.Services, one)
		}
	}
	slices.SortFunc(s.Services, func(a, b *service) int { return cmp.Compare(a.Name, b.Name) })
	return detect.SealJSON(snapshotVersion, s)
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (d *Detector) Restore(data []byte) error {
	s, err := detect.OpenJSON[snapshot](snapshotVersion, data)
	if err != nil {
		return err
	}
	again := New(d.settings)
	for _, one := range s.Services {
		if one != nil && len(again.services) < d.settings.MaxServices {
			again.services[one.Name] = int32(len(again.known))
			again.known = append(again.known, one)
		}
	}
	again.judged, again.whole, again.large, again.at, again.since = s.Judged, s.Whole, s.Large, s.At, s.Since
	*d = *again
	return nil
}
