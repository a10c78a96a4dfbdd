// SPDX-License-Identifier: Apache-2.0

package blind

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pitwall-io/pitwall/internal/detect"
)

const (
	exportVersion = 1
	// partStreams are the streams in one part: each takes at most about 500 bytes.
	partStreams = 512
	maxItems    = 1e12
	maxName     = 1024
)

// heard is what came of one stream since the last export.
type heard struct {
	Service     string  `json:"service"`
	Signal      string  `json:"signal"`
	Items       float64 `json:"items"`
	Criticality string  `json:"criticality,omitempty"`
}

// Export returns what came since the last one, and forgets it; see detect.Merger.
func (d *Detector) Export(time.Time) ([][]byte, error) {
	all := make([]heard, 0, len(d.streams))
	for _, s := range d.streams {
		if s.now > 0 {
			all = append(all, heard{s.Service, s.Signal, s.now, s.Criticality})
		}
	}
	clear(d.streams)
	slices.SortFunc(all, func(a, b heard) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Signal, b.Signal))
	})
	var parts [][]byte
	for chunk := range slices.Chunk(all, partStreams) {
		sealed, err := detect.SealJSON(exportVersion, chunk)
		if err != nil {
			return nil, err
		}
		parts = append(parts, sealed)
	}
	return parts, nil
}

// Merge adds a part of what came to another collector; see detect.Merger.
func (d *Detector) Merge(part []byte) error {
	all, err := detect.OpenJSON[[]heard](exportVersion, part)
	if err != nil {
		return err
	}
	for _, h := range all {
		for _, text := range []string{h.Service, h.Signal, h.Criticality} {
			if len(text) > maxName || !utf8.ValidString(text) {
				return fmt.Errorf("%w: a name of %d bytes", errDamaged, len(text))
			}
		}
		if h.Service == "" || h.Signal == "" || !(h.Items > 0 && h.Items <= maxItems) {
			return fmt.Errorf("%w: %g items of %q", errDamaged, h.Items, h.Service)
		}
	}
	for _, h := range all {
		d.add(h.Service, h.Signal, h.Items, h.Criticality)
	}
	return nil
}
