// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Eventually polls until the condition holds and says whether it did within
// the limit. It is for the effects of other processes, which tell nobody when
// they are done.
func Eventually(limit time.Duration, condition func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			return false
		case <-ticker.C:
		}
	}
	return true
}

// Await is Eventually for a test, which fails if the condition did not hold.
func Await(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	if !Eventually(limit, condition) {
		t.Fatalf("not within %s: %s", limit, what)
	}
}

// WriteFile writes a file into a temporary directory of the test and returns
// its path.
func WriteFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
