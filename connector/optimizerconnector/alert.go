// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/detect/burn"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// alertEvent is the event name of an alert transition.
const alertEvent = "slo.alert"

// groupPrefix begins the attributes that name an objective's group.
const groupPrefix = "slo.group."

// The reasons for which a record, or one optional field of it, is not used. They are values of the component's metrics.
const (
	missingField = "missing_field"
	wrongType    = "wrong_type"
	notFinite    = "not_finite"
	outOfRange   = "out_of_range"
	tooLong      = "too_long"
	tooMany      = "too_many"
	future       = "future"
)

const (
	maxString  = 1024 // bytes of any string that is kept
	maxGroup   = 16   // attributes of a group
	maxScanned = 64   // elements of a list that are looked at
)

// alertReader reads one record and never fails on an optional field: what cannot be used is reported and left out.
type alertReader struct {
	attrs   pcommon.Map
	ignored func(reason string)
	// refused is the first reason for which the record as a whole cannot be used.
	refused string
}

// readAlert returns the alert a record describes, or the reason for which it describes none.
func readAlert(resource pcommon.Map, rec plog.LogRecord, ignored func(reason string)) (burn.Alert, string) {
	r := &alertReader{attrs: rec.Attributes(), ignored: ignored}
	a := burn.Alert{
		Objective: r.required("slo.name"),
		Rule:      r.required("slo.alert"),
	}
	switch r.required("slo.alert.state") {
	case "firing":
		a.Firing = true
	case "resolved":
	default:
		r.refuse(outOfRange)
	}
	switch severity := signal.Severity(r.required("slo.alert.severity")); severity {
	case signal.SeverityPage, signal.SeverityTicket:
		a.Severity = severity
	default:
		r.refuse(outOfRange)
	}
	r.times(&a, rec)
	r.group(&a)
	if r.refused != "" {
		return burn.Alert{}, r.refused
	}
	a.Service = optionalString(resource, "service.name", ignored)
	a.Namespace = optionalString(resource, "service.namespace", ignored)
	a.Environment = optionalString(resource, "deployment.environment.name", ignored)
	a.Profile = optionalString(r.attrs, "slo.alert.profile", ignored)
	a.Indicator = optionalString(r.attrs, "slo.indicator", ignored)
	a.Owner = optionalString(r.attrs, "slo.owner", ignored)
	a.Runbook = optionalString(r.attrs, "slo.runbook", ignored)
	a.LongWindow = optionalString(r.attrs, "slo.window.long", ignored)
	a.ShortWindow = optionalString(r.attrs, "slo.window.short", ignored)
	a.LongBurn = optionalNumber(r.attrs, "slo.burn_rate.long", 0, math.MaxFloat64, ignored)
	a.ShortBurn = optionalNumber(r.attrs, "slo.burn_rate.short", 0, math.MaxFloat64, ignored)
	a.Threshold = optionalNumber(r.attrs, "slo.burn_rate.threshold", 0, math.MaxFloat64, ignored)
	a.Target = optionalNumber(r.attrs, "slo.target", 0, math.Nextafter(1, 0), ignored)
	a.BudgetRemaining = optionalNumber(r.attrs, "slo.error_budget.remaining", -math.MaxFloat64, 1, ignored)
	a.Coverage = optionalNumber(r.attrs, "slo.coverage", 0, 1, ignored)
	a.Good = optionalNumber(r.attrs, "slo.events.good", 0, math.MaxFloat64, ignored)
	a.Bad = optionalNumber(r.attrs, "slo.events.bad", 0, math.MaxFloat64, ignored)
	if w := optionalString(r.attrs, "slo.objective.window", ignored); w != "" {
		a.ObjectiveWindow = burn.ParseWindow(w)
		if a.ObjectiveWindow == 0 {
			ignored(outOfRange)
		}
	}
	a.TraceIDs = r.traceIDs()
	a.Contributors = r.contributors()
	return a, ""
}

func (r *alertReader) refuse(reason string) {
	if r.refused == "" {
		r.refused = reason
	}
}

func (r *alertReader) required(name string) string {
	v, ok := r.attrs.Get(name)
	switch {
	case !ok:
		r.refuse(missingField)
	case v.Type() != pcommon.ValueTypeStr:
		r.refuse(wrongType)
	case v.Str() == "":
		r.refuse(missingField)
	case len(v.Str()) > maxString:
		r.refuse(tooLong)
	default:
		return validText(v.Str())
	}
	return ""
}

