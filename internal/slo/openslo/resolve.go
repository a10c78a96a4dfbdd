// SPDX-License-Identifier: Apache-2.0

package openslo

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// SourceType is the metricSource type whose spec is an indicator in the words of this project's own configuration.
const SourceType = "pitwall"

// Annotations that documents may carry.
const (
	annotationPrefixOurs = "pitwall.io/"
	annotationOwner      = annotationPrefixOurs + "owner"
	annotationRunbook    = annotationPrefixOurs + "runbook"
	annotationService    = annotationPrefixOurs + "service-name"
	annotationGroupBy    = annotationPrefixOurs + "group-by"
	annotationMaxGroups  = annotationPrefixOurs + "max-groups"
	// annotationShort makes an AlertCondition one of two windows: the burn rate of this window, too, must be at the threshold.
	annotationShort = annotationPrefixOurs + "short-lookback-window"
)

// known are the annotations each kind may carry under our prefix.
var known = map[string][]string{
	kindSLO:       {annotationOwner, annotationRunbook, annotationService, annotationGroupBy, annotationMaxGroups},
	kindService:   {annotationOwner, annotationRunbook, annotationService},
	kindCondition: {annotationShort},
}

// Definition is an objective as a document defines it. Where Spec is given its Indicator is still to be made of it.
type Definition struct {
	slo.Objective
	Position
	// Spec is the indicator of the metricSource type "pitwall".
	Spec map[string]any
	// Op and Value compare what a thresholdMetric measures; Op is empty for a ratioMetric.
	Op    string
	Value float64
}

// Result is what documents define.
type Result struct {
	Definitions []Definition
	Warnings    []Problem
}

// book is all documents of a kind by name.
type book struct {
	*reader
	headers    map[string]map[string]header // by kind and name
	sources    map[string]dataSource
	indicators map[string]indicator
	policies   map[string]policy
	conditions map[string]condition
	slos       []sloDocument
	out        []Definition
}

// Read checks documents and returns the objectives they define. The error joins everything that is wrong.
func Read(documents []Document) (Result, error) {
	b := &book{
		reader: &reader{}, headers: map[string]map[string]header{}, sources: map[string]dataSource{}, indicators: map[string]indicator{},
		policies: map[string]policy{}, conditions: map[string]condition{},
	}
	for _, d := range documents {
		b.file = d.File
		b.add(b.header(d, ""))
	}
	for i := range b.slos {
		d := &b.slos[i]
		b.file, b.kind, b.name = d.File, d.kind, d.name
		if !d.faulty {
			b.define(d)
		}
	}
	return Result{b.out, b.warnings}, b.err()
}

func (b *book) add(h header) {
	if first, ok := b.headers[h.kind][h.name]; ok && h.name != "" {
		b.fault(&yaml.Node{Line: h.Line}, "there is one of this name at %s", first.Position)
		return
	}
	if b.headers[h.kind] == nil {
		b.headers[h.kind] = map[string]header{}
	}
	b.headers[h.kind][h.name] = h
	b.checkAnnotations(h)
	switch h.kind {
	case kindDataSource:
		b.sources[h.name] = b.dataSource(h)
	case kindService:
		b.service(h)
	case kindSLI:
		b.indicators[h.name] = b.sli(h)
	case kindPolicy:
		b.policies[h.name] = b.policy(h)
	case kindCondition:
		b.conditions[h.name] = b.condition(h)
	case kindTarget:
		b.notificationTarget(h)
	case kindSLO:
		b.slos = append(b.slos, b.slo(h))
	}
}

// checkAnnotations refuses misspelt annotations of ours: they would do nothing, silently.
func (b *book) checkAnnotations(h header) {
	for key := range h.annotations {
		if strings.HasPrefix(key, annotationPrefixOurs) && !slices.Contains(known[h.kind], key) {
			b.fault(&yaml.Node{Line: h.Line}, "metadata.annotations.%s is unknown; known here are %s", key, cmp.Or(strings.Join(known[h.kind], ", "), "none"))
		}
	}
}

