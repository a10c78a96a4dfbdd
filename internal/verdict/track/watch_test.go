// SPDX-License-Identifier: Apache-2.0

package track

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

func remember(w *Watch, n int) {
	w.Lock()
	defer w.Unlock()
	for i := range n {
		w.Remember(detect.Change{ID: strconv.Itoa(i), Service: "checkout"})
	}
}

func causes(w *Watch) []string {
	w.Lock()
	defer w.Unlock()
	return w.Causes(Key{Service: "checkout", Namespace: "shop"}, func(*detect.Change) bool { return true })
}

func TestRememberedChangesAreBoundedAndTheNewestStay(t *testing.T) {
	w := NewWatch(WatchSettings{SnapshotVersion: 1})
	remember(w, 10*maxChanges)
	assert.LessOrEqual(t, len(w.changes), maxChanges)
	got := causes(w)
	require.Len(t, got, signal.MaxList)
	assert.Equal(t, strconv.Itoa(10*maxChanges-1), got[0])
}

func TestARefusedSnapshotChangesNothing(t *testing.T) {
	restored := 0
	w := NewWatch(WatchSettings{SnapshotVersion: 7, Restored: func() { restored++ }})
	remember(w, 3)
	w.Lock().Arm(Key{Service: "checkout"}, "1", time.Now().UnixNano())
	w.Unlock()
	before, err := w.Snapshot()
	require.NoError(t, err)
	for name, bad := range map[string][]byte{
		"another version": detect.Seal(8, before), "no JSON": detect.Seal(7, []byte("{")), "no tracker": detect.Seal(7, []byte(`{"tracker":[]}`)), "nothing": nil,
	} {
		require.Error(t, w.Restore(bad), name)
	}
	after, err := w.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	assert.Zero(t, restored)

	require.NoError(t, w.Restore(before))
	assert.Equal(t, 1, restored)
	assert.Equal(t, []string{"2", "1", "0"}, causes(w))
}

func TestAPartOfAnotherVersionIsRefused(t *testing.T) {
	from := NewWatch(WatchSettings{Settings: Settings{Collect: true}, ExportVersion: 1})
	at := time.Unix(1_800_000_000, 0)
	from.Lock().Arm(Key{Service: "checkout"}, "1", at.UnixNano()).Observe(at.UnixNano(), time.Millisecond, false, [16]byte{})
	from.Unlock()
	parts, err := from.Export(at)
	require.NoError(t, err)
	require.Len(t, parts, 1)

	require.ErrorIs(t, NewWatch(WatchSettings{ExportVersion: 2}).MergePart(parts[0], at, nil), detect.ErrSealVersion)
	var appeared []string
	to := NewWatch(WatchSettings{ExportVersion: 1})
	require.NoError(t, to.MergePart(parts[0], at, func(k Key, name string) { appeared = append(appeared, k.Service+" "+name) }))
	assert.Equal(t, []string{"checkout 1"}, appeared)
	assert.Equal(t, detect.Fill{Used: 1, Limit: 10_000}, to.Fill())
}
