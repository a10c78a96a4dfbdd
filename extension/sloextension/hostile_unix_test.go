// SPDX-License-Identifier: Apache-2.0

//go:build unix

package sloextension

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is no file is not read: a pipe would never end.
func TestWhatIsNoFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for _, name := range []string{"pipe", "folder"} {
		cfg := createDefaultConfig().(*Config)
		cfg.Files = []string{filepath.Join(dir, name)}
		assert.ErrorContains(t, cfg.Validate(), name+" is not a regular file")
	}
	cfg := createDefaultConfig().(*Config)
	cfg.Files = []string{"/dev/zero"}
	assert.ErrorContains(t, cfg.Validate(), "is not a regular file")
}
