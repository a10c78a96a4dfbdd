// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	rootModule = "module github.com/pitwall-io/pitwall"

	// BinDirVariable names a directory that holds ready binaries; it wins over
	// the repository's bin directory.
	BinDirVariable = "PITWALL_BIN_DIR"

	// DataVariable names the directory with the recordings.
	DataVariable = "PITWALL_DATA"
)

var errNoRoot = errors.New("no go.mod of the main module above the working directory")

// FindRoot walks up from the working directory to the repository's root.
func FindRoot() (string, error) {
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

// Root is FindRoot for a test.
func Root(t testing.TB) string {
	t.Helper()
	root, err := FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// FindBinary returns the path of a distribution's binary and builds it through
// `make bin/<name>` where it is missing. Test packages run in parallel, so the
// build happens under a file lock and every later caller finds it done.
func FindBinary(name string) (string, error) {
	if dir := os.Getenv(BinDirVariable); dir != "" {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s is set but has no %s: %w", BinDirVariable, name, err)
		}
		return path, nil
	}
	root, err := FindRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", name)
	return path, BuildOnce(path, root, "make", "--no-print-directory", "bin/"+name)
}

// Binary is FindBinary for a test.
func Binary(t testing.TB, name string) string {
	t.Helper()
	path, err := FindBinary(name)
	if err != nil {
		t.Fatalf("binary %s: %v", name, err)
	}
	return path
}

// BuildOnce runs a command in dir that is to produce path, unless path exists.
// Callers in other processes wait for the one that builds.
func BuildOnce(path, dir string, command ...string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	unlock, err := lockFile(path)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%s passed but left no %s: %w", strings.Join(command, " "), path, err)
	}
	return nil
}

// Supervisor returns the stock OpAMP supervisor, built once at the version
// that tools/go.mod pins.
func Supervisor(t testing.TB) string {
	t.Helper()
	root := Root(t)
	path := filepath.Join(root, ".cache", "bin", "opampsupervisor")
	err := BuildOnce(path, root, "go", "-C", "tools", "build", "-o", path,
		"github.com/open-telemetry/opentelemetry-collector-contrib/cmd/opampsupervisor")
	if err != nil {
		t.Fatalf("opamp supervisor: %v", err)
	}
	return path
}

// FindData returns the directory of the recordings, or an error where this
// machine has none.
func FindData() (string, error) {
	dir := os.Getenv(DataVariable)
	if dir == "" {
		root, err := FindRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

// Data returns a path below the recordings. The test is skipped where it is
// absent, also in CI: the recordings are not part of the repository.
func Data(t testing.TB, elem ...string) string {
	t.Helper()
	dir, err := FindData()
	if err != nil {
		t.Skipf("SKIPPED, NO RECORDINGS (set %s): %v", DataVariable, err)
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED, RECORDING ABSENT: %v", err)
	}
	return path
}

// Peer returns the path of a third-party program. Where it is absent the test
// is skipped on a developer's machine and fails in CI, which installs it.
func Peer(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("PEER MISSING IN CI: %s: %v", name, err)
	}
	t.Skipf("SKIPPED, PEER NOT INSTALLED: %s", name)
	return ""
}
