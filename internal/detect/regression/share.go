// SPDX-License-Identifier: Apache-2.0

package regression

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/verdict"
)

var errDamaged = errors.New("statistics cannot be used")

const (
	exportVersion = 1
	maxName       = 1024
	maxRequests   = 1_000_000_000 // in a minute
)

// shared is what one collector saw of a service since its last export.
type shared struct {
	Key     Key            `json:"key"`
	Memory  *sharedMetric  `json:"memory,omitempty"`
	CPU     *sharedMetric  `json:"cpu,omitempty"`
	Minutes []sharedMinute `json:"minutes"`
}

type sharedMetric struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
}

type sharedMinute struct {
	Index    int64         `json:"index"`
	Requests uint64        `json:"requests"`
	Errors   uint64        `json:"errors,omitempty"`
	Latency  []uint32      `json:"latency,omitempty"`
	Memory   verdict.Gauge `json:"memory,omitzero"`
	CPU      verdict.Gauge `json:"cpu,omitzero"`
}

// Export returns what was observed since the last one, and forgets it; see detect.Merger.
func (d *Detector) Export(now time.Time) ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var parts [][]byte
	var part []shared
	size := 0
	done := func() error {
		if len(part) == 0 {
			return nil
		}
		sealed, err := detect.SealJSON(exportVersion, part)
		if err != nil {
			return err
		}
		parts, part, size = append(parts, sealed), nil, 0
		return nil
	}
	for _, key := range slices.SortedFunc(maps.Keys(d.targets), compareKeys) {
		one, about := d.targets[key].export(key)
		if len(one.Minutes) == 0 {
			continue
		}
		if size+about > detect.MaxPart {
			if err := done(); err != nil {
				return nil, err
			}
		}
		part, size = append(part, one), size+about
	}
	err := done()
	d.closed = max(d.closed, now.UnixNano()/int64(interval)) // by which silent services are forgotten
	d.forget()
	d.changes = nil
	return parts, err
}

func (x *Target) export(key Key) (one shared, about int) {
	one = shared{Key: key, Memory: x.Of[memory].share(), CPU: x.Of[cpu].share()}
	about = 200 + len(key.Service) + len(key.Namespace) + len(key.Environment)
	for i := range x.minutes {
		m := &x.minutes[i]
		if m.requests == 0 && m.used[memory].Weight == 0 && m.used[cpu].Weight == 0 {
			continue
		}
		x.Last = max(x.Last, m.index)
		latency := verdict.Sparse(&m.latency)
		one.Minutes = append(one.Minutes, sharedMinute{m.index, m.requests, m.errors, latency, m.used[memory], m.used[cpu]})
		about += 150 + 8*len(latency)
		*m = minute{index: m.index}
	}
	return one, about
}

func (c *course) share() *sharedMetric {
	if c.Metric == "" {
		return nil
	}
	return &sharedMetric{c.Metric, c.Unit}
}

// Merge adds what another collector saw; see detect.Merger. limit is the latest event time that is believed.
func (d *Detector) Merge(data []byte, limit time.Time) error {
	part, err := detect.OpenJSON[[]shared](exportVersion, data)
	if err != nil {
		return err
	}
	latest := limit.UnixNano() / int64(interval)
	for i := range part {
		if err := part[i].check(latest); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range part {
		one := &part[i]
		if x := d.Target(one.Key); x != nil {
			for j := range one.Minutes {
				d.add(x, one, &one.Minutes[j])
			}
		}
	}
	return nil
}

func (d *Detector) add(x *Target, one *shared, from *sharedMinute) {
	m := d.minute(x, from.Index*int64(interval))
	if m == nil {
		return
	}
	latency, _, _ := verdict.Dense(from.Latency) // checked
	m.requests += from.Requests
	m.errors += from.Errors
	for bucket, n := range latency {
		m.latency[bucket] += n
	}
	if one.Memory != nil && from.Memory.Weight > 0 && x.Metric(Memory, one.Memory.Name, one.Memory.Unit) {
		m.used[memory].Add(from.Memory)
	}
	if one.CPU != nil && from.CPU.Weight > 0 && x.Metric(CPU, one.CPU.Name, one.CPU.Unit) {
		m.used[cpu].Add(from.CPU)
	}
}

// check refuses what no collector says.
func (s *shared) check(latest int64) error {
	for _, text := range []string{s.Key.Service, s.Key.Namespace, s.Key.Environment} {
		if len(text) > maxName || !utf8.ValidString(text) {
			return fmt.Errorf("%w: a name of %d bytes", errDamaged, len(text))
		}
	}
	for _, m := range []*sharedMetric{s.Memory, s.CPU} {
		if m != nil && (m.Name == "" || len(m.Name) > maxName || len(m.Unit) > maxName) {
			return fmt.Errorf("%w: a metric of %q", errDamaged, s.Key.Service)
		}
	}
	if s.Key.Service == "" || len(s.Minutes) > ring {
		return fmt.Errorf("%w: %d minutes of %q", errDamaged, len(s.Minutes), s.Key.Service)
	}
	for i := range s.Minutes {
		m := &s.Minutes[i]
		_, sum, err := verdict.Dense(m.Latency)
		if err != nil || m.Index <= 0 || m.Index > latest || m.Requests > maxRequests || m.Errors > m.Requests || sum != m.Requests-m.Errors ||
			!m.Memory.Usable() || !m.CPU.Usable() {
			return fmt.Errorf("%w: minute %d of %q", errDamaged, m.Index, s.Key.Service)
		}
	}
	return nil
}