// define turns an SLO into objectives: one for each of its own, and one that holds them together if it is a composite.
func (b *book) define(d *sloDocument) {
	base := slo.Objective{
		Name: d.name, Description: d.description, Window: d.rolling, Calendar: d.calendar, Method: d.method, MaxGroups: slo.DefaultMaxGroups,
	}
	b.annotate(&base, d)
	if profile, ok := b.profile(d); ok {
		base.Profile = profile
	}
	own := 0
	for _, o := range d.objectives {
		if o.indicator != nil {
			own++
		}
	}
	switch {
	case d.indicator != nil && own > 0:
		b.fault(d.indicator.node, "an SLO has one indicator for all its objectives or, as a composite, one for each; this one has both")
		return
	case d.indicator == nil && own < len(d.objectives) || len(d.objectives) == 0:
		b.fault(d.spec, "spec.indicator or spec.indicatorRef is missing, or one in each of spec.objectives")
		return
	}
	composite := d.indicator == nil && len(d.objectives) > 1
	whole := base
	for i, o := range d.objectives {
		ref := cmp.Or(d.indicator, o.indicator)
		indicator, ok := b.findIndicator(ref)
		if !ok {
			continue
		}
		part := base
		if len(d.objectives) > 1 {
			part.Name += "/" + strconv.Itoa(i+1)
			part.Description = cmp.Or(o.display, part.Description)
		}
		part.Target, part.TimeSliceTarget, part.TimeSliceWindow = o.target, o.sliceTarget, o.sliceWindow
		b.measure(part, o, indicator, len(d.objectives))
		if composite {
			whole.Composite = append(whole.Composite, slo.Component{Objective: part.Name, Weight: o.weight})
			whole.TimeSliceWindow, whole.TimeSliceTarget = part.TimeSliceWindow, part.TimeSliceTarget
			if o.has("compositeWeight") && d.method == slo.MethodTimeslices {
				o.warn("compositeWeight", "has no effect with Timeslices: a slice that is bad for any objective is bad")
			}
		} else if o.has("compositeWeight") {
			o.warn("compositeWeight", "has no meaning outside a composite")
		}
	}
	if composite {
		b.out = append(b.out, Definition{Objective: whole, Position: d.Position})
		if err := whole.Validate(); err != nil {
			b.fault(d.spec, "%v", err)
		}
	}
}

// annotate reads what the SLO, or its Service, says beyond the specification.
func (b *book) annotate(o *slo.Objective, d *sloDocument) {
	service := b.headers[kindService][d.service]
	first := func(key string) string { return cmp.Or(d.annotations[key], service.annotations[key]) }
	o.Owner, o.Runbook = first(annotationOwner), first(annotationRunbook)
	o.Service = cmp.Or(first(annotationService), d.service)
	if names := d.annotations[annotationGroupBy]; names != "" {
		for name := range strings.SplitSeq(names, ",") {
			o.GroupBy = append(o.GroupBy, strings.TrimSpace(name))
		}
	}
	if text := d.annotations[annotationMaxGroups]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			b.fault(&yaml.Node{Line: d.Line}, "metadata.annotations.%s must be a positive number (got %q)", annotationMaxGroups, text)
		}
		o.MaxGroups = n
	}
	if slices.Contains(o.GroupBy, "service.name") {
		o.Service = first(annotationService)
	}
}

func (b *book) findIndicator(ref *reference) (indicator, bool) {
	if found, ok := ref.body.(indicator); ok {
		return found, true
	}
	found, ok := b.indicators[ref.name]
	if !ok {
		b.fault(ref.node, "there is no SLI %q", ref.name)
	}
	return found, ok
}

// measure adds an objective with what its indicator measures, or with the reason why nothing here can.
func (b *book) measure(part slo.Objective, o objective, i indicator, of int) {
	d := Definition{Objective: part, Position: Position{b.file, o.node.Line}}
	sources := []*metric{i.threshold, i.raw, i.total, i.good, i.bad}
	if i.threshold != nil {
		switch {
		case of > 1:
			b.fault(o.node, "with a thresholdMetric only one objective may be given (got %d)", of)
		case o.op == "" || o.value == nil:
			b.fault(o.node, "a thresholdMetric needs op and value")
			return
		}
		d.Op, d.Value = o.op, *o.value
	} else if o.value != nil {
		o.object.fault("value", "has a meaning only with a thresholdMetric")
	} else if o.op != "" {
		o.warn("op", "has no meaning without a thresholdMetric, and is not used")
	}
	var spec *yaml.Node
	for _, m := range sources {
		if m == nil {
			continue
		}
		kind, ok := b.typeOf(m)
		switch {
		case !ok:
			return
		case kind != SourceType:
			d.NotComputable = fmt.Sprintf("metric source %s: nothing here can query it; only the type %s is measured from telemetry", kind, SourceType)
		case spec == nil:
			spec = m.spec
		case !sameSpec(spec, m.spec):
			b.fault(m.node, "%s: with the type %s one indicator says which events count and which are bad; the specs of good or bad and total must be the same", m.path, SourceType)
		}
	}
	switch {
	case d.NotComputable != "":
		b.warn(o.node, "objective %s is listed, but has no data: %s", d.Name, d.NotComputable)
	case spec != nil:
		if err := spec.Decode(&d.Spec); err != nil {
			b.fault(spec, "spec must be a mapping: %s", err)
			return
		}
	}
	check := d.Objective
	if d.Spec != nil {
		check.Indicator.Kind = slo.IndicatorSpans // the real one is made of Spec later
	}
	if err := check.Validate(); err != nil {
		b.fault(o.node, "%v", err)
		return
	}
	b.out = append(b.out, d)
}

