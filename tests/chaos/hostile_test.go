// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// Names are what a sender chooses. However long and however many, they must not grow the book beyond its bounds.
func TestLongAndManyNamesLeaveTheBookSmall(t *testing.T) {
	s := newSite(t)
	collector := s.start(t, s.config("http://"+harness.Address(t)))
	connection := s.dial(t)

	const megabyte = 1 << 20
	for i := range uint64(100) {
		traces := ptrace.NewTraces()
		for j := range uint64(3) {
			serverSpan(traces, fmt.Sprintf("%d-%d-", i, j)+strings.Repeat("n", megabyte), i*3+j, false).
				Attributes().PutStr("http.route", fmt.Sprintf("%d-%d-", i, j)+strings.Repeat("r", megabyte/8))
		}
		s.send(t, connection, traces)
	}
	for i := range uint64(10) {
		traces := ptrace.NewTraces()
		for j := range uint64(20_000) {
			serverSpan(traces, fmt.Sprintf("service-%d-%d", i, j), i*20_000+j, false)
		}
		s.send(t, connection, traces)
	}
	traces := ptrace.NewTraces()
	serverSpan(traces, "broken \xff\xfe name", 1, true)
	s.send(t, connection, traces)

	usage, err := collector.Usage()
	require.NoError(t, err)
	assert.Less(t, usage.PeakRSS, int64(256<<20))
	var b board
	s.get(t, "/api/v1/slos", &b)
	assert.LessOrEqual(t, len(b.SLOs), 1002, "1000 groups, what exceeds them, and the objective without events")
	counted := 0.0
	for _, o := range b.SLOs {
		counted += o.Good + o.Bad
		assert.LessOrEqual(t, len(o.Service), 300)
	}
	assert.InDelta(t, 300+200_000+1, counted, 0, "every event is in a group")
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	assert.NotContains(t, collector.Logs(), "panic")
}
