// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/flagimpact"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

// flagEvent is the event of one evaluation of a flag, as log record or as span event.
const flagEvent = "feature_flag.evaluation"

// flagImpactAdapter reads evaluations of flags and the requests they belong to.
type flagImpactAdapter struct {
	*flagimpact.Detector
	surroundings
}

var (
	_ spanReader   = (*flagImpactAdapter)(nil)
	_ recordReader = (*flagImpactAdapter)(nil)
	_ ticker       = (*flagImpactAdapter)(nil)
)

func newFlagImpactAdapter(s surroundings) detect.Detector {
	canary := s.cfg.Canary.settings()
	canary.Collect = !s.cfg.Decider
	return &flagImpactAdapter{Detector: flagimpact.New(flagimpact.Settings{Settings: canary.Settings, TTL: canary.TTL}), surroundings: s}
}

// isEvaluation knows the name of today and the one before it.
func isEvaluation(name string) bool { return name == flagEvent || name == "feature_flag" }

// evaluation reads flag and variant. Of a flag without variants it takes a value that is true or false; any other may be about somebody.
func evaluation(attrs pcommon.Map, key *track.Key) (variant string, ok bool) {
	key.Subject = text(attrs, "feature_flag.key")
	for _, name := range [...]string{"feature_flag.result.variant", "feature_flag.variant"} {
		if variant = text(attrs, name); variant != "" {
			return variant, key.Subject != ""
		}
	}
	if v, ok := attrs.Get("feature_flag.result.value"); ok && v.Type() == pcommon.ValueTypeBool {
		return strconv.FormatBool(v.Bool()), key.Subject != ""
	}
	return "", false
}

func (f *flagImpactAdapter) limit() int64 { return f.clock().Add(f.cfg.MaxFuture).UnixNano() }

func (f *flagImpactAdapter) readLogs(ld plog.Logs) bool {
	limit := f.limit()
	f.Lock()
	defer f.Unlock()
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if !isEvaluation(rec.EventName()) {
					continue
				}
				at, ok := usable(rec.Timestamp(), limit)
				id, _ := identify(rl.Resource().Attributes())
				if !ok || id.key.Service == "" {
					continue
				}
				if variant, ok := evaluation(rec.Attributes(), &id.key); ok {
					f.Evaluate(id.key, variant, rec.TraceID(), at)
				}
			}
		}
	}
	return false
}

func (f *flagImpactAdapter) readTraces(td ptrace.Traces) {
	limit := f.limit()
	f.Lock()
	defer f.Unlock()
	for _, rs := range td.ResourceSpans().All() {
		id, _ := identify(rs.Resource().Attributes())
		if id.key.Service == "" {
			continue
		}
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				if kind := span.Kind(); kind != ptrace.SpanKindServer && kind != ptrace.SpanKindConsumer {
					continue
				}
				if end, ok := usable(span.EndTimestamp(), limit); ok {
					f.readSpan(&id, span, end)
				}
			}
		}
	}
}

func (f *flagImpactAdapter) readSpan(id *identity, span ptrace.Span, end int64) {
	for _, event := range span.Events().All() {
		if !isEvaluation(event.Name()) {
			continue
		}
		if variant, ok := evaluation(event.Attributes(), &id.key); ok {
			f.Evaluate(id.key, variant, span.TraceID(), end)
		}
	}
	f.Serve(id.key.Service, flagimpact.Request{
		Trace: span.TraceID(), End: end, Took: duration(span), Failed: span.Status().Code() == ptrace.StatusCodeError,
	})
}

// tick reports what was left out since the last one.
func (f *flagImpactAdapter) tick(time.Time) { reportLosses(f.telemetry, f.TakeLost()) }
