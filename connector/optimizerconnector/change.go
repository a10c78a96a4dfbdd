// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/detect"
)

// changePrefix begins the event names of changes.
const changePrefix = "change."

// changeKinds are the event names that are changes.
var changeKinds = map[string]detect.ChangeKind{
	string(detect.Deployment):    detect.Deployment,
	string(detect.FeatureFlag):   detect.FeatureFlag,
	string(detect.Configuration): detect.Configuration,
}

// readChange returns the change that a record tells of, or the reason for which it tells of none.
func readChange(resource pcommon.Map, rec plog.LogRecord) (detect.Change, string) {
	kind, ok := changeKinds[rec.EventName()]
	if !ok {
		return detect.Change{}, outOfRange
	}
	r := &changeReader{}
	c := detect.Change{
		Kind:        kind,
		ID:          r.text(rec.Attributes(), "change.id"),
		Action:      r.text(rec.Attributes(), "change.action"),
		State:       r.text(rec.Attributes(), "change.state"),
		Tool:        r.text(rec.Attributes(), "change.tool"),
		SignalID:    r.text(rec.Attributes(), "optimization.signal.id"),
		Version:     r.text(rec.Attributes(), "service.version"),
		Flag:        r.text(rec.Attributes(), "feature_flag.key"),
		Variant:     r.text(rec.Attributes(), "feature_flag.result.variant"),
		Service:     r.text(resource, "service.name"),
		Namespace:   r.text(resource, "service.namespace"),
		Environment: r.text(resource, "deployment.environment.name"),
	}
	if c.Version == "" {
		c.Version = r.text(resource, "service.version")
	}
	switch ts := rec.Timestamp(); {
	case ts == 0:
		r.refuse(missingField)
	case ts > math.MaxInt64:
		r.refuse(outOfRange)
	default:
		c.Time = ts.AsTime()
	}
	switch {
	case kind == detect.Deployment && c.Service == "":
		r.refuse(missingField)
	case kind == detect.FeatureFlag && c.Flag == "":
		r.refuse(missingField)
	}
	if c.ID == "" {
		c.ID = changeID(c)
	}
	if c.State == "" {
		c.State = "succeeded"
	}
	return c, r.refused
}

// changeReader remembers the first reason for which a record cannot be used.
type changeReader struct{ refused string }

func (r *changeReader) refuse(reason string) {
	if r.refused == "" {
		r.refused = reason
	}
}

func (r *changeReader) text(m pcommon.Map, name string) string {
	v, ok := m.Get(name)
	switch {
	case !ok:
	case v.Type() != pcommon.ValueTypeStr:
		r.refuse(wrongType)
	case len(v.Str()) > maxString:
		r.refuse(tooLong)
	default:
		return validText(v.Str())
	}
	return ""
}

// changeID names a change that nobody named, so that the same one told twice is one.
func changeID(c detect.Change) string {
	var b strings.Builder
	for _, part := range []string{
		string(c.Kind), c.Time.UTC().Format(time.RFC3339Nano), c.Action, c.State, c.Service, c.Namespace, c.Environment, c.Version, c.Flag, c.Variant,
	} {
		b.WriteString(strconv.Itoa(len(part)) + ":" + part)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return "change-" + hex.EncodeToString(sum[:8])
}

// appendChange adds a change that was seen in telemetry to logs, in the form of the change receiver.
func appendChange(logs plog.Logs, scope, version string, observed pcommon.Timestamp, c detect.Change) {
	rl := logs.ResourceLogs().AppendEmpty()
	putTexts(rl.Resource().Attributes(), [][2]string{
		{"service.name", c.Service}, {"service.namespace", c.Namespace}, {"service.version", c.Version}, {"deployment.environment.name", c.Environment},
	})
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(scope)
	sl.Scope().SetVersion(version)
	rec := sl.LogRecords().AppendEmpty()
	rec.SetEventName(string(c.Kind))
	rec.SetTimestamp(pcommon.NewTimestampFromTime(c.Time))
	rec.SetObservedTimestamp(observed)
	rec.SetSeverityNumber(plog.SeverityNumberInfo)
	rec.SetSeverityText(c.State)
	subject := c.Service + " " + c.Version
	if c.Flag != "" {
		subject = "flag " + c.Flag + " to " + c.Variant
	}
	rec.Body().SetStr(c.Action + " of " + subject + " seen in telemetry")
	putTexts(rec.Attributes(), [][2]string{
		{"change.id", c.ID},
		{"change.tool", c.Tool},
		{"change.action", c.Action},
		{"change.state", c.State},
		{"service.version", c.Version},
		{"feature_flag.key", c.Flag},
		{"feature_flag.result.variant", c.Variant},
		{"optimization.signal.id", c.SignalID},
	})
}

func putTexts(m pcommon.Map, pairs [][2]string) {
	for _, kv := range pairs {
		if kv[1] != "" {
			m.PutStr(kv[0], kv[1])
		}
	}
}
