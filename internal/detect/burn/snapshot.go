// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// snapshotVersion is the version of the form in which episodes are kept over a restart.
const snapshotVersion = 1

var (
	errSnapshotVersion  = errors.New("snapshot was written by another version")
	errSnapshotChecksum = errors.New("snapshot is damaged: its checksum does not match")
)

// snapshot wraps the state with what it takes to trust it.
type snapshot struct {
	Version  int             `json:"version"`
	Checksum string          `json:"checksum"`
	State    json.RawMessage `json:"state"`
}

type snapshotState struct {
	Episodes map[string]*episode `json:"episodes"`
	Closed   []string            `json:"closed"`
}

// Snapshot returns the state in a form that Restore reads. Equal states give equal bytes.
func (d *Detector) Snapshot() ([]byte, error) {
	state, err := json.Marshal(snapshotState{Episodes: d.episodes, Closed: d.closed.list()})
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return json.Marshal(snapshot{Version: snapshotVersion, Checksum: checksum(state), State: state})
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged.
func (d *Detector) Restore(data []byte) error {
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("decode snapshot: %w", err)
	}
	if s.Version != snapshotVersion {
		return fmt.Errorf("%w: %d, this one reads %d", errSnapshotVersion, s.Version, snapshotVersion)
	}
	if checksum(s.State) != s.Checksum {
		return errSnapshotChecksum
	}
	var state snapshotState
	if err := json.Unmarshal(s.State, &state); err != nil {
		return fmt.Errorf("decode snapshot: %w", err)
	}
	episodes := map[string]*episode{}
	for key, ep := range state.Episodes {
		if ep == nil || len(ep.Rules) == 0 || ep.Envelope.Validate() != nil || len(episodes) >= d.settings.MaxActive {
			continue
		}
		episodes[key] = ep
	}
	d.episodes = episodes
	d.closed = newTombstones(d.settings.MaxActive)
	for _, stone := range state.Closed {
		d.closed.add(stone)
	}
	return nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// tombstones remember the last firings that have ended, so that a record which arrives late cannot start one again.
type tombstones struct {
	limit int
	seen  map[string]struct{}
	// order is a ring once it is full; next is its oldest entry.
	order []string
	next  int
}

func newTombstones(limit int) *tombstones {
	return &tombstones{limit: limit, seen: map[string]struct{}{}}
}

// tombstone names one firing of one rule in few bytes, however long the names are.
func tombstone(key, rule string, startedAt time.Time) string {
	sum := sha256.Sum256([]byte(key + "\x00" + rule + "\x00" + strconv.FormatInt(startedAt.UnixNano(), 10)))
	return hex.EncodeToString(sum[:16])
}

func (t *tombstones) has(stone string) bool {
	_, ok := t.seen[stone]
	return ok
}

func (t *tombstones) add(stone string) {
	if t.has(stone) || t.limit <= 0 {
		return
	}
	t.seen[stone] = struct{}{}
	if len(t.order) < t.limit {
		t.order = append(t.order, stone)
		return
	}
	delete(t.seen, t.order[t.next])
	t.order[t.next] = stone
	t.next = (t.next + 1) % t.limit
}

// list returns the tombstones, oldest first.
func (t *tombstones) list() []string {
	return append(append([]string{}, t.order[t.next:]...), t.order[:t.next]...)
}
