// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package harness

import (
	"os/exec"
	"syscall"
)

// startTethered starts a command in a process group of its own.
func startTethered(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}
