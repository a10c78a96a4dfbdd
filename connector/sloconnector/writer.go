// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/connector/sloconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

const (
	alertEvent = "slo.alert"

	stateFiring   = "firing"
	stateResolved = "resolved"
)

// writer turns the book's values into pdata. It holds no state.
type writer struct {
	instance string // service.instance.id of this collector
	version  string
}

func (w *writer) resource(attributes pcommon.Map, service string, group map[string]string) {
	if service != "" {
		attributes.PutStr(otelattr.ServiceName, service)
	}
	for _, name := range []string{otelattr.ServiceNamespace, otelattr.DeploymentEnvironmentName} {
		if value, ok := group[name]; ok {
			attributes.PutStr(name, value)
		}
	}
	if w.instance != "" {
		attributes.PutStr(otelattr.ServiceInstanceID, w.instance)
	}
}

// metrics writes events and states, one resource a service.
func (w *writer) metrics(events []slo.SliceEvents, statuses []slo.Status, profile slo.Profile) pmetric.Metrics {
	md := pmetric.NewMetrics()
	sets := map[string]*metricSet{}
	set := func(service string, group map[string]string) *metricSet {
		key := service + "\x00" + group[otelattr.ServiceNamespace] + "\x00" + group[otelattr.DeploymentEnvironmentName]
		if s, ok := sets[key]; ok {
			return s
		}
		rm := md.ResourceMetrics().AppendEmpty()
		w.resource(rm.Resource().Attributes(), service, group)
		sm := rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName(metadata.ScopeName)
		sm.Scope().SetVersion(w.version)
		sm.Scope().Attributes().PutStr("slo.alert.profile", profile.Name)
		s := &metricSet{scope: sm, points: map[string]pmetric.NumberDataPointSlice{}}
		sets[key] = s
		return s
	}
	for i := range events {
		set(events[i].Service, groupMap(events[i].Group)).events(&events[i])
	}
	for i := range statuses {
		if !statuses[i].AsOf.IsZero() {
			set(statuses[i].Service, statuses[i].Group).status(&statuses[i])
		}
	}
	return md
}

// metricSet is the metrics of one resource, made as they are needed.
type metricSet struct {
	scope  pmetric.ScopeMetrics
	points map[string]pmetric.NumberDataPointSlice
}

func (s *metricSet) metric(name, unit, description string) (pmetric.Metric, bool) {
	if _, ok := s.points[name]; ok {
		return pmetric.Metric{}, false
	}
	m := s.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	m.SetDescription(description)
	return m, true
}

// events ends the points short of their slice, by their stamp: one that comes twice can be told from a further one of the same slice.
func (s *metricSet) events(e *slo.SliceEvents) {
	const name = "slo.events"
	if m, ok := s.metric(name, "{event}", "Events an objective counted, by verdict: one point for each slice of event time."); ok {
		sum := m.SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		sum.SetIsMonotonic(true)
		s.points[name] = sum.DataPoints()
	}
	for _, v := range []struct {
		verdict string
		n       float64
		stamp   slo.Stamp
	}{{"good", e.Good, e.StampGood}, {"bad", e.Bad, e.StampBad}} {
		if v.n == 0 {
			continue
		}
		dp := s.points[name].AppendEmpty()
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(e.Start))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(e.End.Add(-v.stamp.Duration())))
		dp.SetDoubleValue(v.n)
		dp.Attributes().PutStr(otelattr.SLOName, e.Objective.Name)
		dp.Attributes().PutStr(otelattr.SLOVerdict, v.verdict)
		putGroup(dp.Attributes(), e.Group)
		if v.verdict == "bad" {
			putExemplars(dp, e)
		}
	}
}

func putExemplars(dp pmetric.NumberDataPoint, e *slo.SliceEvents) {
	for _, id := range e.Exemplars {
		x := dp.Exemplars().AppendEmpty()
		x.SetTimestamp(pcommon.NewTimestampFromTime(e.Start))
		x.SetTraceID(pcommon.TraceID(id))
		x.SetDoubleValue(1)
	}
}