func (r *alertReader) times(a *burn.Alert, rec plog.LogRecord) {
	v, ok := r.attrs.Get("slo.alert.started_at")
	switch {
	case !ok || rec.Timestamp() == 0:
		r.refuse(missingField)
		return
	case v.Type() != pcommon.ValueTypeInt:
		r.refuse(wrongType)
		return
	case rec.Timestamp() > math.MaxInt64 || v.Int() <= 0 || v.Int() > int64(rec.Timestamp()):
		r.refuse(outOfRange)
		return
	}
	a.Time = rec.Timestamp().AsTime()
	a.StartedAt = time.Unix(0, v.Int()).UTC()
}

// group takes the attributes that are part of the objective's identity: none may be left out, so one that cannot be used refuses the
// record.
func (r *alertReader) group(a *burn.Alert) {
	for name, v := range r.attrs.All() {
		attr, ok := strings.CutPrefix(name, groupPrefix)
		if !ok {
			continue
		}
		switch {
		case attr == "":
			r.refuse(missingField)
		case v.Type() != pcommon.ValueTypeStr:
			r.refuse(wrongType)
		case len(attr) > maxString || len(v.Str()) > maxString:
			r.refuse(tooLong)
		case len(a.Group) >= maxGroup:
			r.refuse(tooMany)
		default:
			if a.Group == nil {
				a.Group = map[string]string{}
			}
			a.Group[validText(attr)] = validText(v.Str())
			continue
		}
		return
	}
}

func (r *alertReader) traceIDs() []string {
	list, ok := optionalSlice(r.attrs, "slo.exemplar.trace_ids", r.ignored)
	if !ok {
		return nil
	}
	var ids []string
	for i := range min(list.Len(), maxScanned) {
		v := list.At(i)
		if v.Type() != pcommon.ValueTypeStr {
			r.ignored(wrongType)
			continue
		}
		id, ok := traceID(v.Str())
		if !ok {
			r.ignored(outOfRange)
			continue
		}
		if len(ids) < signal.MaxExemplars && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// traceID returns s in lower case if it is a valid trace id: 16 bytes in hex, not all zero.
func traceID(s string) (string, bool) {
	if len(s) != 32 {
		return "", false
	}
	raw, err := hex.DecodeString(s)
	if err != nil || !slices.ContainsFunc(raw, func(b byte) bool { return b != 0 }) {
		return "", false
	}
	return hex.EncodeToString(raw), true
}

func (r *alertReader) contributors() []signal.Contributor {
	list, ok := optionalSlice(r.attrs, "slo.contributors", r.ignored)
	if !ok {
		return nil
	}
	var found []signal.Contributor
	for i := range min(list.Len(), maxScanned) {
		if list.At(i).Type() != pcommon.ValueTypeMap {
			r.ignored(wrongType)
			continue
		}
		if len(found) >= signal.MaxContributors {
			r.ignored(tooMany)
			break
		}
		m := list.At(i).Map()
		c := signal.Contributor{
			Attribute: optionalString(m, "attribute", r.ignored),
			Value:     optionalString(m, "value", r.ignored),
			Bad:       optionalNumber(m, "bad", 0, math.MaxFloat64, r.ignored),
			Total:     optionalNumber(m, "total", 0, math.MaxFloat64, r.ignored),
			Share:     optionalNumber(m, "share", 0, 1, r.ignored),
		}
		if c.Attribute != "" {
			found = append(found, c)
		}
	}
	return found
}

func optionalSlice(m pcommon.Map, name string, ignored func(string)) (pcommon.Slice, bool) {
	v, ok := m.Get(name)
	if !ok {
		return pcommon.Slice{}, false
	}
	if v.Type() != pcommon.ValueTypeSlice {
		ignored(wrongType)
		return pcommon.Slice{}, false
	}
	if v.Slice().Len() > maxScanned {
		ignored(tooMany)
	}
	return v.Slice(), true
}

func optionalString(m pcommon.Map, name string, ignored func(string)) string {
	v, ok := m.Get(name)
	switch {
	case !ok:
	case v.Type() != pcommon.ValueTypeStr:
		ignored(wrongType)
	case len(v.Str()) > maxString:
		ignored(tooLong)
	default:
		return validText(v.Str())
	}
	return ""
}

func optionalNumber(m pcommon.Map, name string, low, high float64, ignored func(string)) *float64 {
	v, ok := m.Get(name)
	if !ok {
		return nil
	}
	var n float64
	switch v.Type() {
	case pcommon.ValueTypeDouble:
		n = v.Double()
	case pcommon.ValueTypeInt:
		n = float64(v.Int())
	default:
		ignored(wrongType)
		return nil
	}
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0):
		ignored(notFinite)
		return nil
	case n < low || n > high:
		ignored(outOfRange)
		return nil
	}
	return &n
}

// validText also copies, so that nothing of the data that was read is retained.
func validText(s string) string { return strings.Clone(strings.ToValidUTF8(s, "\uFFFD")) }
