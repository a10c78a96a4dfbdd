// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// file appends each signal as one line of JSON.
type file struct {
	cfg *FileConfig

	mu   sync.Mutex
	f    *os.File
	size int64
}

func newFile(cfg *FileConfig) *file { return &file{cfg: cfg} }

func (*file) name() string { return "file" }

func (s *file) start(context.Context, component.Host) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openLocked()
}

func (s *file) openLocked() error {
	f, err := os.OpenFile(s.cfg.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open path: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open path: %w", err), f.Close())
	}
	s.f, s.size = f, info.Size()
	return nil
}

func (s *file) shutdown(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := errors.Join(s.f.Sync(), s.f.Close())
	s.f = nil
	return err
}

// send writes the line with one call, so that a reader never sees half of one beside a whole one. What a failed write
// left is cut off, and the line is tried again.
func (s *file) send(_ context.Context, e signal.Envelope) error {
	line, err := e.MarshalCanonical()
	if err != nil {
		return &sinkError{outcome: outcomeEncodeFailed, err: err}
	}
	line = append(line, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rotateLocked(int64(len(line))); err != nil {
		return &sinkError{outcome: outcomeRetry, err: err}
	}
	n, err := s.f.Write(line)
	s.size += int64(n)
	if err == nil {
		return nil
	}
	if n > 0 {
		err = errors.Join(err, s.f.Truncate(s.size-int64(n)))
		s.size -= int64(n)
	}
	return &sinkError{outcome: outcomeRetry, err: fmt.Errorf("append to path: %w", err)}
}

// rotateLocked begins a new file when the next line would make this one too large, and opens the file if an earlier attempt failed.
func (s *file) rotateLocked(next int64) error {
	if s.f != nil && s.size > 0 && s.size+next > s.cfg.MaxBytes {
		err := s.f.Close()
		s.f = nil
		if err = errors.Join(err, os.Rename(s.cfg.Path, s.cfg.Path+".1")); err != nil {
			return fmt.Errorf("rotate path: %w", err)
		}
	}
	if s.f == nil {
		return s.openLocked()
	}
	return nil
}