func (s *metricSet) gauge(st *slo.Status, name, unit, description string, value float64) pcommon.Map {
	if m, ok := s.metric(name, unit, description); ok {
		s.points[name] = m.SetEmptyGauge().DataPoints()
	}
	dp := s.points[name].AppendEmpty()
	dp.SetTimestamp(pcommon.NewTimestampFromTime(st.AsOf))
	dp.SetDoubleValue(value)
	dp.Attributes().PutStr(otelattr.SLOName, st.Name)
	for _, attribute := range slices.Sorted(maps.Keys(st.Group)) {
		dp.Attributes().PutStr(otelattr.SLOGroup+attribute, st.Group[attribute])
	}
	return dp.Attributes()
}

func (s *metricSet) status(st *slo.Status) {
	s.gauge(st, "slo.target", "1", "The share of events that should be good.", st.Target)
	s.gauge(st, "slo.coverage", "1", "The share of the objective's window that was observed.", st.Coverage)
	if st.Compliance != nil {
		s.gauge(st, "slo.compliance", "1", "The share of events in the objective's window that were good.", *st.Compliance)
	}
	if st.BudgetRemaining != nil {
		s.gauge(st, "slo.error_budget.remaining", "1", "The share of the error budget that is left; negative when overspent.", *st.BudgetRemaining)
	}
	if st.BudgetInterval != nil {
		const description = "A bound of the 95 % interval of the error budget that is left, where spans were sampled before they were counted."
		s.gauge(st, "slo.error_budget.low", "1", description, st.BudgetInterval[0])
		s.gauge(st, "slo.error_budget.high", "1", description, st.BudgetInterval[1])
	}
	if st.ThresholdError != nil {
		s.gauge(st, "slo.threshold.error", "1", "How far the compliance may be off because the threshold cuts a bucket of a histogram.", *st.ThresholdError)
	}
	if st.Latency != nil {
		for _, q := range st.Latency.Quantiles {
			a := s.gauge(st, "slo.latency", "s", "The duration that a share of the events did not exceed, within 1 %, over the last one to two alerting windows.", q.Seconds)
			a.PutDouble("slo.quantile", q.Share)
		}
	}
	for _, b := range st.BurnRates {
		if b.Rate == nil {
			continue
		}
		a := s.gauge(st, "slo.burn_rate", "{burn_rate}", "How many times faster than allowed the error budget is spent.", *b.Rate)
		a.PutStr("slo.window", b.Window)
		a.PutStr("slo.alert.profile", st.AlertProfile)
	}
	for _, r := range st.Rules {
		firing := 0.0
		for _, a := range st.Alerts {
			if a.Name == r.Name {
				firing = 1
			}
		}
		a := s.gauge(st, "slo.alert.firing", "{alert}", "Whether an alert of the objective is firing.", firing)
		a.PutStr("slo.alert", r.Name)
		a.PutStr("slo.alert.profile", st.AlertProfile)
	}
}

// logs writes one record a transition.
func (w *writer) logs(transitions []slo.Transition, now time.Time) plog.Logs {
	ld := plog.NewLogs()
	for i := range transitions {
		t := &transitions[i]
		rl := ld.ResourceLogs().AppendEmpty()
		w.resource(rl.Resource().Attributes(), t.Service, groupMap(t.Group))
		sl := rl.ScopeLogs().AppendEmpty()
		sl.Scope().SetName(metadata.ScopeName)
		sl.Scope().SetVersion(w.version)
		record := sl.LogRecords().AppendEmpty()
		record.SetEventName(alertEvent)
		record.SetTimestamp(pcommon.NewTimestampFromTime(t.At))
		record.SetObservedTimestamp(pcommon.NewTimestampFromTime(now))
		setSeverity(record, t)
		record.Body().SetStr(sentence(t))
		writeAlert(record.Attributes(), t)
	}
	return ld
}

func alertState(t slo.Transition) string {
	if t.Firing {
		return stateFiring
	}
	return stateResolved
}

func setSeverity(record plog.LogRecord, t *slo.Transition) {
	switch {
	case !t.Firing:
		record.SetSeverityNumber(plog.SeverityNumberInfo)
		record.SetSeverityText(stateResolved)
	case t.Rule.Severity == slo.SeverityPage:
		record.SetSeverityNumber(plog.SeverityNumberError)
		record.SetSeverityText(slo.SeverityPage)
	default:
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText(slo.SeverityTicket)
	}
}

