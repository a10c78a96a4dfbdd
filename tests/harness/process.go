// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyLine        = "Everything is ready"
	defaultReadyWait = 60 * time.Second
	stopWait         = 60 * time.Second
	pollInterval     = 10 * time.Millisecond
	// listening is how long a program is left alone after it said that it is
	// ready. A collector says so before it listens to signals: one that comes
	// in between ends it at once, as if it had not started.
	listening = 250 * time.Millisecond
)

var (
	errExited   = errors.New("process ended before it was ready")
	errNotReady = errors.New("process did not become ready in time")
	errStopHung = errors.New("process ignored the stop signal and was killed")
)

// Options says what to start and when it counts as started.
type Options struct {
	// Binary is the program to run.
	Binary string
	// Configs become one --config each, in order.
	Configs []string
	// Args follow the configurations.
	Args []string
	// Env is added to the environment of the test, as KEY=value.
	Env []string
	// Wrap is a command that runs the binary, such as taskset -c 0.
	Wrap []string
	// Dir is the working directory; empty means that of the log file.
	Dir string
	// Log is the file that gets both output streams.
	Log string
	// HealthURL, where set, is polled for 200; else the log is searched for
	// ReadyLine.
	HealthURL string
	// ReadyLine is the text in the log that says the program is up; empty means
	// the line that every collector prints.
	ReadyLine string
	// ReadyWait bounds the wait; zero means a minute.
	ReadyWait time.Duration
	// StopSignal ends the program in good order; zero means SIGTERM.
	StopSignal syscall.Signal
}

// Process is a running program. Its methods may be called from any goroutine.
type Process struct {
	options Options
	cmd     *exec.Cmd
	log     *os.File
	started time.Time
	// ready is the time from start to ready.
	ready time.Duration
	// done is closed once the program was waited for; exit and usage are valid
	// from then on.
	done chan struct{}
	exit Exit
	stop sync.Once
}

// Exit says how a program ended.
type Exit struct {
	// Code is the exit code, or -1 where a signal ended it.
	Code int
	// Took is the time from the stop signal to the end.
	Took time.Duration
	// Usage is what the whole run cost, as the kernel accounted it.
	Usage Usage
}

// Run starts a program and waits until it is ready. The caller owns it and must
// Stop or Kill it. Tests use Start.
func Run(ctx context.Context, options Options) (*Process, error) {
	log, err := os.Create(options.Log)
	if err != nil {
		return nil, err
	}
	p := &Process{options: options, log: log, done: make(chan struct{})}
	p.cmd = command(options)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.started = time.Now()
	if err := startTethered(p.cmd); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", options.Binary, err)
	}
	go p.wait()
	if err := p.awaitReady(ctx); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w: %s\n%s", err, options.Binary, tail(p.Logs(), 4000))
	}
	return p, nil
}

// Start is Run for a test: it fails the test where the program does not become
// ready, kills what still runs at the end of the test, and prints the end of
// the program's log if the test failed.
func Start(t testing.TB, options Options) *Process {
	t.Helper()
	if options.Log == "" {
		options.Log = filepath.Join(t.TempDir(), filepath.Base(options.Binary)+".log")
	}
	p, err := Run(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", filepath.Base(options.Binary), tail(p.Logs(), 6000))
		}
	})
	return p
}

// Pid is the operating system's number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// ReadyAfter is the time from start to ready.
func (p *Process) ReadyAfter() time.Duration { return p.ready }

// Logs is everything the program has written so far.
func (p *Process) Logs() string {
	text, err := os.ReadFile(p.options.Log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Running says whether the program still runs.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Done is closed once the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the program alone, not to its group. One that the
// program may catch waits until the program listens; SIGKILL is sent at once.
func (p *Process) Signal(signal syscall.Signal) error {
	if signal != syscall.SIGKILL {
		time.Sleep(time.Until(p.started.Add(p.ready + listening)))
	}
	return p.cmd.Process.Signal(signal)
}

// Stop asks the program to end and waits for it. A program that does not end
// within a minute is killed and an error returned.
func (p *Process) Stop() (Exit, error) {
	signal := p.options.StopSignal
	if signal == 0 {
		signal = syscall.SIGTERM
	}
	err := p.Signal(signal)
	asked := time.Now()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return Exit{}, err
	}
	select {
	case <-p.done:
		exit := p.exit
		exit.Took = time.Since(asked)
		p.killGroup()
		return exit, nil
	case <-time.After(stopWait):
		return p.Kill(), errStopHung
	}
}

// Kill ends the program and its whole process group at once.
func (p *Process) Kill() Exit {
	asked := time.Now()
	p.killGroup()
	<-p.done
	exit := p.exit
	exit.Took = time.Since(asked)
	return exit
}

// killGroup is sent once only: after the group is gone its number may belong to
// somebody else.
func (p *Process) killGroup() {
	p.stop.Do(func() { killGroup(p.cmd.Process.Pid) })
}

func (p *Process) wait() {
	// The error repeats what ProcessState says.
	_ = p.cmd.Wait()
	p.exit.Code = p.cmd.ProcessState.ExitCode()
	p.exit.Usage = usageOfState(p.cmd.ProcessState)
	p.log.Close()
	close(p.done)
}

func (p *Process) awaitReady(ctx context.Context) error {
	limit := p.options.ReadyWait
	if limit == 0 {
		limit = defaultReadyWait
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNotReady)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if p.isReady(ctx) {
			p.ready = time.Since(p.started)
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%w (exit code %d)", errExited, p.exit.Code)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (p *Process) isReady(ctx context.Context) bool {
	if p.options.HealthURL == "" {
		line := p.options.ReadyLine
		if line == "" {
			line = readyLine
		}
		text, err := os.ReadFile(p.options.Log)
		return err == nil && bytes.Contains(text, []byte(line))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.options.HealthURL, http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func command(options Options) *exec.Cmd {
	line := append([]string{}, options.Wrap...)
	line = append(line, options.Binary)
	for _, config := range options.Configs {
		line = append(line, "--config", config)
	}
	line = append(line, options.Args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), options.Env...)
	cmd.Dir = options.Dir
	if cmd.Dir == "" {
		cmd.Dir = filepath.Dir(options.Log)
	}
	return cmd
}

func tail(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	cut := text[len(text)-bytes:]
	if _, after, found := strings.Cut(cut, "\n"); found {
		return after
	}
	return cut
}
