// SPDX-License-Identifier: Apache-2.0

package demo

import "syscall"

// tether puts a child into a group of its own, so that Ctrl-C in a terminal reaches us alone and we stop things in order, and has the
// kernel stop it when we are killed.
func tether() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
