// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/blind"
	"github.com/pitwall-io/pitwall/internal/otelattr"
)

// coverageSource is the detector that knows how much of the expected input arrives.
type coverageSource interface {
	Coverage(service string) *float64
	Criticality(service string) string
}

// blindAdapter counts what arrives, by service and kind of telemetry.
type blindAdapter struct {
	mu       sync.Mutex
	detector *blind.Detector
	limit    int
}

func newBlindAdapter(s surroundings) detect.Detector {
	settings := blind.Default(s.cfg.MaxActiveSignals)
	settings.MinCoverage = s.cfg.Guardrails.MinCoverage
	return &blindAdapter{detector: blind.New(settings), limit: s.cfg.MaxActiveSignals}
}

func (*blindAdapter) Name() string { return "blind" }

func (b *blindAdapter) Fill() detect.Fill {
	b.mu.Lock()
	defer b.mu.Unlock()
	return detect.Fill{Used: b.detector.Streams(), Limit: b.limit}
}

func (b *blindAdapter) observe(resource pcommon.Map, kind string, n int) {
	if n == 0 {
		return
	}
	service := boundedText(resource, otelattr.ServiceName)
	if service == "" {
		return
	}
	criticality := boundedText(resource, "service.criticality")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detector.Observe(service, kind, n, criticality)
}

// boundedText returns a text attribute without copying it; what is absent, of another type or too long is empty.
func boundedText(m pcommon.Map, name string) string {
	v, ok := m.Get(name)
	if !ok || v.Type() != pcommon.ValueTypeStr || len(v.Str()) > maxString {
		return ""
	}
	return v.Str()
}

func (b *blindAdapter) readTraces(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		n := 0
		for _, ss := range rs.ScopeSpans().All() {
			n += ss.Spans().Len()
		}
		b.observe(rs.Resource().Attributes(), "traces", n)
	}
}

func (b *blindAdapter) readMetrics(md pmetric.Metrics) {
	for _, rm := range md.ResourceMetrics().All() {
		n := 0
		for _, sm := range rm.ScopeMetrics().All() {
			n += sm.Metrics().Len()
		}
		b.observe(rm.Resource().Attributes(), "metrics", n)
	}
}

// readLogs leaves out what is told by controllers and by this collector: alerts and changes come when there is something to tell.
func (b *blindAdapter) readLogs(ld plog.Logs) bool {
	for _, rl := range ld.ResourceLogs().All() {
		n := 0
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if rec.EventName() == "" {
					n++
				}
			}
		}
		b.observe(rl.Resource().Attributes(), "logs", n)
	}
	return false
}

func (b *blindAdapter) Coverage(service string) *float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Coverage(service)
}

func (b *blindAdapter) Criticality(service string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Criticality(service)
}

func (b *blindAdapter) Advance(now time.Time) []detect.Candidate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Advance(now)
}

func (b *blindAdapter) Snapshot() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Snapshot()
}

func (b *blindAdapter) Restore(data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Restore(data)
}

func (b *blindAdapter) Export(now time.Time) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Export(now)
}

func (b *blindAdapter) Merge(part []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Merge(part)
}
