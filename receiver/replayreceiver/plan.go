// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/recording"
	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/timeline"
)

// longestScout bounds the records that are read from each file before playing begins.
const longestScout = 16

var (
	errNoMatch    = errors.New("no file matches")
	errNotRegular = errors.New("not a regular file")
)

// plannedFile is a file of the recording that was not opened yet.
type plannedFile struct {
	signal signal
	path   string
	bytes  int64
	// place is the first event time in the file; zero when none was found.
	place int64
	// order breaks ties: by signal, then in the order of the configuration, then by name.
	order int
}

// findFiles expands the patterns of one signal into files, each once, in the order of the patterns and by name within one.
func findFiles(s signal, patterns []string) ([]*plannedFile, error) {
	var found []*plannedFile
	seen := map[string]bool{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			return nil, fmt.Errorf("%s: %w %q", s, errNoMatch, pattern)
		}
		slices.Sort(paths)
		for _, path := range paths {
			path = filepath.Clean(path)
			if seen[path] {
				continue
			}
			seen[path] = true
			info, err := os.Stat(path)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s, err)
			}
			if !info.Mode().IsRegular() {
				return nil, fmt.Errorf("%s: %s: %w", s, path, errNotRegular)
			}
			found = append(found, &plannedFile{signal: s, path: path, bytes: info.Size()})
		}
	}
	return found, nil
}

// scout finds the first event time of a file. It is the earlier of the first two in a row that agree, so that a wrong clock in front does not
// place the whole file, and the earliest of all where none agree. Defects are left for the player to report.
func (f *plannedFile) scout(limits recording.Limits, maxGap time.Duration) {
	file, err := os.Open(f.path)
	if err != nil {
		return
	}
	defer file.Close()
	rd, err := recording.NewReader(file, limits)
	if err != nil {
		return
	}
	defer rd.Close()
	var buf []byte
	var before int64
	for range longestScout {
		rec, err := rd.Next(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			continue
		}
		buf = rec.Data
		r := record{Record: rec, file: &openFile{plan: f}}
		if r.decode(0); r.err != nil || r.batch.span.first == 0 {
			continue
		}
		first := r.batch.span.first
		if f.place == 0 || first < f.place {
			f.place = first
		}
		if before != 0 && timeline.Near(first, before, maxGap) {
			f.place = min(first, before)
			return
		}
		before = first
	}
}

// origin returns the first event time of the recording; zero when it has none.
func origin(files []*plannedFile) (first int64) {
	for _, f := range files {
		if f.place != 0 && (first == 0 || f.place < first) {
			first = f.place
		}
	}
	return first
}
