// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// Each row bends the telemetry of a canary that would pass.
func TestBadInputIsNamedAndNeverAPass(t *testing.T) {
	memory := func(md pmetric.Metrics) pmetric.Metric {
		return md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	}
	for name, c := range map[string]struct {
		reason string
		// after is how long both run before the telemetry is bent.
		after time.Duration
		bend  func(version string, td ptrace.Traces, md pmetric.Metrics)
	}{
		"nothing is wrong": {reason: "non_inferior"},
		"two versions in one instance": {reason: "mixed_instance", bend: func(_ string, td ptrace.Traces, _ pmetric.Metrics) {
			td.ResourceSpans().At(0).Resource().Attributes().PutStr("service.instance.id", "pod")
		}},
		"a clock that is behind": {reason: "clock_skew", bend: func(version string, td ptrace.Traces, _ pmetric.Metrics) {
			if version == "2" {
				shift(td, -10*time.Minute)
			}
		}},
		"a clock that is ahead": {reason: "no_traffic", bend: func(version string, td ptrace.Traces, _ pmetric.Metrics) {
			if version == "2" {
				shift(td, 10*time.Minute) // more than max_future: such spans are left out
			}
		}},
		"a version without traffic": {reason: "no_traffic", after: 3 * time.Minute, bend: func(version string, td ptrace.Traces, _ pmetric.Metrics) {
			if version == "2" {
				td.ResourceSpans().RemoveIf(func(ptrace.ResourceSpans) bool { return true })
			}
		}},
		"a baseline without traffic": {reason: "baseline_without_traffic", after: 3 * time.Minute, bend: func(version string, td ptrace.Traces, _ pmetric.Metrics) {
			if version == "1" {
				td.ResourceSpans().RemoveIf(func(ptrace.ResourceSpans) bool { return true })
			}
		}},
		"metrics that stop": {reason: "metrics_stopped", after: 3 * time.Minute, bend: func(version string, _ ptrace.Traces, md pmetric.Metrics) {
			if version == "2" {
				md.ResourceMetrics().RemoveIf(func(pmetric.ResourceMetrics) bool { return true })
			}
		}},
		"a unit that changes": {reason: "unit_changed", after: 3 * time.Minute, bend: func(version string, _ ptrace.Traces, md pmetric.Metrics) {
			if version == "2" {
				memory(md).SetUnit("MiBy")
				memory(md).Sum().DataPoints().At(0).SetDoubleValue(100)
			}
		}},
		"not a number": {reason: "not_finite", bend: func(version string, _ ptrace.Traces, md pmetric.Metrics) {
			if version == "2" {
				memory(md).Sum().DataPoints().At(0).SetDoubleValue(math.NaN())
			}
		}},
		"infinite": {reason: "not_finite", bend: func(version string, _ ptrace.Traces, md pmetric.Metrics) {
			if version == "1" {
				memory(md).Sum().DataPoints().At(0).SetDoubleValue(math.Inf(1))
			}
		}},
		"less than nothing": {reason: "not_finite", bend: func(version string, _ ptrace.Traces, md pmetric.Metrics) {
			if version == "2" {
				memory(md).Sum().DataPoints().At(0).SetDoubleValue(-1)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newRollout(t)
			old, fresh := &revision{version: "1", perSlice: 40, cpu: 0.2}, &revision{version: "2", perSlice: 30, cpu: 0.15}
			x.run(5*time.Minute, old)
			x.run(time.Minute, old, fresh)
			x.run(c.after, old, fresh)
			x.bend = c.bend
			bent := x.clock.read()
			x.run(9*time.Minute, old, fresh) // not so long that the version is retired
			verdicts, _ := x.verdicts()
			require.NotEmpty(t, verdicts)
			last := verdicts[len(verdicts)-1]
			assert.Equal(t, c.reason, last.Result.Reason, last.Summary)
			if c.bend == nil {
				assert.Equal(t, signal.ResultPass, last.Result.Value)
				return
			}
			assert.Equal(t, signal.ResultInconclusive, last.Result.Value)
			assert.Equal(t, "hold", last.Action.Verb)
			for _, e := range verdicts { // what was shown before holds until the silence is noticed, after two minutes
				if c.after == 0 || e.UpdatedAt.After(bent.Add(3*time.Minute)) {
					assert.NotEqual(t, signal.ResultPass, e.Result.Value, e.Summary)
				}
			}
		})
	}
}

func shift(td ptrace.Traces, d time.Duration) {
	for _, rs := range td.ResourceSpans().All() {
		for _, s := range rs.ScopeSpans().At(0).Spans().All() {
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(s.StartTimestamp().AsTime().Add(d)))
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(s.EndTimestamp().AsTime().Add(d)))
		}
	}
}
