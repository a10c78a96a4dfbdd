// SPDX-License-Identifier: Apache-2.0

//go:build unix

package costprocessor

import (
	"syscall"
	"time"
)

// cpuTime is the processor time this process has used: what a busy neighbour cannot stretch.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
