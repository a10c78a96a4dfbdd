// SPDX-License-Identifier: Apache-2.0

package blind

import (
	"cmp"
	"encoding/json"
	"fmt"
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
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return detect.Seal(snapshotVersion, data), nil
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (d *Detector) Restore(data []byte) error {
	data, err := detect.Open(snapshotVersion, data)
	if err != nil {
		return err
	}
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("decode snapshot: %w", err)
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
