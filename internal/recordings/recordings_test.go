// SPDX-License-Identifier: Apache-2.0

package recordings_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

func TestTheVariableWins(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "fixtures"), 0o750))
	t.Setenv(recordings.Env, dir)
	path, err := recordings.Find("fixtures")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "fixtures"), path)

	_, err = recordings.Find("absent")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestAnAbsentRecordingSkipsTheTest(t *testing.T) {
	t.Setenv(recordings.Env, t.TempDir())
	skipped := false
	t.Run("reads a recording", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		recordings.Path(t, "absent")
		t.Error("went on without its recording")
	})
	assert.True(t, skipped)
}

func TestTheRootIsThatOfTheMainModule(t *testing.T) {
	root, err := recordings.Root()
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(root, "builder-config.yaml"))

	t.Chdir(filepath.Join(root, "tests", "e2e")) // a module of its own below it
	again, err := recordings.Root()
	require.NoError(t, err)
	assert.Equal(t, root, again)

	t.Chdir(t.TempDir())
	_, err = recordings.Root()
	assert.Error(t, err)
}
