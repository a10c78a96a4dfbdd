// SPDX-License-Identifier: Apache-2.0

// Package recordings finds the public recordings that tests replay. They are not part of the repository.
package recordings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Env names the directory that holds the recordings; unset, it is shared/data beside the repository.
const Env = "PITWALL_DATA"

const rootModule = "module github.com/pitwall-io/pitwall"

var errNoRoot = errors.New("no go.mod of the main module above the working directory")

// Root walks up from the working directory to the repository's root.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if first, _, _ := strings.Cut(string(text), "\n"); err == nil && strings.TrimSpace(first) == rootModule {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoRoot
		}
		dir = parent
	}
}

// Find returns the path of a recording, or an error that wraps fs.ErrNotExist where this machine has none.
func Find(elements ...string) (string, error) {
	dir := os.Getenv(Env)
	if dir == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "..", "shared", "data")
	}
	path, err := filepath.Abs(filepath.Join(append([]string{dir}, elements...)...))
	if err != nil {
		return "", err
	}
	_, err = os.Stat(path)
	return path, err
}

// Path is Find for a test, which is skipped where the recording is absent, also in CI.
func Path(tb testing.TB, elements ...string) string {
	tb.Helper()
	path, err := Find(elements...)
	if err != nil {
		tb.Skipf("SKIPPED, RECORDING ABSENT (set %s): %v", Env, err)
	}
	return path
}
