// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// lastLines is how many lines of the collector's log are kept to explain its end.
	lastLines = 20
	// maxErrorLines bounds how many error lines of the collector's log are repeated to the user.
	maxErrorLines = 20
	// maxLine bounds one line in bytes; the rest of a longer one is a line of its own.
	maxLine = 8 << 10
)

// collector is the collector as a process.
type collector struct {
	command *exec.Cmd
	log     *logTail
	file    io.Closer
	// exited is closed when the process is gone; err is how it ended.
	exited chan struct{}
	err    error
}

// startCollector starts the binary with a configuration and writes its log to a file.
func startCollector(binary, config, logFile string, env []string, tell func(string)) (*collector, error) {
	file, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("the collector's log: %w", err)
	}
	c := &collector{file: file, log: &logTail{file: file, tell: tell}, exited: make(chan struct{})}
	c.command = exec.Command(binary, "--config", config) //nolint:gosec // the user names the binary
	c.command.Env = append(os.Environ(), env...)
	c.command.Stdout, c.command.Stderr = c.log, c.log
	c.command.WaitDelay = time.Second
	c.command.SysProcAttr = tether()
	started := make(chan error, 1)
	go func() {
		defer close(c.exited)
		runtime.LockOSThread() // the tether is to the thread that forks: it stays as long as the child
		defer runtime.UnlockOSThread()
		err := c.command.Start()
		started <- err
		if err == nil {
			c.err = c.command.Wait()
		}
		_ = file.Close() // the log has what it has
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting the collector %s: %w", binary, err)
	}
	return c, nil
}

// ready waits until the address accepts connections.
func (c *collector) ready(ctx context.Context, address string) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ticker.C:
		case <-c.exited:
			return c.died()
		case <-ctx.Done():
			return fmt.Errorf("the collector does not listen on %s: %w", address, ctx.Err())
		}
	}
}

// died describes an end that nobody asked for; call it once exited is closed.
func (c *collector) died() error {
	how := "with exit code 0"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("the collector has ended (%s); the last lines of its log:\n%s", how, strings.Join(c.log.tail(), "\n"))
}

// stop asks the process to end and kills it when ctx does.
func (c *collector) stop(ctx context.Context) error {
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the collector: %w", err)
	}
	select {
	case <-c.exited:
	case <-ctx.Done():
		_ = c.command.Process.Kill() // it may be gone by now
		<-c.exited
		return errors.New("the collector did not stop in time and was killed")
	}
	if c.err != nil {
		return fmt.Errorf("the collector stopped badly: %w; the last lines of its log:\n%s", c.err, strings.Join(c.log.tail(), "\n"))
	}
	return nil
}

// logTail copies the collector's log to a file, keeps its last lines and repeats its errors.
type logTail struct {
	file io.Writer
	tell func(string)

	mu     sync.Mutex
	rest   []byte
	lines  []string
	errors int
}

func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(p); err != nil {
		return 0, err
	}
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		next := end + 1
		if end < 0 {
			if len(l.rest) < maxLine {
				return len(p), nil
			}
			end, next = maxLine, maxLine
		}
		l.line(string(l.rest[:end]))
		l.rest = append(l.rest[:0], l.rest[next:]...)
	}
}

func (l *logTail) line(line string) {
	l.lines = append(l.lines, line)
	if len(l.lines) > lastLines {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	if !isError(line) || l.errors > maxErrorLines {
		return
	}
	l.errors++
	if l.errors > maxErrorLines {
		line = "more errors are in its log"
	}
	l.tell(line)
}

// isError tells whether a line of the collector's console log, or of its command line, reports an error.
func isError(line string) bool {
	return strings.Contains(line, "\terror\t") || strings.Contains(line, "\tfatal\t") || strings.HasPrefix(line, "Error: ")
}

func (l *logTail) tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := append([]string{}, l.lines...)
	if len(l.rest) > 0 {
		lines = append(lines, string(l.rest))
	}
	return lines
}
