// SPDX-License-Identifier: Apache-2.0

//go:build unix

package harness

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock that guards the building of path. The kernel releases
// it with the process, so a killed build blocks nobody.
func lockFile(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}
