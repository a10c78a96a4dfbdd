// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// forks hands every start to one goroutine that owns its thread for good: the
// kernel sends Pdeathsig when the forking thread ends, and any other thread may
// end before the test does.
var forks = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fork := range queue {
			fork()
		}
	}()
	return queue
})

// startTethered starts a command in a process group of its own, which the
// kernel kills if this process dies first.
func startTethered(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	result := make(chan error)
	forks() <- func() { result <- cmd.Start() }
	return <-result
}
