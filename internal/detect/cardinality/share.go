// SPDX-License-Identifier: Apache-2.0

package cardinality

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pitwall-io/pitwall/internal/detect"
)

var errDamaged = errors.New("statistics cannot be used")

const (
	exportVersion = 1
	// partTargets are the targets in one part.
	partTargets = 128
	maxPoints   = 1_000_000_000_000
	maxName     = 1024
)

// shared are the folded points of a target that one collector saw since its last export.
type shared struct {
	Target Target `json:"target"`
	Points int64  `json:"points"`
}

// Export returns what was folded since the last one, and forgets it; see detect.Merger.
func (d *Detector) Export(time.Time) ([][]byte, error) {
	var all []shared
	for _, t := range slices.SortedFunc(maps.Keys(d.episodes), Target.compare) {
		if e := d.episodes[t]; e.fresh {
			all = append(all, shared{t, e.Points})
		}
	}
	clear(d.episodes)
	var parts [][]byte
	for chunk := range slices.Chunk(all, partTargets) {
		sealed, err := detect.SealJSON(exportVersion, chunk)
		if err != nil {
			return nil, err
		}
		parts = append(parts, sealed)
	}
	return parts, nil
}

// Merge adds what another collector saw; see detect.Merger.
func (d *Detector) Merge(part []byte) error {
	all, err := detect.OpenJSON[[]shared](exportVersion, part)
	if err != nil {
		return err
	}
	for _, one := range all {
		t := one.Target
		if t.Service == "" || t.Metric == "" || len(t.Service) > maxName || len(t.Metric) > maxName || len(t.Attribute) > maxName ||
			!utf8.ValidString(t.Service+t.Metric+t.Attribute) || one.Points <= 0 || one.Points > maxPoints {
			return fmt.Errorf("%w: %d points of %.64q", errDamaged, one.Points, t.Metric)
		}
	}
	for _, one := range all {
		d.Folded(one.Target, one.Points)
	}
	return nil
}
