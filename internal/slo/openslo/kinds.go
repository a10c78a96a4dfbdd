// SPDX-License-Identifier: Apache-2.0

package openslo

import (
	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// What documents hold once they were checked.
type (
	dataSource struct {
		header
		sourceType string
	}

	// metric is a metricSource.
	metric struct {
		object
		ref, sourceType string
		spec            *yaml.Node
	}

	indicator struct {
		header
		threshold             *metric
		good, bad, total, raw *metric
		rawType               string
		node                  *yaml.Node
	}

	// calendarWindow and rolling exclude each other.
	sloDocument struct {
		header
		description, service string
		indicator            *reference
		rolling              slo.Duration
		calendar             *slo.Calendar
		method               slo.Method
		objectives           []objective
		policies             []reference
		faulty               bool // what it says is not fit for further checks
	}

	objective struct {
		object
		display     string
		op          string
		value       *float64
		target      float64
		sliceTarget float64
		sliceWindow slo.Duration
		weight      float64
		indicator   *reference
	}

	policy struct {
		header
		breaching, resolved, noData bool
		condition                   *reference
		targets                     []reference
	}

	condition struct {
		header
		severity, op    string
		threshold       float64
		lookback, after slo.Duration
		short           slo.Duration
	}

	// reference is a document by its name, or in line.
	reference struct {
		node *yaml.Node
		name string // of another document; or
		body any    // what stands here
	}
)

func (r *reader) dataSource(h header) dataSource {
	spec := r.object(h.spec, "spec", "description", "type", "connectionDetails")
	spec.description()
	return dataSource{h, spec.text("type", h.spec != nil)}
}

func (r *reader) service(h header) header {
	r.object(h.spec, "spec", "description").description()
	return h
}

func (r *reader) notificationTarget(h header) header {
	spec := r.object(h.spec, "spec", "target", "description")
	spec.description()
	spec.text("target", h.spec != nil)
	return h
}

func (r *reader) sli(h header) indicator {
	out := indicator{header: h, node: h.spec}
	spec := r.object(h.spec, "spec", "description", "thresholdMetric", "ratioMetric")
	spec.description()
	if spec.has("thresholdMetric") == spec.has("ratioMetric") {
		r.fault(spec.nodeOr(h), "exactly one of spec.thresholdMetric and spec.ratioMetric must be given")
		return out
	}
	if spec.has("thresholdMetric") {
		out.threshold = r.metric(spec, "thresholdMetric")
		return out
	}
	ratio := spec.object("ratioMetric", true, "counter", "good", "bad", "total", "rawType", "raw")
	ratio.flag("counter")
	out.rawType = ratio.oneOf("rawType", ratio.has("raw"), "success", "failure")
	for key, into := range map[string]**metric{"good": &out.good, "bad": &out.bad, "total": &out.total, "raw": &out.raw} {
		if ratio.has(key) {
			*into = r.metric(ratio, key)
		}
	}
	parts := ratio.has("good") || ratio.has("bad") || ratio.has("total")
	switch {
	case ratio.has("raw") && parts:
		ratio.fault("raw", "cannot stand beside good, bad or total")
	case ratio.has("raw"):
	case ratio.has("rawType"):
		ratio.fault("rawType", "has a meaning only with raw")
	case !ratio.has("total"):
		r.fault(ratio.node, "spec.ratioMetric.total is missing, or raw in its place")
	case ratio.has("good") == ratio.has("bad"):
		r.fault(ratio.node, "spec.ratioMetric: exactly one of good and bad must stand beside total")
	}
	return out
}

func (o object) nodeOr(h header) *yaml.Node {
	if o.node != nil {
		return o.node
	}
	return &yaml.Node{Line: h.Line}
}

func (r *reader) metric(o object, key string) *metric {
	outer := o.object(key, true, "metricSource")
	m := &metric{object: outer.object("metricSource", true, "metricSourceRef", "type", "spec")}
	m.ref, m.sourceType, m.spec = m.text("metricSourceRef", false), m.text("type", false), m.fields["spec"]
	if m.ref == "" && m.sourceType == "" && outer.has("metricSource") {
		r.fault(m.node, "%s: type cannot be left out where no metricSourceRef says it", m.path)
	}
	if m.spec == nil && outer.has("metricSource") {
		r.fault(m.node, "%s.spec is missing", m.path)
	}
	return m
}

func (r *reader) condition(h header) condition {
	out := condition{header: h}
	spec := r.object(h.spec, "spec", "description", "severity", "condition")
	spec.description()
	if h.spec == nil {
		return out
	}
	out.severity = spec.text("severity", true)
	c := spec.object("condition", true, "kind", "op", "threshold", "lookbackWindow", "alertAfter")
	if !spec.has("condition") {
		return out
	}
	c.oneOf("kind", false, "burnrate")
	out.threshold = c.number("threshold")
	out.lookback = c.duration("lookbackWindow", true, false)
	out.after = c.duration("alertAfter", false, true)
	if out.op = c.oneOf("op", true, "lte", "gte", "lt", "gt"); out.op == "lte" || out.op == "lt" {
		c.fault("op", "%s alerts while the burn rate is at most %v, so whenever all is well; an alert on a budget that burns too fast has gte or gt (the specification's own example says \"exceeds 2\" and has lte)",
			out.op, out.threshold)
	}
	out.short = out.lookback
	if text, ok := h.annotations[annotationShort]; ok {
		short, err := slo.ParseDuration(text)
		if err != nil || short >= out.lookback {
			r.fault(c.node, "metadata.annotations.%s must be a duration below the lookbackWindow %s (got %q)", annotationShort, out.lookback, text)
		}
		out.short = short
	}
	return out
}

func (r *reader) policy(h header) policy {
	out := policy{header: h}
	spec := r.object(h.spec, "spec", "description", "alertWhenNoData", "alertWhenResolved", "alertWhenBreaching", "conditions", "notificationTargets")
	spec.description()
	if h.spec == nil {
		return out
	}
	out.noData, _ = spec.flag("alertWhenNoData")
	out.resolved, _ = spec.flag("alertWhenResolved")
	out.breaching, _ = spec.flag("alertWhenBreaching")
	switch conditions := spec.list("conditions", true); {
	case len(conditions) > 1:
		spec.fault("conditions", "only one condition may be given (got %d)", len(conditions))
	case len(conditions) == 1:
		out.condition = r.reference(conditions[0], h, kindCondition, "conditionRef", func(inner header) any { return r.condition(inner) })
	case spec.has("conditions"):
		spec.fault("conditions", "a condition is missing")
	}
	for _, n := range spec.list("notificationTargets", true) {
		if t := r.reference(n, h, kindTarget, "targetRef", func(inner header) any { return r.notificationTarget(inner) }); t != nil {
			out.targets = append(out.targets, *t)
		}
	}
	return out
}

// reference reads a document in line, or the name of one under key.
func (r *reader) reference(n *yaml.Node, outer header, kind, key string, read func(header) any) *reference {
	defer func(kind, name string) { r.kind, r.name = kind, name }(outer.kind, outer.name)
	o := r.object(n, kind)
	if !o.has(key) {
		return &reference{node: n, body: read(r.header(Document{Position{r.file, n.Line}, n}, kind))}
	}
	if o = r.object(n, kind, key); len(o.fields) == 1 {
		return &reference{node: n, name: o.text(key, true)}
	}
	return nil
}
