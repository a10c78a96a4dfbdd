// SPDX-License-Identifier: Apache-2.0

package blind

import (
	"cmp"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
)

const snapshotVersion = 1

type snapshot struct {
	Streams []*stream
	Since   time.Time
}

// Snapshot returns the state in a form that Restore reads. Equal states give equal bytes.
func (d *Detector) Snapshot() ([]byte, error) {
	s := snapshot{Since: d.since}
	for _, one := range d.streams {
		s.Streams = append(s.Streams, one)
	}
	slices.SortFunc(s.Streams, func(a, b *stream) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Signal, b.Signal))
	})
	return detect.SealJSON(snapshotVersion, s)
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (d *Detector) Restore(data []byte) error {
	s, err := detect.OpenJSON[snapshot](snapshotVersion, data)
	if err != nil {
		return err
	}
	again := New(d.settings)
	for _, one := range s.Streams {
		if one != nil && len(again.streams) < d.settings.MaxStreams {
			again.streams[key{one.Service, one.Signal}] = one
		}
	}
	again.since = s.Since
	*d = *again
	return nil
}
