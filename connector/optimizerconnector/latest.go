// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// latestSpan returns the latest end of a span; 0 when there is none.
func latestSpan(td ptrace.Traces) pcommon.Timestamp {
	var latest pcommon.Timestamp
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			spans := ss.Spans()
			for i := range spans.Len() {
				latest = max(latest, spans.At(i).EndTimestamp())
			}
		}
	}
	return latest
}

// latestRecord returns the latest time of a log record; 0 when no record has one.
func latestRecord(ld plog.Logs) pcommon.Timestamp {
	var latest pcommon.Timestamp
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			records := sl.LogRecords()
			for i := range records.Len() {
				latest = max(latest, records.At(i).Timestamp())
			}
		}
	}
	return latest
}

// latestPoint returns the latest time of a data point; 0 when there is none.
func latestPoint(md pmetric.Metrics) pcommon.Timestamp {
	var latest pcommon.Timestamp
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeGauge:
					latest = max(latest, latestNumber(m.Gauge().DataPoints()))
				case pmetric.MetricTypeSum:
					latest = max(latest, latestNumber(m.Sum().DataPoints()))
				case pmetric.MetricTypeHistogram:
					points := m.Histogram().DataPoints()
					for i := range points.Len() {
						latest = max(latest, points.At(i).Timestamp())
					}
				case pmetric.MetricTypeExponentialHistogram:
					points := m.ExponentialHistogram().DataPoints()
					for i := range points.Len() {
						latest = max(latest, points.At(i).Timestamp())
					}
				case pmetric.MetricTypeSummary:
					points := m.Summary().DataPoints()
					for i := range points.Len() {
						latest = max(latest, points.At(i).Timestamp())
					}
				case pmetric.MetricTypeEmpty:
				}
			}
		}
	}
	return latest
}

func latestNumber(points pmetric.NumberDataPointSlice) pcommon.Timestamp {
	var latest pcommon.Timestamp
	for i := range points.Len() {
		latest = max(latest, points.At(i).Timestamp())
	}
	return latest
}
