// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// pin moves this process to the last CPU it may use and returns the command
// that puts another on the first. Without taskset, or on a single CPU, nothing
// is pinned.
func pin() []string {
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return nil
	}
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil || allowed.Count() < 2 {
		return nil
	}
	var cpus []int
	for cpu := 0; len(cpus) < allowed.Count(); cpu++ {
		if allowed.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	var own unix.CPUSet
	own.Set(cpus[len(cpus)-1])
	// Every thread has a mask of its own; those to come inherit it.
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(id, &own); err != nil {
			fmt.Fprintln(os.Stderr, "cannot pin:", err)
			return nil
		}
	}
	runtime.GOMAXPROCS(1)
	return []string{taskset, "--cpu-list", strconv.Itoa(cpus[0])}
}