// sameSpec compares what two nodes say.
func sameSpec(a, b *yaml.Node) bool {
	left, errLeft := yaml.Marshal(a)
	right, errRight := yaml.Marshal(b)
	return errors.Join(errLeft, errRight) == nil && string(left) == string(right)
}

// typeOf is the type of a metric source, its own or that of its DataSource.
func (b *book) typeOf(m *metric) (string, bool) {
	source, ok := b.sources[m.ref]
	switch {
	case m.ref != "" && !ok && m.sourceType == "":
		m.fault("metricSourceRef", "there is no DataSource %q, and no type is given", m.ref)
		return "", false
	case m.ref != "" && !ok:
		m.warn("metricSourceRef", "there is no DataSource %q among the documents; its type %s is taken as given", m.ref, m.sourceType)
	case ok && m.sourceType != "" && !strings.EqualFold(m.sourceType, source.sourceType):
		m.fault("type", "is %s, and that of the DataSource %s is %s", m.sourceType, m.ref, source.sourceType)
		return "", false
	}
	return cmp.Or(m.sourceType, source.sourceType), true
}

// severities are the words for alerts that should wake somebody; any other opens a ticket.
var severities = map[string]string{
	"page": slo.SeverityPage, "critical": slo.SeverityPage, "sev1": slo.SeverityPage, "p1": slo.SeverityPage, "ticket": slo.SeverityTicket,
}

// profile is the alert rules of an SLO's policies; false when it has none, and the book's apply.
func (b *book) profile(d *sloDocument) (*slo.Profile, bool) {
	var rules []slo.Rule
	for _, ref := range d.policies {
		p, ok := ref.body.(policy)
		if !ok {
			if p, ok = b.policies[ref.name]; !ok {
				b.fault(ref.node, "there is no AlertPolicy %q", ref.name)
				continue
			}
		}
		if rule, ok := b.rule(p, ref.node); ok {
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 {
		return nil, false
	}
	profile := slo.Custom(rules)
	if err := profile.Validate(); err != nil {
		b.fault(d.policies[0].node, "%v", err)
		return nil, false
	}
	return &profile, true
}

func (b *book) rule(p policy, at *yaml.Node) (slo.Rule, bool) {
	for _, t := range p.targets {
		if _, ok := b.headers[kindTarget][t.name]; t.name != "" && !ok {
			b.fault(at, "AlertPolicy %s: there is no AlertNotificationTarget %q", p.name, t.name)
		}
	}
	if p.condition == nil {
		return slo.Rule{}, false
	}
	c, ok := p.condition.body.(condition)
	if !ok {
		if c, ok = b.conditions[p.condition.name]; !ok {
			b.fault(at, "AlertPolicy %s: there is no AlertCondition %q", p.name, p.condition.name)
			return slo.Rule{}, false
		}
	}
	if !p.breaching {
		b.warn(at, "AlertPolicy %s does not alert when breaching, so it has no effect", p.name)
		return slo.Rule{}, false
	}
	if p.noData {
		b.warn(at, "AlertPolicy %s: alertWhenNoData has no effect; missing data is the state insufficient_data or frozen, and not an alert", p.name)
	}
	severity, ok := severities[strings.ToLower(c.severity)]
	if !ok {
		severity = slo.SeverityTicket
		b.warn(at, "AlertCondition %s: severity %q is read as a ticket; page, critical, sev1 and p1 page", c.name, c.severity)
	}
	threshold := c.threshold
	if c.op == "gt" {
		threshold = math.Nextafter(threshold, math.Inf(1))
	}
	return slo.Rule{Name: c.name, Severity: severity, Long: c.lookback, Short: c.short, For: c.after, Burn: threshold}, true
}
