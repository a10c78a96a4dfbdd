// SPDX-License-Identifier: Apache-2.0

package track

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// maxChanges bounds the changes that are remembered as possible causes.
const maxChanges = 1_000

// WatchSettings of a Watch.
type WatchSettings struct {
	Settings
	// TTL is how long what a detector says is valid.
	TTL time.Duration
	// SnapshotVersion is the version of the form in which the detector's state is kept, ExportVersion that in which it is sent.
	SnapshotVersion, ExportVersion uint32
	// Restored, if set, drops what a detector remembers of the arms that Restore replaced. The lock is held.
	Restored func()
}

// Watch is what detectors that compare arms have in common: a tracker behind a lock, what was said of its comparisons, and the changes
// that may have caused what it finds. All of it may be called from many goroutines, but for what says that the caller holds the lock.
type Watch struct {
	settings WatchSettings

	mu      sync.Mutex
	tracker *Tracker
	voice   Voice
	changes []detect.Change
}

// NewWatch returns a watch that has seen nothing.
func NewWatch(s WatchSettings) *Watch {
	return &Watch{settings: s, tracker: New(s.Settings), voice: Voice{TTL: s.TTL}}
}

// Lock returns the tracker to observe with, until Unlock. Nothing is to be called out to meanwhile.
func (w *Watch) Lock() *Tracker {
	w.mu.Lock()
	return w.tracker
}

// Unlock ends what Lock began.
func (w *Watch) Unlock() { w.mu.Unlock() }

// Tracker is what Lock returned, for those whom the holder of the lock calls.
func (w *Watch) Tracker() *Tracker { return w.tracker }

// Remember keeps a change as a possible cause; when there is no room, the oldest go. The caller holds the lock.
func (w *Watch) Remember(c detect.Change) {
	if len(w.changes) >= maxChanges {
		w.changes = w.changes[maxChanges/10:]
	}
	w.changes = append(w.changes, c)
}

// Says reports whether s is to be said now. The caller holds the lock.
func (w *Watch) Says(s *State, now time.Time) bool { return w.voice.Says(s, now) }

// Causes returns the ids of the remembered changes of k that fit, newest first. The caller holds the lock.
func (w *Watch) Causes(k Key, fits func(c *detect.Change) bool) []string {
	var ids []string
	for i := range slices.Backward(w.changes) {
		c := &w.changes[i]
		if c.Service == k.Service && (c.Namespace == "" || k.Namespace == "" || c.Namespace == k.Namespace) &&
			(c.Environment == "" || k.Environment == "" || c.Environment == k.Environment) && fits(c) && len(ids) < signal.MaxList {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// keptWatch is the form in which the state is kept.
type keptWatch struct {
	Tracker json.RawMessage `json:"tracker"`
	Changes []detect.Change `json:"changes,omitempty"`
}

// Snapshot implements detect.Detector.
func (w *Watch) Snapshot() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tracker, err := w.tracker.Snapshot()
	if err != nil {
		return nil, err
	}
	return detect.SealJSON(w.settings.SnapshotVersion, keptWatch{Tracker: tracker, Changes: w.changes})
}

// Restore implements detect.Detector.
func (w *Watch) Restore(data []byte) error {
	k, err := detect.OpenJSON[keptWatch](w.settings.SnapshotVersion, data)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.tracker.Restore(k.Tracker); err != nil {
		return err
	}
	w.changes = k.Changes[:min(len(k.Changes), maxChanges)]
	if w.settings.Restored != nil {
		w.settings.Restored()
	}
	return nil
}

// Fill implements detect.Detector.
func (w *Watch) Fill() detect.Fill {
	w.mu.Lock()
	defer w.mu.Unlock()
	used, limit := w.tracker.Targets()
	return detect.Fill{Used: used, Limit: limit}
}

// Export returns what was collected since the last one; see detect.Merger. Only where Settings.Collect is set there is something.
func (w *Watch) Export(now time.Time) ([][]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = nil
	parts, err := w.tracker.Export(now.UnixNano(), detect.MaxPart)
	for i := range parts {
		parts[i] = detect.Seal(w.settings.ExportVersion, parts[i])
	}
	return parts, err
}

// MergePart adds a part of what another collector saw; see detect.Merger. limit is the latest event time that is believed; appeared, which
// may be nil, is called with the lock held for each arm that is new here.
func (w *Watch) MergePart(part []byte, limit time.Time, appeared func(Key, string)) error {
	data, err := detect.Open(w.settings.ExportVersion, part)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tracker.Merge(data, limit.UnixNano(), appeared)
}
