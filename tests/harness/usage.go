// SPDX-License-Identifier: Apache-2.0

//go:build unix

package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// userHertz is the unit of the times in /proc/<pid>/stat, fixed at 100 by the
// kernel's interface to programs.
const userHertz = 100

// Usage is what a process cost.
type Usage struct {
	// CPU is user and system time together.
	CPU time.Duration
	// RSS is the resident memory in bytes at the time of asking; zero once the
	// process has ended.
	RSS int64
	// Private is the part of RSS in bytes that is the process's own. The rest are pages of files, of the binary above all: how many of
	// those the kernel maps depends on what it has in its cache, it shares them among processes and takes them back when memory is short.
	Private int64
	// PeakRSS is the highest resident memory in bytes. For an ended process the
	// kernel counts in the moment between fork and exec, when it was still its
	// parent: where that matters, ask while it runs.
	PeakRSS int64
}

// Usage reads what the process has cost so far. Only Linux tells.
func (p *Process) Usage() (Usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(p.Pid()))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Usage{}, err
	}
	return parseUsage(stat, status)
}

// parseUsage takes the CPU time from stat (proc(5), fields 14 and 15) and the
// memory from status.
func parseUsage(stat, status []byte) (Usage, error) {
	// The command name in field 2 may hold spaces and brackets; the last bracket
	// ends it.
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("stat has %d fields after the name", len(fields))
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("stat: %w", err)
		}
		ticks += n
	}
	usage := Usage{CPU: time.Duration(ticks) * time.Second / userHertz}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "VmRSS":
			usage.RSS = kibibytes(value)
		case "RssAnon":
			usage.Private = kibibytes(value)
		case "VmHWM":
			usage.PeakRSS = kibibytes(value)
		}
	}
	return usage, nil
}

func kibibytes(value string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
	if err != nil {
		return 0
	}
	return n * 1024
}

// usageOfState reads what wait4 returned for an ended process.
func usageOfState(state *os.ProcessState) Usage {
	usage := Usage{CPU: state.UserTime() + state.SystemTime()}
	if rusage, ok := state.SysUsage().(*syscall.Rusage); ok {
		usage.PeakRSS = int64(rusage.Maxrss) //nolint:unconvert // 32 bits wide on some systems
		// Everybody but Apple counts in kibibytes.
		if runtime.GOOS != "darwin" {
			usage.PeakRSS *= 1024
		}
	}
	return usage
}

func killGroup(pid int) {
	// An error means that the group is gone, which is what was asked for.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}
