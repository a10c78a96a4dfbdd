// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// The outcomes of one attempt at one sink. They are values of the component's metrics.
const (
	outcomeSent         = "sent"
	outcomeRetry        = "retry"
	outcomeRejected     = "rejected"
	outcomeGone         = "gone"
	outcomeRedirected   = "redirected"
	outcomeEncodeFailed = "encode_failed"
)

// sinkError says why a sink did not take a signal and what follows from it.
type sinkError struct {
	outcome string
	// wait is how long the receiver asked to be left alone; zero when it did not.
	wait time.Duration
	err  error
}

func (e *sinkError) Error() string { return e.err.Error() }

func (e *sinkError) Unwrap() error { return e.err }

func outcomeOf(err error) string {
	if err == nil {
		return outcomeSent
	}
	var s *sinkError
	if errors.As(err, &s) {
		return s.outcome
	}
	return outcomeRetry
}

func waitOf(err error) time.Duration {
	var s *sinkError
	if errors.As(err, &s) {
		return s.wait
	}
	return 0
}

// longerWait returns the error with the longer wait, so that the next attempt comes too early for nobody.
func longerWait(a, b error) error {
	if a == nil || waitOf(b) > waitOf(a) {
		return b
	}
	return a
}

// asThrottle tells the retry sender how long to wait, where a receiver said so.
func asThrottle(err error) error {
	if wait := waitOf(err); wait > 0 {
		return exporterhelper.NewThrottleRetry(err, wait)
	}
	return err
}

// maxWait bounds what a receiver may ask for.
const maxWait = time.Hour

// retryAfter reads a Retry-After header: seconds, or a date (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return min(max(time.Duration(seconds)*time.Second, 0), maxWait)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxWait)
	}
	return 0
}

// keep copies a record, marked with the sinks that still have to take it.
func keep(to plog.Logs, rl plog.ResourceLogs, sl plog.ScopeLogs, rec plog.LogRecord, pending []string) {
	newRL := to.ResourceLogs().AppendEmpty()
	rl.Resource().CopyTo(newRL.Resource())
	newRL.SetSchemaUrl(rl.SchemaUrl())
	newSL := newRL.ScopeLogs().AppendEmpty()
	sl.Scope().CopyTo(newSL.Scope())
	newSL.SetSchemaUrl(sl.SchemaUrl())
	newRec := newSL.LogRecords().AppendEmpty()
	rec.CopyTo(newRec)
	mark := newRec.Attributes().PutEmptySlice(pendingAttribute)
	for _, name := range pending {
		mark.AppendEmpty().SetStr(name)
	}
}

// holds reports whether a mark names the sink.
func holds(mark pcommon.Value, name string) bool {
	if mark.Type() != pcommon.ValueTypeSlice {
		return false
	}
	for _, v := range mark.Slice().All() {
		if v.Type() == pcommon.ValueTypeStr && v.Str() == name {
			return true
		}
	}
	return false
}
