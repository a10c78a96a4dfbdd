// SPDX-License-Identifier: Apache-2.0

package coverage

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
	// partServices are the services in one part.
	partServices = 512
	maxCount     = 1_000_000_000_000
	maxName      = 1024
)

// part is what one collector saw since its last export. Counts of traces are adjusted for those that it did not follow.
type part struct {
	Judged   int64  `json:"judged,omitempty"`
	Whole    int64  `json:"whole,omitempty"`
	Large    int64  `json:"large,omitempty"`
	Services []seen `json:"services,omitempty"`
}

type seen struct {
	Name    string `json:"name"`
	Traced  bool   `json:"traced,omitempty"`
	Called  bool   `json:"called,omitempty"`
	Orphans int64  `json:"orphans,omitempty"`
}

// Export judges the traces that are quiet at event time now, and returns what was seen since the last one; see detect.Merger.
func (d *Detector) Export(now time.Time) ([][]byte, error) {
	d.pass(now)
	weight := int64(1) << d.shift
	d.judge()
	first := part{Judged: weight * take(&d.judged), Whole: weight * take(&d.whole), Large: weight * take(&d.large)}
	var all []seen
	for _, name := range slices.Sorted(maps.Keys(d.services)) {
		s := d.known[d.services[name]]
		one := seen{Name: name, Traced: s.Traced.Equal(now), Called: s.Called.Equal(now), Orphans: weight * take(&s.Orphans)}
		if one.Traced || one.Called || one.Orphans > 0 {
			all = append(all, one)
		}
	}
	d.forget()
	var parts [][]byte
	for p := first; p.Judged > 0 || p.Large > 0 || len(all) > 0; p = (part{}) {
		n := min(len(all), partServices)
		p.Services, all = all[:n], all[n:]
		sealed, err := detect.SealJSON(exportVersion, p)
		if err != nil {
			return nil, err
		}
		parts = append(parts, sealed)
	}
	return parts, nil
}

// take returns the sum of the slots and empties them.
func take(counts *[slots]int64) int64 {
	var sum int64
	for i, n := range counts {
		sum += n
		counts[i] = 0
	}
	return sum
}

// Merge adds what another collector saw; see detect.Merger.
func (d *Detector) Merge(data []byte) error {
	p, err := detect.OpenJSON[part](exportVersion, data)
	if err != nil {
		return err
	}
	if p.Judged < 0 || p.Whole < 0 || p.Large < 0 || p.Whole > p.Judged || p.Judged > maxCount || p.Large > maxCount {
		return fmt.Errorf("%w: %d traces, %d whole, %d large", errDamaged, p.Judged, p.Whole, p.Large)
	}
	for _, s := range p.Services {
		if s.Name == "" || len(s.Name) > maxName || !utf8.ValidString(s.Name) || s.Orphans < 0 || s.Orphans > maxCount {
			return fmt.Errorf("%w: service %.64q", errDamaged, s.Name)
		}
	}
	i := d.at % slots
	d.judged[i] += p.Judged
	d.whole[i] += p.Whole
	d.large[i] += p.Large
	for _, s := range p.Services {
		number := d.find(s.Name)
		if number < 0 {
			continue
		}
		one := d.known[number]
		one.traced = one.traced || s.Traced
		one.called = one.called || s.Called
		one.Orphans[i] += s.Orphans
	}
	return nil
}
