// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package costprocessor

import "time"

var processStart = time.Now()

// cpuTime is the time since the start where the system does not say how much of it the process used.
func cpuTime() time.Duration { return time.Since(processStart) }
