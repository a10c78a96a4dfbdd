// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// A shop of which one service is called and says nothing, one whose callers do not pass the trace on, a database, and broken ids.
func TestCoverageReadsServicesAndGapsFromSpans(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	assert.Nil(t, newCoverageAdapter(surroundings{cfg: cfg}), "off by default: it needs whole traces")
	cfg.Coverage.Enabled = true
	require.NoError(t, cfg.Validate())
	a := newCoverageAdapter(surroundings{cfg: cfg}).(*coverageAdapter)

	t0 := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for n := range 300 {
		td := ptrace.NewTraces()
		add := func(service string, trace, id, parent byte, kind ptrace.SpanKind) ptrace.Span {
			rs := td.ResourceSpans().AppendEmpty()
			if service != "" {
				rs.Resource().Attributes().PutStr("service.name", service)
			}
			span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
			span.SetTraceID([16]byte{trace, 1, byte(n), byte(n >> 8), 15: byte(n)})
			span.SetSpanID([8]byte{id})
			span.SetParentSpanID([8]byte{parent})
			span.SetKind(kind)
			return span
		}
		add("frontend", 1, 1, 0, ptrace.SpanKindServer)
		call := add("frontend", 1, 2, 1, ptrace.SpanKindClient)
		call.Attributes().PutStr("service.peer.name", "legacy")
		query := add("frontend", 1, 3, 1, ptrace.SpanKindClient)
		query.Attributes().PutStr("peer.service", "postgres")
		query.Attributes().PutStr("db.system", "postgresql")
		add("worker", 2, 1, 9, ptrace.SpanKindServer)
		add("", 3, 1, 0, ptrace.SpanKindServer)
		add("broken", 4, 0, 0, ptrace.SpanKindServer)
		a.readTraces(td)
	}
	a.Advance(t0)
	said := a.Advance(t0.Add(2 * time.Minute))
	require.Len(t, said, 1)
	evidence := said[0].Envelope.Evidence
	assert.InDelta(t, 3, evidence.Statistics["services.known"], 0)
	assert.InDelta(t, 2, evidence.Statistics["services.instrumented"], 0)
	assert.InDelta(t, 600, evidence.Statistics["traces.judged"], 0)
	assert.InDelta(t, 300, evidence.Statistics["traces.whole"], 0)
	require.Len(t, evidence.Contributors, 2)
	assert.Equal(t, "legacy", evidence.Contributors[0].Value)
	assert.Equal(t, "worker", evidence.Contributors[1].Value)
	assert.Equal(t, 3, a.Fill().Used)
}
