// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

// BinDirVariable names a directory that holds ready binaries; it wins over
// the repository's bin directory.
const BinDirVariable = "PITWALL_BIN_DIR"

// Root is the repository's root.
func Root(t testing.TB) string {
	t.Helper()
	root, err := recordings.Root()
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
	root, err := recordings.Root()
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
