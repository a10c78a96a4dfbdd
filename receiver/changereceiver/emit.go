// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/change"
	"github.com/pitwall-io/pitwall/receiver/changereceiver/internal/metadata"
)

// deploymentStatus is what the semantic conventions call the outcomes of a deployment.
var deploymentStatus = map[change.State]string{change.Succeeded: "succeeded", change.Failed: "failed"}

// appendChange adds a change to logs, as a resource of its own and one log record.
func appendChange(logs plog.Logs, version string, c *change.Change, now time.Time) {
	rl := logs.ResourceLogs().AppendEmpty()
	for _, a := range []struct{ name, value string }{
		{"service.name", c.Service}, {"service.namespace", c.Namespace}, {"service.version", c.Version}, {"deployment.environment.name", c.Environment},
	} {
		put(rl.Resource().Attributes(), a.name, a.value)
	}
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(metadata.ScopeName)
	sl.Scope().SetVersion(version)
	rec := sl.LogRecords().AppendEmpty()
	rec.SetEventName(string(c.Kind))
	rec.SetObservedTimestamp(pcommon.NewTimestampFromTime(now))
	at := c.Time
	if at.IsZero() {
		at = now
	}
	rec.SetTimestamp(pcommon.NewTimestampFromTime(at))
	rec.SetSeverityNumber(plog.SeverityNumberInfo)
	if c.State == change.Failed {
		rec.SetSeverityNumber(plog.SeverityNumberWarn)
	}
	rec.SetSeverityText(string(c.State))
	rec.Body().SetStr(sentence(c))
	attributes := rec.Attributes()
	attributes.EnsureCapacity(len(c.Attributes) + 8)
	for _, name := range slices.Sorted(maps.Keys(c.Attributes)) {
		put(attributes, name, c.Attributes[name])
	}
	put(attributes, "change.id", c.ID)
	put(attributes, "change.tool", c.Tool)
	put(attributes, "change.action", c.Action)
	put(attributes, "change.state", string(c.State))
	put(attributes, "change.message", c.Message)
	put(attributes, "service.version", c.Version)
	put(attributes, "optimization.signal.id", c.SignalID)
	if c.Kind == change.Deployment {
		put(attributes, "deployment.status", deploymentStatus[c.State])
	}
}

func put(attributes pcommon.Map, name, value string) {
	if value != "" {
		attributes.PutStr(name, value)
	}
}

// sentence says what happened in one line for a human.
func sentence(c *change.Change) string {
	words := []string{c.Action, "of"}
	switch {
	case c.Attributes["feature_flag.key"] != "":
		words = append(words, "flag", c.Attributes["feature_flag.key"])
		if variant := c.Attributes["feature_flag.result.variant"]; variant != "" {
			words = append(words, "to", variant)
		}
	case c.Service != "":
		words = append(words, c.Service)
		if c.Version != "" {
			words = append(words, c.Version)
		}
	default:
		words = append(words, "the configuration")
	}
	if c.Environment != "" {
		words = append(words, "in", c.Environment)
	}
	return strings.Join(append(words, string(c.State), "("+c.Tool+")"), " ")
}
