// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"strings"
	"sync"
)

// maxErrorText bounds, in bytes, how much of an error a summary repeats.
const maxErrorText = 240

// Summary counts what the SDKs complain about, so that a missing collector is one line now and then and not thousands.
type Summary struct {
	mu    sync.Mutex
	count int
	last  string
}

// Handle takes one complaint; it is an otel.ErrorHandler.
func (s *Summary) Handle(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.last, _, _ = strings.Cut(err.Error(), "\n")
	if len(s.last) > maxErrorText {
		s.last = s.last[:maxErrorText] + "…"
	}
}

// Take returns one line about the complaints since the last call, empty when there were none.
func (s *Summary) Take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		return ""
	}
	line := fmt.Sprintf("telemetry: %d exports failed, the last: %s", s.count, s.last)
	s.count, s.last = 0, ""
	return line
}
