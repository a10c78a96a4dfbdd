// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/slo"
)

func checks(engine *slo.Engine) (out []slo.Check) {
	for _, f := range engine.TakeFindings() {
		out = append(out, f.Check)
	}
	return out
}

func TestCountersThatContradictThemselvesAreFound(t *testing.T) {
	p, engine := metricsOver(t, ratio(slo.MetricIndicator{Bad: &slo.MetricSelector{Name: "errors"}, Total: &slo.MetricSelector{Name: "requests"}}))
	total := func(minute int, start time.Time, n, bad float64) request {
		r := newRequest()
		r.sum("requests", runningSum, start, at(minute), n)
		r.sum("errors", runningSum, start, at(minute), bad)
		return r
	}
	begin := epoch.Add(-time.Hour)
	send(t, p, total(0, begin, 100, 0), total(1, begin, 110, 0), total(2, at(1), 5, 0))
	assert.Empty(t, checks(engine), "a restart with a start of its own is none")
	send(t, p, total(3, at(1), 3, 0))
	assert.Equal(t, []slo.Check{slo.CheckMonotone}, checks(engine))
	send(t, p, total(4, at(1), 10, 50))
	assert.Equal(t, []slo.Check{slo.CheckTotal}, checks(engine))
}

func TestASourceThatIsAnHourAheadIsFoundAlthoughNothingOfItCounts(t *testing.T) {
	engine := testEngine(t, slo.Objective{Name: "o", Service: "checkout"})
	p := &tracesProcessor{base: newTestBase(t, &Config{Mode: ModeCount}, engine), next: consumertest.NewNop()}
	td := ptrace.NewTraces()
	newSpan(td, "checkout", endsAt(epoch.Add(time.Hour)))
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	fs := engine.TakeFindings()
	require.Len(t, fs, 1)
	assert.Equal(t, slo.CheckSkew, fs[0].Check)
	assert.Equal(t, "its events are 59m0s ahead of this collector's clock", fs[0].Reason)
}
