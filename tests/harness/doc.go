// SPDX-License-Identifier: Apache-2.0

// Package harness runs the built binary as what it is in production: a process
// of its own. It finds or builds the binary, starts it, waits until it says
// that it is ready, stops it, and reads what it cost from the kernel. No
// process it starts outlives the test that started it.
package harness