func writeAlert(a pcommon.Map, t *slo.Transition) {
	a.PutStr(otelattr.SLOName, t.Objective.Name)
	putGroup(a, t.Group)
	a.PutStr("slo.alert", t.Rule.Name)
	a.PutStr("slo.alert.state", alertState(*t))
	if t.Reason != "" {
		a.PutStr("slo.alert.reason", string(t.Reason))
	}
	a.PutStr("slo.alert.severity", t.Rule.Severity)
	a.PutInt("slo.alert.started_at", t.StartedAt.UnixNano())
	a.PutStr("slo.alert.profile", t.Profile)
	a.PutStr("slo.window.long", t.Rule.Long.String())
	a.PutStr("slo.window.short", t.Rule.Short.String())
	putDouble(a, "slo.burn_rate.long", t.BurnLong)
	putDouble(a, "slo.burn_rate.short", t.BurnShort)
	a.PutDouble("slo.burn_rate.threshold", t.Threshold)
	a.PutDouble("slo.target", t.Objective.Target)
	a.PutStr("slo.objective.window", t.Objective.Window.String())
	putDouble(a, "slo.error_budget.remaining", t.BudgetRemaining)
	a.PutDouble("slo.coverage", t.Coverage)
	a.PutDouble("slo.events.good", t.Good)
	a.PutDouble("slo.events.bad", t.Bad)
	a.PutStr("slo.indicator", string(t.Objective.Indicator.Kind))
	if len(t.Exemplars) > 0 {
		ids := a.PutEmptySlice("slo.exemplar.trace_ids")
		for _, id := range t.Exemplars {
			ids.AppendEmpty().SetStr(hex.EncodeToString(id[:]))
		}
	}
	if len(t.Contributors) > 0 {
		contributors := a.PutEmptySlice("slo.contributors")
		for _, c := range t.Contributors {
			m := contributors.AppendEmpty().SetEmptyMap()
			m.PutStr("attribute", c.Attribute)
			m.PutStr("value", c.Value)
			m.PutDouble("bad", c.Bad)
			m.PutDouble("total", c.Total)
			m.PutDouble("share", c.Share)
		}
	}
	putString(a, "slo.owner", t.Objective.Owner)
	putString(a, "slo.runbook", t.Objective.Runbook)
}

// sentence says what happened to a human.
func sentence(t *slo.Transition) string {
	subject := t.Objective.Name
	if t.Service != "" {
		subject += " of " + t.Service
	}
	var b strings.Builder
	switch {
	case t.Firing && t.BurnLong != nil && t.BurnShort != nil:
		fmt.Fprintf(&b, "%s spends its error budget %.3g times as fast as allowed over %s and %.3g times over %s (threshold %.3g).",
			subject, *t.BurnLong, t.Rule.Long, *t.BurnShort, t.Rule.Short, t.Threshold)
	case t.Reason == slo.ReasonInsufficientData:
		fmt.Fprintf(&b, "%s sent no event for %s, so its alert is closed without knowing whether it recovered.", subject, t.Rule.Long)
	default:
		fmt.Fprintf(&b, "%s is back below the burn rate of %.3g over %s.", subject, t.Threshold, t.Rule.Short)
	}
	if t.Profile == slo.ProfileDemo {
		b.WriteString(" (Profile demo: windows of minutes, for demonstration.)")
	}
	return b.String()
}

func putGroup(a pcommon.Map, group []slo.GroupValue) {
	for _, g := range group {
		a.PutStr(otelattr.SLOGroup+g.Attribute, g.Value)
	}
}

func groupMap(group []slo.GroupValue) map[string]string {
	out := make(map[string]string, len(group))
	for _, g := range group {
		out[g.Attribute] = g.Value
	}
	return out
}

func putDouble(a pcommon.Map, name string, value *float64) {
	if value != nil {
		a.PutDouble(name, *value)
	}
}

func putString(a pcommon.Map, name, value string) {
	if value != "" {
		a.PutStr(name, value)
	}
}
