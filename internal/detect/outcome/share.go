// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pitwall-io/pitwall/internal/detect"
)

var errDamaged = errors.New("statistics cannot be used")

const (
	exportVersion = 1
	// partSeries are the series in one part.
	partSeries = 128
	maxEvents  = 1e15
	maxName    = 1024
)

// shared are the events of an objective that one collector saw since its last export.
type shared struct {
	Service   string        `json:"service,omitempty"`
	Objective string        `json:"objective"`
	Slices    []sharedSlice `json:"slices"`
}

type sharedSlice struct {
	Number int64   `json:"number"`
	Good   float64 `json:"good,omitempty"`
	Bad    float64 `json:"bad,omitempty"`
}

// Export returns the events that were observed since the last one, and forgets everything; see detect.Merger.
func (d *Detector) Export(time.Time) ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]shared, 0, len(d.series))
	for k, s := range d.series {
		one := shared{Service: k.service, Objective: k.objective}
		for n := s.Newest - sliceCount + 1; n <= s.Newest; n++ {
			if i := n % sliceCount; n > 0 && (s.Good[i] > 0 || s.Bad[i] > 0) {
				one.Slices = append(one.Slices, sharedSlice{n, s.Good[i], s.Bad[i]})
			}
		}
		all = append(all, one)
	}
	clear(d.series)
	d.pending, d.landed, d.said = nil, nil, nil
	slices.SortFunc(all, func(a, b shared) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Objective, b.Objective))
	})
	var parts [][]byte
	for chunk := range slices.Chunk(all, partSeries) {
		sealed, err := detect.SealJSON(exportVersion, chunk)
		if err != nil {
			return nil, err
		}
		parts = append(parts, sealed)
	}
	return parts, nil
}

// Merge adds what another collector saw; see detect.Merger. limit is the latest event time that is believed.
func (d *Detector) Merge(part []byte, limit time.Time) error {
	all, err := detect.OpenJSON[[]shared](exportVersion, part)
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.Objective == "" || len(one.Objective) > maxName || len(one.Service) > maxName || !utf8.ValidString(one.Objective+one.Service) || len(one.Slices) > sliceCount {
			return fmt.Errorf("%w: objective %.64q", errDamaged, one.Objective)
		}
		for _, s := range one.Slices {
			if s.Number <= 0 || s.Number > sliceOf(limit) || !(s.Good >= 0 && s.Good <= maxEvents && s.Bad >= 0 && s.Bad <= maxEvents) {
				return fmt.Errorf("%w: slice %d of %.64q", errDamaged, s.Number, one.Objective)
			}
		}
	}
	for _, one := range all {
		for _, s := range one.Slices {
			d.Observe(one.Service, one.Objective, time.Unix(s.Number*int64(sliceWidth/time.Second), 0).UTC(), s.Good, s.Bad)
		}
	}
	return nil
}
