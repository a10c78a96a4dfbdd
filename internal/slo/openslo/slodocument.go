// SPDX-License-Identifier: Apache-2.0

package openslo

import (
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// methods are the specification's names of the budgeting methods.
var methods = map[string]slo.Method{
	"Occurrences": slo.MethodOccurrences, "Timeslices": slo.MethodTimeslices, "RatioTimeslices": slo.MethodRatioTimeslices,
}

func (r *reader) slo(h header) (out sloDocument) {
	out = sloDocument{header: h, method: slo.MethodOccurrences}
	before := len(r.problems)
	defer func() { out.faulty = h.spec == nil || len(r.problems) > before }()
	spec := r.object(h.spec, "spec", "description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives", "alertPolicies")
	if h.spec == nil {
		return out
	}
	out.description, out.service = spec.description(), spec.text("service", true)
	if spec.has("budgetingMethod") {
		out.method = methods[spec.oneOf("budgetingMethod", true, "Occurrences", "Timeslices", "RatioTimeslices")]
	} else {
		r.warn(spec.node, "spec.budgetingMethod is missing and read as Occurrences: the specification requires it, and its own examples leave it out")
	}
	out.indicator = r.indicatorOf(spec, h)
	r.timeWindow(spec, &out)
	for i, n := range spec.list("objectives", true) {
		out.objectives = append(out.objectives, r.objective(n, "spec.objectives["+strconv.Itoa(i)+"]", &out))
	}
	if spec.has("objectives") && len(out.objectives) == 0 {
		spec.fault("objectives", "an objective is missing")
	}
	for _, n := range spec.list("alertPolicies", false) {
		if p := r.reference(n, h, kindPolicy, "alertPolicyRef", func(inner header) any { return r.policy(inner) }); p != nil {
			out.policies = append(out.policies, *p)
		}
	}
	return out
}

// indicatorOf reads indicator or indicatorRef; nil when neither is given.
func (r *reader) indicatorOf(o object, outer header) *reference {
	switch {
	case o.has("indicator") && o.has("indicatorRef"):
		o.fault("indicatorRef", "indicator is given too; only one of them may be")
	case o.has("indicatorRef"):
		return &reference{node: o.fields["indicatorRef"], name: o.text("indicatorRef", true)}
	case o.has("indicator"):
		defer func(kind, name string) { r.kind, r.name = kind, name }(outer.kind, outer.name)
		n := o.fields["indicator"]
		return &reference{node: n, body: r.sli(r.header(Document{Position{r.file, n.Line}, n}, kindSLI))}
	}
	return nil
}

func (r *reader) timeWindow(spec object, out *sloDocument) {
	windows := spec.list("timeWindow", false)
	if len(windows) == 0 {
		out.rolling = slo.Duration(30 * slo.Day)
		r.warn(spec.at("timeWindow"), "spec.timeWindow is missing and read as 30 rolling days")
		return
	}
	if len(windows) > 1 {
		spec.fault("timeWindow", "exactly one window may be given (got %d)", len(windows))
	}
	w := r.object(windows[0], "spec.timeWindow[0]", "duration", "isRolling", "calendar")
	rolling, given := w.flag("isRolling")
	switch {
	case rolling && w.has("calendar"):
		w.fault("isRolling", "a rolling window has no calendar; one of them must go")
	case w.has("calendar"):
		out.calendar = r.calendar(w)
	case !rolling && given:
		w.fault("isRolling", "a window that is not rolling needs a calendar")
	case !given:
		r.fault(w.node, "spec.timeWindow[0]: isRolling: true or a calendar is missing")
	default:
		out.rolling = w.duration("duration", true, false)
	}
}

func (r *reader) calendar(w object) *slo.Calendar {
	c := w.object("calendar", true, "startTime", "timeZone")
	text := w.text("duration", true)
	start, zone := c.text("startTime", true), c.text("timeZone", true)
	if text == "" || start == "" || zone == "" {
		return nil
	}
	every, unit, err := slo.ParsePeriod(text)
	if err != nil {
		w.fault("duration", "a calendar counts days, weeks, months, quarters or years: d, w, M, Q, Y (got %q; m are minutes, and a month is 1M)", text)
		return nil
	}
	out := &slo.Calendar{Start: start, Zone: zone, Every: every, Unit: unit}
	if err := out.Validate(); err != nil {
		r.fault(c.node, "%s: %v", c.path, err)
	}
	return out
}

func (r *reader) objective(n *yaml.Node, path string, d *sloDocument) objective {
	o := objective{object: r.object(n, path, "displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow",
		"indicator", "indicatorRef", "compositeWeight"), weight: 1}
	o.display, o.op = o.text("displayName", false), o.oneOf("op", false, "lte", "gte", "lt", "gt")
	if o.has("value") {
		value := o.number("value")
		o.value = &value
	}
	o.readTarget()
	o.readSlices(d.method)
	if o.has("compositeWeight") {
		if o.weight = o.number("compositeWeight"); o.weight <= 0 {
			o.object.fault("compositeWeight", "must be above 0 (got %v)", o.weight)
		}
	}
	o.indicator = r.indicatorOf(o.object, d.header)
	return o
}

func (o *objective) readTarget() {
	most, key := 1.0, "target"
	switch {
	case o.has("target") && o.has("targetPercent"):
		o.object.fault("targetPercent", "target is given too; only one of them may be")
		return
	case o.has("targetPercent"):
		most, key = 100, "targetPercent"
	}
	value := o.number(key)
	if value < 0 || value >= most {
		o.object.fault(key, "must be in [0, %v) (got %v)", most, value)
	}
	o.target = value / most
	if most == 100 && value > 0 {
		// 99.99 percent is 0.9999, which no division of binary numbers gives.
		o.target, _ = strconv.ParseFloat(strconv.FormatFloat(value, 'f', -1, 64)+"e-2", 64)
	}
}

func (o *objective) readSlices(method slo.Method) {
	if method == slo.MethodTimeslices {
		if o.sliceTarget = o.number("timeSliceTarget"); o.has("timeSliceTarget") && (o.sliceTarget <= 0 || o.sliceTarget > 1) {
			o.object.fault("timeSliceTarget", "must be in (0, 1] (got %v)", o.sliceTarget)
		}
	} else if o.has("timeSliceTarget") {
		o.warn("timeSliceTarget", "has no meaning without the budgeting method Timeslices")
	}
	switch window := o.fields["timeSliceWindow"]; {
	case method == slo.MethodOccurrences:
		if window != nil {
			o.warn("timeSliceWindow", "has no meaning with the budgeting method Occurrences")
		}
	case window != nil && slices.Contains([]string{"!!int", "!!float"}, window.Tag):
		minutes := o.number("timeSliceWindow")
		o.sliceWindow = slo.Duration(minutes * float64(time.Minute))
	default:
		o.sliceWindow = o.duration("timeSliceWindow", true, false)
	}
}
