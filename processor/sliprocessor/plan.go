// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"fmt"
	"regexp"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/condition"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// The pseudo attributes of a match: the name of a span, the body of a log record.
const (
	spanName = "span.name"
	logBody  = "log.body"
)

// plan is the objectives, compiled for judging: which attributes are wanted at all, and which rules may apply to a service.
type plan struct {
	spans, logs  index
	metrics      map[string][]*metricRule // by the name of the metric
	wanted       [lengths][]want          // by length of the name: most attributes are compared with nothing
	slots        int
	contributors []int // slot of each of the book's contributor attributes
	objectives   []slo.Objective
	generation   uint64 // of the book's objectives
}

// lengths is how many lengths of names are told apart.
const lengths = 64

// want is an attribute name and the slot its value goes to. An older name fills the slot only if the current one has not.
type want struct {
	name  string
	slot  int
	alias bool
}

// Slots every plan has.
const (
	slotService = iota
	slotInstance
	slotPodUID
	slotPod
	slotHost
	slotSynthetic
	slotBad
	slotBadNames
	slotSpanName
	slotLogBody
	slotErrorType
	slotHTTPStatus
)

// index finds the rules for a service without looking at the others.
type index struct {
	byService map[string][]*rule
	rest      []*rule // those for any service, the ones that apply to an unlisted service
}

// rule is one objective.
type rule struct {
	objective   int
	name        string
	kinds       uint8 // bit per span kind
	latency     int64 // ns; 0 for status
	badSeverity int32
	synthetic   bool // synthetic traffic counts
	matchers    []matcher
	groupBy     []int // slots

	// OTTL: what counts, and what is bad. Nil where there is none; conditions of spans or of log records, as the indicator is.
	spanWhere, spanBad *condition.Span
	logWhere, logBad   *condition.Log
}

type matcher struct {
	slot   int
	equals string
	regex  *regexp.Regexp
}

func (m *matcher) matches(value string) bool {
	if m.regex != nil {
		return m.regex.MatchString(value)
	}
	return value == m.equals
}

// kindBits maps the kinds of the configuration to bits of ptrace.SpanKind.
var kindBits = map[string]uint8{
	"unspecified": 1 << ptrace.SpanKindUnspecified,
	"internal":    1 << ptrace.SpanKindInternal,
	"server":      1 << ptrace.SpanKindServer,
	"client":      1 << ptrace.SpanKindClient,
	"producer":    1 << ptrace.SpanKindProducer,
	"consumer":    1 << ptrace.SpanKindConsumer,
	"any":         1<<6 - 1,
}

// requestKinds are the spans that stand for a request to a service: the others describe the same work again.
const requestKinds = 1<<ptrace.SpanKindServer | 1<<ptrace.SpanKindConsumer

func newPlan(objectives []slo.Objective, contributors []string, settings component.TelemetrySettings) (*plan, error) {
	p := &plan{
		objectives: objectives,
		metrics:    map[string][]*metricRule{},
		spans:      index{byService: map[string][]*rule{}}, logs: index{byService: map[string][]*rule{}},
	}
	for _, name := range []string{
		otelattr.ServiceName, otelattr.ServiceInstanceID, otelattr.K8SPodUID, otelattr.K8SPodName, otelattr.HostName,
		otelattr.UserAgentSyntheticType, otelattr.SLOBad, otelattr.SLOBadNames, spanName, logBody, otelattr.ErrorType,
		otelattr.HTTPResponseStatusCode,
	} {
		p.slot(name)
	}
	for _, name := range contributors {
		p.contributors = append(p.contributors, p.slot(name))
	}
	spans, logs := map[string][]*rule{}, map[string][]*rule{}
	for i, o := range objectives {
		if !o.Counts() {
			continue
		}
		if o.Indicator.Metric != nil {
			if err := p.metricRules(i, o, settings); err != nil {
				return nil, err
			}
			continue
		}
		r, err := p.rule(i, o, settings)
		if err != nil {
			return nil, err
		}
		if o.Indicator.Kind == slo.IndicatorLogs {
			logs[o.Service] = append(logs[o.Service], r)
		} else {
			spans[o.Service] = append(spans[o.Service], r)
		}
	}
	p.spans, p.logs = newIndex(spans), newIndex(logs)
	return p, nil
}

func newIndex(rules map[string][]*rule) index {
	ix := index{byService: map[string][]*rule{}, rest: rules[""]}
	for service, own := range rules {
		if service != "" {
			ix.byService[service] = append(append([]*rule(nil), own...), ix.rest...)
		}
	}
	return ix
}

func (ix *index) rules(service string) []*rule {
	if own, ok := ix.byService[service]; ok {
		return own
	}
	return ix.rest
}

func (p *plan) rule(i int, o slo.Objective, settings component.TelemetrySettings) (*rule, error) {
	r := &rule{
		objective: i, name: o.Name, kinds: requestKinds, badSeverity: o.Indicator.BadSeverity,
		synthetic: o.Indicator.IncludeSynthetic, latency: int64(o.Indicator.Latency), groupBy: p.slotsOf(o.GroupBy),
	}
	if len(o.Indicator.Kinds) > 0 {
		r.kinds = 0
		for _, k := range o.Indicator.Kinds {
			r.kinds |= kindBits[k]
		}
	}
	var err error
	if r.matchers, err = p.matchersOf(o.Name, o.Indicator.Match); err != nil {
		return nil, err
	}
	if o.Indicator.Kind == slo.IndicatorLogs {
		r.logWhere, err = condition.ForLogs(o.Indicator.Where, settings)
		if err == nil {
			r.logBad, err = condition.ForLogs(o.Indicator.BadWhen, settings)
		}
	} else {
		r.spanWhere, err = condition.ForSpans(o.Indicator.Where, settings)
		if err == nil {
			r.spanBad, err = condition.ForSpans(o.Indicator.BadWhen, settings)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("objective %s: %w", o.Name, err)
	}
	return r, nil
}

func (p *plan) matchersOf(objective string, matches []slo.Match) ([]matcher, error) {
	var out []matcher
	for _, m := range matches {
		c := matcher{slot: p.slot(m.Attribute), equals: m.Equals}
		if m.Regex != "" {
			re, err := regexp.Compile("^(?:" + m.Regex + ")$")
			if err != nil {
				return nil, fmt.Errorf("objective %s: match %s: %w", objective, m.Attribute, err)
			}
			c.regex = re
		}
		out = append(out, c)
	}
	return out, nil
}

func (p *plan) slotsOf(attributes []string) []int {
	var slots []int
	for _, attribute := range attributes {
		slots = append(slots, p.slot(attribute))
	}
	return slots
}

// slot finds or makes the slot of an attribute, and wants its older names too.
func (p *plan) slot(name string) int {
	for _, w := range p.wanted[len(name)%lengths] {
		if w.name == name && !w.alias {
			return w.slot
		}
	}
	slot := p.slots
	p.slots++
	p.want(want{name: name, slot: slot})
	for _, older := range otelattr.Aliases(name) {
		p.want(want{name: older, slot: slot, alias: true})
	}
	return slot
}

func (p *plan) want(w want) {
	at := len(w.name) % lengths
	p.wanted[at] = append(p.wanted[at], w)
}
