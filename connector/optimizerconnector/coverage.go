// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/coverage"
	"github.com/pitwall-io/pitwall/internal/otelattr"
)

// CoverageConfig says whether and when to tell that too little can be seen.
type CoverageConfig struct {
	// Enabled switches the detector on. It needs whole traces: a lone collector, or a gateway that gets traces by their id.
	Enabled bool `mapstructure:"enabled"`
	// MinServices is the share of the services that are called of which spans have to come.
	MinServices float64 `mapstructure:"min_services"`
	// MinWholeTraces is the share of traces that have to have a root and every parent.
	MinWholeTraces float64 `mapstructure:"min_whole_traces"`
}

func defaultCoverage() CoverageConfig {
	settings := coverage.Default(0)
	return CoverageConfig{MinServices: settings.MinServices, MinWholeTraces: settings.MinWhole}
}

func (c CoverageConfig) validate() error {
	switch {
	case !(c.MinServices >= 0 && c.MinServices <= 1):
		return fmt.Errorf("%w: coverage::min_services must be between 0 and 1 (got %v)", errConfig, c.MinServices)
	case !(c.MinWholeTraces >= 0 && c.MinWholeTraces <= 1):
		return fmt.Errorf("%w: coverage::min_whole_traces must be between 0 and 1 (got %v)", errConfig, c.MinWholeTraces)
	}
	return nil
}

// coverageAdapter hands spans to the detector. Its lock is taken once for each resource.
type coverageAdapter struct {
	mu       sync.Mutex
	detector *coverage.Detector
	limit    int
}

// newCoverageAdapter returns nil where the detector is switched off.
func newCoverageAdapter(s surroundings) detect.Detector {
	if !s.cfg.Coverage.Enabled {
		return nil
	}
	settings := coverage.Default(s.cfg.MaxActiveSignals)
	settings.MinServices, settings.MinWhole = s.cfg.Coverage.MinServices, s.cfg.Coverage.MinWholeTraces
	return &coverageAdapter{detector: coverage.New(settings), limit: settings.MaxServices}
}

func (*coverageAdapter) Name() string { return "coverage" }

func (c *coverageAdapter) readTraces(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		service := boundedText(rs.Resource().Attributes(), otelattr.ServiceName)
		if service == "" {
			continue
		}
		c.mu.Lock()
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				c.read(service, span)
			}
		}
		c.mu.Unlock()
	}
}

func (c *coverageAdapter) read(service string, span ptrace.Span) {
	id := span.TraceID()
	if id.IsEmpty() || span.SpanID().IsEmpty() || !c.detector.Follows(id) {
		return
	}
	c.detector.Span(service, id, span.SpanID(), span.ParentSpanID())
	if span.Kind() == ptrace.SpanKindClient {
		if called := calledService(span.Attributes()); called != "" {
			c.detector.Called(called)
		}
	}
}

// calledService returns the name of the service that a client calls. A database or a broker is none: nobody instruments it.
func calledService(attrs pcommon.Map) string {
	for _, name := range [...]string{"db.system.name", "db.system", "messaging.system"} {
		if _, ok := attrs.Get(name); ok {
			return ""
		}
	}
	if name := boundedText(attrs, "service.peer.name"); name != "" {
		return name
	}
	return boundedText(attrs, "peer.service")
}

func (c *coverageAdapter) Fill() detect.Fill {
	c.mu.Lock()
	defer c.mu.Unlock()
	return detect.Fill{Used: c.detector.Services(), Limit: c.limit}
}

func (c *coverageAdapter) Advance(now time.Time) []detect.Candidate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Advance(now)
}

func (c *coverageAdapter) Snapshot() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Snapshot()
}

func (c *coverageAdapter) Restore(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Restore(data)
}

func (c *coverageAdapter) Export(now time.Time) ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Export(now)
}

func (c *coverageAdapter) Merge(part []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detector.Merge(part)
}
